"""The levels of each column's heading in some lines of a grid.

Answers for: merged cells, a group's heading written once and left blank to the right, and columns that share one merged cell.
Refuses: knowing what any heading means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from etl.read.wording import Cell, cell_text
from expectations.text import fold


@dataclass(frozen=True, slots=True)
class Merge:
    """A merged range, both ends included, counted from 0."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True, slots=True)
class Column:
    """One logical column: its place or, under one merged cell, its places; its heading from the outermost level to the last."""

    places: tuple[int, ...]
    levels: tuple[str, ...]

    @property
    def title(self) -> str:
        return " / ".join(self.levels)

    @property
    def letter(self) -> str:
        """The column's name in a spreadsheet."""
        number, text = self.places[0] + 1, ""
        while number:
            number, rest = divmod(number - 1, 26)
            text = chr(65 + rest) + text
        return text


def columns_of(rows: Sequence[Sequence[Cell]], first: int, count: int, merges: Sequence[Merge]) -> list[Column]:
    """The columns of the lines `first` to `first + count - 1` taken as a header, in their order."""
    block = rows[first : first + count]
    width = max((len(row) for row in block), default=0)
    cover = {
        (line, place): merge
        for merge in merges
        if merge.bottom >= first and merge.top < first + count
        for line in range(max(merge.top, first), min(merge.bottom, first + count - 1) + 1)
        for place in range(merge.left, min(merge.right, width - 1) + 1)
    }
    levels: list[list[str]] = [[] for _ in range(width)]
    has_own = [False] * width
    for line in range(first, first + count):
        _read_line(rows, line, cover, levels, has_own)
    last = first + count - 1
    columns: list[Column] = []
    for place in range(width):
        merge = cover.get((last, place))
        if merge is not None and merge.left < place and columns:
            columns[-1] = Column((*columns[-1].places, place), columns[-1].levels)
        else:
            columns.append(Column((place,), tuple(_without_repeats(levels[place])) if has_own[place] else ()))
    return columns


def _read_line(rows: Sequence[Sequence[Cell]], line: int, cover: dict[tuple[int, int], Merge], levels: list[list[str]], has_own: list[bool]) -> None:
    """Add one line's texts to the levels. A blank cell takes its left neighbour's text while its column has none of its own."""
    carried = ""
    for place in range(len(levels)):
        merge = cover.get((line, place))
        if merge is not None:
            text = cell_text(rows[merge.top][merge.left]).strip() if line == merge.top and merge.left < len(rows[merge.top]) else ""
            has_own[place] |= bool(text)
            carried = ""  # a merged cell says itself how far it reaches
        else:
            text = cell_text(rows[line][place]).strip() if place < len(rows[line]) else ""
            if text:
                has_own[place], carried = True, text
            elif has_own[place] or not carried:
                carried = ""
            else:
                text = carried
        if text:
            levels[place].append(text)


def _without_repeats(levels: list[str]) -> list[str]:
    return [level for k, level in enumerate(levels) if k == 0 or fold(level) != fold(levels[k - 1])]
