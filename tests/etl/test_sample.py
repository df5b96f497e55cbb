"""Claims about invented files: seeded, contract-driven, spoiled on purpose and only there."""

from __future__ import annotations

import csv
import json
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.dates import parse_moments
from etl.sample import BLOCK_LINES, SampleTruth, write_sample
from etl.sampling.texts import write_moments
from expectations.contract import Contract
from expectations.faults import SetupFault
from expectations.odcs import load_contract
from expectations.period import Period
from warehouse.provinces import load_registry

ROOT = Path(__file__).parents[2]
VIET_NAM = load_registry(ROOT / "warehouse" / "reference")
ITALY = load_registry(ROOT / "examples" / "italy" / "reference")
DOSSIER = load_contract(ROOT / "expectations" / "contracts" / "dossier.odcs.yaml")
JUNE, JULY = Period(date(2025, 6, 1), "month"), Period(date(2025, 7, 1), "month")


def dossiers(
    out: Path, *, province: str = "binh-dinh", period: Period = JUNE, rows: int = 600, faults: float = 0.0, seed: int = 1
) -> SampleTruth:
    return write_sample(DOSSIER, VIET_NAM, province, period, rows, faults, seed, out)


def cells(file: Path) -> list[list[str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.reader(opened))


def column(file: Path, name: str, contract: Contract = DOSSIER) -> list[str]:
    place = [f.name for f in contract.fields].index(name)
    return [row[place] for row in cells(file)[1:]]


# --- seeds ------------------------------------------------------------------------------------------------------------


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    first, again, other = (tmp_path / name for name in ("first.csv", "again.csv", "other.csv"))
    assert dossiers(first, faults=0.1) == dossiers(again, faults=0.1)
    dossiers(other, faults=0.1, seed=2)
    assert first.read_bytes() == again.read_bytes() != other.read_bytes()


def test_provinces_and_periods_differ_under_one_seed(tmp_path: Path) -> None:
    here, there, later = (tmp_path / name for name in ("here.csv", "there.csv", "later.csv"))
    dossiers(here, province="ha-noi")
    dossiers(there, province="son-la")
    dossiers(later, province="ha-noi", period=JULY)
    names = [column(file, "applicant_name") for file in (here, there, later)]
    assert names[0] != names[1] and names[0] != names[2]


def test_faults_leave_the_good_lines_as_they_were(tmp_path: Path) -> None:
    clean, spoiled = tmp_path / "clean.csv", tmp_path / "spoiled.csv"
    dossiers(clean)
    truth = dossiers(spoiled, faults=0.2)
    rows = {planted.row for planted in truth.planted}
    before, after = cells(clean), cells(spoiled)
    assert len(rows) == 120
    assert [row for number, row in enumerate(before) if number not in rows] == [
        row for number, row in enumerate(after) if number not in rows
    ]
    assert all(before[row] != after[row] for row in rows)


# --- faults -----------------------------------------------------------------------------------------------------------


def test_at_least_twelve_kinds_of_faults_take_turns(tmp_path: Path) -> None:
    truth = dossiers(tmp_path / "out.csv", rows=2_000, faults=0.2)
    counts = [len(lines) for lines in truth.faults.values()]
    assert len(truth.faults) >= 12 and len(truth.traps) >= 3
    assert max(counts) - min(counts) <= 1 + max(counts) // 2
    assert set(truth.rules) == set(truth.faults) and all(truth.rules.values())


def test_a_fault_is_on_the_line_that_an_editor_shows(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    truth = dossiers(out, rows=2_000, faults=0.2)
    assert truth.traps["trap_line_break"], "quoted line breaks must shift the numbers for this to mean something"
    lines = out.read_text(encoding="utf-8").split("\n")
    assert len(lines) == 1 + 2_000 + len(truth.traps["trap_line_break"]) + 1
    assert all(lines[number - 1].endswith(",?") for number in truth.faults["cell_too_many"])
    assert all("31/02/" in lines[number - 1] for number in truth.faults["day_that_is_none"])
    assert all(lines[number - 1].count('"') % 2 == 1 for number in truth.traps["trap_line_break"])


def test_a_repeated_key_stands_above_on_a_good_line(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    truth = dossiers(out, rows=2_000, faults=0.2)
    codes, spoiled = column(out, "dossier_code"), {planted.row for planted in truth.planted}
    for planted in truth.planted:
        if planted.kind == "key_of_an_earlier_line":
            assert any(row not in spoiled for row, code in enumerate(codes[: planted.row - 1], 1) if code == codes[planted.row - 1])


def test_every_line_but_the_first_can_be_spoiled(tmp_path: Path) -> None:
    truth = dossiers(tmp_path / "out.csv", rows=300, faults=1.0)
    assert [planted.row for planted in truth.planted] == list(range(2, 301))


def test_keys_stay_unique_and_faults_exact_over_several_blocks(tmp_path: Path) -> None:
    out, rows = tmp_path / "out.csv", BLOCK_LINES + 1_234
    truth = dossiers(out, rows=rows, faults=0.001)
    codes = [code for row, code in enumerate(column(out, "dossier_code"), 1) if row not in {planted.row for planted in truth.planted}]
    assert len(truth.planted) == round(rows * 0.001)
    assert len(codes) == len(set(codes)) == rows - len(truth.planted)


def test_the_truth_is_written_beside_the_file_when_asked_for(tmp_path: Path) -> None:
    truth = write_sample(DOSSIER, VIET_NAM, "binh-dinh", JUNE, 200, 0.1, 1, tmp_path / "out.csv", truth=True)
    told = json.loads((tmp_path / "out.csv.truth.json").read_text(encoding="utf-8"))
    assert told["rows"] == 200 and told["rejected"] == truth.rejected
    assert {kind: tuple(lines) for kind, lines in told["faults"].items()} == truth.faults
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "out.csv.truth.json"]


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("province", "period"), [("binh-dinh", JUNE), ("gia-lai", JUNE), ("gia-lai-2025", JULY), ("ha-noi", JUNE), ("ha-noi", JULY)]
)
def test_codes_are_those_of_the_province_on_the_day(tmp_path: Path, province: str, period: Period) -> None:
    out = tmp_path / "out.csv"
    dossiers(out, province=province, period=period, rows=2_000)
    communes = set(column(out, "commune_code")) - {""}
    assert communes <= VIET_NAM.communes_on(period.start, province)
    assert len(communes) > 80


def test_a_province_without_a_code_of_the_day_uses_a_predecessors(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    dossiers(out, province="gia-lai-2025", period=JULY)
    assert all("H08" in code for code in column(out, "dossier_code"))


def test_a_province_that_does_not_exist_on_the_day_gets_no_file(tmp_path: Path) -> None:
    with pytest.raises(SetupFault, match="no province binh-dinh on 2025-07-01"):
        dossiers(tmp_path / "out.csv", period=JULY)
    assert not list(tmp_path.iterdir())


@settings(deadline=None)
@given(
    st.lists(st.datetimes(datetime(1900, 1, 1), datetime(2199, 12, 31)), min_size=1, max_size=20),
    st.sampled_from(["dd/MM/yyyy HH:mm:ss", "yyyy-MM-dd'T'HH:mm:ss", "d/M/yyyy H:mm:ss", "yyyyMMddHHmmss", "yyyy-MM-dd HH:mm:ssXXX"]),
)
def test_a_moment_written_is_read_as_the_same_moment(moments: list[datetime], form: str) -> None:
    seconds = np.array([int((moment.replace(microsecond=0) - datetime(1970, 1, 1)).total_seconds()) for moment in moments])
    read, unreadable = parse_moments(write_moments(seconds, form), (form,))
    assert not unreadable.any()
    assert read.cast("int64").to_numpy().tolist() == (seconds * 1_000_000).tolist()


# --- other contracts --------------------------------------------------------------------------------------------------

CONTRACT = """
apiVersion: v3.2.0
kind: DataContract
id: visits
version: 1.0.0
status: active
schema:
  - name: visits
    properties:
{fields}
customProperties:
  - {{property: sender, value: {sender}}}
  - {{property: periodicity, value: day}}
  - {{property: fileName, value: "visits_{{period:%Y-%m-%d}}"}}
  - {{property: layout, value: {{numbers: {{decimal: ",", thousands: "."}}}}}}
"""
PLAIN = """
      - {name: provincia, logicalType: string, required: true, customProperties: [{property: holds, value: province}], primaryKey: true}
      - {name: visits, logicalType: integer, logicalTypeOptions: {minimum: 5000, exclusiveMaximum: 6000}, customProperties: [{property: measure, value: {additive: true, unit: visit}}]}
      - {name: share, logicalType: number, logicalTypeOptions: {minimum: 0, maximum: 1}}
      - {name: opened, logicalType: timestamp}
      - {name: is_open, logicalType: boolean}
      - {name: note, logicalType: string, logicalTypeOptions: {maxLength: 12}}
"""
WITH_SAMPLE = """
      - {{name: code, logicalType: string, required: true, customProperties: [{{property: sample, value: {sample}}}]}}
      - {{name: day, logicalType: date}}
"""


def contract_of(folder: Path, fields: str, sender: str = "each-province") -> Contract:
    file = folder / "visits.odcs.yaml"
    file.write_text(CONTRACT.format(fields=fields.strip("\n"), sender=sender), encoding="utf-8")
    return load_contract(file)


def test_a_contract_of_another_country_needs_no_sample_at_all(tmp_path: Path) -> None:
    contract, out = contract_of(tmp_path, PLAIN, "protezione-civile"), tmp_path / "out.csv"
    day = Period(date(2020, 3, 1), "day")
    write_sample(contract, ITALY, None, day, 107, 0.0, 1, out)
    assert set(column(out, "provincia", contract)) == {province.name for province in ITALY.on(day.start)}
    assert all(text.startswith("5.") and len(text) == 5 for text in column(out, "visits", contract))
    assert all(text.replace(",", "").isdigit() for text in column(out, "share", contract))
    assert all(text.startswith("2020-03-01T") for text in column(out, "opened", contract))
    assert all(len(text) <= 12 for text in column(out, "note", contract))
    kinds = write_sample(contract, ITALY, None, day, 107, 0.5, 1, out).faults
    assert {"key_of_an_earlier_line", "letter_in_number", "number_out_of_range", "text_too_long"} <= set(kinds)


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        ("{vlaues: [a]}", "unknown key 'vlaues'. Did you mean 'values'?"),
        ("{values: [a], pattern: b}", "only one of these can be: values, pattern"),
        ("{values: [a, b], weights: [1]}", "2 weights are needed"),
        ("{values: [a], missing: 0.1}", "a required field cannot be left empty"),
        ("{pattern: '{digit:4}'}", "{digit:4} in the pattern is not understood. Did you mean 'digits'?"),
        ("{pattern: '{province:zz}'}", "has no code in the code system 'zz'"),
        ("{pattern: '{code}'}", "round in a circle: code → code"),
        ("{beside: day, place: 1}", "the 'values' of 'day' have no value number 1"),
        ("{by: dya, cases: {}}", "there is no field 'dya'"),
        ("{after: day, days: [0, 1]}", "'after' joins two dates"),
        ("{values: [true]}", "a text or a number is needed"),
        ("{pattern: '{1..9}', only_when: {field: day, in: [x]}}", "a required field cannot be left empty"),
    ],
)
def test_a_word_that_is_not_understood_names_file_and_line(tmp_path: Path, sample: str, said: str) -> None:
    contract = contract_of(tmp_path, WITH_SAMPLE.format(sample=sample))
    with pytest.raises(SetupFault) as caught:
        write_sample(contract, ITALY, "torino", Period(date(2020, 3, 1), "day"), 5, 0.0, 1, tmp_path / "out.csv")
    assert caught.value.message.en.startswith(f"{contract.file}:10: ") and said in caught.value.message.en


def test_a_fault_found_on_the_way_leaves_no_part_of_a_file(tmp_path: Path) -> None:
    contract = contract_of(tmp_path, "      - {name: day, logicalType: date, examples: ['31.12.2020']}")
    with pytest.raises(SetupFault, match="hold a day not written yyyy-MM-dd"):
        write_sample(contract, ITALY, "torino", Period(date(2020, 3, 1), "day"), 5, 0.0, 1, tmp_path / "out.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["visits.odcs.yaml"]


def test_a_pattern_without_a_sample_is_a_fault_and_not_a_guess(tmp_path: Path) -> None:
    contract = contract_of(tmp_path, "      - {name: code, logicalType: string, logicalTypeOptions: {pattern: '^[A-Z]{3}$'}}")
    with pytest.raises(SetupFault, match=r"visits\.odcs\.yaml:10: 'code' must match a pattern"):
        write_sample(contract, ITALY, "torino", Period(date(2020, 3, 1), "day"), 5, 0.0, 1, tmp_path / "out.csv")
