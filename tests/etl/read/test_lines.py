"""Every line of a table comes out once: as data, as declared, as broken, or the contract says that it is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from etl.read import Batch, Table
from tests.etl.read.reading import PEOPLE, PROVINCE, broken, cells, contract_of, groups, lines, number, read, text

BUDGET = [text("province", "Tỉnh", required=True), number("income", "Thu"), {**number("share", "Tỷ lệ"), "logicalType": "number"}]
ROWS = """STT,Tỉnh,Thu,Tỷ lệ
,TỔNG SỐ (1),60,
I,Miền Bắc,30,
1,Hà Giang,10,100
2,Cao Bằng,20,100

II,Miền Nam,30,
3,Cà Mau,30,91
Ghi chú: (1) gồm cả số thu khác
khác nữa,1,2
"""
LAYOUT: dict[str, Any] = {"ignore": ["STT"], "lines": {"total": ["Tổng số"], "subtotal": {"first_cell": "^[IVX]+$"}, "end": "ghi chú"}}


def table(folder: Path, content: str, *fields: dict[str, Any], **layout: Any) -> tuple[Table, list[Batch]]:
    (folder / "a.csv").write_text(content, encoding="utf-8")
    return read(folder / "a.csv", contract_of(folder, *fields, **layout))


def test_totals_are_declared_and_subtotals_speak_for_the_lines_below(tmp_path: Path) -> None:
    found, batches = table(tmp_path, ROWS, *BUDGET, **LAYOUT)
    assert cells(batches, "province") == ["Hà Giang", "Cao Bằng", "Cà Mau"]
    assert lines(batches) == [4, 5, 8]
    assert groups(batches) == [0, 0, 1]
    assert [(one.line, one.scope, one.group, dict(one.values)) for one in found.declared] == [
        (2, "TỔNG SỐ (1)", None, {"income": 60.0}),
        (3, "Miền Bắc", 0, {"income": 30.0}),
        (7, "Miền Nam", 1, {"income": 30.0}),
    ]


def test_behind_the_end_nothing_is_a_line_and_nothing_is_broken(tmp_path: Path) -> None:
    _, batches = table(tmp_path, ROWS, *BUDGET, **LAYOUT)
    assert broken(batches) == []


def test_without_an_end_notes_with_few_cells_are_broken_lines(tmp_path: Path) -> None:
    _, batches = table(tmp_path, ROWS, *BUDGET, lines={"total": ["Tổng số"]})
    assert broken(batches) == [9, 10]
    assert lines(batches) == [3, 4, 5, 7, 8]


def test_the_same_groups_come_out_of_small_batches(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(ROWS, encoding="utf-8")
    contract = contract_of(tmp_path, *BUDGET, **LAYOUT)
    found, batches = read(tmp_path / "a.csv", contract, batch_rows=1)
    assert (lines(batches), groups(batches), len(found.declared)) == ([4, 5, 8], [0, 0, 1], 3)


def test_a_pattern_that_takes_nothing_ends_the_table_at_the_first_blank_line(tmp_path: Path) -> None:
    content = "Tỉnh,Dân số\n\na,1\nb,2\n , \nc,3\n"
    _, batches = table(tmp_path, content, lines={"end": "^$"})
    assert lines(batches) == [3, 4]
    _, batches = table(tmp_path, content)
    assert lines(batches) == [3, 4, 6]


def test_skipped_labels_are_no_lines_and_a_number_is_a_label_too(tmp_path: Path) -> None:
    _, batches = table(
        tmp_path, "STT,Tỉnh,Dân số\n1,a,1\n999,x,2\n2,Cao nhất *,3\n3,Max\n", ignore=["STT"], lines={"skip": ["999", "Cao nhất", "Max"]}
    )
    assert (lines(batches), broken(batches)) == ([2], [])


def test_lines_of_no_province_stay_data_and_are_marked(tmp_path: Path) -> None:
    _, batches = table(tmp_path, "Tỉnh,Dân số\na,1\nChưa xác định tỉnh,2\n", lines={"unassigned": ["Chưa xác định*"]})
    assert [flag for batch in batches for flag in batch.is_unassigned.tolist()] == [False, True]  # type: ignore[union-attr]


def test_what_marks_a_line_of_no_province_may_stand_in_any_text_field(tmp_path: Path) -> None:
    content = "Tỉnh,Dân số,Tên\n01,1,a\n979,2,Chưa xác định\n"
    _, batches = table(tmp_path, content, PROVINCE, PEOPLE, text("name", "Tên"), lines={"unassigned": ["Chưa xác định"]})
    assert [flag for batch in batches for flag in batch.is_unassigned.tolist()] == [False, True]  # type: ignore[union-attr]


def test_subtotals_by_label_and_by_being_alone(tmp_path: Path) -> None:
    content = "Tỉnh,Dân số\nMiền Bắc,3\na,1\nb,2\nMIỀN NAM,\nc,4\n"
    found, batches = table(tmp_path, content, lines={"subtotal": {"labels": ["Miền *"]}})
    assert groups(batches) == [0, 0, 1]
    found, batches = table(tmp_path, content, lines={"subtotal": {"alone": True}})
    assert (groups(batches), [one.scope for one in found.declared]) == ([-1, -1, -1, 0], ["MIỀN NAM"])


def test_a_title_line_gives_a_field_to_the_lines_below(tmp_path: Path) -> None:
    fields = [text("district", "Huyện", required=True), PEOPLE, text("province", businessName="Tỉnh")]
    content = "Huyện,Dân số\nx,1\nBÌNH ĐỊNH,\na,1\nb,2\nGIA LAI,\nc,4\n"
    found, batches = table(tmp_path, content, *fields, lines={"subtotal": {"alone": True, "field": "province"}})
    assert cells(batches, "province") == [None, "BÌNH ĐỊNH", "BÌNH ĐỊNH", "GIA LAI"]
    assert found.header.missing == ()


def test_an_empty_cell_takes_the_one_above_if_the_contract_says_so(tmp_path: Path) -> None:
    content = "Tỉnh,Dân số\na,1\n,2\n ,3\nb,4\n,5\n"
    (tmp_path / "a.csv").write_text(content, encoding="utf-8")
    for size in (1, 2, 100):
        _, batches = read(tmp_path / "a.csv", contract_of(tmp_path, fill_down=["province"]), batch_rows=size)
        assert cells(batches, "province") == ["a", "a", "a", "b", "b"]


@pytest.mark.parametrize(
    ("written", "value"), [("1.234,5", 1234.5), ("7 (1)", 7.0), ("1.000 *", 1000.0), ("..", None), ("x", None), ("", None)]
)
def test_a_declared_number_is_read_in_the_declared_style(tmp_path: Path, written: str, value: float | None) -> None:
    found, _ = table(
        tmp_path, f'Tỉnh,Dân số\nTổng,"{written}"\na,1\n', lines={"total": ["Tổng"]}, numbers={"decimal": ",", "thousands": "."}
    )
    assert found.declared[0].values.get("people") == value


def test_a_total_with_too_few_cells_is_still_declared(tmp_path: Path) -> None:
    found, batches = table(tmp_path, "Tỉnh,Dân số,x\nTổng,12\na,1,2\n", lines={"total": ["Tổng"]})
    assert (found.declared[0].values, broken(batches)) == ({"people": 12.0}, [])


def test_blank_lines_are_no_lines(tmp_path: Path) -> None:
    _, batches = table(tmp_path, "Tỉnh,Dân số\n\na,1\n,\n\u00a0,  \nb,2\n\n\n")
    assert (lines(batches), broken(batches)) == ([3, 6], [])


def test_a_line_with_content_in_unknown_columns_only_is_a_line(tmp_path: Path) -> None:
    _, batches = table(tmp_path, "Tỉnh,Dân số,x\n,,7\n", PROVINCE, PEOPLE)
    assert lines(batches) == [2]
