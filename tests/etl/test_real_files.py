"""Whole real files, each judged by a contract alone: every line is a row, a declared total, or refused with a reason."""

from __future__ import annotations

import csv
import math
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from etl.judge import Judged, Task, judge
from etl.read.tables import find_parts
from etl.settings import read_settings
from etl.site import Site
from etl.trial import Trial, check_file
from tests.conftest import ROOT, SHARED
from tests.etl.conftest import put, run_all
from tests.etl.snapshots import query

INBOX, ITALY, DATA = ROOT / "examples" / "inbox", ROOT / "examples" / "italy", SHARED / "data"
SHARED_CONTRACTS = ROOT / "tests" / "data" / "shared_contracts"
TODAY = date(2026, 11, 25)
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real files are not at {DATA}; they may not be bundled")
Rows = list[dict[str, Any]]


@pytest.fixture
def offline(tmp_path: Path) -> Callable[..., Site]:
    """An installation that never asks for its warehouse."""

    def make(contracts: Path | None = None) -> Site:
        settings = read_settings({"NDC_HOME": str(tmp_path / "home")})
        return Site(replace(settings, contracts=contracts or settings.contracts))

    return make


def checked(site: Site, file: Path, sender: str | None = None, dataset: str | None = None) -> dict[str, Trial]:
    """What would come of each period of a file."""
    trials = {trial.period or "": trial for trial in check_file(site, file, sender, dataset, None, TODAY)}
    assert not list(site.settings.work.iterdir()), "a file that is only checked leaves nothing behind"
    return trials


def judged(trial: Trial) -> Judged:
    assert trial.judged is not None, trial.verdict
    return trial.judged


def rows_of(site: Site, file: Path, dataset: str) -> Iterator[Rows]:
    """The accepted rows of each part of a file."""
    contract = site.contracts[dataset]
    said = next((match.period for pattern in contract.file_names if (match := pattern.match(file.stem))), None)
    for part in find_parts(file, contract, said):
        taken: list[pa.RecordBatch] = []
        judge(Task(file, contract, part, None, 1, site.registry, {}), taken.append, site.work_file("rejections"))
        site.work_file("rejections").unlink()
        yield [row for batch in taken for row in batch.to_pylist()]


def named(path: Path) -> str:
    return path.stem


# ---------------------------------------------------------------- budgets

BUDGETS = sorted((INBOX / "mof").rglob("*.xls"))


@pytest.mark.parametrize("file", BUDGETS, ids=named)
def test_a_budget_workbook_has_all_provinces_no_fault_and_revenue_that_adds_up(file: Path, offline: Callable[..., Site]) -> None:
    site, year = offline(), file.stem[-4:]
    ((period, trial),) = checked(site, file).items()
    found = judged(trial)
    assert (trial.dataset, period, trial.verdict.action) == (file.parent.name, year, "load")
    assert (found.read, found.faulty, trial.by_rule) == (63, 0, ())
    totals = Counter((one.is_total, one.measure) for one in found.reconciliations)
    additive = {measure for _, measure in totals}
    assert len(additive) >= 5 and "revenue_share_pct" not in additive
    assert totals == Counter({(True, m): 1 for m in additive} | {(False, m): 6 for m in additive}), "the nation once, six regions"
    assert [one for one in found.reconciliations if one.measure == "revenue_vnd_m" and not one.ties] == []
    (rows,) = rows_of(site, file, file.parent.name)
    assert len({row["province_id"] for row in rows}) == len(rows) == 63
    (national,) = (one for one in found.reconciliations if one.is_total and one.measure == "revenue_vnd_m")
    assert math.isclose(math.fsum(row["revenue_vnd_m"] for row in rows), national.declared, rel_tol=1e-9)
    apart = [(one.measure, round(one.declared - one.computed, 6)) for one in found.reconciliations if not one.ties]
    if file.stem != "Plan_2009":
        assert apart == ([("transfer_targeted_vnd_m", 0.5)] if file.stem == "Final_2010" else []), "but for half a million dong"


def test_what_does_not_add_up_is_shown_with_its_line_and_loaded_all_the_same(offline: Callable[..., Site]) -> None:
    """Plan 2009 states numbers that were rounded one by one, and a sum of programmes that holds more than the provinces' own."""
    trial = checked(offline(), INBOX / "mof" / "budget_plan" / "Plan_2009.xls")["2009"]
    apart = {(one.scope, one.measure): (one.line, one.declared, one.computed) for one in judged(trial).reconciliations if not one.ties}
    assert trial.verdict.action == "load"
    assert len(apart) == 18
    assert apart["Tổng số", "transfer_programmes_vnd_m"] == (16, 10467774, 9715309)
    assert apart["Tổng số", "transfer_targeted_vnd_m"] == (16, 40390082, 39637614)
    assert apart["Tây Nguyên", "transfer_vnd_m"] == (62, 7343000, 7343001)
    others = [stated - own for (_, measure), (_, stated, own) in apart.items() if measure != "transfer_programmes_vnd_m" and stated < 4e7]
    assert max(map(abs, others)) <= 2


def test_columns_that_a_year_does_not_have_are_told(offline: Callable[..., Site]) -> None:
    trial = checked(offline(), INBOX / "mof" / "budget_final" / "Final_2013.xls")["2013"]
    assert [notice.rule for notice in judged(trial).notices] == ["column-missing"]
    assert "transfer_targeted_vnd_m" in judged(trial).notices[0].message.en


# ---------------------------------------------------------------- an index

INDEX = sorted((INBOX / "papi").rglob("*.csv"))


def test_every_year_of_the_index_has_all_provinces_and_nothing_that_is_summed(offline: Callable[..., Site]) -> None:
    """A province without scores keeps its row, with empty scores."""
    site, blank = offline(), []
    scores = [f.name for f in site.contracts["papi"].stored_fields]
    assert len(INDEX) == 14 and site.contracts["papi"].additive_fields == ()
    for file in INDEX:
        ((period, trial),) = checked(site, file).items()
        found = judged(trial)
        assert (period, trial.verdict.action, found.read, found.faulty) == (file.stem, "load", 63, 0)
        assert (found.reconciliations, found.notices, trial.by_rule) == ([], [], ())
        (rows,) = rows_of(site, file, "papi")
        assert len(rows) == 63
        blank += [(period, row["province_id"]) for row in rows if all(row[name] is None for name in scores)]
    assert blank == [
        ("2014", "bac-giang"), ("2014", "dong-thap"), ("2021", "quang-ninh"), ("2021", "bac-giang"), ("2021", "bac-ninh"),
        ("2023", "quang-ninh"), ("2023", "binh-duong"), ("2024", "vinh-phuc"), ("2024", "tien-giang"),
    ]  # fmt: skip


# ---------------------------------------------------------------- another country


def test_the_provinces_of_another_country_add_up_to_its_regions_and_its_nation_on_every_day(new_site: Callable[..., Site]) -> None:
    site = new_site(contracts=ITALY / "contracts", reference=ITALY / "reference", access=ITALY / "access")
    shutil.copytree(ITALY / "inbox" / "protezione-civile", site.settings.inbox / "protezione-civile")
    result = run_all(site)
    assert (len(result.done), result.trouble, {one.state for one in result.done}) == (93, [], {"stored"})
    days = query(
        site,
        """SELECT provinces.period, provinces.lines, provinces.unassigned, provinces.cases, regions.cases AS regions, nation.cases AS nation
           FROM (SELECT period, count(*) AS lines, count(*) FILTER (WHERE province_id = 'unassigned') AS unassigned, sum(total_cases) AS cases
                 FROM national.epidemic_daily GROUP BY period) AS provinces
           JOIN (SELECT period, sum(total_cases) AS cases FROM national.epidemic_regions GROUP BY period) AS regions USING (period)
           JOIN (SELECT period, sum(total_cases) AS cases FROM national.epidemic_nation GROUP BY period) AS nation USING (period)
           ORDER BY period""",
    )
    assert [day["period"] for day in days] == [date(2020, 3, number) for number in range(1, 32)]
    assert all(day["cases"] == day["regions"] == day["nation"] for day in days)
    assert {(day["lines"], day["unassigned"]) for day in days} == {(128, 21)}
    assert (days[0]["cases"], days[-1]["cases"]) == (1694, 105792)
    (naples,) = query(
        site, "SELECT DISTINCT province_sign, province_code, region_code FROM national.epidemic_daily WHERE province_id = 'napoli'"
    )
    assert naples == {"province_sign": "NA", "province_code": "063", "region_code": "15"}
    provinces = {province.province_id for province in site.registry.on(date(2020, 3, 1))}
    assert {row["province_id"] for row in query(site, "SELECT DISTINCT province_id FROM national.epidemic_daily")} == provinces | {
        "unassigned"
    }
    ties = query(site, "SELECT dataset, target, ties, count(*) AS n FROM control.reconciliation GROUP BY 1, 2, 3 ORDER BY 1, 2")
    assert [(row["dataset"], row["target"], row["ties"], row["n"]) for row in ties] == [
        ("epidemic_nation", "epidemic_daily", True, 31),
        ("epidemic_nation", "epidemic_regions", True, 31 * 11),
        ("epidemic_regions", "epidemic_daily", True, 31 * 21),
    ]


# ---------------------------------------------------------------- datasets that came with a contract alone


@needs_data
def test_marks_of_an_examination_come_apart_by_year_and_find_their_provinces_by_the_boards_codes(offline: Callable[..., Site]) -> None:
    site, file = offline(SHARED_CONTRACTS), DATA / "exam_scores" / "province_subject_metrics_2016-2024.csv"
    trials = checked(site, file, "moet")
    assert list(trials) == [str(year) for year in range(2017, 2025)], "for 2016 the file has no line of any province"
    assert {trial.verdict.action for trial in trials.values()} == {"load"}
    assert {year: judged(trial).read for year, trial in trials.items()} == {
        "2017": 62 * 9,
        **{str(year): 63 * 9 for year in range(2018, 2025)},
    }
    first = next(rows_of(site, file, "exam_scores"))
    every = {province.province_id for province in site.registry.on(date(2017, 1, 1))}
    assert every - {row["province_id"] for row in first} == {"phu-yen"}
    (mathematics,) = (row for row in first if (row["province_id"], row["subject"]) == ("binh-dinh", "Toan"))
    with file.open(encoding="utf-8", newline="") as opened:
        (line,) = (r for r in csv.DictReader(opened) if (r["year"], r["province_code"], r["subject"]) == ("2017", "37", "Toan"))
    assert (mathematics["candidates"], mathematics["mean"]) == (int(line["count"]), float(line["mean"]))


def _lines_of(name: str) -> list[str]:
    return (DATA / "vnexpress_covid" / name).read_text(encoding="utf-8").splitlines()


@needs_data
def test_a_nation_that_is_told_apart_from_its_provinces_is_compared_with_them(new_site: Callable[..., Site]) -> None:
    """The candidates of an examination tie, subject by subject; of an epidemic's cases the nation and its provinces tell different
    numbers. Where the provinces sent nothing, the examination of 2016 and the last day of the cases, there is nothing to compare."""
    site = new_site(contracts=SHARED_CONTRACTS)
    for name in ("province_subject_metrics_2016-2024.csv", "subject_year_metrics_2016-2024.csv"):
        put(site, f"moet/{name}", (DATA / "exam_scores" / name).read_bytes())
    provinces, nation = (_lines_of(f"timeseries-vietnam-{name}.csv") for name in ("provinces-confirmed-total", "combined"))
    put(site, "vnexpress/timeseries-vietnam-provinces-confirmed-total.csv", "\n".join([provinces[0], *provinces[-3:]]) + "\n")
    put(site, "vnexpress/timeseries-vietnam-combined.csv", "\n".join([nation[0], *nation[-3:]]) + "\n")
    result = run_all(site)
    assert (result.trouble, {one.state for one in result.done}, len(result.done)) == ([], {"stored"}, 8 + 9 + 3 + 3)
    compared = query(site, "SELECT dataset, period, scope, ties, difference FROM control.reconciliation ORDER BY period, scope")
    exam = [row for row in compared if row["dataset"] == "exam_subjects"]
    assert Counter((row["period"].year, row["ties"]) for row in exam) == Counter({(year, True): 9 for year in range(2017, 2025)})
    cases = [(row["period"], row["ties"], row["difference"]) for row in compared if row["dataset"] == "cases_nation"]
    told = {line.split(",")[0]: int(line.split(",")[2]) for line in nation[-3:]}
    summed = {line.split(",")[0]: sum(map(int, line.split(",")[1:])) for line in provinces[-3:]}
    assert cases == [(date.fromisoformat(day), False, summed[day] - told[day]) for day in sorted(told.keys() & summed.keys())]
    assert len(cases) == 2


@needs_data
def test_years_side_by_side_are_a_delivery_each_and_tie(offline: Callable[..., Site]) -> None:
    (file,) = (DATA / "gso").glob("Số hợp tác xã*.csv")
    trials = checked(offline(SHARED_CONTRACTS), file, "gso")
    assert {year: (trial.verdict.action, judged(trial).read) for year, trial in trials.items()} == dict.fromkeys(
        ("2015", "2016", "2017"), ("load", 63)
    )
    for trial in trials.values():
        assert [one.ties for one in judged(trial).reconciliations] == [True] * 7


@needs_data
def test_numbers_that_were_rounded_one_by_one_are_shown_to_differ_by_no_more(offline: Callable[..., Site]) -> None:
    file = DATA / "gso" / "vietnam-2020-average-population-by-province.csv"
    ((year, trial),) = checked(offline(SHARED_CONTRACTS), file, "gso").items()
    found = judged(trial)
    assert (year, trial.verdict.action, found.read, len(found.reconciliations)) == ("2020", "load", 63, 7)
    assert {one.ties for one in found.reconciliations} == {True, False}
    assert max(abs(one.declared - one.computed) for one in found.reconciliations) < 0.15


@needs_data
def test_a_province_a_column_is_a_row_for_each_day(offline: Callable[..., Site], tmp_path: Path) -> None:
    source = _lines_of("timeseries-vietnam-provinces-confirmed-total.csv")
    file = tmp_path / "timeseries-vietnam-provinces-confirmed-total.csv"
    file.write_text("\n".join([source[0], *source[-4:]]), encoding="utf-8")
    site = offline(SHARED_CONTRACTS)
    trials = checked(site, file, "vnexpress")
    assert list(trials) == [line.split(",")[0] for line in source[-4:]]
    assert {(trial.verdict.action, judged(trial).read, judged(trial).faulty) for trial in trials.values()} == {("load", 62, 0)}
    for line, rows in zip(source[-4:], rows_of(site, file, "cases"), strict=True):
        assert sum(row["cases"] for row in rows) == sum(map(int, line.split(",")[1:]))
        assert len({row["province_id"] for row in rows}) == 62


@needs_data
def test_a_workbook_with_a_sheet_a_year_is_judged_year_by_year(offline: Callable[..., Site]) -> None:
    """In 2014 two provinces have no scores and an index of 0, as it stands in the file: these lines are refused, and so that year."""
    trials = checked(offline(SHARED_CONTRACTS), DATA / "pci_papi" / "PAPI_2011-2016.xlsx", "papi")
    assert {year: (trial.verdict.action, judged(trial).read) for year, trial in trials.items()} == {
        str(year): ("return" if year == 2014 else "load", 63) for year in range(2011, 2017)
    }
    refused = {found["rule"]: found["first_lines"] for found in trials["2014"].by_rule}
    assert refused["papi.range"] == refused["corruption.required"] == [17, 58]
    assert judged(trials["2014"]).faulty == 2
