"""The status pages inside Airflow: refused without a login, and the same pages as elsewhere with one."""

from __future__ import annotations

from pathlib import Path

from etl.site import Site
from tests.dags.conftest import run_program
from tests.etl.conftest import FAULTY, lines, put, run_all

PATHS = ("/status/", "/status/datasets/clinic", "/status/deliveries/1")


def test_the_status_pages_are_behind_the_login_and_hold_no_value(site: Site, environment: dict[str, str], tmp_path: Path) -> None:
    put(site, "ha-noi/clinic/clinic_2025-05.csv", lines(60) + FAULTY)
    run_all(site)
    own = {
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(Path(__file__).resolve().parents[2] / "dags" / "plugins"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "operator:viewer",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(tmp_path / "passwords.json"),
        "AIRFLOW__API_AUTH__JWT_SECRET": "of these tests alone, and long enough for the algorithm that signs with it",
    }
    asked = [*PATHS, "/status/datasets/nothing", "/status/deliveries/99", "/status/openapi.json", "/status/docs"]
    found = run_program("ask_pages.py", asked, {**environment, **own})
    pages = found["pages"]
    for path in PATHS:
        assert pages[path]["without"][0] == 401 and "clinic" not in pages[path]["without"][1], path
        assert pages[path]["bearer"][0] == 200 and pages[path]["cookie"] == [200, True], path
        assert "Nguyễn Văn Kín" not in pages[path]["bearer"][1] and "Bác sĩ 1" not in pages[path]["bearer"][1]
        assert pages[path]["headers"]["cache-control"] == "no-store" and "frame-ancestors 'self'" in str(pages[path]["headers"])
    assert 'href="/status/datasets/clinic"' in pages["/status/"]["bearer"][1]
    assert 'href="/status/deliveries/1"' in pages["/status/datasets/clinic"]["bearer"][1]
    for path in asked[3:]:
        assert pages[path]["without"][0] in (401, 404) and pages[path]["bearer"][0] == 404, path
    assert pages["/status/datasets/nothing"]["without"][0] == 401
    assert "/status/" in found["views"]
