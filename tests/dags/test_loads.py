"""The DAGs of the loads, run to their end on a real warehouse: what they count, what they leave alone, and what they cost to read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from etl.settings import ROOT
from etl.site import Site
from tests.dags.conftest import Run, airflow_environment
from tests.etl.conftest import CONTRACTS, HEADER, lines, put
from warehouse import ledger


def states(site: Site) -> dict[str, str]:
    with site.warehouse.transaction() as connection:
        return {d.sender: d.state for d in ledger.all_in_order(connection)}


def test_a_night_with_a_good_a_bad_and_a_held_delivery(site: Site, run: Run) -> None:
    put(site, "ha-noi/clinic/clinic_2025-05.csv", lines(20))
    put(site, "lao-cai/clinic/clinic_2025-05.csv", "Mã,Gì đó\n1,2\n")
    put(site, "lai-chau/clinic/clinic_2025-05.csv", HEADER)
    put(site, "ha-noi/permit/permit_2025-05.csv", "another dataset's\n")
    found = run("load_clinic")
    delivered = {t["label"]: t["value"] for t in found["tasks"] if t["task"] == "deliver"}
    assert found["state"] == "success", found["log"][-3000:]
    assert set(delivered) == {"ha-noi 2025-05 · stored", "lao-cai 2025-05 · returned", "lai-chau 2025-05 · held"}
    (summary,) = (t["value"] for t in found["tasks"] if t["task"] == "summarise")
    assert (summary["stored"], summary["returned"], summary["held"], summary["loaded"]) == (1, 1, 1, 20)
    (waiting,) = (t["value"] for t in found["tasks"] if t["task"] == "find_held")
    assert [w["trigger_run_id"] for w in waiting] == [f"delivery-{w['conf']['delivery']}" for w in waiting] and len(waiting) == 1
    assert states(site) == {"ha-noi": "stored", "lao-cai": "returned", "lai-chau": "held"}
    for secret in ("Bác sĩ 1", "Bác sĩ 19"):  # a restricted field
        assert secret not in json.dumps(found["tasks"], ensure_ascii=False) and secret not in found["log"]
    assert (site.settings.inbox / "ha-noi/permit/permit_2025-05.csv").exists()


def test_a_night_without_deliveries_is_quiet_and_green(run: Run) -> None:
    found = run("load_clinic")
    assert found["state"] == "success"
    assert {t["task"]: t["state"] for t in found["tasks"]} | {"deliver": "skipped", "ask": "skipped"} == {
        "plan": "success",
        "deliver": "skipped",
        "find_held": "success",
        "ask": "skipped",
        "summarise": "success",
    }


def test_a_dry_run_stores_nothing_and_leaves_a_receipt(site: Site, run: Run) -> None:
    place = put(site, "ha-noi/clinic/clinic_2025-05.csv", lines(20))
    found = run("load_clinic", dry_run=True)
    (done,) = (one for t in found["tasks"] if t["task"] == "deliver" for one in t["value"])
    assert (done["state"], done["read"], done["delivery"]) == ("would load", 20, None)
    assert place.exists() and states(site) == {}
    assert list((site.settings.home / "trials").glob("ha-noi/*/*.html"))


def test_a_reload_by_hand_takes_only_the_provinces_and_periods_that_are_asked_for(site: Site, run: Run) -> None:
    for sender in ("ha-noi", "lai-chau"):
        put(site, f"{sender}/clinic/clinic_2025-05.csv", lines(20))
    found = run("load_clinic", "load_clinic", provinces=["lai-chau"], periods="2025-01..2025-06", reload=True)
    assert [t["label"] for t in found["tasks"] if t["task"] == "deliver"] == ["lai-chau 2025-05 · stored"]
    with site.warehouse.transaction() as connection:
        assert len(ledger.all_in_order(connection)) == 2


HEAVY = ("pandas", "pyarrow", "sqlalchemy", "great_expectations", "numpy")


def test_reading_a_hundred_contracts_loads_nothing_heavy_and_gives_the_same_each_time(tmp_path: Path) -> None:
    text = (CONTRACTS / "clinic.odcs.yaml").read_text()
    for n in range(100):
        (tmp_path / f"d{n:03}.odcs.yaml").write_text(text.replace("clinic", f"clinic{n:03}"))
    program = (
        "import sys, json, time; import airflow.sdk; before = set(sys.modules); started = time.perf_counter();"
        "import dags.loads as loads; spent = time.perf_counter() - started;"
        "from airflow.sdk import DAG; found = {n: d for n, d in vars(loads).items() if isinstance(d, DAG)};"
        f"print(json.dumps([sorted(found), [m for m in {HEAVY} if m in set(sys.modules) - before],"
        "[[t.task_id, t.owner, t.retries] for t in found['load_clinic007'].tasks], sorted(found['load_clinic007'].tags), spent]))"
    )
    environment = {**airflow_environment(tmp_path / "home"), "NDC_CONTRACTS": str(tmp_path)}
    outputs = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stderr[-2000:]
        outputs.append(json.loads(done.stdout.splitlines()[-1]))
    names, heavy, tasks, tags, _ = outputs[0]
    assert len(names) == 101 and "load_unattributed" in names and heavy == []
    assert all(owner == "ndc" and retries >= 1 for _, owner, retries in tasks) and "load" in tags
    assert outputs[0][:4] == outputs[1][:4]
