"""Runs DAGs to their end, one after the other, and prints for each what came of its tasks, as JSON: `run_dag.py (<dag_id> <conf as JSON>)…`.

It is a program of its own because Airflow reads its settings once, when it is imported.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
from airflow.sdk import DAG

from etl.settings import ROOT


def main(*wanted: str) -> None:
    bag = DagBag(str(ROOT))
    assert not bag.import_errors, bag.import_errors
    DagBundlesManager().sync_bundles_to_db()
    sync_bag_to_db(bag, "dags-folder", None)
    for dag_id, conf in zip(wanted[::2], wanted[1::2], strict=True):
        _run(bag.dags[dag_id], json.loads(conf))


def _run(dag: DAG, conf: dict[str, Any]) -> None:
    run = dag.test(run_conf=conf, mark_success_pattern="ask|decide")
    tasks: list[dict[str, Any]] = []
    for ti in run.get_task_instances():
        value = ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index)
        tasks.append({"task": ti.task_id, "index": ti.map_index, "state": ti.state, "label": ti.rendered_map_index, "value": _plain(value)})
    sys.stdout.write("RESULT " + json.dumps({"state": run.state, "tasks": tasks}, ensure_ascii=False, default=str) + "\n")


def _plain(value: Any) -> Any:
    return value if isinstance(value, dict | str | int | type(None)) else list(value)


if __name__ == "__main__":
    main(*sys.argv[1:])
