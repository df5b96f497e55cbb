"""Lake = warehouse = ledger, for every partition: the number of rows and a checksum that does not depend on their order.

Answers for: rows that the ledger does not know, and files that no delivery put there, are found too. Changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from etl.judge import row_schema
from etl.lake import lake_name
from etl.lake import read_rows as read_lake_rows
from etl.site import Site
from etl.store import Store
from expectations.contract import Contract
from expectations.unique import checksum, row_checksums
from warehouse import ledger
from warehouse.ledger import Delivery
from warehouse.unload import read_rows


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
    files, done = set(), 0
    for contract in site.contracts.values():
        found = _in_warehouse(site, contract)
        for delivery in (d for d in shown if d.dataset == contract.dataset):
            stated = Content(delivery.lines_loaded, delivery.row_checksum)
            in_warehouse = found.pop(delivery.delivery_id, _NOTHING if delivery.lines_loaded else Content(0, 0))
            yield Comparison(_partition(delivery), delivery.delivery_id, stated, in_warehouse, in_lake(site.lake, contract, delivery))
            files.add(lake_name(delivery))
            done += 1
            on_each(done, len(shown))
        for delivery_id, content in sorted(found.items()):
            yield Comparison(contract.dataset, delivery_id, _NOTHING, content, _NOTHING)
    for name in site.lake.names():
        if name not in files and not name.startswith("_"):
            yield Comparison(name, None, _NOTHING, _NOTHING, Content(-1, None))


def _partition(delivery: Delivery) -> str:
    return "/".join(str(part) for part in (delivery.dataset, delivery.province_id, delivery.period) if part)


def _in_warehouse(site: Site, contract: Contract) -> dict[int, Content]:
    """What the warehouse has of each delivery, in one pass over the dataset."""
    rows: Counter[int] = Counter()
    sums: Counter[int] = Counter()
    with site.warehouse.transaction() as connection:
        for batch in read_rows(connection, contract, row_schema(contract)):
            hashes = row_checksums(batch)
            ids = batch.column("delivery_id").to_numpy(zero_copy_only=False)
            for delivery_id in np.unique(ids):
                own = ids == delivery_id
                rows[int(delivery_id)] += int(own.sum())
                sums[int(delivery_id)] += int(hashes[own].sum(dtype=np.uint64))
    return {delivery_id: Content(count, sums[delivery_id] % 2**64) for delivery_id, count in rows.items()}


def in_lake(lake: Store, contract: Contract, delivery: Delivery) -> Content:
    """The rows of a partition's file, with the columns that its path tells."""
    name = lake_name(delivery)
    if not lake.exists(name):
        return _NOTHING
    rows, total = 0, 0
    try:
        for batch in read_lake_rows(lake, name, delivery, row_schema(contract)):
            rows += batch.num_rows
            total += checksum(batch)
    except (pa.ArrowException, OSError):  # a damaged file is a difference, not an end
        return Content(-1, None)
    return Content(rows, total % 2**64)
