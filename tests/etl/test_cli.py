"""The command as people and machines use it: what it prints, its exit codes, and that it answers at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.etl.conftest import CONTRACTS, HEADER, lines

NDC = [sys.executable, "-c", "from etl.cli import main; main()"]


class Home:
    """A home of its own with its own embedded server, driven by the command alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("NDC_")}
        self.environment |= {"NDC_HOME": str(folder), "NDC_CONTRACTS": str(CONTRACTS), "NDC_SETTLE_SECONDS": "0", "PYTHONPATH": str(ROOT)}

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*NDC, *arguments], capture_output=True, text=True, env=self.environment | environment, cwd=self.folder.parent, check=False
        )

    def json(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        return json.loads(done.stdout)

    def put(self, place: str, content: str) -> Path:
        path = self.folder / "inbox" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    one = Home(tmp_path_factory.mktemp("cli") / "home")
    assert one.run("migrate").returncode == 0
    yield one
    one.run("warehouse", "destroy", "--yes")


def test_help_is_there_without_heavy_libraries() -> None:
    program = "import sys; sys.argv = ['ndc', '--help']\nfrom etl.cli import app\ntry: app()\nexcept SystemExit: pass\nprint(sorted(m for m in sys.modules))"
    heavy = {"pandas", "pyarrow", "sqlalchemy", "great_expectations", "numpy", "psycopg", "alembic", "jsonschema"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not heavy & set(done.stdout.splitlines()[-1].strip("[]").replace("'", "").split(", "))


def test_listing_deliveries_does_not_import_the_engine(home: Home) -> None:
    program = "import sys; sys.argv = ['ndc', 'deliveries']\nfrom etl.cli import app\ntry: app()\nexcept SystemExit: pass\nprint('great_expectations' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=home.environment)
    assert done.stdout.splitlines()[-1] == "False"


def test_a_file_goes_from_check_to_figures(home: Home) -> None:
    file = home.put("ha-noi/clinic/clinic_2025-05.csv", lines(4) + "1100,31/02/2020,5,10,X\n")
    checked = home.json("check", str(file))
    assert checked[0]["parts"][0]["verdict"] == "load"
    assert checked[0]["parts"][0]["by_rule"][0]["rule"] == "opened_on.type"
    dry = home.json("run", "--dry-run")
    assert dry[0]["parts"][0]["faulty"] == 1
    assert home.json("deliveries", "--dataset", "clinic", "--sender", "ha-noi") == []
    done = home.json("run")
    (delivery,) = done["done"]
    assert (delivery["state"], delivery["lines_read"], delivery["lines_loaded"], delivery["lines_rejected"]) == ("stored", 5, 4, 1)
    assert (Path(delivery["receipt"]) / "receipt.html").exists()
    rejections = home.json("rejections", str(delivery["delivery_id"]))
    assert rejections["lines"][0]["line"] == 6
    assert home.json("sql", "SELECT sum(visits) AS visits FROM national.clinic WHERE province_id = 'ha-noi'") == [{"visits": "20"}]
    assert home.run("verify").returncode == 0


def test_a_returned_delivery_has_an_exit_code_and_a_sentence_in_both_languages(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "clinic_2025-06.csv"
    file.write_text(HEADER.replace("Lượt khám", "Số lượt") + "1000,01/02/2020,5,1,X\n")
    done = home.run("deliver", str(file), "--sender", "lao-cai")
    assert done.returncode == 1
    assert "Thiếu cột bắt buộc" in done.stdout
    assert "Required columns are missing" in done.stdout
    assert file.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("check", "/no/such/file.csv"), 1, "There is no file"),
        (("check", "/tmp"), 1, "is not a file"),
        (("rejections", "999999"), 3, "There is no delivery 999999"),
        (("approve", "999999", "--reason", "x"), 3, "There is no delivery 999999"),
        (("contracts", "show", "nothing"), 3, "There is no dataset 'nothing'"),
        (("sql", "SELEC 1"), 3, "The database refused"),
        (("sql", "DELETE FROM national.clinic"), 3, "read-only"),
        (("sql", "SELECT doctor FROM personal.clinic"), 3, "Restricted columns"),
        (("provinces", "resolve", "Bình Định", "--on", "2025-07-01"), 1, "merged into Gia Lai"),
        (("provinces", "list", "--on", "1999-01-01"), 3, "complete only from"),
        (("check", __file__, "--sender", "ha-noi"), 1, "does not follow the pattern"),
        (("run", "--period", "x", "--nonsense"), 2, "No such option"),
    ],
)
def test_a_mistake_gets_a_sentence_and_an_exit_code(home: Home, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = home.run(*arguments)
    assert done.returncode == code
    assert said in " ".join((done.stdout + done.stderr).split())
    assert "Traceback" not in done.stderr


def test_a_contract_with_a_typo_names_file_and_line(home: Home, tmp_path: Path) -> None:
    text = (CONTRACTS / "clinic.odcs.yaml").read_text().replace("tolerance", "tolerence")
    (tmp_path / "clinic.odcs.yaml").write_text(text)
    line = text[: text.index("tolerence")].count("\n") + 1
    for command in (("contracts", "lint"), ("run",)):
        done = home.run(*command, NDC_CONTRACTS=str(tmp_path))
        assert done.returncode == 3
        assert f"clinic.odcs.yaml:{line}:" in " ".join((done.stdout + done.stderr).replace("\n", "").split())
        assert "Did you mean 'tolerance'?" in " ".join((done.stdout + done.stderr).split())


def test_a_database_that_is_down_is_one_sentence(home: Home) -> None:
    done = home.run("run", NDC_WAREHOUSE_URL="postgresql://someone:secret@127.0.0.1:1/ndc")
    assert done.returncode == 4
    assert "does not answer" in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_setting_is_a_mistake(home: Home) -> None:
    done = home.run("deliveries", NDC_LKAE="/tmp")
    assert done.returncode == 3
    assert "NDC_LKAE" in done.stderr


def test_a_home_that_is_not_migrated_says_so(tmp_path: Path) -> None:
    done = Home(tmp_path / "fresh").run("deliveries")
    assert done.returncode == 3
    assert "ndc migrate" in done.stderr


def test_migrate_shows_its_plan_before_it_changes_anything(home: Home, tmp_path: Path) -> None:
    text = (CONTRACTS / "clinic.odcs.yaml").read_text()
    (tmp_path / "new.odcs.yaml").write_text(text.replace("clinic", "brandnew"))
    planned = home.run("migrate", "--dry-run", "--json", NDC_CONTRACTS=str(tmp_path))
    assert json.loads(planned.stdout)["tables"][0]["en"] == "Create the table brandnew"
    assert home.run("sql", "SELECT FROM national.brandnew").returncode == 3


def test_every_command_of_the_readme_exists() -> None:
    text = (ROOT / "README.md").read_text() + (ROOT / "ARCHITECTURE.md").read_text()
    used = {line.split("ndc ", 1)[1].split()[0].strip("`\"'") for line in text.splitlines() if line.strip().startswith("ndc ")}
    shown = subprocess.run([*NDC, "--help"], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert used
    assert all(f" {command} " in shown for command in used)


def test_sample_files_are_accepted_by_the_check(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "clinic_2025-05.csv"
    assert home.run("sample", "clinic", "--province", "ha-noi", "--period", "2025-05", "--rows", "40", "--out", str(file)).returncode == 0
    assert home.json("check", str(file), "--sender", "ha-noi")[0]["parts"][0]["faulty"] == 0


def test_the_table_of_settings_is_complete() -> None:
    from etl.settings import SETTINGS

    text = (ROOT / "docs" / "settings.md").read_text()
    assert all(f"| `{s.name}` | `{s.default}` | {s.meaning} |" in text for s in SETTINGS)
