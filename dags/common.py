"""What all DAGs share: the installation, the clock, and what is tried again.

Refuses: importing anything heavy; a DAG file is read every minute by a process that loads no data.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from etl.settings import read_settings

if TYPE_CHECKING:
    from etl.site import Site

SETTINGS = read_settings(os.environ)


def open_site() -> Site:
    """The installation that the environment names."""
    from etl.site import Site

    return Site(read_settings(os.environ))


def now() -> datetime:
    return datetime.now(ZoneInfo(SETTINGS.timezone))


def alarm(context: Mapping[str, Any]) -> None:
    """Tell the operator that a task has failed for good: which, since when and why, without any value."""
    from etl.alarm import raise_alarm

    ti = context["task_instance"]
    exception = context.get("exception")
    raise_alarm(open_site().settings, f"{ti.dag_id}.{ti.task_id}", exception, getattr(ti, "log_url", None), now())


BAD_LUCK = ExceptionRetryPolicy(
    rules=[RetryRule(exception="expectations.faults.SetupFault", action=RetryAction.FAIL, reason="somebody must mend it")]
)
"""A contract or a setting that must be mended is not tried again; a database, disk or process that failed is."""

DEFAULTS: dict[str, Any] = {
    "owner": "ndc",
    "retries": 4,
    "retry_delay": timedelta(seconds=30),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=30),
    "retry_policy": BAD_LUCK,
    "on_failure_callback": alarm,
}
