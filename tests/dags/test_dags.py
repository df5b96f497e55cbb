"""All DAGs: what each of them must have, that reading them twice gives the same, and the ones of the morning run to their end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from etl.site import Site
from tests.dags.conftest import Run, airflow_environment, run_program
from tests.etl.conftest import CONTRACTS, lines, put

TAGS = {"load", "approval", "calendar", "notices", "upkeep", "day", "month", "quarter", "year", "each-province", "bureau"}


def describe(home: Path, seed: int) -> dict[str, Any]:
    environment = {**airflow_environment(home), "NDC_CONTRACTS": str(CONTRACTS), "PYTHONHASHSEED": str(seed)}
    return run_program("describe_dags.py", [], environment)


def test_every_dag_has_an_owner_a_known_tag_a_description_and_tries_again_and_is_the_same_when_read_twice(tmp_path: Path) -> None:
    first, second = describe(tmp_path, 1), describe(tmp_path, 2)
    assert first["faults"] == {} and set(first["dags"]) == {
        *(f"load_{dataset}" for dataset in ("acreage", "clinic", "harvest", "permit", "unattributed")),
        "approve_delivery",
        "calendar",
        "notices",
        "upkeep",
    }
    for name, dag in first["dags"].items():
        assert dag["owners"] == ["ndc"] and dag["tags"] and set(dag["tags"]) <= TAGS, (name, dag["tags"])
        assert dag["retries"] >= 1 and dag["says"] and dag["catchup"] is False, name
        assert dag["serialised"] == second["dags"][name]["serialised"], name
    assert '"clinic"' in first["dags"]["calendar"]["serialised"]  # a loaded delivery starts it


def test_a_morning_writes_the_calendar_the_page_and_the_digests(site: Site, run: Run) -> None:
    put(site, "ha-noi/clinic/clinic_2025-05.csv", lines(20))
    put(site, "lao-cai/clinic/clinic_2025-05.csv", "Mã,Gì đó\n1,2\n")
    found = run("load_clinic", "calendar", "notices")
    (sent,) = (task["value"] for task in found["tasks"])
    assert found["state"] == "success" and sent == {"digests": 3, "unsent": 0, "given_up": 0}
    page = (site.settings.home / "status.html").read_text()
    assert "clinic" in page and "Bác sĩ 1" not in page
    assert list((site.settings.outbox / "lao-cai" / "notices").glob("*.txt")) and list((site.settings.home / "notices").glob("*.txt"))
    again = run("notices")
    assert [task["value"]["digests"] for task in again["tasks"]] == [0]
