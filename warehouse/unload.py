"""Rows out of the warehouse, as Arrow batches: for checks and exports."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv as pcsv

from expectations.contract import Contract
from warehouse.tables import all_rows_of, dataset_table

if TYPE_CHECKING:
    from sqlalchemy import Connection

_BLOCK = 1 << 22
"""The server sends a row at a time; batches of a few rows would cost more than their work."""


def read_rows(connection: Connection, contract: Contract, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """All rows of a dataset in the given schema, streamed as CSV text by the server; none while it has no table.

    A row that is in one of its two tables alone comes without its province or its line.
    """
    from sqlalchemy import text

    if not connection.execute(text("SELECT to_regclass(:name) IS NOT NULL"), {"name": dataset_table(contract).name}).scalar():
        return
    query = all_rows_of(contract, schema.names)
    raw: Any = connection.connection.dbapi_connection
    raw.execute("SET LOCAL timezone = 'UTC'")
    raw.execute("SET LOCAL enable_partitionwise_join = on")  # a join of partitions holds one of them in memory
    with raw.cursor() as cursor, cursor.copy(f"COPY ({query}) TO STDOUT WITH (FORMAT csv, HEADER true)") as copy:
        reader = pcsv.open_csv(
            io.BufferedReader(_Stream(copy), _BLOCK),
            read_options=pcsv.ReadOptions(use_threads=False, block_size=_BLOCK),
            parse_options=pcsv.ParseOptions(newlines_in_values=True),
            convert_options=pcsv.ConvertOptions(
                column_types=schema,
                true_values=["t"],
                false_values=["f"],
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                timestamp_parsers=[pcsv.ISO8601, "%Y-%m-%d %H:%M:%S"],
            ),
        )
        yield from reader


class _Stream(io.RawIOBase):
    """A COPY as a readable file."""

    def __init__(self, copy: Any) -> None:
        self._copy, self._left = copy, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            block = self._copy.read()
            if not block:
                return 0
            self._left = bytes(block)
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count
