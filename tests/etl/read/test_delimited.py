"""Text with separators: cells, physical lines, broken lines, a torn end."""

from __future__ import annotations

import csv
import io
import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etl.read.tables import read_table
from expectations.faults import SenderFault
from tests.etl.read.reading import YEAR, broken, cells, contract_of, lines, read, text

FIELDS = [text("a", required=True), text("b"), text("c")]
ONE = [text("a", required=True)]
CELL = st.text(alphabet=st.sampled_from(list('ab"; ,|\t\n\r é\u0300Đ1')), max_size=8)
ROWS = st.lists(st.tuples(CELL, CELL, CELL), max_size=12)


def physical_lines(text: str) -> int:
    return len(re.findall(r"\r\n|\r|\n", text))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, separator=st.sampled_from(",;\t|"), ending=st.sampled_from(["\n", "\r\n"]))
def test_what_was_written_is_read_with_its_physical_line(tmp_path: Path, rows: list[tuple[str, ...]], separator: str, ending: str) -> None:
    out = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if ending == "\n" else csv.QUOTE_MINIMAL  # the writer leaves a lone carriage return bare otherwise
    writer = csv.writer(out, delimiter=separator, lineterminator=ending, quoting=quoting)
    writer.writerow(["a", "b", "c"])
    expected = []
    for row in rows:
        line = physical_lines(out.getvalue()) + 1
        writer.writerow(row)
        if any(cell.strip() for cell in row):
            expected.append((line, *(cell or None for cell in row)))
    file = tmp_path / "a.csv"
    file.write_bytes(out.getvalue().encode())
    _, batches = read(file, contract_of(tmp_path, *FIELDS), batch_rows=3)
    assert list(zip(lines(batches), *(cells(batches, name) for name in "abc"), strict=True)) == expected
    assert broken(batches) == []


LINE = st.one_of(
    st.tuples(st.just("good"), st.sampled_from(["1,2,3", '"x\ny",2,3', '1,"a""b",3'])),
    st.tuples(st.just("broken"), st.sampled_from(["1,2", "1,2,3,4", "alone", '"q\nr",2'])),
    st.tuples(st.just("blank"), st.sampled_from(["", ",,", " , ,", '""'])),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.lists(LINE, max_size=30), size=st.integers(1, 12))
def test_lines_in_are_lines_out(tmp_path: Path, content: list[tuple[str, str]], size: int) -> None:
    """Good and broken lines come out once each, with their own number and in the file's order; blank ones do not."""
    whole = "a,b,c\n"
    good: list[int] = []
    bad: list[int] = []
    for kind, line in content:
        {"good": good, "broken": bad, "blank": []}[kind].append(physical_lines(whole) + 1)
        whole += line + "\n"
    (tmp_path / "a.csv").write_text(whole, encoding="utf-8")
    table, batches = read(tmp_path / "a.csv", contract_of(tmp_path, *FIELDS), batch_rows=size)
    assert (lines(batches), broken(batches)) == (good, bad)
    assert not table.is_cut


def test_a_lone_carriage_return_ends_a_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b,c\r1,2,3\r\r4,5,6\r7\r")
    _, batches = read(tmp_path / "a.csv", contract_of(tmp_path, *FIELDS))
    assert (lines(batches), cells(batches, "a"), broken(batches)) == ([2, 4], ["1", "4"], [5])


def test_one_column_is_enough(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('a\nx\n\n"y, z"\nw\n', encoding="utf-8")
    _, batches = read(tmp_path / "a.csv", contract_of(tmp_path, *ONE))
    assert list(zip(lines(batches), cells(batches, "a"), strict=True)) == [(2, "x"), (4, "y, z"), (5, "w")]


def test_a_header_without_lines_is_an_empty_table(tmp_path: Path) -> None:
    for content in ("a,b,c", "a,b,c\n", "a,b,c\n\n"):
        (tmp_path / "a.csv").write_text(content, encoding="utf-8")
        table, batches = read(tmp_path / "a.csv", contract_of(tmp_path, *FIELDS))
        assert (batches, table.header.missing, table.is_cut) == ([], (), False)


def test_a_broken_line_says_what_was_found_and_expected(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b,c\n1,2\n" + "x" * 500 + "\n", encoding="utf-8")
    _, batches = read(tmp_path / "a.csv", contract_of(tmp_path, *FIELDS))
    first, second = batches[0].broken
    assert "2 cells, the header 3" in first.message.en
    assert "2 ô, tiêu đề có 3" in first.message.vi
    assert len(second.text) == 200


@pytest.mark.parametrize(
    ("end", "is_cut", "bad"),
    [
        ("1,2,3", False, []),
        ("1,2", True, [3]),
        ("1,2\n", False, [3]),
        ('1,2,"x', True, [3]),
        ('1,2,"x\n', True, [3]),
        ('1,2,"x\ny', True, [3]),
        ('1,2,"', True, [3]),
        ('1,"2', True, [3]),
        ('1,2,"x"', False, []),
        ('1,2,""', False, []),
        ('1,2,a"b', False, []),
        ('1,2,"a""', True, [3]),
        ("1,2,3\n1,2,", False, []),
    ],
)
def test_a_file_that_ends_inside_a_line_is_cut(tmp_path: Path, end: str, is_cut: bool, bad: list[int]) -> None:
    for encoding in ("utf-8", "utf-16"):
        (tmp_path / "a.csv").write_bytes(f"a,b,c\n7,8,9\n{end}".encode(encoding))
        table, batches = read(tmp_path / "a.csv", contract_of(tmp_path, *FIELDS))
        assert (table.is_cut, broken(batches)) == (is_cut, bad)
        assert lines(batches)[0] == 2


def test_a_quotation_mark_never_closed_in_a_large_file_is_told_with_its_place(tmp_path: Path) -> None:
    good = "1,2,3\n" * 400_000
    (tmp_path / "a.csv").write_text("a,b,c\n" + good + '4,"5,6\n' + good, encoding="utf-8")
    with pytest.raises(SenderFault, match="quotation mark"):
        read(tmp_path / "a.csv", contract_of(tmp_path, *FIELDS))


def test_many_broken_lines_keep_their_places_over_blocks(tmp_path: Path) -> None:
    content = "".join(f"{n},2,3\n" if n % 7 else f"{n},2\n" for n in range(2, 300_000))
    (tmp_path / "a.csv").write_text("a,b,c\n" + content, encoding="utf-8")
    _, batches = read(tmp_path / "a.csv", contract_of(tmp_path, *FIELDS), batch_rows=10_000)
    assert lines(batches) == [n for n in range(2, 300_000) if n % 7]
    assert broken(batches) == [n for n in range(2, 300_000) if not n % 7]
    assert cells(batches, "a") == [str(n) for n in range(2, 300_000) if n % 7]


def test_broken_lines_come_with_the_batch_they_stand_in(tmp_path: Path) -> None:
    content = "".join(f"{n},2,3\n" if n % 5 else f"{n},2\n" for n in range(2, 200_000))
    (tmp_path / "a.csv").write_text("a,b,c\n" + content, encoding="utf-8")
    _, batches = read(tmp_path / "a.csv", contract_of(tmp_path, *FIELDS), batch_rows=50_000)
    for batch, following in pairwise(batches):
        assert all(one.line < following.lines[0] + 1 for one in batch.broken)
        assert all(one.line > batch.lines[-1] for one in following.broken)


def test_the_separator_is_the_one_under_which_the_header_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("sep=;\na;b;c\n1,5;2,5;x|y\n", encoding="utf-8")
    _, batches = read(tmp_path / "a.csv", contract_of(tmp_path, *FIELDS))
    assert [cells(batches, name) for name in "abc"] == [["1,5"], ["2,5"], ["x|y"]]


def test_titles_and_headings_over_several_lines_are_not_rows(tmp_path: Path) -> None:
    content = '"Bảng, số\n1"\n\n"x";"";"y"\n"a";"b";"c"\n1;2;3\n'
    (tmp_path / "a.csv").write_text(content, encoding="utf-8")
    table, batches = read(tmp_path / "a.csv", contract_of(tmp_path, *FIELDS))
    assert (table.header.last_line, lines(batches)) == (5, [6])


def test_columns_may_stand_in_any_order_and_unknown_ones_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("c,x,a\n3,9,1\n", encoding="utf-8")
    table, batches = read(tmp_path / "a.csv", contract_of(tmp_path, *FIELDS))
    assert (cells(batches, "a"), cells(batches, "c")) == (["1"], ["3"])
    assert (table.header.missing, table.header.unknown) == (("b",), ("x",))


@pytest.mark.parametrize(("header", "row"), [("a,b,c,", "1,2,3"), ("a,b,c", "1,2,3,"), ("a,b,c,,", "1,2,3")])
def test_a_separator_too_many_at_the_end_of_all_rows_or_of_the_header_does_no_harm(tmp_path: Path, header: str, row: str) -> None:
    (tmp_path / "a.csv").write_text(f"{header}\n{row}\n\n{row}\n", encoding="utf-8")
    table, batches = read(tmp_path / "a.csv", contract_of(tmp_path, *FIELDS))
    assert (cells(batches, "c"), lines(batches), broken(batches)) == (["3", "3"], [2, 4], [])
    assert table.repairs == {"separators": 1}


def test_a_cell_too_many_that_is_filled_breaks_the_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b,c\n1,2,3,4\n1,2,3,4\n", encoding="utf-8")
    table, batches = read(tmp_path / "a.csv", contract_of(tmp_path, *FIELDS))
    assert (broken(batches), table.repairs) == ([2, 3], {})


def test_a_file_of_nothing_but_broken_lines_is_returned_before_it_fills_the_memory(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b,c\n1,2,3\n" + "1,2\n" * 700_000, encoding="utf-8")
    with pytest.raises(SenderFault, match="600000 lines in a row do not have the header's 3 cells"):
        read(tmp_path / "a.csv", contract_of(tmp_path, *FIELDS))


def test_broken_lines_do_not_gather_while_some_are_whole(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b,c\n" + ("1,2\n" * 99 + "1,2,3\n") * 9_000, encoding="utf-8")
    table = read_table(tmp_path / "a.csv", contract_of(tmp_path, *FIELDS), YEAR, batch_rows=20_000)
    sizes = [len(batch.broken) for batch in table.batches]
    assert sum(sizes) == 891_000
    assert max(sizes) < 600_000
