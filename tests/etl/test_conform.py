"""Claims about cells that become values: nothing is guessed, nothing is lost, no text raises, and every repair is counted."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from etl.conform import Conformed, Conformer, parse_numbers, tidy
from etl.dates import parse_moments
from etl.read import Batch, Cells
from expectations.contract import Contract, Numbers
from expectations.odcs import parse_contract
from expectations.period import Period
from expectations.text import normalise
from tests.conftest import ROOT
from warehouse.provinces import Registry, load_registry

JUNE, JULY = Period(date(2025, 6, 1), "month"), Period(date(2025, 7, 1), "month")
DOTS, COMMAS, BLANKS = Numbers(",", "."), Numbers(".", ","), Numbers(",", " ")


@cache
def registry() -> Registry:
    return load_registry(ROOT / "warehouse" / "reference")


def field(name: str, kind: str = "string", custom: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    listed = [{"property": key, "value": value} for key, value in (custom or {}).items()]
    return {"name": name, "logicalType": kind, **more, **({"customProperties": listed} if listed else {})}


PROVINCE = field("province")


def contract_of(*fields: dict[str, Any], sender: str = "each-province", **custom: Any) -> Contract:
    chosen = {"sender": sender, "periodicity": "month", "fileName": "sheet_{period:%Y-%m}", **custom}
    document = {
        "apiVersion": "v3.2.0",
        "kind": "DataContract",
        "id": "sheet",
        "version": "1.0.0",
        "status": "active",
        "schema": [{"name": "sheet", "properties": list(fields)}],
        "customProperties": [{"property": key, "value": value} for key, value in chosen.items()],
    }
    return parse_contract(yaml.safe_dump(document, allow_unicode=True, sort_keys=False), Path("sheet.odcs.yaml"))


def texts(*values: str | None) -> Cells:
    return Cells(pa.array(values, pa.string()))


def typed(*values: Any) -> Cells:
    """Cells as a workbook holds them: numbers, moments, truth values, and texts."""

    def only(kind: type, form: pa.DataType, change: Any = lambda value: value) -> pa.Array:
        return pa.array([change(value) if type(value) is kind else None for value in values], form)

    return Cells(only(str, pa.string()), only(float, pa.float64()), only(datetime, pa.timestamp("us")), only(bool, pa.bool_()))


def conform(
    contract: Contract, period: Period = JUNE, own: str | None = "binh-dinh", unassigned: Sequence[bool] | None = None, **columns: Cells
) -> tuple[Conformed, Conformer]:
    conformer = Conformer(contract, registry(), period, own if contract.sender == "each-province" else None)
    count = len(next(iter(columns.values())).text)
    mask = None if unassigned is None else np.array(unassigned)
    conformed = conformer.conform(Batch(columns, np.arange(2, count + 2), is_unassigned=mask))
    assert conformed.rows.num_rows == len(conformed.provinces) == count, "rows in are rows out"
    return conformed, conformer


def values(conformed: Conformed, name: str) -> list[Any]:
    found: list[Any] = conformed.rows.column(name).to_pylist()
    return found


def refused(conformed: Conformed) -> list[tuple[str, str, list[int], list[Any]]]:
    for bad in conformed.bad:
        assert bad.message.vi and bad.message.en and bad.message.vi != bad.message.en
    return [(bad.field, bad.rule, bad.rows.tolist(), bad.values.to_pylist()) for bad in conformed.bad]


def read(
    kind: str, *written: str | None, numbers: Numbers | None = None, custom: Mapping[str, Any] | None = None, **options: Any
) -> list[Any]:
    """Texts as values of a type; what is refused is the text `refused`."""
    more = {"logicalTypeOptions": options} if options else {}
    layout = (
        {"layout": {"numbers": {"decimal": numbers.decimal, "thousands": numbers.thousands, "footnote_marks": numbers.footnote_marks}}}
        if numbers
        else {}
    )
    conformed, _ = conform(contract_of(field("c", kind, custom, **more), **layout), c=texts(*written))
    found = values(conformed, "c")
    for bad in conformed.bad:
        for row, shown in zip(bad.rows, bad.values.to_pylist(), strict=True):
            assert (bad.rule, found[row], shown) == ("c.type", None, written[row]), "a refused cell is empty, and shown as it was written"
            found[row] = "refused"
    return found


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("numbers", "written", "value"),
    [
        (DOTS, "1.250.000", 1250000.0), (DOTS, "1250000", 1250000.0), (DOTS, "1.250.000,75", 1250000.75), (DOTS, "0,5", 0.5), (DOTS, "-1.000", -1000.0),
        (DOTS, "+7", 7.0), (COMMAS, "1,250,000.75", 1250000.75), (COMMAS, "12.5", 12.5), (BLANKS, "1 250 000,75", 1250000.75), (BLANKS, "1\u00a0250", 1250.0),
        (Numbers(), "12.5", 12.5), (Numbers(), "1e3", 1000.0), (Numbers(), "-0.25E-2", -0.0025), (Numbers(), "  8 ", 8.0),
    ],
)  # fmt: skip
def test_a_number_in_the_declared_style_is_that_number(numbers: Numbers, written: str, value: float) -> None:
    assert read("number", written, numbers=numbers) == [value]


@pytest.mark.parametrize(
    ("numbers", "written"),
    [
        (DOTS, "1.5"), (DOTS, "12.50"), (DOTS, "1.25.000"), (DOTS, "1,250,000"), (DOTS, "1.2500"), (DOTS, ".500"), (COMMAS, "1.250.000"), (COMMAS, "1,5"),
        (COMMAS, "12,50"), (Numbers(), "1,5"), (Numbers(), "1 000"), (Numbers(), "5%"), (Numbers(), "5 kg"), (Numbers(), "--5"), (Numbers(), "5-"), (Numbers(), "1,000"),
        (Numbers(), "NaN"), (Numbers(), "inf"), (Numbers(), "0x10"), (Numbers(), "1_000"), (Numbers(), "١٢"), (Numbers(), "５"), (Numbers(), "5."), (Numbers(), "e5"),
    ],
)  # fmt: skip
def test_a_number_in_another_style_is_refused_and_not_guessed(numbers: Numbers, written: str) -> None:
    assert read("number", written, numbers=numbers) == ["refused"]


@given(st.integers(-(10**17) + 1, 10**18 - 1), st.sampled_from([DOTS, COMMAS, BLANKS, Numbers()]))
def test_a_whole_number_that_is_written_is_read_back(value: int, numbers: Numbers) -> None:
    written = f"{value:,}".replace(",", numbers.thousands)
    found, unreadable = parse_numbers(pa.array([written, str(value)]), numbers, is_integer=True)
    assert (found.to_pylist(), unreadable.tolist()) == ([value, value], [False, False])


@given(st.floats(-1e12, 1e12).map(lambda value: round(value, 3)), st.sampled_from([DOTS, COMMAS, BLANKS, Numbers()]))
def test_a_number_that_is_written_is_read_back(value: float, numbers: Numbers) -> None:
    written = f"{value:,.3f}".replace(",", "#").replace(".", numbers.decimal).replace("#", numbers.thousands)
    found, unreadable = parse_numbers(pa.array([written]), numbers, is_integer=False)
    assert (found.to_pylist(), unreadable.tolist()) == ([value], [False])


@given(st.lists(st.sampled_from(["1.000", "5", "x", "1,5", None, "2,0"]), max_size=12))
def test_a_text_means_the_same_however_often_it_stands_in_a_column(written: list[str | None]) -> None:
    alone = {text: parse_numbers(pa.array([text], pa.string()), DOTS, is_integer=False) for text in set(written)}
    found, unreadable = parse_numbers(pa.array(written, pa.string()), DOTS, is_integer=False)
    assert found.to_pylist() == [alone[text][0][0].as_py() for text in written]
    assert unreadable.tolist() == [bool(alone[text][1][0]) for text in written]


@pytest.mark.parametrize("written", ["5 (1)", "5(12)", "5*", "5 **"])
def test_a_footnote_mark_is_no_part_of_a_number_where_the_layout_says_so(written: str) -> None:
    assert read("number", written, numbers=Numbers(footnote_marks=True)) == [5.0]
    assert read("number", written) == ["refused"]


def test_marks_for_missing_are_empty_cells_and_no_faults() -> None:
    assert read("number", "", "-", "..", "...", "…", None, "\u00a0", "0") == [None] * 7 + [0.0]
    assert read("integer", "-", "..") == [None, None]
    assert read("date", "-", "…") == [None, None]


def test_other_marks_for_missing_are_what_the_layout_says_and_only_they() -> None:
    contract = contract_of(field("c", "number"), layout={"numbers": {"missing": ["", "k.a.", "x"]}})
    conformed, _ = conform(contract, c=texts("k.a.", "x", "", "-", "5"))
    assert (values(conformed, "c"), refused(conformed)) == ([None, None, None, None, 5.0], [("c", "c.type", [3], ["-"])])


def test_a_mark_for_missing_is_a_text_among_texts() -> None:
    assert read("string", "-", "..") == ["-", ".."]


def test_a_whole_number_may_end_in_zeros_behind_its_mark_and_nothing_else() -> None:
    assert read("integer", "5.00", "5.0", "5.01", "5.5") == [5, 5, "refused", "refused"]
    assert read("integer", "5,00", "1.000", "1.000,0", "5,5", numbers=DOTS) == [5, 1000, 1000, "refused"]


def test_a_whole_number_too_long_for_the_column_is_refused_and_not_cut() -> None:
    assert read("integer", "999999999999999999", "9223372036854775808", "12345678901234567890123") == [
        999999999999999999,
        "refused",
        "refused",
    ]


def test_a_percentage_sign_belongs_to_a_measure_in_percent_only() -> None:
    percent = {"measure": {"additive": False, "unit": "%"}}
    assert read("number", "12.5%", "12.5 %", "12.5", "%", custom=percent) == [12.5, 12.5, 12.5, "refused"]
    assert read("number", "12.5%", custom={"measure": {"additive": False, "unit": "share"}}) == ["refused"]


# ---------------------------------------------------------------- dates and times


@pytest.mark.parametrize(
    "written",
    [
        "31/02/1990",
        "29/02/2023",
        "00/01/2024",
        "01/13/2024",
        "1/2/2024",
        "01-02-2024",
        "01/02/24",
        "01/02/2024 10:00",
        "20240102",
        "01/02/0000",
    ],
)
def test_a_day_that_does_not_exist_or_is_written_otherwise_is_refused(written: str) -> None:
    assert read("date", written, format="dd/MM/yyyy") == ["refused"]


def test_a_day_may_be_written_short_where_the_format_says_so() -> None:
    assert read("date", "1/2/2024", "01/02/2024", "31/12/2024", "32/1/2024", format="d/M/yyyy") == [
        date(2024, 2, 1),
        date(2024, 2, 1),
        date(2024, 12, 31),
        "refused",
    ]


def test_blanks_around_a_day_are_no_part_of_it() -> None:
    assert read("date", "  29/02/2024", "\u00a029/02/2024\t", format="dd/MM/yyyy") == [date(2024, 2, 29)] * 2


def test_the_first_format_that_reads_a_text_wins() -> None:
    assert read("date", "01/02/2024", "2024-02-01", "02-01-2024", format="dd/MM/yyyy|yyyy-MM-dd|MM-dd-yyyy") == [date(2024, 2, 1)] * 3


@given(st.dates(), st.sampled_from(["dd/MM/yyyy", "yyyy-MM-dd", "d/M/yyyy", "yyyyMMdd", "'ngày' dd.MM.yyyy"]))
def test_a_day_that_is_written_is_read_back(day: date, form: str) -> None:
    parts = {"yyyy": f"{day.year:04}", "MM": f"{day.month:02}", "dd": f"{day.day:02}", "d": str(day.day), "M": str(day.month)}
    written = form.replace("'ngày'", "#")
    for part in ("yyyy", "MM", "dd", "d", "M"):
        written = written.replace(part, parts[part])
    found, unreadable = parse_moments(pa.array([written.replace("#", "ngày")]), (form,))
    assert (found.cast(pa.date32(), safe=False).to_pylist(), unreadable.tolist()) == ([day], [False])


@given(
    st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)).map(lambda moment: moment.replace(microsecond=0)),
    st.sampled_from(["dd/MM/yyyy HH:mm:ss", "H:mm:ss, d/M/yyyy"]),
)
def test_a_moment_that_is_written_is_read_back(moment: datetime, form: str) -> None:
    clock = f"{moment:%M:%S}"
    written = (
        f"{moment.day:02}/{moment.month:02}/{moment.year:04} {moment:%H}:{clock}"
        if form[0] == "d"
        else f"{moment.hour}:{clock}, {moment.day}/{moment.month}/{moment.year:04}"
    )
    found, unreadable = parse_moments(pa.array([written]), (form,))
    assert (found.to_pylist(), unreadable.tolist()) == ([moment], [False])


def test_an_hour_that_does_not_exist_is_refused() -> None:
    assert read("timestamp", "2024-01-01 24:00:00", "2024-01-01 23:60:00", "2024-01-01 23:59:59") == [
        "refused",
        "refused",
        datetime(2024, 1, 1, 23, 59, 59),
    ]


def test_a_moment_without_zone_is_stored_as_it_is_written() -> None:
    assert read("timestamp", "2024-01-01T10:00:00", "2024-01-01 10:00:00") == [datetime(2024, 1, 1, 10)] * 2


def test_a_moment_of_a_zone_is_stored_in_universal_time() -> None:
    zone = {"timezone": True, "defaultTimezone": "Asia/Ho_Chi_Minh", "format": "yyyy-MM-dd HH:mm:ss"}
    (found,) = read("timestamp", "2024-01-01 06:00:00", **zone)
    assert found.isoformat() == "2023-12-31T23:00:00+00:00"


def test_an_offset_in_the_text_is_the_zone_of_the_text() -> None:
    zone = {"timezone": True, "format": "yyyy-MM-dd'T'HH:mm:ssXXX"}
    found = read(
        "timestamp", "2024-01-01T06:00:00+07:00", "2023-12-31T23:00:00Z", "2023-12-31T22:30:00-00:30", "2024-01-01T06:00:00", **zone
    )
    assert [one if one == "refused" else one.isoformat() for one in found] == ["2023-12-31T23:00:00+00:00"] * 3 + ["refused"]


# ---------------------------------------------------------------- truth values


def test_yes_and_no_are_words_in_both_languages_or_signs() -> None:
    assert read("boolean", "Có", "KHÔNG", "true", "0", "x", "no", "maybe", "", None) == [
        True,
        False,
        True,
        False,
        True,
        False,
        "refused",
        None,
        None,
    ]


def test_other_words_for_yes_and_no_are_what_the_contract_says_and_only_they() -> None:
    words = {"trueValues": ["Đạt"], "falseValues": ["Không đạt"]}
    assert read("boolean", "đạt", "KHÔNG ĐẠT", "dat", "có", "1", custom=words) == [True, False, True, "refused", "refused"]


# ---------------------------------------------------------------- cells of workbooks


def test_a_number_in_a_code_of_fixed_length_gets_its_zeros_back_and_is_counted() -> None:
    code = field("c", logicalTypeOptions={"minLength": 5, "maxLength": 5})
    conformed, conformer = conform(contract_of(code), c=typed(1.0, 27280.0, "00004", None))
    assert values(conformed, "c") == ["00001", "27280", "00004", None]
    assert conformer.repairs["zeros"] == 1


def test_a_number_in_a_text_is_written_as_people_write_it() -> None:
    conformed, conformer = conform(
        contract_of(field("c")), c=typed(5.0, 2.5, 1e15, True, datetime(2024, 2, 1), datetime(2024, 2, 1, 10, 30))
    )
    assert values(conformed, "c") == ["5", "2.5", "1000000000000000", "true", "2024-02-01", "2024-02-01 10:30:00"]
    assert conformer.repairs["zeros"] == 0


def test_a_number_that_is_not_whole_is_refused_where_whole_ones_are_asked_for() -> None:
    conformed, _ = conform(contract_of(field("c", "integer")), c=typed(5.0, 2.5, float(2**60), "7", "2.5"))
    assert values(conformed, "c") == [5, None, None, 7, None]
    assert [(name, rule, rows) for name, rule, rows, _ in refused(conformed)] == [("c", "c.type", [1, 2, 4])]


def test_a_cell_of_another_kind_than_the_field_is_refused() -> None:
    cells = typed(5.0, datetime(2024, 1, 1), True, "2024-01-01")
    for kind, good in (("number", 0), ("date", 1), ("boolean", 2)):
        conformed, _ = conform(contract_of(field("c", kind)), c=cells)
        found = values(conformed, "c")
        assert [row for row in range(3) if found[row] is not None] == [good]
        assert {row for bad in conformed.bad for row in bad.rows.tolist()} >= {0, 1, 2} - {good}


def test_a_day_of_a_workbook_is_that_day_whatever_the_format_says() -> None:
    conformed, _ = conform(
        contract_of(field("c", "date", logicalTypeOptions={"format": "dd/MM/yyyy"})), c=typed(datetime(2024, 2, 1), "01/02/2024")
    )
    assert values(conformed, "c") == [date(2024, 2, 1)] * 2


# ---------------------------------------------------------------- provinces and periods

CENTRAL = contract_of(PROVINCE, field("n", "integer"), sender="bureau")


def test_a_province_is_known_by_its_spelling_on_the_day_of_the_period() -> None:
    conformed, _ = conform(
        CENTRAL, province=texts("Bình Định", "TỈNH BINH DINH", " Gia Lai ", "TP. Hồ Chí Minh"), n=texts("1", "2", "3", "4")
    )
    assert (conformed.provinces.to_pylist(), conformed.bad) == (["binh-dinh", "binh-dinh", "gia-lai", "ho-chi-minh"], [])
    conformed, _ = conform(CENTRAL, JULY, province=texts("Gia Lai"), n=texts("1"))
    assert conformed.provinces.to_pylist() == ["gia-lai-2025"]


def test_a_province_that_is_none_of_the_day_is_refused_with_what_became_of_it_or_what_is_nearest() -> None:
    conformed, _ = conform(CENTRAL, JULY, province=texts("Bình Định", "Gia Laii", None, "Bình Định"), n=texts("1", "2", "3", "4"))
    found = sorted((rows, shown) for name, rule, rows, shown in refused(conformed) if (name, rule) == ("province", "province"))
    assert found == [([0, 3], ["Bình Định", "Bình Định"]), ([1], ["Gia Laii"]), ([2], [None])]
    said = {bad.values[0].as_py(): bad.message for bad in conformed.bad}
    assert "gia-lai-2025" in said["Bình Định"].en and "gia-lai-2025" in said["Bình Định"].vi
    assert "Gia Lai" in said["Gia Laii"].en and "Gia Lai" in said["Gia Laii"].vi
    assert "fill in" in said[None].en
    assert conformed.provinces.to_pylist() == [None] * 4


def test_a_line_of_no_province_is_unassigned_where_the_layout_says_so_and_else_refused() -> None:
    conformed, _ = conform(CENTRAL, unassigned=[True, False], province=texts("Không xác định", "Không xác định"), n=texts("1", "2"))
    assert conformed.provinces.to_pylist() == ["unassigned", None]
    assert [rows for _, _, rows, _ in refused(conformed)] == [[1]]


def test_a_dataset_of_no_territory_is_unassigned_throughout() -> None:
    conformed, _ = conform(contract_of(field("n", "integer"), sender="bureau", territory="none"), n=texts("1", "2"))
    assert conformed.provinces.to_pylist() == ["unassigned", "unassigned"]


def test_a_province_sends_its_own_lines_only() -> None:
    contract = contract_of(PROVINCE, field("n", "integer"))
    conformed, _ = conform(contract, own="binh-dinh", province=texts("Bình Định", "Gia Lai"), n=texts("1", "2"))
    assert conformed.provinces.to_pylist() == ["binh-dinh", None]
    (bad,) = conformed.bad
    assert (bad.rows.tolist(), "its own data only" in bad.message.en) == ([1], True)


def test_a_province_need_not_say_on_each_line_who_it_is() -> None:
    conformed, _ = conform(contract_of(PROVINCE, field("n", "integer")), own="binh-dinh", n=texts("1", "2"))
    assert conformed.provinces.to_pylist() == ["binh-dinh", "binh-dinh"]
    conformed, _ = conform(contract_of(field("n", "integer")), own="binh-dinh", n=texts("1"))
    assert conformed.provinces.to_pylist() == ["binh-dinh"]


def test_a_code_means_what_its_system_says_on_the_day() -> None:
    contract = contract_of(PROVINCE, sender="bureau", codeSystem="gso")
    assert conform(contract, JUNE, province=texts("52"))[0].provinces.to_pylist() == ["binh-dinh"]
    assert conform(contract, JULY, province=texts("52"))[0].provinces.to_pylist() == ["gia-lai-2025"]
    exam = contract_of(PROVINCE, sender="bureau", codeSystem="exam")
    assert conform(exam, JUNE, province=texts("37"))[0].provinces.to_pylist() == ["binh-dinh"]


def test_a_code_that_lost_its_zero_is_repaired_and_counted() -> None:
    contract = contract_of(PROVINCE, sender="bureau", codeSystem="gso")
    conformed, conformer = conform(contract, province=typed(1.0, "01", "1"))
    assert conformed.provinces.to_pylist() == ["ha-noi"] * 3
    assert conformer.repairs["zeros"] >= 1


def test_a_code_of_nobody_is_refused_and_a_name_is_no_code() -> None:
    contract = contract_of(PROVINCE, sender="bureau", codeSystem="gso")
    conformed, _ = conform(contract, province=texts("99", "Bình Định", "052"))
    assert conformed.provinces.to_pylist() == [None] * 3
    assert sorted(row for bad in conformed.bad for row in bad.rows.tolist()) == [0, 1, 2]


def test_the_last_day_of_a_period_counts_where_the_contract_says_so() -> None:
    year = Period(date(2025, 1, 1), "year")
    for as_of, found in (("start", "binh-dinh"), ("end", None)):
        contract = contract_of(PROVINCE, sender="bureau", periodicity="year", fileName="x_{period:%Y}", asOf=as_of)
        assert conform(contract, year, province=texts("Bình Định"))[0].provinces.to_pylist() == [found]


def test_a_line_that_tells_another_period_than_its_delivery_or_none_is_refused() -> None:
    month = field("month", "date", {"holds": "period"}, logicalTypeOptions={"format": "MM/yyyy|dd/MM/yyyy"})
    conformed, _ = conform(
        contract_of(month, field("n", "integer")), month=texts("06/2025", "15/06/2025", "07/2025", "", "2025-06"), n=texts(*"12345")
    )
    assert refused(conformed) == [("month", "period", [2, 3], ["07/2025", ""])]
    assert [bad.message.en for bad in conformed.bad] == ["month: this line is not of the delivery's period 2025-06."]


# ---------------------------------------------------------------- texts


def test_texts_come_out_in_one_form_and_changed_cells_are_counted() -> None:
    written = ["Đắk Lắk", unicodedata.normalize("NFD", "Đắk Lắk"), "Ðắk Lắk", "Đắk\u00a0Lắk", " Đắk Lắk ", "\ufeffĐắk Lắk", None]
    conformed, conformer = conform(contract_of(field("c")), c=texts(*written))
    assert values(conformed, "c") == ["Đắk Lắk"] * 6 + [None]
    assert conformer.repairs["text"] == 5


def test_an_empty_text_is_no_text() -> None:
    conformed, _ = conform(contract_of(field("c")), c=texts("", "  ", "\u00a0", "a"))
    assert values(conformed, "c") == [None, None, None, "a"]


@given(st.lists(st.none() | st.text("aĐê \u0301\u00a0\t\n", max_size=4) | st.text(max_size=4), max_size=6))
def test_a_tidy_text_is_tidied_no_further(written: list[str | None]) -> None:
    once, _ = tidy(pa.array(written, pa.string()))
    again, changed = tidy(once)
    assert (again.to_pylist(), changed) == (once.to_pylist(), 0)


@given(st.lists(st.none() | st.text("aĐÐê \u0301\u00a0\u200b", max_size=4), max_size=6), st.integers(0, 3))
def test_a_part_of_a_column_is_tidied_like_the_same_texts_alone(written: list[str | None], start: int) -> None:
    whole = pa.array(written, pa.string())
    assert tidy(whole.slice(start))[0].to_pylist() == [None if text is None else normalise(text) or None for text in written[start:]]


# ---------------------------------------------------------------- whatever stands in a file

ANY = contract_of(
    PROVINCE,
    field("month", "date", {"holds": "period"}, logicalTypeOptions={"format": "dd/MM/yyyy|MM/yyyy"}),
    field("s"),
    field("i", "integer"),
    field("x", "number", {"measure": {"additive": False, "unit": "%"}}),
    field("d", "date", logicalTypeOptions={"format": "dd/MM/yyyy|d/M/yy"}),
    field("t", "timestamp", logicalTypeOptions={"format": "yyyy-MM-dd HH:mm:ss|H:mm d/M/yyyy"}),
    field("b", "boolean"),
    layout={"numbers": {"decimal": ",", "thousands": ".", "footnote_marks": True}},
)
ODD_TEXTS = st.one_of(
    st.text(max_size=8),
    st.text("0123456789.,-+ /:%()*eE\u00a0", max_size=12),
    st.sampled_from(["31/02/2024", "29/02/1900", "99/99/9999", "1e308", "1e-400", "-", "…", "0000-00-00 00:00:00", "Bình Định", "\x00", "٣", "9" * 19, "'01", "=1+1", "#N/A", "24:00 1/1/2024"]),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(st.none() | ODD_TEXTS, min_size=8, max_size=8), min_size=1, max_size=6))
@example([["Bình Định", "06/2025", "a", "1.000", "5,5%", "01/02/2020", "2025-06-01 10:00:00", "có"]])
def test_no_text_raises_and_no_row_is_lost(rows: list[list[str | None]]) -> None:
    names = ["province", "month", *(f.name for f in ANY.stored_fields)]
    columns = {name: texts(*(row[place] for row in rows)) for place, name in enumerate(names)}
    conformed, _ = conform(ANY, **columns)
    conformed.rows.validate(full=True)
    refusals = {(bad.field, int(row)) for bad in conformed.bad for row in bad.rows}
    missing = ("-", "..", "...", "…")
    for place, name in enumerate(names[2:], 2):
        for row, value in enumerate(values(conformed, name)):
            written = normalise(rows[row][place] or "")
            is_told = written and (name == "s" or written not in missing)
            assert value is not None or (name, row) in refusals or not is_told or _is_only_a_mark(written), (name, written)
            assert value is None or (name, row) not in refusals
    for row, province in enumerate(conformed.provinces.to_pylist()):
        assert (province == "binh-dinh") != (("province", row) in refusals)


def _is_only_a_mark(text: str) -> bool:
    """A footnote mark alone: a cell that says nothing but where to look."""
    return not text.strip("()*0123456789 ")


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.none()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.booleans()
        | st.text(max_size=3)
        | st.datetimes(datetime(1900, 1, 1), datetime(9999, 1, 1)),
        min_size=1,
        max_size=5,
    )
)
def test_no_cell_of_a_workbook_raises_and_every_one_is_a_value_or_refused(cells: list[Any]) -> None:
    for name, kind in (("i", "integer"), ("x", "number"), ("d", "date"), ("t", "timestamp"), ("b", "boolean")):
        conformed, _ = conform(contract_of(field(name, kind)), **{name: typed(*cells)})
        rows = {int(row) for bad in conformed.bad for row in bad.rows}
        for row, value in enumerate(values(conformed, name)):
            told = cells[row] is not None and not (isinstance(cells[row], str) and normalise(cells[row]) in ("", "-", "..", "...", "…"))
            assert (value is not None) == (told and row not in rows)
