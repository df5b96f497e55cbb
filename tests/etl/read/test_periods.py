"""Which periods a file holds, and that every line comes out once over all of them."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etl.read import Cells
from etl.read.periods import period_of, periods_of
from etl.read.tables import find_parts, read_table
from expectations.faults import SenderFault
from expectations.period import Periodicity, parse_period
from tests.etl.read.reading import PEOPLE, PROVINCE, broken, cells, contract_of, lines, part_of, period, read


def day(*formats: str) -> dict[str, Any]:
    options = {"logicalTypeOptions": {"format": " | ".join(formats)}} if formats else {}
    return period("day", "Ngày", logicalType="date", **options)


@pytest.mark.parametrize(
    ("cell", "periodicity", "told"),
    [
        ("2017", "year", "2017"),
        (" 2017 ", "year", "2017"),
        (2017.0, "year", "2017"),
        ("2017.0", "year", "2017"),
        (2017.5, "year", None),
        ("2020-2021", "year", None),
        ("năm 2017", "year", None),
        ("", "year", None),
        (None, "year", None),
        (datetime(2017, 5, 6), "month", "2017-05"),
        ("2017-Q2", "quarter", "2017-Q2"),
        ("2017-05", "month", "2017-05"),
        ("06/05/2017", "day", "2017-05-06"),
        ("31/02/2017", "day", None),
        ("2017-05-06", "day", "2017-05-06"),
    ],
)
def test_a_cell_tells_one_period_or_none(tmp_path: Path, cell: Any, periodicity: Periodicity, told: str | None) -> None:
    field = contract_of(tmp_path, PROVINCE, day("dd/MM/yyyy"), periodicity=periodicity).period_field
    assert field is not None
    found = period_of(cell, field, periodicity)
    assert (str(found) if found else None) == told


def test_a_column_may_mix_texts_numbers_and_moments(tmp_path: Path) -> None:
    field = contract_of(tmp_path, PROVINCE, period()).period_field
    assert field is not None
    mixed = Cells(
        pa.array(["2017", None, None, "x", None]),
        pa.array([None, 2018.0, None, None, None]),
        pa.array([None, None, datetime(2019, 1, 1), None, None], pa.timestamp("us")),
    )
    assert [str(one) for one in periods_of(mixed, field, "year")] == ["2017", "2018", "2019", "None", "None"]


def test_what_the_name_says_makes_one_part_of_the_whole_file(tmp_path: Path) -> None:
    told = parse_period("2020", "year")
    assert find_parts(tmp_path / "is not even opened", contract_of(tmp_path), told)[0].period == told


def test_lines_of_several_periods_are_several_parts(tmp_path: Path) -> None:
    content = "Tỉnh,year,Dân số\n,x,0\na,2018,1\nb,2017,2\nc,,3\nd\nd,2018,4\n"
    (tmp_path / "a.csv").write_text(content, encoding="utf-8")
    contract = contract_of(tmp_path, PROVINCE, period(), PEOPLE)
    parts = find_parts(tmp_path / "a.csv", contract, None)
    assert [(str(part.period), part.by_line) for part in parts] == [("2018", True), ("2017", True)]
    first, second = (list(read_table(tmp_path / "a.csv", contract, part).batches) for part in parts)
    assert (lines(first), broken(first)) == ([2, 3, 5, 7], [6])
    assert (lines(second), broken(second)) == ([4], [])


def test_a_file_of_one_period_is_one_part_with_all_its_lines(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Tỉnh,year,Dân số\na,2018,1\nb,,2\n", encoding="utf-8")
    contract = contract_of(tmp_path, PROVINCE, period(), PEOPLE)
    parts = find_parts(tmp_path / "a.csv", contract, None)
    assert [part.by_line for part in parts] == [False]
    assert lines(read(tmp_path / "a.csv", contract, parts[0])[1]) == [2, 3]


def test_when_the_name_says_the_period_all_lines_come_out(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Tỉnh,year,Dân số\na,2018,1\nb,2017,2\n", encoding="utf-8")
    contract = contract_of(tmp_path, PROVINCE, period(), PEOPLE)
    assert lines(read(tmp_path / "a.csv", contract, part_of("2018", contract))[1]) == [2, 3]


def test_a_total_belongs_to_its_own_period_and_one_of_several_has_no_values(tmp_path: Path) -> None:
    content = "Tỉnh,year,Dân số\na,2018,1\nTổng,2018,1\na,2017,2\nTổng,2017,2\nTổng,,3\n"
    (tmp_path / "a.csv").write_text(content, encoding="utf-8")
    contract = contract_of(tmp_path, PROVINCE, period(), PEOPLE, lines={"total": ["Tổng"]})
    declared = [read(tmp_path / "a.csv", contract, part)[0].declared for part in find_parts(tmp_path / "a.csv", contract, None)]
    assert [[(one.line, dict(one.values)) for one in part] for part in declared] == [
        [(3, {"people": 1.0}), (6, {})],
        [(5, {"people": 2.0})],
    ]


@pytest.mark.parametrize("content", ["Tỉnh,Dân số\na,1\n", "Tỉnh,year,Dân số\na,x,1\n"])
def test_a_file_that_tells_no_period_is_returned(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.csv").write_text(content, encoding="utf-8")
    with pytest.raises(SenderFault, match=r"things_\{period:%Y\} or the column 'year'") as fault:
        find_parts(tmp_path / "a.csv", contract_of(tmp_path, PROVINCE, period(), PEOPLE), None)
    assert fault.value.rule == "period"


def test_months_by_their_days(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Tỉnh,Ngày\na,31/01/2024\nb,01/02/2024\nc,29/02/2024\n", encoding="utf-8")
    parts = find_parts(tmp_path / "a.csv", contract_of(tmp_path, PROVINCE, day("dd/MM/yyyy"), periodicity="month"), None)
    assert [part.period.start for part in parts] == [date(2024, 1, 1), date(2024, 2, 1)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(years=st.lists(st.sampled_from(["2017", "2018", "2019", "", "x"]), min_size=1, max_size=20), size=st.integers(1, 9))
def test_every_line_comes_out_once_over_all_parts(tmp_path: Path, years: list[str], size: int) -> None:
    (tmp_path / "a.csv").write_text("Tỉnh,year\n" + "".join(f"p,{year}\n" for year in years), encoding="utf-8")
    contract = contract_of(tmp_path, PROVINCE, period())
    if not {"2017", "2018", "2019"} & set(years):
        with pytest.raises(SenderFault):
            find_parts(tmp_path / "a.csv", contract, None)
        return
    parts = find_parts(tmp_path / "a.csv", contract, None)
    found = [line for part in parts for line in lines(list(read_table(tmp_path / "a.csv", contract, part, batch_rows=size).batches))]
    assert sorted(found) == list(range(2, len(years) + 2))


def test_typed_periods_of_a_workbook_are_read(tmp_path: Path) -> None:
    from openpyxl import Workbook

    book = Workbook()
    for row in (["Tỉnh", "year", "Dân số"], ["a", 2018, 1], ["b", "2017", 2]):
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    contract = contract_of(tmp_path, PROVINCE, period(), PEOPLE)
    parts = find_parts(tmp_path / "a.xlsx", contract, None)
    assert [str(part.period) for part in parts] == ["2018", "2017"]
    assert cells(read(tmp_path / "a.xlsx", contract, parts[1])[1], "province") == ["b"]
