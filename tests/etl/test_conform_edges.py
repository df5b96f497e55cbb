"""Odd cells that were once read wrongly."""

from __future__ import annotations

import math
from datetime import datetime

import pyarrow as pa
import pytest

from etl.conform import tidy
from expectations.contract import Numbers
from expectations.text import normalise
from tests.etl.test_conform import conform, contract_of, field, read, refused, texts, typed, values


def test_infinity_is_no_number() -> None:
    conformed, _ = conform(contract_of(field("c", "number")), c=typed(math.inf, -math.inf, 1.0))
    assert (values(conformed, "c"), [rows for _, _, rows, _ in refused(conformed)]) == ([None, None, 1.0], [[0, 1]])


def test_a_text_number_too_large_for_a_double_is_refused() -> None:
    assert read("number", "1E400", "-1e999") == ["refused", "refused"]


def test_a_number_in_brackets_is_not_taken_for_a_footnote_mark() -> None:
    assert read("number", "(5)", "(1.000)", "5 (1)", numbers=Numbers(footnote_marks=True)) == ["refused", "refused", 5.0]


def test_a_mark_for_missing_may_bear_a_footnote_mark() -> None:
    assert read("number", ".. (1)", "-*", numbers=Numbers(footnote_marks=True)) == [None, None]


def test_a_negative_number_may_be_as_long_as_a_positive_one() -> None:
    assert read("integer", "999999999999999999", "-999999999999999999", "+999999999999999999") == [10**18 - 1, 1 - 10**18, 10**18 - 1]


ZONE = {"timezone": True, "defaultTimezone": "Europe/Rome", "format": "yyyy-MM-dd HH:mm:ss"}


def test_an_hour_that_the_clock_left_out_or_had_twice_does_not_raise() -> None:
    found = read("timestamp", "2020-03-29 02:30:00", "2020-10-25 02:30:00", "2020-06-01 00:00:00", **ZONE)
    assert found[2].isoformat() == "2020-05-31T22:00:00+00:00"


def test_an_offset_at_the_end_of_time_does_not_raise() -> None:
    zone = {"timezone": True, "format": "yyyy-MM-dd'T'HH:mm:ssXXX"}
    assert read("timestamp", "0001-01-01T00:00:00+07:00", "9999-12-31T23:59:59-07:00", **zone) == ["refused", "refused"]


def test_an_offset_of_a_hundred_hours_is_none() -> None:
    zone = {"timezone": True, "format": "yyyy-MM-dd'T'HH:mm:ssXXX"}
    assert read("timestamp", "2024-01-01T00:00:00+99:99", **zone) == ["refused"]


def test_a_text_without_offset_is_of_the_fields_own_zone_though_another_format_has_one() -> None:
    zone = {"timezone": True, "defaultTimezone": "Asia/Ho_Chi_Minh", "format": "yyyy-MM-dd HH:mm:ssXXX|yyyy-MM-dd HH:mm:ss"}
    found = read("timestamp", "2024-01-01 06:00:00+07:00", "2024-01-01 06:00:00", **zone)
    assert [one.isoformat() for one in found] == ["2023-12-31T23:00:00+00:00"] * 2


def test_typed_moments_of_a_workbook_are_of_the_fields_own_zone() -> None:
    contract = contract_of(
        field(
            "c",
            "timestamp",
            logicalTypeOptions={"timezone": True, "defaultTimezone": "Asia/Ho_Chi_Minh", "format": "yyyy-MM-dd HH:mm:ssXXX"},
        )
    )
    conformed, _ = conform(contract, c=typed(datetime(2024, 1, 1, 6)))
    assert values(conformed, "c")[0].isoformat() == "2023-12-31T23:00:00+00:00"


@pytest.mark.parametrize("odd", ["\u3000", "\u2003", "\u0085", "\u1680"])
def test_blanks_of_other_scripts_at_the_ends_are_taken_off(odd) -> None:
    assert tidy(pa.array([f"a{odd}", f"{odd}b"]))[0].to_pylist() == ["a", "b"]


@pytest.mark.parametrize("odd", ["\u0256", "\u00ad", "\u2060"])
def test_every_sign_that_normalising_repairs_is_repaired(odd) -> None:
    assert tidy(pa.array([f"a{odd}b"]))[0].to_pylist() == [normalise(f"a{odd}b")]


def test_only_whole_numbers_get_zeros_back() -> None:
    code = field("c", logicalTypeOptions={"minLength": 4, "maxLength": 4})
    conformed, conformer = conform(contract_of(code), c=typed(1.5, -5.0))
    assert (values(conformed, "c"), conformer.repairs["zeros"]) == (["1.5", "-5"], 0)


def test_repaired_province_codes_are_counted_cell_by_cell() -> None:
    contract = contract_of(field("province"), sender="bureau", codeSystem="gso")
    _, conformer = conform(contract, province=texts("1", "1", "01"))
    assert conformer.repairs["zeros"] == 2


def test_full_width_digits_are_no_digits_of_a_date() -> None:
    assert read("date", "１/２/2024", format="d/M/yyyy") == ["refused"]


def test_a_text_with_a_zero_byte_is_refused_since_no_database_takes_it() -> None:
    conformed, _ = conform(contract_of(field("c")), c=texts("a\x00b"))
    assert refused(conformed) or values(conformed, "c") == ["ab"]


def test_number_typed_inf_in_text_field_does_not_raise() -> None:
    conformed, _ = conform(contract_of(field("c")), c=typed(math.inf))
    assert values(conformed, "c") == ["inf"]
