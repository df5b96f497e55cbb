"""Patterns of a `sample`: texts with {braces}, as `etl.sampling.values` explains them.

Answers for: whole columns at a time; running numbers that go on from block to block. Refuses: a word in braces that nobody knows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.sampling.setting import Block, Setting
from etl.sampling.texts import Ints, joined, padded, random_digits
from expectations.document import Cursor, suggestion
from expectations.unique import hash_rows

Random = np.random.Generator

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_SERIAL = re.compile(r"serial(?::0?(\d{1,2}))?")


def pattern_maker(
    place: Cursor, text: str, lists: Mapping[str, pa.Array], setting: Setting, random: Random, needs: set[str]
) -> Callable[[Block], pa.Array]:
    """What makes the texts of one pattern. `place` is where it stands, `lists` the words it may use; fields it uses go to `needs`."""
    parts: list[Callable[[Block], Any]] = []
    serial: tuple[int, int] | None = None
    for index, piece in enumerate(_BRACES.split(text)):
        if index % 2 and (found := _SERIAL.fullmatch(piece)) and serial is None:
            serial = len(parts), int(found[1] or 1)
        elif index % 2:
            parts.append(_part(place, piece, lists, setting, random, needs))
        elif piece:
            parts.append(partial(_literal, pa.scalar(piece)))
    counted: dict[int, int] = {}

    def make(block: Block) -> pa.Array:
        made = [part(block) for part in parts]
        if serial is not None:
            numbers = _running(hash_rows({"": joined(made, block.count)}), counted)
            made.insert(serial[0], padded(numbers, serial[1]))
        return joined(made, block.count)

    return make


def _part(
    place: Cursor, piece: str, lists: Mapping[str, pa.Array], setting: Setting, random: Random, needs: set[str]
) -> Callable[[Block], Any]:
    """What makes the part of a pattern that stands in braces."""
    name, _, rest = piece.partition(":")
    if piece in lists:
        pool = lists[piece]
        return lambda block: pool.take(pa.array(random.integers(0, len(pool), block.count)))
    if name == "digits" and rest.isdecimal() and 0 < int(rest) <= 30:
        return lambda block: random_digits(random, block.count, int(rest))
    if found := _RANGE.fullmatch(piece):
        low, high = int(found[1]), int(found[2])
        if low > high or high - low > 100_000:
            place.fault(f"khoảng «{piece}» không dùng được.", f"the range '{piece}' cannot be used.")
        return lambda block: padded(random.integers(low, high + 1, block.count), len(found[1]))
    if name == "province" and rest:
        return partial(_literal, pa.scalar(setting.province_code(rest, place)))
    fields = setting.contract.by_name
    if name not in fields or (rest and fields[name].type not in ("date", "timestamp")):
        vi, en = suggestion(name, [*lists, *fields, "digits", "province", "serial"])
        place.fault(f"không hiểu {{{piece}}} trong mẫu.{vi}", f"{{{piece}}} in the pattern is not understood.{en}")
    needs.add(name)
    return partial(_other_field, name, rest)


def _literal(text: Any, block: Block) -> Any:
    return text


def _other_field(name: str, form: str, block: Block) -> pa.Array:
    made = block.made[name]
    if not form or made.moments is None:
        return made.text
    distinct, places = np.unique(made.moments, return_inverse=True)
    texts = [datetime.fromtimestamp(int(second), UTC).strftime(form) for second in distinct]
    return pc.if_else(made.text.is_valid(), pa.array(texts, pa.string()).take(pa.array(places)), pa.scalar(None, pa.string()))


def _running(hashes: np.ndarray[Any, np.dtype[np.uint64]], counted: dict[int, int]) -> Ints:
    """For each line its number among the equal lines so far, from 1; `counted` carries the numbers from block to block."""
    distinct, places, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    order = np.argsort(places, kind="stable")
    numbers = np.empty(len(hashes), np.int64)
    numbers[order] = np.arange(len(hashes)) - np.repeat(np.cumsum(counts) - counts, counts)
    before = np.array([counted.get(key, 0) for key in distinct.tolist()], np.int64)
    counted.update(zip(distinct.tolist(), (before + counts).tolist(), strict=True))
    return numbers + before[places] + 1
