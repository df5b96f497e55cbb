"""The nouns of a header that was found, and the line of column numbers that may stand below it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from etl.read import Header

Columns = tuple[int, ...]

HEAD_ROWS = 60
"""A header begins within so many lines."""


@dataclass(frozen=True, slots=True)
class Named:
    """Columns whose heading is a value: `name` goes to the field that takes the names, the cell to `field`.

    `beside` is the column on their left, where a table repeats another field there.
    """

    columns: Columns
    name: str
    field: str
    beside: Columns = ()


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

    def lines_for(self, rows: int) -> int:
        """How many lines give about so many rows, when a line gives one for each name."""
        return max(1, rows // max(1, len({named.name for named in self.named})))


_NUMBERING = re.compile(r"\(?\s*(\d{1,3})\s*\)?(?:\s*=\s*[\d()+\-*/x:%. ]+)?|\(?\s*([A-Za-zĐđ])\s*\)?")


def is_numbering(texts: Sequence[str]) -> bool:
    """Whether a line numbers columns: letters and then numbers, each one more than the last, and enough of them.

    Few small numbers in a row may be data, so without a letter or a formula at least five are asked for, beginning with 1.
    """
    found = [match for text in texts if text for match in [_NUMBERING.fullmatch(text)]]
    matches = [match for match in found if match is not None]
    if len(matches) < 2 or len(matches) < len(found):
        return False
    numbers = [int(match[1]) for match in matches if match[1]]
    letters = [match[2].upper() for match in matches if match[2]]
    has_letters_first = all(match[2] for match in matches[: len(letters)]) and letters == sorted(set(letters))
    if not has_letters_first or (letters and letters[0] != "A") or numbers != list(range(1, len(numbers) + 1)):
        return False
    has_sign = bool(letters) or any("=" in text or "(" in text for text in texts)
    return len(numbers) >= (2 if has_sign else 5)
