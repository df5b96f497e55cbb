"""What is measured beside us: bare `\\copy`, and the script most people would write (usual_script.py), into tables like ours.

The tables have our tables' columns and key in one, without partitions and without what we compute. What the file does not tell (province, period, delivery, line) are
constants by DEFAULT, which costs the least.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.place import BENCH, PERIOD, SENDER, contract_of
from etl.site import Site
from warehouse.embedded_account import installed_programs
from warehouse.tables import dataset_table, literal, quoted, view_columns


def copy_seconds(site: Site, clean: Path) -> float:
    """How long psql takes to `\\copy` a clean file into an empty table."""
    _make_table(site, "bare")
    names = ", ".join(quoted(f.name) for f in contract_of(site).stored_fields)
    start = time.perf_counter()
    _psql(site, f"\\copy bare ({names}) FROM {literal(str(clean))} CSV HEADER")
    seconds = time.perf_counter() - start
    _psql(site, "DROP TABLE bare")
    return seconds


def script_facts(site: Site, file: Path) -> dict[str, Any]:
    """What the usual script took for the file with faults; its imports are not counted either."""
    assert site.logins.server is not None
    _make_table(site, "scripted")
    url = site.logins.server.superuser_url().render_as_string(hide_password=False)
    communes = site.settings.reference / "communes.csv"
    command = [sys.executable, "-m", "benchmarks.usual_script", str(file), str(BENCH / "scripted.parquet"), "scripted", str(communes)]
    said = subprocess.run(command, env={**os.environ, "DATABASE_URL": url}, check=True, stdout=subprocess.PIPE, text=True)
    _psql(site, "DROP TABLE scripted")
    facts: dict[str, Any] = json.loads(said.stdout)
    return facts


def _make_table(site: Site, name: str) -> None:
    contract = contract_of(site)
    constants = {"province_id": literal(SENDER), "period": literal(str(PERIOD.start)), "delivery_id": "1", "line": "0"}
    columns = [
        f"{quoted(c.name)} {c.type}{' DEFAULT ' + constants[c.name] if c.name in constants else ''}"
        for c in view_columns(contract)
        if not c.stands_for
    ]
    key = ", ".join(map(quoted, dataset_table(contract).key))
    _psql(site, f"DROP TABLE IF EXISTS {name}; CREATE TABLE {name} ({', '.join(columns)}, PRIMARY KEY ({key}))")


def _psql(site: Site, command: str) -> None:
    assert site.logins.server is not None
    url = site.logins.server.superuser_url()
    address = ["-h", str(url.host), "-p", str(url.port), "-U", str(url.username), "-d", str(url.database)]
    subprocess.run(
        [installed_programs() / "psql", *address, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", command],
        env={**os.environ, "PGPASSWORD": str(url.password), "PGOPTIONS": "-c client_min_messages=warning"},
        check=True,
    )
