"""A night's digests as plain data: for each sender what became of its deliveries, and for the operator what needs a person.

Answers for: what is in a digest follows from the ledger and from what was told before; a thing that stays open says since when.
Refuses: values of cells and messages about single lines. A digest knows numbers, names of rules and files, and counts.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

from etl.deliver import receipt_folder
from etl.report import PEOPLE
from expectations.contract import Contract
from expectations.faults import Message
from expectations.period import Period
from warehouse import ledger, notices
from warehouse.ledger import Delivery
from warehouse.notices import Broken, Due, Item, Kind, Told

if TYPE_CHECKING:
    from etl.run import Trouble
    from etl.site import Site
    from warehouse.engine import Connection

Outcome = Literal["returned", "held", "in-part", "accepted", "superseded"]
OUTCOMES: tuple[Outcome, ...] = ("returned", "held", "in-part", "accepted", "superseded")
"""What became of a delivery, the most urgent first."""
NEWS_DAYS = 30
"""A delivery older than this of which nothing was ever told is history: after a rebuild nobody gets the mail of ten years."""
_OPEN = ("returned", "held", "overdue", "trouble", "unsent")


@dataclass(frozen=True, slots=True)
class Cause:
    """A rule that was broken: what the contract says of it, the label of its field, and by how many lines (None: by the whole)."""

    rule: str
    words: Message | None = None
    label: str | None = None
    lines: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One delivery. `nights` counts the nights since it (or an earlier one in its place) was first told as returned or held."""

    delivery_id: int
    sender: str
    sender_name: str
    dataset: str | None
    label: str
    period: str | None
    outcome: Outcome
    read: int
    loaded: int
    rejected: int
    waiting: int
    causes: tuple[Cause, ...]
    receipt: str
    nights: int


@dataclass(frozen=True, slots=True)
class Late:
    """A delivery that should have come."""

    sender: str
    sender_name: str
    dataset: str
    label: str
    period: str
    due: date
    nights: int


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that is not the senders' fault: where, what it says, and in how many nights on end."""

    where: str
    message: Message
    nights: int


@dataclass(frozen=True, slots=True)
class Unsent:
    """A channel that did not take a digest: whose it is, a mark that stays the same, and where it stands in the contacts."""

    recipient: str
    channel: str
    place: str


@dataclass(frozen=True, slots=True)
class Digest:
    """What one recipient is told for one night; `sender` is None for the operator. `items` are what the ledger of notices keeps."""

    sender: str | None
    name: str
    night: date
    nth: int = 1
    entries: tuple[Entry, ...] = ()
    late: tuple[Late, ...] = ()
    troubles: tuple[Failure, ...] = ()
    unsent: tuple[Failure, ...] = ()
    totals: Mapping[str, Mapping[Outcome, int]] = field(default_factory=dict)
    items: tuple[Item, ...] = ()


def night_of(site: Site, now: datetime) -> date:
    """The night that a moment belongs to: its day in the installation's time zone."""
    return now.astimezone(ZoneInfo(site.settings.timezone)).date()


def sender_digests(site: Site, connection: Connection, now: datetime, only: str | None = None) -> Iterator[Digest]:
    """A digest for each sender with something new, in the order of their names; none for one that has tonight's already."""
    night, horizon = night_of(site, now), now - timedelta(days=NEWS_DAYS)
    news = _by_sender(ledger.numbered(connection, notices.untold(connection, for_operator=False, horizon=horizon)))
    late = _late_by_sender(site, notices.overdue(connection, now))
    for sender in sorted({*news, *late} if only is None else {only} & {*news, *late}):
        if notices.made_in(connection, night, sender):
            continue
        deliveries, due = news.get(sender, []), late.get(sender, [])
        told = notices.last_told(connection, sender, [*map(_topic, deliveries), *map(_due_topic, due)])
        if deliveries or any(("overdue", _due_topic(one)) not in told for one in due):
            story = _Story(site, connection, night, told)
            entries, items = story.entries(deliveries), [*story.items(deliveries), *story.overdue_items(due)]
            yield Digest(sender, site.sender_name(sender), night, 1, entries, story.late(due), items=tuple(items))


def operator_digest(
    site: Site, connection: Connection, now: datetime, trouble: Sequence[Trouble] = (), unsent: Sequence[Unsent] = ()
) -> Digest | None:
    """The operator's digest, or None when nothing is new, nothing waits for a person and nothing went wrong.

    After tonight's has been made there is another one only for trouble that it did not tell.
    """
    night, horizon = night_of(site, now), now - timedelta(days=NEWS_DAYS)
    made = notices.made_in(connection, night, None)
    news = [] if made else ledger.numbered(connection, notices.untold(connection, for_operator=True, horizon=horizon))
    open_now = [] if made else ledger.numbered(connection, notices.still_open(connection, horizon))
    due = [] if made else notices.overdue(connection, now)
    topics = [*map(_topic, [*news, *open_now]), *map(_due_topic, due), *(t.where for t in trouble), *(u.channel for u in unsent)]
    told = notices.last_told(connection, None, topics)
    if made:
        trouble = [t for t in trouble if not _was_told(told.get(("trouble", t.where)), night)]
        unsent = [u for u in unsent if not _was_told(told.get(("channel", u.channel)), night)]
    is_new_due = any(("overdue", _due_topic(one)) not in told for one in due)
    if not (news or is_new_due or trouble or unsent or any(d.state == "held" for d in open_now)):
        return None
    story = _Story(site, connection, night, told)
    known = {d.delivery_id for d in news}
    to_act = {d.delivery_id: d for d in (*open_now, *news) if d.state in ("returned", "held")}
    items = [*story.items(news), *story.items(d for d in to_act.values() if d.delivery_id not in known and _topic_key(d) not in told)]
    items += [*story.overdue_items(due), *story.failure_items(trouble, unsent)]
    return Digest(
        None,
        "",
        night,
        made + 1,
        story.entries(sorted(to_act.values(), key=lambda d: d.delivery_id)),
        story.late(due),
        tuple(Failure(t.where, t.message, story.nights("trouble", t.where)) for t in trouble),
        tuple(_unsent_words(u, story.nights("channel", u.channel)) for u in unsent),
        _totals(news),
        tuple(items),
    )


# ---------------------------------------------------------------- what a topic is


def _topic(delivery: Delivery) -> str:
    """The partition; of a file that could not be attributed, its sender and name."""
    if delivery.dataset is None or delivery.period is None:
        return f"{delivery.sender}/{delivery.file_name}"
    return f"{delivery.dataset}/{delivery.period}/{delivery.province_id or delivery.sender}"


def _topic_key(delivery: Delivery) -> tuple[Kind, str]:
    return "delivery", _topic(delivery)


def _due_topic(due: Due) -> str:
    return f"{due.dataset}/{due.period}/{due.sender}"


def _was_told(told: Told | None, night: date) -> bool:
    return told is not None and told.night == night


def _by_sender(deliveries: Iterable[Delivery]) -> dict[str, list[Delivery]]:
    found: dict[str, list[Delivery]] = {}
    for delivery in deliveries:
        found.setdefault(delivery.sender, []).append(delivery)
    return found


def _late_by_sender(site: Site, overdue: Iterable[Due]) -> dict[str, list[Due]]:
    """What is overdue by who is to send it today: for a province that is no more, the one that it went into."""
    found: dict[str, list[Due]] = {}
    for due in overdue:
        heirs = site.registry.successor_chain(due.sender) if site.registry.exists(due.sender) else ()
        found.setdefault(heirs[-1] if heirs else due.sender, []).append(due)
    return found


def _totals(deliveries: Iterable[Delivery]) -> dict[str, dict[Outcome, int]]:
    """How many deliveries of each dataset came to what."""
    found: dict[str, dict[Outcome, int]] = {}
    for delivery in deliveries:
        counts = found.setdefault(delivery.dataset or "?", {})
        outcome = outcome_of(delivery)
        counts[outcome] = counts.get(outcome, 0) + 1
    return {name: {o: found[name][o] for o in OUTCOMES if o in found[name]} for name in sorted(found)}


def outcome_of(delivery: Delivery) -> Outcome:
    """What became of a delivery that has its receipt."""
    match delivery.state:
        case "returned" | "held" | "superseded":
            return delivery.state
        case _:
            return "in-part" if delivery.lines_rejected else "accepted"


# ---------------------------------------------------------------- one recipient's story


@dataclass(frozen=True, slots=True)
class _Story:
    """Tells things to one recipient, who was told others before."""

    site: Site
    connection: Connection
    night: date
    told: Mapping[tuple[Kind, str], Told]

    def since(self, kind: Kind, topic: str) -> date:
        """The night since which a thing that is open has been open: trouble of last night goes on, older trouble is new trouble."""
        before = self.told.get((kind, topic))
        if before is None or before.state not in _OPEN:
            return self.night
        is_on_end = kind in ("delivery", "overdue") or before.night >= self.night - timedelta(days=1)
        return before.since if is_on_end else self.night

    def nights(self, kind: Kind, topic: str) -> int:
        return (self.night - self.since(kind, topic)).days + 1

    def entries(self, deliveries: Sequence[Delivery]) -> tuple[Entry, ...]:
        """Deliveries as they are told, the most urgent first."""
        broken = notices.broken_rules(self.connection, [d.delivery_id for d in deliveries])
        found = [self._entry(d, broken.get(d.delivery_id, [])) for d in deliveries]
        return tuple(sorted(found, key=lambda entry: OUTCOMES.index(entry.outcome)))

    def _entry(self, delivery: Delivery, broken: Sequence[Broken]) -> Entry:
        contract = self.site.contracts.get(delivery.dataset or "")
        period = str(delivery.period_of(contract.periodicity)) if contract and delivery.period else None
        return Entry(
            delivery_id=delivery.delivery_id,
            sender=delivery.sender,
            sender_name=self.site.sender_name(delivery.sender),
            dataset=delivery.dataset,
            label=contract.label if contract else shortened(delivery.file_name),
            period=period,
            outcome=outcome_of(delivery),
            read=delivery.lines_read or 0,
            loaded=delivery.lines_loaded or 0,
            rejected=delivery.lines_rejected or 0,
            waiting=delivery.lines_waiting or 0,
            causes=(
                *(Cause(reason.rule, _words(contract, reason.rule)) for reason in delivery.reasons),
                *(Cause(b.rule, _words(contract, b.rule), _label(contract, b.field), b.lines) for b in broken),
            ),
            receipt=f"{receipt_folder(self.site, delivery).name}/{PEOPLE}",
            nights=self.nights("delivery", _topic(delivery)) if delivery.state in _OPEN else 1,
        )

    def late(self, overdue: Sequence[Due]) -> tuple[Late, ...]:
        return tuple(
            Late(
                due.sender,
                self.site.sender_name(due.sender),
                due.dataset,
                contract.label if (contract := self.site.contracts.get(due.dataset)) else due.dataset,
                str(Period(due.period, contract.periodicity)) if contract else due.period.isoformat(),
                last_day(due.due_at, self.site.settings.timezone),
                self.nights("overdue", _due_topic(due)),
            )
            for due in overdue
        )

    def items(self, deliveries: Iterable[Delivery]) -> Iterator[Item]:
        for delivery in deliveries:
            topic = _topic(delivery)
            since = self.since("delivery", topic) if delivery.state in _OPEN else self.night
            yield Item("delivery", topic, delivery.state, since, delivery.delivery_id)

    def overdue_items(self, overdue: Iterable[Due]) -> Iterator[Item]:
        """Those that were not told before: what is overdue stays so until it comes."""
        for due in overdue:
            if ("overdue", _due_topic(due)) not in self.told:
                yield Item("overdue", _due_topic(due), "overdue", self.night)

    def failure_items(self, trouble: Iterable[Trouble], unsent: Iterable[Unsent]) -> Iterator[Item]:
        for one in trouble:
            yield Item("trouble", one.where, "trouble", self.since("trouble", one.where))
        for channel in unsent:
            yield Item("channel", channel.channel, "unsent", self.since("channel", channel.channel))


def _words(contract: Contract | None, rule: str) -> Message | None:
    """What the contract itself says of a rule; never what was said of a line."""
    return next((r.message for r in contract.rules if r.id == rule), None) if contract else None


def _label(contract: Contract | None, name: str | None) -> str | None:
    known = contract.by_name.get(name or "") if contract else None
    return known.label if known else None


def _unsent_words(unsent: Unsent, nights: int) -> Failure:
    return Failure(
        unsent.place,
        Message(
            f"bản tin của {unsent.recipient} chưa gửi được qua kênh này; lần sau gửi lại",
            f"the digest of {unsent.recipient} has not reached this channel; the next run tries again",
        ),
        nights,
    )


def last_day(due_at: datetime, timezone: str) -> date:
    """The last day on which a delivery is in time; `due_at` is the first moment after it."""
    return (due_at.astimezone(ZoneInfo(timezone)) - timedelta(microseconds=1)).date()


def shortened(name: str, length: int = 60) -> str:
    """A name that a sender chose, on one line and not longer than that."""
    plain = "".join(letter for letter in name if unicodedata.category(letter)[0] != "C")
    return plain if len(plain) <= length else plain[: length - 1] + "…"
