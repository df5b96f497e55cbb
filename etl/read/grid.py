"""A table of a file that was opened: its heading and its rows, whatever format it came in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from etl.read.cells import Rows
from etl.read.heading import Heading


@dataclass(slots=True)
class Grid:
    """Rows below a heading, to be read once. `repairs` and `is_cut` are complete when `rows` is exhausted."""

    heading: Heading
    rows: Iterator[Rows]
    sheet: str | None = None
    encoding: str | None = None
    repairs: dict[str, int] = field(default_factory=dict)
    is_cut: bool = False
