"""When the text of a cell is a wording of the contract."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from etl.read.wording import Labels, cell_text, readings
from expectations.text import fold

PIECES = st.lists(
    st.sampled_from(
        ["Tổng", "TỔNG", "số", "Cộng", "cả nước", "đ", "Đ", "ß", "\u0309", "(1)", "*", " ", "\n", "\u00a0", "\u200b", "x", "9"]
    ),
    max_size=6,
)


@settings(deadline=None)
@given(texts=st.lists(PIECES.map("".join), max_size=8), labels=st.lists(PIECES.map("".join), max_size=3))
@example(texts=["Cả\nnước"], labels=["cả nước"])
def test_no_text_that_is_a_label_is_passed_over_when_many_are_looked_at(texts: list[str], labels: list[str]) -> None:
    known = Labels(labels)
    looked_at = known.candidates(pa.array(texts, pa.string()))
    assert {place for place, text in enumerate(texts) if text in known} <= set(looked_at)


@pytest.mark.parametrize("text", ["Tổng số", "TỔNG SỐ (1)", "Tổng số *", "Tổng số\nTotal", "  to\u0302\u0309ng so\u0302\u0301 "])
def test_a_label_is_known_in_any_of_its_readings(text: str) -> None:
    assert text in Labels(["Tổng số"])


@pytest.mark.parametrize("text", ["Tổng số thu", "Tổng", "Số", "", "Tổng\nsố thu"])
def test_part_of_a_label_is_not_the_label(text: str) -> None:
    assert text not in Labels(["Tổng số"])


def test_a_star_takes_anything() -> None:
    assert "Tổng số - Total" in Labels(["Tổng số*"])
    assert "anything" in Labels(["*"])
    assert not Labels([])


def test_the_whole_text_comes_before_its_parts() -> None:
    assert dict(readings("Tổng số (1)\nTotal")) == {
        "tong so 1 total": 0,
        "tong so total": 1,
        "tong so 1": 2,
        "tong so": 3,
        "total": 2,
    }


@pytest.mark.parametrize(("cell", "text"), [(None, ""), (2017.0, "2017"), (1.5, "1.5"), (True, "True"), ("x", "x")])
def test_a_cell_is_read_as_a_person_reads_it(cell: object, text: str) -> None:
    assert cell_text(cell) == text  # type: ignore[arg-type]


@settings(deadline=None)
@given(st.text(max_size=20))
def test_every_cell_can_be_read_as_itself(text: str) -> None:
    assert fold(text) in dict(readings(text))
