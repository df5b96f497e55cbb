"""Our whole way of a delivery, in a process of its own that prints what it took as JSON.

`python -m benchmarks.ours ROWS` delivers one large file, `python -m benchmarks.ours months COUNT ROWS` one small file for each of
COUNT months in a row. The clock runs from the archived file to the written receipt; imports are made before, by small deliveries.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

from benchmarks.place import NOW, PERIOD, WARM_UP, enter, file_of, forget, open_site
from etl.deliver import deliver
from etl.site import Site
from expectations.period import Period
from warehouse.ledger import Delivery

_WARM_UP_ROWS, _WARM_UP_MONTHS = 1_000, 10


def one_file(rows: int) -> None:
    """Deliver a file of `rows` lines."""
    site = open_site()
    _deliver(site, _WARM_UP_ROWS, WARM_UP)
    cpu = time.process_time()
    seconds, done = _deliver(site, rows, PERIOD)
    cpu = time.process_time() - cpu
    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak_mb": peak_mb(), "loaded": done.lines_loaded, "rejected": done.lines_rejected}))


def months(count: int, rows: int) -> None:
    """Deliver a file of `rows` lines for each of `count` months."""
    site = open_site()
    _one_by_one(site, _WARM_UP_MONTHS, rows)
    forget(site)
    print(json.dumps(_one_by_one(site, count, rows)))


def _one_by_one(site: Site, months: int, rows: int) -> list[float]:
    seconds, period = [], PERIOD
    for _ in range(months):
        seconds.append(_deliver(site, rows, period)[0])
        period = period.next()
    return seconds


def _deliver(site: Site, rows: int, period: Period) -> tuple[float, Delivery]:
    delivery = enter(site, file_of(site, rows, period), period)
    start = time.perf_counter()
    done = deliver(site, delivery, NOW)
    return time.perf_counter() - start, done


def peak_mb() -> float:
    """The most memory that this process has held, imports included."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None  # Linux
    return int(found[1]) / 1024


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["months", count, rows]:
            months(int(count), int(rows))
        case [rows]:
            one_file(int(rows))
