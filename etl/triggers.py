"""Ask a running Airflow to run DAGs, and hear how far they are: by its REST API, as anybody else would.

Refuses: deciding by it what was loaded; that is for the ledger to say.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from expectations.faults import MachineFault, Message

if TYPE_CHECKING:
    import httpx

    from etl.scheduler import Address

_READ_S = 120.0
_EVERY_S = 2.0
ENDED = ("success", "failed")


@contextmanager
def logged_in(address: Address) -> Iterator[httpx.Client]:
    """A client that has logged in. Raises `MachineFault` when Airflow does not answer as it should."""
    import httpx

    with httpx.Client(base_url=address.url, timeout=30) as client:
        answer = client.post("/auth/token", json={"username": address.user, "password": address.password})
        client.headers["Authorization"] = f"Bearer {_right(answer)['access_token']}"
        yield client


def trigger(client: httpx.Client, dag_id: str, conf: dict[str, Any] | None = None) -> str:
    """Start a run and return its id. Waits until the DAG has been read, which takes a moment after a start."""
    deadline = time.monotonic() + _READ_S
    while True:
        answer = client.post(f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": conf or {}})
        if answer.status_code != 404 or time.monotonic() > deadline:
            return str(_right(answer)["dag_run_id"])
        time.sleep(_EVERY_S)


def follow(
    client: httpx.Client, runs: Sequence[tuple[str, str]], on_look: Callable[[dict[str, str]], None], is_stopped: Callable[[float], bool]
) -> dict[str, str]:
    """The state of each DAG of `runs` (DAG and run) when all have ended, or when `is_stopped` says so, which waits the seconds it is
    given. `on_look` hears the states now and then."""
    import httpx

    states = dict.fromkeys((dag_id for dag_id, _ in runs), "queued")
    while any(state not in ENDED for state in states.values()) and not is_stopped(_EVERY_S):
        for dag_id, run_id in runs:
            if states[dag_id] not in ENDED:
                with suppress(httpx.TransportError):  # a busy server is asked again
                    states[dag_id] = str(_right(client.get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}"))["state"])
        on_look(states)
    return states


def _right(answer: httpx.Response) -> Any:
    if answer.is_error:
        what = f"{answer.request.method} {answer.request.url.path}: {answer.status_code}"
        raise MachineFault(Message(f"Airflow từ chối ({what}).", f"Airflow refused ({what})."), rule="airflow-refused")
    return answer.json()
