"""Files become batches of cells under the contract's field names, each with the sender's own line number.

Answers for: any format, layout and header of a file, found by its text. Refuses: deciding what a cell means (conform.py does)
and whether it is right (validate does). Every line of the table comes out once: in a batch, as a broken line, or declared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from expectations.faults import Message
from expectations.period import Period


@dataclass(frozen=True, slots=True)
class Cells:
    """One column of a batch; all arrays have the batch's length.

    `text` is what was written as text (null: nothing, or typed). A cell that the file itself stores as a number, a moment
    (timestamp, microseconds, no zone) or a truth value stands in that array and is null in `text`.
    """

    text: pa.Array
    number: pa.Array | None = None
    moment: pa.Array | None = None
    flag: pa.Array | None = None


@dataclass(frozen=True, slots=True)
class BrokenLine:
    """A line that could not be taken apart into cells. `text` is its beginning (at most 200 characters)."""

    line: int
    text: str
    message: Message


@dataclass(frozen=True, slots=True)
class Declared:
    """A total that the sender states: in line `line`, under the label `scope`, `values` by field name.

    `group` is None for the total of everything, else the number of the subtotal, as in `Batch.groups`.
    """

    line: int
    scope: str
    group: int | None
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Batch:
    """Some data lines in the file's order.

    `lines` (int64) are the sender's line numbers; `groups` (int32) say under which subtotal a line stands, -1 for none;
    `is_unassigned` marks lines that the contract's layout says belong to no province.
    """

    columns: Mapping[str, Cells]
    lines: np.ndarray[Any, np.dtype[np.int64]]
    groups: np.ndarray[Any, np.dtype[np.int32]] | None = None
    is_unassigned: np.ndarray[Any, np.dtype[np.bool_]] | None = None
    broken: tuple[BrokenLine, ...] = ()


@dataclass(frozen=True, slots=True)
class Header:
    """What the header says: where it ends, which fields were found under which text, which columns nobody knows."""

    last_line: int
    found: Mapping[str, str]
    missing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(slots=True)
class Table:
    """One table of a file, read once. `declared`, `repairs` and `is_cut` are complete when `batches` is exhausted.

    `repairs` counts what reading mended, by name; `is_cut` means that the file ends in the middle of a line.
    """

    header: Header
    batches: Iterator[Batch]
    sheet: str | None = None
    encoding: str | None = None
    declared: list[Declared] = field(default_factory=list)
    repairs: dict[str, int] = field(default_factory=dict)
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """One period of a file. `sheet` is the sheet it stands on; `by_line` means that lines tell their period themselves."""

    period: Period
    sheet: str | None = None
    by_line: bool = False
