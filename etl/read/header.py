"""Where the header of a grid stands and which column holds which field, found by text and never by position.

Answers for: titles above, headings over several lines, merged or written once for a group, wrapped or bilingual, a line of
column numbers below. Refuses: two columns that fit one field equally well, and a grid without any required column.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from etl.read import Header
from etl.read.header_faults import two_columns
from etl.read.heading import HEAD_ROWS, Heading, Named, is_numbering
from etl.read.levels import Column, Merge, blocks_from, cover_of
from etl.read.wording import Cell, Fit, Labels, Vocabulary, cell_text, one_line, without_marks
from expectations.contract import Contract
from expectations.faults import Message, SenderFault
from expectations.text import fold

MAX_HEADER_LINES = 8


@dataclass(frozen=True, slots=True)
class _Value:
    """A column whose heading is a value, before its block is chosen."""

    column: Column
    name: str
    field: str
    beside: Column | None = None


@dataclass(slots=True)
class _Block:
    """Some lines taken as header, and what they would give."""

    first: int
    count: int
    columns: list[Column]
    found: dict[str, Column] = field(default_factory=dict)
    values: list[_Value] = field(default_factory=list)
    rivals: dict[str, list[Column]] = field(default_factory=dict)

    @property
    def last(self) -> int:
        return self.first + self.count - 1

    @property
    def fields(self) -> set[str]:
        return {*self.found, *(value.field for value in self.values)}

    @property
    def worth(self) -> tuple[int, int, int, int]:
        """More fields are better, then fewer in dispute, then fewer lines, then the first."""
        return len(self.fields) + bool(self.values), -len(self.rivals), -self.count, -self.first


class HeaderFinder:
    """Finds the header of a contract in the first lines of grids."""

    def __init__(self, contract: Contract) -> None:
        layout = contract.layout
        self._contract, self._layout, self._unpivot = contract, layout, layout.unpivot
        taken = {layout.unpivot.names, layout.unpivot.values, layout.unpivot.beside} if layout.unpivot else set()
        self._fields = [f for f in contract.fields if f.name not in taken and f.name != layout.lines.subtotal_field]
        self._enough = len(self._fields) + bool(taken)
        self._vocabulary = Vocabulary((f.name, f.headers) for f in self._fields)
        self._beside = Vocabulary((f.name, f.headers) for f in contract.fields if layout.unpivot and f.name == layout.unpivot.beside)
        self._ignored = Vocabulary([("ignored", layout.ignore)], takes_halves=True)
        self._anchor = Labels([layout.anchor]) if layout.anchor else None
        self._pattern = re.compile(layout.unpivot.pattern) if layout.unpivot and layout.unpivot.pattern else None

    def find(self, rows: Sequence[Sequence[Cell]], lines: Sequence[int], merges: Sequence[Merge] = ()) -> Heading | None:
        """The header in `rows`, whose line numbers are `lines`, or None. Raises `SenderFault` when two columns rival for a field."""
        best: _Block | None = None
        cover = cover_of(merges, len(rows))
        exact = self._layout.header_lines
        most = exact or MAX_HEADER_LINES
        for first in self._starts(rows):
            for count, columns in enumerate(blocks_from(rows, first, most, cover), 1):
                if exact is not None and count != exact:
                    continue
                block = self._match(first, count, columns)
                if best is None or block.worth > best.worth:
                    best = block
            if best is not None and best.worth[0] >= self._enough and not best.rivals:
                most = min(most, best.count - 1)  # a better header could only be shorter
            if not most:
                break
        if best is None or not self._is_header(best):
            return None
        if best.rivals:
            raise two_columns(self._contract, best.rivals, lines[best.last])
        found = self._heading(best, lines[best.last], rows[best.last + 1 : best.last + 1 + HEAD_ROWS])
        if self._is_numbered(rows[best.last + 1] if best.last + 1 < len(rows) else (), found):
            last = best.last + 1
            return replace(found, last=last, header=replace(found.header, last_line=lines[last]))
        return found

    def find_in(self, titles: Sequence[tuple[str, ...]]) -> Heading | None:
        """The heading of records, whose columns are named by paths of keys, or None."""
        block = self._match(0, 1, [Column((place,), tuple(filter(str.strip, title))) for place, title in enumerate(titles)])
        if not self._is_header(block):
            return None
        if block.rivals:
            raise two_columns(self._contract, block.rivals, 0)
        return self._heading(block, 0, [])

    # ------------------------------------------------------------ the block

    def _starts(self, rows: Sequence[Sequence[Cell]]) -> Iterator[int]:
        for index, row in enumerate(rows[:HEAD_ROWS]):
            texts = [cell_text(cell) for cell in row]
            if self._anchor is not None and not any(text in self._anchor for text in texts):
                continue
            if any(text.strip() for text in texts):
                yield index

    def _match(self, first: int, count: int, columns: list[Column]) -> _Block:
        block = _Block(first, count, columns)
        repeated = (
            [column for column in columns if column.levels and self._beside.fits(column.levels)]
            if self._unpivot and self._unpivot.beside
            else []
        )
        if self._pattern is not None:
            block.values = list(self._values_by_pattern(columns))
            block.rivals = _twice(block.values)
        used = {id(value.column) for value in block.values} | set(map(id, repeated))
        pairs = [(fit, column) for column in columns if id(column) not in used for fit in self._vocabulary.fits(column.levels)]
        if not block.values and not any(column.levels for _, column in pairs) and not any(column.levels for column in repeated):
            return block  # blank headings alone are no header
        pairs.sort(key=lambda pair: (-pair[0].weight, pair[0].unmatched, pair[0].rank))
        while _assign(block, pairs):
            pass
        if self._unpivot is not None and self._pattern is None and self._unpivot.values and (block.found or repeated):
            used |= {id(column) for column in block.found.values()}
            block.values = [
                _Value(column, one_line(column.levels[-1]), self._unpivot.values)
                for column in columns
                if id(column) not in used and column.levels and not self._ignored.fits(column.levels)
            ]
        if self._unpivot is not None and self._unpivot.beside:
            block.values = list(_with_left(block.values, columns, set(map(id, repeated))))
        return block

    def _values_by_pattern(self, columns: list[Column]) -> Iterator[_Value]:
        """Columns of which one level holds a name; the others, or what is left of that level, say which field the cell is."""
        assert self._pattern is not None and self._unpivot is not None
        for column in columns:
            if not column.levels or self._ignored.fits(column.levels):
                continue
            for place, level in enumerate(column.levels):
                text = one_line(level)
                found = self._pattern.search(text)
                if found is None:
                    continue
                above, below = list(column.levels[:place]), list(column.levels[place + 1 :])
                rest = f"{text[: found.start()]} {text[found.end() :]}"
                target = self._field_of([*above, rest, *below]) or self._field_of([*above, *below])
                if target is None and not any(fold(without_marks(other)) for other in (*above, *below)):
                    target = self._unpivot.values
                if target is not None:
                    yield _Value(column, next((group for group in found.groups() if group), found.group()), target)
                    break

    def _field_of(self, levels: list[str]) -> str | None:
        kept = [level for level in levels if fold(level)]
        fits = self._vocabulary.fits(kept) if kept else []
        return min(fits, key=lambda fit: (-fit.weight, fit.unmatched, fit.rank)).field if fits else None

    def _is_header(self, block: _Block) -> bool:
        """A required column is found, or most others are: then what is missing can be named better than a missing header."""
        required = {f.name for f in self._fields if f.required}
        if not required:
            return bool(block.fields)
        return bool(block.fields & required) or len(block.fields) > max(1, len(self._fields) // 2)

    # ------------------------------------------------------------ what it says

    def _heading(self, block: _Block, line: int, below: Sequence[Sequence[Cell]]) -> Heading:
        """What the block says. `below` are some rows under it: a column without heading counts when it holds anything there."""
        known = [*block.found.values(), *(value.column for value in block.values), *(v.beside for v in block.values if v.beside)]
        used = set(map(id, known))
        unknown = [
            _title(column)
            for column in block.columns
            if id(column) not in used and (column.levels or _is_filled(column, below)) and not self._ignored.fits(column.levels)
        ]
        order = [f.name for f in self._contract.fields if f.name in block.found]
        return Heading(
            first=block.first,
            last=block.last,
            width=1 + max(place for column in block.columns for place in column.places),
            columns={name: block.found[name].places for name in order},
            named=tuple(Named(v.column.places, v.name, v.field, v.beside.places if v.beside else ()) for v in block.values),
            header=Header(line, titles := self._titles(block), self._missing(titles), tuple(dict.fromkeys(unknown))),
        )

    def _titles(self, block: _Block) -> dict[str, str]:
        titles = {name: _title(column) for name, column in block.found.items()}
        for value in block.values:
            titles.setdefault(value.field, _title(value.column))
            if self._unpivot is not None:
                titles.setdefault(self._unpivot.names, _title(value.column))
                if self._unpivot.beside and value.beside:
                    titles.setdefault(self._unpivot.beside, _title(value.beside))
        titled = self._layout.lines.subtotal_field
        if titled is not None:
            titles[titled] = self._contract.by_name[titled].label
        return {f.name: titles[f.name] for f in self._contract.fields if f.name in titles}

    def _missing(self, titles: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(f.name for f in self._contract.fields if f.name not in titles)

    def _is_numbered(self, row: Sequence[Cell], found: Heading) -> bool:
        """Whether the line below the header numbers the columns. Below a bare first line it is data, unless required."""
        wanted = self._layout.numbered
        if wanted == "never" or (wanted == "optional" and found.last == 0):
            return False
        if is_numbering([cell_text(cell).strip() for cell in row]):
            return True
        if wanted == "optional":
            return False
        line = found.header.last_line
        raise SenderFault(
            Message(
                f"Dưới tiêu đề (dòng {line}) phải có dòng đánh số cột (A, B, 1, 2, …). Hãy thêm dòng này rồi gửi lại.",
                f"A line that numbers the columns (A, B, 1, 2, …) is expected below the header (line {line}). Add it and send again.",
            ),
            rule="header",
        )


def _assign(block: _Block, pairs: list[tuple[Fit, Column]]) -> bool:
    """The most telling wording first: each column to one field, each field to the column it leaves least of unmatched.

    Returns whether anything was assigned; a field that waited for a better column may get its next one in another pass.
    """
    used = {id(column) for column in block.found.values()}
    before = len(used)
    for fit, column in pairs:
        if fit.field in block.found or id(column) in used:
            continue
        others = [(other, free) for other, free in pairs if other.field == fit.field and free is not column and id(free) not in used]
        if any((other.unmatched, other.rank) < (fit.unmatched, fit.rank) for other, _ in others):
            continue
        equal = [free for other, free in others if (other.unmatched, other.rank) == (fit.unmatched, fit.rank)]
        if equal:
            block.rivals[fit.field] = [column, *equal]
        block.found[fit.field] = column
        used.add(id(column))
    return len(used) > before


def _twice(values: list[_Value]) -> dict[str, list[Column]]:
    """Fields of which several columns bear one name."""
    groups: dict[tuple[str, str], list[Column]] = {}
    for value in values:
        groups.setdefault((value.field, value.name), []).append(value.column)
    return {target: same for (target, _), same in groups.items() if len(same) > 1}


def _with_left(values: list[_Value], columns: list[Column], repeated: set[int]) -> Iterator[_Value]:
    """Values that have the repeated field on their left; its columns may go without heading."""
    left = dict(zip(map(id, columns[1:]), columns, strict=False))
    for value in values:
        beside = left.get(id(value.column))
        if beside is not None and (id(beside) in repeated or not beside.levels):
            yield replace(value, beside=beside)


def _title(column: Column) -> str:
    return one_line(column.title) or f"({column.letter})"


def _is_filled(column: Column, rows: Sequence[Sequence[Cell]]) -> bool:
    return any(cell_text(row[place]).strip() for row in rows for place in column.places if place < len(row))
