"""The calendar of expected deliveries in the warehouse: what is expected until when, and which periods were announced as settled.

Answers for: a period's lines are written once and stay, whatever becomes of registry and contract; a period is announced once. What became
of each expected delivery is the view control.delivery_status, which people ask with logins of their own; it is read here, not made again.
Refuses: deciding what is expected (the caller says it), and the clock, but for the view, which knows no other `now` than the server's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from sqlalchemy import Connection

State = Literal["not-due", "missing", "late", "returned", "in-part", "accepted", "empty", "held"]
"""not-due: nothing yet, and time left · missing: nothing, and the due date has passed · returned, held: nothing but such deliveries ·
in-part: loaded with rejected lines · empty: loaded, zero lines · late, accepted: loaded whole, after the due date and in time."""
STATES: tuple[State, ...] = get_args(State)


@dataclass(frozen=True, slots=True)
class Due:
    """A period of a dataset: from whom it is expected, and the first moment after its due date; None where it has none."""

    dataset: str
    period: date
    due_at: datetime | None
    senders: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Status:
    """One line of control.delivery_status; `delivery_id` is what the partition shows, else what makes its state."""

    dataset: str
    sender: str
    period: date
    is_expected: bool
    due_at: datetime | None
    state: State
    is_late: bool
    delivery_id: int | None
    accepted_at: datetime | None
    lines_loaded: int | None
    lines_rejected: int | None
    correction: Literal["held", "returned"] | None
    is_first_time_right: bool | None
    deliveries: int


@dataclass(frozen=True, slots=True)
class Tally:
    """The lines of one dataset, counted: by state, how many had a first delivery, and how many of these were right at once."""

    dataset: str
    by_state: Mapping[State, int]
    tried: int
    right: int

    @property
    def first_time_right(self) -> float | None:
        """The share of first deliveries that were accepted without a rejected line; None where there were none."""
        return self.right / self.tried if self.tried else None


def first_periods(connection: Connection) -> dict[str, date]:
    """For each dataset the earliest period that is in the calendar or has a delivery that was not returned.

    A returned one does not count: its period may be what was wrong with it, and would stay in the calendar for ever.
    """
    from sqlalchemy import text

    rows = connection.execute(
        text(
            "SELECT dataset, min(period) FROM (SELECT dataset, period FROM control.delivery WHERE state <> 'returned' AND dataset IS NOT NULL "
            "UNION ALL SELECT dataset, period FROM control.expected) known WHERE period IS NOT NULL GROUP BY dataset"
        )
    )
    return {row.dataset: row.min for row in rows}


def write_expected(connection: Connection, due: Sequence[Due], at: datetime) -> int:
    """Write the lines of those periods that have none yet; returns how many lines were written."""
    from sqlalchemy import text

    groups = {senders: number for number, senders in enumerate(dict.fromkeys(one.senders for one in due))}
    members = [(number, sender) for senders, number in groups.items() for sender in senders]
    done = connection.execute(
        text(
            "WITH p AS MATERIALIZED (SELECT * FROM "
            "unnest(CAST(:datasets AS text[]), CAST(:periods AS date[]), CAST(:dues AS timestamptz[]), CAST(:groups AS int[])) "
            "p (dataset, period, due_at, place) "
            "WHERE NOT EXISTS (SELECT FROM control.expected e WHERE e.dataset = p.dataset AND e.period = p.period)) "
            "INSERT INTO control.expected (dataset, sender, period, due_at, frozen_at) "
            "SELECT p.dataset, s.sender, p.period, p.due_at, :at FROM p "
            "JOIN unnest(CAST(:numbers AS int[]), CAST(:senders AS text[])) s (place, sender) USING (place) ON CONFLICT DO NOTHING"
        ),
        {
            "at": at,
            "datasets": [one.dataset for one in due],
            "periods": [one.period for one in due],
            "dues": [one.due_at for one in due],
            "groups": [groups[one.senders] for one in due],
            "numbers": [number for number, _ in members],
            "senders": [sender for _, sender in members],
        },
    )
    return done.rowcount


def announce(connection: Connection, datasets: Sequence[str], at: datetime, by: str) -> list[tuple[str, date, bool]]:
    """Announce the periods that are settled at `at` and were not announced before; returns all that `by` announced, also in earlier calls.

    Settled: rows of every expected sender are shown (complete), or the due date has passed. Each as (dataset, period, is_complete).
    """
    from sqlalchemy import text

    connection.execute(
        text(
            "INSERT INTO control.announcement (dataset, period, is_complete, announced_at, announced_by) "
            "SELECT e.dataset, e.period, bool_and(d.dataset IS NOT NULL), :at, :by FROM control.expected e "
            "LEFT JOIN (SELECT DISTINCT dataset, period, coalesce(province_id, sender) AS sender FROM control.delivery "
            "WHERE state IN ('loaded', 'stored') AND dataset = ANY (:datasets)) d USING (dataset, period, sender) "
            "WHERE e.dataset = ANY (:datasets) AND NOT EXISTS (SELECT FROM control.announcement a WHERE a.dataset = e.dataset AND a.period = e.period) "
            "GROUP BY e.dataset, e.period HAVING bool_and(d.dataset IS NOT NULL) OR max(e.due_at) <= :at ON CONFLICT DO NOTHING"
        ),
        {"at": at, "by": by, "datasets": list(datasets)},
    )
    rows = connection.execute(
        text(
            "SELECT dataset, period, is_complete FROM control.announcement WHERE announced_by = :by AND dataset = ANY (:datasets) ORDER BY 1, 2"
        ),
        {"by": by, "datasets": list(datasets)},
    )
    return [(dataset, period, is_complete) for dataset, period, is_complete in rows]


def moment(connection: Connection) -> datetime:
    """The `now` by which the view says what is late."""
    from sqlalchemy import text

    found: datetime = connection.execute(text("SELECT now()")).scalar_one()
    return found


_FIELDS = ", ".join(Status.__dataclass_fields__)


def statuses(connection: Connection, *, dataset: str | None = None, sender: str | None = None, period: date | None = None) -> list[Status]:
    """The lines of the view, by dataset, sender and period; None means all."""
    from sqlalchemy import text

    where, values = _only(dataset=dataset, sender=sender, period=period)
    rows = connection.execute(text(f"SELECT {_FIELDS} FROM control.delivery_status {where} ORDER BY dataset, sender, period"), values)
    return [Status(**row._mapping) for row in rows]


def tallies(connection: Connection, *, dataset: str | None = None, sender: str | None = None, period: date | None = None) -> list[Tally]:
    """The lines of each dataset, counted by the server."""
    from sqlalchemy import text

    where, values = _only(dataset=dataset, sender=sender, period=period)
    found: dict[str, Tally] = {}
    for name, state, count, tried, right in connection.execute(
        text(
            "SELECT dataset, state, count(*), count(is_first_time_right), count(*) FILTER (WHERE is_first_time_right) "
            f"FROM control.delivery_status {where} GROUP BY dataset, state ORDER BY dataset"
        ),
        values,
    ):
        before = found.get(name, Tally(name, {}, 0, 0))
        found[name] = Tally(name, {**before.by_state, state: count}, before.tried + tried, before.right + right)
    return list(found.values())


def missing_now(
    connection: Connection, *, dataset: str | None = None, sender: str | None = None, period: date | None = None
) -> dict[str, tuple[date, list[str]]]:
    """For each dataset the newest period whose due date has passed, or the period asked for, and who is missing in it."""
    from sqlalchemy import text

    rows = connection.execute(
        text(
            "WITH newest AS (SELECT dataset, max(period) AS period FROM control.expected "
            "WHERE due_at <= now() AND (CAST(:period AS date) IS NULL OR period = :period) "
            "AND (CAST(:dataset AS text) IS NULL OR dataset = :dataset) GROUP BY dataset) "
            "SELECT n.dataset, n.period, ARRAY(SELECT s.sender FROM control.delivery_status s WHERE s.dataset = n.dataset AND s.period = n.period "
            "AND s.state = 'missing' AND (CAST(:sender AS text) IS NULL OR s.sender = :sender) ORDER BY 1) FROM newest n"
        ),
        {"dataset": dataset, "sender": sender, "period": period},
    )
    return {name: (newest, list(senders)) for name, newest, senders in rows}


def _only(**named: Any) -> tuple[str, dict[str, Any]]:
    values = {name: value for name, value in named.items() if value is not None}
    return ("WHERE " + " AND ".join(f"{name} = :{name}" for name in values) if values else ""), values
