"""Who sees what, from the command line: people, delegations, questions, proof, as an officer, a department and an auditor do it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.etl.conftest import lines
from tests.etl.test_cli import Home
from tests.warehouse.access_site import write_access

pytestmark = pytest.mark.xdist_group("access_cli")
COUNT = "SELECT count(*) FROM national.clinic"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Two provinces with a delivery each, delegations of a folder of its own."""
    folder = tmp_path_factory.mktemp("access_cli")
    one = Home(folder / "home")
    one.environment["NDC_ACCESS"] = str(write_access(folder / "access"))
    assert one.run("migrate").returncode == 0
    one.put("gia-lai-2025/clinic/clinic_2025-07.csv", lines(4))
    one.put("ha-noi/clinic/clinic_2025-07.csv", lines(3))
    one.run("run")
    yield one
    one.run("warehouse", "destroy", "--yes")


def add(home: Home, login: str, group: str) -> str:
    """A person; returns the password that is shown once."""
    return str(home.json("people", "add", login, "--role", group)["password"])


def count(home: Home, login: str, password: str) -> Any:
    done = home.run("sql", "--login", login, COUNT, "--json", PGPASSWORD=password)
    return json.loads(done.stdout)[0]["count"] if done.returncode == 0 else done.returncode


def test_a_province_gives_on_and_takes_back_without_the_centre(home: Home) -> None:
    lan, minh = add(home, "lan", "gia-lai-2025"), add(home, "minh", "health-north")
    assert (count(home, "lan", lan), count(home, "minh", minh)) == (4, 3)  # 3 is the exit code of a refusal
    terms = ("--dataset", "clinic", "--until", "2031-12-31", "--purpose", "p", "--legal-basis", "l", "--name", "clinics", "--login", "lan")
    dry = home.run("delegate", "grant", "health-north", *terms, "--dry-run", PGPASSWORD=lan)
    assert dry.returncode == 0 and "until 31 Dec 2031" in dry.stdout and count(home, "minh", minh) == 3
    assert home.run("delegate", "grant", "health-north", *terms, PGPASSWORD=lan).returncode == 0
    assert count(home, "minh", minh) == 4
    mine = json.loads(home.run("delegate", "list", "--login", "minh", "--json", PGPASSWORD=minh).stdout)
    assert [d["name"] for d in mine] == ["clinics"]
    assert home.run("delegate", "revoke", "clinics", "--reason", "done", "--login", "lan", PGPASSWORD=lan).returncode == 0
    assert count(home, "minh", minh) == 3
    why = home.json("access", "why-empty", "--role", "minh", "--dataset", "clinic")
    assert [r["rule"] for r in why["reasons"]] == ["revoked"]


def test_what_is_too_wide_is_refused_in_a_sentence_and_an_exit_code(home: Home) -> None:
    password = add(home, "hoa", "gia-lai-2025")
    terms = ("--province", "ha-noi", "--purpose", "p", "--legal-basis", "l", "--login", "hoa")
    done = home.run("delegate", "grant", "health-north", *terms, PGPASSWORD=password)
    assert done.returncode == 3 and "provinces: ha-noi" in done.stderr and "Traceback" not in done.stderr


def test_the_centre_declares_sees_the_plan_and_applies_it(home: Home) -> None:
    folder = Path(home.environment["NDC_ACCESS"])
    write_access(
        folder, "  - {id: study, grantee: institute, provinces: all, datasets: [clinic], from: 2026-01-01, purpose: p, legal_basis: l}\n"
    )
    planned = home.json("delegations", "plan")
    assert planned["said"][0]["en"].startswith("+ Viện will see every row of clinic")
    assert home.run("delegations", "apply", "--dry-run").returncode == 0
    assert home.json("delegations", "plan")["said"] == planned["said"]
    assert home.run("delegations", "apply", "--by", "quang").returncode == 0
    assert home.json("delegations", "plan") == {"said": [], "drift": [], "statements": [], "is_cut": False}
    assert home.json("access", "changes", "--name", "study")[0]["actor"] == "quang"
    who = home.json("access", "who", "--dataset", "clinic", "--province", "ha-noi")
    assert {w["who"] for w in who} >= {"institute", "centre", "ha-noi"}
    what = home.json("access", "what", "--role", "institute")
    assert [w["delegation"] for w in what] == ["study"]
    table = home.run("access", "who", "--dataset", "clinic", "--province", "ha-noi").stdout
    assert "institute" in table and "ndc_loader" in table


def test_a_mistake_in_a_file_names_its_line_and_applies_nothing(home: Home) -> None:
    folder = Path(home.environment["NDC_ACCESS"])
    file = folder / "delegations" / "centre.yaml"
    kept = file.read_text()
    file.write_text(kept + "  - {id: x, grantee: nobody}\n")
    for command in (("delegations", "apply"), ("migrate",)):
        done = home.run(*command)
        assert done.returncode == 3 and f"centre.yaml:{len(kept.splitlines()) + 1}:" in done.stderr
    file.write_text(kept)


def test_proof_is_a_file_and_an_exit_code(home: Home) -> None:
    done = home.run("access", "prove")
    assert done.returncode == 0, done.stdout
    reports = sorted((home.folder / "access").glob("proof-*.json"))
    assert reports and oct(reports[-1].stat().st_mode)[-3:] == "600"


def test_a_person_is_listed_and_disabled(home: Home) -> None:
    password = add(home, "tam", "ha-noi")
    assert count(home, "tam", password) == 3
    assert "tam" in home.run("people", "list").stdout
    assert home.run("people", "disable", "tam", "--reason", "left").returncode == 0
    refused = home.run("sql", "--login", "tam", COUNT, PGPASSWORD=password)
    assert refused.returncode == 3 and "not permitted to log in" in refused.stderr


def test_a_warehouse_made_anew_keeps_the_key_of_the_pseudonyms(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    assert home.run("migrate").returncode == 0
    home.put("ha-noi/clinic/clinic_2025-07.csv", lines(3))
    home.run("run")
    key = (home.folder / "secrets" / "pseudonym_key").read_text()
    assert home.run("warehouse", "destroy", "--yes").returncode == 0
    assert [f.name for f in (home.folder / "secrets").iterdir()] == ["pseudonym_key"]
    assert (home.folder / "secrets" / "pseudonym_key").read_text() == key
