"""Periods: a day, a month, a quarter or a year, known by its first day.

Answers for: one way to write a period (2025, 2025-Q2, 2025-06, 2025-06-10), and the patterns by which a file's or a
sheet's name says for which period it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal, get_args

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
                return f"{self.start:%Y}"
            case "quarter":
                return f"{self.start:%Y}-Q{(self.start.month + 2) // 3}"
            case "month":
                return f"{self.start:%Y-%m}"
            case _:
                return f"{self.start:%Y-%m-%d}"

    @property
    def end(self) -> date:
        """The last day of the period."""
        return self.next().start - timedelta(days=1)

    def next(self) -> Period:
        """The period that follows."""
        start = self.start
        if self.periodicity == "day":
            return Period(start + timedelta(days=1), self.periodicity)
        months = {"month": 1, "quarter": 3, "year": 12}[self.periodicity]
        index = start.year * 12 + start.month - 1 + months
        return Period(date(index // 12, index % 12 + 1, 1), self.periodicity)

    @classmethod
    def containing(cls, day: date, periodicity: Periodicity) -> Period:
        """The period in which a day lies."""
        month = {"day": day.month, "month": day.month, "quarter": (day.month - 1) // 3 * 3 + 1, "year": 1}[periodicity]
        return cls(date(day.year, month, day.day if periodicity == "day" else 1), periodicity)


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


@dataclass(frozen=True, slots=True)
class NameMatch:
    """What a name says: its period and province, each None when the name does not say it."""

    period: Period | None
    province: str | None


class NamePattern:
    """A pattern such as `dossier_[{province}_]{period:%Y-%m}`.

    `{period:…}` takes %Y %y %m %d and %q (quarter), `{province}` a province_id, `[…]` is optional, `*` is anything. Case does
    not matter, and neither does the ` (1)` that a browser adds to a second copy. Raises ValueError when it is not readable.
    """

    def __init__(self, text: str, periodicity: Periodicity) -> None:
        self.text, self.periodicity = text, periodicity
        self.has_period, self.has_province = "{period" in text, "{province}" in text
        self._expression = re.compile(self._translate(text), re.IGNORECASE)

    @staticmethod
    def _translate(text: str) -> str:
        out, position, depth = "", 0, 0
        token = re.compile(r"\{period:(?P<format>[^}]*)\}|\{province\}|[\[\]*]|\{")
        for found in token.finditer(text):
            out += re.escape(text[position : found.start()])
            position = found.end()
            match found.group():
                case "{province}":
                    out += r"(?P<province>[a-z0-9]+(?:-[a-z0-9]+)*)"
                case "[":
                    out, depth = out + "(?:", depth + 1
                case "]":
                    out, depth = out + ")?", depth - 1
                case "*":
                    out += ".*"
                case "{":
                    raise ValueError("only {province} and {period:%Y…} are known")
                case _:
                    out += _translate_format(found["format"])
            if depth not in (0, 1):
                raise ValueError("brackets do not match")
        if depth:
            raise ValueError("brackets do not match")
        return out + re.escape(text[position:])

    def match(self, name: str) -> NameMatch | None:
        """What the name says, or None when it is not of this pattern (or its date does not exist)."""
        found = self._expression.fullmatch(re.sub(r"\s*\(\d+\)$", "", name.strip()))
        if found is None:
            return None
        parts = found.groupdict()
        period = _period(parts, self.periodicity) if self.has_period else None
        if self.has_period and period is None:
            return None
        province = parts.get("province")
        return NameMatch(period, province.lower() if province else None)

    def example(self, period: Period, province: str | None = None) -> str:
        """A name of this pattern."""
        text = re.sub(r"\[([^\]]*)\]", (r"\1" if province else ""), self.text).replace("{province}", province or "").replace("*", "")
        quarter = str((period.start.month + 2) // 3)
        return re.sub(r"\{period:([^}]*)\}", lambda m: period.start.strftime(m[1].replace("%q", quarter)), text)


def _translate_format(text: str) -> str:
    out, position = "", 0
    while position < len(text):
        if text[position] == "%":
            directive = text[position + 1 : position + 2]
            if directive not in _DIRECTIVES:
                raise ValueError(f"%{directive} is not known in a period; use %Y %y %m %d %q")
            out += _DIRECTIVES[directive]
            position += 2
        else:
            out += re.escape(text[position])
            position += 1
    return out
