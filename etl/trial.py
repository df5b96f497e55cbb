"""The verdict on a file with nothing stored: what `check`, a dry run and a trial by the scheduler say.

Answers for: the same judgement of the same bytes as a delivery gets, but for the sender's history, which is not asked.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from etl.decide import Evidence, Verdict, decide
from etl.deliver import receipt_of, task_of
from etl.judge import Judged, judge, read_rejections, summarise_rejections
from etl.receive import Arrival, Attribution, attribute, check_readable, find_arrivals
from etl.report import write_receipt
from etl.run import Only, Progress, in_order, period_for
from etl.site import Site
from etl.watch import UNWATCHED, Watch
from expectations.faults import Message, SenderFault, SetupFault
from warehouse.ledger import Delivery, Reason, State

_STATES: dict[str, State] = {"load": "stored", "hold": "held", "return": "returned"}


@dataclass(frozen=True, slots=True)
class Trial:
    """The verdict on one part of a file, with nothing stored."""

    dataset: str | None
    period: str | None
    province_id: str | None
    verdict: Verdict
    judged: Judged | None
    by_rule: tuple[dict[str, Any], ...] = ()


def check_file(
    site: Site, path: Path, sender: str | None, dataset: str | None, period: str | None, today: date, watch: Watch = UNWATCHED
) -> list[Trial]:
    """Judge a file with nothing stored and no warehouse: what the sender's history would say is not known here."""
    check_readable(path)
    sender = sender or _likely_sender(site, path)
    folder = dataset or (path.parent.name if path.parent.name in site.contracts else None)
    found = attribute(path, sender, folder, site, today, period_text=period_for(site, folder, path, sender, period))
    return list(try_parts(site, path, sender, found, watch))


def try_parts(
    site: Site, path: Path, sender: str, found: Attribution, watch: Watch = UNWATCHED, receipts: Path | None = None
) -> Iterator[Trial]:
    """The verdict on each part of a file, with nothing stored. `receipts` is a folder in which receipts of the trial are written."""
    contract = found.contract
    if contract is None or found.fault:
        reason = (Reason(found.fault.rule, found.fault.message),) if found.fault else ()
        yield Trial(contract.dataset if contract else None, None, found.province_id, Verdict("return", reason), None)
        return
    for part in found.parts:
        draft = _draft(path, sender, contract.dataset, found.province_id, part.period.start, part.sheet, part.by_line)
        spool = site.work_file(f"check-{part.period}-{path.name[:80]}.rejections")
        try:
            judged = judge(task_of(site, contract, draft, path), lambda rows: None, spool, watch.on_lines)
            evidence = Evidence(judged.read, judged.faulty, judged.is_cut, judged.fatal, judged.broken_totals, None)
            by_rule = tuple(summarise_rejections(spool))
            trial = Trial(contract.dataset, str(part.period), found.province_id, decide(contract, evidence), judged, by_rule)
        except SenderFault as fault:
            verdict = Verdict("return", (Reason(fault.rule, fault.message),))
            trial = Trial(contract.dataset, str(part.period), found.province_id, verdict, None)
        try:
            if receipts:
                _write_receipt(site, receipts, draft, trial, spool)
            yield trial
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
                yield arrival, list(try_parts(site, arrival.path, arrival.sender, found, watch))
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


def _write_receipt(site: Site, receipts: Path, draft: Delivery, trial: Trial, spool: Path) -> None:
    """The receipt that a delivery would get, by this verdict."""
    judged, state = trial.judged, _STATES[trial.verdict.action]
    read, faulty = (judged.read, judged.faulty) if judged else (0, 0)
    loaded, waiting = (read - faulty if state == action else 0 for action in ("stored", "held"))
    delivery = replace(
        draft,
        state=state,
        lines_read=read,
        lines_loaded=loaded,
        lines_rejected=read - loaded - waiting,
        lines_waiting=waiting,
        lines_faulty=faulty,
        reasons=trial.verdict.reasons,
        notices=tuple(judged.notices) if judged else (),
    )
    totals = [asdict(total) for total in judged.reconciliations] if judged else []
    receipt = replace(receipt_of(site, delivery), by_rule=trial.by_rule, reconciliations=totals)
    write_receipt(receipts, receipt, read_rejections(spool) if trial.by_rule else ())


def _draft(path: Path, sender: str, dataset: str, province_id: str | None, period: date, sheet: str | None, by_line: bool) -> Delivery:
    """A delivery that is not in the ledger."""
    return Delivery(
        delivery_id=0,
        sender=sender,
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
