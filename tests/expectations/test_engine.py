"""Expectations that are made ready once say what the engine's own `Batch.validate` says, and never less."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expectations.rules import KINDS
from expectations.validate import _SMALL, _engine

texts = st.one_of(st.none(), st.sampled_from(["a", "ab", "12", "", "đ", "a\n", " "]), st.text(max_size=3))
numbers = st.one_of(st.none(), st.integers(-3, 3))
ASKED: dict[str, tuple[Any, ...]] = {
    "expect_column_values_to_not_be_null": (texts, {"column": "a"}),
    "expect_column_values_to_be_null": (texts, {"column": "a"}),
    "expect_column_values_to_be_in_set": (texts, {"column": "a", "value_set": ["a", "12"]}),
    "expect_column_values_to_not_be_in_set": (texts, {"column": "a", "value_set": ["a", "12"]}),
    "expect_column_values_to_be_between": (numbers, {"column": "a", "min_value": -1, "max_value": 2, "strict_max": True}),
    "expect_column_values_to_match_regex": (texts, {"column": "a", "regex": "^[a-z]+$"}),
    "expect_column_values_to_not_match_regex": (texts, {"column": "a", "regex": "^[0-9]"}),
    "expect_column_values_to_match_regex_list": (texts, {"column": "a", "regex_list": ["^a", "^1"]}),
    "expect_column_values_to_not_match_regex_list": (texts, {"column": "a", "regex_list": ["^a", "^1"]}),
    "expect_column_value_lengths_to_equal": (texts, {"column": "a", "value": 2}),
    "expect_column_value_lengths_to_be_between": (texts, {"column": "a", "min_value": 1, "max_value": 2}),
    "expect_column_pair_values_to_be_equal": (numbers, {"column_A": "a", "column_B": "b", "ignore_row_if": "either_value_is_missing"}),
    "expect_column_pair_values_a_to_be_greater_than_b": (
        numbers,
        {"column_A": "a", "column_B": "b", "or_equal": True, "ignore_row_if": "either_value_is_missing"},
    ),
    "expect_column_pair_values_to_be_in_set": (
        numbers,
        {"column_A": "a", "column_B": "b", "value_pairs_set": [(1, 2), (0, 0)], "ignore_row_if": "either_value_is_missing"},
    ),
    "expect_select_column_values_to_be_unique_within_record": (
        numbers,
        {"column_list": ["a", "b"], "ignore_row_if": "any_value_is_missing"},
    ),
    "expect_multicolumn_sum_to_equal": (numbers, {"column_list": ["a", "b"], "sum_total": 1, "ignore_row_if": "any_value_is_missing"}),
}


def test_every_kind_of_line_rule_is_compared() -> None:
    assert set(ASKED) == {name for name, kind in KINDS.items() if kind.scope == "line" and not kind.is_ours}


@pytest.mark.parametrize("kind", ASKED)
@settings(deadline=None, max_examples=10)
@given(data=st.data())
def test_the_verdict_is_that_of_batch_validate(kind: str, data: st.DataObject) -> None:
    values, arguments = ASKED[kind]
    columns = {name: data.draw(st.lists(values, min_size=12, max_size=12)) for name in ("a", "b")}
    dtype: Any = "str" if values is texts else "float64"
    frame = pd.DataFrame({name: pd.Series(column, dtype=dtype) for name, column in columns.items()})
    assert _engine().expected(kind, arguments).broken_rows(frame).tolist() == validated(frame, kind, arguments)


def test_more_than_two_hundred_broken_rows_are_all_named() -> None:
    frame = pd.DataFrame({"a": pd.Series(["x", "1"] * _SMALL, dtype="str")})
    expected = _engine().expected("expect_column_values_to_match_regex", {"column": "a", "regex": "^[a-z]$"})
    assert np.array_equal(expected.broken_rows(frame), np.arange(1, 2 * _SMALL, 2))


def validated(frame: pd.DataFrame, kind: str, arguments: Mapping[str, Any]) -> list[int]:
    """The rows that the engine's public way names."""
    import great_expectations as gx

    batch = _definition().get_batch({"dataframe": frame})
    suite = gx.ExpectationSuite(name=kind, expectations=[{"type": kind, "kwargs": dict(arguments)}])
    report = batch.validate(suite, result_format={"result_format": "COMPLETE", "return_unexpected_index_query": False})
    return sorted(report.results[0].result["unexpected_index_list"] or [])


_made: list[Any] = []


def _definition() -> Any:
    if not _made:
        import great_expectations as gx

        _engine()
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False, "metric_calculations": False}
        asset = context.data_sources.add_pandas("batches").add_dataframe_asset("batch")
        _made.append(asset.add_batch_definition_whole_dataframe("whole"))
    return _made[0]
