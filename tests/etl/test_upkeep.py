"""Upkeep ends what has ended, removes what can be made again, and leaves everything else for a person."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from etl.cli import app
from etl.site import Site
from etl.upkeep import LEAST_AGE, Orphan, check_access, find_orphans, keep_up, plan_sweep, remove_orphans, sweep_access
from tests.conftest import NOW
from tests.etl.conftest import CONTRACTS, lines, put, run_all
from tests.warehouse.access_site import apply_site
from warehouse import ledger
from warehouse.access.people import NewPerson, add_person, list_people

OLD = NOW - timedelta(days=30)


@pytest.fixture
def site(new_site: Callable[..., Site]) -> Site:
    made = new_site(contracts=CONTRACTS)
    apply_site(made)
    forget_people(made)
    return made


def forget_people(site: Site) -> None:
    """Roles belong to the server: the people of tests before this one are strangers, whom the proof would name."""
    admin = site.logins.administrator()
    found = "SELECT m.member::regrole::text, m.roleid::regrole::text FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member WHERE r.rolcanlogin AND NOT r.rolsuper"
    with admin.engine.begin() as connection:
        for person, group in connection.execute(text(f"{found} AND r.rolname NOT LIKE 'ndc\\_%'")).all():
            connection.execute(text(f"REVOKE {group} FROM {person}"))
    admin.dispose()


def age(path: Path, at: datetime = OLD) -> Path:
    os.utime(path, (at.timestamp(), at.timestamp()))
    return path


def leave(site: Site, place: str, at: datetime = OLD) -> Path:
    """A file somewhere at home."""
    path = site.settings.home / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"left")
    return age(path, at)


def names(found: list[Orphan]) -> dict[str, str]:
    return {orphan.name: orphan.kind for orphan in found}


def hold_one(site: Site) -> int:
    """Three loaded deliveries and one that is held; returns its number."""
    for month in (1, 2, 3):
        put(site, f"ha-noi/clinic/clinic_2025-{month:02}.csv", lines(40))
    run_all(site)
    put(site, "ha-noi/clinic/clinic_2025-04.csv", lines(2))
    (held,) = run_all(site).done
    assert held.state == "held"
    return held.delivery_id


def test_an_installation_in_order_has_no_orphans(site: Site) -> None:
    hold_one(site)
    assert find_orphans(site, NOW + timedelta(days=100)) == []


def test_only_what_can_be_made_again_is_removed(site: Site) -> None:
    held = hold_one(site)
    goes = [leave(site, place) for place in (f"lake/_incoming/{held}.parquet", f"work/{held}.rejections", f"work/{held}.bytes", "work/check-2025-04-x.csv.rejections")]  # fmt: skip
    young = leave(site, "lake/_incoming/1.parquet", NOW)
    stays = {
        "inbox/ha-noi/clinic/clinic_2025-06.csv.part": "upload",
        "archive/ha-noi/clinic/2025-06/0-x.csv": "archive",
        "lake/clinic/province_id=ha-noi/period=2020-01-01/part-0.parquet": "lake",
    }
    kept = [leave(site, place) for place in stays]
    others = [leave(site, "work/notes.txt"), leave(site, "lake/_incoming/999.parquet"), leave(site, "work/999.bytes")]
    fresh = leave(site, "inbox/ha-noi/clinic/clinic_2025-07.csv.part", NOW - timedelta(days=6))
    found = find_orphans(site, NOW)
    assert {o.name: o.kind for o in found if not o.is_removable} == {place.partition("/")[2]: kind for place, kind in stays.items()}
    assert len(list(remove_orphans(site, NOW - LEAST_AGE, found))) == len(goes)
    assert not any(path.exists() for path in goes)
    assert all(path.exists() for path in (*kept, *others, young, fresh))


def test_the_files_of_a_delivery_under_way_are_not_touched(site: Site) -> None:
    held = hold_one(site)
    waiting = leave(site, f"lake/_incoming/{held}.parquet")
    spool = leave(site, f"work/{held}.rejections")
    found = find_orphans(site, NOW)
    assert len(found) == 2
    with site.warehouse.transaction() as claim:  # another process carries it on
        assert ledger.claim(claim, held)
        assert list(remove_orphans(site, NOW, found)) == []
    with site.warehouse.transaction() as connection:  # it was approved after we had looked
        ledger.mark(connection, held, "received")
    assert list(remove_orphans(site, NOW, found)) == [] and find_orphans(site, NOW) == []
    assert waiting.exists() and spool.exists()


def test_a_file_that_was_written_anew_is_not_removed(site: Site) -> None:
    held = hold_one(site)
    waiting = leave(site, f"lake/_incoming/{held}.parquet")
    found = find_orphans(site, NOW)
    age(waiting, OLD + timedelta(days=1))
    assert list(remove_orphans(site, NOW, found)) == [] and waiting.exists()


def test_people_whose_last_day_has_passed_are_disabled(site: Site) -> None:
    login = f"lan_{site.warehouse.url.database}"
    admin = site.logins.administrator()
    add_person(admin, NewPerson(login, ("ha-noi",), until=date.today() + timedelta(days=9)), "secret", "boss", "Asia/Ho_Chi_Minh")
    with admin.engine.begin() as connection:
        connection.execute(text("UPDATE control.membership SET until = now() - interval '1 day' WHERE person = :login"), {"login": login})
    admin.dispose()
    assert plan_sweep(site).disabled == (login,)
    assert [p.can_log_in for p in list_people(site.warehouse)] == [True]
    assert sweep_access(site, "boss", NOW).disabled == (login,)
    assert [p.can_log_in for p in list_people(site.warehouse)] == [False]
    again = sweep_access(site, "boss", NOW)
    assert again.disabled == () and again.plan.is_empty


def test_one_step_that_fails_does_not_stop_the_others(site: Site, tmp_path: Path) -> None:
    leave(site, "archive/ha-noi/clinic/2025-06/0-x.csv")
    before = keep_up(site, "boss", NOW)
    assert before.needs_a_person and not before.trouble and before.proof is not None and [f.message.en for f in before.proof.findings] == []
    broken = Site(site.settings)
    broken.__dict__.update(logins=site.logins, warehouse=site.warehouse)
    object.__setattr__(site.settings, "access", tmp_path / "nowhere")
    done = keep_up(broken, "boss", NOW)
    assert list(done.trouble) == ["access"] and [o.kind for o in done.left] == ["archive"] and done.proof is not None


def test_the_command_says_what_a_person_must_look_at(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etl.cli.upkeep.open_site", lambda: site)
    held = hold_one(site)
    waiting = leave(site, f"lake/_incoming/{held}.parquet")
    tried = CliRunner().invoke(app, ["upkeep", "--dry-run", "--json"])
    assert tried.exit_code == 0 and [o["name"] for o in json.loads(tried.stdout)["removed"]] == [f"_incoming/{held}.parquet"]
    assert waiting.exists()
    clean = CliRunner().invoke(app, ["upkeep"])
    assert clean.exit_code == 0 and "Nothing needs a person" in clean.stdout and not waiting.exists()
    admin = site.logins.administrator()
    with admin.engine.begin() as connection:
        connection.execute(text("ALTER TABLE national.clinic NO FORCE ROW LEVEL SECURITY"))
    admin.dispose()
    assert [f.rule for f in check_access(site, is_live=False).findings] == ["row-security"]
    hurt = CliRunner().invoke(app, ["upkeep", "--dry-run"])
    assert hurt.exit_code == 1 and "not enabled and forced on national.clinic" in hurt.stdout
