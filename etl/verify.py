"""Lake = warehouse = ledger, for every partition: the number of rows and a checksum that does not depend on their order.

Answers for: rows that the ledger does not know, and files that no delivery put there, are found too. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from etl.judge import row_schema
from etl.lake import lake_name
from etl.site import Site
from etl.store import Store
from expectations.contract import Contract
from expectations.unique import checksum
from warehouse import ledger
from warehouse.ledger import Delivery
from warehouse.unload import count_rows, read_rows


@dataclass(frozen=True, slots=True)
class Content:
    """The rows of a partition in one place: how many, and their checksum. Both None where the place has nothing."""

    rows: int | None
    checksum: int | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """One partition in the ledger, the warehouse and the lake."""

    partition: str
    delivery_id: int | None
    ledger: Content
    warehouse: Content
    lake: Content

    @property
    def agrees(self) -> bool:
        return self.ledger == self.warehouse == self.lake


_NOTHING = Content(None, None)


def verify(site: Site, on_each: Callable[[int, int], None] = lambda done, total: None) -> Iterator[Comparison]:
    """Compare every partition; those that agree come out, too."""
    with site.warehouse.transaction() as connection:
        shown = ledger.all_shown(connection)
        counted = {(c.dataset, row[0], row[1]): row[2] for c in site.contracts.values() for row in count_rows(connection, c)}
    known, files = set(), set()
    for done, delivery in enumerate(shown):
        contract = site.contracts.get(delivery.dataset or "")
        if contract is None:
            continue
        name = lake_name(delivery)
        files.add(name)
        known.add((delivery.dataset, delivery.period, delivery.delivery_id))
        stated = Content(delivery.lines_loaded, delivery.row_checksum)
        yield Comparison(
            _partition(delivery),
            delivery.delivery_id,
            stated,
            _in_warehouse(site, contract, delivery),
            in_lake(site.lake, contract, delivery),
        )
        on_each(done + 1, len(shown))
    for (dataset, period, delivery_id), rows in sorted(counted.items(), key=str):
        if (dataset, period, delivery_id) not in known:
            yield Comparison(f"{dataset}/{period}", delivery_id, _NOTHING, Content(rows, None), _NOTHING)
    for name in site.lake.names():
        if name not in files and not name.startswith("_"):
            yield Comparison(name, None, _NOTHING, _NOTHING, Content(-1, None))


def _partition(delivery: Delivery) -> str:
    return "/".join(str(part) for part in (delivery.dataset, delivery.province_id, delivery.period) if part)


def _in_warehouse(site: Site, contract: Contract, delivery: Delivery) -> Content:
    rows, total = 0, 0
    with site.warehouse.transaction() as connection:
        for batch in read_rows(connection, contract, row_schema(contract), delivery):
            rows += batch.num_rows
            total += checksum(batch)
    return Content(rows, total % 2**64)


def in_lake(lake: Store, contract: Contract, delivery: Delivery) -> Content:
    """The rows of a partition's file, with the columns that its path tells."""
    name = lake_name(delivery)
    if not lake.exists(name):
        return _NOTHING
    rows, total = 0, 0
    with lake.open_input(name) as opened:
        file = pq.ParquetFile(opened)
        for batch in file.iter_batches():
            whole = with_path_columns(batch, row_schema(contract), delivery)
            rows += batch.num_rows
            total += checksum(whole)
    return Content(rows, total % 2**64)


def with_path_columns(batch: pa.RecordBatch, schema: pa.Schema, delivery: Delivery) -> pa.RecordBatch:
    """A batch of the lake in the schema of the rows; a field that came into the contract later is empty."""
    said = {"province_id": delivery.province_id, "period": delivery.period}
    columns = []
    for field in schema:
        if field.name in batch.schema.names:
            columns.append(batch.column(field.name).cast(field.type))
        elif field.name in said:
            columns.append(pa.array([said[field.name]], field.type).take(pa.array(np.zeros(batch.num_rows, np.int8))))
        else:
            columns.append(pa.nulls(batch.num_rows, field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)
