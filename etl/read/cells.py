"""Columns of cells as Arrow arrays: made from Python values, read as text, picked, joined, found blank.

Answers for: every value of a file stands in exactly one of the arrays of `Cells`. Refuses: changing a text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.read import Cells
from etl.read.wording import Cell, cell_text
from expectations.faults import Message

Mask: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]
Places: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

MOMENT = pa.timestamp("us")
EXACT = 2**53
"""Beyond it a double does not hold every whole number."""


@dataclass(frozen=True, slots=True)
class Stray:
    """A row that does not fit the header. `after` counts the rows of its batch that stand above it.

    `message` says why, where it is not the number of its cells.
    """

    line: int
    after: int
    cells: tuple[str, ...]
    text: str
    message: Message | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a grid, all its columns, before anyone has asked which of them are data."""

    cells: tuple[Cells, ...]
    lines: Places
    strays: tuple[Stray, ...] = ()


def cells_of(values: Sequence[Cell]) -> Cells:
    """One column from Python values; a whole number too large for a double is kept as text."""
    kinds = set(map(type, values))
    texts = [None if v is None or v == "" else _as_text(v) for v in values] if kinds & {str, int} or kinds - _KNOWN else None
    number = moment = flag = None
    if kinds & {int, float}:
        number = pa.array([_number(v) for v in values], pa.float64())
    if kinds & {datetime, date}:
        moment = pa.array([_moment(v) if isinstance(v, date) else None for v in values], MOMENT)
    if bool in kinds:
        flag = pa.array([v if isinstance(v, bool) else None for v in values], pa.bool_())
    return Cells(pa.nulls(len(values), pa.string()) if texts is None else pa.array(texts, pa.string()), number, moment, flag)


_KNOWN = {str, int, float, bool, datetime, date, type(None)}


def _as_text(value: Cell) -> str | None:
    if isinstance(value, str):
        return value
    if type(value) not in _KNOWN or (isinstance(value, int) and abs(value) > EXACT):
        return cell_text(value)
    return None


def _number(value: Cell) -> float | None:
    if isinstance(value, float):
        return None if math.isnan(value) else value
    return float(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= EXACT else None


def _moment(value: date) -> datetime:
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    return datetime.combine(value, time.min)


def written(cells: Cells) -> pa.Array:
    """The cells as texts, whatever they are stored as; whole numbers without decimals."""
    texts = cells.text
    if cells.number is not None and cells.number.null_count < len(cells.number):
        texts = pc.coalesce(texts, pa.array([None if v is None else cell_text(v) for v in cells.number.to_pylist()], pa.string()))
    if cells.moment is not None:
        texts = pc.coalesce(texts, cells.moment.cast(pa.string()))
    if cells.flag is not None:
        texts = pc.coalesce(texts, cells.flag.cast(pa.string()))
    return texts


def value_at(cells: Cells, place: int) -> Cell:
    """The value of one cell; a blank text is none."""
    for part in (cells.number, cells.moment, cells.flag, cells.text):
        value: Cell = part[place].as_py() if part is not None else None
        if value is not None and (not isinstance(value, str) or value.strip()):
            return value
    return None


def _each(cells: Cells, change: Any) -> Cells:
    return Cells(*(None if part is None else change(part) for part in (cells.text, cells.number, cells.moment, cells.flag)))


def take(cells: Cells, places: Places) -> Cells:
    """The cells at some places."""
    chosen = pa.array(places)
    return _each(cells, lambda part: part.take(chosen))


def keep(cells: Cells, mask: Mask) -> Cells:
    """The cells where the mask is true."""
    chosen = pa.array(mask)
    return _each(cells, lambda part: part.filter(chosen))


def join(parts: Sequence[Cells]) -> Cells:
    """Columns one below the other."""

    def one(name: str, kind: pa.DataType) -> pa.Array | None:
        found = [getattr(part, name) for part in parts]
        if all(part is None for part in found):
            return None
        return pa.concat_arrays(
            [pa.nulls(len(part.text), kind) if array is None else array for part, array in zip(parts, found, strict=True)]
        )

    text = one("text", pa.string())
    assert text is not None
    return Cells(text, one("number", pa.float64()), one("moment", MOMENT), one("flag", pa.bool_()))


def first_filled(columns: Sequence[Cells]) -> Cells:
    """Row by row the first cell that is not blank; columns that share one heading are one column."""
    if len(columns) == 1:
        return columns[0]
    count = len(columns[0].text)
    choice = np.zeros(count, np.int64)
    is_open = blank(columns[0])
    for place, cells in enumerate(columns[1:], 1):
        found = is_open & ~blank(cells)
        choice[found] = place
        is_open &= ~found
    return take(join(columns), choice * count + np.arange(count))


def mask_of(array: pa.Array) -> Mask:
    """A truth-value array without nulls as a mask that may be changed."""
    mask: Mask = array.to_numpy(zero_copy_only=False).copy()
    return mask


def blank(cells: Cells) -> Mask:
    """Where a cell holds nothing, or blanks only."""
    empty = mask_of(cells.text.is_null())
    for part in (cells.number, cells.moment, cells.flag):
        if part is not None:
            empty &= mask_of(part.is_null())
    for place in np.flatnonzero(~empty & _may_be_blank(cells.text)):
        text = cells.text[int(place)].as_py()
        empty[place] = text is not None and not text.strip()
    return empty


def _may_be_blank(texts: pa.Array) -> Mask:
    """Texts that are empty or begin with a blank or a no-break space, found by their first byte."""
    valid = mask_of(texts.is_valid())
    if not valid.any() or texts.buffers()[2] is None:
        return valid
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]
    data = np.frombuffer(texts.buffers()[2], np.uint8)
    if not len(data):
        return valid
    first = data[np.minimum(offsets[:-1], len(data) - 1)]
    is_candidate = (first <= 32) | (first == 0xC2) | (first == 0xE2) | (first == 0xE3)  # where UTF-8 keeps its other blanks
    valid &= (np.diff(offsets) == 0) | is_candidate
    return valid


def all_blank(columns: Sequence[Cells]) -> Mask:
    """Rows in which every cell is blank; cheap where the first column is filled."""
    left = blank(columns[0])
    for cells in columns[1:]:
        if not left.any():
            break
        places = np.flatnonzero(left)
        left[places] = blank(take(cells, places))
    return left


def first_text(columns: Sequence[Cells]) -> pa.Array:
    """Row by row the first cell that is not blank, as text; null where there is none."""
    texts = written(columns[0])
    is_open = blank(columns[0])
    for cells in columns[1:]:
        if not is_open.any():
            break
        places = np.flatnonzero(is_open)
        below = take(cells, places)
        filled = ~blank(below)
        mask = np.zeros(len(texts), bool)
        mask[places[filled]] = True
        texts = pc.replace_with_mask(texts, pa.array(mask), written(keep(below, filled)))
        is_open &= ~mask
    return pc.if_else(pa.array(is_open), None, texts)
