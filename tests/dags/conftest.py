"""Airflow with a database of its own, and DAGs run to their end in a process of their own on a real warehouse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etl.settings import ROOT
from etl.site import Site
from tests.etl.conftest import CONTRACTS

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def site(new_site: Callable[..., Site]) -> Site:
    return new_site(contracts=CONTRACTS)


@pytest.fixture(scope="session")
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An Airflow with a database of its own, made once."""
    home = tmp_path_factory.mktemp("airflow")
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"], env=airflow_environment(home), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return home


def airflow_environment(home: Path) -> dict[str, str]:
    return {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
    }


@pytest.fixture
def environment(site: Site, airflow_home: Path) -> dict[str, str]:
    """What a process of Airflow knows of this installation."""
    return {
        **airflow_environment(airflow_home),
        "NDC_HOME": str(site.settings.home),
        "NDC_CONTRACTS": str(site.settings.contracts),
        "NDC_REFERENCE": str(site.settings.reference),
        "NDC_ACCESS": str(site.settings.access),
        "NDC_INBOX": str(site.settings.inbox),
        "NDC_OUTBOX": str(site.settings.outbox),
        "NDC_WAREHOUSE_URL": site.warehouse.url.set(drivername="postgresql").render_as_string(hide_password=False),
        "NDC_SETTLE_SECONDS": "0",
    }


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    """Run DAGs of this installation one after the other; returns the state and the tasks of the last, which alone is given a conf."""

    def run_dag(*dag_ids: str, **conf: Any) -> dict[str, Any]:
        words = [*(word for dag_id in dag_ids[:-1] for word in (dag_id, "{}")), dag_ids[-1], json.dumps(conf)]
        return run_program("run_dag.py", words, environment)

    return run_dag


def run_program(name: str, words: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """Run a program of this folder; returns its last result, and all that it said as `log`."""
    command = [sys.executable, str(ROOT / "tests" / "dags" / name), *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=ROOT)
    found = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert found, (done.stdout + done.stderr)[-3000:]
    result: dict[str, Any] = json.loads(found[-1].removeprefix("RESULT "))
    return {**result, "log": done.stdout + done.stderr}
