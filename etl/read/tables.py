"""The two questions one asks a file: which periods it holds, and what the lines of one period are.

Answers for: every data line of a file comes out once over all its parts, also one that does not tell its period. Refuses: a file
that tells no period anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from etl.read import Batch, Part, Table
from etl.read.cells import Mask
from etl.read.delimited import open_delimited
from etl.read.grid import Grid
from etl.read.heading import Heading
from etl.read.lines import LineSorter
from etl.read.parquet import open_parquet
from etl.read.periods import period_of, periods_of
from etl.read.records import open_json
from etl.read.shape import Shaper, only
from etl.read.source import Source, identify
from etl.read.workbook import open_sheet, sheet_periods
from expectations.contract import Contract
from expectations.faults import Message, SenderFault
from expectations.period import Period

BATCH_ROWS = 100_000


def find_parts(file: Path, contract: Contract, period: Period | None) -> list[Part]:
    """The parts of a file, one for each period it holds. `period` is what the file's name or the operator says, if anything.

    Raises `SenderFault` when nothing tells a period, or the file would have to be read for it and is no table of this contract.
    """
    if period is not None:
        return [Part(period)]
    source = identify(file)
    if source.format == "workbook" and "{period" in (contract.layout.sheet or ""):
        return [Part(found, sheet) for sheet, found in sheet_periods(file, contract)]
    found = list(dict.fromkeys(_periods(source, contract, None, BATCH_ROWS)))
    if not found:
        raise _no_period(file, contract)
    return [Part(one, by_line=len(found) > 1) for one in found]


def read_table(file: Path, contract: Contract, part: Part, *, batch_rows: int = BATCH_ROWS) -> Table:
    """The lines of one part in batches of about `batch_rows`, and what the header says.

    Where lines tell their period themselves, only those of the part come out; lines that tell none come with the part of the
    first line that does. Raises `SenderFault` when there is no such table; a line that cannot be taken apart is a `BrokenLine`.
    """
    source = identify(file)
    takes_rest = not part.by_line or next(_periods(source, contract, part.sheet, 1_000), None) == part.period
    grid = _open(source, contract, part.sheet, part.period, batch_rows)
    table = Table(grid.heading.header, iter(()), sheet=grid.sheet, encoding=grid.encoding, repairs=grid.repairs)
    table.batches = _batches(grid, contract, part, table, takes_rest=takes_rest)
    return table


def _open(source: Source, contract: Contract, sheet: str | None, period: Period | None, batch_rows: int) -> Grid:
    match source.format:
        case "workbook":
            return open_sheet(source.file, contract, sheet, period, batch_rows)
        case "json":
            return open_json(source, contract, batch_rows)
        case "parquet":
            return open_parquet(source.file, contract, batch_rows)
        case _:
            return open_delimited(source, contract, batch_rows)


def _batches(grid: Grid, contract: Contract, part: Part, table: Table, *, takes_rest: bool) -> Iterator[Batch]:
    own = _of_period(grid.heading, contract, part.period, takes_rest=takes_rest and part.by_line)
    heading = own if part.by_line else grid.heading
    sorter = LineSorter(contract, own, table.declared, period=part.period if part.by_line else None, takes_rest=takes_rest)
    shaper = Shaper(contract.layout, heading)
    for rows in grid.rows:
        batch = shaper.shape(rows, sorter.sort(rows))
        if part.by_line:
            batch = _of_part(batch, contract, part.period, takes_rest=takes_rest)
        if len(batch.lines) or batch.broken:
            yield batch
        if sorter.has_ended:
            break
    table.is_cut = grid.is_cut


# ---------------------------------------------------------------- periods


def _periods(source: Source, contract: Contract, sheet: str | None, batch_rows: int) -> Iterator[Period]:
    """The periods that headings or lines tell, in the file's order, not each only once."""
    field, unpivot = contract.period_field, contract.layout.unpivot
    if field is None:
        return
    grid = _open(source, contract, sheet, None, batch_rows)
    if unpivot is not None and unpivot.names == field.name:
        found = (period_of(named.name, field, contract.periodicity) for named in grid.heading.named)
        yield from (period for period in found if period is not None)
        return
    if field.name not in grid.heading.columns:
        return
    sorter, shaper = LineSorter(contract, grid.heading, []), Shaper(contract.layout, replace(grid.heading, named=()))
    for rows in grid.rows:
        batch = shaper.shape(rows, sorter.sort(rows))
        told = dict.fromkeys(periods_of(batch.columns[field.name], field, contract.periodicity).tolist())
        yield from (period for period in told if period is not None)
        if sorter.has_ended:
            return


def _of_period(heading: Heading, contract: Contract, period: Period, *, takes_rest: bool) -> Heading:
    """The heading without the columns whose heading tells another period."""
    field, unpivot = contract.period_field, contract.layout.unpivot
    if field is None or unpivot is None or unpivot.names != field.name:
        return heading
    told = [period_of(named.name, field, contract.periodicity) for named in heading.named]
    return replace(heading, named=tuple(n for n, p in zip(heading.named, told, strict=True) if p == period or (p is None and takes_rest)))


def _of_part(batch: Batch, contract: Contract, period: Period, *, takes_rest: bool) -> Batch:
    """The lines of one period; broken lines tell none."""
    field = contract.period_field
    assert field is not None  # nothing else puts a line into a part by itself
    told = periods_of(batch.columns[field.name], field, contract.periodicity)
    mask: Mask = told == period
    if takes_rest:
        mask |= told == None  # noqa: E711  # element by element
    return only(batch if takes_rest else replace(batch, broken=()), mask)


def _no_period(file: Path, contract: Contract) -> SenderFault:
    field = contract.period_field
    patterns = ", ".join(pattern.text for pattern in contract.file_names if pattern.has_period)
    ways = [(f"tên tệp theo mẫu {patterns}", f"a file name like {patterns}")] if patterns else []
    ways += [(f"cột «{field.label}»", f"the column '{field.label}' ({field.name})")] if field else []
    return SenderFault(
        Message(
            f"Không biết «{file.name}» là của kỳ nào. Cần: {' hoặc '.join(vi for vi, _ in ways)}.",
            f"Nothing tells the period of '{file.name}'. Needed: {' or '.join(en for _, en in ways)}.",
        ),
        rule="period",
    )
