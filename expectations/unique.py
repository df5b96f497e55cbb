"""Hashes of rows: which lines of a delivery repeat a key of an earlier line, and one checksum of many rows in any order.

Memory holds hashes and not keys. Two different keys have the same 64-bit hash with probability n²/2⁶⁵: below one in a million for 5 million lines. Hashes are
kept in sorted runs that merge when they double, so a batch costs about log₂(batches) binary searches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Hashes = np.ndarray[Any, np.dtype[np.uint64]]
_ODD = np.array(
    [
        0x9E3779B97F4A7C15,
        0xC2B2AE3D27D4EB4F,
        0x165667B19E3779F9,
        0x27D4EB2F165667C5,
        0xD6E8FEB86659FD93,
        0xA0761D6478BD642F,
        0xE7037ED1A0B428DB,
    ],
    np.uint64,
)
_8, _29, _32, _64 = np.uint64(8), np.uint64(29), np.uint64(32), np.uint64(64)
_ALL_BITS = np.uint64(0xFFFFFFFFFFFFFFFF)


class SeenKeys:
    """The keys of the lines so far."""

    def __init__(self) -> None:
        self._runs: list[Hashes] = []

    def repeated(self, hashes: Hashes) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """For each line whether its key stood in an earlier line, of this batch or another; remembers the new ones."""
        order = np.argsort(hashes, kind="stable")
        ordered = hashes[order]
        known = np.zeros(len(ordered), bool)
        known[1:] = ordered[1:] == ordered[:-1]
        for run in self._runs:
            place = np.searchsorted(run, ordered)
            place[place == len(run)] = 0
            known |= run[place] == ordered
        fresh = ordered[~known]
        while self._runs and len(self._runs[-1]) <= 2 * len(fresh):
            fresh = np.concatenate([self._runs.pop(), fresh])
            fresh.sort(kind="stable")
        if len(fresh):
            self._runs.append(fresh)
        result = np.zeros(len(hashes), bool)
        result[order] = known
        return result


def hash_rows(columns: Mapping[str, pa.Array]) -> Hashes:
    """A 64-bit hash of each row over named columns, the same in every process and version of Python.

    The order of the columns does not matter, and a missing value adds nothing: a new empty column changes no hash.
    """
    total: Hashes | None = None
    for name, column in columns.items():
        salt = np.uint64(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"))
        own = _mix(_hash_column(column), salt)
        own[column.is_null().to_numpy(zero_copy_only=False)] = 0
        total = own if total is None else total + own
    return np.zeros(0, np.uint64) if total is None else total


def row_checksums(rows: pa.RecordBatch) -> Hashes:
    """One hash a row, each mixed once more, so that their sum modulo 2^64 stands for many rows in any order."""
    hashes = hash_rows({name: rows.column(name) for name in rows.schema.names})
    return _mix(hashes, _ODD[5])


def checksum(rows: pa.RecordBatch) -> int:
    """The sum of the rows' hashes modulo 2^64: equal for equal rows in any order, and added over batches."""
    return int(row_checksums(rows).sum(dtype=np.uint64))


def _mix(left: Hashes, right: Hashes | np.uint64) -> Hashes:
    mixed = (left ^ right) * _ODD[0]
    mixed ^= mixed >> _29
    mixed = mixed * _ODD[1]
    result: Hashes = mixed ^ (mixed >> _32)
    return result


def _hash_column(column: pa.Array) -> Hashes:
    """Texts by their bytes, eight at a time; fixed-width values by their bits. What it says of a missing value means nothing."""
    if pa.types.is_string(column.type):
        return _hash_texts(column)
    if pa.types.is_floating(column.type):
        values = np.ascontiguousarray(pc.fill_null(column, 0.0).to_numpy(zero_copy_only=False), np.float64) + 0.0  # -0.0 is 0.0
        return values.view(np.uint64)
    narrow = {pa.bool_(): pa.uint8(), pa.date32(): pa.int32()}.get(column.type, column.type)
    whole = column.cast(narrow) if narrow != column.type else column.cast(pa.int64())
    bits: Hashes = pc.fill_null(whole, 0).to_numpy(zero_copy_only=False).astype(np.int64).view(np.uint64)
    return bits


def repeats(column: pa.Array) -> bool:
    """Whether a column says the same few things again and again, by its first thousand values."""
    first = column.slice(0, 1_000)
    return 2 * int(pc.count_distinct(first).as_py()) <= len(first)


def _hash_texts(column: pa.Array) -> Hashes:
    """Each of the few texts of a column that repeats is hashed once."""
    if not repeats(column):
        return _hash_bytes(column)
    encoded = column.dictionary_encode()
    known = np.append(_hash_bytes(encoded.dictionary), np.uint64(0))
    hashes: Hashes = known[pc.fill_null(encoded.indices, len(encoded.dictionary)).to_numpy(zero_copy_only=False)]
    return hashes


def _hash_bytes(column: pa.Array) -> Hashes:
    """Eight bytes at a time, read at any offset: one pass for each eight bytes of the longest text."""
    filled = pc.fill_null(column, "")
    offsets = np.frombuffer(filled.buffers()[1], np.int32)[filled.offset : filled.offset + len(filled) + 1].astype(np.int64)
    lengths = np.diff(offsets)
    hashes: Hashes = lengths.astype(np.uint64) * _ODD[6]  # spread out, or a length and a first byte could make up for each other
    data = np.frombuffer(filled.buffers()[2] or b"", np.uint8)
    padded = np.concatenate([data, np.zeros(8, np.uint8)])
    words = np.ndarray((len(data) + 1,), "<u8", padded.data, strides=(1,))
    for start in range(0, int(lengths.max(initial=0)), 8):
        rows = np.flatnonzero(lengths > start)
        left = np.minimum(lengths[rows] - start, 8).astype(np.uint64)
        word = words[offsets[rows] + start] & (_ALL_BITS >> (_64 - left * _8))
        mixed = (hashes[rows] ^ word) * _ODD[start // 8 % 6]
        hashes[rows] = mixed ^ (mixed >> _29)
    return hashes
