"""Texts of whole columns: numbers, digits and dates written, parts put together.

Answers for: the same text as Python would write, a block of lines at a time. Refuses: choosing what is written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations.contract import Field, Numbers

Ints = np.ndarray[Any, np.dtype[np.int64]]

DAY = 86_400
EPOCH = date(1970, 1, 1).toordinal()
_FORMAT = re.compile(r"yyyy|yy|MM|M|dd|d|HH|H|mm|ss|SSS|XXX|'(?P<quoted>[^']*)'|(?P<literal>.)")


def write_cells(texts: pa.Array, of: Field, numbers: Numbers) -> pa.Array:
    """Plain texts as they stand in a file: numbers in the contract's style, thousands marked in measures only."""
    has_thousands = bool(of.measure and numbers.thousands)
    if of.type not in ("integer", "number") or not (has_thousands or numbers.decimal != "."):
        return texts
    encoded = texts.dictionary_encode()
    return pa.array([write_number(text, of, numbers) for text in encoded.dictionary.to_pylist()], pa.string()).take(encoded.indices)


def write_number(text: str, of: Field, numbers: Numbers) -> str:
    """A plain number in the contract's style."""
    whole, point, rest = text.partition(".")
    if of.measure and numbers.thousands and whole.lstrip("-").isdigit():
        whole = f"{int(whole):,}".replace(",", numbers.thousands)
    return whole + (numbers.decimal if point else "") + rest


def write_moments(seconds: Ints, form: str) -> pa.Array:
    """Seconds since 1970 as texts of a format such as `dd/MM/yyyy HH:mm:ss`; an offset is written Z."""
    days = seconds.astype("datetime64[s]").astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    years = months.astype("datetime64[Y]").astype(np.int64) + 1970
    parts: dict[str, tuple[Ints, int]] = {
        "yyyy": (years, 4),
        "yy": (years % 100, 2),
        "MM": (months.astype(np.int64) % 12 + 1, 2),
        "dd": ((days - months).astype(np.int64) + 1, 2),
        "HH": (seconds % DAY // 3_600, 2),
        "mm": (seconds % 3_600 // 60, 2),
        "ss": (seconds % 60, 2),
    }
    texts: list[Any] = []
    for token in _FORMAT.finditer(form):
        literal = token["literal"] if token["literal"] is not None else token["quoted"]
        if literal is not None or token.group() in ("SSS", "XXX"):
            texts.append(pa.scalar(literal if literal is not None else {"SSS": "000", "XXX": "Z"}[token.group()]))
        else:
            values, width = parts[token.group() if token.group() in parts else token.group() * 2]
            texts.append(padded(values, width if token.group() in parts else 1))
    return pc.binary_join_element_wise(*texts, "")


def padded(values: Ints, width: int) -> pa.Array:
    """Whole numbers of 0 and more, with zeros in front up to a width."""
    low, high = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    return pa.array([f"{number:0{width}d}" for number in range(low, high + 1)], pa.string()).take(pa.array(values - low))


def random_digits(random: np.random.Generator, count: int, width: int) -> pa.Array:
    return texts_of_bytes(random.integers(48, 58, (count, width), dtype=np.uint8))


def texts_of_bytes(letters: np.ndarray[Any, np.dtype[np.uint8]]) -> pa.Array:
    """Texts of ASCII letters, all of one width."""
    count, width = letters.shape
    offsets = np.arange(count + 1, dtype=np.int32) * np.int32(width)
    return pa.Array.from_buffers(pa.string(), count, [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(letters))])


def joined(parts: Sequence[Any], count: int) -> pa.Array:
    """Texts put together; what is missing counts as nothing."""
    if not any(isinstance(part, pa.Array) for part in parts):
        return pa.array(["".join(part.as_py() for part in parts)], pa.string()).take(pa.array(np.zeros(count, np.int64)))
    return pc.binary_join_element_wise(*parts, "", null_handling="replace", null_replacement="")


def write_day_that_is_none(form: str, year: int) -> str:
    """The 31st of February in a format: readable by shape, yet no day."""
    parts = {"yyyy": f"{year:04d}", "yy": f"{year % 100:02d}", "MM": "02", "M": "2", "dd": "31", "d": "31", "XXX": "Z", "SSS": "000"}
    texts = []
    for token in _FORMAT.finditer(form):
        literal = token["literal"] if token["literal"] is not None else token["quoted"]
        texts.append(literal if literal is not None else parts.get(token.group(), "08"))
    return "".join(texts)


def as_csv(texts: pa.Array) -> pa.Array:
    """Cells of a CSV file: quoted where they hold a comma, a quotation mark or a line break, empty where missing."""
    data = texts.buffers()[2]
    if data is not None and any(mark in memoryview(data).tobytes() for mark in (b",", b'"', b"\n", b"\r")):
        quoted = pc.binary_join_element_wise('"', pc.replace_substring(texts, '"', '""'), '"', "")
        texts = pc.if_else(pc.match_substring_regex(texts, '[,"\r\n]'), quoted, texts)
    return texts


def csv_line(cells: Sequence[str]) -> str:
    """One line of a CSV file, with its end, as `as_csv` would write it."""
    return ",".join('"' + cell.replace('"', '""') + '"' if re.search('[,"\r\n]', cell) else cell for cell in cells) + "\n"
