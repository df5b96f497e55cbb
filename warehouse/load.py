"""Swap one partition of a dataset, in all its tables at once, for the rows of one delivery.

Answers for: readers see the old rows or the new rows, never a mixture and never nothing, and the ledger, written in the same
transaction, says which. Refuses: rows that the table's own types, keys or bounds do not accept; nothing is coerced here.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from expectations.faults import MachineFault, Message
from expectations.period import Period
from warehouse.engine import run_script
from warehouse.tables import DatasetTable, check_types, literal, part_name, quoted

if TYPE_CHECKING:
    from sqlalchemy import Connection

LOCK_TIMEOUT_MS = 500
SWAP_TRIES = 120
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Partition:
    """What one delivery replaces: (dataset, province, period), or (dataset, period) when a central body sends."""

    dataset: str
    province_id: str | None
    period: Period

    def __str__(self) -> str:
        return "/".join(str(part) for part in (self.dataset, self.province_id, self.period) if part)


class PartitionRefused(Exception):
    """The database refused a row; the delivery is not loaded. The text says why and holds no values."""


def lock_partition(connection: Connection, partition: Partition) -> None:
    """Until the transaction ends, no other delivery changes this partition; others go on."""
    from sqlalchemy import text

    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 8))"), {"name": str(partition)})


class Stage:
    """Rows on their way into a partition of one table: written in batches, then swapped in. Everything in the caller's transaction.

    A connection copies into one stage at a time: finish one before the next is written.
    """

    def __init__(self, connection: Connection, table: DatasetTable, partition: Partition) -> None:
        check_types(connection, table)
        self._connection, self._table, self._partition = connection, table, partition
        self._columns: tuple[str, ...] = ()
        self.is_leaf = table.storage == "leaves"
        self.rows = 0
        self._copy: Any = None
        self._name = self._new_leaf() if self.is_leaf else self._new_table()

    def _leaf(self) -> str:
        return part_name(self._table.parts, self._partition.province_id or "", self._partition.period)

    def _bounds(self) -> tuple[date, date]:
        return self._partition.period.start, self._partition.period.next().start

    def _new_leaf(self) -> str:
        """An empty leaf that takes rows of this partition only; its owner makes it (`leaves.sql`), for whom we may not act."""
        first, after = self._bounds()
        return str(self._call("control.new_leaf(CAST(:table AS regclass), :leaf, :province, :first, :after)", first=first, after=after))

    def _call(self, function: str, **values: date) -> Any:
        from sqlalchemy import text

        own = {"table": self._table.name, "leaf": self._leaf(), "province": self._partition.province_id}
        return self._connection.execute(text(f"SELECT {function}"), own | values).scalar_one()

    def _new_table(self) -> str:
        """An empty table of this session that takes rows of this partition only."""
        name, (first, after) = f"pg_temp.stage_{self._table.schema}", self._bounds()
        check = f"period IS NOT NULL AND period >= DATE '{first}' AND period < DATE '{after}'"
        if self._partition.province_id is not None:
            check = f"province_id IS NOT NULL AND province_id = {literal(self._partition.province_id)} AND {check}"
        like = f"(LIKE {self._table.name} INCLUDING DEFAULTS, CONSTRAINT bounds CHECK ({check}))"
        run_script(self._connection, f"CREATE TEMP TABLE {name} {like} ON COMMIT DROP")
        return name

    def write(self, batch: pa.RecordBatch) -> None:
        """Send rows; their columns are named as the table's, in any order. Others are left out, missing ones stay empty."""
        import pgpq

        self._columns = self._columns or tuple(c.name for c in self._table.columns if c.name in batch.schema.names)
        batch = batch.select(list(self._columns))
        if self._copy is None:
            raw = self._connection.connection.dbapi_connection
            self._encoder = pgpq.ArrowToPostgresBinaryEncoder(batch.schema)
            names = ", ".join(map(quoted, self._columns))
            freeze = ", FREEZE" if self.is_leaf else ""
            self._cursor = raw.cursor()  # type: ignore[union-attr]
            self._context = self._cursor.copy(f"COPY {self._name} ({names}) FROM STDIN WITH (FORMAT binary{freeze})")
            self._copy = self._context.__enter__()
            self._copy.write(self._encoder.write_header())
        self.rows += batch.num_rows
        view = memoryview(self._encoder.write_batch(batch))
        for start in range(0, len(view), _CHUNK):
            self._copy.write(view[start : start + _CHUNK])

    def finish(self) -> None:
        """All rows are sent. Raises `PartitionRefused` when the database does not have exactly those rows."""
        if self._copy is None:
            return
        from psycopg import Error

        try:
            self._copy.write(self._encoder.finish())
            self._context.__exit__(None, None, None)
        except Error as error:
            raise PartitionRefused(_plain(error)) from error
        got = self._cursor.rowcount
        self._cursor.close()
        self._copy = None
        if got != self.rows:
            raise PartitionRefused(f"sent {self.rows} rows, the database has {got}")

    def abandon(self) -> None:
        """Stop an open COPY, so that the transaction can be rolled back."""
        if self._copy is not None:
            error = RuntimeError("abandoned")
            with contextlib.suppress(Exception):  # the server answers a stopped COPY with an error, which is what was wanted
                self._context.__exit__(type(error), error, None)
            self._copy = None

    def replace_rows(self) -> None:
        """Delete the partition's old rows and insert the new ones."""
        from sqlalchemy import text

        values = {"period": self._partition.period.start, "province": self._partition.province_id}
        own = "" if self._partition.province_id is None else " AND province_id = :province"
        self._connection.execute(text(f"DELETE FROM {self._table.name} WHERE period = :period{own}"), values)
        if self.rows:
            names = ", ".join(map(quoted, self._columns))
            run_script(self._connection, f"INSERT INTO {self._table.name} ({names}) SELECT {names} FROM {self._name}")

    def index(self) -> None:
        """The leaf's index and row security. A second process halves the time of a large index, when nothing else is left to do.

        It needs no shared memory to speak of, for whose sake the embedded server builds no index so by itself.
        """
        run_script(self._connection, "SET LOCAL max_parallel_maintenance_workers = 2")
        self._call("control.index_leaf(CAST(:table AS regclass), :leaf)")

    def attaching(self) -> str:
        """The SQL that puts the leaf in the place of the old one."""
        names = (self._table.name, part_name(self._table.parts, self._partition.province_id or ""), self._leaf())
        first, after = self._bounds()
        return f"SELECT control.attach_leaf({', '.join(map(literal, names))}, DATE '{first}', DATE '{after}')"


def swap(connection: Connection, stages: Sequence[Stage]) -> None:
    """Make the rows of the stages of one delivery the whole content of its partition, in each table. Nothing is visible before the
    caller commits. Raises `PartitionRefused` when the database refuses a row."""
    from sqlalchemy.exc import DBAPIError

    try:
        if all(stage.is_leaf for stage in stages):
            for stage in stages:
                stage.index()
            _attach(connection, stages)
        else:
            for stage in stages:
                stage.replace_rows()
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", "")[:2] == "23":
            raise PartitionRefused(_plain(error.orig)) from error
        raise


def _attach(connection: Connection, stages: Sequence[Stage]) -> None:
    """DETACH the old leaves and ATTACH the new ones, of all tables or of none: a try that has to wait for a long reader gives up all
    its locks, so that no queue builds up."""
    steps = "; ".join(stage.attaching() for stage in stages)
    _try_repeatedly(connection, f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}; {steps}; SET LOCAL lock_timeout = 0")


def _try_repeatedly(connection: Connection, sql: str) -> None:
    from sqlalchemy.exc import OperationalError

    for attempt in range(SWAP_TRIES):
        try:
            with connection.begin_nested():
                run_script(connection, sql)
            return
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", "") != "55P03":
                raise
            time.sleep(min(0.05 * (attempt + 1), 1.0))  # a reader holds the leaf; nothing else tells us when it ends
    raise MachineFault(
        Message(
            "Có truy vấn dài đang giữ phân vùng này; lần chạy sau sẽ nạp tiếp.",
            "A long query holds this partition; a later run will load it.",
        ),
        rule="partition-busy",
    )


def write_rows(connection: Connection, table: str, batches: Iterable[pa.RecordBatch]) -> int:
    """COPY Arrow batches into a table whose columns have their names; returns the number of rows."""
    import pgpq

    raw: Any = connection.connection.dbapi_connection
    count, encoder = 0, None
    with raw.cursor() as cursor:
        for batch in batches:
            if encoder is None:
                encoder = pgpq.ArrowToPostgresBinaryEncoder(batch.schema)
                names = ", ".join(map(quoted, batch.schema.names))
                context = cursor.copy(f"COPY {table} ({names}) FROM STDIN WITH (FORMAT binary)")
                copy = context.__enter__()
                copy.write(encoder.write_header())
            copy.write(encoder.write_batch(batch))
            count += batch.num_rows
        if encoder is not None:
            copy.write(encoder.finish())
            context.__exit__(None, None, None)
    return count


def _plain(error: Any) -> str:
    """Which constraint refused, without the values that the driver quotes."""
    diagnostics = getattr(error, "diag", None)
    primary = (diagnostics.message_primary if diagnostics else None) or type(error).__name__
    return str(primary)
