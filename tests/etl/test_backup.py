"""A backup brings an empty installation back to what it was, row for row and login for login, and says what it could not."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from etl.backup import check_backup, create_backup, list_backups, plan_restore, restore_backup
from etl.settings import read_settings
from etl.site import Site
from expectations.faults import MachineFault, SetupFault
from tests.conftest import NOW, PSEUDONYM_KEY
from tests.etl.conftest import CONTRACTS, lines, put, run_all
from tests.warehouse.access_site import rows_as
from warehouse import dump
from warehouse.access.people import NewPerson, add_person
from warehouse.embedded import TEST_SETTINGS
from warehouse.engine import Warehouse

PASSWORD = "o%ld-w'ord"
SAME = (
    "SELECT * FROM control.delivery ORDER BY delivery_id",
    "SELECT * FROM control.delegation ORDER BY delegation_id",
    "SELECT * FROM control.grantee ORDER BY id",
    "SELECT * FROM control.membership ORDER BY person, grantee",
    "SELECT * FROM control.access_change ORDER BY 1",
    "SELECT schemaname, tablename, policyname, roles, cmd, qual, with_check FROM pg_policies ORDER BY 1, 2, 3",
    "SELECT * FROM national.clinic ORDER BY province_id, period, line",
    "SELECT * FROM personal.permit ORDER BY province_id, period, line",
    "SELECT * FROM workspace_ha_noi.notes",
)


@pytest.fixture
def site(new_site: Callable[..., Site]) -> Site:
    return new_site(contracts=CONTRACTS)


@pytest.fixture
def other(site: Site, tmp_path: Path) -> Iterator[Site]:
    """Another home with a server of its own, and the archive and the lake of `site` in place."""
    settings = read_settings({"NDC_HOME": str(tmp_path / "other"), "NDC_PSEUDONYM_KEY": PSEUDONYM_KEY})
    made = Site(replace(settings, contracts=CONTRACTS, server_settings=TEST_SETTINGS))
    yield made
    if "warehouse" in made.__dict__:
        made.warehouse.dispose()
    assert made.logins.server is not None
    made.logins.server.destroy()


def load_some(site: Site) -> None:
    put(site, "ha-noi/clinic/clinic_2025-05.csv", lines(4) + "1100,31/02/2020,5,10,X\n")
    put(site, "ha-noi/permit/permit_2025-05.csv", lines(3))
    put(site, "lao-cai/clinic/clinic_2025-05.csv", "1,2\n")
    assert sorted(d.state for d in run_all(site).done) == ["returned", "stored", "stored"]


@pytest.fixture
def login(site: Site) -> Iterator[str]:
    """A person of a province with a table in its workspace; gone afterwards, since other tests use the same server."""
    login = f"lan_{site.warehouse.url.database}"
    admin = site.logins.administrator()
    add_person(admin, NewPerson(login, ("ha-noi",), until=NOW.date() + timedelta(365)), PASSWORD, "boss", "Asia/Ho_Chi_Minh")
    with psycopg.connect(address(admin, login)) as connection:
        connection.execute("CREATE TABLE workspace_ha_noi.notes AS SELECT 7 AS n")
    yield login
    with admin.engine.begin() as ending:
        ending.execute(text(f"DROP OWNED BY {login}"))
        ending.execute(text(f"DROP ROLE {login}"))
    admin.dispose()


def address(admin: Warehouse, login: str, password: str = PASSWORD) -> str:
    return admin.url.set(username=login, password=password, drivername="postgresql").render_as_string(hide_password=False)


def state(site: Site) -> list[Any]:
    """All that must be the same, read as a superuser, whom no policy hides a row from."""
    admin = site.logins.administrator()
    with admin.engine.connect() as connection:
        found = [connection.execute(text(query)).all() for query in SAME]
    admin.dispose()
    return found


def roles(site: Site, login: str) -> list[Any]:
    admin = site.logins.administrator()
    with admin.engine.connect() as connection:
        of_login = connection.execute(
            text("SELECT rolconnlimit, rolvaliduntil, rolpassword, rolinherit, rolcanlogin FROM pg_authid WHERE rolname = :login"),
            {"login": login},
        ).all()
        settings = connection.execute(
            text("SELECT setconfig FROM pg_db_role_setting JOIN pg_roles r ON r.oid = setrole WHERE rolname = :login"), {"login": login}
        ).all()
        groups = connection.execute(
            text(
                "SELECT roleid::regrole::text, inherit_option, set_option, admin_option FROM pg_auth_members WHERE member = to_regrole(:login) ORDER BY 1"
            ),
            {"login": login},
        ).all()
    admin.dispose()
    return [of_login, settings, groups]


def copy_stores(site: Site, other: Site) -> None:
    for name in ("archive", "lake"):
        shutil.copytree(site.settings.home / name, other.settings.home / name)


def test_a_restored_home_is_what_it_was(site: Site, other: Site, login: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_some(site)
    seen: list[Any] = []
    monkeypatch.setattr(dump.subprocess, "run", lambda command, **options: (seen.append(command), RUN(command, **options))[1])
    backup = create_backup(site, tmp_path / "backups", NOW)
    assert backup.counts | {"deliveries": 3, "people": 1, "rows": 7, "tables in workspaces": 1} == backup.counts
    copy_stores(site, other)

    monkeypatch.setattr(dump, "_run", fail)
    with pytest.raises(MachineFault):
        restore_backup(other, backup.folder, NOW)
    monkeypatch.undo()
    monkeypatch.setattr(dump.subprocess, "run", lambda command, **options: (seen.append(command), RUN(command, **options))[1])
    done = restore_backup(other, backup.folder, NOW)

    assert done.is_equal and done.compared == 2
    assert state(other) == state(site)
    assert roles(other, login) == roles(site, login) and roles(other, login)[0]
    admin = other.logins.administrator()
    assert rows_as(admin.url.set(username=login, password=PASSWORD), "SELECT count(*) FROM personal.clinic") == [(4,)]
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        psycopg.connect(address(admin, login, PASSWORD + "x"))
    with other.warehouse.transaction("ndc_owner") as connection:
        assert connection.execute(text("SELECT * FROM control.access_drift()")).all() == []
    secrets = [p for p in (admin.url.password, site.logins.administrator().url.password) if p]
    assert seen and secrets and not any(secret in str(word) for command in seen for word in command for secret in secrets)
    admin.dispose()
    with pytest.raises(SetupFault, match="3 deliveries, 1 people, 1 tables in workspaces"):
        plan_restore(other, backup.folder)
    put(other, "ha-noi/clinic/clinic_2025-06.csv", lines(4))
    assert [(d.delivery_id, d.state) for d in run_all(other).done] == [(4, "stored")]


RUN = subprocess.run


def fail(*_: Any) -> None:
    raise MachineFault(dump._FAILED, rule="dump")


def test_what_came_after_a_backup_is_said_and_its_numbers_are_not_given_again(site: Site, other: Site, tmp_path: Path) -> None:
    load_some(site)
    backup = create_backup(site, tmp_path / "backups", NOW)
    put(site, "ha-noi/clinic/clinic_2025-05.csv", lines(6))
    run_all(site)
    copy_stores(site, other)
    done = restore_backup(other, backup.folder, NOW)
    assert not done.is_equal and done.later_deliveries == 1
    assert [each.partition for each in done.differing] == ["clinic/ha-noi/2025-05-01"]
    assert "lake/clinic/province_id=ha-noi/period=2025-05-01/part-0.parquet" in done.checked.newer
    put(other, "ha-noi/clinic/clinic_2025-06.csv", lines(4))
    assert [d.delivery_id for d in run_all(other).done] == [5]


def test_a_backup_is_private_whole_and_older_ones_go_after_it(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    to = tmp_path / "backups"
    made = [create_backup(site, to, NOW + timedelta(hours=hour), keep=2).folder.name for hour in range(3)]
    assert [b.folder.name for b in list_backups(to)] == made[:0:-1]
    files = list((to / made[2]).iterdir())
    assert {stat.S_IMODE(f.stat().st_mode) for f in files} == {0o600} and len(files) == 4
    assert stat.S_IMODE((to / made[2]).stat().st_mode) == 0o700
    monkeypatch.setattr(dump, "_run", fail)
    with pytest.raises(MachineFault):
        create_backup(site, to, NOW + timedelta(hours=9), keep=1)
    assert [b.folder.name for b in list_backups(to)] == made[:0:-1]
    assert "SCRAM-SHA-256" not in (to / made[2] / "manifest.json").read_text()
    made_again = (to / made[2] / "roles.sql").read_text()
    assert "ndc_province_ha_noi" in made_again and not any(f'"{name}"' in made_again for name in ("ndc_service", "ndc_task", "ndc_admin"))
    assert PSEUDONYM_KEY not in "".join(f.read_text(errors="replace") for f in files)


def test_check_tells_damage_from_what_deliveries_replace(site: Site, tmp_path: Path) -> None:
    load_some(site)
    backup = create_backup(site, tmp_path / "backups", NOW)
    assert check_backup(site, backup.folder).is_sound
    received = sorted(site.archive.names("ha-noi"))
    put(site, "ha-noi/clinic/clinic_2025-05.csv", lines(6))
    run_all(site)
    after = check_backup(site, backup.folder)
    assert after.is_sound and after.newer and after.added == 2
    lost, hurt = received
    site.archive.delete(lost)
    site.archive.put_bytes(hurt, b"other")
    roles_file = backup.folder / "roles.sql"
    roles_file.write_text(roles_file.read_text() + "ALTER ROLE ndc_loader SUPERUSER;\n")
    found = check_backup(site, backup.folder)
    assert (found.broken, found.missing, found.changed) == (
        ("roles.sql",),
        (f"archive/{lost}",),
        (f"archive/{hurt}",),
    ) and not found.is_sound
    with pytest.raises(SetupFault, match=r"changed since the backup was made: roles\.sql"):
        plan_restore(site, backup.folder)


def test_only_a_superuser_dumps_because_row_security_hides_rows_from_others(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_some(site)
    with monkeypatch.context() as changed:
        changed.setattr(site.logins, "administrator", site.logins.pipeline)
        with pytest.raises(SetupFault, match="ndc_service is none"):
            create_backup(site, tmp_path / "backups", NOW)
    assert list_backups(tmp_path / "backups") == []
    admin = site.logins.administrator()
    with admin.engine.connect() as connection:
        forced = connection.execute(text("SELECT relforcerowsecurity FROM pg_class WHERE oid = 'personal.clinic'::regclass")).scalar_one()
    admin.dispose()
    backup = create_backup(site, tmp_path / "backups", NOW)
    program = dump.find_program("pg_restore", 18, is_embedded=True)
    copied = RUN(
        [program, "--data-only", "--schema=parts", "--file=-", backup.folder / "warehouse.dump"], capture_output=True, text=True, check=True
    )
    assert forced and copied.stdout.count("Bác sĩ 2") == 2  # a row of each dataset's personal table


def test_a_pg_dump_older_than_the_server_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = tmp_path / "pg_dump"
    old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 15.10 (Debian 15.10-1)'\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert dump.find_program("pg_dump", 15, is_embedded=False) == old
    assert dump.find_program("pg_dump", 18, is_embedded=False) != old
    with pytest.raises(SetupFault, match=r"15\.10.*Install postgresql-client-99"):
        dump.find_program("pg_dump", 99, is_embedded=False)


def test_a_complaint_of_pg_restore_quotes_no_row() -> None:
    said = 'pg_restore: error: COPY failed for table "clinic": ERROR:  invalid input syntax for type bigint: "Nguyễn"\nCONTEXT:  COPY clinic, line 1'
    assert dump._plain(said, 1) == 'pg_restore: error: COPY failed for table "clinic":'


def test_the_listing_names_every_finished_file_with_its_hash(site: Site, tmp_path: Path) -> None:
    load_some(site)
    site.lake.put_bytes("_incoming/9.parquet", b"under way")
    backup = create_backup(site, tmp_path / "backups", NOW)
    listed = [json.loads(line) for line in (backup.folder / "objects.jsonl").read_text().splitlines()]
    assert {(o["store"], o["name"]) for o in listed} == {("archive", n) for n in site.archive.names()} | {
        ("lake", n) for n in site.lake.names() if not n.startswith("_incoming")
    }
    assert all(o["sha256"] in o["name"] for o in listed if not o["name"].startswith("_") and o["store"] == "archive")
