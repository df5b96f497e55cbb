"""A task of the scheduler does all that a delivery needs, and can become nobody but the loader."""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError, ProgrammingError

from etl.run import approve
from etl.settings import read_settings
from etl.site import Site
from expectations.faults import SetupFault
from tests.conftest import NOW
from tests.etl.conftest import CONTRACTS, lines, put, run_all
from warehouse.embedded import TEST_SETTINGS
from warehouse.logins import Logins

MAY = "DATE '2025-05-01', DATE '2025-06-01'"


@pytest.fixture
def site(new_site: Callable[..., Site]) -> Site:
    """An installation whose warehouse is a task's."""
    made = new_site(contracts=CONTRACTS)
    made.__dict__["settings"] = replace(made.settings, login="task")
    return made


def test_a_task_loads_holds_approves_and_finishes(site: Site) -> None:
    for month in ("01", "02", "03"):
        put(site, f"ha-noi/clinic/clinic_2025-{month}.csv", lines(40))
    assert [d.state for d in run_all(site).done] == ["stored"] * 3
    put(site, "ha-noi/clinic/clinic_2025-04.csv", lines(2))
    (held,) = run_all(site).done
    assert held.state == "held"
    approved = approve(site, held.delivery_id, by="lan", reason="a holiday", now=NOW)
    assert approved.state == "stored" and approved.reported_at is not None
    assert site.warehouse.url.username == "ndc_task"


def test_a_task_replaces_a_leaf_and_can_attach_nothing_else(site: Site) -> None:
    for visits in (5, 6):
        put(site, "ha-noi/permit/permit_2025-05.csv", lines(3, visits=visits))
        assert [d.state for d in run_all(site).done] == ["stored"]
    with site.warehouse.transaction() as connection:
        assert connection.exec_driver_sql("SELECT province_id, sum(visits) FROM national.permit GROUP BY 1").all() == [("ha-noi", 18)]
    for steps, said in (
        ("SELECT control.new_leaf('national.clinic', 'x', 'ha-noi', {may}); SELECT control.attach_leaf('national.clinic', 'clinic@ha-noi', 'x', {may})", "is no leaf"),
        ("SELECT control.new_leaf('control.delivery', 'x', 'ha-noi', {may})", "has no leaves"),
        ("SELECT control.new_leaf('national.permit', 'x', 'ha-noi', {may}); "
         "INSERT INTO national.\"x+\" (province_id, period, delivery_id, line, permit_code) VALUES ('ha-noi', '2025-05-01', 1, 1, '1'); "
         "SELECT control.index_leaf('national.permit', 'x'); SELECT control.attach_leaf('national.permit', 'permit@lao-cai', 'x', {may})", "is violated"),
        ("SELECT control.new_leaf('national.permit', 'permit@lao-cai', 'ha-noi', {may}); SELECT control.index_leaf('national.permit', 'permit@lao-cai'); "
         "SELECT control.attach_leaf('national.permit', 'permit@ha-noi', 'permit@lao-cai', {may})", "is no leaf"),
        ("INSERT INTO parts.\"permit@ha-noi\" DEFAULT VALUES", "permission denied"),
    ):  # fmt: skip
        with pytest.raises(DBAPIError, match=said), site.warehouse.transaction() as connection:
            connection.exec_driver_sql(steps.format(may=MAY))


def test_a_task_cannot_become_the_owner(site: Site) -> None:
    with pytest.raises(SetupFault, match="ndc_task may not become ndc_owner") as refused, site.warehouse.transaction("ndc_owner"):
        pass
    assert "NDC_LOGIN=service" in refused.value.message.en
    with pytest.raises(ProgrammingError, match="permission denied to set role"), site.warehouse.transaction() as connection:
        connection.exec_driver_sql("SET ROLE ndc_owner")
    with pytest.raises(ProgrammingError, match="permission denied"), site.warehouse.engine.begin() as connection:
        connection.exec_driver_sql("SELECT FROM control.delivery")


def test_the_embedded_server_has_the_login_and_a_task_gets_no_other(tmp_path: Path) -> None:
    service = Logins(tmp_path, None, TEST_SETTINGS)
    assert service.server is not None
    try:
        with pytest.raises(SetupFault, match="ndc migrate"):
            service.task()
        service.prepare()
        file = tmp_path / "secrets" / "ndc_task"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        task = Logins(tmp_path, None, TEST_SETTINGS, is_task=True)
        opened = task.task()
        with opened.transaction() as connection:
            assert connection.exec_driver_sql("SELECT session_user, current_user").one() == ("ndc_task", "ndc_loader")
        opened.dispose()
        with pytest.raises(SetupFault, match="NDC_LOGIN=service"):
            task.administrator()
    finally:
        service.server.destroy()


def test_the_setting_chooses_the_login(tmp_path: Path) -> None:
    assert read_settings({}).login == "service"
    given = read_settings({"NDC_LOGIN": "task", "NDC_WAREHOUSE_URL": "postgresql://loads:word@db/ndc"})
    assert Site(given).warehouse.url.username == "loads"
    with pytest.raises(SetupFault, match="NDC_LOGIN=owner"):
        read_settings({"NDC_LOGIN": "owner"})


def test_the_address_may_stand_in_a_file_that_others_cannot_read(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("postgresql://loads:s3cret@db/ndc\n")
    for mode in (0o600, 0o440):
        file.chmod(mode)
        settings = read_settings({"NDC_WAREHOUSE_URL_FILE": str(file)})
        assert settings.warehouse_url == "postgresql://loads:s3cret@db/ndc" and "s3cret" not in repr(settings)
    file.chmod(0o644)
    for environment, said in (
        ({"NDC_WAREHOUSE_URL_FILE": str(file)}, "everybody can read"),
        ({"NDC_WAREHOUSE_URL_FILE": str(file), "NDC_WAREHOUSE_URL": "postgresql://db/ndc"}, "both set"),
        ({"NDC_WAREHOUSE_URL_FILE": str(tmp_path / "none")}, "cannot be read"),
    ):
        with pytest.raises(SetupFault, match=said) as refused:
            read_settings(environment)
        assert "s3cret" not in str(refused.value)
