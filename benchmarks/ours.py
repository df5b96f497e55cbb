"""Our whole way of one delivery in a process of its own: `python -m benchmarks.ours ROWS` prints what it took as JSON.

The clock runs from an archived file to a written receipt. Imports are made before, by a small delivery of another month.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

from benchmarks.place import NOW, PERIOD, enter, file_of, open_site
from etl.deliver import deliver

_WARM_UP_ROWS = 1_000


def main(rows: int) -> None:
    """Deliver a file of `rows` lines."""
    site = open_site()
    warm = PERIOD.next()
    deliver(site, enter(site, file_of(site, _WARM_UP_ROWS, warm), warm), NOW)
    delivery = enter(site, file_of(site, rows))
    start, cpu = time.perf_counter(), time.process_time()
    done = deliver(site, delivery, NOW)
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "cpu": time.process_time() - cpu, "peak_mb": peak_mb(), "loaded": done.lines_loaded, "rejected": done.lines_rejected}))  # fmt: skip


def peak_mb() -> float:
    """The most memory that this process has held, imports included."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


if __name__ == "__main__":
    main(int(sys.argv[1]))
