"""Delegations: what does not compile and where, what a plan says, giving on and taking back, drift, heirs, the audit table."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from etl.site import Site
from expectations.faults import MachineFault, SetupFault
from tests.warehouse.access_site import apply_site, new_person, plan_site, put_rows, rows_as, write_access
from warehouse.access import delegate
from warehouse.access.apply import end_delegation
from warehouse.access.delegate import Grant
from warehouse.access.load import load_declaration
from warehouse.access.people import disable_overdue
from warehouse.engine import run_script

CONTRACTS = Path(__file__).resolve().parents[1] / "data" / "contracts"
NewSite = Callable[..., Site]
PROVINCES = ("gia-lai-2025", "gia-lai", "binh-dinh", "ha-noi")
COUNT = "SELECT province_id, count(*) FROM national.clinic GROUP BY 1 ORDER BY 1"


@pytest.fixture
def site(new_site: NewSite, tmp_path: Path) -> Site:
    """Own rows for each province and all for the centre; one clinic in each of four provinces."""
    site = new_site(contracts=CONTRACTS, access=write_access(tmp_path / "access"))
    put_rows(site, "clinic", [{"province_id": p, "clinic_code": "A001", "visits": 1} for p in PROVINCES])
    return site


def entry(id: str, grantee: str, more: str = "", *, provinces: str = "[gia-lai-2025]", datasets: str = "[clinic]") -> str:
    return (
        f"  - {{id: {id}, grantee: {grantee}, provinces: {provinces}, datasets: {datasets}, from: 2024-08-08, purpose: p, legal_basis: l"
        f"{', ' + more if more else ''}}}\n"
    )


# ---------------------------------------------------------------- what does not compile


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (entry("a", "nobody"), "no province, organisation or person 'nobody'"),
        (entry("a", "institute", provinces="[atlantis]"), "no province 'atlantis'"),
        (entry("a", "institute", provinces="['52']"), "'52' is a code, and codes change their meaning"),
        (entry("a", "institute", datasets="[clinics]"), "Did you mean 'clinic'?"),
        (entry("a", "institute", "columns: {in_clear: [phone]}"), "no restricted field 'phone'"),
        (entry("a", "institute", "until: 2024-08-07"), "until 2024-08-07 is before from 2024-08-08"),
        (entry("a", "institute", "untill: 2027-08-07"), "Did you mean 'until'?"),
        (entry("a", "institute", "communes: ['00001']"), "has no commune column"),
        (entry("a", "public"), "the public sees publications only"),
        (entry("a", "institute") + entry("a", "health-north"), "has the same id as"),
        (entry("a", "institute") + entry("b", "institute", "until: 2027-01-01"), "contradicts"),
        (entry("a", "gia-lai-2025", "grantor: gia-lai-2025"), "grants to itself"),
    ],
)  # fmt: skip
def test_a_delegation_that_cannot_be_meant_names_its_file_and_line(site: Site, wrong: str, said: str) -> None:
    write_access(site.settings.access, wrong)
    with pytest.raises(SetupFault) as caught:
        plan_site(site)
    assert said in caught.value.message.en
    assert "centre.yaml:" in caught.value.message.en and "centre.yaml:" in caught.value.message.vi


def test_every_mistake_is_told_and_nothing_is_applied(site: Site) -> None:
    write_access(site.settings.access, entry("a", "institute") + entry("b", "nobody") + entry("c", "institute", provinces="[atlantis]"))
    with pytest.raises(SetupFault) as caught:
        apply_site(site)
    assert "nobody" in caught.value.message.en and "atlantis" in caught.value.message.en
    with site.warehouse.transaction("ndc_owner") as connection:
        assert connection.execute(text("SELECT count(*) FROM control.delegation WHERE name = 'a'")).scalar() == 0


def test_a_file_speaks_for_its_own_grantor_only(site: Site) -> None:
    file = site.settings.access / "delegations" / "gia-lai-2025.yaml"
    file.write_text("delegations:\n" + entry("x", "health-north", "grantor: ha-noi"))
    with pytest.raises(SetupFault, match="cannot grant in the name of 'ha-noi'"):
        plan_site(site)
    file.write_text("delegations:\n" + entry("x", "health-north"))
    assert not plan_site(site).is_empty
    file.rename(file.with_name("nobody.yaml"))
    with pytest.raises(SetupFault, match="the file's name says who grants"):
        plan_site(site)


@pytest.mark.parametrize(
    ("wide", "part"),
    [
        (entry("w", "health-north", "grantor: gia-lai-2025", provinces="[ha-noi]"), "provinces: ha-noi"),
        (entry("w", "health-north", "grantor: gia-lai-2025", provinces="all"), "provinces: all"),
        (entry("w", "institute", "grantor: health-north"), "the parent may not be given on"),
        (entry("w", "institute", "grantor: labour-north"), "holds no live delegation"),
    ],
)
def test_what_is_wider_than_its_parent_does_not_compile(site: Site, wide: str, part: str) -> None:
    write_access(site.settings.access, entry("h", "health-north", "grantor: gia-lai-2025") + wide)
    with pytest.raises(SetupFault) as caught:
        plan_site(site)
    assert part in caught.value.message.en and "centre.yaml:" in caught.value.message.en


def test_a_circle_does_not_compile(site: Site) -> None:
    circle = entry("a", "health-north", "grantor: gia-lai-2025, may_redelegate: true") + entry("b", "gia-lai-2025", "grantor: health-north")
    write_access(site.settings.access, circle)
    with pytest.raises(SetupFault, match="Circular"):
        plan_site(site)


def test_columns_in_clear_of_some_rows_and_not_of_others_are_no_contradiction(site: Site) -> None:
    """Each row keeps its own."""
    clear = "columns: {in_clear: all}"
    write_access(site.settings.access, entry("a", "institute", clear) + entry("b", "institute", provinces="[ha-noi]"))
    assert len(plan_site(site).said) == 2


# ---------------------------------------------------------------- plan and apply


def test_a_plan_says_in_words_and_sql_what_apply_then_does_and_touches_nothing_else(site: Site) -> None:
    write_access(site.settings.access, entry("a", "institute", "until: 2031-12-31"))
    planned = plan_site(site)
    assert [m.en for m in planned.said] == [
        "+ Viện will see the rows of gia-lai-2025 of clinic, without restricted columns, until 31 Dec 2031 (a)"
    ]
    assert sum("CREATE POLICY" in s for s in planned.statements) == 1
    assert not any("ha_noi" in s or "DROP" in s for s in planned.statements)
    for again in (plan_site(site), apply_site(site)):  # a plan leaves nothing behind, but a number is used once
        assert [re.sub("dlg_[0-9]+", "", s) for s in again.statements] == [re.sub("dlg_[0-9]+", "", s) for s in planned.statements]
    assert plan_site(site).is_empty


def test_each_province_sees_its_own_rows_and_its_predecessors_and_the_centre_all(site: Site) -> None:
    assert rows_as(new_person(site, "gia-lai-2025"), COUNT) == [("binh-dinh", 1), ("gia-lai", 1), ("gia-lai-2025", 1)]
    assert rows_as(new_person(site, "ha-noi"), COUNT) == [("ha-noi", 1)]
    assert len(rows_as(new_person(site, "centre"), COUNT)) == 4
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        rows_as(new_person(site, "auditor"), COUNT)


def test_what_was_changed_by_hand_is_shown_and_mended(site: Site) -> None:
    admin = site.logins.administrator()
    with admin.engine.begin() as connection:
        name = connection.execute(
            text(
                "SELECT policyname FROM pg_policies WHERE schemaname = 'national' AND tablename = 'clinic' AND roles = '{ndc_province_ha_noi}'"
            )
        ).scalar_one()
        connection.execute(text(f"ALTER POLICY {name} ON national.clinic USING (true)"))
        connection.execute(text("GRANT INSERT ON national.clinic TO ndc_province_ha_noi"))
        connection.execute(text("GRANT SELECT ON national.clinic TO PUBLIC"))
        connection.execute(text("ALTER TABLE national.permit NO FORCE ROW LEVEL SECURITY"))
        connection.execute(text("CREATE POLICY mine ON national.clinic TO PUBLIC USING (true)"))
    admin.dispose()
    person = new_person(site, "ha-noi")
    assert len(rows_as(person, COUNT)) == 4
    planned = plan_site(site)
    assert not planned.said and len(planned.drift) == 5
    apply_site(site)
    assert rows_as(person, COUNT) == [("ha-noi", 1)]
    assert plan_site(site).is_empty


def test_an_end_needs_no_job(site: Site) -> None:
    write_access(site.settings.access, entry("a", "institute"))
    apply_site(site)
    person = new_person(site, "institute")
    assert len(rows_as(person, COUNT)) == 1
    with site.warehouse.transaction("ndc_owner") as connection:
        connection.execute(text("ALTER TABLE control.delegation DISABLE TRIGGER check_delegation"))
        connection.execute(text("UPDATE control.delegation SET until_at = now() + interval '2 s' WHERE name = 'a'"))
        connection.execute(text("ALTER TABLE control.delegation ENABLE TRIGGER check_delegation"))
        connection.execute(text("SELECT control.apply_access()"))
    assert len(rows_as(person, COUNT)) == 1
    _wait_until(lambda: rows_as(person, COUNT) == [])
    with site.warehouse.transaction("ndc_owner") as connection:  # the next apply sweeps the policy
        connection.execute(text("SELECT control.apply_access()"))
        assert not connection.execute(text("SELECT FROM pg_policies WHERE roles = '{ndc_org_institute}'")).all()


def _wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for what comes by itself; nothing tells us when."""
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_begins_later_is_not_seen_yet(site: Site) -> None:
    write_access(site.settings.access, entry("a", "institute").replace("from: 2024-08-08", "from: 2099-01-01"))
    apply_site(site)
    assert rows_as(new_person(site, "institute"), COUNT) == []


def test_a_long_reader_does_not_keep_apply_from_ending_and_no_reader_queues_behind_it(site: Site) -> None:
    write_access(site.settings.access, entry("a", "institute"))
    person, centre = new_person(site, "institute"), new_person(site, "centre")
    address = centre.set(drivername="postgresql").render_as_string(hide_password=False)
    reads: list[bool] = []
    applied = threading.Event()

    def read() -> None:
        with psycopg.connect(address, autocommit=True) as other:
            other.execute("SET lock_timeout = '5s'")  # ten times what apply may keep anybody waiting at once
            while not applied.is_set():
                try:
                    other.execute(COUNT.encode())
                    reads.append(True)
                except psycopg.errors.LockNotAvailable:
                    reads.append(False)

    with psycopg.connect(address) as reader:
        reader.execute("SELECT count(*) FROM national.clinic")  # holds its lock until the transaction ends
        applying = threading.Thread(target=lambda: (apply_site(site), applied.set()))
        applying.start()
        reading = threading.Thread(target=read)
        reading.start()
        _wait_until(lambda: len(reads) > 5)  # readers go on while apply waits
        assert not applied.is_set()
        reader.rollback()
        applying.join(30)
        applied.set()
        reading.join()
    assert all(reads), "a reader queued behind apply"
    assert len(rows_as(person, COUNT)) == 1


def test_tables_that_stay_busy_are_said_in_a_sentence(site: Site) -> None:
    write_access(site.settings.access, entry("a", "institute"))
    admin = site.logins.administrator()
    with admin.engine.begin() as connection:
        body = connection.execute(text("SELECT pg_get_functiondef('control.apply_access'::regproc)")).scalar_one()
        run_script(connection, body.replace("1..60", "1..3").replace("attempt = 60", "attempt = 3"))
    with admin.engine.begin() as connection:
        connection.execute(text("SELECT count(*) FROM national.clinic"))
        with pytest.raises(MachineFault, match="busy"):
            apply_site(site)
    admin.dispose()
    assert not plan_site(site).is_empty


# ---------------------------------------------------------------- giving on, taking back


def given(**more: Any) -> Grant:
    return Grant("health-north", "p", "l", ("clinic",), ("binh-dinh",), **more)


def test_a_province_gives_a_part_on_with_its_own_login_and_takes_it_back_at_once(site: Site) -> None:
    officer, doctor = new_person(site, "gia-lai-2025"), new_person(site, "health-north")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        rows_as(doctor, COUNT)
    row = delegate.grant(officer, given(name="clinics"), "UTC")
    assert row["grantor"] == "gia-lai-2025" and row["created_by"] == officer.username
    assert rows_as(doctor, COUNT) == [("binh-dinh", 1)]
    assert plan_site(site).is_empty  # the centre's declarations leave it alone
    assert delegate.revoke(officer, "clinics", "done").count == 1
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        rows_as(doctor, COUNT)


def test_a_dry_run_gives_nothing(site: Site) -> None:
    officer, doctor = new_person(site, "gia-lai-2025"), new_person(site, "health-north")
    delegate.grant(officer, given(), "UTC", dry_run=True)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        rows_as(doctor, COUNT)


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        (Grant("health-north", "p", "l", ("clinic",), ("ha-noi",)), "provinces: ha-noi"),
        (Grant("nobody", "p", "l"), 'no organisation or person "nobody"'),
        (Grant("public", "p", "l"), "no organisation or person"),
        (Grant("health-north", "p", "l", ("clinics",)), "no dataset clinics"),
        (Grant("health-north", "p", "l", in_clear=("clinic.phone",)), "no restricted column clinic.phone"),
        (Grant("gia-lai-2025", "p", "l"), "Circular"),
        (Grant("health-north", "", "l"), "purpose"),
        (Grant("health-north", "p", "l", grantor="ha-noi"), "as ha-noi"),
    ],
)
def test_what_a_login_may_not_give_is_refused_with_the_reason(site: Site, wanted: Grant, part: str) -> None:
    with pytest.raises(SetupFault) as caught:
        delegate.grant(new_person(site, "gia-lai-2025"), wanted, "UTC")
    assert part in caught.value.message.en


def test_a_wrong_password_is_said_as_one(site: Site) -> None:
    with pytest.raises(SetupFault, match="refused the login"):
        delegate.own_delegations(new_person(site, "gia-lai-2025").set(password="wrong"))


def test_nobody_gives_on_what_is_not_theirs_to_give(site: Site) -> None:
    for grantee in ("centre", "health-north", "auditor"):
        with pytest.raises(SetupFault, match="holds no delegation"):
            delegate.grant(new_person(site, grantee), given(), "UTC")
    officer = new_person(site, "gia-lai-2025")
    delegate.grant(officer, given(name="clinics"), "UTC")
    with pytest.raises(SetupFault, match="no live delegation"):
        delegate.revoke(new_person(site, "ha-noi"), "clinics", "spite")
    with pytest.raises(SetupFault, match=r"declared in centre.yaml|no live delegation"):
        delegate.revoke(officer, "own-rows/gia-lai-2025", "no")


def test_the_tables_behind_it_are_closed_to_people(site: Site) -> None:
    officer = new_person(site, "gia-lai-2025")
    for sql in (
        "INSERT INTO control.delegation (name) VALUES ('x')",
        "UPDATE control.grantee SET role = 'x'",
        "SELECT * FROM control.delegation",
        "SELECT control.apply_access()",
        "SELECT * FROM control.sight()",
        "DELETE FROM control.access_change",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            rows_as(officer, sql)


def test_what_hangs_on_a_revoked_delegation_ends_in_the_same_transaction(site: Site) -> None:
    officer, doctor, scholar = new_person(site, "gia-lai-2025"), new_person(site, "health-north"), new_person(site, "institute")
    delegate.grant(officer, given(name="clinics", may_redelegate=True), "UTC")
    delegate.grant(doctor, Grant("institute", "p", "l", name="study"), "UTC")
    assert rows_as(scholar, COUNT) == [("binh-dinh", 1)]
    assert delegate.revoke(officer, "clinics", "done").count == 2
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        rows_as(scholar, COUNT)


def test_a_parent_declared_anew_keeps_the_children_that_still_fit(site: Site) -> None:
    officer = new_person(site, "gia-lai-2025")
    delegate.grant(officer, given(name="fits"), "UTC")
    delegate.grant(officer, Grant("labour-north", "p", "l", ("permit",), name="permits"), "UTC")
    write_access(site.settings.access, own=_OWN_CLINIC)
    done = apply_site(site)
    assert any("'permits' of labour-north ends" in m.en and "permit" in m.en for m in done.said)
    with site.warehouse.transaction("ndc_owner") as connection:
        live = connection.execute(text("SELECT name FROM control.delegation WHERE revoked_at IS NULL AND NOT is_declared")).scalars().all()
    assert live == ["fits"]
    assert rows_as(new_person(site, "health-north"), COUNT) == [("binh-dinh", 1)]


_OWN_CLINIC = """
  - {id: own-rows, grantee: each-province, provinces: own, datasets: [clinic], columns: {in_clear: all}, from: 2024-08-08,
     may_redelegate: true, purpose: p, legal_basis: l}
"""


# ---------------------------------------------------------------- time: heirs and changed codes


def test_before_a_merger_two_provinces_never_see_each_other_and_after_it_the_heir_sees_both(site: Site) -> None:
    """52 was Bình Định's code and is Gia Lai's now; ids are not codes."""
    with site.warehouse.transaction("ndc_owner") as connection:  # the registry as it would be before a merger of next year
        connection.execute(text("UPDATE control.grantee SET valid_until = '2099-07-01' WHERE id IN ('binh-dinh', 'gia-lai')"))
        connection.execute(text("UPDATE control.grantee SET valid_from = '2099-07-01' WHERE id = 'gia-lai-2025'"))
    admin = site.logins.administrator()
    with admin.engine.begin() as connection:
        for role in ("ndc_province_binh_dinh", "ndc_province_gia_lai"):
            connection.execute(text(f"DO $$ BEGIN CREATE ROLE {role}; EXCEPTION WHEN duplicate_object THEN NULL; END $$"))
    admin.dispose()
    with site.warehouse.transaction("ndc_owner") as connection:
        connection.execute(text("SELECT control.apply_access()"))
    assert rows_as(new_person(site, "binh-dinh"), COUNT) == [("binh-dinh", 1)]
    assert rows_as(new_person(site, "gia-lai"), COUNT) == [("gia-lai", 1)]
    assert rows_as(new_person(site, "gia-lai-2025"), COUNT) == []


def test_what_was_given_to_a_province_goes_on_to_its_heir(site: Site) -> None:
    write_access(site.settings.access, entry("neighbour", "binh-dinh", provinces="[ha-noi]"))
    apply_site(site)
    assert ("ha-noi", 1) in rows_as(new_person(site, "gia-lai-2025"), COUNT)


# ---------------------------------------------------------------- workspaces, ledger, audit


def test_a_workspace_is_its_province_s_own_until_it_is_delegated(site: Site) -> None:
    officer, doctor = new_person(site, "gia-lai-2025"), new_person(site, "health-north")
    with psycopg.connect(officer.set(drivername="postgresql").render_as_string(hide_password=False)) as connection:
        connection.execute("CREATE TABLE workspace_gia_lai_2025.mine AS SELECT province_id, visits FROM national.clinic")
        connection.execute("GRANT SELECT ON workspace_gia_lai_2025.mine TO PUBLIC")
    read = "SELECT count(*) FROM workspace_gia_lai_2025.mine"
    for other in (doctor, new_person(site, "ha-noi"), new_person(site, "centre")):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            rows_as(other, read)
    delegate.grant(officer, given(name="shared", shares_workspace=True), "UTC")
    assert rows_as(doctor, read) == [(3,)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        rows_as(doctor, "CREATE TABLE workspace_gia_lai_2025.theirs ()")


def test_a_province_sees_its_own_deliveries_only(site: Site) -> None:
    with site.warehouse.transaction() as connection:
        for sender in ("gia-lai-2025", "binh-dinh", "ha-noi"):
            connection.execute(
                text(
                    "INSERT INTO control.delivery (sender, file_name, sha256, size_bytes, archive_path, state, received_at) "
                    "VALUES (:s, 'f', 'x', 1, 'a', 'received', now())"
                ),
                {"s": sender},
            )
        connection.execute(
            text("INSERT INTO control.rejection SELECT delivery_id, 1, 'f', 'r', 'error', 'v', 'm', 'm', sender FROM control.delivery")
        )
    seen = "SELECT DISTINCT sender FROM control.{} ORDER BY 1"
    for table in ("delivery", "rejection"):
        assert rows_as(new_person(site, "gia-lai-2025"), seen.format(table)) == [("binh-dinh",), ("gia-lai-2025",)]
        assert len(rows_as(new_person(site, "auditor"), seen.format(table))) == 3
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            rows_as(new_person(site, "health-north"), seen.format(table))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        rows_as(new_person(site, "auditor"), "SELECT value FROM control.rejection")


def test_every_change_is_in_the_audit_table_and_none_can_be_taken_out(site: Site) -> None:
    officer = new_person(site, "gia-lai-2025")
    delegate.grant(officer, given(name="clinics"), "UTC")
    delegate.revoke(officer, "clinics", "done")
    found = rows_as(
        new_person(site, "auditor"),
        "SELECT what, login, legal_basis, after->>'revoked_because' FROM control.access_change WHERE name = 'clinics' ORDER BY change_id",
    )
    assert found == [("delegation insert", officer.username, "l", None), ("delegation update", officer.username, "l", "done")]
    admin = site.logins.administrator()
    for sql in ("DELETE FROM control.access_change", "UPDATE control.access_change SET login = 'x'", "TRUNCATE control.access_change",
                "DELETE FROM control.delegation", "UPDATE control.delegation SET provinces = NULL", "TRUNCATE control.delegation CASCADE"):  # fmt: skip
        with pytest.raises(Exception, match=r"only added|never changed"), admin.engine.begin() as connection:
            connection.execute(text(sql))
    admin.dispose()


def test_declared_changes_carry_the_name_of_who_applied_them(site: Site) -> None:
    write_access(site.settings.access, entry("a", "institute"))
    apply_site(site, actor="lan")
    assert rows_as(new_person(site, "auditor"), "SELECT actor FROM control.access_change WHERE name = 'a'") == [("lan",)]


def test_another_country_compiles_by_the_same_default_set(new_site: NewSite) -> None:
    root = Path(__file__).resolve().parents[2] / "examples" / "italy"
    site = new_site(contracts=root / "contracts", reference=root / "reference", access=root / "access")
    load_declaration(site.access, site.registry, site.contracts)
    assert plan_site(site).is_empty


def test_what_a_dropped_organisation_held_and_gave_ends(site: Site) -> None:
    officer, doctor, scholar = new_person(site, "gia-lai-2025"), new_person(site, "health-north"), new_person(site, "institute")
    delegate.grant(officer, given(name="clinics", may_redelegate=True), "UTC")
    delegate.grant(doctor, Grant("institute", "p", "l", name="study"), "UTC")
    write_access(site.settings.access, organisations="organisations:\n  - {id: institute, name: Viện}\n")
    apply_site(site)
    with site.warehouse.transaction("ndc_owner") as connection:
        live = connection.execute(text("SELECT name FROM control.delegation WHERE revoked_at IS NULL AND NOT is_declared")).scalars().all()
    assert live == []
    for login in (doctor, scholar):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            rows_as(login, COUNT)


def test_no_word_of_a_reason_keeps_children_alive(site: Site) -> None:
    officer, doctor, scholar = new_person(site, "gia-lai-2025"), new_person(site, "health-north"), new_person(site, "institute")
    delegate.grant(officer, given(name="clinics", may_redelegate=True), "UTC")
    delegate.grant(doctor, Grant("institute", "p", "l", name="study"), "UTC")
    with psycopg.connect(officer.set(drivername="postgresql").render_as_string(hide_password=False)) as connection:
        connection.execute("SET ndc.replacing = 'on'")
        connection.execute("SELECT control.revoke('clinics', 'replaced')")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        rows_as(scholar, COUNT)


def test_people_whose_last_day_has_passed_are_disabled(site: Site) -> None:
    officer, other = new_person(site, "gia-lai-2025"), new_person(site, "ha-noi")
    with site.warehouse.transaction("ndc_owner") as connection:
        connection.execute(text("UPDATE control.membership SET until = now() WHERE person = :p"), {"p": officer.username})
    admin = site.logins.administrator()
    assert disable_overdue(admin, "night") == [officer.username]
    assert disable_overdue(admin, "night") == []
    admin.dispose()
    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
        rows_as(officer, COUNT)
    assert rows_as(other, COUNT) == [("ha-noi", 1)]


def test_each_grantor_has_names_of_its_own(site: Site) -> None:
    """Or one could keep a name from the others, or from the centre's next declaration."""
    here, there, doctor = new_person(site, "gia-lai-2025"), new_person(site, "ha-noi"), new_person(site, "health-north")
    delegate.grant(here, given(name="a"), "UTC")
    delegate.grant(there, Grant("health-north", "p", "l", ("clinic",), name="a"), "UTC")
    with pytest.raises(SetupFault, match="of this name already"):
        delegate.grant(here, given(name="a"), "UTC")
    write_access(site.settings.access, entry("a", "institute"))
    apply_site(site)
    assert rows_as(doctor, COUNT) == [("binh-dinh", 1), ("ha-noi", 1)]
    assert delegate.revoke(there, "a", "done").count == 1
    assert rows_as(doctor, COUNT) == [("binh-dinh", 1)]


@pytest.mark.parametrize("gap", ["datasets", "provinces", "in_clear"])
def test_a_list_with_an_empty_place_is_refused(site: Site, gap: str) -> None:
    terms: dict[str, Any] = {"datasets": ("clinic",), gap: (None,)}
    wanted = Grant("health-north", "p", "l", **terms)
    with pytest.raises(SetupFault):
        delegate.grant(new_person(site, "gia-lai-2025"), wanted, "UTC")


def test_a_change_that_somebody_keeps_open_is_said_in_a_sentence(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warehouse.access.apply.LOCK_WAIT", "200ms")
    admin = site.logins.administrator()
    with admin.engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(11)"))
        with pytest.raises(MachineFault, match="somebody is changing access"):
            apply_site(site)
    admin.dispose()
    apply_site(site)


def test_a_delegation_that_is_not_committed_keeps_nobody_waiting(site: Site) -> None:
    officer, other, centre = new_person(site, "gia-lai-2025"), new_person(site, "ha-noi"), new_person(site, "centre")
    with psycopg.connect(officer.set(drivername="postgresql").render_as_string(hide_password=False)) as connection:
        connection.execute("SELECT control.delegate('health-north', 'p', 'l')")
        with psycopg.connect(centre.set(drivername="postgresql").render_as_string(hide_password=False)) as reader:
            reader.execute("SET statement_timeout = '5s'")
            assert reader.execute(COUNT.encode()).fetchall()
        delegate.grant(other, Grant("institute", "p", "l", ("clinic",)), "UTC")
        apply_site(site)
        connection.rollback()
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        rows_as(new_person(site, "health-north"), COUNT)


def test_a_reader_cannot_keep_its_own_delegation_alive_by_reading_on(site: Site) -> None:
    officer, doctor = new_person(site, "gia-lai-2025"), new_person(site, "health-north")
    delegate.grant(officer, given(name="clinics"), "UTC")
    delegate.grant(officer, Grant("health-north", "p", "l", ("clinic",), ("gia-lai",), name="others"), "UTC")
    with psycopg.connect(doctor.set(drivername="postgresql").render_as_string(hide_password=False)) as reader:
        assert reader.execute(COUNT.encode()).fetchall() == [("binh-dinh", 1), ("gia-lai", 1)]  # the table is in use until this ends
        ended = delegate.revoke(officer, "clinics", "done")
        assert ended.count == 1 and "the grantee lost them whole" in ended.warnings[0].en
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute(COUNT.encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            rows_as(doctor, COUNT)
    apply_site(site)
    assert rows_as(doctor, COUNT) == [("gia-lai", 1)]


def test_what_is_given_on_below_a_parent_that_ends_meanwhile_does_not_live(site: Site) -> None:
    officer, doctor, scholar = new_person(site, "gia-lai-2025"), new_person(site, "health-north"), new_person(site, "institute")
    delegate.grant(officer, given(name="clinics", may_redelegate=True), "UTC")
    with psycopg.connect(doctor.set(drivername="postgresql").render_as_string(hide_password=False)) as connection:
        connection.execute("SELECT control.delegate('institute', 'p', 'l')")
        delegate.revoke(officer, "clinics", "done")
        with pytest.raises(psycopg.Error, match="parent was revoked just now"):
            connection.commit()
    with psycopg.connect(doctor.set(drivername="postgresql").render_as_string(hide_password=False)) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        with pytest.raises(psycopg.Error, match="READ COMMITTED"):
            connection.execute("SELECT control.delegate('institute', 'p', 'l')")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        rows_as(scholar, COUNT)


def test_a_person_gives_nothing_beyond_its_own_last_day(site: Site) -> None:
    officer, passing = new_person(site, "gia-lai-2025"), new_person(site)
    with site.warehouse.transaction("ndc_owner") as connection:
        connection.execute(
            text("UPDATE control.grantee SET valid_until = now() + interval '9 days' WHERE id = :p"), {"p": passing.username}
        )
    delegate.grant(officer, Grant(str(passing.username), "p", "l", ("clinic",), name="passing", may_redelegate=True), "UTC")
    row = delegate.grant(passing, Grant("institute", "p", "l", ("clinic",)), "UTC")
    assert row["until_at"] is not None
    with pytest.raises(SetupFault, match="until"):
        delegate.grant(passing, Grant("health-north", "p", "l", ("clinic",), until=date(2099, 1, 1)), "UTC")
    with site.warehouse.transaction("ndc_owner") as connection:
        connection.execute(text("UPDATE control.grantee SET valid_until = now() WHERE id = :p"), {"p": passing.username})
    with pytest.raises(SetupFault, match="holds no delegation"):
        delegate.grant(passing, Grant("labour-north", "p", "l", ("clinic",)), "UTC")


def test_a_workspace_is_not_shared_for_a_time(site: Site) -> None:
    officer = new_person(site, "gia-lai-2025")
    for terms in ({"until": date(2099, 1, 1)}, {"start": date(2099, 1, 1)}):
        with pytest.raises(SetupFault, match="without an end"):
            delegate.grant(officer, given(shares_workspace=True, **terms), "UTC")


def test_commune_codes_mean_what_they_mean_on_the_first_day(site: Site) -> None:
    with site.warehouse.transaction() as connection:
        connection.execute(text("DELETE FROM control.commune"))
        connection.execute(
            text(
                "INSERT INTO control.commune VALUES ('1', 'Old', 'gia-lai-2025', '2020-01-01', '2025-06-30'), "
                "('1', 'New', 'gia-lai-2025', '2025-07-01', NULL), ('2', 'Away', 'ha-noi', '2020-01-01', NULL)"
            )
        )
    with site.warehouse.transaction("ndc_owner") as connection:
        connection.execute(text("UPDATE control.dataset SET commune_field = 'clinic_code' WHERE dataset = 'clinic'"))
    officer = new_person(site, "gia-lai-2025")
    row = delegate.grant(officer, Grant("health-north", "p", "l", ("clinic",), communes=("1",)), "UTC", dry_run=True)
    assert (row["periods_from"], row["periods_until"]) == (date(2025, 7, 1), None)
    for code in ("2", "3"):
        with pytest.raises(SetupFault, match=f"communes: {code}"):
            delegate.grant(officer, Grant("health-north", "p", "l", ("clinic",), communes=(code,)), "UTC")


def test_the_centre_ends_what_a_province_gave_on(site: Site) -> None:
    officer, doctor = new_person(site, "gia-lai-2025"), new_person(site, "health-north")
    delegate.grant(officer, given(name="clinics"), "UTC")
    with site.warehouse.transaction("ndc_owner") as connection:
        with pytest.raises(SetupFault, match="gave no live delegation"):
            end_delegation(connection, "clinics", "ha-noi", "why", "lan")
        with pytest.raises(SetupFault, match="gave no live delegation"):
            end_delegation(connection, "centre-all", "centre", "why", "lan")
        assert end_delegation(connection, "clinics", "gia-lai-2025", "why", "lan") == 1
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        rows_as(doctor, COUNT)


def test_a_declared_child_that_its_parent_no_longer_holds_is_a_mistake(site: Site) -> None:
    child = entry("kid", "institute", "grantor: health-north")
    write_access(site.settings.access, entry("par", "health-north", "grantor: gia-lai-2025, may_redelegate: true") + child)
    apply_site(site)
    for parent in (entry("par", "health-north", "grantor: gia-lai-2025"), ""):
        write_access(site.settings.access, parent + child)
        with pytest.raises(SetupFault, match=r"centre.yaml:\d+: kid: "):
            apply_site(site)
    assert rows_as(new_person(site, "institute"), COUNT) == [("gia-lai-2025", 1)]


def test_an_id_is_never_somebody_else_s_later(site: Site) -> None:
    person = new_person(site)
    taken = "organisations:\n  - {{id: {}, name: X}}\n"
    with site.warehouse.transaction("ndc_owner") as connection:
        connection.execute(text("UPDATE control.grantee SET id = 'anna' WHERE id = :p"), {"p": person.username})
    write_access(site.settings.access, organisations=taken.format("anna"))
    with pytest.raises(SetupFault, match="is or was somebody else's"):
        apply_site(site)
    write_access(site.settings.access, organisations="organisations: []")
    apply_site(site)
    write_access(site.settings.access, organisations="organisations:\n  - {id: institute, name: Viện, province: ha-noi}\n")
    with pytest.raises(SetupFault, match="is or was somebody else's"):
        apply_site(site)
    write_access(site.settings.access)
    apply_site(site)  # the very same may come back; what it held does not


def test_nobody_gives_without_end(site: Site) -> None:
    officer = new_person(site, "gia-lai-2025")
    with site.warehouse.transaction("ndc_owner") as connection:
        connection.execute(
            text(
                "INSERT INTO control.delegation (name, parent_id, grantor, grantee, provinces, in_clear, from_at, purpose, legal_basis) "
                "SELECT 'n' || n, delegation_id, 'gia-lai-2025', 'institute', '{gia-lai}', '{}', now(), 'p', 'l' "
                "FROM control.delegation, generate_series(1, 1000) n WHERE name = 'own-rows/gia-lai-2025'"
            )
        )
    with pytest.raises(SetupFault, match="1,000 live delegations"):
        delegate.grant(officer, given(), "UTC")


@pytest.mark.parametrize(
    "arguments",
    ["p_until => 'infinity'", "p_until => '20000-01-01'", "p_from => '-infinity'", "p_periods_until => 'infinity'", "p_name => E'\\x1b[2J'",
     "p_communes => ARRAY[E'a\\\\b']", "p_communes => '{{a,b},{c,d}}'", "p_name => repeat('x', 6000)"],
)  # fmt: skip
def test_what_no_calendar_and_no_code_list_has_is_refused(site: Site, arguments: str) -> None:
    officer = new_person(site, "gia-lai-2025")
    with pytest.raises(psycopg.Error):
        rows_as(officer, f"SELECT control.delegate('health-north', 'p', 'l', {arguments})")
    assert [d["name"] for d in delegate.own_delegations(officer) if not d["is_declared"]] == []


def test_a_folder_that_is_not_there_takes_nothing_back(site: Site) -> None:
    folder = site.settings.access / "delegations"
    folder.rename(folder.with_name("elsewhere"))
    for _ in range(2):
        with pytest.raises(SetupFault, match="every delegation would end"):
            apply_site(site)
        folder.mkdir(exist_ok=True)
    (folder / "centre.yaml").write_text("delegations: []")
    (folder / "centre.yml").write_text("delegations: []")
    with pytest.raises(SetupFault, match=r"end in .yaml"):
        plan_site(site)


def test_nobody_else_can_take_the_locks_that_loads_and_delegations_wait_for(site: Site) -> None:
    for call in (
        "pg_advisory_lock(11)",
        "pg_advisory_xact_lock(12)",
        "pg_try_advisory_lock(10, 1)",
        "pg_advisory_lock_shared(hashtextextended('ha-noi', 9))",
    ):
        for grantee in ("gia-lai-2025", "centre", "public"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                rows_as(new_person(site, grantee), f"SELECT {call}")


@pytest.mark.parametrize("said", ["", "  ", "a\x1b[2J", "x" * 3000])
def test_reasons_are_words(site: Site, said: str) -> None:
    officer = new_person(site, "gia-lai-2025")
    name = delegate.grant(officer, given(), "UTC")["name"]
    with pytest.raises(SetupFault, match="reason is missing"):
        delegate.revoke(officer, name, said)
    with pytest.raises(SetupFault, match="reason is missing"), site.warehouse.transaction("ndc_owner") as connection:
        end_delegation(connection, name, "gia-lai-2025", said, "tester")
    with pytest.raises(SetupFault, match="purpose"):
        delegate.grant(officer, replace(given(), purpose=said), "UTC")
