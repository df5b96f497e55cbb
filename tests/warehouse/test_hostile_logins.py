"""A login that may delegate, and means harm: its settings, its open transactions and its neighbours' tables give it nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy import text

from etl.site import Site
from expectations.faults import SetupFault
from tests.warehouse.access_site import apply_site, new_person, put_rows, rows_as, write_access
from tests.warehouse.test_delegations import CONTRACTS, COUNT, PROVINCES, entry, given
from warehouse.access import delegate
from warehouse.access.delegate import Grant
from warehouse.access.people import disable_person

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection

ASK = "SELECT control.delegate('health-north', 'p', 'l', '{clinic}', p_name => 'asked')"
MINE = [("binh-dinh", 1), ("gia-lai", 1)]


@pytest.fixture
def site(new_site: Callable[..., Site], tmp_path: Path) -> Site:
    site = new_site(contracts=CONTRACTS, access=write_access(tmp_path / "access"))
    put_rows(site, "clinic", [{"province_id": p, "clinic_code": "A001", "visits": 1} for p in PROVINCES])
    return site


def session(url: URL, *, autocommit: bool = False) -> closing[psycopg.Connection]:
    return closing(psycopg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False), autocommit=autocommit))


@contextmanager
def reading(url: URL) -> Iterator[None]:
    """A transaction that reads the clinics and stays open."""
    with session(url) as opened:
        opened.execute("SELECT count(*) FROM national.clinic")
        yield


@contextmanager
def unguarded(site: Site) -> Iterator[Connection]:
    """A transaction in which no trigger fires."""
    admin = site.logins.administrator()
    try:
        with admin.engine.begin() as connection:
            connection.execute(text("SET LOCAL session_replication_role = replica"))
            yield connection
    finally:
        admin.dispose()


@pytest.mark.parametrize(
    "setting",
    ["quote_all_identifiers = on", "datestyle = 'German'", "timezone = 'Asia/Kathmandu'", "standard_conforming_strings = off",
     "transform_null_equals = on", "intervalstyle = 'iso_8601'", "array_nulls = off", "search_path = pg_temp"],
)  # fmt: skip
def test_no_setting_of_a_session_makes_policies_differ(site: Site, setting: str) -> None:
    officer, other = new_person(site, "gia-lai-2025"), new_person(site, "ha-noi")
    delegate.grant(officer, given(name="clinics", until=date(2099, 1, 1)), "UTC")
    with reading(other), session(officer) as hostile:
        hostile.execute(f"SET {setting}")
        hostile.execute("SELECT control.revoke('clinics', 'x')")
        hostile.commit()
    assert rows_as(other, COUNT) == [("ha-noi", 1)]
    put_rows(site, "clinic", [{"province_id": "ha-noi", "clinic_code": "A002", "visits": 1}])
    with site.warehouse.transaction("ndc_owner") as connection:
        connection.execute(text(f"SET LOCAL {setting}"))
        drift = connection.execute(text("SELECT object, what FROM control.access_drift()")).all()
    assert {(object_, what) for object_, what in drift} <= {('"national".clinic', "policy"), ('"national".clinic', "grant")}
    apply_site(site)
    with site.warehouse.transaction("ndc_owner") as connection:
        connection.execute(text(f"SET LOCAL {setting}"))
        assert connection.execute(text("SELECT count(*) FROM control.access_drift()")).scalar_one() == 0


@pytest.mark.parametrize(
    "early",
    [
        "SET CONSTRAINTS ALL IMMEDIATE",
        "SET/**/CONSTRAINTS ALL IMMEDIATE",
        "DO $$ BEGIN EXECUTE 'SET CONS' || 'TRAINTS ALL IMMEDIATE'; END $$",
        "SELECT workspace_gia_lai_2025.early()",
        "SELECT workspace_gia_lai_2025.plain()",
    ],
)
def test_access_changes_with_commit_and_not_before(site: Site, early: str) -> None:
    """Or somebody could keep the locks of a change for as long as the transaction stays open."""
    officer = new_person(site, "gia-lai-2025")
    with session(officer) as hostile:
        hostile.execute("SET LOCAL check_function_bodies = off")
        hostile.execute(
            "CREATE FUNCTION workspace_gia_lai_2025.early() RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'SET CONS' || 'TRAINTS ALL IMMEDIATE'; END $$"
        )
        hostile.execute(
            "CREATE FUNCTION workspace_gia_lai_2025.plain() RETURNS void LANGUAGE sql AS $$ SET CONSTRAINTS ALL IMMEDIATE; SELECT $$"
        )
        hostile.commit()
        hostile.execute(ASK)
        with pytest.raises(psycopg.Error, match="COMMIT"):
            hostile.execute(early)
        hostile.rollback()
        with pytest.raises(psycopg.Error, match="COMMIT"):
            hostile.execute(f"{ASK}; SET CONSTRAINTS ALL IMMEDIATE; SELECT pg_sleep(0)")
    assert [d["name"] for d in delegate.own_delegations(officer) if not d["is_declared"]] == []


def test_a_revocation_that_somebody_does_not_commit_keeps_no_other_waiting(site: Site) -> None:
    officer, doctor = new_person(site, "gia-lai-2025"), new_person(site, "health-north")
    delegate.grant(officer, given(name="clinics", may_redelegate=True), "UTC")
    delegate.grant(doctor, Grant("institute", "p", "l", name="study"), "UTC")
    with session(doctor) as open_one:
        open_one.execute("SELECT control.revoke('study', 'x')")
        with session(officer) as other:
            other.execute("SET statement_timeout = '8s'")
            other.execute("SELECT control.revoke('clinics', 'done')")
            other.commit()
        assert not [row for row in _try(doctor) if row]
        admin = site.logins.administrator()
        disable_person(admin, str(doctor.username), "done", "tester")
        admin.dispose()
    assert [d for d in delegate.own_delegations(officer) if d["name"] in ("clinics", "study") and d["revoked_at"] is None] == []


def _try(person: URL) -> list[object]:
    try:
        return list(rows_as(person, COUNT))
    except psycopg.errors.InsufficientPrivilege:
        return []


def test_a_revocation_sees_what_was_given_meanwhile(site: Site) -> None:
    officer = new_person(site, "gia-lai-2025")
    delegate.grant(officer, given(name="clinics"), "UTC")
    with session(officer) as blind:
        blind.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        with pytest.raises(psycopg.Error, match="READ COMMITTED"):
            blind.execute("SELECT control.revoke('clinics', 'x')")


def test_apply_ends_what_hangs_on_something_revoked_however_deep(site: Site) -> None:
    officer, doctor, scholar = (new_person(site, group) for group in ("gia-lai-2025", "health-north", "institute"))
    delegate.grant(officer, given(name="clinics", may_redelegate=True), "UTC")
    delegate.grant(doctor, Grant("institute", "p", "l", name="study", may_redelegate=True), "UTC")
    delegate.grant(scholar, Grant("labour-north", "p", "l", name="deeper"), "UTC")
    with unguarded(site) as connection:  # as if a cascade had been missed
        connection.execute(text("UPDATE control.delegation SET revoked_at = now(), revoked_because = 'x' WHERE name = 'clinics'"))
    apply_site(site)
    assert _try(scholar) == []
    assert all(d["revoked_at"] for d in delegate.own_delegations(officer) if d["name"] in ("clinics", "study", "deeper"))


@pytest.mark.parametrize("second", ["a group", "the person itself"])
def test_a_reader_with_a_second_way_to_the_table_does_not_keep_what_was_revoked(site: Site, second: str) -> None:
    officer, doctor = new_person(site, "gia-lai-2025"), new_person(site, "health-north", "institute")
    delegate.grant(officer, given(name="clinics"), "UTC")
    grantee = "institute" if second == "a group" else str(doctor.username)
    delegate.grant(officer, Grant(grantee, "p", "l", ("clinic",), ("gia-lai",), name="others"), "UTC")
    assert rows_as(doctor, COUNT) == MINE
    with reading(doctor):
        assert delegate.revoke(officer, "clinics", "x").warnings
        assert _try(doctor) == []
    apply_site(site)
    assert rows_as(doctor, COUNT) == [("gia-lai", 1)]


def test_a_busy_revocation_takes_nothing_from_others_and_keeps_nobody_from_delegating(site: Site) -> None:
    officer, doctor, other = (new_person(site, group) for group in ("gia-lai-2025", "health-north", "ha-noi"))
    delegate.grant(officer, given(name="clinics"), "UTC")
    delegate.grant(other, Grant("labour-north", "p", "l", ("permit",), name="short"), "UTC")
    _let_pass(site, "short")
    with reading(doctor):
        delegate.revoke(officer, "clinics", "x")
        assert rows_as(other, "SELECT count(*) FROM national.permit") == [(0,)]
        assert rows_as(other, COUNT) == [("ha-noi", 1)]
        delegate.grant(other, Grant("institute", "p", "l", ("permit",), name="meanwhile"), "UTC")
        assert _try(doctor) == []
    apply_site(site)
    assert [(str(p), n) for p, n in rows_as(other, COUNT)] == [("ha-noi", 1)]


def test_what_has_passed_keeps_neither_its_name_nor_a_place(site: Site) -> None:
    officer = new_person(site, "gia-lai-2025")
    delegate.grant(officer, given(name="clinics"), "UTC")
    _let_pass(site, "clinics")
    delegate.grant(officer, given(name="clinics"), "UTC")
    _let_pass(site, "clinics")
    apply_site(site)
    (*_, last) = [d for d in delegate.own_delegations(officer) if d["name"] == "clinics"]
    assert last["revoked_because"] == "its last day has passed"


def _let_pass(site: Site, name: str) -> None:
    """The days of a live delegation go by."""
    with unguarded(site) as connection:
        passed = "from_at = now() - interval '9 days', until_at = now() - interval '1 hour'"
        connection.execute(text(f"UPDATE control.delegation SET {passed} WHERE name = :name AND revoked_at IS NULL"), {"name": name})


def test_communes_are_meant_as_on_the_installation_s_day_whatever_zone_a_session_has(site: Site) -> None:
    with site.warehouse.transaction() as connection:
        connection.execute(text("DELETE FROM control.commune"))
        meanings = "('1', 'Old', 'gia-lai-2025', '2020-01-01', '2025-06-30'), ('1', 'New', 'gia-lai-2025', '2025-07-01', NULL)"
        connection.execute(text(f"INSERT INTO control.commune VALUES {meanings}"))
        connection.execute(text("UPDATE control.dataset SET commune_field = 'clinic_code' WHERE dataset = 'clinic'"))
    officer = new_person(site, "gia-lai-2025")
    wanted = Grant("health-north", "p", "l", ("clinic",), communes=("1",), start=date(2025, 7, 1))
    row = delegate.grant(officer, wanted, site.settings.timezone, dry_run=True)
    assert (row["periods_from"], row["periods_until"]) == (date(2025, 7, 1), None)
    with session(officer) as elsewhere:
        elsewhere.execute("SET timezone = 'America/Los_Angeles'")
        call = "SELECT control.delegate('health-north', 'p', 'l', '{clinic}', p_communes => '{1}', p_from => '2025-07-01 00:00+07', p_name => 'z')"
        elsewhere.execute(call)
        told = elsewhere.execute("SELECT periods_from FROM control.my_delegations() WHERE name = 'z'").fetchall()
    assert told == [(date(2025, 7, 1),)]


def test_what_a_person_says_of_itself_counts_for_nothing(site: Site) -> None:
    officer, doctor = new_person(site, "gia-lai-2025"), new_person(site, "health-north")
    delegate.grant(officer, given(name="clinics", may_redelegate=True), "UTC")
    delegate.grant(doctor, Grant("institute", "p", "l", name="study"), "UTC")
    with session(officer) as liar:
        liar.execute("SET ndc.actor = 'minister'; SET ndc.replacing = 'on'")
        liar.execute("SELECT control.revoke('clinics', 'x')")
        liar.commit()
    actors = rows_as(new_person(site, "auditor"), "SELECT DISTINCT actor FROM control.access_change WHERE name IN ('clinics', 'study')")
    assert ("minister",) not in actors
    assert all(d["revoked_at"] for d in delegate.own_delegations(officer) if d["name"] in ("clinics", "study"))


def test_two_officers_of_one_province_do_not_wait_for_each_other(site: Site) -> None:
    first, second = new_person(site, "gia-lai-2025"), new_person(site, "gia-lai-2025")
    with session(first) as one, session(second) as two:
        one.execute("SELECT control.delegate('health-north', 'p', 'l', '{clinic}')")
        two.execute("SET statement_timeout = '5s'")
        two.execute("SELECT control.delegate('health-north', 'p', 'l', '{permit}')")
        two.commit()
        one.commit()
    assert len([d for d in delegate.own_delegations(first) if not d["is_declared"] and d["revoked_at"] is None]) == 2


def test_an_organisation_cannot_become_another_province_s(site: Site) -> None:
    file = site.settings.access / "organisations.yaml"
    text_before = file.read_text()
    assert "gia-lai-2025" in text_before
    file.write_text(text_before.replace("gia-lai-2025", "ha-noi"))
    with pytest.raises(SetupFault, match="somebody else's"):
        apply_site(site)


def test_a_file_does_not_hang_on_what_a_province_may_take_back(site: Site) -> None:
    officer = new_person(site, "gia-lai-2025")
    delegate.grant(officer, given(name="clinics", may_redelegate=True), "UTC")
    write_access(site.settings.access, entry("kid", "institute", "grantor: health-north", provinces="[binh-dinh]"))
    with pytest.raises(SetupFault, match="holds no live delegation"):
        apply_site(site)


def test_an_entry_whose_last_day_has_passed_is_left_out_at_every_apply(site: Site) -> None:
    write_access(
        site.settings.access,
        entry("old", "institute", "until: 2024-12-31") + entry("kid", "health-north", "until: 2024-12-31, grantor: institute"),
    )
    for _ in range(2):
        assert [m.en for m in apply_site(site).said] == []


def test_a_reader_cannot_keep_what_the_centre_no_longer_declares(site: Site) -> None:
    write_access(site.settings.access, entry("a", "institute"))
    apply_site(site)
    scholar, other = new_person(site, "institute"), new_person(site, "ha-noi")
    assert rows_as(scholar, COUNT) == [("gia-lai-2025", 1)]
    write_access(site.settings.access)
    with reading(scholar):
        assert apply_site(site).is_cut
        assert _try(scholar) == [] and rows_as(other, COUNT) == [("ha-noi", 1)]
    done = apply_site(site)
    assert done.statements and not done.is_cut
