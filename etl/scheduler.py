"""Airflow's processes for one installation: their settings, their database, start, wait, stop.

Answers for: nothing is configured outside the installation's folder; every process listens on 127.0.0.1 alone and ends with the one that
started it, even when that one is killed; secrets are in files of mode 0600, none in the environment; tasks log in as `ndc_task`.
Refuses: importing Airflow; a second start while one runs.
"""

from __future__ import annotations

import configparser
import ctypes
import fcntl
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etl.settings import ROOT, Settings
from etl.site import Site
from expectations.faults import MachineFault, Message, SetupFault

USER = "operator"
COMPONENTS = ("dag-processor", "scheduler", "api-server")
_PRELOADED = (
    "airflow.executors.local_executor",
    "airflow.providers.openlineage.plugins.listener",
    "airflow.providers.standard.operators.hitl",
    "great_expectations",
    "pandas",
    "etl.tasks",
)
"""What takes seconds to import and every task needs: a server has it ready, and forks a process for each task."""
_READY_S = 180.0
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Address:
    """Where a running Airflow is, and how to log in."""

    url: str
    user: str
    password: str


@contextmanager
def running(site: Site, on_step: Callable[[str], None]) -> Iterator[Address]:
    """Airflow for an installation that is migrated, from here to the end of the block; `on_step` hears what is being waited for.

    Raises `SetupFault` when one runs already, `MachineFault` when it does not come up.
    """
    home = site.settings.home / "airflow"
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _alone(home):
        address = _configure(site, home)
        environment = _environment(site.settings, home)
        on_step("database")
        _run_once(environment, home, "db", "migrate")
        processes: dict[str, subprocess.Popen[bytes]] = {}
        try:
            for component in COMPONENTS:
                on_step(component)
                processes[component] = _start(environment, home, component)
            on_step("ready")
            _wait(address, processes, home)
            (home / "address.json").write_text(json.dumps({"url": address.url, "pid": os.getpid()}))
            yield address
        finally:
            (home / "address.json").unlink(missing_ok=True)
            _stop(processes)


# ---------------------------------------------------------------- settings


def _configure(site: Site, home: Path) -> Address:
    """Write airflow.cfg and the password file; the password stays the same from one start to the next."""
    url = site.logins.scheduler_url()
    connection = url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False).replace("%", "%%")
    port, log_port, password = _free_port(), _free_port(), _kept_secret(home / "password")
    _write_private(home / "passwords.json", json.dumps({USER: password}))
    base = f"http://127.0.0.1:{port}"
    wanted: dict[str, dict[str, str]] = {
        "core": {
            "dags_folder": str(ROOT),
            "plugins_folder": str(ROOT / "dags" / "plugins"),
            "executor": "LocalExecutor",
            "parallelism": str(max(2, min(8, 2 * (os.cpu_count() or 1)))),
            "load_examples": "False",
            "default_timezone": site.settings.timezone,
            "simple_auth_manager_users": f"{USER}:admin",
            "simple_auth_manager_passwords_file": str(home / "passwords.json"),
            "execution_api_server_url": f"{base}/execution/",
            "mp_start_method": "forkserver",
            "mp_forkserver_preload": ",".join(_PRELOADED),
            "fernet_key": "",
            "dags_are_paused_at_creation": "False",
        },
        "database": {"sql_alchemy_conn": connection, "sql_alchemy_conn_async": connection},
        "api": {"base_url": base, "host": "127.0.0.1", "port": str(port), "workers": "1", "secret_key": _kept_secret(home / "secret_key"), "expose_config": "False"},
        "api_auth": {"jwt_secret": _kept_secret(home / "jwt_secret")},
        "dag_processor": {"refresh_interval": "60", "min_file_process_interval": "300", "dag_version_inflation_check_level": "error"},
        "scheduler": {"enable_health_check": "False", "scheduler_idle_sleep_time": "0.5", "task_instance_heartbeat_timeout": "120"},
        "logging": {"base_log_folder": str(home / "logs"), "worker_log_server_host": "127.0.0.1", "worker_log_server_port": str(log_port), "logging_level": "INFO"},
        "workers": {"execution_api_timeout": "15"},
        "openlineage": {
            "namespace": "ndc",
            "transport": json.dumps({"type": "file", "log_file_path": str(home / "lineage.jsonl"), "append": True}).replace("%", "%%"),
        },
        "usage_data_collection": {"enabled": "False"},
    }  # fmt: skip
    config = configparser.RawConfigParser()
    config.read_dict(wanted)
    with _private(home / "airflow.cfg") as out:
        config.write(out)
    return Address(base, USER, password)


def _environment(settings: Settings, home: Path) -> dict[str, str]:
    """The environment of every process: this one's, without passwords, with the installation's folders in full."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PG")) and name != "NDC_WAREHOUSE_URL"}
    return {
        **kept,
        "AIRFLOW_HOME": str(home),
        "NDC_HOME": str(settings.home),
        "NDC_INBOX": str(settings.inbox),
        "NDC_OUTBOX": str(settings.outbox),
        "NDC_CONTRACTS": str(settings.contracts),
        "NDC_REFERENCE": str(settings.reference),
        "NDC_ACCESS": str(settings.access),
        "NDC_LOGIN": "task",
        "GX_ANALYTICS_ENABLED": "false",
        "PYTHONUNBUFFERED": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }


def _kept_secret(file: Path) -> str:
    if not file.exists():
        _write_private(file, secrets.token_urlsafe(64 if "secret" in file.name else 18))
    return file.read_text()


def _write_private(file: Path, text: str) -> None:
    with _private(file) as out:
        out.write(text)


@contextmanager
def _private(file: Path) -> Iterator[Any]:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        yield out


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# ---------------------------------------------------------------- processes


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Nobody else runs Airflow for this installation meanwhile."""
    with (home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            known = home / "address.json"
            where = json.loads(known.read_text())["url"] if known.exists() else "…"
            raise SetupFault(
                Message(f"Airflow của {home.parent} đang chạy rồi: {where}", f"Airflow of {home.parent} is running already: {where}"),
                rule="running",
            ) from None
        yield


def _end_with_parent() -> None:
    """In the child, before it becomes Airflow: it gets SIGTERM when its parent dies, however that happens (Linux)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _command(component: str) -> list[str]:
    return [sys.executable, "-m", "airflow", component]


def _run_once(environment: Mapping[str, str], home: Path, *arguments: str) -> None:
    done = subprocess.run(
        [*_command(arguments[0]), *arguments[1:]], env=dict(environment), cwd=home, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise _did_not_start(" ".join(arguments), done.stderr[-400:])


def _start(environment: Mapping[str, str], home: Path, component: str) -> subprocess.Popen[bytes]:
    log = (home / f"{component}.log").open("wb")
    with log:
        return subprocess.Popen(
            _command(component),
            env=dict(environment),
            cwd=home,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_end_with_parent,  # nothing but one system call happens in it
        )


def _wait(address: Address, processes: Mapping[str, subprocess.Popen[bytes]], home: Path) -> None:
    """Until all of them say that they are well."""
    import httpx

    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        for component, process in processes.items():
            if process.poll() is not None:
                raise _did_not_start(component, _tail(home / f"{component}.log"))
        with suppress(httpx.HTTPError, ValueError, AttributeError):
            health = httpx.get(f"{address.url}/api/v2/monitor/health", timeout=5).json()
            if all((health.get(part) or {}).get("status") == "healthy" for part in ("metadatabase", "scheduler", "dag_processor")):
                return
        time.sleep(0.5)
    raise _did_not_start("api-server", _tail(home / "api-server.log"))


def _tail(file: Path) -> str:
    return file.read_text(errors="replace")[-400:] if file.exists() else ""


def _did_not_start(what: str, tail: str) -> MachineFault:
    return MachineFault(
        Message(f"Airflow ({what}) không khởi động được: {tail}", f"Airflow ({what}) did not start: {tail}"), rule="airflow-not-started"
    )


def _stop(processes: Mapping[str, subprocess.Popen[bytes]]) -> None:
    """Ask each to end, the scheduler's tasks with it; whoever does not within its time is killed with all its children."""
    for process in processes.values():
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + 20
    for process in processes.values():
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.1, deadline - time.monotonic()))
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
