"""Questions about access: who could see what on a day, and why somebody sees nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from etl.site import Site
from expectations.faults import SetupFault
from tests.warehouse.access_site import apply_site, new_person, put_rows, write_access
from warehouse.access import delegate
from warehouse.access.answers import Records, Span, changes, count_seen, difference, read_records, what, who, why_empty
from warehouse.access.delegate import Grant

CONTRACTS = Path(__file__).resolve().parents[1] / "data" / "contracts"
NEVER = datetime(9999, 1, 1, tzinfo=UTC)


@pytest.fixture
def site(new_site: Callable[..., Site], tmp_path: Path) -> Site:
    return new_site(contracts=CONTRACTS, access=write_access(tmp_path / "access"))


def now() -> datetime:
    return datetime.now(UTC)


def records_of(site: Site) -> Records:
    with site.warehouse.transaction("ndc_owner") as connection:
        return read_records(connection)


def ids(site: Site, when: Span, province: str, column: str | None = None) -> set[str]:
    return {h.holder["id"] for h in who(records_of(site), when, "clinic", province, column=column)}


def today() -> Span:
    return Span(now(), NEVER)


def test_who_sees_a_province_is_itself_the_heir_of_an_ended_one_the_centre_and_their_people(site: Site) -> None:
    officer = new_person(site, "gia-lai-2025")
    assert ids(site, today(), "gia-lai-2025") == {"gia-lai-2025", "centre", officer.username}
    assert ids(site, today(), "binh-dinh") == {"gia-lai-2025", "centre", officer.username}
    assert ids(site, today(), "ha-noi") == {"ha-noi", "centre"}


def test_a_restricted_column_is_seen_only_where_a_delegation_shows_it_in_clear(site: Site) -> None:
    restricted = records_of(site).datasets["clinic"]["restricted"][0]
    assert ids(site, today(), "ha-noi", restricted) == {"ha-noi"}
    assert ids(site, today(), "ha-noi", "visits") == {"ha-noi", "centre"}


def test_a_past_day_is_answered_as_it_was(site: Site) -> None:
    before = now()
    officer = new_person(site, "gia-lai-2025")
    delegate.grant(officer, Grant("health-north", "p", "l", ("clinic",), name="clinics"), "UTC")
    between = now()
    delegate.revoke(officer, "clinics", "done")
    assert "health-north" not in ids(site, today(), "gia-lai-2025")
    assert "health-north" in ids(site, Span(between, between + timedelta(microseconds=1)), "gia-lai-2025")
    assert officer.username not in ids(site, Span(before - timedelta(seconds=1), before), "gia-lai-2025")
    long_ago = datetime(2025, 1, 1, tzinfo=UTC)  # the delegations say from 2024 on, but nothing was in force before they were applied
    assert ids(site, Span(long_ago, long_ago + timedelta(days=1)), "gia-lai-2025") == set()


def test_what_a_role_sees_names_each_delegation_and_its_chain(site: Site) -> None:
    delegate.grant(new_person(site, "gia-lai-2025"), Grant("health-north", "p", "l", ("clinic",), name="clinics"), "UTC")
    records = records_of(site)
    (holding,) = what(records, today(), "ndc_org_health_north")
    assert holding.delegation["name"] == "clinics" and records.chain(holding.delegation) == ("own-rows/gia-lai-2025",)


def test_why_nothing_is_seen_is_said_with_the_delegation_that_is_missing_or_over(site: Site) -> None:
    def rules(role: str, province: str | None = None) -> list[str]:
        return [r.rule for r in why_empty(records_of(site), now(), role, "clinic", province)[0]]

    assert rules("health-north") == ["no-delegation"]
    assert rules("gia-lai-2025", "ha-noi") == ["no-delegation"]
    assert rules("binh-dinh") == ["ended"]
    loner = new_person(site)
    assert rules(str(loner.username)) == ["no-group"]
    officer = new_person(site, "gia-lai-2025")
    delegate.grant(officer, Grant("health-north", "p", "l", ("clinic",), name="clinics"), "UTC")
    assert rules("health-north") == []
    delegate.revoke(officer, "clinics", "done")
    (reason,) = why_empty(records_of(site), now(), "health-north", "clinic")[0]
    assert reason.rule == "revoked" and "done" in reason.message.en and str(officer.username) in reason.message.en
    later = {"start": (now() + timedelta(days=9)).date()}
    delegate.grant(officer, Grant("labour-north", "p", "l", ("clinic",), **later), "UTC")  # type: ignore[arg-type]
    assert rules("labour-north") == ["not-begun"]
    with_end = {"until": (now() + timedelta(days=1)).date()}
    delegate.grant(officer, Grant("institute", "p", "l", ("clinic",), **with_end), "UTC")  # type: ignore[arg-type]
    assert rules("institute") == []
    assert [r.rule for r in why_empty(records_of(site), now() + timedelta(days=9), "institute", "clinic")[0]] == ["expired"]


def test_rows_within_a_delegation_are_counted_and_no_others(site: Site) -> None:
    put_rows(site, "clinic", [{"province_id": p, "clinic_code": "A001", "visits": 1} for p in ("gia-lai", "binh-dinh", "ha-noi")])
    _, live = why_empty(records_of(site), now(), "gia-lai-2025", "clinic")
    with site.warehouse.transaction() as connection:
        assert count_seen(connection, "clinic", live) == 2


def test_what_is_not_known_is_said_with_a_suggestion(site: Site) -> None:
    with pytest.raises(SetupFault, match="Did you mean 'clinic'"):
        who(records_of(site), today(), "clinics", "ha-noi")
    with pytest.raises(SetupFault, match="Did you mean 'ha-noi'"):
        what(records_of(site), today(), "hanoi")
    with pytest.raises(SetupFault, match="no province 'institute'"):
        who(records_of(site), today(), "clinic", "institute")


def test_the_audit_table_says_from_what_to_what(site: Site) -> None:
    with site.warehouse.transaction("ndc_owner") as connection:
        connection.execute(text("UPDATE control.grantee SET name = 'Other' WHERE id = 'institute'"))
        (last, *_) = changes(connection, name="institute")
        assert changes(connection, since=now() + timedelta(days=1)) == []
    assert last["what"] == "grantee update" and "Viện → Other" in difference(
        {**last, "before": {"label": "Viện"}, "after": {"label": "Other"}}
    )


def test_applying_twice_changes_no_audit_row(site: Site) -> None:
    with site.warehouse.transaction("ndc_owner") as connection:
        before = len(changes(connection))
    apply_site(site)
    with site.warehouse.transaction("ndc_owner") as connection:
        assert len(changes(connection)) == before
