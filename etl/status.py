"""Who has delivered and who is late, as pages: a summary, one matrix of sender and period for each dataset, one delivery and its story.

Answers for: the same sections serve a web application and one file that stands alone, told apart by how they link to each other; a sign
and a word say what a colour says. Refuses: values. A page shows counts, names of rules, files and senders, and of messages only those that
stand in the contract or here: what a reader says of a file may quote its cells, and is for the sender's receipt.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote
from zoneinfo import ZoneInfo

from expectations.contract import Contract
from expectations.faults import Message, SetupFault
from expectations.period import Period
from warehouse import calendar, ledger
from warehouse.calendar import State, Status, Tally

if TYPE_CHECKING:
    import jinja2

    from etl.site import Site
    from warehouse.engine import Connection
    from warehouse.ledger import Delivery

Place = Literal["summary", "dataset", "delivery"]
Link = Callable[[Place, str], str | None]
"""Where a place of these pages is: (`dataset`, its name), (`delivery`, its number) or (`summary`, ""); None where it cannot be gone to."""

PERIODS_SHOWN = 13
STORIES_IN_FILE = 200
"""Deliveries whose story stands in a file; they are those that somebody has to look at, the newest first."""


@dataclass(frozen=True, slots=True)
class Sign:
    """How a state is shown: one sign, its words, and a colour for terminals."""

    sign: str
    words: Message
    colour: str


SIGNS: Mapping[State, Sign] = {
    "missing": Sign("○", Message("chưa gửi, đã quá hạn", "missing, past the due date"), "bold red"),
    "returned": Sign("✕", Message("bị trả lại, chưa gửi lại", "returned, not sent again yet"), "red"),
    "held": Sign("‖", Message("tạm giữ, chờ trung tâm", "held, waits for the centre"), "yellow"),
    "in-part": Sign("!", Message("đã nạp, có dòng bị từ chối", "loaded, with rejected lines"), "yellow"),
    "late": Sign("»", Message("đã nạp đủ, đến sau hạn", "loaded whole, came late"), "cyan"),
    "empty": Sign("0", Message("đã nhận, không có dòng nào", "accepted, no lines"), "green"),
    "accepted": Sign("✓", Message("đã nạp đủ, đúng hạn", "loaded whole, in time"), "green"),
    "not-due": Sign("·", Message("chưa có, chưa đến hạn", "nothing yet, not due"), "dim"),
}
"""In the order in which they ask for attention."""
LATE, UNEXPECTED = "»", "*"
MARKS: Mapping[str, Message] = {
    LATE: Message("sau dấu khác: đến sau hạn", "behind another sign: came late"),
    "+‖": Message("đợt sửa đang tạm giữ", "a correction is held"),
    "+✕": Message("đợt sửa bị trả lại", "a correction was returned"),
    UNEXPECTED: Message("ngoài lịch", "not in the calendar"),
}
FATES: Mapping[str, Sign] = {
    "received": Sign("…", Message("đã nhận, chưa xong", "received, not judged yet"), "cyan"),
    "held": SIGNS["held"],
    "returned": Sign("✕", Message("bị trả lại", "returned"), "red"),
    "in-part": SIGNS["in-part"],
    "empty": SIGNS["empty"],
    "accepted": Sign("✓", Message("đã nạp đủ", "loaded whole"), "green"),
    "superseded": Sign("↻", Message("đã được thay thế", "replaced by a newer one"), "dim"),
}
"""What became of one delivery; whether it was late, or was sent again, is not the delivery's to say."""
REASONS: Mapping[str, Message] = {
    "tolerance": Message("Nhiều dòng lỗi hơn mức cho phép.", "More faulty lines than are tolerated."),
    "volume": Message("Số dòng khác xa mức thường gửi.", "Far more or fewer lines than usual."),
    "cut": Message("Tệp kết thúc giữa một dòng.", "The file ends in the middle of a line."),
    "empty": Message("Tệp không có dòng dữ liệu nào.", "The file has no data line."),
    "header": Message("Không nhận ra dòng tiêu đề.", "The header was not understood."),
    "sheet": Message("Không có trang tính cần đọc.", "The sheet that is to be read is not there."),
    "file-name": Message("Tên tệp không đúng mẫu.", "The file's name does not fit the contract."),
    "wrong-sender": Message("Đơn vị này không gửi tập dữ liệu này.", "This sender does not send this dataset."),
    "wrong-province": Message("Tỉnh trong tên tệp không thuộc đơn vị gửi.", "The file's name says a province that is not the sender's."),
    "future-period": Message("Kỳ chưa kết thúc.", "The period has not ended."),
    "wrong-period": Message("Kỳ không thuộc về đơn vị gửi.", "The period is not one of this sender's."),
    "rejected-by-person": Message("Trung tâm không chấp nhận.", "Refused by the centre."),
}
_TITLE = Message("Tình trạng gửi dữ liệu", "Status of deliveries")
_IN_THE_RECEIPT = Message("Xem biên nhận.", "See the receipt.")


def below(prefix: str) -> Link:
    """Links of a web application whose pages lie at `<prefix>/`, `<prefix>/datasets/<dataset>` and `<prefix>/deliveries/<number>`."""
    folders = {"summary": "", "dataset": "datasets/", "delivery": "deliveries/"}
    return lambda place, name: f"{prefix}/{folders[place]}{quote(name, safe='')}"


# ---------------------------------------------------------------- what is on a page


@dataclass(frozen=True, slots=True)
class Cell:
    """What one sender has delivered for one period: the sign with its marks, and the words for whoever cannot see it."""

    state: State
    signs: str
    words: Message
    delivery_id: int | None


@dataclass(frozen=True, slots=True)
class Row:
    """One sender. `right` is its first-time-right share of all periods, as text; `cells` are in the order of the matrix's periods."""

    sender: str
    name: str
    right: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """The senders of a dataset, those of its newest period first, and its newest periods; `left_out` older periods are not in it."""

    dataset: str
    label: str
    periods: tuple[str, ...]
    left_out: int
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Overview:
    """One dataset in a summary: its lines of all periods by state, and who is missing in the newest period that is due."""

    dataset: str
    label: str
    by_state: Mapping[State, int]
    right: str
    due_period: str | None = None
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a page or a command is about; None means all. `period` is a first day."""

    dataset: str | None = None
    sender: str | None = None
    period: date | None = None
    last: int = PERIODS_SHOWN

    def lines(self, dataset: str | None) -> dict[str, Any]:
        """Which lines of the calendar are meant, of one dataset or of all."""
        return {"dataset": dataset, "sender": self.sender, "period": self.period}


@dataclass(slots=True)
class _Page:
    """The sections of one page, in their order."""

    title: Message
    at: datetime
    link: Link
    sections: list[dict[str, Any]] = field(default_factory=list)


# ---------------------------------------------------------------- the pages


def status_page(site: Site, dataset: str | None = None, link: Link | None = None, last: int = PERIODS_SHOWN) -> str:
    """The page of one dataset: its matrix over the `last` periods; without a dataset the summary of all of them.

    It only reads; what is expected is written down by `etl.calendar`. Raises `SetupFault` where no contract is of that dataset.
    """
    wanted = Wanted(dataset, last=last)
    with site.warehouse.transaction() as connection:
        page = _Page(_TITLE, _now(site, connection), link or below("/status"))
        if dataset is None:
            page.sections.append(_summary_section(overviews(site, connection, wanted)))
        else:
            check_dataset(site, dataset)
            page.sections.append(_matrix_section(matrix(site, connection, dataset, wanted)))
    return _render(page)


def delivery_page(site: Site, delivery_id: int, link: Link | None = None) -> str:
    """The page of one delivery. Raises `SetupFault` when there is none of that number."""
    with site.warehouse.transaction() as connection:
        page = _Page(_TITLE, _now(site, connection), link or below("/status"))
        page.sections.append(_story_section(site, connection, delivery_id))
    return _render(page)


def status_file(site: Site, wanted: Wanted) -> str:
    """All of it as one page that stands alone: the summary, a matrix for each dataset, and the deliveries that need a look."""
    with site.warehouse.transaction() as connection:
        all_told = overviews(site, connection, wanted)
        datasets = [one.dataset for one in all_told]
        matrices = [matrix(site, connection, dataset, wanted) for dataset in datasets]
        numbers = sorted({number for one in matrices for number in _to_look_at(one)}, reverse=True)
        stories = [_story_section(site, connection, number) for number in numbers[:STORIES_IN_FILE]]
        at = _now(site, connection)
    places = {"#summary", *(f"#dataset-{d}" for d in datasets), *(f"#delivery-{n}" for n in numbers[:STORIES_IN_FILE])}

    def link(place: Place, name: str) -> str | None:
        anchor = f"#{place}-{name}" if name else f"#{place}"
        return anchor if anchor in places else None

    page = _Page(_TITLE, at, link)
    page.sections += [_summary_section(all_told), *(_matrix_section(one) for one in matrices), *stories]
    if len(numbers) > STORIES_IN_FILE:
        page.sections.append({"kind": "capped", "shown": STORIES_IN_FILE, "total": len(numbers)})
    return _render(page)


def write_status_file(site: Site, wanted: Wanted, file: Path) -> None:
    """Put that page into a file, which takes the place of an older one when it is whole. Raises `MachineFault` for the disk."""
    from etl.store import disk_fault, flush

    text = status_file(site, wanted)
    draft = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        flush(draft)
        draft.replace(file)
    except OSError as error:
        raise disk_fault(error, str(file)) from error
    finally:
        draft.unlink(missing_ok=True)


# ---------------------------------------------------------------- summary and matrix


def overviews(site: Site, connection: Connection, wanted: Wanted) -> list[Overview]:
    """Each dataset that there are lines of, counted."""
    meant = wanted.lines(wanted.dataset)
    missing = calendar.missing_now(connection, **meant)
    return [_overview(site, tally, missing.get(tally.dataset)) for tally in calendar.tallies(connection, **meant)]


def matrix(site: Site, connection: Connection, dataset: str, wanted: Wanted) -> Matrix:
    """The newest periods of a dataset, all its senders in them."""
    lines = calendar.statuses(connection, **wanted.lines(dataset))
    known = sorted({line.period for line in lines}, reverse=True)
    shown = known[: wanted.last]
    by_place = {(line.sender, line.period): line for line in lines}
    rows = []
    for sender in dict.fromkeys(line.sender for line in lines):
        own = [by_place.get((sender, period)) for period in shown]
        if any(own):
            right = share_text(line.is_first_time_right for line in lines if line.sender == sender)
            rows.append(Row(sender, name_of(site, sender), right, tuple(_cell(line) if line else None for line in own)))
    rows.sort(key=lambda row: (row.cells[0] is None, row.sender))
    periods = tuple(period_text(site, dataset, period) for period in shown)
    return Matrix(dataset, label_of(site, dataset), periods, len(known) - len(shown), tuple(rows))


def check_dataset(site: Site, dataset: str) -> None:
    """Raise `SetupFault` unless there is a contract of this dataset."""
    if dataset not in site.contracts:
        known = ", ".join(site.contracts)
        raise SetupFault(
            Message(f"Không có tập dữ liệu «{dataset}»; có: {known}.", f"There is no dataset '{dataset}'; there are {known}."),
            rule="no-dataset",
        )


def share_text(were_right: Iterable[bool | None]) -> str:
    """The share of first deliveries that were right, as text; a dash where there were none."""
    tried = [one for one in were_right if one is not None]
    return _percent(sum(tried), len(tried))


def name_of(site: Site, sender: str) -> str:
    """A province by its last name, with its last month where it is no more; a central body by its own."""
    if not site.registry.exists(sender):
        return sender
    province = site.registry.get(sender)
    return f"{province.name} (–{province.valid_to:%m/%Y})" if province.valid_to else province.name


def label_of(site: Site, dataset: str) -> str:
    return site.contracts[dataset].label if dataset in site.contracts else dataset


def period_text(site: Site, dataset: str | None, period: date) -> str:
    """A period as people write it; its first day where no contract says what kind it is."""
    contract = site.contracts.get(dataset or "")
    return str(Period(period, contract.periodicity)) if contract else period.isoformat()


def _overview(site: Site, tally: Tally, missing: tuple[date, list[str]] | None) -> Overview:
    by_state = {state: tally.by_state[state] for state in SIGNS if state in tally.by_state}
    right = _percent(tally.right, tally.tried)
    if missing is None:
        return Overview(tally.dataset, label_of(site, tally.dataset), by_state, right)
    names = tuple(name_of(site, sender) for sender in missing[1])
    return Overview(tally.dataset, label_of(site, tally.dataset), by_state, right, period_text(site, tally.dataset, missing[0]), names)


def _percent(part: int, whole: int) -> str:
    return f"{part * 100 // whole} %" if whole else "–"


def _cell(line: Status) -> Cell:
    marks = []
    if line.is_late and line.state in ("in-part", "empty", "held"):
        marks.append(LATE)
    if line.correction:
        marks.append("+" + SIGNS[line.correction].sign)
    if not line.is_expected:
        marks.append(UNEXPECTED)
    said = [SIGNS[line.state].words, *(MARKS[mark] for mark in marks)]
    words = Message("; ".join(one.vi for one in said), "; ".join(one.en for one in said))
    return Cell(line.state, SIGNS[line.state].sign + "".join(marks), words, line.delivery_id)


def _to_look_at(one: Matrix) -> Iterable[int]:
    """Deliveries that wait for somebody, or whose correction does."""
    cells = (cell for row in one.rows for cell in row.cells if cell)
    waiting = (cell for cell in cells if cell.state in ("returned", "held", "in-part") or "+" in cell.signs)
    return (cell.delivery_id for cell in waiting if cell.delivery_id is not None)


def _summary_section(all_told: Sequence[Overview]) -> dict[str, Any]:
    return {"kind": "summary", "overviews": all_told}


def _matrix_section(one: Matrix) -> dict[str, Any]:
    return {
        "kind": "matrix",
        "matrix": one,
        "headings": [period.rpartition("-")[::2] for period in one.periods],
        "used": {cell.state for row in one.rows for cell in row.cells if cell},
    }


# ---------------------------------------------------------------- one delivery


def _story_section(site: Site, connection: Connection, delivery_id: int) -> dict[str, Any]:
    """What a page tells of a delivery: nothing of it is a value of a cell."""
    from etl.deliver import receipt_folder

    delivery = ledger.get(connection, delivery_id)
    contract = site.contracts.get(delivery.dataset or "")
    return {
        "kind": "story",
        "delivery": delivery,
        "fate": fate_of(delivery),
        "sender_name": name_of(site, delivery.sender),
        "label": label_of(site, delivery.dataset) if delivery.dataset else None,
        "period": period_text(site, delivery.dataset, delivery.period) if delivery.period else None,
        "province_name": name_of(site, delivery.province_id) if delivery.province_id not in (None, delivery.sender) else None,
        "received_at": _local(site, delivery.received_at),
        "receipt": f"{delivery.sender}/{receipt_folder(site, delivery).name}" if delivery.reported_at else None,
        "reasons": [(reason.rule, _words_of(contract, reason.rule)) for reason in delivery.reasons],
        "notices": [(notice.rule, _words_of(contract, notice.rule)) for notice in delivery.notices],
        "broken": [_broken(contract, row) for row in ledger.rejections_by_rule(connection, delivery_id)],
        "decisions": [
            {"action": row["action"], "by": row["decided_by"], "at": _local(site, row["decided_at"])}
            for row in ledger.decisions(connection, delivery_id)
        ],
        "history": [(one, fate_of(one), _local(site, one.received_at)) for one in ledger.of_partition(connection, delivery)],
    }


def fate_of(delivery: Delivery) -> str:
    """The key in FATES."""
    if delivery.state in ("loaded", "stored"):
        return "in-part" if delivery.lines_rejected else "accepted" if delivery.lines_loaded else "empty"
    return delivery.state


def _broken(contract: Contract | None, row: Mapping[str, Any]) -> dict[str, Any]:
    """How many lines broke a rule. A field that the contract does not know may be named as the file names it, and stays untold."""
    known = contract.by_name.get(row["field"] or "") if contract else None
    label = known.label if known else None
    return {
        "rule": row["rule"],
        "words": _words_of(contract, row["rule"]),
        "label": label,
        "severity": row["severity"],
        "lines": row["lines"],
    }


def _words_of(contract: Contract | None, rule: str) -> Message:
    """The contract's own words, or ours. What was said to the sender is not repeated: it may quote a cell."""
    found = next((one.message for one in contract.rules if one.id == rule), None) if contract else None
    return found or REASONS.get(rule, _IN_THE_RECEIPT)


# ---------------------------------------------------------------- writing


def _now(site: Site, connection: Connection) -> datetime:
    return calendar.moment(connection).astimezone(ZoneInfo(site.settings.timezone))


def _local(site: Site, moment: datetime) -> str:
    return f"{moment.astimezone(ZoneInfo(site.settings.timezone)):%d/%m/%Y %H:%M}"


def _render(page: _Page) -> str:
    return _template().render(
        title=page.title, at=f"{page.at:%d/%m/%Y %H:%M %Z}", link=page.link, sections=page.sections, signs=SIGNS, fates=FATES, marks=MARKS
    )


@cache
def _template() -> jinja2.Template:
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    pages = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    pages.filters["number"] = lambda value: "–" if value is None else f"{value:,}".replace(",", "\u202f")
    return pages.get_template("status.html.j2")
