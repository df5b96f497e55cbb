"""Where the header of a grid stands and which column holds which field, found by text and never by position.

Answers for: titles above, headings over several lines, merged or written once for a group, wrapped or bilingual, a line of
column numbers below. Refuses: two columns that fit one field equally well, and a grid without any required column.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rapidfuzz import fuzz, process

from etl.read import Header
from etl.read.levels import Column, Merge, columns_of
from etl.read.wording import Cell, Fit, Labels, Vocabulary, cell_text, one_line, readings, without_marks
from expectations.contract import Contract, Layout
from expectations.faults import Message, SenderFault
from expectations.text import fold

HEAD_ROWS = 60
"""A header begins within so many lines."""
MAX_HEADER_LINES = 8

Columns = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Named:
    """Columns whose heading is a value: `name` goes to the field that takes the names, the cell to `field`."""

    columns: Columns
    name: str
    field: str


@dataclass(frozen=True, slots=True)
class Heading:
    """A header that was found: the grid's columns of each field, and those whose headings are values.

    `first` and `last` are the indices of its lines in the head; `width` is the number of the grid's columns.
    """

    first: int
    last: int
    width: int
    columns: Mapping[str, Columns]
    named: tuple[Named, ...]
    header: Header


@dataclass(slots=True)
class _Block:
    """Some lines taken as header, and what they would give."""

    first: int
    count: int
    columns: list[Column]
    found: dict[str, Column] = field(default_factory=dict)
    named: list[tuple[Column, str, str]] = field(default_factory=list)
    rivals: dict[str, list[Column]] = field(default_factory=dict)

    @property
    def worth(self) -> tuple[int, int, int]:
        fields = {*self.found, *(name for _, _, name in self.named)} - set(self.rivals)
        return len(fields) + bool(self.named), -self.count, -self.first


class HeaderFinder:
    """Finds the header of a contract in the first lines of grids."""

    def __init__(self, contract: Contract) -> None:
        layout = contract.layout
        self._contract, self._layout, self._unpivot = contract, layout, layout.unpivot
        taken = (layout.unpivot.names, layout.unpivot.values) if layout.unpivot else ()
        self._fields = [f for f in contract.fields if f.name not in taken]
        self._vocabulary = Vocabulary((f.name, f.headers) for f in self._fields)
        self._ignored = Vocabulary([("ignored", layout.ignore)])
        self._anchor = Labels([layout.anchor]) if layout.anchor else None
        self._pattern = re.compile(layout.unpivot.pattern) if layout.unpivot and layout.unpivot.pattern else None

    def find(self, rows: Sequence[Sequence[Cell]], lines: Sequence[int], merges: Sequence[Merge] = ()) -> Heading | None:
        """The header in `rows`, whose line numbers are `lines`, or None. Raises `SenderFault` when two columns rival for a field."""
        best: _Block | None = None
        for first in self._starts(rows):
            for count in self._counts(len(rows) - first):
                block = self._match(first, count, columns_of(rows, first, count, merges))
                if best is None or block.worth > best.worth:
                    best = block
        if best is None or not self._is_header(best):
            return None
        if best.rivals:
            raise self._rivalry(best, lines)
        return self._heading(best, rows, lines)

    # ------------------------------------------------------------ the block

    def _starts(self, rows: Sequence[Sequence[Cell]]) -> Iterator[int]:
        for index, row in enumerate(rows[:HEAD_ROWS]):
            texts = [cell_text(cell) for cell in row]
            if self._anchor is not None and not any(text in self._anchor for text in texts):
                continue
            if any(text.strip() for text in texts):
                yield index

    def _counts(self, available: int) -> range:
        exact = self._layout.header_lines
        if exact is not None:
            return range(exact, exact + 1) if exact <= available else range(0)
        return range(1, min(MAX_HEADER_LINES, available) + 1)

    def _match(self, first: int, count: int, columns: list[Column]) -> _Block:
        block = _Block(first, count, columns)
        free = columns
        if self._pattern is not None:
            block.named = self._named_by_pattern(columns)
            block.rivals = {target: same for _, target, same in _twice(block.named)}
            used = {id(column) for column, _, _ in block.named}
            free = [column for column in columns if id(column) not in used]
        pairs = [(fit, column) for column in free for fit in self._vocabulary.fits(column.levels)]
        if all(not column.levels for _, column in pairs):
            return block  # blank headings alone are no header
        pairs.sort(key=lambda pair: (-pair[0].weight, pair[0].unmatched, pair[0].rank))
        while self._assign(block, pairs):
            pass
        if self._unpivot and self._pattern is None and self._unpivot.values and block.found:
            used = {id(column) for column in block.found.values()}
            block.named = [
                (column, one_line(column.levels[-1]), self._unpivot.values)
                for column in columns
                if id(column) not in used and column.levels and not self._ignored.fits(column.levels)
            ]
        return block

    @staticmethod
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

    def _named_by_pattern(self, columns: list[Column]) -> list[tuple[Column, str, str]]:
        assert self._pattern is not None and self._unpivot is not None
        named = []
        for column in columns:
            if not column.levels or self._ignored.fits(column.levels):
                continue
            for place, level in enumerate(column.levels):
                found = self._pattern.search(one_line(level))
                if found is None:
                    continue
                text = one_line(level)
                rest = f"{text[: found.start()]} {text[found.end() :]}"
                others = [*column.levels[:place], *column.levels[place + 1 :]]
                field_name = self._field_beside([*column.levels[:place], rest, *column.levels[place + 1 :]]) or self._field_beside(others)
                if field_name is None and not any(fold(without_marks(other)) for other in others):
                    field_name = self._unpivot.values
                if field_name is not None:
                    named.append((column, next((g for g in found.groups() if g), found.group()), field_name))
                    break
        return named

    def _field_beside(self, levels: list[str]) -> str | None:
        kept = [level for level in levels if fold(level)]
        fits = self._vocabulary.fits(kept) if kept else []
        return min(fits, key=lambda fit: (-fit.weight, fit.unmatched, fit.rank)).field if fits else None

    def _is_header(self, block: _Block) -> bool:
        found = {*block.found, *(name for _, _, name in block.named)}
        required = {f.name for f in self._fields if f.required}
        return bool(found & required) if required else bool(found)

    # ------------------------------------------------------------ what it says

    def _heading(self, block: _Block, rows: Sequence[Sequence[Cell]], lines: Sequence[int]) -> Heading:
        last = block.first + block.count - 1
        width = max(len(row) for row in rows[block.first : last + 1])
        used = {id(column) for column in block.found.values()} | {id(column) for column, _, _ in block.named}
        below = rows[last + 1 : last + 1 + HEAD_ROWS]
        unknown = [
            one_line(column.title) or f"({column.letter})"
            for column in block.columns
            if id(column) not in used and (column.levels or _is_filled(column, below)) and not self._ignored.fits(column.levels or [column.letter])
        ]
        found = {name: one_line(column.title) for name, column in block.found.items()}
        for column, _, name in block.named:
            found.setdefault(name, one_line(column.title))
        if self._unpivot and block.named:
            found.setdefault(self._unpivot.names, one_line(block.named[0][0].title))
        missing = tuple(f.name for f in self._contract.fields if f.name not in found)
        columns = {name: column.places for name, column in block.found.items()}
        last += self._numbered(rows[last + 1] if last + 1 < len(rows) else (), columns, lines[last])
        named = tuple(Named(column.places, name, target) for column, name, target in block.named)
        return Heading(block.first, last, width, columns, named, Header(lines[last], found, missing, tuple(dict.fromkeys(unknown))))

    def _numbered(self, row: Sequence[Cell], columns: Mapping[str, Columns], line: int) -> int:
        """1 when the line below the header numbers the columns (A, B, 1, 2, 4=5+6), else 0."""
        wanted = self._layout.numbered
        if wanted == "never":
            return 0
        if is_numbering([cell_text(cell).strip() for cell in row]):
            return 1
        if wanted == "required":
            raise SenderFault(
                Message(
                    f"Dưới tiêu đề (dòng {line}) phải có dòng đánh số cột (A, B, 1, 2, …). Hãy thêm dòng này rồi gửi lại.",
                    f"A line that numbers the columns (A, B, 1, 2, …) is expected below the header (line {line}). Add it and send again.",
                ),
                rule="header",
            )
        return 0

    def _rivalry(self, block: _Block, lines: Sequence[int]) -> SenderFault:
        name, rivals = next(iter(block.rivals.items()))
        label = self._contract.by_name[name].label
        shown = [f"{column.letter} ({one_line(column.title)})" if column.levels else column.letter for column in rivals]
        line = lines[block.first + block.count - 1]
        return SenderFault(
            Message(
                f"Tiêu đề ở dòng {line}: các cột {', '.join(shown)} đều có thể là «{label}». Mỗi trường chỉ được một cột; hãy xoá hoặc đổi tên cột thừa.",
                f"Header in line {line}: the columns {', '.join(shown)} all fit '{label}' ({name}). A field has one column; delete or rename the others.",
            ),
            rule="header",
        )


def header_not_found(contract: Contract, heads: Sequence[Sequence[Sequence[Cell]]], where: str = "") -> SenderFault:
    """The fault of a file in which no header was found: what was expected, and what comes nearest in it."""
    seen = {fold(text): one_line(text) for rows in heads for row in rows for text in map(cell_text, row) if 2 < len(fold(text)) < 120}
    wanted = [f for f in contract.fields if f.required or f.holds == "province"] or list(contract.fields)
    hints = []
    for wish in wanted:
        near = process.extractOne(fold(wish.label), list(seen), scorer=fuzz.ratio, score_cutoff=70)
        if near is not None:
            hints.append((wish.label, seen[near[0]]))
    expected = ", ".join(f"«{f.label}»" for f in wanted[:12]) + (", …" if len(wanted) > 12 else "")
    expected_en = ", ".join(f"'{f.label}' ({f.name})" for f in wanted[:12]) + (", …" if len(wanted) > 12 else "")
    vi, en = (f" ở {where}", f" in {where}") if where else ("", "")
    near_vi = " Gần giống: " + ", ".join(f"«{text}» cho «{label}»" for label, text in hints) + "." if hints else ""
    near_en = " Nearest: " + ", ".join(f"'{text}' for '{label}'" for label, text in hints) + "." if hints else ""
    return SenderFault(
        Message(
            f"Không tìm thấy dòng tiêu đề{vi} trong {HEAD_ROWS} dòng đầu. Cần các cột: {expected}.{near_vi} Hãy đặt tên cột đúng mẫu rồi gửi lại.",
            f"No header was found{en} within the first {HEAD_ROWS} lines. Expected columns: {expected_en}.{near_en} Name the columns as required and send again.",
        ),
        rule="header",
    )


_NUMBERING = re.compile(r"\(?\s*(\d{1,3})\s*\)?(?:\s*=\s*[\d()+\-*/x:%. ]+)?|\(?\s*([A-Za-zĐđ])\s*\)?")


def is_numbering(texts: Sequence[str]) -> bool:
    """Whether a line numbers columns: letters and then numbers, each one more than the last, and enough of them.

    Few small numbers in a row may be data, so without a letter or a formula at least five are asked for, beginning with 1.
    """
    found = [_NUMBERING.fullmatch(text) for text in texts if text]
    if len(found) < 2 or not all(found):
        return False
    numbers = [int(match[1]) for match in found if match and match[1]]
    letters = [match[2] for match in found if match and match[2]]
    is_lettered = [bool(match and match[2]) for match in found] == [True] * len(letters) + [False] * len(numbers)
    if not is_lettered or numbers != list(range(1, len(numbers) + 1)) or len({letter.upper() for letter in letters}) != len(letters):
        return False
    has_sign = bool(letters) or any("=" in text or "(" in text for text in texts)
    return len(numbers) >= (2 if has_sign else 5)


def _twice(named: list[tuple[Column, str, str]]) -> Iterator[tuple[str, str, list[Column]]]:
    """Names that several columns bear for one field."""
    groups: dict[tuple[str, str], list[Column]] = {}
    for column, name, target in named:
        groups.setdefault((name, target), []).append(column)
    return ((name, target, same) for (name, target), same in groups.items() if len(same) > 1)


def _is_filled(column: Column, rows: Sequence[Sequence[Cell]]) -> bool:
    return any(cell_text(row[place]).strip() for row in rows for place in column.places if place < len(row))
