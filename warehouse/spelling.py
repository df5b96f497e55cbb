"""What people write for a province, read as one of its names or codes.

Answers for: which provinces bear a written name, whatever its accents, case, blanks, punctuation, unit words ("province of")
and footnote marks; which names are nearest to one that nobody bears; what a code means, even one that went through a
spreadsheet. Refuses: choosing. Likeness is reported, never taken for identity, and which of several bearers is meant on a day
is for `warehouse.provinces` to say.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from expectations.text import fold, normalise
from warehouse.registry_files import ProvinceCode

LEAST_LIKENESS = 80  # of 100: one wrong letter in a name of five, two in a name of ten

_LONGEST = 200  # characters; a cell with more holds no name, and is not worth the search
_MOST_UNIT_WORDS = 3  # "TP. Ho Chi Minh City, Vietnam"
_MARKS = re.compile(r"(?:[*†‡§¹²³⁰⁴-⁹]+|[(\[](?:[\d*.,\s]{1,4}|[A-Za-z])[)\]]|(?<=\D)\d\))$")
_REMARK = re.compile(r"[(\[][^()\[\]]*[)\]]$")
_NUMBER = re.compile(r"'?(\d+)(?:[.,]0+)?", re.ASCII)  # what a spreadsheet makes of 01: 1, 1.0, '01


@dataclass(frozen=True, slots=True)
class Reading:
    """A written name: who bears it on any day, the kinds of unit its unit words allow (none: all), and whether a remark in
    words followed it, which may tell an old unit from a new one of the same name."""

    province_ids: frozenset[str] = frozenset()
    unit_types: frozenset[str] = frozenset()
    has_remark: bool = False


class Spellings:
    """The names of all provinces, ready for look-up."""

    def __init__(self, names: Iterable[tuple[str, str]], unit_words: Iterable[tuple[str, str | None]]) -> None:
        """`names` are pairs (name or alias, province_id), `unit_words` pairs (word, unit type or None)."""
        bearers: dict[str, set[str]] = defaultdict(set)
        for name, province_id in names:
            bearers[_joined(fold(name))].add(province_id)
        self._bearers = {name: frozenset(ids) for name, ids in bearers.items()}
        self._unit_words = [(pattern, unit_type) for word, unit_type in unit_words for pattern in _at_either_end(fold(word))]

    def read(self, text: str) -> Reading:
        """Who bears the name that is written in `text`; nobody, if it is not a name."""
        name, has_remark = _without_remarks(text)
        for bare, unit_types in self._bare_names(fold(name)):
            if bare in self._bearers:
                return Reading(self._bearers[bare], unit_types, has_remark)
        return Reading(has_remark=has_remark)

    def nearest(self, text: str) -> dict[str, int]:
        """The provinces whose names are like `text`, with the likeness in percent, most alike first."""
        from rapidfuzz import fuzz, process  # heavy, and not needed where every name is right

        likeness: dict[str, int] = {}
        for bare, _ in self._bare_names(fold(_without_remarks(text)[0])):
            for name, score, _ in process.extract(bare, list(self._bearers), scorer=fuzz.ratio, score_cutoff=LEAST_LIKENESS):
                for province_id in self._bearers[name]:
                    likeness[province_id] = max(likeness.get(province_id, 0), int(score))
        return dict(sorted(likeness.items(), key=lambda item: (-item[1], item[0])))

    def _bare_names(self, folded: str) -> Iterator[tuple[str, frozenset[str]]]:
        """The ways to take unit words off either end, the fewest first, with the kinds of unit that they name."""
        readings: dict[tuple[str, frozenset[str]], None] = {(folded, frozenset()): None}
        for _ in range(_MOST_UNIT_WORDS + 1):
            yield from ((_joined(text), kinds) for text, kinds in readings)
            readings = {
                (rest, kinds | {kind} if kind else kinds): None
                for text, kinds in readings
                for pattern, kind in self._unit_words
                if (rest := pattern.sub("", text)) not in ("", text)
            }


class CodeBook:
    """The codes of one system."""

    def __init__(self, codes: Iterable[ProvinceCode]) -> None:
        in_time = sorted(codes, key=lambda code: code.valid_from)
        self._is_numeric = all(code.code.isdecimal() for code in in_time)
        self._width = max(len(code.code) for code in in_time)
        self._meanings: dict[str, list[ProvinceCode]] = defaultdict(list)
        for code in in_time:
            self._meanings[self._key(code.code)].append(code)

    def meanings(self, written: str) -> tuple[ProvinceCode, ...]:
        """All that the code means on one day or another, oldest first."""
        return tuple(self._meanings.get(self._key(written), ()))

    def _key(self, written: str) -> str:
        """One text for all that a code turns into. Zeros are added, never taken: 052 is a code of another system than 52."""
        if self._is_numeric and (number := _NUMBER.fullmatch(written)):
            return number[1].zfill(self._width)
        return written.casefold()


def _at_either_end(word: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What finds a unit word before and after a name, whatever blanks are in and beside it: "T.P HCM", "TPHCM".

    A word of one letter must stand alone: "thue" (a tax) is not "T. Hue".
    """
    letters = " ?".join(_joined(word))
    blank = " " if len(letters) == 1 else " ?"
    return re.compile(f"^{letters}{blank}"), re.compile(f"{blank}{letters}$")


def _joined(folded: str) -> str:
    return folded.replace(" ", "")


def _without_remarks(text: str) -> tuple[str, bool]:
    """The text without footnote marks and bracketed remarks at its end, and whether one of these was in words."""
    name, has_remark = normalise(text) if len(text) <= _LONGEST else "", False
    while found := _MARKS.search(name) or _REMARK.search(name):
        has_remark = has_remark or found.re is _REMARK
        name = name[: found.start()].rstrip()
    return name, has_remark
