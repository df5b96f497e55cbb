"""Answer a worker's health check: end with 0 when this container's worker answers over the broker."""

import socket
import sys
from pathlib import Path

from celery import Celery

broker = Path("/run/secrets/celery_broker_url").read_text().strip()
sys.exit(not Celery(broker=broker).control.ping([f"celery@{socket.gethostname()}"], timeout=10))
