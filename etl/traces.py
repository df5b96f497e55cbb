"""Where a delivery's rows came from and where they lie: for lineage, in names and counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from etl.site import Site
from warehouse import ledger

if TYPE_CHECKING:
    from warehouse.ledger import Delivery


@dataclass(frozen=True, slots=True)
class Trace:
    """`archive` and `warehouse` are addresses, `file` and `partition` names in them; `faults` are lines by rule, of every rule that
    the contract has."""

    archive: str
    file: str
    warehouse: str
    partition: str
    rows: int
    faults: Mapping[str, int]


def find_traces(site: Site, delivery_ids: Sequence[int]) -> list[Trace]:
    """The traces of some deliveries, in their order."""
    with site.warehouse.transaction() as connection:
        found = [(ledger.get(connection, number), ledger.rejections_by_rule(connection, number)) for number in delivery_ids]
    return [_trace(site, delivery, {row["rule"]: row["lines"] for row in broken}) for delivery, broken in found]


def _trace(site: Site, delivery: Delivery, broken: Mapping[str, int]) -> Trace:
    contract = site.contracts.get(delivery.dataset or "")
    address = site.warehouse.url
    place = f"province_id={delivery.province_id}/" if delivery.province_id else ""
    return Trace(
        archive=site.archive.address if "://" in site.archive.address else f"file://{site.archive.address}",
        file=delivery.archive_path,
        warehouse=f"postgres://{address.host}:{address.port or 5432}",
        partition=f"{address.database}.national.{delivery.dataset}/{place}period={delivery.period}",
        rows=delivery.lines_loaded or 0,
        faults={**dict.fromkeys((rule.id for rule in contract.rules) if contract else (), 0), **broken},
    )
