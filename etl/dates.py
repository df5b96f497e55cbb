"""Dates and times, read strictly by a declared format such as `dd/MM/yyyy` or `yyyy-MM-dd HH:mm:ss`.

Answers for: a day that does not exist (31/02/1990) is never another day; whole columns at once where every part has a fixed
width, distinct values one by one where not. Refuses: guessing a format.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Mask = np.ndarray[Any, np.dtype[np.bool_]]
_PARTS = {
    "yyyy": ("year", r"\d{4}"),
    "yy": ("year2", r"\d{2}"),
    "MM": ("month", r"\d{2}"),
    "M": ("month", r"\d{1,2}"),
    "dd": ("day", r"\d{2}"),
    "d": ("day", r"\d{1,2}"),
    "HH": ("hour", r"\d{2}"),
    "H": ("hour", r"\d{1,2}"),
    "mm": ("minute", r"\d{2}"),
    "ss": ("second", r"\d{2}"),
    "SSS": ("fraction", r"\d{1,6}"),
    "XXX": ("offset", r"Z|[+-](?:[01]\d|2[0-3]):?[0-5]\d"),
}
_TOKEN = re.compile(r"yyyy|yy|MM|M|dd|d|HH|H|mm|ss|SSS|XXX|'(?P<quoted>[^']*)'|(?P<literal>.)")
_FIXED = ("yyyy", "MM", "dd", "HH", "mm", "ss")
_DAYS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int64)
_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Format:
    """A compiled format. `places` gives each part's first character where all widths are fixed; `literals` the others."""

    text: str
    expression: re.Pattern[str]
    width: int | None
    places: dict[str, int]
    literals: tuple[tuple[int, int], ...]


@cache
def compile_format(text: str) -> Format:
    """Compile a format; a T between date and time is written 'T'."""
    expression, places, literals, position, is_fixed = "", {}, [], 0, True
    for token in _TOKEN.finditer(text):
        literal = token["literal"] if token["literal"] is not None else token["quoted"]
        if literal is not None:
            expression += re.escape(literal)
            literals += [(position + index, ord(letter)) for index, letter in enumerate(literal)]
            position += len(literal)
            is_fixed &= literal.isascii()
            continue
        name, pattern = _PARTS[token.group()]
        expression += f"(?P<{name}>{pattern})"
        places[name] = position
        position += len(token.group())
        is_fixed &= token.group() in _FIXED
    return Format(text, re.compile(expression, re.ASCII), position if is_fixed else None, places, tuple(literals))


def parse_moments(texts: pa.Array, formats: tuple[str, ...]) -> tuple[pa.Array, Mask]:
    """Texts as timestamps (microseconds, no zone; UTC where the format has an offset) and a mask of those not readable.

    Missing texts stay missing and are not in the mask. The first format that reads a text wins.
    """
    valid = texts.is_valid().to_numpy(zero_copy_only=False)
    values, good = np.zeros(len(texts), np.int64), np.zeros(len(texts), bool)
    for name in formats:
        left = np.flatnonzero(valid & ~good)
        if not len(left):
            break
        part = texts if len(left) == len(texts) else texts.take(pa.array(left))
        shape = compile_format(name)
        found, ok = _fixed(part, shape) if shape.width is not None else _free(part, shape)
        values[left[ok]] = found[ok]
        good[left[ok]] = True
    return pa.array(values, pa.int64(), mask=~good).view(pa.timestamp("us")), valid & ~good


def _fixed(texts: pa.Array, shape: Format) -> tuple[np.ndarray[Any, np.dtype[np.int64]], Mask]:
    """All texts at once: each character position is one contiguous row of bytes."""
    width = shape.width or 0
    right = pc.fill_null(pc.equal(pc.binary_length(texts), width), False).to_numpy(zero_copy_only=False)
    values, good = np.zeros(len(texts), np.int64), np.zeros(len(texts), bool)
    if not right.any():
        return values, good
    chosen = texts if right.all() else texts.filter(pa.array(right))
    offsets = np.frombuffer(chosen.buffers()[1], np.int32)[chosen.offset : chosen.offset + len(chosen) + 1]
    letters = np.ascontiguousarray(np.frombuffer(chosen.buffers()[2], np.uint8)[offsets[0] : offsets[-1]].reshape(-1, width).T)
    digits = letters - 48  # wraps: what is no digit becomes more than 9
    ok = np.ones(len(chosen), bool)
    for place, letter in shape.literals:
        ok &= letters[place] == letter

    def number(name: str, count: int, default: int) -> Any:
        if name not in shape.places:
            return np.full(len(chosen), default, np.int64)
        total = np.zeros(len(chosen), np.int64)
        for row in digits[shape.places[name] : shape.places[name] + count]:
            np.logical_and(ok, row <= 9, out=ok)
            total = total * 10 + row
        return total

    year, month, day = number("year", 4, 1970), number("month", 2, 1), number("day", 2, 1)
    hour, minute, second = number("hour", 2, 0), number("minute", 2, 0), number("second", 2, 0)
    ok &= (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1) & (hour < 24) & (minute < 60) & (second < 60)
    month = np.where(ok, month, 1)
    is_leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    ok &= day <= _DAYS[month] + ((month == 2) & is_leap)
    values[right] = (_days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second) * 1_000_000
    good[right] = ok
    return values, good


def _days(year: Any, month: Any, day: Any) -> Any:
    """Days since 1970-01-01 in the Gregorian calendar (Howard Hinnant, days_from_civil)."""
    shifted = year - (month <= 2)
    era = shifted // 400
    of_era = shifted - era * 400
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


def _free(texts: pa.Array, shape: Format) -> tuple[np.ndarray[Any, np.dtype[np.int64]], Mask]:
    """Distinct texts one by one, for formats whose parts vary in width."""
    encoded = texts.dictionary_encode()
    read = [_one(text, shape) for text in encoded.dictionary.to_pylist()]
    indices = pc.fill_null(encoded.indices, 0).to_numpy(zero_copy_only=False)
    if not read:
        return np.zeros(len(texts), np.int64), np.zeros(len(texts), bool)
    values = np.array([value or 0 for value in read], np.int64)[indices]
    good = np.array([value is not None for value in read])[indices]
    return values, good & texts.is_valid().to_numpy(zero_copy_only=False)


def _one(text: str, shape: Format) -> int | None:
    found = shape.expression.fullmatch(text)
    if not found:
        return None
    parts = found.groupdict()
    year = int(parts["year"]) if parts.get("year") else 2000 + int(parts["year2"])
    try:
        moment = datetime(
            year,
            int(parts.get("month") or 1),
            int(parts.get("day") or 1),
            int(parts.get("hour") or 0),
            int(parts.get("minute") or 0),
            int(parts.get("second") or 0),
            int((parts.get("fraction") or "0").ljust(6, "0")),
            tzinfo=UTC,
        )
        offset = parts.get("offset")
        if offset and offset != "Z":
            minutes = int(offset[1:3]) * 60 + int(offset[-2:])
            moment -= timedelta(minutes=minutes if offset[0] == "+" else -minutes)
    except (ValueError, OverflowError):
        return None
    return round((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))
