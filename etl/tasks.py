"""What the tasks of a nightly load do, one function each, without any scheduler.

Answers for: what one task hands to the next is small and holds no data: numbers of deliveries, labels, counts. A delivery that is
returned or held is a task that did its work. Refuses: deciding when anything runs, or what is tried again.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from etl.receive import Arrival, attribute, find_arrivals
from etl.run import Only, busy, carry_on, check_known, in_order, load_again, parse_periods, take_in
from etl.site import Site
from etl.trial import Trial, try_parts
from expectations.faults import Fault, MachineFault, Message, SetupFault
from warehouse import ledger
from warehouse.ledger import Delivery
from warehouse.migrate import check_migrated

if TYPE_CHECKING:
    from etl.calendar import Settled


@dataclass(frozen=True, slots=True)
class Wish:
    """What a run is asked to do: by default everything that has arrived or is unfinished.

    `again`: also load what is shown of the wanted provinces and periods once more, from the archive. `is_trial`: only say the verdicts.
    """

    provinces: tuple[str, ...] = ()
    periods: tuple[date, date] | None = None
    is_trial: bool = False
    again: bool = False


class Work(TypedDict):
    """One task's work: a delivery of the ledger, or for a trial a file of the inbox; `trouble` is what kept a file from being received."""

    label: str
    delivery: NotRequired[int]
    again: NotRequired[bool]
    file: NotRequired[str]
    trouble: NotRequired[list[str]]


class Done(TypedDict):
    """What became of it."""

    label: str
    state: str
    delivery: int | None
    dataset: str | None
    period: str | None
    read: int
    loaded: int
    rejected: int


def wish_of(params: Mapping[str, Any]) -> Wish:
    """The wish that somebody filled in. Raises `SetupFault` for periods that cannot be read."""
    return Wish(
        tuple(params.get("provinces") or ()),
        parse_periods(params.get("periods")),
        bool(params.get("dry_run")),
        bool(params.get("reload")),
    )


def plan(site: Site, dataset: str | None, wish: Wish, now: datetime) -> list[Work]:
    """Receive what has arrived for a dataset, and list it with what the ledger left unfinished; for a trial only list the files.

    `dataset` None: files that belong to none. Raises `SetupFault` for an unknown name, `MachineFault` when nothing can be done at all.
    """
    only = Only(dataset, wish.provinces, wish.periods)
    check_known(site, only)
    arrivals = [a for a in in_order(find_arrivals(site.settings.inbox, site.settings.settle_seconds, time.time())) if a.is_settled]
    arrivals = [a for a in arrivals if _may_concern(site, a, dataset)]
    if wish.is_trial:
        return [_trial_work(a) for a in arrivals if only.takes(a, attribute(a.path, a.sender, a.folder, site, now.date()))]
    with site.warehouse.transaction() as connection:
        check_migrated(connection, site.contracts)
        left = [d for d in ledger.unfinished(connection) if d.dataset == dataset and only.means(d)]
    work = {d.delivery_id: _work(site, d) for d in left}
    trouble = []
    for arrival in arrivals:
        try:
            received = take_in(site, arrival, only, now)
        except FileNotFoundError:
            continue  # another run has received it meanwhile
        except Fault as fault:
            if fault.rule in ("warehouse-down", "disk"):
                raise
            trouble.append(_trouble(arrival, fault.message))
            continue
        except Exception as error:  # whatever one file brings about, the others go on
            trouble.append(_trouble(arrival, _unexpected(error).message))
            continue
        work |= {d.delivery_id: _work(site, d) for d in (received.new if received else ())}
    if wish.again:
        with site.warehouse.transaction() as connection:
            shown = [d for d in ledger.all_shown(connection) if d.dataset == dataset and only.means(d)]
        work = {d.delivery_id: Work(**_work(site, d), again=True) for d in shown} | work
    return [*(work[number] for number in sorted(work)), *trouble]


def carry_out(site: Site, work: Work, now: datetime) -> list[Done]:
    """Do one task's work; a file of a trial may have several parts.

    Raises `MachineFault` for bad luck, which is worth another try, and `SetupFault` for what somebody must mend.
    """
    if "trouble" in work:
        raise SetupFault(Message(*work["trouble"]), rule="trouble")
    unexpected = None
    try:
        return _carry_out(site, work, now)
    except Fault:
        raise
    except Exception as error:  # its message may hold values of rows, and a scheduler's log is no place for them
        unexpected = _unexpected(error)
    raise unexpected  # outside of the block, so that the error does not hang on it


def _carry_out(site: Site, work: Work, now: datetime) -> list[Done]:
    if "file" in work:
        return _try(site, work, now)
    number = work["delivery"]
    if work.get("again"):
        return [_done(work["label"], load_again(site, number, now))]
    with site.warehouse.transaction() as connection:
        delivery = ledger.get(connection, number)
    delivery = carry_on(site, delivery, now)
    if delivery.reported_at is None:
        raise busy(number)
    return [_done(work["label"], delivery)]


def held(site: Site, dataset: str | None) -> list[int]:
    """The deliveries of a dataset that wait for a person."""
    with site.warehouse.transaction() as connection:
        return [d.delivery_id for d in ledger.deliveries(connection, dataset=dataset, state="held")]


def settled_periods(site: Site, dataset: str, now: datetime, by: str) -> list[Settled]:
    """The periods of a dataset that are newly settled, each told once; to the same run `by` again when its task is tried again."""
    from etl.calendar import settle

    contracts = {dataset: site.contracts[dataset]}
    with site.warehouse.transaction() as connection:
        return settle(connection, contracts, site.registry, now, site.settings.timezone, by)


def count_states(done: Iterable[Done]) -> dict[str, int]:
    """How many deliveries came to which state, and the lines read, loaded and rejected."""
    done = list(done)
    states = sorted({one["state"] for one in done})
    sums = {name: sum(one[name] for one in done) for name in ("read", "loaded", "rejected")}
    return {**{state: sum(one["state"] == state for one in done) for state in states}, **sums}


def _may_concern(site: Site, arrival: Arrival, dataset: str | None) -> bool:
    """Whether a file lies where files of the dataset lie; those in no dataset's folder may be anybody's."""
    if arrival.folder in site.contracts:
        return arrival.folder == dataset
    return dataset is None if arrival.folder else True


def _unexpected(error: Exception) -> MachineFault:
    """An error that nobody foresaw, by its kind and place alone; it is worth another try."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{type(error).__name__}, {Path(last.filename).name}:{last.lineno}"
    return MachineFault(Message(f"Lỗi ngoài dự kiến ({where}).", f"Unexpected fault ({where})."), rule="unexpected")


def _trouble(arrival: Arrival, message: Message) -> Work:
    return Work(label=_file_label(arrival), trouble=[message.vi, message.en])


def _file_label(arrival: Arrival) -> str:
    return "/".join(filter(None, (arrival.sender, arrival.folder, arrival.path.name)))


def _trial_work(arrival: Arrival) -> Work:
    return Work(label=f"{arrival.sender} {arrival.path.name}", file=_file_label(arrival))


def _work(site: Site, delivery: Delivery) -> Work:
    return Work(label=f"{delivery.sender} {_period_text(site, delivery) or delivery.delivery_id}", delivery=delivery.delivery_id)


def _period_text(site: Site, delivery: Delivery) -> str | None:
    contract = site.contracts.get(delivery.dataset or "")
    if contract is None or delivery.period is None:
        return None
    period = str(delivery.period_of(contract.periodicity))
    return period if delivery.province_id in (None, delivery.sender) else f"{period} ({delivery.province_id})"


def _done(label: str, delivery: Delivery) -> Done:
    return Done(
        label=label,
        state=delivery.state,
        delivery=delivery.delivery_id,
        dataset=delivery.dataset,
        period=delivery.period.isoformat() if delivery.period else None,
        read=delivery.lines_read or 0,
        loaded=delivery.lines_loaded or 0,
        rejected=delivery.lines_rejected or 0,
    )


def _try(site: Site, work: Work, now: datetime) -> list[Done]:
    """The verdict on each part of a file, with a receipt beside the others of trials, and nothing stored."""
    path = site.settings.inbox / work["file"]
    sender, *folder, _ = work["file"].split("/")
    if not path.exists():
        raise MachineFault(Message(f"{work['file']} không còn ở hộp đến.", f"{work['file']} is not in the inbox any more."), rule="gone")
    found = attribute(path, sender, folder[0] if folder else None, site, now.date())
    return [_tried(work["label"], trial) for trial in try_parts(site, path, sender, found, receipts=site.settings.home / "trials")]


def _tried(label: str, trial: Trial) -> Done:
    words = {"load": "would load", "hold": "would be held", "return": "would be returned"}
    read, faulty = (trial.judged.read, trial.judged.faulty) if trial.judged else (0, 0)
    return Done(
        label=f"{label} {trial.period or ''}".strip(),
        state=words[trial.verdict.action],
        delivery=None,
        dataset=trial.dataset,
        period=trial.period,
        read=read,
        loaded=0,
        rejected=faulty,
    )
