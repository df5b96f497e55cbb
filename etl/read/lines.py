"""Which lines of a grid are data, which are totals that the sender declares, and which are neither.

Answers for: every line comes out once, as data, as declared or as broken, unless it is blank or the contract skips it; a
subtotal speaks for the data lines below it. Refuses: loading a line that does not have the header's number of cells.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum
from functools import lru_cache
from heapq import merge
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.conform import parse_numbers
from etl.read import BrokenLine, Declared
from etl.read.cells import Mask, Rows, Stray, all_blank, blank, first_text, value_at
from etl.read.heading import Columns, Heading
from etl.read.periods import period_of
from etl.read.wording import Cell, Labels, cell_text, one_line
from expectations.contract import Contract, Field
from expectations.faults import Message
from expectations.period import Period
from expectations.text import normalise


class Kind(IntEnum):
    """What a line is; where two of its cells disagree, the first of these."""

    END = 0
    TOTAL = 1
    SUBTOTAL = 2
    SKIP = 3
    UNASSIGNED = 4
    DATA = 5
    BLANK = 6


Kinds: TypeAlias = np.ndarray[Any, np.dtype[np.int8]]


@dataclass(frozen=True, slots=True)
class Sorted:
    """What the rows of a grid are: `data` marks the data lines, `groups` and `is_unassigned` speak of all rows.

    `titles` are the labels of the subtotals so far, by the number of their group.
    """

    data: Mask
    groups: np.ndarray[Any, np.dtype[np.int32]] | None = None
    is_unassigned: Mask | None = None
    broken: tuple[BrokenLine, ...] = ()
    titles: Sequence[str] = ()


class LineSorter:
    """Sorts the rows of one table, in their order. `declared` grows as rows go by; after `has_ended` nothing is a line.

    Where lines tell their period, only totals of `period` are declared; one that tells none (`takes_rest`) speaks for several
    periods and comes without values.
    """

    def __init__(
        self, contract: Contract, heading: Heading, declared: list[Declared], *, period: Period | None = None, takes_rest: bool = True
    ) -> None:
        lines = contract.layout.lines
        self._contract, self._heading = contract, heading
        self._is_plain = lines.are_plain
        self._labels = [
            (Kind.TOTAL, Labels(lines.total)),
            (Kind.SUBTOTAL, Labels(lines.subtotal_labels)),
            (Kind.SKIP, Labels(lines.skip)),
            (Kind.UNASSIGNED, Labels(lines.unassigned)),
        ]
        self._every_label = Labels([*lines.total, *lines.subtotal_labels, *lines.skip, *lines.unassigned])
        self._subtotal = re.compile(lines.subtotal_first_cell) if lines.subtotal_first_cell else None
        self._end = re.compile(lines.end, re.IGNORECASE) if lines.end else None
        self._ends_at_blank = self._end is not None and self._end.fullmatch("") is not None
        self._label_places = _label_places(contract, heading)
        texts = [f.name for f in contract.fields if f.type == "string" and f.name in heading.columns] if lines.unassigned else []
        self._text_places = [heading.columns[name] for name in texts]
        self._has_data = False
        self._titles: list[str] = []
        self._period, self._takes_rest = period, takes_rest
        self.declared = declared
        self.has_ended = False

    def sort(self, rows: Rows) -> Sorted:
        """What the next rows are."""
        is_blank = all_blank(rows.cells)
        if self._is_plain:
            broken = tuple(self._broken(stray) for stray in rows.strays if stray.message or any(c.strip() for c in stray.cells))
            return Sorted(~is_blank, broken=broken)
        kinds = self._kinds(rows, is_blank)
        groups, broken = self._in_order(rows, kinds)
        data = (kinds == Kind.DATA) | (kinds == Kind.UNASSIGNED)
        self._has_data |= bool(data.any())
        return Sorted(data, groups, kinds == Kind.UNASSIGNED, broken, self._titles)

    # ------------------------------------------------------------ what each line is

    def _kinds(self, rows: Rows, is_blank: Mask) -> Kinds:
        kinds = self._over_distinct(first_text(rows.cells), is_first=True)
        if self._label_places:
            kinds = np.minimum(kinds, self._over_distinct(first_text([rows.cells[place] for place in self._label_places]), is_first=False))
        for places in self._text_places:
            texts = self._over_distinct(first_text([rows.cells[place] for place in places]), is_first=False)
            kinds[(texts == Kind.UNASSIGNED) & (kinds == Kind.DATA)] = Kind.UNASSIGNED
        if self._contract.layout.lines.subtotal_alone:
            filled = np.sum([~blank(cells) for cells in rows.cells], axis=0)
            kinds[(filled == 1) & (kinds == Kind.DATA)] = Kind.SUBTOTAL
        kinds[is_blank] = Kind.BLANK
        if self._ends_at_blank:
            data = np.flatnonzero((kinds == Kind.DATA) | (kinds == Kind.UNASSIGNED))
            begin = 0 if self._has_data else (int(data[0]) if len(data) else len(kinds))
            kinds[begin:][is_blank[begin:]] = Kind.END
        return kinds

    def _over_distinct(self, texts: pa.Array, *, is_first: bool) -> Kinds:
        """What each text makes of its line; every distinct text is looked at once, and by its labels only if it may hold one."""
        encoded = texts.dictionary_encode()
        words = encoded.dictionary
        kinds = np.full(len(words) + 1, Kind.DATA, np.int8)
        for place in self._every_label.candidates(words):
            kinds[place] = self._kind_of_label(words[place].as_py())
        if is_first and (self._end is not None or self._subtotal is not None):
            by_pattern = np.array([self._kind_of_pattern(text) for text in words.to_pylist()], np.int8)
            kinds[:-1] = np.minimum(kinds[:-1], by_pattern)
        found: Kinds = kinds[pc.fill_null(encoded.indices, len(words)).to_numpy(zero_copy_only=False)]
        return found

    def _kind_of_label(self, text: str) -> Kind:
        return next((kind for kind, labels in self._labels if text in labels), Kind.DATA)

    def _kind_of_pattern(self, text: str) -> Kind:
        plain = text.strip() if text.isascii() else normalise(text)
        if self._end is not None and plain and self._end.match(plain):
            return Kind.END
        return Kind.SUBTOTAL if self._subtotal is not None and self._subtotal.search(plain) else Kind.DATA

    def _kind_of_stray(self, stray: Stray, *, has_data: bool) -> Kind:
        if stray.message is not None:
            return Kind.DATA
        first = next((cell for cell in stray.cells if cell.strip()), None)
        if first is None:
            return Kind.END if self._ends_at_blank and has_data else Kind.BLANK
        label = next((stray.cells[place] for place in self._label_places if place < len(stray.cells)), "")
        kind = min(self._kind_of_pattern(first), self._kind_of_label(first), self._kind_of_label(label))
        if kind is Kind.DATA and self._contract.layout.lines.subtotal_alone and sum(bool(cell.strip()) for cell in stray.cells) == 1:
            return Kind.SUBTOTAL
        return Kind.DATA if kind is Kind.UNASSIGNED else kind

    # ------------------------------------------------------------ in the order of the file

    def _in_order(self, rows: Rows, kinds: Kinds) -> tuple[np.ndarray[Any, np.dtype[np.int32]], tuple[BrokenLine, ...]]:
        """Declare totals, number the groups, find the end (behind which all rows become END), and name the broken lines."""
        groups = np.full(len(kinds), len(self._titles) - 1, np.int32)
        broken = []
        for place, kind, stray in self._events(rows, kinds):
            if kind is Kind.END:
                self.has_ended = True
                kinds[place:] = Kind.END
                break
            if kind in (Kind.TOTAL, Kind.SUBTOTAL):
                self._declare(kind, rows, place, stray)
                groups[place:] = len(self._titles) - 1
            elif kind is Kind.DATA and stray is not None:
                broken.append(self._broken(stray))
        return groups, tuple(broken)

    def _events(self, rows: Rows, kinds: Kinds) -> Iterator[tuple[int, Kind, Stray | None]]:
        """Lines that are not plain data, with their place among the rows; a stray stands before the row of its place."""
        data = np.flatnonzero((kinds == Kind.DATA) | (kinds == Kind.UNASSIGNED))
        begin = -1 if self._has_data else int(data[0]) if len(data) else len(kinds)
        totals = [(int(place), 1, None) for place in np.flatnonzero(kinds <= Kind.SUBTOTAL)]
        strays = [(stray.after, 0, stray) for stray in rows.strays]
        for place, _, stray in merge(strays, totals, key=lambda event: event[:2]):
            yield place, Kind(kinds[place]) if stray is None else self._kind_of_stray(stray, has_data=place > begin), stray

    def _broken(self, stray: Stray) -> BrokenLine:
        return BrokenLine(stray.line, stray.text[:200], stray.message or _wrong_number(len(stray.cells), self._heading.width))

    # ------------------------------------------------------------ totals

    def _declare(self, kind: Kind, rows: Rows, place: int, stray: Stray | None) -> None:
        """Keep a total with its label and the numbers that can be read."""

        def cell(columns: Columns) -> Cell:
            if stray is not None:
                return next((stray.cells[c] for c in columns if c < len(stray.cells) and stray.cells[c].strip()), None)
            return next((value for c in columns if (value := value_at(rows.cells[c], place)) is not None), None)

        every = (self._label_places, *((c,) for c in range(self._heading.width)))
        label = next((text for columns in every if (text := one_line(cell_text(cell(columns))))), "")
        if kind is Kind.SUBTOTAL:
            self._titles.append(label)
        values = {}
        for field in self._contract.stored_fields:
            parts = self._parts_of(field) if field.type in ("integer", "number") else []
            found = [value for columns in parts if (value := self._number(cell(columns), field)) is not None]
            if parts and len(found) == len(parts):
                values[field.name] = math.fsum(found)
        told = self._told_period(cell)
        if self._period is not None:
            if told != self._period and not (told is None and self._takes_rest):
                return
            values = values if told is not None else {}
        line = int(rows.lines[place]) if stray is None else stray.line
        self.declared.append(Declared(line, label, len(self._titles) - 1 if kind is Kind.SUBTOTAL else None, values))

    def _told_period(self, cell: Callable[[Columns], Cell]) -> Period | None:
        field, unpivot = self._contract.period_field, self._contract.layout.unpivot
        if field is None or (unpivot is not None and unpivot.names == field.name):
            return self._period  # the heading has told it
        told = cell(self._heading.columns.get(field.name, ()))
        return period_of(told, field, self._contract.periodicity) if isinstance(told, (str, float, datetime)) else None

    def _parts_of(self, field: Field) -> list[Columns]:
        """The columns that hold a field. Where headings are values, a total is the sum over them, if it is one at all."""
        if field.name in self._heading.columns:
            return [self._heading.columns[field.name]]
        parts = [named.columns for named in self._heading.named if named.field == field.name]
        return parts if len(parts) < 2 or (field.measure is not None and field.measure.additive) else []

    def _number(self, cell: Cell, field: Field) -> float | None:
        if isinstance(cell, float):
            return cell
        numbers = replace(self._contract.layout.numbers, footnote_marks=True)
        text = normalise(cell_text(cell))
        if not text or text in numbers.missing:
            return None
        is_percent = field.measure is not None and field.measure.unit == "%"
        values, _ = parse_numbers(pa.array([text]), numbers, is_integer=False, is_percent=is_percent)
        value: float | None = values[0].as_py()
        return value


@lru_cache(maxsize=256)
def _wrong_number(found: int, expected: int) -> Message:
    return Message(
        f"Dòng có {found} ô, tiêu đề có {expected} cột; kiểm tra dấu phân cách và dấu ngoặc kép.",
        f"The line has {found} cells, the header {expected} columns; check separators and quotation marks.",
    )


def _label_places(contract: Contract, heading: Heading) -> Columns:
    """The column that names a line: that of the province, else of the first text field."""
    order = [f for f in contract.fields if f.holds == "province"] + [f for f in contract.fields if f.type == "string" and f.holds is None]
    repeated = contract.layout.unpivot.beside if contract.layout.unpivot else None
    places = {**heading.columns, **({repeated: heading.named[0].beside} if repeated and heading.named else {})}
    return next((places[f.name] for f in order if f.name in places), ())
