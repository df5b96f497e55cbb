"""A run over the inbox: first finish what the ledger shows unfinished, then receive and deliver what has arrived.

Answers for: one sender's bad file, and one dataset's broken contract, never delay another's; what went wrong is in the result.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from etl.deliver import deliver, finish
from etl.receive import Arrival, Attribution, Received, attribute, check_readable, clear, find_arrivals, receive
from etl.site import Site
from etl.store import disk_fault
from etl.watch import UNWATCHED, Watch
from expectations.faults import Fault, MachineFault, Message, SetupFault
from expectations.odcs import SENDER
from expectations.period import Period
from warehouse import ledger
from warehouse.ledger import Delivery, Reason
from warehouse.migrate import check_migrated

if TYPE_CHECKING:
    from warehouse.engine import Connection


@dataclass(frozen=True, slots=True)
class Only:
    """What a run is about; what is not said means all. `provinces` are ids of provinces or senders, `periods` the first and the
    last day between which a period begins."""

    dataset: str | None = None
    provinces: tuple[str, ...] = ()
    periods: tuple[date, date] | None = None

    def takes(self, arrival: Arrival, found: Attribution) -> bool:
        """Whether a file is meant; one that could not be attributed is, unless something is asked for that it is not."""
        if self.dataset and (found.contract.dataset if found.contract else arrival.folder) != self.dataset:
            return False
        if self.provinces and not {found.province_id, arrival.sender} & {*self.provinces}:
            return False
        return self.periods is None or any(self.covers(part.period.start) for part in found.parts)

    def means(self, delivery: Delivery) -> bool:
        """Whether a delivery of the ledger is meant."""
        if self.dataset and delivery.dataset != self.dataset:
            return False
        if self.provinces and not {delivery.province_id, delivery.sender} & {*self.provinces}:
            return False
        return self.periods is None or (delivery.period is not None and self.covers(delivery.period))

    def covers(self, day: date) -> bool:
        return self.periods is None or self.periods[0] <= day <= self.periods[1]


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that is not the sender's fault: where, and what to do. The delivery waits for the next run."""

    where: str
    message: Message


@dataclass(slots=True)
class Result:
    """What a run did: deliveries carried to an end, files that changed nothing, files still being written, and trouble."""

    done: list[Delivery] = field(default_factory=list)
    unchanged: list[Delivery] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    trouble: list[Trouble] = field(default_factory=list)


class Progress:
    """What a run tells about itself; the base tells nobody."""

    def start(self, total: int) -> None:
        """`total` files or deliveries are to be done."""

    def begin(self, name: str) -> Watch:
        """The next one begins; returns who follows it."""
        return Watch()

    def end(self) -> None:
        """One more is done."""


def run(site: Site, only: Only, now: Callable[[], datetime], progress: Progress) -> Result:
    """Finish, receive, deliver. Raises `MachineFault` or `SetupFault` only when nothing at all can be done."""
    result = Result()
    check_known(site, only)
    with site.warehouse.transaction() as connection:
        check_migrated(connection, site.contracts)
        left = ledger.unfinished(connection)
    arrivals = in_order(find_arrivals(site.settings.inbox, site.settings.settle_seconds, time.time()))
    progress.start(len(left) + len(arrivals))
    for delivery in left:
        watch = progress.begin(delivery.file_name)
        with _apart(result, delivery.file_name):
            result.done.append(carry_on(site, delivery, now(), watch))
        progress.end()
    for arrival in arrivals:
        watch = progress.begin(arrival.path.name)
        with _apart(result, f"{arrival.sender}/{arrival.path.name}"), _unless_taken(arrival.path):
            _receive_and_deliver(site, arrival, only, now, watch, result)
        progress.end()
    return result


def check_known(site: Site, only: Only) -> None:
    """Raise `SetupFault` for a dataset, province or sender that there is not."""
    if only.dataset and only.dataset not in site.contracts:
        known = ", ".join(site.contracts)
        raise SetupFault(
            Message(f"Không có tập dữ liệu «{only.dataset}»; có: {known}.", f"There is no dataset '{only.dataset}'; there are {known}.")
        )
    for name in only.provinces:
        if not site.registry.exists(name) and all(c.sender != name for c in site.contracts.values()):
            raise SetupFault(Message(f"Không có tỉnh «{name}».", f"There is no province '{name}'."))


def carry_on(site: Site, delivery: Delivery, now: datetime, watch: Watch = UNWATCHED) -> Delivery:
    """Do what the ledger shows unfinished of one delivery; nothing when another process is at it."""
    with site.warehouse.transaction() as claim:
        is_ours = ledger.claim(claim, delivery.delivery_id)
        current = ledger.get(claim, delivery.delivery_id)
        if not is_ours or current.reported_at is not None:
            return current
        if current.state != "received":
            return finish(site, delivery.delivery_id, now, watch=watch)
        decided = ledger.decisions(claim, delivery.delivery_id)
        is_approved = bool(decided) and decided[-1]["action"] == "approve"
        return deliver(site, current, now, is_approved=is_approved, watch=watch)


def load_again(site: Site, delivery_id: int, now: datetime, watch: Watch = UNWATCHED) -> Delivery:
    """Judge the archived bytes of a delivery that is shown once more, by today's contract, and load what comes of it.

    One that is not shown any more is left alone. Raises `SetupFault`, with everything as it was, when today's contract would return it.
    """
    with site.warehouse.transaction() as claim:
        if not ledger.claim(claim, delivery_id):
            raise busy(delivery_id)
        current = ledger.get(claim, delivery_id)
        if current.state != "stored":
            return finish(site, delivery_id, now, watch=watch)
        return deliver(site, current, now, is_approved=True, is_again=True, watch=watch)


def busy(delivery_id: int) -> MachineFault:
    return MachineFault(
        Message(
            f"Đợt gửi {delivery_id} đang được một tiến trình khác xử lý; thử lại sau.",
            f"Another process is at work on delivery {delivery_id}; try again later.",
        ),
        rule="busy",
    )


def in_order(arrivals: Iterator[Arrival]) -> list[Arrival]:
    """By sender, dataset and name; of several copies of one file (`name (1).csv`) the one written last comes last."""

    def key(arrival: Arrival) -> tuple[str, str, str, float, str]:
        stem = re.sub(r"\s*\(\d+\)$", "", arrival.path.stem)
        return arrival.sender, arrival.folder or "", stem, arrival.modified, arrival.path.name

    return sorted(arrivals, key=key)


def _receive_and_deliver(site: Site, arrival: Arrival, only: Only, now: Callable[[], datetime], watch: Watch, result: Result) -> None:
    if not arrival.is_settled:
        result.waiting.append(f"{arrival.sender}/{arrival.path.name}")
        return
    received = take_in(site, arrival, only, now(), watch)
    if received is None:
        return
    result.unchanged += received.unchanged
    for delivery in received.new:
        result.done.append(carry_on(site, delivery, now(), watch))


def take_in(site: Site, arrival: Arrival, only: Only, now: datetime, watch: Watch = UNWATCHED) -> Received | None:
    """Receive a file and take it out of the inbox; None when the run is not about it."""
    found = attribute(arrival.path, arrival.sender, arrival.folder, site, now.date())
    if not only.takes(arrival, found):
        return None
    seen = arrival.path.stat()
    received = receive(arrival.path, arrival.path.name, arrival.sender, found, site, now, watch)
    watch.on_step("received")
    clear(arrival.path, seen)
    watch.on_step("cleared")
    return received


@contextmanager
def _unless_taken(path: Path) -> Iterator[None]:
    """A file that another run received meanwhile is nothing to do for this one."""
    try:
        yield
    except FileNotFoundError:
        if path.exists():
            raise


@contextmanager
def _apart(result: Result, where: str) -> Iterator[None]:
    """What goes wrong with one file stays with that file; only a warehouse that does not answer ends the run."""
    try:
        yield
    except MachineFault as fault:
        if fault.rule in ("warehouse-down", "disk"):
            raise
        result.trouble.append(Trouble(where, fault.message))
    except Fault as fault:
        result.trouble.append(Trouble(where, fault.message))
    except FileNotFoundError:
        raise
    except OSError as error:
        result.trouble.append(Trouble(where, disk_fault(error, where).message))
    except Exception as error:  # whatever one file brings about, the others go on; values stay out of the message
        name = type(error).__name__
        result.trouble.append(
            Trouble(
                where,
                Message(
                    f"Lỗi ngoài dự kiến ({name}); tệp được giữ nguyên cho lần sau.",
                    f"Unexpected fault ({name}); the file waits for the next run.",
                ),
            )
        )


# ---------------------------------------------------------------- one file by hand


def deliver_file(
    site: Site, path: Path, sender: str, dataset: str | None, period: str | None, now: datetime, watch: Watch = UNWATCHED
) -> Result:
    """Deliver one file as if it had arrived in the sender's folder. The file itself stays where it is."""
    check_readable(path)
    if not SENDER.fullmatch(sender):
        raise SetupFault(Message(f"«{sender}» không phải tên đơn vị gửi.", f"'{sender}' is no name of a sender."), rule="no-sender")
    with site.warehouse.transaction() as connection:
        check_migrated(connection, site.contracts)
    result = Result()
    found = attribute(path, sender, dataset, site, now.date(), period_text=period_for(site, dataset, path, sender, period))
    received = receive(path, path.name, sender, found, site, now, watch)
    watch.on_step("received")
    result.unchanged += received.unchanged
    for delivery in received.new:
        with _apart(result, path.name):
            result.done.append(carry_on(site, delivery, now, watch))
    return result


def period_for(site: Site, dataset: str | None, path: Path, sender: str, text: str | None) -> Period | None:
    """A period as the operator wrote it, in the dataset's periodicity."""
    from expectations.period import parse_period

    if text is None:
        return None
    chosen = [site.contracts[dataset]] if dataset in site.contracts else list(site.contracts.values())
    periods = {p for contract in chosen if (p := parse_period(text, contract.periodicity))}
    if not periods:
        raise SetupFault(Message(f"Không hiểu kỳ «{text}»; viết 2025, 2025-Q2, 2025-06 hoặc 2025-06-10.", f"The period '{text}' is not understood; write 2025, 2025-Q2, 2025-06 or 2025-06-10."))  # fmt: skip
    if len(periods) > 1:
        raise SetupFault(
            Message(
                f"«{text}» có thể là nhiều loại kỳ; hãy nêu --dataset.", f"'{text}' may be several kinds of period; name the --dataset."
            )
        )
    return periods.pop()


def parse_periods(text: str | None) -> tuple[date, date] | None:
    """The days of `2025-06`, or of a range `2025-01..2025-06`, from the first to the last. Raises `SetupFault`."""
    from expectations.period import PERIODICITIES, parse_period

    if not text:
        return None
    first, _, last = text.partition("..")
    begins, ends = (next((p for one in PERIODICITIES if (p := parse_period(part, one))), None) for part in (first, last or first))
    if begins is None or ends is None or ends.end < begins.start:
        raise SetupFault(
            Message(
                f"Không hiểu kỳ «{text}»; viết 2025, 2025-Q2, 2025-06, 2025-06-10, hoặc khoảng 2025-01..2025-06.",
                f"The period '{text}' is not understood; write 2025, 2025-Q2, 2025-06, 2025-06-10, or a range 2025-01..2025-06.",
            ),
            rule="period",
        )
    return begins.start, ends.end


# ---------------------------------------------------------------- people decide


def approve(site: Site, delivery_id: int, *, by: str, reason: str, now: datetime, watch: Watch = UNWATCHED) -> Delivery:
    """Load a held delivery; who and why is written down. Raises `SetupFault` when it is not held."""
    with site.warehouse.transaction() as connection:
        _held(connection, delivery_id)
        ledger.decide(connection, delivery_id, "approve", by=by, reason=reason, at=now)
        ledger.mark(connection, delivery_id, "received")
        delivery = ledger.get(connection, delivery_id)
    return carry_on(site, delivery, now, watch)


def reject(site: Site, delivery_id: int, *, by: str, reason: str, now: datetime) -> Delivery:
    """Return a held delivery; who and why is written down and told to the sender."""
    with site.warehouse.transaction() as connection:
        held = _held(connection, delivery_id)
        ledger.decide(connection, delivery_id, "reject", by=by, reason=reason, at=now)
        ledger.return_held(
            connection,
            held,
            Reason("rejected-by-person", Message(f"Trung tâm không chấp nhận: {reason}", f"Refused by the centre: {reason}")),
        )
    return finish(site, delivery_id, now)


def _held(connection: Connection, delivery_id: int) -> Delivery:
    delivery = ledger.get(connection, delivery_id, for_update=True)
    if delivery.state != "held":
        raise SetupFault(
            Message(
                f"Đợt gửi {delivery_id} đang ở trạng thái «{delivery.state}», không phải tạm giữ.",
                f"Delivery {delivery_id} is '{delivery.state}', not held.",
            ),
            rule="not-held",
        )
    return delivery
