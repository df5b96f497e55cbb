"""The calendar: which deliveries are expected of whom and until when, and which periods are settled so that what follows may start.

Answers for: a period is written down when it has ended, with the senders of its day, and never again; a dataset's calendar begins with
the earliest period that it has, without any with the last one that ended. Nothing is expected of a contract that is not active.
Refuses: due dates that no contract states: without one, data are never late.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from expectations.contract import Contract
from expectations.period import Period
from warehouse import calendar
from warehouse.calendar import Due

if TYPE_CHECKING:
    from warehouse.engine import Connection
    from warehouse.provinces import Registry

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Settled:
    """A period that what follows may start with: complete, or as complete as it was when the due date had passed."""

    dataset: str
    period: Period
    is_complete: bool


def freeze(connection: Connection, contracts: Mapping[str, Contract], registry: Registry, now: datetime, timezone: str) -> int:
    """Write down what is expected of every period that has ended by `now`, where that is not written yet; returns the number of lines.

    `timezone` is the IANA name of the zone in which days end. Safe to repeat; needs the loader's rights.
    """
    zone = ZoneInfo(timezone)
    first = calendar.first_periods(connection)
    due = [
        Due(contract.dataset, period.start, _midnight(overdue_from(contract, period), zone), senders_of(contract, period, registry))
        for contract in contracts.values()
        if contract.status == "active"
        for period in _ended(contract, first.get(contract.dataset), now.astimezone(zone).date(), registry)
    ]
    return calendar.write_expected(connection, due, now)


def settle(
    connection: Connection, contracts: Mapping[str, Contract], registry: Registry, now: datetime, timezone: str, by: str
) -> list[Settled]:
    """Freeze, then announce the periods that are newly settled: all expected senders have rows, or the due date has passed.

    Each period is announced once, also when rows come later. `by` is the id of a run: called again with it, the same ones come again.
    """
    freeze(connection, contracts, registry, now, timezone)
    announced = calendar.announce(connection, list(contracts), now, by)
    return [Settled(dataset, Period(period, contracts[dataset].periodicity), is_complete) for dataset, period, is_complete in announced]


def senders_of(contract: Contract, period: Period, registry: Registry) -> tuple[str, ...]:
    """Who has to send a period: the central body, or each province of the day by which the contract counts."""
    return (contract.sender,) if contract.is_central else tuple(province.province_id for province in registry.on(_day_of(contract, period)))


def overdue_from(contract: Contract, period: Period) -> date | None:
    """The first day on which a period's data are late: its schedule's due date counts before the latency of its service levels."""
    after = period.next().start
    if contract.schedule.due_days is not None:
        return after + timedelta(days=contract.schedule.due_days)
    if contract.latency is None:
        return None
    return _months_later(after, contract.latency.months) + timedelta(days=contract.latency.days)


def _ended(contract: Contract, first: date | None, today: date, registry: Registry) -> Iterator[Period]:
    """The periods that have ended, from the first one on; for provinces, not before the registry knows them."""
    last = Period.containing(Period.containing(today, contract.periodicity).start - _DAY, contract.periodicity)
    period = Period.containing(first, contract.periodicity) if first else last
    while period <= last:
        if contract.is_central or _day_of(contract, period) >= registry.complete_from:
            yield period
        period = period.next()


def _day_of(contract: Contract, period: Period) -> date:
    return period.start if contract.as_of == "start" else period.end


def _months_later(day: date, months: int) -> date:
    """The same day of a later month, or the last one that it has."""
    later = Period.containing(day, "month")
    for _ in range(months):
        later = later.next()
    return min(later.start + timedelta(days=day.day - 1), later.end)


def _midnight(day: date | None, zone: ZoneInfo) -> datetime | None:
    return datetime.combine(day, time.min, zone) if day else None
