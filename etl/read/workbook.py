"""Workbooks (xlsx, xls, ods): which sheet holds the table, and its rows with the sheet's own line numbers.

Answers for: typed cells as the workbook stores them, lines that merged cells spread over several rows, formatted rows without
content that cost nothing. Refuses: hidden sheets, several sheets that fit, and a sheet too large to hold in memory.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import cast

import numpy as np
from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook, PasswordError, SheetTypeEnum, SheetVisibleEnum

from etl.read.cells import Rows, cells_of
from etl.read.grid import Grid
from etl.read.header import MAX_HEADER_LINES, HeaderFinder
from etl.read.header_faults import header_not_found
from etl.read.heading import HEAD_ROWS, Heading
from etl.read.levels import Merge
from etl.read.source import damaged, protected
from etl.read.wording import Cell, cell_text, one_line, without_marks
from etl.read.workbook_limits import MOST_CELLS, check_limits, too_large
from expectations.contract import Contract
from expectations.faults import Message, SenderFault
from expectations.period import NamePattern, Period

Row = list[Cell]


def sheet_periods(file: Path, contract: Contract) -> list[tuple[str, Period]]:
    """The visible sheets whose name tells a period, in the workbook's order. Raises `SenderFault` when there is none."""
    names = _visible(_open(file))
    found = [(name, period) for name in names if (period := _period_of_sheet(name, contract)) is not None]
    if not found:
        raise _no_sheet(file, contract, names)
    return found


def open_sheet(file: Path, contract: Contract, name: str | None, period: Period | None, batch_rows: int) -> Grid:
    """The sheet of that name, or the one that holds the contract's table. Raises `SenderFault` when it is none or several."""
    workbook = _open(file)
    finder = HeaderFinder(contract)
    names = [sheet for sheet in _visible(workbook) if (sheet == name if name else _is_wanted(sheet, contract, period))]
    if not names:
        raise _no_sheet(file, contract, _visible(workbook))
    found: list[tuple[CalamineSheet, Heading]] = []
    heads: list[list[Row]] = []
    faults: list[SenderFault] = []
    for wanted in names:
        sheet = _sheet(file, workbook, wanted)
        heads.append(list(islice(_rows(sheet), 2 * HEAD_ROWS + MAX_HEADER_LINES)))
        try:
            heading = finder.find(heads[-1], range(1, len(heads[-1]) + 1), _merges(sheet))
        except SenderFault as fault:  # of another table, perhaps
            faults.append(fault)
            continue
        if heading is not None:
            found.append((sheet, heading))
    required = {f.name for f in contract.fields if f.required}
    whole = [pair for pair in found if not required & set(pair[1].header.missing)]
    if not whole and faults:
        raise faults[0]
    whole = whole or found
    if not whole:
        raise header_not_found(contract, heads, f"«{names[0]}»" if len(names) == 1 else "")
    if len(whole) > 1:
        raise _several_sheets(file, [sheet.name for sheet, _ in whole])
    sheet, heading = whole[0]
    return Grid(heading, _batches(sheet, heading, heading.lines_for(batch_rows)), sheet=sheet.name)


# ---------------------------------------------------------------- the workbook


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """What the reader complains of is the sender's to mend."""
    try:
        yield
    except PasswordError as error:
        raise protected(file) from error
    except CalamineError as error:
        raise damaged(file, str(error)) from error
    except BaseException as error:  # a panic of the reader is no Exception
        if type(error).__name__ != "PanicException":
            raise
        raise damaged(file, "panic") from error


def _open(file: Path) -> CalamineWorkbook:
    check_limits(file)
    with _reading(file):
        return CalamineWorkbook.from_path(file)


def _sheet(file: Path, workbook: CalamineWorkbook, name: str) -> CalamineSheet:
    with _reading(file):
        sheet = workbook.get_sheet_by_name(name)
    if sheet.total_height * sheet.total_width > MOST_CELLS:
        raise too_large(file, f"{name}: {sheet.total_height} × {sheet.total_width}")
    return sheet


def _visible(workbook: CalamineWorkbook) -> list[str]:
    return [s.name for s in workbook.sheets_metadata if s.visible == SheetVisibleEnum.Visible and s.typ == SheetTypeEnum.WorkSheet]


def _is_wanted(sheet: str, contract: Contract, period: Period | None) -> bool:
    wanted = contract.layout.sheet
    if wanted is None:
        return True
    if "{period" in wanted:
        return _period_of_sheet(sheet, contract) == period
    return re.search(wanted, sheet.strip(), re.IGNORECASE) is not None


def _period_of_sheet(name: str, contract: Contract) -> Period | None:
    said = NamePattern(contract.layout.sheet or "", contract.periodicity).match(one_line(name))
    return said.period if said else None


def _merges(sheet: CalamineSheet) -> list[Merge]:
    return [Merge(top, left, bottom, right) for (top, left), (bottom, right) in sheet.merged_cell_ranges or ()]


def _rows(sheet: CalamineSheet) -> Iterator[Row]:
    """All rows from the sheet's first one; the reader leaves out empty columns on the left, which merges count."""
    if sheet.start is None:
        return
    padding: Row = [None] * sheet.start[1]
    for row in sheet.iter_rows():
        yield padding + [None if cell == "" else cast(Cell, cell) for cell in row]


# ---------------------------------------------------------------- rows and merged cells


def _batches(sheet: CalamineSheet, heading: Heading, batch_rows: int) -> Iterator[Rows]:
    rows = enumerate(_rows(sheet), 1)
    lines = islice(rows, heading.last + 1, None)
    tall = [merge for merge in _merges(sheet) if merge.bottom > merge.top and merge.bottom > heading.last]
    joined = _joined(lines, tall, heading) if tall else lines
    while chunk := list(islice(joined, batch_rows)):
        numbers, values = zip(*chunk, strict=True)
        yield Rows(tuple(cells_of(column) for column in zip(*values, strict=True)), np.array(numbers, np.int64))


def _joined(lines: Iterator[tuple[int, Row]], merges: Sequence[Merge], heading: Heading) -> Iterator[tuple[int, Row]]:
    """Rows of which merged cells cover more than half of the known columns are one line; elsewhere a merged cell speaks for each row."""
    known = {place for places in (*heading.columns.values(), *(n.columns for n in heading.named)) for place in places}
    starting: dict[int, list[Merge]] = defaultdict(list)
    covered: dict[int, list[Merge]] = defaultdict(list)
    for merge in merges:
        starting[merge.top].append(merge)
        for line in range(merge.top + 1, merge.bottom + 1):
            covered[line].append(merge)
    tops: dict[Merge, Cell] = {}
    group: list[Row] = []
    first = 0
    for number, row in lines:
        above = covered.get(number - 1, ())
        is_continued = group and 2 * sum(merge.left <= place <= merge.right for merge in above for place in known) > len(known)
        if is_continued:
            group.append(row)
            continue
        if group:
            yield first, _one_line_of(group)
        for merge in above:
            if merge.left < len(row) and row[merge.left] is None:
                row[merge.left] = tops.get(merge)
        for merge in starting.get(number - 1, ()):
            tops[merge] = row[merge.left] if merge.left < len(row) else None
        group, first = [row], number
    if group:
        yield first, _one_line_of(group)


def _one_line_of(group: list[Row]) -> Row:
    """Column by column the first cell with a value; a text that goes on below is joined, a footnote mark alone is none."""
    if len(group) == 1:
        return group[0]
    line: Row = []
    for column in zip(*group, strict=True):
        filled = [cell for cell in column if without_marks(cell_text(cell)).strip()]
        texts = [cell for cell in filled if isinstance(cell, str)]
        line.append(" ".join(texts) if len(texts) == len(filled) > 1 else next(iter(filled), None))
    return line


# ---------------------------------------------------------------- faults


def _no_sheet(file: Path, contract: Contract, names: Sequence[str]) -> SenderFault:
    shown = ", ".join(f"«{name}»" for name in names[:20])
    return SenderFault(
        Message(
            f"Không có trang tính nào của «{file.name}» khớp «{contract.layout.sheet}»; có: {shown}. Hãy đặt lại tên trang tính.",
            f"No sheet of '{file.name}' matches '{contract.layout.sheet}'; there are {shown}. Rename the sheet.",
        ),
        rule="sheet",
    )


def _several_sheets(file: Path, names: Sequence[str]) -> SenderFault:
    shown = ", ".join(f"«{name}»" for name in names[:20])
    return SenderFault(
        Message(
            f"Nhiều trang tính của «{file.name}» có bảng này: {shown}. Chỉ được một; hãy xoá hoặc ẩn các trang thừa.",
            f"Several sheets of '{file.name}' hold this table: {shown}. Only one may; delete or hide the others.",
        ),
        rule="sheet",
    )
