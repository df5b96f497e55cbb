"""The two questions one asks a file: which periods it holds, and what the lines of one period are.

Answers for: every data line of a file comes out once over all its parts, also one that does not tell its period. Refuses: a file
that tells no period anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from etl.read import Batch, Declared, Part, Table
from etl.read.cells import Mask, keep, take
from etl.read.delimited import open_delimited
from etl.read.grid import Grid
from etl.read.header import Heading
from etl.read.lines import LineSorter
from etl.read.periods import period_of, periods_of
from etl.read.records import open_json, open_parquet
from etl.read.source import Source, identify
from etl.read.unpivot import batch_of
from etl.read.workbook import open_sheet, sheet_periods
from expectations.contract import Contract
from expectations.faults import Message, SenderFault
from expectations.period import Period

BATCH_ROWS = 100_000


def find_parts(file: Path, contract: Contract, period: Period | None) -> list[Part]:
    """The parts of a file, one for each period it holds. `period` is what the file's name or the operator says, if anything.

    Raises `SenderFault` when the file is no table of this contract or nothing tells its period.
    """
    if period is not None:
        return [Part(period)]
    source = identify(file)
    if source.format == "workbook" and "{period" in (contract.layout.sheet or ""):
        return [Part(found, sheet) for sheet, found in sheet_periods(file, contract)]
    if contract.period_field is None:
        raise _no_period(file, contract)
    found = list(dict.fromkeys(_periods(_open(source, contract, Part(_ANY), BATCH_ROWS), contract)))
    if not found:
        raise _no_period(file, contract)
    return [Part(one, by_line=len(found) > 1) for one in found]


def read_table(file: Path, contract: Contract, part: Part, *, batch_rows: int = BATCH_ROWS) -> Table:
    """The lines of one part in batches of about `batch_rows`, and what the header says.

    Where lines tell their period themselves, only those of the part come out; lines that tell none come with the first part.
    Raises `SenderFault` when there is no such table; a line that cannot be taken apart is a `BrokenLine`, no exception.
    """
    source = identify(file)
    takes_rest = not part.by_line or _is_first(source, contract, part)
    grid = _open(source, contract, part, batch_rows)
    table = Table(grid.heading.header, iter(()), sheet=grid.sheet, encoding=grid.encoding, repairs=grid.repairs)
    table.batches = _batches(grid, contract, part, table, takes_rest=takes_rest)
    return table


_ANY = Period.containing(_EPOCH, "day") if (_EPOCH := __import__("datetime").date(1, 1, 1)) else None
