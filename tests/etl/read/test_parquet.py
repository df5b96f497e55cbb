"""Parquet: every Arrow type becomes cells."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from expectations.faults import SenderFault
from tests.etl.read.reading import PROVINCE, cells, contract_of, lines, number, read, text


def table(folder: Path, **columns: pa.Array) -> Path:
    pq.write_table(pa.table(columns), folder / "a.parquet", row_group_size=2)
    return folder / "a.parquet"


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (["x", None], pa.string(), ["x", None]),
        (["x", "y"], pa.large_string(), ["x", "y"]),
        (["x", "x"], pa.dictionary(pa.int8(), pa.string()), ["x", "x"]),
        ([1, None], pa.int32(), [1.0, None]),
        ([2**60 + 1, 5], pa.int64(), [str(2**60 + 1), 5.0]),
        ([2**64 - 1, 5], pa.uint64(), [str(2**64 - 1), 5.0]),
        ([1.5, float("nan")], pa.float32(), [1.5, None]),
        ([Decimal("1.25"), None], pa.decimal128(10, 2), [1.25, None]),
        ([True, None], pa.bool_(), [True, None]),
        ([date(2024, 1, 2), None], pa.date32(), [datetime(2024, 1, 2), None]),
        ([datetime(2024, 1, 2, 3), None], pa.timestamp("ns"), [datetime(2024, 1, 2, 3), None]),
        ([datetime(2024, 1, 2, 3, tzinfo=UTC), None], pa.timestamp("us", "Asia/Ho_Chi_Minh"), [datetime(2024, 1, 2, 10), None]),
        ([b"x", None], pa.binary(), ["x", None]),
        ([[1, 2], None], pa.list_(pa.int8()), ["[1, 2]", None]),
        ([None, None], pa.null(), [None, None]),
    ],
)
def test_a_column_of_any_type_becomes_cells(tmp_path: Path, values: list[Any], kind: pa.DataType, expected: list[Any]) -> None:
    file = table(tmp_path, Tỉnh=pa.array(["a", "b"]), x=pa.array(values, kind))
    _, batches = read(file, contract_of(tmp_path, PROVINCE, text("x")))
    assert cells(batches, "x") == expected


def test_rows_are_streamed_with_their_number(tmp_path: Path) -> None:
    file = table(tmp_path, Tỉnh=pa.array([f"p{n}" for n in range(10)]), sub=pa.array([{"n": n} for n in range(10)]))
    found, batches = read(file, contract_of(tmp_path, PROVINCE, number("n", "sub / n")), batch_rows=3)
    assert (lines(batches), cells(batches, "n")) == (list(range(1, 11)), [float(n) for n in range(10)])
    assert (len(batches) > 2, found.encoding, found.header.last_line) == (True, None, 0)


def test_a_file_cut_short_is_damaged(tmp_path: Path) -> None:
    content = table(tmp_path, Tỉnh=pa.array(["a"])).read_bytes()
    (tmp_path / "b.parquet").write_bytes(content[:-20])
    with pytest.raises(SenderFault) as fault:
        read(tmp_path / "b.parquet", contract_of(tmp_path))
    assert fault.value.rule == "damaged"
