"""Columns whose headings are values become lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from etl.read import Batch, Table
from etl.read.tables import find_parts
from expectations.faults import SenderFault
from tests.etl.read.reading import PEOPLE, PROVINCE, cells, contract_of, groups, lines, number, period, read, text


def table(folder: Path, content: str, *fields: dict[str, Any], **layout: Any) -> tuple[Table, list[Batch]]:
    (folder / "a.csv").write_text(content, encoding="utf-8")
    return read(folder / "a.csv", contract_of(folder, *fields, **layout))


def rows(batches: list[Batch], *names: str) -> list[tuple[Any, ...]]:
    return list(zip(lines(batches), *(cells(batches, name) for name in names), strict=True))


def test_every_other_column_is_a_name_when_nothing_else_is_said(tmp_path: Path) -> None:
    fields = [text("province"), text("day", required=True), PEOPLE]
    content = "day,Hà Nội,Huế,ghi chú\n1,5,6,x\n2,7,,y\n"
    found, batches = table(tmp_path, content, *fields, unpivot={"names": "province", "values": "people"}, ignore=["Ghi chú"])
    assert rows(batches, "day", "province", "people") == [
        (2, "1", "Hà Nội", "5"),
        (2, "1", "Huế", "6"),
        (3, "2", "Hà Nội", "7"),
        (3, "2", "Huế", None),
    ]
    assert (found.header.missing, found.header.unknown) == ((), ())


def test_a_level_may_hold_the_name_and_the_other_the_field(tmp_path: Path) -> None:
    content = ";2017;;Sơ bộ 2018;\nTỉnh;Dân số;Diện tích (km2);Dân số;Diện tích (km2)\na;5;2;3;4\n"
    fields = [PROVINCE, period(), PEOPLE, number("area", "Diện tích (km2)")]
    _, batches = table(tmp_path, content, *fields, unpivot={"names": "year", "pattern": r"(\d{4})"})
    assert rows(batches, "year", "people", "area") == [(3, "2017", "5", "2"), (3, "2018", "3", "4")]


def test_the_name_may_stand_inside_one_heading(tmp_path: Path) -> None:
    content = "Tỉnh,Dân số 2017,Dân số năm 2018 (*),Diện tích 2017\na,1,3,2\n"
    fields = [PROVINCE, period(), number("people", "Dân số", "Dân số năm"), number("area", "Diện tích")]
    _, batches = table(tmp_path, content, *fields, unpivot={"names": "year", "pattern": r"\d{4}"})
    assert rows(batches, "year", "people", "area") == [(2, "2017", "1", "2"), (2, "2018", "3", None)]


def test_years_alone_take_the_one_value(tmp_path: Path) -> None:
    _, batches = table(
        tmp_path, "Tỉnh,2017,2018\na,1,2\n", PROVINCE, period(), PEOPLE, unpivot={"names": "year", "values": "people", "pattern": r"^\d{4}"}
    )
    assert rows(batches, "year", "people") == [(2, "2017", "1"), (2, "2018", "2")]


def test_one_name_twice_for_one_field_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(SenderFault, match="all fit"):
        table(
            tmp_path,
            "Tỉnh,2017,Sơ bộ 2017\na,1,2\n",
            PROVINCE,
            period(),
            PEOPLE,
            unpivot={"names": "year", "values": "people", "pattern": r"\d{4}"},
        )


def test_headings_that_tell_periods_make_a_part_each_with_its_own_totals(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Tỉnh,2017,2018\nTổng,3,7\na,1,3\nb,2,4\n", encoding="utf-8")
    layout: dict[str, Any] = {"unpivot": {"names": "year", "values": "people", "pattern": r"\d{4}"}, "lines": {"total": ["Tổng"]}}
    contract = contract_of(tmp_path, PROVINCE, period(), PEOPLE, **layout)
    parts = find_parts(tmp_path / "a.csv", contract, None)
    found = [read(tmp_path / "a.csv", contract, part) for part in parts]
    assert [rows(batches, "year", "people") for _, batches in found] == [
        [(3, "2017", "1"), (4, "2017", "2")],
        [(3, "2018", "3"), (4, "2018", "4")],
    ]
    assert [dict(one.declared[0].values) for one, _ in found] == [{"people": 3.0}, {"people": 7.0}]


def test_a_total_over_names_that_are_no_periods_is_their_sum_if_the_measure_adds_up(tmp_path: Path) -> None:
    share = {**number("share"), "customProperties": [{"property": "measure", "value": {"additive": False, "unit": "%"}}]}
    for field, expected in ((PEOPLE, {"people": 7.0}), (share, {})):
        layout: dict[str, Any] = {"unpivot": {"names": "sex", "values": field["name"]}, "lines": {"total": ["Tổng"]}}
        found, _ = table(tmp_path, "Tỉnh,Nam,Nữ\nTổng,3,4\na,3,4\n", PROVINCE, text("sex"), field, **layout)
        assert dict(found.declared[0].values) == expected


def test_groups_and_marks_go_with_every_line_of_a_row(tmp_path: Path) -> None:
    layout: dict[str, Any] = {
        "unpivot": {"names": "sex", "values": "people"},
        "lines": {"subtotal": {"labels": ["Miền*"]}, "unassigned": ["Khác"]},
    }
    _, batches = table(tmp_path, "Tỉnh,Nam,Nữ\nMiền Bắc,,\na,1,2\nKhác,3,4\n", PROVINCE, text("sex"), PEOPLE, **layout)
    assert groups(batches) == [0, 0, 0, 0]
    assert batches[0].is_unassigned is not None
    assert batches[0].is_unassigned.tolist() == [False, False, True, True]


def test_batches_stay_small_however_many_names_there_are(tmp_path: Path) -> None:
    content = "Tỉnh," + ",".join(f"n{k}" for k in range(50)) + "\n" + ("a" + ",1" * 50 + "\n") * 200
    (tmp_path / "a.csv").write_text(content, encoding="utf-8")
    contract = contract_of(tmp_path, PROVINCE, text("name"), PEOPLE, unpivot={"names": "name", "values": "people"})
    _, batches = read(tmp_path / "a.csv", contract, batch_rows=1_000)
    assert sum(len(batch.lines) for batch in batches) == 10_000


def test_rankings_side_by_side_each_have_their_own_provinces(tmp_path: Path) -> None:
    content = "STT,Tỉnh,Chi phí,,Đất đai,Hạng\n1,a,5,b,9,x\n2,b,4,a,8,y\n3,c,3,,,z\n"
    layout: dict[str, Any] = {"unpivot": {"names": "index", "values": "people", "beside": "province"}, "ignore": ["STT", "Hạng"]}
    found, batches = table(tmp_path, content, PROVINCE, text("index"), PEOPLE, **layout)
    assert rows(batches, "province", "index", "people") == [
        (2, "a", "Chi phí", "5"),
        (2, "b", "Đất đai", "9"),
        (3, "b", "Chi phí", "4"),
        (3, "a", "Đất đai", "8"),
        (4, "c", "Chi phí", "3"),
    ]
    assert (found.header.missing, found.header.unknown) == ((), ())
