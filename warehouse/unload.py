"""Rows out of the warehouse, as Arrow batches: for checks and exports."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv as pcsv

from expectations.contract import Contract
from warehouse.ledger import Delivery
from warehouse.tables import literal, quoted

if TYPE_CHECKING:
    from sqlalchemy import Connection


def count_rows(connection: Connection, contract: Contract) -> list[tuple[date, int, int]]:
    """How many rows a dataset has, by period and delivery."""
    from sqlalchemy import text

    name = f"national.{quoted(contract.dataset)}"
    if not connection.execute(text("SELECT to_regclass(:name) IS NOT NULL"), {"name": name}).scalar():
        return []
    rows = connection.execute(text(f"SELECT period, delivery_id, count(*) FROM {name} GROUP BY period, delivery_id"))
    return [(period, delivery_id, count) for period, delivery_id, count in rows]


def read_rows(connection: Connection, contract: Contract, schema: pa.Schema, delivery: Delivery) -> Iterator[pa.RecordBatch]:
    """The rows of a delivery's partition in the given schema, streamed as CSV text by the server.

    Every delivery's rows in the partition come, not only this one's, so that strangers are seen.
    """
    own = f" AND province_id = {literal(delivery.province_id)}" if delivery.province_id else ""
    names = ", ".join(quoted(name) for name in schema.names)
    query = f"SELECT {names} FROM national.{quoted(contract.dataset)} WHERE period = DATE {literal(str(delivery.period))}{own}"
    raw: Any = connection.connection.dbapi_connection
    raw.execute("SET LOCAL timezone = 'UTC'")
    with raw.cursor() as cursor, cursor.copy(f"COPY ({query}) TO STDOUT WITH (FORMAT csv, HEADER true)") as copy:
        reader = pcsv.open_csv(
            _Stream(copy),
            read_options=pcsv.ReadOptions(use_threads=False),
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
