"""The calendar of expected deliveries: who is expected when, what became of it, and which periods are settled, on a real database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from etl.calendar import freeze, overdue_from, settle
from etl.site import Site
from expectations.contract import Contract, Latency, Schedule
from expectations.faults import SetupFault
from expectations.odcs import load_contract, parse_contract
from expectations.period import Period
from tests.etl.conftest import CONTRACTS
from tests.warehouse.access_site import apply_site, new_person, rows_as, write_access
from warehouse import calendar
from warehouse.access.prove import prove

ZONE = "Asia/Ho_Chi_Minh"
NOW = datetime(2025, 8, 20, 12, tzinfo=UTC)
NEIGHBOUR = "ndc_province_gia_lai_2025"
PAST, FUTURE = "2000-01-01T00:00Z", "9000-01-01T00:00Z"
STATUS = "SELECT sender, state FROM control.delivery_status WHERE dataset = 'clinic' ORDER BY sender"


@pytest.fixture
def site(new_site: Callable[..., Site]) -> Site:
    return new_site(contracts=CONTRACTS)


def due_after(contract: Contract, days: int | None = None, **changes: Any) -> dict[str, Contract]:
    return {contract.dataset: replace(contract, schedule=Schedule(due_days=days), **changes)}


def run(site: Site, sql: str, **values: Any) -> Any:
    with site.warehouse.transaction() as connection:
        done = connection.execute(text(sql), values)
        return done.all() if done.returns_rows else None


def enter(site: Site, sender: str, period: str, state: str = "stored", *, loaded: int = 1, rejected: int = 0, **changes: Any) -> None:
    """An entry of the ledger, as a delivery of `clinic` leaves it behind."""
    was_loaded = state in ("loaded", "stored", "superseded")
    values = {
        "sender": sender,
        "dataset": "clinic",
        "province_id": sender,
        "period": period,
        "state": state,
        "received_at": NOW,
        "file_name": "f",
        "sha256": "x",
        "size_bytes": 1,
        "archive_path": "a",
        "row_checksum": 1 if was_loaded else None,
        "lines_read": loaded + rejected,
        "lines_loaded": loaded if was_loaded else 0,
        "lines_waiting": 0,
        **changes,
    }
    values["lines_rejected"] = values["lines_read"] - values["lines_loaded"]
    run(site, f"INSERT INTO control.delivery ({', '.join(values)}) VALUES ({', '.join(':' + n for n in values)})", **values)


def expect(site: Site, sender: str, period: str = "2025-07-01", due: str | None = PAST) -> None:
    run(site, "INSERT INTO control.expected (dataset, sender, period, due_at) VALUES ('clinic', :s, :p, :d)", s=sender, p=period, d=due)


def frozen(site: Site, contracts: dict[str, Contract], now: datetime = NOW, registry: Any = None) -> int:
    with site.warehouse.transaction() as connection:
        return freeze(connection, contracts, registry or site.registry, now, ZONE)


# ---------------------------------------------------------------- what is expected


def test_the_senders_are_the_provinces_of_the_periods_day_and_a_body_is_one(site: Site) -> None:
    enter(site, "ha-noi", "2025-06-01")
    contracts = due_after(site.contracts["clinic"], 10) | {"harvest": site.contracts["harvest"]}
    assert frozen(site, contracts) == 63 + 34 + 1
    count = dict(run(site, "SELECT period, count(*) FROM control.expected WHERE dataset = 'clinic' GROUP BY 1"))
    assert count == {date(2025, 6, 1): 63, date(2025, 7, 1): 34}
    assert run(site, "SELECT sender, period, due_at FROM control.expected WHERE dataset = 'harvest'") == [
        ("bureau", date(2024, 1, 1), None)
    ]
    assert run(site, "SELECT DISTINCT due_at FROM control.expected WHERE period = '2025-07-01'") == [
        (datetime(2025, 8, 10, 17, tzinfo=UTC),)
    ]


def test_a_period_across_a_merger_counts_its_provinces_by_the_contracts_day(site: Site) -> None:
    yearly = replace(site.contracts["clinic"], periodicity="year")
    counts = []
    for as_of in ("start", "end"):
        frozen(site, due_after(yearly, dataset=as_of, as_of=as_of), datetime(2026, 2, 1, tzinfo=UTC))
        counts += run(site, "SELECT count(*) FROM control.expected WHERE dataset = :d", d=as_of)
    assert counts == [(63,), (34,)]


def test_a_frozen_period_is_written_once_whatever_the_registry_says_later(site: Site) -> None:
    contracts = due_after(site.contracts["clinic"], 10)
    assert frozen(site, contracts) == 34
    before = run(site, "TABLE control.expected ORDER BY sender")

    class Fewer:
        complete_from = site.registry.complete_from

        def on(self, day: date) -> Any:
            return site.registry.on(day)[:5]

    changed = due_after(site.contracts["clinic"], 90)
    assert frozen(site, changed, registry=Fewer()) == 0
    assert run(site, "TABLE control.expected ORDER BY sender") == before
    assert frozen(site, changed, datetime(2025, 8, 31, 16, 59, tzinfo=UTC)) == 0  # one minute before August ends in the zone
    assert frozen(site, changed, datetime(2025, 8, 31, 17, 0, tzinfo=UTC), Fewer()) == 5


def test_the_calendar_begins_with_the_earliest_period_that_was_not_returned(site: Site) -> None:
    enter(site, "hue", "2019-01-01", "returned")
    contracts = due_after(site.contracts["clinic"], 10)
    assert frozen(site, contracts) == 34
    enter(site, "hue", "2025-05-01", "held")
    assert frozen(site, contracts) == 2 * 63
    assert frozen(site, due_after(site.contracts["clinic"], dataset="gone", status="retired")) == 0


def test_the_whole_calendar_takes_two_statements_however_much_it_holds(site: Site) -> None:
    contracts = {name: replace(site.contracts["clinic"], dataset=name) for name in ("d1", "d2", "d3")}
    run(site, "INSERT INTO control.expected (dataset, sender, period) SELECT d, 'x', date '2023-06-01' FROM unnest('{d1,d2,d3}'::text[]) d")
    said: list[str] = []
    event.listen(site.warehouse.engine, "before_cursor_execute", lambda *call: said.append(call[2]))
    assert frozen(site, contracts) == 3 * (24 * 63 + 34)
    assert len([statement for statement in said if "control." in statement]) == 2


@pytest.mark.parametrize(
    ("period", "due_days", "latency", "day"),
    [
        (Period(date(2025, 6, 1), "month"), 10, Latency(6, 0), date(2025, 7, 11)),
        (Period(date(2025, 1, 1), "year"), None, Latency(18, 0), date(2027, 7, 1)),
        (Period(date(2025, 1, 30), "day"), None, Latency(1, 0), date(2025, 2, 28)),
        (Period(date(2025, 4, 1), "quarter"), None, Latency(0, 0), date(2025, 7, 1)),
        (Period(date(2025, 6, 1), "month"), None, None, None),
    ],
)
def test_data_are_overdue_from_the_day_after_the_due_date(period: Period, due_days: int | None, latency: Latency | None, day: date | None) -> None:  # fmt: skip
    clinic = load_contract(CONTRACTS / "clinic.odcs.yaml")
    contract = replace(clinic, schedule=Schedule(due_days=due_days), latency=latency, periodicity=period.periodicity)
    assert overdue_from(contract, period) == day


@pytest.mark.parametrize(
    ("written", "latency"),
    [
        ("value: 10, unit: d", Latency(0, 10)),
        ('value: "2", unit: weeks', Latency(0, 14)),
        ("value: 25, unit: h", Latency(0, 2)),
        ("value: 6, unit: m", Latency(6, 0)),
        ("value: 1, unit: yr", Latency(12, 0)),
        ("value: 1.5, unit: d", None),
        ("value: -1, unit: d", None),
        ("value: 10, unit: fortnights", None),
        ("value: 10", None),
        ("value: 300, unit: y", None),
    ],
)
def test_a_latency_is_understood_or_refused_with_its_line(written: str, latency: Latency | None) -> None:
    body = (CONTRACTS / "clinic.odcs.yaml").read_text() + f"slaProperties:\n  - {{property: latency, {written}}}\n"
    if latency:
        assert parse_contract(body, Path("c.yaml")).latency == latency
    else:
        with pytest.raises(SetupFault, match=r"c\.yaml:\d+: "):
            parse_contract(body, Path("c.yaml"))


# ---------------------------------------------------------------- what became of it


def test_each_state_follows_from_calendar_and_ledger(site: Site) -> None:
    late = datetime(2001, 1, 1, tzinfo=UTC)
    on_time = datetime(1999, 1, 1, tzinfo=UTC)
    for sender in ("a", "c", "d", "e", "f", "g", "h", "i", "k", "l"):
        expect(site, sender)
    expect(site, "b", due=FUTURE)
    expect(site, "m", due=None)
    july = "2025-07-01"
    enter(site, "c", july, received_at=late)
    enter(site, "d", july, "returned", received_at=on_time)
    enter(site, "d", july, received_at=late)
    enter(site, "e", july, "superseded", received_at=on_time)
    enter(site, "e", july, received_at=late)  # a correction after the due date
    enter(site, "f", july, "returned", received_at=on_time)
    enter(site, "g", july, rejected=2, received_at=late)
    enter(site, "h", july, loaded=0, received_at=on_time)
    enter(site, "i", july, "held", received_at=on_time)
    enter(site, "k", july, received_at=on_time)
    enter(site, "k", july, "held", received_at=late)
    enter(site, "l", july, "received", received_at=on_time)
    enter(site, "n", july)
    with site.warehouse.transaction() as connection:
        seen = {s.sender: s for s in calendar.statuses(connection, dataset="clinic")}
        (tally,) = calendar.tallies(connection)
        missing = calendar.missing_now(connection)
    assert {sender: s.state for sender, s in seen.items()} == {
        "a": "missing",
        "b": "not-due",
        "c": "late",
        "d": "late",
        "e": "accepted",
        "f": "returned",
        "g": "in-part",
        "h": "empty",
        "i": "held",
        "k": "accepted",
        "l": "missing",
        "m": "not-due",
        "n": "accepted",
    }
    assert {sender for sender, s in seen.items() if s.is_late} == {"a", "c", "d", "f", "g", "l"}
    assert {sender for sender, s in seen.items() if not s.is_expected} == {"n"}
    assert seen["k"].correction == "held" and seen["e"].correction is None and seen["e"].deliveries == 2
    assert {sender for sender, s in seen.items() if s.is_first_time_right} == {"c", "e", "h", "k", "n"}
    assert {sender for sender, s in seen.items() if s.is_first_time_right is None} == {"a", "b", "l", "m"}
    assert (tally.tried, tally.right, tally.by_state["missing"]) == (9, 5, 2)
    assert missing == {"clinic": (date(2025, 7, 1), ["a", "l"])}


def test_a_province_that_delivers_for_its_predecessor_fills_the_predecessors_place(site: Site) -> None:
    expect(site, "binh-dinh", "2025-06-01")
    enter(site, "gia-lai-2025", "2025-06-01", province_id="binh-dinh")
    assert run(site, STATUS) == [("binh-dinh", "late")]


# ---------------------------------------------------------------- who sees it


def test_a_province_sees_its_own_lines_of_the_view_the_centre_all(new_site: Callable[..., Site], tmp_path: Path) -> None:
    site = new_site(contracts=CONTRACTS, access=write_access(tmp_path / "access"))
    apply_site(site)
    for sender in ("binh-dinh", "ha-noi", "gia-lai-2025"):
        expect(site, sender, "2025-06-01")
        enter(site, sender, "2025-06-01")
    enter(site, "hue", "2025-06-01")
    lines = {
        who: [sender for sender, _ in rows_as(new_person(site, who), STATUS)] for who in ("gia-lai-2025", "ha-noi", "centre", "auditor")
    }
    assert lines == {
        "gia-lai-2025": ["binh-dinh", "gia-lai-2025"],
        "ha-noi": ["ha-noi"],
        **{who: ["binh-dinh", "gia-lai-2025", "ha-noi", "hue"] for who in ("centre", "auditor")},
    }
    nobody = new_person(site)
    assert rows_as(nobody, "SELECT count(*) FROM control.announcement") == [(0,)]
    with pytest.raises(Exception, match="permission denied"):
        rows_as(nobody, STATUS)


def test_the_proof_finds_a_calendar_that_is_open_to_others(new_site: Callable[..., Site], tmp_path: Path) -> None:
    site = new_site(contracts=CONTRACTS, access=write_access(tmp_path / "access"))
    apply_site(site)
    expect(site, "ha-noi")
    admin = site.logins.administrator()

    def leaks() -> list[str]:
        found = prove(admin, site.warehouse.url.username or "").findings
        return [f.message.en for f in found if f.rule == "ledger" and f.role == NEIGHBOUR]

    assert leaks() == []
    with admin.engine.begin() as connection:
        connection.execute(text(f"CREATE POLICY open ON control.expected FOR SELECT TO {NEIGHBOUR} USING (true)"))
    assert leaks() == [f"{NEIGHBOUR} sees the ledger of ha-noi (control.expected)."]
    admin.dispose()


# ---------------------------------------------------------------- what is settled


def test_a_period_is_settled_when_all_have_delivered_or_time_is_up_and_announced_once(site: Site) -> None:
    contracts = due_after(site.contracts["harvest"], 400)
    bodies = {"dataset": "harvest", "province_id": None}

    def settled(now: datetime, by: str) -> list[tuple[str, bool]]:
        with site.warehouse.transaction() as connection:
            return [(str(s.period), s.is_complete) for s in settle(connection, contracts, site.registry, now, ZONE, by)]

    enter(site, "bureau", "2023-01-01", "held", **bodies)
    assert settled(datetime(2025, 1, 2, tzinfo=UTC), "one") == []
    enter(site, "bureau", "2024-01-01", rejected=1, **bodies)
    assert settled(datetime(2025, 1, 3, tzinfo=UTC), "two") == [("2024", True)]
    assert settled(datetime(2025, 2, 10, tzinfo=UTC), "three") == [("2023", False)]
    enter(site, "bureau", "2023-01-01", **bodies)
    assert settled(datetime(2025, 2, 11, tzinfo=UTC), "four") == []
    assert settled(datetime(2025, 2, 11, tzinfo=UTC), "two") == [("2024", True)]
