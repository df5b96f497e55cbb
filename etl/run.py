"""A run over the inbox: first finish what the ledger shows unfinished, then receive and deliver what has arrived.

Answers for: one sender's bad file, and one dataset's broken contract, never delay another's; what went wrong is in the result.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etl.decide import Evidence, Verdict, decide
from etl.deliver import deliver, finish, task_of
from etl.judge import Judged, judge, summarise_rejections
from etl.receive import Arrival, Attribution, attribute, check_readable, clear, find_arrivals, receive
from etl.site import Site
from etl.store import disk_fault
from etl.watch import UNWATCHED, Watch
from expectations.faults import Fault, MachineFault, Message, SenderFault, SetupFault
from expectations.odcs import SENDER
from expectations.period import Period
from warehouse import ledger
from warehouse.ledger import Delivery, Reason
from warehouse.migrate import check_migrated

if TYPE_CHECKING:
    from warehouse.engine import Connection


@dataclass(frozen=True, slots=True)
class Only:
    """Which files of the inbox a run is about; None means all."""

    dataset: str | None = None
    province: str | None = None
    period: str | None = None

    def takes(self, arrival: Arrival, found: Attribution) -> bool:
        """Whether a file is meant; one that could not be attributed is, unless something is asked for that it is not."""
        if self.dataset and (found.contract.dataset if found.contract else arrival.folder) != self.dataset:
            return False
        if self.province and self.province not in (found.province_id, arrival.sender):
            return False
        return not self.period or any(str(part.period) == self.period for part in found.parts)


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


@dataclass(frozen=True, slots=True)
class Trial:
    """The verdict on one part of a file, with nothing stored."""

    dataset: str | None
    period: str | None
    province_id: str | None
    verdict: Verdict
    judged: Judged | None
    by_rule: tuple[dict[str, Any], ...] = ()


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
    if only.dataset and only.dataset not in site.contracts:
        known = ", ".join(site.contracts)
        raise SetupFault(
            Message(f"Không có tập dữ liệu «{only.dataset}»; có: {known}.", f"There is no dataset '{only.dataset}'; there are {known}.")
        )
    if only.province and not site.registry.exists(only.province) and all(c.sender != only.province for c in site.contracts.values()):
        raise SetupFault(Message(f"Không có tỉnh «{only.province}».", f"There is no province '{only.province}'."))
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
    found = attribute(arrival.path, arrival.sender, arrival.folder, site, now().date())
    if not only.takes(arrival, found):
        return
    seen = arrival.path.stat()
    received = receive(arrival.path, arrival.path.name, arrival.sender, found, site, now(), watch)
    watch.on_step("received")
    clear(arrival.path, seen)
    watch.on_step("cleared")
    result.unchanged += received.unchanged
    for delivery in received.new:
        result.done.append(carry_on(site, delivery, now(), watch))


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


def check_file(
    site: Site, path: Path, sender: str | None, dataset: str | None, period: str | None, today: date, watch: Watch = UNWATCHED
) -> list[Trial]:
    """Judge a file with nothing stored and no warehouse: what the sender's history would say is not known here."""
    check_readable(path)
    sender = sender or _likely_sender(site, path)
    folder = dataset or (path.parent.name if path.parent.name in site.contracts else None)
    found = attribute(path, sender, folder, site, today, period_text=period_for(site, folder, path, sender, period))
    return list(try_parts(site, path, found, watch))


def try_parts(site: Site, path: Path, found: Attribution, watch: Watch = UNWATCHED) -> Iterator[Trial]:
    """The verdict on each part of a file, with nothing stored."""
    contract = found.contract
    if contract is None or found.fault:
        reason = (Reason(found.fault.rule, found.fault.message),) if found.fault else ()
        yield Trial(contract.dataset if contract else None, None, found.province_id, Verdict("return", reason), None)
        return
    for part in found.parts:
        draft = _draft(path, contract.dataset, found.province_id, part.period.start, part.sheet, part.by_line)
        spool = site.work_file(f"check-{part.period}-{path.name[:80]}.rejections")
        try:
            judged = judge(task_of(site, contract, draft, path), lambda rows: None, spool, watch.on_lines)
            evidence = Evidence(judged.read, judged.faulty, judged.is_cut, judged.fatal, judged.broken_totals, None)
            by_rule = tuple(summarise_rejections(spool))
            yield Trial(contract.dataset, str(part.period), found.province_id, decide(contract, evidence), judged, by_rule)
        except SenderFault as fault:
            yield Trial(
                contract.dataset, str(part.period), found.province_id, Verdict("return", (Reason(fault.rule, fault.message),)), None
            )
        finally:
            spool.unlink(missing_ok=True)


def try_run(site: Site, only: Only, now: datetime, progress: Progress) -> Iterator[tuple[Arrival, list[Trial]]]:
    """What a run would say of each file in the inbox; nothing is stored, moved or written."""
    arrivals = in_order(find_arrivals(site.settings.inbox, site.settings.settle_seconds, time.time()))
    progress.start(len(arrivals))
    for arrival in arrivals:
        watch = progress.begin(arrival.path.name)
        if arrival.is_settled:
            found = attribute(arrival.path, arrival.sender, arrival.folder, site, now.date())
            if only.takes(arrival, found):
                yield arrival, list(try_parts(site, arrival.path, found, watch))
        progress.end()


def _likely_sender(site: Site, path: Path) -> str:
    """The sender by the folders above the file (`<sender>/<dataset>/<file>`), else the only one the file's name fits."""
    for folder in (path.absolute().parent.name, path.absolute().parent.parent.name):
        if site.registry.exists(folder) or any(c.sender == folder for c in site.contracts.values()):
            return folder
    senders = {c.sender for c in site.contracts.values() if any(p.match(path.stem) for p in c.file_names)} - {"each-province"}
    if len(senders) == 1:
        return senders.pop()
    raise SetupFault(
        Message(f"Không rõ ai gửi «{path.name}»; hãy nêu --sender.", f"Who sends '{path.name}' is not clear; name the --sender."),
        rule="no-sender",
    )


def _draft(path: Path, dataset: str, province_id: str | None, period: date, sheet: str | None, by_line: bool) -> Delivery:
    """A delivery that is not in the ledger."""
    return Delivery(
        delivery_id=0,
        sender="",
        dataset=dataset,
        province_id=province_id,
        period=period,
        sheet=sheet,
        by_line=by_line,
        file_name=path.name,
        sha256="",
        size_bytes=0,
        archive_path="",
        contract_sha256=None,
        state="received",
        received_at=datetime.min.replace(tzinfo=UTC),
    )


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
