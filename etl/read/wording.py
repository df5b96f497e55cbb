"""When the text of a cell is one of the wordings that a contract names: for headings, labels and columns to ignore.

Answers for: one way to compare (folded text, `*` as anything), and the readings a cell allows: all of it, one language of a
bilingual cell, without the footnote marks. Refuses: likeness. What is merely similar is suggested to people, never taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import lru_cache
from itertools import pairwise
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from expectations.text import fold, normalise

Cell: TypeAlias = str | float | int | bool | datetime | date | time | None

_MARKS = re.compile(r"\(\s*[\d%*†‡]+\s*\)|[*†‡¹²³⁰⁴-⁹]+\s*$")
_LINE_BREAK = re.compile(r"\r\n|\r|\n")
HALF = 4
"""From this rank on, a reading may be half of a wrapped text."""
_MOST_READINGS = 256  # of one column; only a glob can meet so many, and it is satisfied by the first ones


def cell_text(cell: Cell) -> str:
    """A cell as a person reads it; a whole number has no decimals."""
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell)


def one_line(text: str) -> str:
    """The text in normal form, its line breaks as blanks."""
    return " ".join(normalise(text).split())


def without_marks(text: str) -> str:
    """The text without footnote marks and bare units: (1), (*), (%), (100%), †, a star at its end."""
    return _MARKS.sub(" ", text).strip()


@lru_cache(maxsize=8192)
def readings(text: str) -> tuple[tuple[str, int], ...]:
    """All folded readings of a cell with their rank: 0 the whole text, 1 without marks, 2 and 3 the same for one of its languages.

    In a bilingual cell, wrapped or not, a language is a run of lines that begins at the top or ends at the bottom, one run in
    ASCII and the other not. Other runs (4 and 5) are as likely a wrapped heading's half, which must not pass for the whole.
    """
    found: dict[str, int] = {}
    lines = [line for line in _LINE_BREAK.split(text) if line.strip()][:8]
    parts = [(text, 0)]
    for k in range(1, len(lines)):
        top, bottom = "\n".join(lines[:k]), "\n".join(lines[k:])
        rank = 2 if normalise(top).isascii() != normalise(bottom).isascii() else 4
        parts += [(top, rank), (bottom, rank)]
    for part, rank in sorted(parts, key=lambda pair: pair[1]):
        for variant, extra in ((part, 0), (without_marks(part), 1)):
            found.setdefault(fold(variant), rank + extra)
    return tuple(found.items())


@dataclass(frozen=True, slots=True)
class Wording:
    """One wording of a contract, folded. `glob` is set where it holds a `*`; `weight` is how much it says."""

    text: str
    weight: int
    glob: re.Pattern[str] | None = None

    def fits(self, reading: str) -> bool:
        return self.glob.fullmatch(reading) is not None if self.glob else reading == self.text


def wordings(text: str) -> tuple[Wording, ...]:
    """The wording as written and, where it holds footnote marks, without them. ` / ` between levels of a heading is a blank."""
    found = {}
    for variant in (text.replace("(*)", " "), without_marks(text)):
        wording = _glob(variant) if "*" in variant else Wording(fold(variant), len(fold(variant)))
        found[wording.text] = wording
    if text.strip():
        found.pop("", None)  # only a blank wording stands for a blank heading
    return tuple(found.values())


def _glob(text: str) -> Wording:
    """`Tổng thu*` takes any continuation, `Tổng thu *` whole words only."""
    pieces = text.split("*")
    pattern = re.escape(fold(pieces[0]))
    for left, right in pairwise(pieces):
        is_left, is_right = _ends_with_word(left, -1), _ends_with_word(right, 0)
        has_left, has_right = bool(fold(left)), bool(fold(right))
        if has_left and not is_left and has_right and not is_right:
            pattern += "(?: .*)? "
        elif has_left and not is_left:
            pattern += "(?: .*)?"
        elif has_right and not is_right:
            pattern += "(?:.* )?"
        else:
            pattern += ".*"
        pattern += re.escape(fold(right))
    return Wording("*".join(fold(piece) for piece in pieces), sum(len(fold(piece)) for piece in pieces), re.compile(pattern))


def _ends_with_word(piece: str, end: int) -> bool:
    return bool(piece) and piece[end].isalnum()


class Labels:
    """A set of wordings that a cell's text is compared with, in any of its readings."""

    def __init__(self, texts: Iterable[str]) -> None:
        found = [wording for text in texts for wording in wordings(text)]
        self._exact = {w.text for w in found if w.glob is None}
        self._globs = [w for w in found if w.glob is not None]
        words = {re.split(r"[ *]", wording.text.lstrip("* "))[0] for wording in found}
        self._sign = "" if "" in words else "|".join(sorted(words))

    def __bool__(self) -> bool:
        return bool(self._exact or self._globs)

    def __contains__(self, text: str) -> bool:
        return any(self.fits(reading) for reading, rank in readings(text) if rank < HALF)

    def candidates(self, texts: pa.Array) -> list[int]:
        """Which of many texts need to be looked at one by one: those that hold the first word of some wording anywhere."""
        if not self:
            return []
        plain = texts
        if not pc.all(pc.string_is_ascii(texts), min_count=0).as_py():
            plain = pc.replace_substring_regex(pc.utf8_normalize(texts, "NFKD"), r"[\p{M}\x{200B}\x{FEFF}]+", "")
            plain = pc.replace_substring_regex(plain, "[đĐðÐɖƉ]", "d")
            plain = pc.replace_substring_regex(pc.replace_substring_regex(plain, "[ßẞ]", "ss"), "ı", "i")
        places: list[int] = pc.indices_nonzero(pc.match_substring_regex(pc.utf8_lower(plain), self._sign)).to_pylist()
        return places

    def fits(self, reading: str) -> bool:
        """Whether a folded reading is one of the wordings."""
        return reading in self._exact or any(glob.fits(reading) for glob in self._globs)


@dataclass(frozen=True, slots=True)
class Fit:
    """How a column's heading fits a field: by a wording of `weight`, `unmatched` levels above it left over."""

    field: str
    weight: int
    unmatched: int
    rank: int


class Vocabulary:
    """The wordings of a contract's fields, looked up by the levels of a column's heading."""

    def __init__(self, spellings: Iterable[tuple[str, Sequence[str]]], *, takes_halves: bool = False) -> None:
        self._takes_halves = takes_halves
        self._exact: dict[str, list[tuple[str, int]]] = {}
        self._globs: list[tuple[str, Wording]] = []
        self._tails: set[str] = set()
        for field, texts in spellings:
            for wording in dict.fromkeys(w for text in texts for w in wordings(text)):
                if wording.glob is not None:
                    self._globs.append((field, wording))
                    continue
                self._exact.setdefault(wording.text, []).append((field, wording.weight))
                words = wording.text.split(" ")
                self._tails.update(" ".join(words[k:]) for k in range(len(words)))

    def fits(self, levels: Sequence[str]) -> list[Fit]:
        """The best fit of each field whose wording is the levels from some level to the last, joined."""
        best: dict[str, Fit] = {}
        for unmatched, reading, rank in self._ends(levels):
            found = list(self._exact.get(reading, ()))
            found += [(field, glob.weight) for field, glob in self._globs if reading and glob.fits(reading)]
            for field, weight in found:
                fit = Fit(field, weight, unmatched, rank)
                known = best.get(field)
                if known is None or _order(fit) < _order(known):
                    best[field] = fit
        return list(best.values())

    def _ends(self, levels: Sequence[str]) -> Iterator[tuple[int, str, int]]:
        if not levels:
            yield 0, "", 0
        ends = {"": 0}
        for k in range(len(levels) - 1, -1, -1):
            grown: dict[str, int] = {}
            for tail, rank in ends.items():
                for head, more in readings(levels[k]):
                    text = f"{head} {tail}".strip()
                    if more >= HALF and not self._takes_halves:
                        continue
                    if self._globs or text in self._tails:
                        grown[text] = min(grown.get(text, 9), max(rank, more))
            ends = dict(sorted(grown.items(), key=lambda item: item[1])[:_MOST_READINGS])
            for text, rank in ends.items():
                if text:
                    yield k, text, rank


def _order(fit: Fit) -> tuple[int, int, int]:
    return -fit.weight, fit.unmatched, fit.rank
