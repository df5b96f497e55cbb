"""The levels of each column's heading in some lines of a grid.

Answers for: merged cells, a group's heading written once and left blank to the right, and columns that share one merged cell.
Refuses: knowing what any heading means.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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


Cover = Mapping[tuple[int, int], Merge]


def cover_of(merges: Sequence[Merge], height: int) -> Cover:
    """Which merge covers a cell, for the first `height` lines."""
    return {
        (line, place): merge
        for merge in merges
        for line in range(merge.top, min(merge.bottom + 1, height))
        for place in range(merge.left, min(merge.right, 1023) + 1)  # a title may be merged to the sheet's edge
    }


def blocks_from(rows: Sequence[Sequence[Cell]], first: int, most: int, cover: Cover) -> Iterator[list[Column]]:
    """The columns of the lines from `first` taken as a header: of one line, of two, and so on up to `most`."""
    width = max((len(row) for row in rows[first : first + most]), default=0)
    levels: list[list[str]] = [[] for _ in range(width)]
    has_own = [False] * width
    for line in range(first, min(first + most, len(rows))):
        _read_line(rows, line, cover, levels, has_own)
        columns: list[Column] = []
        for place in range(max(len(row) for row in rows[first : line + 1])):
            merge = cover.get((line, place))
            if merge is not None and merge.left < place and columns:
                columns[-1] = Column((*columns[-1].places, place), columns[-1].levels)
            else:
                columns.append(Column((place,), tuple(_without_repeats(levels[place])) if has_own[place] else ()))
        yield columns


def _read_line(rows: Sequence[Sequence[Cell]], line: int, cover: Cover, levels: list[list[str]], has_own: list[bool]) -> None:
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
