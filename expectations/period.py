"""Periods: a day, a month, a quarter or a year, known by its first day.

Answers for: one way to write a period (2025, 2025-Q2, 2025-06, 2025-06-10), and the patterns by which a file's or a
sheet's name says for which period it is.
"""

from __future__ import annotations

import re
import unicodedata
from calendar import monthrange
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal, get_args

from expectations.faults import Message

Periodicity = Literal["day", "month", "quarter", "year"]
PERIODICITIES: tuple[Periodicity, ...] = get_args(Periodicity)

_WRITTEN = {
    "year": re.compile(r"(?P<year>\d{4})"),
    "quarter": re.compile(r"(?P<year>\d{4})-?Q(?P<quarter>[1-4])", re.IGNORECASE),
    "month": re.compile(r"(?P<year>\d{4})-(?P<month>\d{2})"),
    "day": re.compile(r"(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})"),
}
_DIRECTIVES = {
    "Y": r"(?P<year>\d{4})",
    "m": r"(?P<month>\d{2})",
    "d": r"(?P<day>\d{2})",
    "q": r"(?P<quarter>[1-4])",
    "y": r"(?P<year2>\d{2})",
}


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """A period by its first day."""

    start: date
    periodicity: Periodicity

    def __str__(self) -> str:
        match self.periodicity:
            case "year":
                return self.start.isoformat()[:4]
            case "quarter":
                return f"{self.start.isoformat()[:4]}-Q{_quarter(self.start)}"
            case "month":
                return self.start.isoformat()[:7]
            case _:
                return self.start.isoformat()

    @property
    def end(self) -> date:
        """The last day of the period."""
        month = {"day": self.start.month, "month": self.start.month, "quarter": _quarter(self.start) * 3, "year": 12}[self.periodicity]
        day = self.start.day if self.periodicity == "day" else monthrange(self.start.year, month)[1]
        return date(self.start.year, month, day)

    def next(self) -> Period:
        """The period that follows."""
        return Period(self.end + timedelta(days=1), self.periodicity)

    @classmethod
    def containing(cls, day: date, periodicity: Periodicity) -> Period:
        """The period in which a day lies."""
        month = {"day": day.month, "month": day.month, "quarter": _quarter(day) * 3 - 2, "year": 1}[periodicity]
        return cls(date(day.year, month, day.day if periodicity == "day" else 1), periodicity)


def _quarter(day: date) -> int:
    return (day.month + 2) // 3


def parse_period(text: str, periodicity: Periodicity) -> Period | None:
    """The period written as 2025, 2025-Q2, 2025-06 or 2025-06-10, or None; its first day in full is understood too."""
    text = text.strip()
    found = _WRITTEN[periodicity].fullmatch(text)
    if found:
        return _period(found.groupdict(), periodicity)
    whole = _WRITTEN["day"].fullmatch(text)
    period = _period(whole.groupdict(), "day") if whole else None
    return Period(period.start, periodicity) if period and Period.containing(period.start, periodicity).start == period.start else None


def _period(parts: dict[str, str | None], periodicity: Periodicity) -> Period | None:
    year = parts.get("year") or ("20" + (parts.get("year2") or "") if parts.get("year2") else None)
    if year is None:
        return None
    month = int(parts.get("month") or (int(parts["quarter"] or 1) * 3 - 2 if parts.get("quarter") else 1))
    try:
        return Period.containing(date(int(year), month, int(parts.get("day") or 1)), periodicity)
    except ValueError:
        return None


class BadPattern(ValueError):
    """A pattern that cannot be read, or could never tell a period."""

    def __init__(self, vi: str, en: str) -> None:
        super().__init__(en)
        self.message = Message(vi, en)


@dataclass(frozen=True, slots=True)
class NameMatch:
    """What a name says: its period and province, each None when the name does not say it."""

    period: Period | None
    province: str | None


class NamePattern:
    """A pattern such as `dossier_[{province}_]{period:%Y-%m}`.

    `{period:…}` takes %Y %y %m %d and %q (quarter), `{province}` a province_id, `[…]` is optional, `*` is anything. Case does
    not matter, nor does how accents are composed, nor the ` (1)` that a browser adds to a second copy. Raises `BadPattern`.
    """

    def __init__(self, text: str, periodicity: Periodicity) -> None:
        self.text, self.periodicity = text, periodicity
        self.has_period, self.has_province = "{period" in text, "{province}" in text
        self._expression = re.compile(self._translate(unicodedata.normalize("NFC", text)), re.IGNORECASE)

    def _translate(self, text: str) -> str:
        out, position, depth, told = "", 0, 0, list[str]()
        token = re.compile(r"\{period:(?P<format>[^}]*)\}|\{province\}|[\[\]*]|\{")
        for found in token.finditer(text):
            out += re.escape(text[position : found.start()])
            position = found.end()
            match found.group():
                case "{province}":
                    out += r"(?P<province>[a-z0-9]+(?:-[a-z0-9]+)*)"
                    told.append("province")
                case "[":
                    out, depth = out + "(?:", depth + 1
                case "]":
                    out, depth = out + ")?", depth - 1
                case "*":
                    out += ".*"
                case "{":
                    raise BadPattern("chỉ hiểu {province} và {period:%Y…}.", "only {province} and {period:%Y…} are known.")
                case _:
                    out += _translate_format(found["format"])
                    told += re.findall("%(.)", found["format"])
            if depth not in (0, 1):
                break
        if depth:
            raise BadPattern("dấu ngoặc [ ] không khớp.", "brackets do not match.")
        self._check(told)
        return out + re.escape(text[position:])

    def _check(self, told: list[str]) -> None:
        """Each part stands once, and the parts together tell a period."""
        parts = [part.lower() if part == "Y" else part for part in told]
        twice = [part for part in parts if parts.count(part) > 1]
        if twice:
            raise BadPattern(f"«{twice[0]}» xuất hiện hai lần.", f"'{twice[0]}' stands here twice.")
        if self.has_period and not any({"y", *needed} <= set(parts) for needed in _NEEDED[self.periodicity]):
            raise BadPattern(
                f"không đủ để biết kỳ ({self.periodicity}); ví dụ {{period:{_EXAMPLES[self.periodicity]}}}.",
                f"does not tell the period ({self.periodicity}); for example {{period:{_EXAMPLES[self.periodicity]}}}.",
            )

    def match(self, name: str) -> NameMatch | None:
        """What the name says, or None when it is not of this pattern (or its date does not exist)."""
        whole = unicodedata.normalize("NFC", name.strip())
        found = self._expression.fullmatch(whole) or self._expression.fullmatch(_COPY.sub("", whole))
        if found is None:
            return None
        parts = found.groupdict()
        is_told = any(parts.get(part) for part in ("year", "year2"))
        period = _period(parts, self.periodicity) if is_told else None
        if is_told and period is None:
            return None
        province = parts.get("province")
        return NameMatch(period, province.lower() if province else None)

    def example(self, period: Period, province: str | None = None) -> str:
        """A name of this pattern; an optional part that needs a province is left out when there is none."""

        def optional(found: re.Match[str]) -> str:
            return "" if "{province}" in found[1] and province is None else found[1]

        text = re.sub(r"\[([^\]]*)\]", optional, self.text).replace("{province}", province or "").replace("*", "")
        start = period.start
        parts = {"%Y": f"{start.year:04}", "%y": f"{start.year % 100:02}", "%m": f"{start.month:02}", "%d": f"{start.day:02}"}
        parts["%q"] = str(_quarter(start))
        return re.sub(r"\{period:([^}]*)\}", lambda found: re.sub("%.", lambda part: parts[part[0]], found[1]), text)


_NEEDED: dict[str, list[tuple[str, ...]]] = {"year": [()], "quarter": [("q",), ("m",)], "month": [("m",)], "day": [("m", "d")]}
_EXAMPLES = {"year": "%Y", "quarter": "%Y-Q%q", "month": "%Y-%m", "day": "%Y-%m-%d"}
_COPY = re.compile(r"\s*\(\d+\)(?=(?:\.\w+)?$)")


def _translate_format(text: str) -> str:
    out, position = "", 0
    while position < len(text):
        if text[position] == "%":
            directive = text[position + 1 : position + 2]
            if directive not in _DIRECTIVES:
                raise BadPattern(f"không biết %{directive}; dùng %Y %y %m %d %q.", f"%{directive} is not known; use %Y %y %m %d %q.")
            out += _DIRECTIVES[directive]
            position += 2
        else:
            out += re.escape(text[position])
            position += 1
    return out
