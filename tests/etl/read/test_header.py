"""Columns are found by the text of their headings, never by their position."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etl.read.header import HeaderFinder
from etl.read.heading import is_numbering
from etl.read.levels import Merge
from expectations.faults import SenderFault
from tests.etl.read.reading import PEOPLE, PROVINCE, cells, contract_of, number, read, text

Row = list[Any]


def find(folder: Path, rows: list[Row], *fields: dict[str, Any], merges: list[Merge] | None = None, **layout: Any) -> Any:
    finder = HeaderFinder(contract_of(folder, *fields, **layout))
    return finder.find(rows, range(1, len(rows) + 1), merges or [])


@pytest.mark.parametrize("heading", ["TỈNH", " tinh ", "Tỉnh (1)", "Tỉnh (*)", "Tỉnh *", "Tỉnh†", "Tỉnh\nProvince", "Ti\u0309nh"])
def test_case_accents_blanks_marks_and_a_second_language_do_not_matter(tmp_path: Path, heading: str) -> None:
    assert find(tmp_path, [[heading, "Dân số"], ["a", 1.0]]).columns["province"] == (0,)


def test_half_of_a_wrapped_heading_is_not_the_whole(tmp_path: Path) -> None:
    rows = [["Tỉnh", "Chi phí\nthời gian"], ["a", 1.0]]
    found = find(tmp_path, rows, PROVINCE, number("cost", "Chi phí"))
    assert found.header.missing == ("cost",)
    assert found.header.unknown == ("Chi phí thời gian",)


def test_a_wrapped_bilingual_heading_is_read_in_either_language(tmp_path: Path) -> None:
    rows = [["Tỉnh", "Bổ sung \ncân đối\nGeneral\ntransfers"]]
    for wording in ("Bổ sung cân đối", "General transfers", "Bổ sung cân đối General transfers"):
        assert find(tmp_path, rows, PROVINCE, number("transfer", wording)).columns["transfer"] == (1,)


def test_a_path_tells_equal_leaves_apart(tmp_path: Path) -> None:
    rows = [["Tỉnh", "Bổ sung", "", "Chi", ""], ["", "Tổng số", "Khác", "Tổng số", "Khác"]]
    found = find(tmp_path, rows, PROVINCE, number("added", "Bổ sung / Tổng số"), number("spent", "Chi / Tổng số"))
    assert (found.columns["added"], found.columns["spent"]) == ((1,), (3,))
    assert found.header.unknown == ("Bổ sung / Khác", "Chi / Khác")


def test_two_columns_that_fit_one_field_are_a_fault_that_names_both(tmp_path: Path) -> None:
    with pytest.raises(SenderFault, match=r"B \(2017 / Dân số\), C \(2018 / Dân số\)"):
        find(tmp_path, [["Tỉnh", "2017", "2018"], ["", "Dân số", "Dân số"], ["a", 1.0, 2.0]])


def test_the_same_heading_twice_is_a_fault_only_if_a_field_is_looked_for_there(tmp_path: Path) -> None:
    found = find(tmp_path, [["Tỉnh", "Dân số", "x", "x"]])
    assert found.header.unknown == ("x",)
    with pytest.raises(SenderFault):
        find(tmp_path, [["Tỉnh", "Dân số", "Dân số"]])


def test_the_whole_text_is_preferred_to_one_without_its_mark(tmp_path: Path) -> None:
    assert find(tmp_path, [["Tỉnh", "Dân số (1)", "Dân số"]]).columns["people"] == (2,)


def test_the_most_telling_wording_gets_the_column(tmp_path: Path) -> None:
    rows = [["Tỉnh", "Dân số thành thị", "Dân số"]]
    found = find(tmp_path, rows, PROVINCE, number("people", "Dân số*"), number("urban", "Dân số thành thị"))
    assert (found.columns["people"], found.columns["urban"]) == ((2,), (1,))


def test_a_star_takes_any_continuation_and_a_star_after_a_blank_whole_words(tmp_path: Path) -> None:
    rows = [["Tỉnh", "Tổng thu trên địa bàn"]]
    for wording in ("Tổng thu*", "Tổng thu *", "* địa bàn", "Tổng * bàn"):
        assert "income" in find(tmp_path, rows, PROVINCE, number("income", wording)).columns
    assert "income" not in find(tmp_path, [["Tỉnh", "Tổng thuế"]], PROVINCE, number("income", "Tổng thu *")).columns


def test_a_group_heading_written_once_reaches_to_the_next_one(tmp_path: Path) -> None:
    rows = [["", "2017", " ", "2018", ""], ["Tỉnh", "Nam", "Nữ", "Nam", "Nữ"]]
    found = find(tmp_path, rows, PROVINCE, number("men", "2018 / Nam"), number("women", "2018 / Nữ"))
    assert (found.columns["men"], found.columns["women"]) == ((3,), (4,))


def test_a_merged_heading_reaches_as_far_as_it_is_merged(tmp_path: Path) -> None:
    rows = [["Tỉnh", "Dân số", "", "", "Ghi chú"], ["", "Nam", "Nữ", "", ""]]
    merges = [Merge(0, 0, 1, 0), Merge(0, 1, 0, 2), Merge(0, 4, 1, 4)]
    found = find(tmp_path, rows, PROVINCE, number("women", "Dân số / Nữ"), merges=merges)
    assert found.columns["women"] == (2,)
    assert found.header.unknown == ("Dân số / Nam", "Ghi chú")


def test_columns_under_one_merged_leaf_are_one_column(tmp_path: Path) -> None:
    found = find(tmp_path, [["Tỉnh", "Dân số", "", "x"], ["a", None, 5.0, 1.0]], merges=[Merge(0, 1, 0, 2)])
    assert found.columns["people"] == (1, 2)


def test_titles_above_are_passed_over(tmp_path: Path) -> None:
    rows: list[Row] = [
        ["BỘ TÀI CHÍNH"],
        [],
        ["Dân số các tỉnh năm 2024"],
        ["Đơn vị: nghìn người", "", ""],
        ["STT", "Tỉnh", "Dân số"],
        [1.0, "a", 2.0],
    ]
    assert find(tmp_path, rows).header.last_line == 5


def test_the_anchor_says_where_the_header_begins(tmp_path: Path) -> None:
    rows: list[Row] = [["Tỉnh", "Dân số"], ["a", 1.0], [], ["Bảng 2"], ["Tỉnh", "Dân số", "Nguồn"], ["b", 2.0, "x"]]
    assert find(tmp_path, rows).last == 0
    assert find(tmp_path, rows, header={"anchor": "Nguồn"}).last == 4
    assert find(tmp_path, rows, header={"anchor": "Không có"}) is None


def test_a_number_of_header_lines_can_be_given(tmp_path: Path) -> None:
    rows: list[Row] = [["Tỉnh", "Dân số"], ["", "người"], ["a", 1.0]]
    people = number("people", "Dân số / *")
    assert find(tmp_path, rows, PROVINCE, people).last == 0
    assert find(tmp_path, rows, PROVINCE, people, header={"lines": 2}).last == 1


def test_a_blank_wording_finds_the_column_without_heading(tmp_path: Path) -> None:
    found = find(tmp_path, [[" ", "Dân số"], ["a", 1.0]], text("province", " ", required=True), PEOPLE)
    assert found.columns["province"] == (0,)


def test_columns_nobody_knows_are_told_and_ignored_ones_are_not(tmp_path: Path) -> None:
    rows: list[Row] = [["", "STT\nNo", "Tỉnh", "Dân số", "Vùng", ""], ["x", 1.0, "a", 2.0, "v", None]]
    found = find(tmp_path, rows, ignore=["STT"])
    assert found.header.unknown == ("(A)", "Vùng")
    assert find(tmp_path, rows, ignore=["STT", "Vùng", " "]).header.unknown == ()


def test_without_any_required_column_there_is_no_header_unless_most_others_are_there(tmp_path: Path) -> None:
    assert find(tmp_path, [["Dân số"], [1.0]]) is None
    found = find(tmp_path, [["Dân số", "Diện tích", "Tỉh"], [1.0, 2.0, "a"]], PROVINCE, PEOPLE, number("area", "Diện tích"))
    assert (found.header.missing, found.header.unknown) == (("province",), ("Tỉh",))


def test_a_missing_header_is_told_with_what_comes_nearest(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("Tỉnh thàhn,Dân số\na,1\n", encoding="utf-8")
    contract = contract_of(tmp_path, text("province", required=True, businessName="Tỉnh, thành"), PEOPLE)
    with pytest.raises(SenderFault, match=r"Nearest: 'Tỉnh thàhn' for 'Tỉnh, thành'"):
        read(file, contract)


@pytest.mark.parametrize(
    "line", [["A", "B", "1", "2", "4=5+6"], ["", "", "1", "2", "3", "4", "5"], ["(1)", "(2)", "(3)"], ["1", "2", "3=1+2"]]
)
def test_a_line_that_numbers_the_columns_is_known(line: list[str]) -> None:
    if line[-1] == "4=5+6":
        line = ["A", "B", "1", "2", "3", "4=5+6"]
    assert is_numbering(line)


@pytest.mark.parametrize(
    "line", [["1", "2", "3"], ["5", "6", "7", "8", "9"], ["a", "1", "2", "x"], ["1", "1", "2", "3", "4"], [], ["A"], ["A", "B"]]
)
def test_small_numbers_of_a_data_line_do_not_number_columns(line: list[str]) -> None:
    assert not is_numbering(line)


def test_below_a_first_line_numbers_are_data_unless_the_contract_asks_for_numbering(tmp_path: Path) -> None:
    rows: list[Row] = [["Tỉnh", "Dân số", "a", "b", "c"], [1.0, 2.0, 3.0, 4.0, 5.0]]
    assert find(tmp_path, rows).last == 0
    assert find(tmp_path, rows, header={"numbered": "required"}).last == 1
    assert find(tmp_path, [["Bảng 1"], *rows]).last == 2
    assert find(tmp_path, [["Bảng 1"], *rows], header={"numbered": "never"}).last == 1
    with pytest.raises(SenderFault, match="numbers the columns"):
        find(tmp_path, rows[:1], header={"numbered": "required"})


WORDS = ["TỔNG", "THU", "NGÂN", "SÁCH", "ĐỊA", "BÀN"]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_heading_is_found_however_it_is_wrapped_and_merged(tmp_path: Path, data: st.DataObject) -> None:
    """Wrapped over up to five lines at random places, beside a heading merged over all of them, below some titles."""
    height = data.draw(st.integers(1, 5))
    cuts = sorted(data.draw(st.lists(st.integers(1, len(WORDS) - 1), max_size=height - 1, unique=True)))
    pieces = [" ".join(WORDS[a:b]) for a, b in zip([0, *cuts], [*cuts, len(WORDS)], strict=True)]
    places = sorted(data.draw(st.permutations(range(height)))[: len(pieces)])
    rows: list[Row] = [["" for _ in range(4)] for _ in range(height)]
    for place, piece in zip(places, pieces, strict=True):
        rows[place][2] = data.draw(st.sampled_from([piece, piece.lower(), f" {piece} "]))
    rows[0][0], rows[0][1] = "STT", "Tỉnh"
    rows[data.draw(st.integers(0, height - 1))][3] = "Ghi chú (1)"
    merges = [Merge(0, 0, height - 1, 0), Merge(0, 1, height - 1, 1)]
    titles = data.draw(st.integers(0, 4))
    shifted = [Merge(m.top + titles, m.left, m.bottom + titles, m.right) for m in merges if height > 1]
    grid = [["Bảng số liệu"] for _ in range(titles)] + rows + [[1.0, "Bình Định", 5.0, "x"]]
    found = find(tmp_path, grid, PROVINCE, number("income", "Tổng thu ngân sách địa bàn"), text("remark", "Ghi chú"), merges=shifted)
    assert (found.columns["province"], found.columns["income"], found.columns["remark"]) == ((1,), (2,), (3,))
    assert found.last < titles + height


def test_fields_come_in_the_order_of_the_contract(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Dân số,Tỉnh\n1,a\n", encoding="utf-8")
    table, batches = read(tmp_path / "a.csv", contract_of(tmp_path))
    assert list(table.header.found) == list(batches[0].columns) == ["province", "people"]
    assert cells(batches, "people") == ["1"]
