"""Whole real files, each by a contract alone. They are not bundled; without them these tests are skipped."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from etl.read import Batch, Part, Table
from etl.read.tables import find_parts, read_table
from expectations.contract import Contract
from expectations.odcs import load_contract
from tests.etl.read.reading import broken, cells, groups, lines, named_contract

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT.parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real files are not at {DATA}")


def bundled(name: str) -> Contract:
    return load_contract(ROOT / "expectations" / "contracts" / f"{name}.odcs.yaml")


def whole(file: Path, contract: Contract) -> list[tuple[Part, Table, list[Batch]]]:
    """All parts of a file, by what its name says."""
    said = [match.period for pattern in contract.file_names if (match := pattern.match(file.stem))]
    found = []
    for part in find_parts(file, contract, said[0] if said else None):
        table = read_table(file, contract, part)
        found.append((part, table, list(table.batches)))
    return found


def one(file: Path, contract: Contract) -> tuple[Table, list[Batch]]:
    [(_, table, batches)] = whole(file, contract)
    return table, batches


def total(values: list[Any]) -> float:
    return math.fsum(float(value) for value in values if value is not None)


# ---------------------------------------------------------------- budgets

FINAL = {"transfer_targeted_vnd_m"}
FINAL_SPLIT = {"transfer_targeted_foreign_vnd_m", "transfer_targeted_tasks_vnd_m"}
BUDGETS = [
    ("budget_final", "Final_2010", FINAL_SPLIT, "M09+"),
    ("budget_final", "Final_2013", FINAL, "M09+"),
    ("budget_final", "Final_2014", FINAL, "M09+"),
    ("budget_plan", "Plan_2009", {"transfer_wage_vnd_m"}, "Sheet1"),
    ("budget_plan", "Plan_2013", {"transfer_vnd_m"}, "M09"),
    ("budget_plan", "Plan_2014", {"transfer_vnd_m"}, "M09"),
]


@pytest.mark.parametrize(("name", "book", "absent", "sheet"), BUDGETS)
def test_a_budget_workbook_gives_every_province_once_and_adds_up(name: str, book: str, absent: set[str], sheet: str) -> None:
    contract = bundled(name)
    table, batches = one(DATA / "mof_budget" / f"{book}.xls", contract)
    assert (table.sheet, set(table.header.missing), table.header.unknown) == (sheet, absent, ())
    provinces = [province.strip() for province in cells(batches, "province")]
    assert len(provinces) == len(set(provinces)) == 63
    assert broken(batches) == []
    national, *regions = table.declared
    assert (national.group, [region.group for region in regions]) == (None, list(range(6)))
    income = cells(batches, "revenue_vnd_m")
    assert total(income) == pytest.approx(national.values["revenue_vnd_m"], rel=1e-9)
    of_group = groups(batches)
    for field in contract.additive_fields:
        if field.name not in absent:
            values = cells(batches, field.name)
            assert all(isinstance(value, float) for value in values if value is not None), field.name
            for region in regions:
                part = total([value for value, group in zip(values, of_group, strict=True) if group == region.group])
                rounded = 1e-9 if field.name == "revenue_vnd_m" else 1e-5  # the other columns were rounded before they were added
                assert part == pytest.approx(region.values[field.name], rel=rounded), (field.name, region.scope)
    assert all(0 <= share <= 100 for share in cells(batches, "revenue_share_pct"))


def test_a_total_split_over_merged_lines_is_read_whole() -> None:
    table, _ = one(DATA / "mof_budget" / "Plan_2009.xls", bundled("budget_plan"))
    assert (table.declared[0].line, table.declared[0].values["transfer_balancing_vnd_m"]) == (16, 45897098.0)
    assert "Bắc Trung Bộ Và Duyên Hải Miền Trung" in [one.scope for one in table.declared]


# ---------------------------------------------------------------- indices


@pytest.mark.parametrize("year", range(2011, 2025))
def test_a_papi_file_has_all_provinces_and_all_scores(year: int) -> None:
    table, batches = one(DATA / "papi_subcriteria" / "csv" / f"{year}.csv", bundled("papi"))
    assert cells(batches, "province") == [f"P{number:02}" for number in range(1, 64)]
    assert (table.header.missing, table.header.unknown, broken(batches)) == ((), (), [])


def test_a_province_without_scores_keeps_its_line() -> None:
    contract = bundled("papi")
    blank = 0
    for file in sorted((DATA / "papi_subcriteria" / "csv").glob("*.csv")):
        _, batches = one(file, contract)
        scores = [cells(batches, field.name) for field in contract.stored_fields]
        blank += sum(all(value is None for value in row) for row in zip(*scores, strict=True))
    assert blank == 9


def test_a_workbook_with_a_sheet_a_year_is_six_parts() -> None:
    found = whole(DATA / "pci_papi" / "PAPI_2011-2016.xlsx", named_contract("papi_workbook"))
    assert [(str(part.period), table.sheet) for part, table, _ in found] == [(str(year), f"{year}_PAPI") for year in range(2011, 2017)]
    for _, table, batches in found:
        assert len(set(cells(batches, "province"))) == 63
        assert (lines(batches)[0], lines(batches)[-1], table.header.missing) == (3, 65, ())
        assert "Điểm cao nhất" not in cells(batches, "name_vi")


def test_one_sheet_of_many_with_three_header_lines_ends_at_its_first_blank_line() -> None:
    table, batches = one(DATA / "pci_papi" / "PCI_2011.xls", named_contract("pci_transparency"))
    assert (table.header.last_line, table.header.missing, table.header.unknown) == (3, (), ())
    assert len(cells(batches, "province")) == len(set(cells(batches, "province"))) == 63


@pytest.mark.parametrize(("book", "provinces", "indicators"), [("PCI_2008", 64, 12), ("PCI_2011", 63, 10)])
def test_rankings_side_by_side_are_lines_of_province_and_indicator(book: str, provinces: int, indicators: int) -> None:
    table, batches = one(DATA / "pci_papi" / f"{book}.xls", named_contract("pci_rankings"))
    assert (table.header.missing, table.header.unknown) == ((), ())
    keys = Counter(zip(cells(batches, "province"), cells(batches, "indicator"), strict=True))
    assert len(keys) == sum(keys.values()) == provinces * indicators


# ---------------------------------------------------------------- statistics, scores, cases


def test_years_over_three_measures_are_three_parts_that_add_up() -> None:
    [file] = (DATA / "gso").glob("Diện tích*.csv")
    found = whole(file, named_contract("gso_area"))
    assert [(str(part.period), part.by_line) for part, _, _ in found] == [("2017", True), ("2018", True), ("2019", True)]
    for part, table, batches in found:
        assert set(cells(batches, "year")) == {str(part.period)}
        assert len(cells(batches, "province")) == 63
        assert (len(table.declared), table.header.unknown, broken(batches)) == (7, (), [])
        assert total(cells(batches, "population_thousand")) == pytest.approx(table.declared[0].values["population_thousand"], rel=1e-4)


def test_years_alone_are_a_part_each() -> None:
    [file] = (DATA / "gso").glob("Số hợp tác xã*.csv")
    for _, table, batches in whole(file, named_contract("gso_cooperatives")):
        assert total(cells(batches, "cooperatives")) == table.declared[0].values["cooperatives"]


def test_a_year_in_the_heading_and_in_the_name() -> None:
    table, batches = one(DATA / "gso" / "vietnam-2020-average-population-by-province.csv", named_contract("gso_population"))
    assert len(cells(batches, "province")) == 63
    assert total(cells(batches, "population_thousand")) == pytest.approx(table.declared[0].values["population_thousand"], rel=1e-4)


def test_exam_scores_come_apart_by_the_year_of_their_lines() -> None:
    file = DATA / "exam_scores" / "province_subject_metrics_2016-2024.csv"
    found = whole(file, named_contract("exam_scores"))
    assert [str(part.period) for part, _, _ in found] == [str(year) for year in range(2017, 2025)]
    assert all(part.by_line for part, _, _ in found)
    every = sorted(line for _, _, batches in found for line in lines(batches))
    assert every == list(range(2, len(file.read_text(encoding="utf-8").splitlines()) + 1))


def test_a_province_a_column_and_a_day_a_line() -> None:
    file = DATA / "vnexpress_covid" / "timeseries-vietnam-provinces-confirmed.csv"
    contract = named_contract("covid_wide")
    parts = find_parts(file, contract, None)
    assert len(parts) == 182
    table = read_table(file, contract, parts[-1])
    batches = list(table.batches)
    assert len(set(cells(batches, "province"))) == 62
    assert (set(cells(batches, "date")), set(lines(batches))) == ({"2021-10-25"}, {183})
    assert total(cells(batches, "cases")) == 3620


def test_another_countrys_provinces_and_lines_that_belong_to_none() -> None:
    for file in sorted((DATA / "italy_covid" / "dati-province").glob("*.csv")):
        table, batches = one(file, named_contract("italy_provinces"))
        assert len(lines(batches)) == 128
        keys = zip(*(cells(batches, name) for name in ("denominazione_provincia", "codice_provincia", "sigla_provincia")), strict=True)
        assert ("Napoli", "063", "NA") in set(keys)
        assert sum(int(batch.is_unassigned.sum()) for batch in batches if batch.is_unassigned is not None) == 21
        assert (table.header.missing, table.header.unknown) == ((), ())


def test_title_lines_inside_a_table_are_chapters_of_the_lines_below() -> None:
    file = DATA / "admin_units" / "nso_old_new_commune_conversion_20250701.csv"
    table, batches = one(file, named_contract("commune_conversion"))
    assert (len(lines(batches)), len(table.declared), broken(batches)) == (10571, 34, [])
    assert (cells(batches, "chapter")[0], cells(batches, "chapter")[-1]) == ("THÀNH PHỐ HÀ NỘI", "CÀ MAU")
