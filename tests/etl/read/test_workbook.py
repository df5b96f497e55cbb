"""Workbooks: the sheet, its own line numbers, typed cells, merged cells, and what is too large."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
import xlwt
from openpyxl import Workbook
from openpyxl.styles import Font
from xlwt import CompoundDoc

from etl.read import Part
from etl.read.tables import find_parts, read_table
from expectations.faults import SenderFault
from expectations.period import Period
from tests.etl.read.reading import PEOPLE, PROVINCE, cells, contract_of, groups, lines, number, read, text


def book(
    folder: Path,
    *rows: list[Any],
    at: tuple[int, int] = (1, 1),
    merges: list[str] | None = None,
    change: Callable[[Workbook], None] | None = None,
) -> Path:
    """A workbook of one sheet whose rows begin at a cell."""
    made = Workbook()
    sheet = made.active
    for line, row in enumerate(rows, at[0]):
        for place, cell in enumerate(row, at[1]):
            sheet.cell(line, place, cell)
    for merge in merges or []:
        sheet.merge_cells(merge)
    if change:
        change(made)
    made.save(folder / "a.xlsx")
    return folder / "a.xlsx"


def test_lines_are_the_sheets_own_rows_wherever_the_table_begins(tmp_path: Path) -> None:
    file = book(tmp_path, ["Tỉnh", "Dân số"], ["a", 1], [None, None], ["b", 2.5], at=(4, 3))
    table, batches = read(file, contract_of(tmp_path))
    assert (table.header.last_line, lines(batches), cells(batches, "people")) == (4, [5, 7], [1.0, 2.5])
    assert table.sheet == "Sheet"


def test_cells_keep_the_type_that_the_workbook_stores(tmp_path: Path) -> None:
    fields = [PROVINCE, *(text(name) for name in ("day", "moment", "flag", "code", "hour"))]
    rows = [["Tỉnh", "day", "moment", "flag", "code", "hour"], ["a", date(2024, 1, 2), datetime(2024, 1, 2, 3, 4), True, "0012", 0.1]]
    _, batches = read(book(tmp_path, *rows), contract_of(tmp_path, *fields))
    found = [cells(batches, name)[0] for name in ("day", "moment", "flag", "code", "hour")]
    assert found == [datetime(2024, 1, 2), datetime(2024, 1, 2, 3, 4), True, "0012", 0.1]


def test_formatted_rows_without_content_cost_nothing(tmp_path: Path) -> None:
    def phantom(made: Workbook) -> None:
        made.active["A65000"].font = Font(bold=True)

    _, batches = read(book(tmp_path, ["Tỉnh", "Dân số"], ["a", 1], change=phantom), contract_of(tmp_path))
    assert lines(batches) == [2]


def test_one_stray_cell_far_away_is_refused_before_the_reader_allots_the_sheet(tmp_path: Path) -> None:
    def far(made: Workbook) -> None:
        made.active["XFD1048576"] = "x"

    with pytest.raises(SenderFault, match="Sheet: 1048576 × 16384") as fault:
        read(book(tmp_path, ["Tỉnh", "Dân số"], change=far), contract_of(tmp_path))
    assert fault.value.rule == "too-large"


def test_a_damaged_old_workbook_that_would_end_the_reader_ends_its_own_delivery_only(tmp_path: Path) -> None:
    made = xlwt.Workbook()
    made.add_sheet("a").write(0, 0, 1.5)
    stream = made.get_biff_data()
    cell = stream.index(b"\x7e\x02\x0a\x00")  # a second one like it, in row and column 65535, makes a rectangle of 2**32 cells
    far = stream[cell : cell + 4] + b"\xff\xff\xff\xff" + stream[cell + 8 : cell + 14]
    CompoundDoc.XlsDoc().save(str(tmp_path / "a.xls"), stream[: cell + 14] + far + stream[cell + 14 :])
    with pytest.raises(SenderFault, match=r"damaged .*\(memory\)"):
        read(tmp_path / "a.xls", contract_of(tmp_path))


def test_merged_lines_are_one_line_and_a_footnote_mark_is_no_value(tmp_path: Path) -> None:
    rows = [
        ["Bảng 1"],
        ["STT", "Tỉnh", "Thu", "Chi"],
        [None, "Tổng số", "\u00a0(1)", 9],
        [None, None, None, None],
        [None, None, 12, None],
        ["I", "Bắc Trung Bộ và", 12, 9],
        [None, "Duyên hải miền Trung", None, None],
        [1, "a", 5, 4],
        [2, "b", 7, 5],
    ]
    merges = ["A3:A5", "B3:B5", "D3:D5", "A6:A7", "C6:C7", "D6:D7"]
    layout = {"ignore": ["STT"], "lines": {"total": ["Tổng số"], "subtotal": {"first_cell": "^[IVX]+$"}}}
    table, batches = read(
        book(tmp_path, *rows, merges=merges), contract_of(tmp_path, PROVINCE, number("income", "Thu"), number("spent", "Chi"), **layout)
    )
    assert [(one.line, one.scope, dict(one.values)) for one in table.declared] == [
        (3, "Tổng số", {"income": 12.0, "spent": 9.0}),
        (6, "Bắc Trung Bộ và Duyên hải miền Trung", {"income": 12.0, "spent": 9.0}),
    ]
    assert (lines(batches), groups(batches)) == ([8, 9], [0, 0])


def test_a_cell_merged_over_several_data_lines_speaks_for_each(tmp_path: Path) -> None:
    rows = [["Tỉnh", "Giới", "Dân số"], ["a", "nam", 1], [None, "nữ", 2], ["b", "nam", 3], [None, "nữ", 4]]
    _, batches = read(book(tmp_path, *rows, merges=["A2:A3", "A4:A5"]), contract_of(tmp_path, PROVINCE, text("sex", "Giới"), PEOPLE))
    assert cells(batches, "province") == ["a", "a", "b", "b"]
    assert lines(batches) == [2, 3, 4, 5]


def test_under_one_merged_heading_the_first_filled_cell_counts(tmp_path: Path) -> None:
    rows = [["Tỉnh", "Dân số", None], ["a", None, 5], ["b", 6, None], ["c", 7, 8]]
    _, batches = read(book(tmp_path, *rows, merges=["B1:C1"]), contract_of(tmp_path))
    assert cells(batches, "people") == [5.0, 6.0, 7.0]


def test_hidden_and_empty_sheets_are_passed_over(tmp_path: Path) -> None:
    def more(made: Workbook) -> None:
        made.create_sheet("empty")
        hidden = made.create_sheet("hidden")
        hidden.append(["Tỉnh", "Dân số"])
        hidden.sheet_state = "hidden"
        made.create_sheet("notes").append(["Ghi chú"])

    table, _ = read(book(tmp_path, ["Tỉnh", "Dân số"], ["a", 1], change=more), contract_of(tmp_path))
    assert table.sheet == "Sheet"


def test_two_sheets_that_fit_are_a_fault_that_names_them_unless_the_contract_chooses(tmp_path: Path) -> None:
    def second(made: Workbook) -> None:
        made.create_sheet("Bảng 2").append(["Tỉnh", "Dân số"])

    file = book(tmp_path, ["Tỉnh", "Dân số"], ["a", 1], change=second)
    with pytest.raises(SenderFault, match="«Sheet», «Bảng 2»"):
        read(file, contract_of(tmp_path))
    assert read(file, contract_of(tmp_path, sheet="^bảng"))[0].sheet == "Bảng 2"
    with pytest.raises(SenderFault, match=r"No sheet of 'a.xlsx' matches '\^M09\$'"):
        read(file, contract_of(tmp_path, sheet="^M09$"))


def test_a_sheet_a_year_is_a_part_a_year(tmp_path: Path) -> None:
    def years(made: Workbook) -> None:
        made.active.title = "Năm 2023"
        made.create_sheet("Ghi chú")
        other = made.create_sheet("Năm 2024")
        other.append(["Tỉnh", "Dân số"])
        other.append(["b", 2])

    file = book(tmp_path, ["Tỉnh", "Dân số"], ["a", 1], change=years)
    contract = contract_of(tmp_path, sheet="Năm {period:%Y}")
    parts = find_parts(file, contract, None)
    assert [(str(part.period), part.sheet, part.by_line) for part in parts] == [("2023", "Năm 2023", False), ("2024", "Năm 2024", False)]
    assert [cells(list(read_table(file, contract, part).batches), "province") for part in parts] == [["a"], ["b"]]
    assert cells(read(file, contract, Part(Period.containing(date(2024, 1, 1), "year")))[1], "province") == ["b"]


def test_old_workbooks_are_read_alike(tmp_path: Path) -> None:
    made = xlwt.Workbook()
    sheet = made.add_sheet("a")
    sheet.write_merge(2, 3, 1, 1, "Tỉnh")
    sheet.write_merge(2, 2, 2, 3, "Dân số")
    sheet.write(3, 2, "Nam")
    sheet.write(3, 3, "Nữ")
    for place, cell in enumerate(["x", 1, 2.5], 1):
        sheet.write(4, place, cell)
    made.save(str(tmp_path / "a.xls"))
    table, batches = read(tmp_path / "a.xls", contract_of(tmp_path, PROVINCE, number("women", "Dân số / Nữ")))
    assert (table.header.last_line, lines(batches), cells(batches, "women")) == (4, [5], [2.5])
    assert table.header.unknown == ("Dân số / Nam",)


def test_open_document_sheets_are_read_alike(tmp_path: Path) -> None:
    names = " ".join(f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "table", "text"))
    row = '<table:table-row><table:table-cell office:value-type="string"><text:p>{}</text:p></table:table-cell>{}</table:table-row>'
    value = '<table:table-cell office:value-type="float" office:value="3.5"/>'
    rest = (
        '<table:table-row table:number-rows-repeated="1048570"><table:table-cell table:number-columns-repeated="1024"/></table:table-row>'
    )
    heading = '<table:table-cell office:value-type="string"><text:p>Dân số</text:p></table:table-cell>'
    body = row.format("Tỉnh", heading) + row.format("a", value) + rest
    with zipfile.ZipFile(tmp_path / "a.ods", "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("META-INF/manifest.xml", '<m:manifest xmlns:m="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>')
        archive.writestr(
            "content.xml",
            f'<office:document-content {names}><office:body><office:spreadsheet><table:table table:name="A">{body}'
            "</table:table></office:spreadsheet></office:body></office:document-content>",
        )
    _, batches = read(tmp_path / "a.ods", contract_of(tmp_path))
    assert (cells(batches, "province"), cells(batches, "people")) == (["a"], [3.5])


def test_a_sheet_that_is_no_xml_from_some_place_on_is_damaged(tmp_path: Path) -> None:
    file = book(tmp_path, ["Tỉnh", "Dân số"], ["a", 1])
    with zipfile.ZipFile(file) as whole, zipfile.ZipFile(tmp_path / "b.xlsx", "w") as half:
        for name in whole.namelist():
            content = whole.read(name)
            half.writestr(name, content[: len(content) // 2] if name.endswith("sheet1.xml") else content)
    with pytest.raises(SenderFault) as fault:
        read(tmp_path / "b.xlsx", contract_of(tmp_path))
    assert fault.value.rule == "damaged"
