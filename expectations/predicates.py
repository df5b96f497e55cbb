"""Truths per line that the engine has no expectation for: the engine judges the truth, this module computes it.

Each predicate takes a batch and the rule's arguments and returns a boolean array; null where there is nothing to judge.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations.period import Period


@dataclass(frozen=True)
class Circumstances:
    """What a predicate may know besides the lines: the period, and the code lists valid on its day."""

    period: Period
    code_lists: Mapping[str, Collection[str]]
    zones: Mapping[str, str] = field(default_factory=dict)


def in_code_list(batch: pa.RecordBatch, arguments: Mapping[str, Any], known: Circumstances) -> pa.Array:
    """The code is in the list valid for the delivery."""
    column = batch.column(arguments["column"])
    truth = pc.is_in(column, value_set=pa.array(sorted(known.code_lists[arguments["code_list"]]), pa.string()))
    return pc.if_else(column.is_valid(), truth, None)


def within_period(batch: pa.RecordBatch, arguments: Mapping[str, Any], known: Circumstances) -> pa.Array:
    """The day lies within the period, or up to `days_before` before or `days_after` after it."""
    name = arguments["column"]
    column = batch.column(name)
    if name in known.zones:
        column = pc.local_timestamp(column.cast(pa.timestamp("us", known.zones[name])))
    days = column.cast(pa.date32(), safe=False)
    first = known.period.start - timedelta(days=arguments.get("days_before", 0))
    last = known.period.end + timedelta(days=arguments.get("days_after", 0))
    return pc.and_(pc.greater_equal(days, pa.scalar(first, pa.date32())), pc.less_equal(days, pa.scalar(last, pa.date32())))


def equals_sum(batch: pa.RecordBatch, arguments: Mapping[str, Any], known: Circumstances) -> pa.Array:
    """The value equals the sum of the listed fields (an empty one counts as 0) to within `tolerance`, by default 0.5."""
    total = batch.column(arguments["column"]).cast(pa.float64())
    parts = [batch.column(name).cast(pa.float64()) for name in arguments["column_list"]]
    summed = pc.fill_null(parts[0], 0.0)
    some = parts[0].is_valid()
    for part in parts[1:]:
        summed = pc.add(summed, pc.fill_null(part, 0.0))
        some = pc.or_(some, part.is_valid())
    truth = pc.less_equal(pc.abs(pc.subtract(total, summed)), float(arguments.get("tolerance", 0.5)))
    return pc.if_else(some, truth, None)


def has_check_digit(batch: pa.RecordBatch, arguments: Mapping[str, Any], known: Circumstances) -> pa.Array:
    """The digit after the weighted ones is (`complement` - weighted sum mod `modulus`) mod `modulus`.

    `weights` belong to the first digits; what follows the check digit is not looked at. A text that is too short or holds
    something else there is wrong. For a Vietnamese tax code (Circular 105/2020/TT-BTC, Appendix 1): weights 31 29 23 19 17
    13 7 5 3, modulus 11, complement 10.
    """
    column = batch.column(arguments["column"])
    weights = np.asarray(arguments["weights"], np.int64)
    width, modulus = len(weights) + 1, int(arguments["modulus"])
    head = pc.utf8_slice_codeunits(column, 0, width)
    readable = pc.match_substring_regex(head, f"^[0-9]{{{width}}}$")
    usable = pc.fill_null(readable, False).to_numpy(zero_copy_only=False)
    truth = np.zeros(len(column), bool)
    if usable.any():
        digits = (
            np.frombuffer("".join(head.filter(pa.array(usable)).to_pylist()).encode("ascii"), np.uint8).reshape(-1, width).astype(np.int64)
            - 48
        )
        expected = (int(arguments.get("complement", 0)) - digits[:, :-1] @ weights % modulus) % modulus
        truth[usable] = digits[:, -1] == expected
    return pa.array(truth, mask=~column.is_valid().to_numpy(zero_copy_only=False))


PREDICATES: dict[str, Callable[[pa.RecordBatch, Mapping[str, Any], Circumstances], pa.Array]] = {
    "expect_column_values_to_be_in_code_list": in_code_list,
    "expect_column_values_to_be_within_period": within_period,
    "expect_column_values_to_equal_sum_of": equals_sum,
    "expect_column_values_to_have_check_digit": has_check_digit,
}
