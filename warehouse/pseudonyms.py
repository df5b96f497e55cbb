"""What stands for a restricted text where it is not seen: a keyed pseudonym, and a masked text.

Answers for: the same value has the same pseudonym in every field and dataset, as long as the key is the same, so that people can
join by it; and after a change of the key, every row has the new one. Nothing of a value is in a message.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from expectations.contract import Mask
from warehouse.engine import run_script
from warehouse.load import write_rows
from warehouse.pseudonym_key import LOCK, Key, KeyPlace, current_fingerprint, enter_key
from warehouse.tables import ROW_KEY, DatasetTable, quoted

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from warehouse.engine import Warehouse

_BATCH_ROWS = 50_000


def mask(values: pa.Array, how: Mask) -> pa.Array:
    """The first and last characters of each text with *** between; of a text that has no more than these, *** alone."""
    first = pc.utf8_slice_codeunits(values, 0, how.keep_first) if how.keep_first else ""
    last = pc.utf8_slice_codeunits(values, -how.keep_last) if how.keep_last else ""
    is_long = pc.greater(pc.utf8_length(values), how.keep_first + how.keep_last)
    return pc.if_else(is_long, pc.binary_join_element_wise(first, "***", last, ""), "***")


def with_stand_ins(rows: pa.RecordBatch, table: DatasetTable, key: Key | None) -> pa.RecordBatch:
    """The rows with the columns that the table computes from restricted fields. Of a field that the rows have not, there is none."""
    for column in table.stand_ins:
        if column.stands_for in rows.schema.names:
            values = rows.column(column.stands_for)
            rows = rows.append_column(column.name, mask(values, column.mask) if column.mask else _known(key).pseudonyms(values))
    return rows


def _known(key: Key | None) -> Key:
    assert key is not None  # a table with pseudonyms is not loaded without
    return key


# ---------------------------------------------------------------- computing them again


@dataclass(frozen=True, slots=True)
class Recomputed:
    """The pseudonyms of one dataset that were computed, or would be."""

    dataset: str
    columns: tuple[str, ...]
    rows: int


def rotate(warehouse: Warehouse, place: KeyPlace, tables: Iterable[DatasetTable]) -> list[Recomputed]:
    """Change the key: compute every pseudonym anew and enter the new fingerprint, in one transaction; then the file is replaced.

    Stopped at any point, the old key or the new one holds for all rows, and `KeyPlace` knows which. Loads wait meanwhile.
    """
    from sqlalchemy import text

    with warehouse.transaction() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        key = place.propose(current_fingerprint(connection))
        done = [_recompute(connection, table, key, only_missing=False) for table in tables if table.pseudonyms]
        enter_key(connection, key, is_first=False)
    place.accept()
    return done


def fill(warehouse: Warehouse, place: KeyPlace, tables: Iterable[DatasetTable]) -> list[Recomputed]:
    """Compute, by the key that holds, the pseudonyms that rows do not have yet: of a field that got them after its rows were loaded."""
    with warehouse.transaction() as connection:
        key = place.lend(connection)
        return [_recompute(connection, table, key, only_missing=True) for table in tables if table.pseudonyms]


def to_compute(connection: Connection, table: DatasetTable, *, only_missing: bool) -> Recomputed:
    """What `rotate`, or with `only_missing` `fill`, would compute."""
    from sqlalchemy import text

    rows = connection.execute(text(f"SELECT count(*) FROM {_source(table, only_missing)}")).scalar_one()
    return Recomputed(table.dataset, tuple(c.name for c in table.pseudonyms), rows)


def _source(table: DatasetTable, only_missing: bool) -> str:
    """The rows whose pseudonyms are to be computed: both tables, joined."""
    on = " AND ".join(f"p.{name} = m.{name}" for name in ROW_KEY)
    has = [(f"p.{quoted(c.stands_for or '')} IS NOT NULL", f"m.{quoted(c.name)} IS NULL") for c in table.pseudonyms]
    which = " OR ".join(f"({filled} AND {missing})" if only_missing else filled for filled, missing in has)
    return f"personal.{quoted(table.dataset)} p JOIN {table.name} m ON {on} WHERE {which}"


def _recompute(connection: Connection, table: DatasetTable, key: Key, *, only_missing: bool) -> Recomputed:
    """Compute the pseudonyms of one dataset, in batches, into a table of the session, and then take them over."""
    from sqlalchemy import text

    columns = table.pseudonyms
    own = ", ".join(f"{name} {kind}" for name, kind in _ROW_TYPES.items())
    run_script(
        connection,
        f"CREATE TEMP TABLE renewed ({own}, {', '.join(f'{quoted(c.name)} uuid' for c in columns)}) ON COMMIT DROP",
    )
    names = ", ".join([*(f"p.{name}" for name in ROW_KEY), *(f"p.{quoted(c.stands_for or '')}" for c in columns)])
    raw: Any = connection.connection.dbapi_connection
    with raw.cursor(name="to_renew") as cursor:
        cursor.execute(f"SELECT {names} FROM {_source(table, only_missing)}")
        while rows := cursor.fetchmany(_BATCH_ROWS):
            write_rows(connection, "pg_temp.renewed", [_renewed(rows, table, key)])
    taken = ", ".join(f"{quoted(c.name)} = r.{quoted(c.name)}" for c in columns)
    on = " AND ".join(f"r.{name} = m.{name}" for name in ROW_KEY)
    run_script(connection, "ANALYZE pg_temp.renewed")
    count = connection.execute(text(f"UPDATE {table.name} m SET {taken} FROM pg_temp.renewed r WHERE {on}")).rowcount
    run_script(connection, "DROP TABLE pg_temp.renewed")
    return Recomputed(table.dataset, tuple(c.name for c in columns), count)


_ROW_TYPES = {"province_id": "text", "period": "date", "line": "integer", "delivery_id": "bigint"}
_ARROW_TYPES = (pa.string(), pa.date32(), pa.int32(), pa.int64())


def _renewed(rows: Sequence[tuple[Any, ...]], table: DatasetTable, key: Key) -> pa.RecordBatch:
    """Where each row stands, and its pseudonyms."""
    columns = list(zip(*rows, strict=True))
    arrays = [pa.array(values, kind) for values, kind in zip(columns, _ARROW_TYPES, strict=False)]
    arrays += [key.pseudonyms(pa.array(values, pa.string())) for values in columns[len(ROW_KEY) :]]
    return pa.RecordBatch.from_arrays(arrays, [*ROW_KEY, *(c.name for c in table.pseudonyms)])
