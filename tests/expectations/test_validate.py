"""Claims about judging, with the real engine: each expectation finds exactly the lines that break it, however many and in whatever batch."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import expectations.validate as validate
from expectations.contract import Contract, Rule
from expectations.faults import Message, SetupFault
from expectations.rules import KINDS
from expectations.validate import check_rules
from tests.expectations.judging import FILE, batch_of, broken, contract_with, new_judge, repeated, rule

DAY = date(2025, 6, 1)
ZONED = {"logicalType": "timestamp", "logicalTypeOptions": {"timezone": True, "defaultTimezone": "Asia/Ho_Chi_Minh"}}

LINE_CASES: list[tuple[str, dict[str, Any], dict[str, list[Any]], list[int]]] = [
    # the expectation, its arguments, the columns, the rows that break it
    ("expect_column_values_to_not_be_null", {"column": "t"}, {"t": ["a", None, "b"]}, [1]),
    ("expect_column_values_to_not_be_null", {"column": "d"}, {"d": [None, DAY, None]}, [0, 2]),
    ("expect_column_values_to_be_null", {"column": "n"}, {"n": [1, None, 0]}, [0, 2]),
    ("expect_column_values_to_be_in_set", {"column": "t", "value_set": ["01", "02"]}, {"t": ["01", "1", None, "02"]}, [1]),
    ("expect_column_values_to_be_in_set", {"column": "n", "value_set": [1, 2]}, {"n": [1, 3, None, 2]}, [1]),
    ("expect_column_values_to_be_in_set", {"column": "f", "value_set": [True]}, {"f": [True, False, None]}, [1]),
    ("expect_column_values_to_be_in_set", {"column": "d", "value_set": [DAY]}, {"d": [DAY, date(2025, 6, 2), None]}, [1]),
    ("expect_column_values_to_not_be_in_set", {"column": "t", "value_set": ["N/A"]}, {"t": ["N/A", "x", None]}, [0]),
    ("expect_column_values_to_be_between", {"column": "x", "min_value": 0, "max_value": 10}, {"x": [-0.1, 0, 10, 10.1, None]}, [0, 3]),
    ("expect_column_values_to_be_between", {"column": "n", "min_value": 0, "strict_min": True}, {"n": [0, 1, None, -1]}, [0, 3]),
    ("expect_column_values_to_be_between", {"column": "d", "min_value": DAY, "max_value": date(2025, 6, 30)}, {"d": [DAY, date(2025, 6, 30), date(2025, 5, 31), date(2025, 7, 1), None]}, [2, 3]),
    ("expect_column_values_to_be_between", {"column": "d", "min_value": DAY, "strict_min": True}, {"d": [DAY, date(2025, 6, 2)]}, [0]),
    ("expect_column_values_to_be_between", {"column": "m", "max_value": "2025-06-01 12:00:00"}, {"m": [datetime(2025, 6, 1, 12), datetime(2025, 6, 1, 12, 0, 1), None]}, [1]),
    ("expect_column_values_to_be_between", {"column": "m", "min_value": DAY}, {"m": [datetime(2025, 5, 31, 23, 59, 59), datetime(2025, 6, 1)]}, [0]),
    ("expect_column_values_to_be_between", {"column": "z", "min_value": "2025-06-01 00:00:00"}, {"z": [datetime(2025, 5, 31, 17), datetime(2025, 5, 31, 16, 59)]}, [1]),
    ("expect_column_values_to_match_regex", {"column": "t", "regex": "^[0-9]{3}$"}, {"t": ["012", "12", None, "0123", "abc"]}, [1, 3, 4]),
    ("expect_column_values_to_match_regex", {"column": "t", "regex": "^(?=.*Đ)x"}, {"t": ["xĐ", "x", None]}, [1]),
    ("expect_column_values_to_not_match_regex", {"column": "t", "regex": "[<>]"}, {"t": ["a<b", "ab", None]}, [0]),
    ("expect_column_values_to_match_regex_list", {"column": "t", "regex_list": ["^a", "b$"]}, {"t": ["ax", "xb", "x", None]}, [2]),
    ("expect_column_values_to_match_regex_list", {"column": "t", "regex_list": ["^a", "b$"], "match_on": "all"}, {"t": ["ab", "xb", "x", None]}, [1, 2]),
    ("expect_column_values_to_not_match_regex_list", {"column": "t", "regex_list": ["^a", "b$"]}, {"t": ["ax", "xb", "x", None]}, [0, 1]),
    ("expect_column_value_lengths_to_equal", {"column": "t", "value": 2}, {"t": ["ạộ", "a", None, "abc"]}, [1, 3]),
    ("expect_column_value_lengths_to_be_between", {"column": "t", "min_value": 2, "max_value": 3}, {"t": ["a", "ab", "abc", "abcd", None]}, [0, 3]),
    ("expect_column_pair_values_to_be_equal", {"column_A": "n", "column_B": "x"}, {"n": [1, 2, None, 4], "x": [1.0, 2.5, 3.0, None]}, [1]),
    ("expect_column_pair_values_to_be_equal", {"column_A": "d", "column_B": "m"}, {"d": [DAY, DAY], "m": [datetime(2025, 6, 1), datetime(2025, 6, 1, 0, 0, 1)]}, [1]),
    ("expect_column_pair_values_to_be_equal", {"column_A": "n", "column_B": "k", "ignore_row_if": "both_values_are_missing"}, {"n": [1, None, 4], "k": [1, None, None]}, [2]),
    ("expect_column_pair_values_a_to_be_greater_than_b", {"column_A": "e", "column_B": "d"}, {"e": [date(2025, 6, 2), DAY, None, DAY], "d": [DAY, DAY, DAY, None]}, [1]),
    ("expect_column_pair_values_a_to_be_greater_than_b", {"column_A": "m", "column_B": "d", "or_equal": True}, {"m": [datetime(2025, 6, 1), datetime(2025, 5, 31, 23)], "d": [DAY, DAY]}, [1]),
    ("expect_column_pair_values_to_be_in_set", {"column_A": "t", "column_B": "n", "value_pairs_set": [["a", 1], ["b", 2]]}, {"t": ["a", "b", "a", None], "n": [1, 1, None, 2]}, [1]),
    ("expect_select_column_values_to_be_unique_within_record", {"column_list": ["t", "u"]}, {"t": ["a", "a", None], "u": ["a", "b", None]}, [0]),
    ("expect_multicolumn_sum_to_equal", {"column_list": ["n", "k"], "sum_total": 100}, {"n": [60, 60, None], "k": [40, 41, 40]}, [1]),
    ("expect_column_values_to_be_in_code_list", {"column": "t", "code_list": "communes"}, {"t": ["00001", "00002", None, "1"]}, [1, 3]),
    ("expect_column_values_to_be_within_period", {"column": "d"}, {"d": [DAY, date(2025, 6, 30), date(2025, 5, 31), date(2025, 7, 1), None]}, [2, 3]),
    ("expect_column_values_to_be_within_period", {"column": "d", "days_before": 1, "days_after": 2}, {"d": [date(2025, 5, 30), date(2025, 5, 31), date(2025, 7, 2), date(2025, 7, 3)]}, [0, 3]),
    ("expect_column_values_to_be_within_period", {"column": "m"}, {"m": [datetime(2025, 6, 30, 23, 59, 59), datetime(2025, 7, 1)]}, [1]),
    ("expect_column_values_to_equal_sum_of", {"column": "x", "column_list": ["n", "k"]}, {"x": [3, 4, 1, 2, None], "n": [1, 1, 1, None, 1], "k": [2, 2, None, None, 1]}, [1]),
    ("expect_column_values_to_equal_sum_of", {"column": "x", "column_list": ["n", "k"], "tolerance": 0}, {"x": [3.0, 3.25], "n": [1, 1], "k": [2, 2]}, [1]),
    ("expect_column_values_to_have_check_digit", {"column": "t", "weights": [31, 29, 23, 19, 17, 13, 7, 5, 3], "modulus": 11, "complement": 10}, {"t": ["0100109106", "0100109107", "0100109106-001", "010010910", "x100109106", None]}, [1, 3, 4]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("expectation", "arguments", "columns", "bad"), LINE_CASES, ids=[f"{n}-{case[0]}" for n, case in enumerate(LINE_CASES)]
)
@pytest.mark.parametrize("is_small", [True, False], ids=["small", "large"])
def test_an_expectation_finds_exactly_the_lines_that_break_it(
    expectation: str,
    arguments: dict[str, Any],
    columns: dict[str, list[Any]],
    bad: list[int],
    is_small: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(validate, "_SMALL", 20_000 if is_small else 0)
    contract = contract_with(rule(expectation, **arguments))
    assert broken(new_judge(contract), batch_of(contract, **columns)) == ({"rule": bad} if bad else {})


def test_every_kind_of_expectation_has_a_case_here() -> None:
    assert {case[0] for case in LINE_CASES} == {name for name, kind in KINDS.items() if kind.scope == "line"}
    assert {case[0] for case in TOTAL_CASES} | set(UNIQUE) == {name for name, kind in KINDS.items() if kind.scope == "delivery"}


# ---------------------------------------------------------------- how many, in which batch


@pytest.mark.parametrize("size", [900, 30_000])
def test_more_failures_of_one_rule_than_the_engine_lists_are_all_found(size: int) -> None:
    contract = contract_with(
        rule("expect_column_values_to_be_between", column="n", max_value=0),
        rule("expect_column_values_to_match_regex", name="other", column="t", regex="^a"),
    )
    batch = batch_of(contract, n=[row % 3 for row in range(size)], t=["a" if row % 2 else "b" for row in range(size)])
    found = broken(new_judge(contract), batch)
    assert found["rule"] == [row for row in range(size) if row % 3]
    assert found["other"] == list(range(0, size, 2))


MANY = contract_with(
    rule("expect_column_values_to_not_be_null", name="rule-a", column="t"),
    rule("expect_column_values_to_match_regex", name="rule-b", column="t", regex="^[ab]+$"),
    rule("expect_column_values_to_be_between", name="rule-c", column="n", min_value=-2, max_value=2),
    rule("expect_column_pair_values_a_to_be_greater_than_b", name="rule-d", column_A="e", column_B="d"),
    rule("expect_column_values_to_be_in_set", name="rule-e", column="f", value_set=[True], when={"field": "n", "in": [0, 1]}),
    rule("expect_multicolumn_sum_to_equal", name="rule-g", column_list=["n", "k"], sum_total=1),
    rule("expect_column_values_to_be_within_period", name="rule-h", column="d"),
)  # fmt: skip
MAYBE = st.none()
DAYS = MAYBE | st.dates(date(2025, 5, 25), date(2025, 7, 5))
LINES = st.lists(st.fixed_dictionaries({"t": MAYBE | st.text("abc", max_size=3), "n": MAYBE | st.integers(-4, 4), "k": MAYBE | st.integers(-1, 3), "d": DAYS, "e": DAYS, "f": MAYBE | st.booleans()}), min_size=1, max_size=12)  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(LINES, st.integers(1, 11))
def test_small_and_large_batches_and_any_way_to_cut_them_find_the_same(rows: list[dict[str, Any]], cut: int) -> None:
    def columns(part: list[dict[str, Any]]) -> dict[str, list[Any]]:
        return {name: [row[name] for row in part] for name in rows[0]}

    def plain(row: dict[str, Any]) -> set[str]:
        t, n, k, d, e, f = (row[name] for name in "tnkdef")
        return {
            *(["a"] if t is None else []),
            *(["b"] if t is not None and not (t and set(t) <= set("ab")) else []),
            *(["c"] if n is not None and abs(n) > 2 else []),
            *(["d"] if d and e and e <= d else []),
            *(["e"] if f is False and n in (0, 1) else []),
            *(["g"] if n is not None and k is not None and n + k != 1 else []),
            *(["h"] if d and d.month != 6 else []),
        }

    truth = {f"rule-{name}": lines for name in "abcdegh" if (lines := [i for i, row in enumerate(rows) if name in plain(row)])}
    whole = batch_of(MANY, **columns(rows))
    assert broken(new_judge(MANY), whole) == truth
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validate, "_SMALL", 0)
        assert broken(new_judge(MANY), whole) == truth
    judge = new_judge(MANY)
    first, second = broken(judge, whole.slice(0, cut)), broken(judge, whole.slice(cut))
    together = {name: [*first.get(name, []), *(line + cut for line in second.get(name, []))] for name in {*first, *second}}
    assert together == truth
    assert {name: tally.broken for name, tally in judge.tallies.items()} == {name: len(truth.get(name, [])) for name in judge.tallies}


def test_a_batch_without_lines_breaks_nothing() -> None:
    assert broken(new_judge(MANY), batch_of(MANY, n=[])) == {}


# ---------------------------------------------------------------- when, mostly, severity, unreadable cells


@pytest.mark.parametrize(
    ("when", "bad"),
    [
        ({"field": "n", "in": [1, 2]}, [0]),
        ({"field": "n", "notIn": [1, 2]}, [2, 3]),  # an empty cell is in no list
        ({"field": "n", "present": True}, [0, 3]),
        ({"field": "n", "present": False}, [2]),
        ({"field": "t", "in": ["01"]}, [3]),
        ([{"field": "n", "in": [1, 3]}, {"field": "t", "in": ["1"]}], [0]),
        ({"field": "f", "in": [True]}, [2]),
        ({"field": "d", "in": [DAY]}, [0]),
    ],
)
def test_a_rule_is_judged_only_where_its_conditions_hold(when: Any, bad: list[int]) -> None:
    contract = contract_with(rule("expect_column_values_to_not_be_null", column="x", when=when))
    batch = batch_of(
        contract,
        x=[None, 1, None, None],
        n=[1, 2, None, 3],
        t=["1", "1", None, "01"],
        f=[False, True, True, None],
        d=[DAY, DAY, None, None],
    )
    judge = new_judge(contract)
    assert broken(judge, batch) == {"rule": bad}
    assert judge.tallies["rule"].broken == len(bad)


@pytest.mark.parametrize(("mostly", "is_broken"), [(0.75, False), (0.76, True), (1.0, True)])
def test_a_share_is_counted_over_the_whole_delivery(mostly: float, is_broken: bool) -> None:
    contract = contract_with(rule("expect_column_values_to_not_be_null", column="x", mostly=mostly))
    judge = new_judge(contract)
    assert broken(judge, batch_of(contract, x=[None, 1])) == {"rule": [0]}
    assert broken(judge, batch_of(contract, x=[1, 2])) == {}
    assert [r.id for r in judge.judge_totals()] == (["rule"] if is_broken else [])


def test_a_share_counts_only_lines_for_which_the_rule_holds() -> None:
    contract = contract_with(rule("expect_column_values_to_not_be_null", column="x", mostly=0.5, when={"field": "n", "in": [1]}))
    judge = new_judge(contract)
    broken(judge, batch_of(contract, x=[None, 1, None, None], n=[1, 1, 2, 2]))
    assert (judge.tallies["rule"].judged, judge.judge_totals()) == (2, [])


def test_a_share_of_no_lines_is_not_broken() -> None:
    assert new_judge(contract_with(rule("expect_column_values_to_not_be_null", column="x", mostly=1.0))).judge_totals() == []


@pytest.mark.parametrize("severity", ["error", "warning", "fatal"])
def test_a_finding_carries_the_severity_and_message_of_its_rule(severity: str) -> None:
    contract = contract_with(rule("expect_column_values_to_not_be_null", severity=severity, column="x"))
    (finding,) = new_judge(contract).judge(batch_of(contract, x=[None]), {})
    assert (finding.rule.severity, finding.rule.message) == (severity, Message("Sai.", "Wrong."))


def test_a_cell_that_could_not_be_converted_is_not_judged_again() -> None:
    contract = contract_with(
        rule("expect_column_values_to_not_be_null", column="x"),
        rule("expect_column_pair_values_a_to_be_greater_than_b", name="pair", column_A="x", column_B="y", ignore_row_if="neither"),
    )
    batch = batch_of(contract, x=[None, None, 1.0], y=[1.0, 1.0, None])
    assert broken(new_judge(contract), batch, {"x": [True, False, False], "y": [False, False, True]}) == {"rule": [1], "pair": [1]}


# ---------------------------------------------------------------- the whole delivery

UNIQUE = ("expect_column_values_to_be_unique", "expect_compound_columns_to_be_unique")
TOTAL_CASES: list[tuple[str, dict[str, Any], bool]] = [
    # over x = 1, 2, empty, 4 and 5 in three batches: 5 rows, sum 12, mean 3, from 1 to 5
    ("expect_table_row_count_to_equal", {"value": 5}, False),
    ("expect_table_row_count_to_equal", {"value": 4}, True),
    ("expect_table_row_count_to_be_between", {"min_value": 5}, False),
    ("expect_table_row_count_to_be_between", {"max_value": 4}, True),
    ("expect_column_sum_to_be_between", {"column": "x", "min_value": 12, "max_value": 12}, False),
    ("expect_column_sum_to_be_between", {"column": "x", "min_value": 12, "strict_min": True}, True),
    ("expect_column_mean_to_be_between", {"column": "x", "min_value": 3, "max_value": 3}, False),
    ("expect_column_mean_to_be_between", {"column": "x", "max_value": 2.4}, True),
    ("expect_column_min_to_be_between", {"column": "x", "min_value": 1}, False),
    ("expect_column_min_to_be_between", {"column": "x", "min_value": 1.5}, True),
    ("expect_column_max_to_be_between", {"column": "x", "max_value": 5}, False),
    ("expect_column_max_to_be_between", {"column": "x", "max_value": 4.5}, True),
]


@pytest.mark.parametrize(("expectation", "arguments", "is_broken"), TOTAL_CASES)
def test_a_total_is_judged_over_all_batches(expectation: str, arguments: dict[str, Any], is_broken: bool) -> None:
    contract = contract_with(rule(expectation, severity="fatal", **arguments))
    judge = new_judge(contract)
    for part in ([1.0, 2.0], [None], [4.0, 5.0]):
        assert broken(judge, batch_of(contract, x=part)) == {}
    assert [r.id for r in judge.judge_totals()] == (["rule"] if is_broken else [])


@pytest.mark.parametrize("name", ["sum", "mean", "min", "max"])
def test_a_total_of_whole_numbers_is_a_total_too(name: str) -> None:
    contract = contract_with(rule(f"expect_column_{name}_to_be_between", column="n", max_value=-1))
    judge = new_judge(contract)
    broken(judge, batch_of(contract, n=[1, 2]))
    assert [r.id for r in judge.judge_totals()] == ["rule"]


@pytest.mark.parametrize("name", ["mean", "min", "max"])
def test_a_total_of_nothing_breaks_no_limit(name: str) -> None:
    contract = contract_with(rule(f"expect_column_{name}_to_be_between", column="x", min_value=1))
    judge = new_judge(contract)
    broken(judge, batch_of(contract, x=[None, None]))
    assert judge.judge_totals() == []


def test_a_value_that_stood_before_is_found_in_any_later_batch_and_empty_cells_never() -> None:
    contract = contract_with(rule(UNIQUE[0], column="t"))
    judge = new_judge(contract)
    assert repeated(judge, batch_of(contract, t=["a", "b", None, "a"])) == {"rule": [3]}
    assert repeated(judge, batch_of(contract, t=["c", None, "b", "a"])) == {"rule": [2, 3]}
    assert (judge.tallies["rule"].judged, judge.tallies["rule"].broken) == (6, 3)


def test_only_whole_keys_are_compared() -> None:
    contract = contract_with(rule(UNIQUE[1], column_list=["t", "n"]))
    assert repeated(new_judge(contract), batch_of(contract, t=["a", "a", "b", "a"], n=[1, 2, 1, 1])) == {"rule": [3]}


def test_a_line_that_is_refused_takes_no_key() -> None:
    contract = contract_with(rule(UNIQUE[1], column_list=["t", "n"]))
    judge = new_judge(contract)
    batch = batch_of(contract, t=["a", "a", "a"], n=[1, 1, 1])
    assert repeated(judge, batch, [1]) == {}
    assert repeated(judge, batch, [0, 2]) == {"rule": [0, 2]}


# ---------------------------------------------------------------- broken rules


def with_rule(expectation: str, field: str, **arguments: Any) -> Contract:
    """A contract with a rule that its reader would have refused."""
    made = Rule("odd", expectation, arguments, (field,), "error", Message("Sai.", "Wrong."), source=42)
    return replace(contract_with(), rules=(made,))


@pytest.mark.parametrize("is_small", [True, False], ids=["small", "large"])
def test_an_expectation_that_raises_is_a_fault_of_the_contract_and_no_bad_data(is_small: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate, "_SMALL", 20_000 if is_small else 0)
    contract = with_rule("expect_column_values_to_match_regex", "t", column="t", regex="(")
    with pytest.raises(SetupFault) as caught:
        new_judge(contract).judge(batch_of(contract, t=["a"]), {})
    for said in (caught.value.message.vi, caught.value.message.en):
        assert said.startswith(f"{FILE}:42: ") and "odd" in said


@pytest.mark.parametrize(
    "contract",
    [
        with_rule("expect_column_values_to_be_between", "n", column="n", min_value="many"),
        with_rule("expect_column_values_to_be_between", "d", column="d", min_value="01/02/2020"),
        with_rule("expect_column_values_to_be_between", "x", column="x"),
        with_rule("expect_column_values_to_be_between", "x", column="x", min_value=1, strict_min="perhaps"),
        with_rule("expect_column_value_lengths_to_equal", "t", column="t", value="two"),
    ],
    ids=["number", "day", "no-limit", "flag", "length"],
)
def test_a_rule_that_the_engine_refuses_is_found_before_any_file_is(contract: Contract) -> None:
    with pytest.raises(SetupFault) as caught:
        check_rules(contract)
    for said in (caught.value.message.vi, caught.value.message.en):
        assert said.startswith(f"{FILE}:42: ") and "odd" in said


def test_rows_come_in_ascending_order_and_as_numbers() -> None:
    contract = contract_with(rule("expect_column_values_to_be_between", column="n", max_value=0))
    (finding,) = new_judge(contract).judge(batch_of(contract, n=[3, 0, 2, 1]), {})
    assert isinstance(finding.rows, np.ndarray) and finding.rows.tolist() == [0, 2, 3]
