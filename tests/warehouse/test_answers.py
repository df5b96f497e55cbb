"""Questions about access: who could see what on a day, what somebody sees, why somebody sees nothing, and who changed what."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from etl.cli import app
from etl.site import Site
from expectations.faults import SetupFault
from tests.warehouse.access_site import OWN, apply_site, new_person, put_rows, rows_as, write_access
from warehouse.access import delegate
from warehouse.access.answers import holdings, what, who
from warehouse.access.audit import changes, difference, say_change
from warehouse.access.delegate import Grant
from warehouse.access.records import Records, Span, day_span, read_own_records, read_records
from warehouse.access.why_empty import Verdict, count_own, count_seen, why_empty, why_no_rows

CONTRACTS = Path(__file__).resolve().parent / "access" / "contracts"  # three datasets, each with a commune, `phone` and `citizen`
ZONE = "Asia/Ho_Chi_Minh"
NEVER = datetime(9999, 1, 1, tzinfo=UTC)
ROW = {
    "name": "d",
    "parent_id": None,
    "grantor": "centre",
    "grantee": "institute",
    "datasets": ["visit"],
    "provinces": ["ha-noi"],
    "communes": None,
    "periods_from": None,
    "periods_until": None,
    "in_clear": [],
    "from_at": datetime(2025, 1, 1, tzinfo=UTC),
    "until_at": None,
    "purpose": "p",
    "legal_basis": "l",
    "created_at": datetime(2025, 1, 1, tzinfo=UTC),
    "revoked_at": None,
    "revoked_by": None,
    "revoked_because": None,
}


@pytest.fixture
def site(new_site: Callable[..., Site], tmp_path: Path) -> Site:
    return new_site(contracts=CONTRACTS, access=write_access(tmp_path / "access"))


def now() -> datetime:
    return datetime.now(UTC)


def today() -> Span:
    return Span(now(), NEVER)


def day(said: str) -> Span:
    return day_span(date.fromisoformat(said), ZONE)


def moment(said: str) -> datetime:
    return datetime.fromisoformat(f"{said}+07:00")


def run(site: Site, sql: str, **values: Any) -> None:
    with site.warehouse.transaction("ndc_owner") as connection:
        connection.execute(text(sql), values)


def enter(site: Site, **terms: Any) -> None:
    """A delegation of the past, as it stands in the table."""
    row = ROW | terms
    run(site, f"INSERT INTO control.delegation ({', '.join(row)}) VALUES ({', '.join(':' + name for name in row)})", **row)


def records_of(site: Site) -> Records:
    with site.warehouse.transaction("ndc_owner") as connection:
        return read_records(connection)


def ids(site: Site, when: Span, province: str, column: str | None = None, commune: str | None = None) -> set[str]:
    return {h.holder["id"] for h in who(records_of(site), when, "visit", province, commune, column)}


def given(site: Site, grantor: str, grantee: str, **terms: Any) -> str:
    """A delegation that a new officer of `grantor` gives; returns the officer's login."""
    officer = new_person(site, grantor)
    delegate.grant(officer, Grant(grantee, "p", "l", **({"datasets": ("visit",)} | terms)), ZONE)
    return str(officer.username)


# ---------------------------------------------------------------- who


def test_who_sees_a_province_is_itself_the_heir_of_an_ended_one_the_centre_and_their_people(site: Site) -> None:
    officer = new_person(site, "gia-lai-2025")
    assert ids(site, today(), "gia-lai-2025") == {"gia-lai-2025", "centre", officer.username}
    assert ids(site, today(), "binh-dinh") == {"gia-lai-2025", "centre", officer.username}
    assert ids(site, today(), "ha-noi") == {"ha-noi", "centre"}


def test_a_province_may_be_named_by_its_role(site: Site) -> None:
    assert ids(site, today(), "ndc_province_ha_noi") == {"ha-noi", "centre"}


def test_a_restricted_column_is_seen_only_where_a_delegation_shows_it_in_clear(site: Site) -> None:
    given(site, "ha-noi", "institute", in_clear=("visit.phone",), name="phones")
    with_officer = ids(site, today(), "ha-noi")
    assert ids(site, today(), "ha-noi", "phone") == with_officer - {"centre"}
    assert ids(site, today(), "ha-noi", "citizen") == with_officer - {"centre", "institute"}
    assert ids(site, today(), "ha-noi", "amount") == with_officer
    assert "institute" not in ids(site, today(), "lao-cai", "phone")


def test_a_delegation_of_some_communes_shows_no_others(site: Site) -> None:
    enter(site, communes=["K1"])
    assert "institute" in ids(site, today(), "ha-noi") and "institute" in ids(site, today(), "ha-noi", commune="K1")
    assert "institute" not in ids(site, today(), "ha-noi", commune="K2")


@pytest.mark.parametrize(
    ("on", "seen"),
    [("2026-02-28", False), ("2026-03-01", True), ("2026-05-01", True), ("2026-05-02", False)],
)
def test_a_delegation_counts_from_its_entry_to_its_revocation_whatever_its_terms_say(site: Site, on: str, seen: bool) -> None:
    enter(site, created_at=moment("2026-03-01 23:59"), revoked_at=moment("2026-05-01 00:01"), until_at=moment("2027-01-01 00:00"))
    assert ("institute" in ids(site, day(on), "ha-noi")) is seen


@pytest.mark.parametrize(("on", "seen"), [("2026-01-31", False), ("2026-02-01", True), ("2026-06-30", True), ("2026-07-01", False)])
def test_a_delegation_counts_from_its_first_day_to_its_last_whatever_became_of_it_later(site: Site, on: str, seen: bool) -> None:
    enter(site, from_at=moment("2026-02-01 00:00"), until_at=moment("2026-07-01 00:00"), revoked_at=moment("2026-08-01 00:00"))
    assert ("institute" in ids(site, day(on), "ha-noi")) is seen


def test_what_was_given_below_ends_with_its_parent(site: Site) -> None:
    officer, doctor = new_person(site, "gia-lai-2025"), new_person(site, "health-north")
    delegate.grant(officer, Grant("health-north", "p", "l", ("visit",), may_redelegate=True, name="above"), ZONE)
    delegate.grant(doctor, Grant("institute", "p", "l", ("visit",), name="below"), ZONE)
    between = now()
    delegate.revoke(officer, "above", "done")
    assert not {"institute", "health-north"} & ids(site, today(), "gia-lai-2025")
    assert {"institute", "health-north", doctor.username} < ids(site, Span(between, between + timedelta(microseconds=1)), "gia-lai-2025")


def test_what_was_given_to_a_province_passes_to_its_heir_on_the_day_of_the_merger(site: Site) -> None:
    enter(site, grantee="binh-dinh")
    for on, holder, inherited_from in (("2025-06-30", "binh-dinh", None), ("2025-07-01", "gia-lai-2025", "binh-dinh")):
        found = [h for h in who(records_of(site), day(on), "visit", "ha-noi") if h.delegation["name"] == "d"]
        assert [(h.holder["id"], h.inherited_from) for h in found] == [(holder, inherited_from)]


def test_own_rows_do_not_pass_to_an_heir_and_nothing_does_from_one_that_was_taken_out(site: Site) -> None:
    enter(site, grantee="binh-dinh")
    enter(site, grantee="binh-dinh", name="own", is_own=True)
    run(site, "UPDATE control.grantee SET ended_at = :at WHERE id = 'binh-dinh'", at=moment("2025-09-01 00:00"))

    def names(on: str) -> list[str]:
        return [h.delegation["name"] for h in what(records_of(site), day(on), "gia-lai-2025").holdings]

    assert names("2025-08-31") == ["d"] and names("2025-09-01") == []


@pytest.mark.parametrize(
    ("on", "seen"),
    [("2026-03-31", False), ("2026-04-01", True), ("2026-04-30", True), ("2026-05-01", False), ("2026-06-01", True), ("2026-07-01", False)],
)
def test_a_person_sees_through_a_group_only_while_it_belongs_there(site: Site, on: str, seen: bool) -> None:
    enter(site)
    person = str(new_person(site).username)
    for since, until in (("2026-04-01", "2026-05-01"), ("2026-06-01", "2026-09-01")):
        run(
            site,
            "INSERT INTO control.membership (person, grantee, since, until) VALUES (:p, 'institute', :since, :until)",
            p=person,
            since=moment(f"{since} 00:00"),
            until=moment(f"{until} 00:00"),
        )
    run(site, "UPDATE control.grantee SET ended_at = :at WHERE id = :p", p=person, at=moment("2026-07-01 00:00"))
    found = [h for h in who(records_of(site), day(on), "visit", "ha-noi") if h.holder["id"] == person]
    assert [h.belongs_to and h.belongs_to["id"] for h in found] == ["institute"] * seen


def test_what_is_in_force_now_is_what_the_database_compiles(site: Site) -> None:
    given(site, "gia-lai-2025", "health-north", in_clear=("visit.phone",))
    enter(site, grantee="kon-tum", name="inherited")
    enter(site, until_at=moment("2026-01-01 00:00"), name="expired")
    enter(site, revoked_at=moment("2026-01-01 00:00"), name="revoked")
    enter(site, from_at=now() + timedelta(days=9), name="to-come")
    with site.warehouse.transaction("ndc_owner") as connection:
        sight = connection.execute(
            text("SELECT DISTINCT delegation_id, role FROM control.sight() WHERE from_at IS NULL OR from_at <= now()")
        )
        compiled = {(row.delegation_id, row.role) for row in sight}
    found = {
        (h.delegation["delegation_id"], h.holder["role"]) for h in holdings(records_of(site), Span(now(), now() + timedelta(seconds=1)))
    }
    people = {row["role"] for row in records_of(site).grantees.values() if row["kind"] == "person"}
    assert {(d, role) for d, role in found if role not in people} == {(d, role) for d, role in compiled if not _is_to_come(site, role)}


def _is_to_come(site: Site, role: str) -> bool:
    return any(g["role"] == role and g["valid_from"] and g["valid_from"] > now() for g in records_of(site).grantees.values())


def test_what_is_not_known_is_said_with_a_suggestion(site: Site) -> None:
    records = records_of(site)
    with pytest.raises(SetupFault, match="Did you mean 'visit'"):
        who(records, today(), "visits", "ha-noi")
    with pytest.raises(SetupFault, match="Did you mean 'ha-noi'"):
        what(records, today(), "hanoi")
    with pytest.raises(SetupFault, match="no province 'institute'"):
        who(records, today(), "visit", "institute")
    with pytest.raises(SetupFault, match="Did you mean 'citizen'"):
        who(records, today(), "visit", "ha-noi", column="citzen")
    with pytest.raises(SetupFault, match="no province 'institute'"):
        why_empty(records, now(), ZONE, "centre", "visit", "institute")


# ---------------------------------------------------------------- what


def test_what_a_role_sees_names_each_delegation_and_its_chain(site: Site) -> None:
    given(site, "gia-lai-2025", "health-north", name="visits")
    records = records_of(site)
    (holding,) = what(records, today(), "ndc_org_health_north").holdings
    assert holding.delegation["name"] == "visits"
    assert [d["name"] for d in records.chain(holding.delegation)] == ["own-rows/gia-lai-2025"]


def test_what_somebody_sees_beside_rows_is_its_ledger_and_workspaces(site: Site) -> None:
    given(site, "gia-lai-2025", "health-north", shares_workspace=True)
    officer, doctor = str(new_person(site, "gia-lai-2025").username), str(new_person(site, "health-north").username)
    records = records_of(site)
    province, department = what(records, today(), officer), what(records, today(), doctor)
    assert province.ledger == ("binh-dinh", "gia-lai", "gia-lai-2025") and department.ledger == ()
    assert province.workspaces == {"gia-lai-2025": True} and department.workspaces == {"gia-lai-2025": False}
    assert what(records, today(), "auditor").ledger is None and what(records, today(), "auditor").holdings == ()


def test_a_login_is_told_of_itself_what_the_owner_reads(site: Site) -> None:
    enter(site, grantee="binh-dinh", name="inherited")
    officer, doctor, analyst = new_person(site, "gia-lai-2025"), new_person(site, "health-north"), new_person(site, "centre")
    auditor = new_person(site, "auditor")
    delegate.grant(officer, Grant("health-north", "p", "l", ("visit",), in_clear=("visit.phone",), shares_workspace=True), ZONE)
    whole = records_of(site)
    for url, group in ((officer, "gia-lai-2025"), (doctor, "health-north"), (analyst, "centre"), (auditor, "auditor")):
        own = read_own_records(url, ZONE)
        for role in (str(url.username), group):
            told, known = what(own, today(), role), what(whole, today(), role)
            assert [h.delegation["delegation_id"] for h in told.holdings] == [h.delegation["delegation_id"] for h in known.holdings], role
            assert (told.workspaces, told.ledger) == (known.workspaces, known.ledger)
    assert "inherited" in {h.delegation["name"] for h in what(read_own_records(officer, ZONE), today(), "gia-lai-2025").holdings}


def test_a_login_is_not_told_of_others_what_it_cannot_know(site: Site) -> None:
    officer, analyst, auditor = new_person(site, "gia-lai-2025"), new_person(site, "centre"), new_person(site, "auditor")
    for other in ("ha-noi", "institute", str(analyst.username)):
        with pytest.raises(SetupFault):
            what(read_own_records(officer, ZONE), today(), other)
    assert what(read_own_records(analyst, ZONE), today(), "ha-noi").holdings
    with pytest.raises(SetupFault, match="not told all about"):
        what(read_own_records(analyst, ZONE), today(), str(officer.username))
    assert what(read_own_records(auditor, ZONE), today(), str(officer.username)).holdings


# ---------------------------------------------------------------- why nothing


def verdict(site: Site, role: str, province: str | None = None, column: str | None = None, at: datetime | None = None) -> Verdict:
    return why_empty(records_of(site), at or now(), ZONE, role, "visit", province, column)


def reason(site: Site, role: str, province: str | None = None, column: str | None = None, at: datetime | None = None) -> tuple[str, str]:
    """The rule and the English sentence."""
    found = verdict(site, role, province, column, at).reason
    return (found.rule, found.message.en) if found else ("", "")


def test_an_ended_province_is_pointed_to_its_heir(site: Site) -> None:
    rule, said = reason(site, "binh-dinh")
    assert rule == "ended" and "1 Jul 2025 00:00" in said and "--role gia-lai-2025" in said
    assert reason(site, "gia-lai-2025", at=moment("2025-01-01 00:00"))[0] == "not-begun"


def test_a_person_who_is_disabled_or_belongs_nowhere_is_told_so(site: Site) -> None:
    loner, left, officer = (str(new_person(site, *groups).username) for groups in ((), ("ha-noi",), ("ha-noi",)))
    assert reason(site, loner)[0] == "no-group"
    run(site, "UPDATE control.membership SET until = '2027-03-01 00:00+07' WHERE person = :p", p=left)
    assert reason(site, left) == ("", "")  # whose last day is known still belongs there
    rule, said = reason(site, left, at=moment("2027-03-01 00:00"))
    assert rule == "no-group" and "ha-noi: until 1 Mar 2027" in said
    run(site, "UPDATE control.grantee SET ended_at = '2026-11-01 08:00+07' WHERE id = :p", p=officer)
    rule, said = reason(site, officer)
    assert rule == "disabled" and "1 Nov 2026 08:00" in said


def test_who_was_never_given_anything_is_told_whom_to_ask_and_what_it_sees_instead(site: Site) -> None:
    assert reason(site, "health-north")[0] == "no-delegation"
    rule, said = reason(site, "gia-lai-2025", "ha-noi")
    assert rule == "no-delegation" and "it sees binh-dinh, gia-lai, gia-lai-2025" in said
    enter(site, provinces=["lao-cai"], revoked_at=moment("2026-01-01 00:00"))
    assert "lao-cai" not in reason(site, "institute", "ha-noi")[1]  # that it saw once, it does not see


def test_a_revoked_delegation_is_said_with_who_when_and_why(site: Site) -> None:
    officer, doctor = new_person(site, "gia-lai-2025"), new_person(site, "health-north")
    delegate.grant(officer, Grant("health-north", "p", "l", ("visit",), may_redelegate=True, name="above"), ZONE)
    delegate.grant(doctor, Grant("institute", "p", "l", ("visit",), name="below"), ZONE)
    assert reason(site, "health-north") == ("", "")
    delegate.revoke(officer, "above", "no more needed")
    rule, said = reason(site, "health-north")
    assert rule == "revoked" and f"by {officer.username}: no more needed" in said and "Ask gia-lai-2025" in said
    rule, said = reason(site, "institute")
    assert rule == "revoked" and "because 'above'" in said and f"by {officer.username}: no more needed" in said
    assert reason(site, str(new_person(site, "health-north").username))[0] == "revoked"  # who joined after it had ended
    own = why_empty(read_own_records(doctor, ZONE), now(), ZONE, str(doctor.username), "visit").reason
    assert own is not None and own.rule == "revoked" and "no more needed" in own.message.en


def test_a_declared_delegation_that_ended_is_mended_in_its_file(site: Site) -> None:
    write_access(
        site.access.folder,
        "  - {id: study, grantee: institute, provinces: all, datasets: all, from: 2026-01-01, purpose: p, legal_basis: l}\n",
    )
    apply_site(site)
    assert reason(site, "institute") == ("", "")
    write_access(site.access.folder)
    apply_site(site)
    rule, said = reason(site, "institute")
    assert rule == "revoked" and "no longer declared" in said and "declared in centre.yaml" in said


def test_an_expired_delegation_and_one_to_come_are_told_apart(site: Site) -> None:
    enter(site, until_at=moment("2026-07-01 00:00"), revoked_at=moment("2026-08-01 00:00"), revoked_because="parent above")
    rule, said = reason(site, "institute")
    assert rule == "expired" and "1 Jul 2026 00:00" in said
    enter(site, from_at=moment("2030-01-01 00:00"), name="later")
    rule, said = reason(site, "institute")
    assert rule == "not-begun" and "'later'" in said and "1 Jan 2030" in said


def test_a_restricted_column_that_no_delegation_shows_is_the_reason(site: Site) -> None:
    enter(site, in_clear=["visit.phone"])
    assert reason(site, "institute", column="phone") == ("", "")
    rule, said = reason(site, "institute", column="citizen")
    assert rule == "not-in-clear" and "--in-clear citizen" in said
    assert reason(site, "institute", column="amount") == ("", "")


def test_rows_within_a_delegation_are_counted_and_no_others(site: Site) -> None:
    rows = [
        ("gia-lai", "K1", "2024-01-01"),
        ("binh-dinh", "K1", "2025-01-01"),
        ("binh-dinh", "K2", "2026-01-01"),
        ("ha-noi", "K1", "2025-01-01"),
    ]
    put_rows(site, "visit", [{"province_id": p, "commune": c, "period": t, "code": str(n)} for n, (p, c, t) in enumerate(rows)])
    enter(site, provinces=["binh-dinh", "ha-noi"], communes=["K1"], periods_from=date(2024, 6, 1), periods_until=date(2025, 6, 1))

    def count(role: str, province: str | None = None) -> int:
        with site.warehouse.transaction() as connection:
            return count_seen(connection, records_of(site).datasets["visit"], verdict(site, role, province).through, province)

    assert (count("gia-lai-2025"), count("gia-lai-2025", "binh-dinh"), count("centre")) == (3, 2, 4)
    assert (count("institute"), count("institute", "ha-noi")) == (2, 1)


def test_a_login_counts_what_its_policies_show_it(site: Site) -> None:
    put_rows(site, "visit", [{"province_id": p, "code": p, "commune": "%K"} for p in ("gia-lai", "binh-dinh", "ha-noi")])
    officer = new_person(site, "gia-lai-2025")
    records = read_own_records(officer, ZONE)
    through = why_empty(records, now(), ZONE, str(officer.username), "visit").through
    assert count_own(officer, records.datasets["visit"], through) == 2 == rows_as(officer, "SELECT count(*) FROM national.visit")[0][0]
    everything = [{**through[0], "provinces": None}]
    assert count_own(officer, records.datasets["visit"], everything) == 2  # the database filters, whatever is asked
    assert count_own(officer, records.datasets["visit"], [{**through[0], "communes": ["%K"]}], "gia-lai") == 1


def test_when_there_are_no_rows_a_limit_of_the_delegation_is_named_before_the_sender(site: Site) -> None:
    enter(site, communes=["K1"], periods_from=date(2024, 1, 1))
    found = why_no_rows(verdict(site, "institute"), "institute", "visit")
    assert found.rule == "no-rows-in-limits" and "K1 (2024-01-01 – …)" in found.message.en
    enter(site, name="whole")
    found = why_no_rows(verdict(site, "institute", "ha-noi"), "institute", "visit", "ha-noi")
    assert found.rule == "no-rows" and "visit of ha-noi" in found.message.en and "ndc deliveries" in found.message.en


# ---------------------------------------------------------------- changes


def changes_of(site: Site, **asked: Any) -> list[Any]:
    with site.warehouse.transaction("ndc_owner") as connection:
        return changes(connection, **asked)


def test_the_audit_table_says_from_what_to_what(site: Site) -> None:
    run(site, "UPDATE control.grantee SET name = 'Other', valid_until = '2030-01-01 00:00+07' WHERE id = 'institute'")
    last, *_ = changes_of(site, name="institute")
    assert (last["what"], last["login"]) == ("grantee update", "ndc_service")
    assert difference(last, ZONE) == "name: Viện → Other; valid_until: ∅ → 2030-01-01 00:00"
    assert changes_of(site, since=now() + timedelta(days=1)) == []


def test_a_delegation_given_and_revoked_is_told_in_words(site: Site) -> None:
    officer = new_person(site, "gia-lai-2025")
    delegate.grant(officer, Grant("institute", "research", "act 5", ("visit",), until=date(2031, 12, 31), name="visits"), ZONE)
    delegate.revoke(officer, "visits", "done")
    revoked, given_ = changes_of(site, name="visits")
    assert given_["legal_basis"] == "act 5" and given_["login"] == officer.username
    said = say_change(given_, ZONE).en
    assert said.startswith("gia-lai-2025 gives: institute sees the rows of") and "until 31 Dec 2031" in said and said.endswith("research")
    assert say_change(revoked, ZONE).en == "gia-lai-2025 → institute: in force → revoked: done"
    joined, new = changes_of(site, name=str(officer.username))
    assert say_change(joined, ZONE).en == "joins gia-lai-2025" and say_change(new, ZONE).en.startswith("new person")


def test_every_change_of_a_new_warehouse_can_be_told(site: Site) -> None:
    found = changes_of(site)
    assert found and all(say_change(c, ZONE).vi for c in found)
    assert len(changes_of(site, name="own-rows")) == sum(c["name"].startswith("own-rows/") for c in found) > 1  # one entry, many rows


def test_applying_twice_changes_no_audit_row(site: Site) -> None:
    before = len(changes_of(site))
    apply_site(site)
    assert len(changes_of(site)) == before


# ---------------------------------------------------------------- the commands


@pytest.fixture
def ndc(site: Site, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setattr("etl.cli.access.open_site", lambda: site)
    monkeypatch.setenv("PGPASSWORD", "secret")
    monkeypatch.setattr("tests.conftest.FixedLogins.person_url", _person_url, raising=False)
    return lambda *arguments: CliRunner().invoke(app, ["access", *arguments])


def _person_url(logins: Any, name: str, password: str | None) -> Any:
    return logins.pipeline().url.set(username=name)._replace(password=password)


def test_who_tells_machines_each_way_of_seeing_with_its_grantors_up_to_the_centre(site: Site, ndc: Callable[..., Result]) -> None:
    given(site, "gia-lai-2025", "institute", in_clear=("visit.phone",), until=date(2031, 12, 31), name="visits")
    found = {w["delegation"]: w for w in json.loads(ndc("who", "--dataset", "visit", "--province", "binh-dinh", "--json").stdout)}
    assert (found["visits"]["who"], found["visits"]["granted_by"]) == ("institute", ["gia-lai-2025", "centre"])
    assert found["visits"]["columns_in_clear"] == {"visit": ["phone"]} and found["visits"]["until"].startswith("2031-12-31T17:00")
    assert found["centre-all"]["until"] is None
    assert json.loads(ndc("who", "--dataset", "visit", "--province", "binh-dinh", "--on", "2024-12-31", "--json").stdout) == []


def test_who_tells_people_what_ended_today_and_of_the_pipelines_own_roles(site: Site, ndc: Callable[..., Result]) -> None:
    officer = new_person(site, "gia-lai-2025")
    delegate.grant(officer, Grant("institute", "p", "l", ("visit",), name="visits"), ZONE)
    assert "ended" not in ndc("who", "--dataset", "visit", "--province", "gia-lai").stdout
    delegate.revoke(officer, "visits", "done")
    said = ndc("who", "--dataset", "visit", "--province", "gia-lai").stdout
    assert "institute" in said and "ended" in said and "ndc_loader" in said and "ndc_owner sees none" in said


def test_what_and_why_empty_answer_a_login_about_itself(site: Site, ndc: Callable[..., Result]) -> None:
    put_rows(site, "visit", [{"province_id": "ha-noi", "code": "1"}])
    officer = str(new_person(site, "ha-noi").username)
    *through, beside = json.loads(ndc("what", "--login", officer, "--json").stdout)
    assert [w["delegation"] for w in through] == ["own-rows/ha-noi"]
    assert (beside["ledger_of"], beside["workspaces"]) == (["ha-noi"], {"ha-noi": "own"})
    assert json.loads(ndc("why-empty", "--login", officer, "--dataset", "visit", "--json").stdout)["rows"] == 1
    assert json.loads(ndc("why-empty", "--role", officer, "--dataset", "visit", "--json").stdout)["rows"] == 1
    said = ndc("why-empty", "--login", officer, "--dataset", "visit").stdout
    assert "sees 1 rows" in said and "COPY (SELECT" in said


def test_why_empty_says_one_reason_or_which_columns_stay_hidden(site: Site, ndc: Callable[..., Result]) -> None:
    empty = json.loads(ndc("why-empty", "--role", "centre", "--dataset", "visit", "--province", "ha-noi", "--json").stdout)
    assert [r["rule"] for r in empty["reasons"]] == ["no-rows"] and empty["rows"] == 0
    put_rows(site, "visit", [{"province_id": "ha-noi", "code": "1"}])
    said = ndc("why-empty", "--role", "centre", "--dataset", "visit", "--province", "ha-noi").stdout
    assert "sees 1 rows" in said and "not seen in clear: phone, citizen" in said


def test_nobody_named_is_a_wrong_usage(ndc: Callable[..., Result]) -> None:
    assert ndc("what").exit_code == 2 and ndc("why-empty", "--dataset", "visit").exit_code == 2


def test_changes_are_shortened_for_people_and_whole_for_machines(site: Site, ndc: Callable[..., Result]) -> None:
    count = len(changes_of(site))
    assert f"50 of {count} changes" in ndc("changes").stdout and len(json.loads(ndc("changes", "--json").stdout)) == count > 50


def test_a_dataset_without_communes_has_no_answer_by_commune(new_site: Callable[..., Site], tmp_path: Path) -> None:
    other = new_site(contracts=CONTRACTS.parents[1].parent / "data" / "contracts", access=write_access(tmp_path / "access", own=OWN))
    with pytest.raises(SetupFault, match="no column with communes"):
        who(records_of(other), today(), "clinic", "ha-noi", commune="K1")
