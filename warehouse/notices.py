"""What was told to whom: digests, the things they told, and the channels they have reached.

Answers for: what is new is what was not told yet in its present state, whatever the clock says, so that nothing falls behind a
late run; one digest for a sender and night, which the table itself holds. Refuses: values of rows, and addresses of channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from sqlalchemy import Connection

Kind = Literal["delivery", "overdue", "trouble", "channel"]


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a digest tells. `since` is the night since which it has been open; `topic` finds it again."""

    kind: Kind
    topic: str
    state: str
    since: date
    delivery_id: int | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What was last told about a topic: its state, since when it was open then, and in which night."""

    state: str
    since: date
    night: date


@dataclass(frozen=True, slots=True)
class Notice:
    """A digest as it was told, word for word; `sender` is None for the operator, `nth` its place in the night."""

    notice_id: int
    night: date
    sender: str | None
    nth: int
    subject: str
    body: str
    page: str


@dataclass(frozen=True, slots=True)
class Broken:
    """How many lines of a delivery broke one rule of one field."""

    rule: str
    field: str | None
    severity: str
    lines: int


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery that is expected and did not come in time."""

    dataset: str
    sender: str
    period: date
    due_at: datetime


_COLUMNS = "notice_id, night, sender, nth, subject, body, page"

# ---------------------------------------------------------------- what there is to tell


def lock(connection: Connection) -> None:
    """Until the transaction ends, nobody else makes digests."""
    from sqlalchemy import text

    connection.execute(text("SELECT pg_advisory_xact_lock(12, 0)"))


def untold(connection: Connection, *, for_operator: bool, horizon: datetime) -> list[int]:
    """Deliveries with a receipt whose state their sender (or the operator) was not told yet, oldest first.

    Those received before `horizon` count only when something was told of them: a warehouse that was rebuilt is no news.
    """
    from sqlalchemy import text

    told = (
        "SELECT i.state FROM control.notice_item i JOIN control.notice n USING (notice_id) WHERE i.delivery_id = d.delivery_id "
        f"AND n.sender IS NOT DISTINCT FROM {'NULL' if for_operator else 'd.sender'} ORDER BY n.notice_id DESC LIMIT 1"
    )
    rows = connection.execute(
        text(
            f"SELECT d.delivery_id FROM control.delivery d LEFT JOIN LATERAL ({told}) t ON true "
            "WHERE d.reported_at IS NOT NULL AND d.state IN ('stored', 'returned', 'held', 'superseded') AND d.state IS DISTINCT FROM t.state "
            "AND (d.received_at >= :horizon OR t.state IS NOT NULL) ORDER BY d.delivery_id"
        ),
        {"horizon": horizon},
    )
    return [row[0] for row in rows]


def still_open(connection: Connection, horizon: datetime) -> list[int]:
    """Deliveries that wait for a person, and returned ones since `horizon` that no newer delivery answers."""
    from sqlalchemy import text

    rows = connection.execute(
        text(
            "SELECT d.delivery_id FROM control.delivery d WHERE d.reported_at IS NOT NULL AND (d.state = 'held' OR (d.state = 'returned' "
            "AND d.period IS NOT NULL AND d.received_at >= :horizon AND NOT EXISTS (SELECT FROM control.delivery n WHERE n.dataset = d.dataset "
            "AND n.period = d.period AND n.province_id IS NOT DISTINCT FROM d.province_id AND n.delivery_id > d.delivery_id))) ORDER BY d.delivery_id"
        ),
        {"horizon": horizon},
    )
    return [row[0] for row in rows]


def broken_rules(connection: Connection, delivery_ids: Sequence[int]) -> Mapping[int, list[Broken]]:
    """How often each rule was broken in some deliveries, errors first, the most frequent first."""
    from sqlalchemy import text

    rows = connection.execute(
        text(
            "SELECT delivery_id, rule, field, severity, count(*) FROM control.rejection WHERE delivery_id = ANY(:ids) "
            "GROUP BY delivery_id, rule, field, severity ORDER BY delivery_id, severity, count(*) DESC, rule, field"
        ),
        {"ids": list(delivery_ids)},
    )
    found: dict[int, list[Broken]] = {}
    for delivery_id, rule, field, severity, count in rows:
        found.setdefault(delivery_id, []).append(Broken(rule, field, severity, count))
    return found


def overdue(connection: Connection, now: datetime) -> list[Due]:
    """Expected deliveries whose time has passed and of which nothing is there but, at most, returned ones; the latest first.

    A partition is that of the province whose rows they are, whoever delivered for it, as in control.delivery_status.
    """
    from sqlalchemy import text

    rows = connection.execute(
        text(
            "SELECT e.dataset, e.sender, e.period, e.due_at FROM control.expected e WHERE e.due_at <= :now AND NOT EXISTS (SELECT FROM control.delivery d "
            "WHERE d.dataset = e.dataset AND d.period = e.period AND e.sender = coalesce(d.province_id, d.sender) AND d.state <> 'returned') "
            "ORDER BY e.due_at DESC, e.dataset, e.sender"
        ),
        {"now": now},
    )
    return [Due(*row) for row in rows]


def last_told(connection: Connection, sender: str | None, topics: Iterable[str]) -> Mapping[tuple[Kind, str], Told]:
    """What a sender, or the operator, was last told about some topics. That a delivery was replaced says nothing of its topic."""
    from sqlalchemy import text

    rows = connection.execute(
        text(
            "SELECT DISTINCT ON (i.kind, i.topic) i.kind, i.topic, i.state, i.since, n.night FROM control.notice_item i JOIN control.notice n USING (notice_id) "
            "WHERE n.sender IS NOT DISTINCT FROM CAST(:sender AS text) AND i.topic = ANY(:topics) AND i.state <> 'superseded' "
            "ORDER BY i.kind, i.topic, n.notice_id DESC, i.delivery_id DESC"
        ),
        {"sender": sender, "topics": sorted(set(topics))},
    )
    return {(row[0], row[1]): Told(row[2], row[3], row[4]) for row in rows}


def made_in(connection: Connection, night: date, sender: str | None) -> int:
    """How many digests a sender, or the operator, has for a night."""
    from sqlalchemy import text

    count: int = connection.execute(
        text("SELECT count(*) FROM control.notice WHERE night = :night AND sender IS NOT DISTINCT FROM CAST(:sender AS text)"),
        {"night": night, "sender": sender},
    ).scalar_one()
    return count


# ---------------------------------------------------------------- what was told


def enter(
    connection: Connection, night: date, sender: str | None, nth: int, words: tuple[str, str, str], items: Iterable[Item], at: datetime
) -> Notice:
    """Write down a digest, its subject, text and page, with what it tells, before it is sent anywhere."""
    from sqlalchemy import text

    values = {"night": night, "sender": sender, "nth": nth, "subject": words[0], "body": words[1], "page": words[2], "at": at}
    row = connection.execute(
        text(
            "INSERT INTO control.notice (night, sender, nth, subject, body, page, made_at) "
            f"VALUES (:night, :sender, :nth, :subject, :body, :page, :at) RETURNING {_COLUMNS}"
        ),
        values,
    ).one()
    notice = Notice(*row)
    told = [asdict(item) | {"id": notice.notice_id} for item in items]
    if told:
        connection.execute(
            text(
                "INSERT INTO control.notice_item (notice_id, kind, topic, state, since, delivery_id) "
                "VALUES (:id, :kind, :topic, :state, :since, :delivery_id)"
            ),
            told,
        )
    return notice


def unfinished(connection: Connection) -> list[Notice]:
    """Digests that may not have reached every channel, oldest first."""
    from sqlalchemy import text

    return [
        Notice(*row)
        for row in connection.execute(text(f"SELECT {_COLUMNS} FROM control.notice WHERE finished_at IS NULL ORDER BY notice_id"))
    ]


def claim(connection: Connection, notice_id: int) -> bool:
    """Whether the digest is ours to send until the transaction ends: nobody else is at it, and something is left to do."""
    from sqlalchemy import text

    if not connection.execute(text("SELECT pg_try_advisory_xact_lock(12, :id)"), {"id": notice_id % (2**31 - 1) + 1}).scalar():
        return False
    is_left = text("SELECT finished_at IS NULL FROM control.notice WHERE notice_id = :id")
    return bool(connection.execute(is_left, {"id": notice_id}).scalar())


def reached(connection: Connection, notice_id: int) -> frozenset[str]:
    """The channels that a digest was sent to."""
    from sqlalchemy import text

    rows = connection.execute(
        text("SELECT channel FROM control.notice_channel WHERE notice_id = :id AND sent_at IS NOT NULL"), {"id": notice_id}
    )
    return frozenset(row[0] for row in rows)


def mark_channel(connection: Connection, notice_id: int, channel: str, at: datetime, *, is_sent: bool) -> None:
    """Note that a channel took a digest, or did not."""
    from sqlalchemy import text

    connection.execute(
        text(
            "INSERT INTO control.notice_channel AS c (notice_id, channel, sent_at, failed_at, failures) "
            "VALUES (:id, :channel, CASE WHEN :is_sent THEN CAST(:at AS timestamptz) END, CASE WHEN :is_sent THEN NULL ELSE CAST(:at AS timestamptz) END, "
            "CASE WHEN :is_sent THEN 0 ELSE 1 END) ON CONFLICT (notice_id, channel) DO UPDATE SET sent_at = excluded.sent_at, "
            "failed_at = coalesce(excluded.failed_at, c.failed_at), failures = c.failures + excluded.failures"
        ),
        {"id": notice_id, "channel": channel, "at": at, "is_sent": is_sent},
    )


def finish(connection: Connection, notice_id: int, at: datetime) -> None:
    """Nothing of a digest is left to do."""
    from sqlalchemy import text

    connection.execute(text("UPDATE control.notice SET finished_at = :at WHERE notice_id = :id"), {"id": notice_id, "at": at})
