"""`make bench`: our whole way of a delivery beside bare `\\copy` and the usual script, interleaved in one run, as medians."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.others import copy_seconds, script_facts
from benchmarks.place import clean_twin_of, file_of, forget, open_site, prepare
from etl.cli.output import console, print_table
from etl.site import Site

MONTHS, MONTH_ROWS, FEW = 60, 2_000, 10


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="lines of the file (default 1000000)")
    parser.add_argument("--quick", action="store_true", help="a file of 100,000 lines")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default 3); the usual script only once")
    parser.add_argument("--without-script", action="store_true", help="leave out the usual script, which takes minutes")
    parser.add_argument("--without-months", action="store_true", help="leave out the load with 60 months behind it")
    chosen = parser.parse_args()
    rows = 100_000 if chosen.quick else chosen.rows
    site = open_site()
    try:
        prepare(site)
        _compare(site, rows, chosen.rounds, has_script=not chosen.without_script)
        if not chosen.without_months:
            _months(site)
    finally:
        site.warehouse.dispose()
        assert site.logins.server is not None
        site.logins.server.destroy()


def _compare(site: Site, rows: int, rounds: int, *, has_script: bool) -> None:
    said = console(to_errors=True)
    said.print(f"files of {rows:,} lines …")
    file, clean = Path(site.archive.path(file_of(site, rows))), clean_twin_of(site, rows)
    ours, copies = [], []
    for number in range(1, rounds + 1):
        forget(site)
        ours.append(_own_process(str(rows)))
        forget(site)
        copies.append(copy_seconds(site, clean))
        said.print(f"round {number} of {rounds}: ours {ours[-1]['seconds']:.1f} s, \\copy {copies[-1]:.1f} s")
    forget(site)
    script = script_facts(site, file) if has_script else None
    own = {name: median(one[name] for one in ours) for name in ours[0]}
    bare = median(copies)
    ways: list[tuple[str, dict[str, Any]]] = [
        ("ours: checked, loaded, protected, in the lake, with receipt", own),
        ("bare \\copy of a clean file into the same table", {"seconds": bare, "loaded": rows}),
        *([("pandas + Great Expectations + to_parquet + to_sql", script)] if script else []),
    ]
    columns = ("way", "seconds", "lines a second", "speed, \\copy = 1", "processor seconds", "peak memory MB", "loaded", "refused")
    table = [
        (way, round(f["seconds"], 1), int(rows / f["seconds"]), f"{bare / f['seconds']:.2f}", *(_shown(f, name) for name in ("cpu", "peak_mb", "loaded", "rejected")))
        for way, f in ways
    ]  # fmt: skip
    print_table(f"{rows:,} lines, 22 columns, 14 rules; medians of {rounds}; processor and memory of the Python process", columns, table, right=columns[1:])  # fmt: skip
    beside = f", {script['seconds'] / own['seconds']:.1f} times as fast as the script" if script else ""
    print(f"ours is {bare / own['seconds']:.2f} times as fast as \\copy{beside}")


def _shown(facts: dict[str, Any], name: str) -> float | None:
    value: float | None = facts.get(name)
    return value if value is None else round(value, 1) if name == "cpu" else round(value)


def _months(site: Site) -> None:
    """Whether a load gets slower with the months that are there already: the quickest of the first ones and of the last ones."""
    forget(site)
    seconds = _own_process("months", str(MONTHS + FEW), str(MONTH_ROWS))
    first, last = min(seconds[:FEW]), min(seconds[-FEW:])
    behind = f"a month of {MONTH_ROWS:,} lines with {MONTHS} months behind it"
    print(f"{behind} takes {last / first:.2f} times as long as with none ({first:.3f} s, {last:.3f} s)")


def _own_process(*arguments: str) -> Any:
    """What a delivery in a process of its own took; so no round inherits another's memory."""
    command = [sys.executable, "-m", "benchmarks.ours", *arguments]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


if __name__ == "__main__":
    main()
