"""Bare `\\copy`: psql sends a clean file into a typed table with its primary key. No check, no receipt, no lake.

The table has our table's columns and key. What the file does not tell (province, period, delivery, line) are constants by DEFAULT,
which costs the least.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from benchmarks.place import PERIOD, SENDER, contract_of
from etl.site import Site
from warehouse.embedded_account import installed_programs
from warehouse.tables import dataset_table, literal, quoted


def copy_seconds(site: Site, clean: Path) -> float:
    """How long psql takes; the table is made before."""
    names = ", ".join(quoted(f.name) for f in contract_of(site).stored_fields)
    _psql(site, create_table(site, "bare"))
    start = time.perf_counter()
    _psql(site, f"\\copy bare ({names}) FROM {literal(str(clean))} CSV HEADER")
    seconds = time.perf_counter() - start
    _psql(site, "DROP TABLE bare")
    return seconds


def create_table(site: Site, name: str) -> str:
    """The SQL of an empty table like ours, without partitions."""
    table = dataset_table(contract_of(site))
    constants = {"province_id": literal(SENDER), "period": literal(str(PERIOD.start)), "delivery_id": "1", "line": "0"}
    columns = [f"{quoted(c.name)} {c.type}{' DEFAULT ' + constants[c.name] if c.name in constants else ''}" for c in table.columns]
    key = ", ".join(map(quoted, table.key))
    return f"DROP TABLE IF EXISTS {name}; CREATE TABLE {name} ({', '.join(columns)}, PRIMARY KEY ({key}))"


def _psql(site: Site, command: str) -> None:
    assert site.logins.server is not None
    url = site.logins.server.superuser_url()
    address = ["-h", str(url.host), "-p", str(url.port), "-U", str(url.username), "-d", str(url.database)]
    subprocess.run(
        [installed_programs() / "psql", *address, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", command],
        env={**os.environ, "PGPASSWORD": str(url.password), "PGOPTIONS": "-c client_min_messages=warning"},
        check=True,
        stdout=subprocess.DEVNULL,
    )
