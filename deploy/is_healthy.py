"""Answer a health check: `is_healthy.py URL [PART]` ends with 0 when the address answers and, for Airflow's report, PART is healthy."""

import json
import sys
from urllib.request import urlopen

with urlopen(sys.argv[1], timeout=5) as answer:  # noqa: S310 - the compose file names the address
    said = answer.read()
if len(sys.argv) > 2 and json.loads(said)[sys.argv[2]]["status"] != "healthy":
    sys.exit(1)
