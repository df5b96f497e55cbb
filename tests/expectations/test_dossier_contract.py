"""Claims about the dossier contract: what it refuses, what it lets pass, and that invented files are judged exactly."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest

from etl.judge import Judged, Task, judge, read_rejections
from etl.read import Part
from etl.sample import SampleTruth, write_sample
from expectations.odcs import load_contract
from expectations.period import Period
from warehouse.code_lists import code_lists
from warehouse.provinces import load_registry

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "warehouse" / "reference"
REGISTRY = load_registry(REFERENCE)
DOSSIER = load_contract(ROOT / "expectations" / "contracts" / "dossier.odcs.yaml")
JUNE, JULY = Period(date(2025, 6, 1), "month"), Period(date(2025, 7, 1), "month")

Found = dict[int, set[tuple[str, str]]]
"""By line of the file, the rules found broken with their severity."""
JudgeFile = Callable[[Path, str, Period], tuple[Judged, Found]]


@pytest.fixture
def judge_file(tmp_path: Path) -> Iterator[JudgeFile]:
    def run(file: Path, province: str, period: Period) -> tuple[Judged, Found]:
        lists = code_lists(REFERENCE, ("communes",), period.start, province)
        task = Task(file, DOSSIER, Part(period), province, 1, REGISTRY, lists)
        judged = judge(task, lambda rows: None, tmp_path / "rejections.arrow")
        found: Found = defaultdict(set)
        for batch in read_rejections(judged.rejections):
            for row in batch.to_pylist():
                found[row["line"]].add((row["rule"], row["severity"]))
        return judged, found

    yield run


def invent(out: Path, province: str, period: Period, rows: int, faults: float, seed: int = 5) -> SampleTruth:
    return write_sample(DOSSIER, REGISTRY, province, period, rows, faults, seed, out)


# --- the contract as written ------------------------------------------------------------------------------------------


def test_personal_fields_are_restricted_and_nothing_else() -> None:
    restricted = {f.name for f in DOSSIER.fields if f.is_restricted}
    assert restricted == {"applicant_name", "applicant_id", "email", "phone", "address", "summary"}


def test_every_field_is_found_under_the_names_of_the_national_portal() -> None:
    portal = (
        "MaHoSo MaTTHC TenTTHC MaLinhVuc LoaiDoiTuong ChuHoSo MaDoiTuong Email SoDienThoai DiaChi TrichYeuHoSo MaXa NgayTiepNhan NgayHenTra "
        "NgayKetThucXuLy NgayTra TrangThaiHoSo KenhThucHien HinhThuc DonViXuLy LePhi DuocThanhToanTrucTuyen"
    )
    headers = [set(f.headers) for f in DOSSIER.fields]
    assert len(DOSSIER.fields) == 22
    assert all(sum(name in own for own in headers) == 1 for name in portal.split())


def test_every_rule_says_in_both_languages_what_is_wrong() -> None:
    assert len(DOSSIER.rules) >= 14
    for rule in DOSSIER.rules:
        assert rule.message.vi != rule.message.en
        assert rule.message.vi.endswith(".") and rule.message.en.endswith(".")
        assert not re.search(r"[{}]|\bregex\b|null", rule.message.vi + rule.message.en)


def test_a_file_may_be_in_any_format_and_name_a_predecessor() -> None:
    (pattern,) = DOSSIER.file_names
    own, predecessor = pattern.match("dossier_2025-07"), pattern.match("dossier_binh-dinh_2025-06")
    assert own and own.period == JULY and own.province is None
    assert predecessor and predecessor.period == JUNE and predecessor.province == "binh-dinh"


# --- invented files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("province", "period"), [("binh-dinh", JUNE), ("gia-lai-2025", JULY), ("lai-chau", JUNE), ("ho-chi-minh-2025", JULY)]
)
def test_nothing_is_found_in_a_file_without_faults(tmp_path: Path, judge_file: JudgeFile, province: str, period: Period) -> None:
    out = tmp_path / "out.csv"
    invent(out, province, period, 5_000, 0.0)
    judged, found = judge_file(out, province, period)
    assert (judged.read, judged.faulty, dict(found), judged.notices) == (5_000, 0, {}, [])


@pytest.mark.parametrize(("province", "period", "share"), [("gia-lai", JUNE, 0.15), ("gia-lai-2025", JULY, 1.0)])
def test_every_planted_fault_is_found_and_no_good_line_refused(
    tmp_path: Path, judge_file: JudgeFile, province: str, period: Period, share: float
) -> None:
    out = tmp_path / "out.csv"
    truth = invent(out, province, period, 6_000, share)
    judged, found = judge_file(out, province, period)
    planted = {one.line: one for one in truth.planted if one.rule is not None}
    assert len(truth.faults) >= 12 and len(truth.traps) >= 3
    assert [one for one in planted.values() if (one.rule, one.severity) not in found[one.line]] == []
    assert {line for line, rules in found.items() if rules} == set(planted)
    assert (judged.read, judged.faulty) == (6_000, truth.rejected)


def test_the_planted_faults_reach_all_rules_but_one(tmp_path: Path) -> None:
    truth = invent(tmp_path / "out.csv", "ha-noi", JUNE, 5_000, 0.5)
    reached = {one.rule for one in truth.planted}
    assert {rule.id for rule in DOSSIER.rules} - reached == {"not-finished-yet"}, "to break it, a cell would have to be filled"


# --- single cells -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def good_line(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A good line of a person's settled dossier, by field."""
    out = tmp_path_factory.mktemp("good") / "out.csv"
    invent(out, "binh-dinh", JUNE, 400, 0.0)
    with out.open(encoding="utf-8", newline="") as file:
        rows = [dict(zip((f.name for f in DOSSIER.fields), row, strict=True)) for row in list(csv.reader(file))[1:]]
    return next(row for row in rows if row["applicant_type"] == "1" and row["status"] == "10" and all(row.values()))


CASES: list[tuple[dict[str, str], set[str]]] = [
    ({"dossier_code": "000.00.01.H29-240115-0001"}, set()),
    ({"dossier_code": "H08.12.03-250701-0001"}, set()),
    ({"dossier_code": "H08.12.03.001-250701-000123"}, set()),
    ({"dossier_code": "000.00.01.H29-240115-001"}, {"dossier_code.pattern"}),
    ({"dossier_code": "000.00.01.H29/240115-0001"}, {"dossier_code.pattern"}),
    ({"procedure_code": "3.000181.000.00.00.H22"}, set()),
    ({"procedure_code": "1000894"}, {"procedure_code.pattern"}),
    ({"applicant_id": ""}, set()),
    ({"applicant_id": "052190123456"}, set()),
    ({"applicant_id": "52190123456"}, {"citizen-id", "citizen-id-place"}),
    ({"applicant_id": "052590123456"}, {"citizen-id"}),
    ({"applicant_id": "211234567"}, {"citizen-id", "citizen-id-place"}),
    ({"applicant_id": "203190123456"}, {"citizen-id-place"}),
    ({"applicant_type": "2", "applicant_id": "0100109106"}, set()),  # a published code of a real company: the oracle of the check digit
    ({"applicant_type": "2", "applicant_id": "0100109106-001"}, set()),
    ({"applicant_type": "2", "applicant_id": "0100109107"}, {"tax-code-check-digit"}),
    ({"applicant_type": "2", "applicant_id": "010010910"}, {"tax-code", "tax-code-check-digit"}),
    ({"applicant_type": "0"}, {"applicant_type.values"}),
    ({"email": "nobody"}, {"email-form"}),
    ({"phone": "+84905123456"}, set()),
    ({"phone": "02563822294"}, set()),
    ({"phone": "090 512 3456"}, {"phone-form"}),
    ({"received_on": "2025-06-05", "due_on": "2025-06-25"}, set()),
    ({"received_on": "31/06/2025"}, {"received_on.type"}),
    ({"received_on": "31/05/2025"}, {"received_on.within-period"}),
    ({"received_on": "06/30/2025"}, {"received_on.type"}),
    ({"received_on": "30/06/2025", "due_on": "29/06/2025"}, {"due-after-received", "finished-after-received", "returned-after-received"}),
    ({"received_on": "10/06/2025", "finished_at": "10/06/2025 00:00:00", "returned_on": "10/06/2025"}, set()),
    ({"finished_at": ""}, {"finished-when-settled"}),
    ({"status": "9", "returned_on": ""}, set()),
    ({"returned_on": ""}, {"returned-when-returned"}),
    ({"status": "4", "returned_on": ""}, {"not-finished-yet"}),
    ({"status": "11"}, {"status.values"}),
    ({"channel": ""}, set()),
    ({"channel": "4"}, {"channel.values"}),
    ({"return_method": "2"}, {"return-method-known"}),
    ({"fee_vnd": "1.250.000"}, set()),
    ({"fee_vnd": "1250000"}, set()),
    ({"fee_vnd": "1,250,000"}, {"fee_vnd.type"}),
    ({"fee_vnd": "-1"}, {"fee_vnd.range"}),
    ({"commune_code": ""}, set()),
    ({"commune_code": "00001"}, {"commune_code.code-list"}),
]


def test_single_cells_are_judged_as_the_contract_says(tmp_path: Path, judge_file: JudgeFile, good_line: dict[str, str]) -> None:
    out = tmp_path / "out.csv"
    late = {"due_on": "30/06/2025", "finished_at": "20/06/2025 10:00:00", "returned_on": "21/06/2025", "received_on": "02/06/2025"}
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([f.label for f in DOSSIER.fields])
        for number, (changed, _) in enumerate(CASES):
            writer.writerow({**good_line, **late, "dossier_code": f"H08.01-250602-{number:04d}", **changed}.values())
    _, found = judge_file(out, "binh-dinh", JUNE)
    wrong = {line: {rule for rule, _ in rules} for line, rules in found.items() if rules}
    expected = {number: rules for number, (_, rules) in enumerate(CASES, 2) if rules}
    assert wrong == expected
