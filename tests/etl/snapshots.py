"""Everything that an installation holds, in a form that two installations can be compared by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from sqlalchemy import text

from etl.site import Site

_TIMES = {"received_at", "changed_at", "reported_at", "decided_at", "archive_path", "file"}


def snapshot(site: Site) -> dict[str, Any]:
    """Rows, ledger, rejections and reconciliation of the warehouse, the lake's rows, receipts and what is left in the inbox."""
    return {
        "warehouse": warehouse_rows(site),
        "ledger": [
            {k: v for k, v in row.items() if k not in _TIMES} for row in query(site, "SELECT * FROM control.delivery ORDER BY delivery_id")
        ],
        "unreported": query(site, "SELECT count(*) AS n FROM control.delivery WHERE reported_at IS NULL"),
        "rejections": query(site, "SELECT * FROM control.rejection ORDER BY delivery_id, line, field, rule"),
        "reconciliation": query(site, "SELECT * FROM control.reconciliation ORDER BY delivery_id, line, measure"),
        "lake": lake_rows(site),
        "receipts": receipts(site),
        "inbox": sorted(str(p.relative_to(site.settings.inbox)) for p in site.settings.inbox.rglob("*") if p.is_file()),
        "archive": sorted(n for n in site.archive.names() if not n.startswith("_")),
    }


def query(site: Site, sql: str) -> list[dict[str, Any]]:
    with site.warehouse.transaction() as connection:
        return [dict(row._mapping) for row in connection.execute(text(sql))]


def warehouse_rows(site: Site) -> dict[str, list[dict[str, Any]]]:
    tables = [table.name for own in site.tables.values() for table in own]
    return {name: query(site, f"SELECT * FROM {name} ORDER BY province_id, period, line") for name in tables}


def lake_rows(site: Site) -> dict[str, list[dict[str, Any]]]:
    root = Path(site.lake.root)
    return {str(file.relative_to(root)): pq.ParquetFile(file).read().to_pylist() for file in sorted(root.rglob("*.parquet"))}


def receipts(site: Site) -> dict[str, Any]:
    found = {}
    for file in sorted(site.settings.outbox.rglob("*")):
        if file.name == "receipt.json":
            said = json.loads(file.read_text())
            found[str(file.relative_to(site.settings.outbox))] = {k: v for k, v in said.items() if k not in _TIMES}
        elif file.name == "rejected.csv":
            found[str(file.relative_to(site.settings.outbox))] = file.read_text(encoding="utf-8-sig")
    return found


def assert_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Part by part, so that a failure shows the part."""
    for part in one:
        if isinstance(one[part], dict):
            assert one[part].keys() == other[part].keys(), part
            for key in one[part]:
                assert one[part][key] == other[part][key], (part, key)
        else:
            assert one[part] == other[part], part
