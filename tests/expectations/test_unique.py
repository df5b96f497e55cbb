"""Claims about hashes of rows: repeated keys are those that a set of Python's finds, and a checksum sees every change but no order."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from expectations.unique import SeenKeys, checksum, hash_rows

KINDS = {"t": pa.string(), "n": pa.int64(), "x": pa.float64(), "d": pa.date32(), "m": pa.timestamp("us"), "f": pa.bool_()}
TEXTS = st.one_of(
    st.text(max_size=3),
    st.sampled_from(["", "a", "ab", "Đắk Lắk", "Đắk Lấk", "H08.12.03-250701-0001", "x" * 7, "x" * 8, "x" * 9, "x" * 63, "x" * 64, "\x00", "\x00\x00", "a\x00"]),
    st.text(min_size=50, max_size=70),
)  # fmt: skip
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "t": TEXTS,
    "n": st.sampled_from([0, 1, -1, 2**62, -(2**62)]) | st.integers(-5, 5),
    "x": st.sampled_from([0.0, 1.0, 0.1, -0.1, 1e300, 5e-324]) | st.floats(allow_nan=False),
    "d": st.dates(date(2024, 12, 30), date(2025, 1, 3)),
    "m": st.datetimes(datetime(2024, 12, 31, 23, 59, 59), datetime(2025, 1, 1, 0, 0, 1)),
    "f": st.booleans(),
}
ROW = st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()})
ROWS = st.lists(ROW, max_size=12)
Row = dict[str, Any]


def batch(rows: Sequence[Row], names: Sequence[str] = tuple(KINDS)) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([row[name] for row in rows], KINDS[name]) for name in names], names=list(names))


def hashes(rows: pa.RecordBatch) -> np.ndarray[Any, np.dtype[np.uint64]]:
    return hash_rows({name: rows.column(name) for name in rows.schema.names})


def key(row: Row, names: Sequence[str]) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


@settings(max_examples=80, deadline=None)
@given(st.lists(ROWS, max_size=5), st.sets(st.sampled_from(sorted(KINDS)), min_size=1))
def test_repeated_keys_are_those_that_a_set_finds(batches: list[list[Row]], chosen: set[str]) -> None:
    names, keys, seen = sorted(chosen), SeenKeys(), set[tuple[Any, ...]]()
    for rows in batches:
        expected = []
        for row in rows:
            expected.append(key(row, names) in seen)
            seen.add(key(row, names))
        assert keys.repeated(hashes(batch(rows, names))).tolist() == expected


@settings(max_examples=50, deadline=None)
@example([["b", "a\x00"]])
@given(st.lists(st.lists(TEXTS, max_size=40), max_size=12))
def test_texts_of_any_length_are_told_apart_over_any_number_of_batches(batches: list[list[str]]) -> None:
    keys, seen = SeenKeys(), set[str]()
    for texts in batches:
        expected = [text in seen or text in texts[:place] for place, text in enumerate(texts)]
        seen |= set(texts)
        assert keys.repeated(hash_rows({"t": pa.array(texts, pa.string())})).tolist() == expected


def test_a_million_codes_are_a_million_keys() -> None:
    codes = pa.array([f"H08.12.03-2507{number % 31:02}-{number:06}" for number in range(1_000_000)])
    keys = SeenKeys()
    assert sum(int(keys.repeated(hash_rows({"t": codes.slice(start, 100_000)})).sum()) for start in range(0, 1_000_000, 100_000)) == 0
    assert keys.repeated(hash_rows({"t": codes.slice(777_777, 3)})).all()


def test_no_rows_repeat_nothing() -> None:
    empty = batch([])
    assert SeenKeys().repeated(hashes(empty)).tolist() == []
    assert (
        hash_rows({"t": pa.array(["a", "b"]).slice(2)}).tolist()
        == hash_rows({"t": pa.array(["a"]).take(pa.array([], pa.int64()))}).tolist()
        == []
    )
    assert checksum(empty) == 0


def test_a_value_under_another_name_is_another_key() -> None:
    assert hash_rows({"a": pa.array(["x"])}) != hash_rows({"b": pa.array(["x"])})
    swapped = hash_rows({"a": pa.array(["x", "y"]), "b": pa.array(["y", "x"])})
    assert swapped[0] != swapped[1]


def test_hashes_are_the_same_in_another_process() -> None:
    """The ledger and the Parquet files keep checksums, so they may never depend on the process."""
    code = "import pyarrow as pa; from expectations.unique import checksum; print(checksum(pa.record_batch({'t': ['Đắk Lắk', None], 'n': [1, 2]})))"
    told = {subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.strip() for _ in range(2)}
    assert told == {str(checksum(pa.record_batch({"t": ["Đắk Lắk", None], "n": [1, 2]})))}


# ---------------------------------------------------------------- checksums


@settings(max_examples=60, deadline=None)
@given(ROWS, st.randoms(use_true_random=False), st.integers(0, 12))
def test_a_checksum_does_not_depend_on_the_order_of_rows_or_columns_or_on_batches(rows: list[Row], random: Any, cut: int) -> None:
    whole = checksum(batch(rows))
    shuffled, names = random.sample(rows, len(rows)), random.sample(list(KINDS), len(KINDS))
    assert checksum(batch(shuffled)) == checksum(batch(rows, names)) == whole
    assert (checksum(batch(rows).slice(0, cut)) + checksum(batch(rows).slice(cut))) % 2**64 == whole


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_a_new_column_that_holds_nothing_changes_no_checksum(rows: list[Row]) -> None:
    before = batch(rows)
    after = before.append_column("new", pa.nulls(len(rows), pa.string())).append_column("newer", pa.nulls(len(rows), pa.float64()))
    assert checksum(after) == checksum(before)
    assert hashes(after).tolist() == hashes(before).tolist()


@settings(max_examples=80, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=6), st.data())
def test_a_change_in_any_cell_changes_the_checksum(rows: list[Row], data: st.DataObject) -> None:
    place, name = data.draw(st.integers(0, len(rows) - 1)), data.draw(st.sampled_from(sorted(KINDS)))
    before = rows[place][name]
    after = data.draw((st.none() | VALUES[name]).filter(lambda value: value != before))
    changed = [*rows[:place], {**rows[place], name: after}, *rows[place + 1 :]]
    assert checksum(batch(changed)) != checksum(batch(rows))


def test_a_row_more_a_row_less_and_a_row_twice_change_the_checksum() -> None:
    rows = [{**dict.fromkeys(KINDS), "t": text} for text in ("a", "b", "c")]
    sums = [checksum(batch(chosen)) for chosen in (rows, rows[:2], [*rows, rows[0]], [*rows[:2], rows[1]], [*rows, dict.fromkeys(KINDS)])]
    assert len(set(sums)) == len(sums)


def test_values_that_moved_from_one_row_to_another_change_the_checksum() -> None:
    empty = dict.fromkeys(KINDS)
    one = [{**empty, "t": "a", "n": 1}, {**empty, "t": "b", "n": 2}]
    other = [{**empty, "t": "a", "n": 2}, {**empty, "t": "b", "n": 1}]
    assert checksum(batch(one)) != checksum(batch(other))


def test_the_two_zeros_of_a_number_are_one_value() -> None:
    assert hash_rows({"x": pa.array([0.0, -0.0])}).tolist()[0] == hash_rows({"x": pa.array([-0.0])}).tolist()[0]


@pytest.mark.parametrize(
    "kind", [pa.timestamp("us"), pa.timestamp("us", "UTC"), pa.date32(), pa.int64(), pa.bool_(), pa.float64(), pa.string()], ids=str
)
def test_a_part_of_a_column_is_hashed_like_the_same_values_alone(kind: pa.DataType) -> None:
    value = {pa.string(): "a", pa.bool_(): True, pa.float64(): 1.5, pa.date32(): date(2025, 1, 1)}.get(kind, 1)
    whole = pa.array([None, value, None, value, value], kind)
    assert hash_rows({"c": whole.slice(3, 2)}).tolist() == hash_rows({"c": pa.array([value, value], kind)}).tolist()
    assert hash_rows({"c": whole}).tolist()[2] == 0
