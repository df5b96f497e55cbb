"""Prints what the DAGs of this repository are, as JSON: faults of import, and of each DAG its owners, tags, retries and serialised form."""

from __future__ import annotations

import json

from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization

from etl.settings import ROOT


def main() -> None:
    bag = DagBag(str(ROOT))
    described = {
        name: {
            "owners": sorted({task.owner for task in dag.tasks}),
            "tags": sorted(dag.tags),
            "retries": min(task.retries for task in dag.tasks),
            "says": dag.description,
            "catchup": dag.catchup,
            "serialised": json.dumps(DagSerialization.to_dict(dag), sort_keys=True, default=str),
        }
        for name, dag in sorted(bag.dags.items())
    }
    print("RESULT " + json.dumps({"faults": bag.import_errors, "dags": described}, default=str))


if __name__ == "__main__":
    main()
