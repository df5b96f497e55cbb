"""Odd cases of judging that were once wrong."""

from __future__ import annotations

from datetime import datetime

import pytest

from expectations.faults import SetupFault
from tests.expectations.judging import batch_of, broken, contract_with, new_judge, repeated, rule
from tests.expectations.test_validate import with_rule


def test_a_regex_with_groups_is_judged_without_a_word() -> None:
    contract = contract_with(rule("expect_column_values_to_match_regex", column="t", regex="^(a|b)$"))
    assert broken(new_judge(contract), batch_of(contract, t=["a", "c"])) == {"rule": [1]}


@pytest.mark.parametrize("when", [{"field": "n", "notIn": [1]}, {"field": "n", "present": False}])
def test_a_rule_is_not_judged_where_its_condition_reads_a_cell_that_could_not_be_converted(when) -> None:
    contract = contract_with(rule("expect_column_values_to_not_be_null", column="x", when=when))
    batch = batch_of(contract, x=[None, None], n=[None, None])
    assert broken(new_judge(contract), batch, {"n": [True, False]}) == {"rule": [1]}


def test_the_period_of_a_moment_with_a_zone_is_that_of_its_own_clock() -> None:
    contract = contract_with(rule("expect_column_values_to_be_within_period", column="z"))
    batch = batch_of(contract, z=[datetime(2025, 5, 31, 18), datetime(2025, 5, 31, 16), datetime(2025, 6, 30, 18), None])
    assert broken(new_judge(contract), batch) == {"rule": [1, 2]}


def test_empty_keys_are_not_duplicates_of_each_other() -> None:
    contract = contract_with(rule("expect_compound_columns_to_be_unique", column_list=["t", "n"]))
    assert repeated(new_judge(contract), batch_of(contract, t=[None, None, "a", "a"], n=[None, None, None, None])) == {"rule": [3]}


def test_an_expectation_that_the_engine_refuses_is_a_fault_of_the_contract() -> None:
    with pytest.raises(SetupFault):
        new_judge(with_rule("expect_column_values_to_be_between", "x", column="x", min_value=1, strict_min="perhaps"))


def test_a_sum_beyond_whole_numbers_of_the_machine_does_not_overflow() -> None:
    contract = contract_with(rule("expect_column_sum_to_be_between", column="n", max_value=10**18))
    judge = new_judge(contract)
    broken(judge, batch_of(contract, n=[9 * 10**17] * 20))
    assert len(judge.judge_totals()) == 1
