"""What every container of production keeps to, read from the compose file as it stands; no engine is needed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
TASKS = ("api-server", "scheduler", "dag-processor", "triggerer", "worker-1", "worker-2")
ADMINISTRATORS = {"init", "upkeep"}
BY_HAND = {"init", "upkeep"}
AS_ROOT = {"inbox"}
"""sshd changes into each sender's folder and account."""
every_service = pytest.mark.parametrize("name", SERVICES)


def as_shipped(text: str) -> str:
    """A value with the compose file's own defaults, as on a machine that sets nothing."""
    return re.sub(r"\$\{\w+:?-([^}]*)\}", r"\1", text)


@every_service
def test_a_service_runs_without_root_and_without_rights(name: str) -> None:
    service = SERVICES[name]
    assert service["user"] == ("0:0" if name in AS_ROOT else "999:999")
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["read_only"] is True
    assert not service.get("privileged")
    assert name in AS_ROOT or "cap_add" not in service
    assert not {"pid", "ipc", "network_mode", "devices"} & service.keys()


@every_service
def test_a_service_has_limits_and_is_started_again(name: str) -> None:
    service = SERVICES[name]
    assert {"cpus", "memory", "pids"} <= service["deploy"]["resources"]["limits"].keys()
    assert service["restart"] == ("no" if name in BY_HAND else "unless-stopped")
    assert service["logging"]["options"]["max-size"]


@every_service
def test_a_service_that_stays_up_says_whether_it_is_well(name: str) -> None:
    assert name in BY_HAND or SERVICES[name]["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")


@every_service
def test_an_image_has_a_version_and_one_that_is_fetched_has_a_digest(name: str) -> None:
    service = SERVICES[name]
    image = as_shipped(service["image"])
    tag = image.split("@")[0].rpartition(":")[2]
    assert re.match(r"\d+\.\d+", tag), image
    assert "build" in service or re.search(r"@sha256:[0-9a-f]{64}$", image), image


@pytest.mark.parametrize("file", ["Dockerfile", *(f"deploy/{path.name}" for path in (ROOT / "deploy").glob("*.Dockerfile"))])
def test_a_base_image_has_a_version_and_a_digest(file: str) -> None:
    lines = (ROOT / file).read_text().splitlines()
    bases = [line for line in lines if line.startswith("ARG ") and "@sha256:" in line]
    assert len(bases) == 1
    assert re.fullmatch(r"ARG (\w+)=[a-z]+:[\w.-]*\d[\w.-]*@sha256:[0-9a-f]{64}", bases[0])
    name = bases[0].removeprefix("ARG ").split("=")[0]
    assert {line.split()[1] for line in lines if line.startswith("FROM ")} == {f"${{{name}}}"}


@every_service
def test_no_port_is_open_beyond_this_machine(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert as_shipped(port).startswith("127.0.0.1:"), port


def test_tasks_hold_no_secret_of_the_owner() -> None:
    owners = {"postgres_password", "warehouse_admin_url", "airflow_admin_password"}
    for name, service in SERVICES.items():
        held = owners & set(service.get("secrets", []))
        assert name in ADMINISTRATORS or held <= ({"postgres_password"} if name == "warehouse" else set()), name
    for name in TASKS:
        environment = SERVICES[name]["environment"]
        assert environment.get("NDC_LOGIN", "task") == "task"
        assert "admin" not in environment.get("NDC_WAREHOUSE_URL_FILE", "")


def test_workers_do_not_reach_airflows_database_or_sign_tokens() -> None:
    for name in ("worker-1", "worker-2"):
        assert not {"airflow_database_url", "airflow_fernet_key", "airflow_jwt_key"} & set(SERVICES[name]["secrets"])
        assert "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD" not in SERVICES[name]["environment"]


def test_secrets_are_files_and_stand_in_no_environment() -> None:
    secret = re.compile(r"PASSWORD|SECRET|FERNET|TOKEN|CREDENTIALS|RESULT_BACKEND|_(KEY|URL|CONN)(_|$)")
    for name, service in SERVICES.items():
        for variable, value in _flat(service.get("environment", {})).items():
            if secret.search(variable):
                assert value.startswith(("/run/secrets/", "cat /run/secrets/")) or variable in _NO_SECRET, f"{name}: {variable}={value}"
            assert not re.search(r"://[^/\s]*:[^/\s]*@", value), f"{name}: {variable}"
    for name, where in COMPOSE["secrets"].items():
        assert where == {"file": f"secrets/{name}"}


_NO_SECRET = {"AIRFLOW__CORE__EXECUTION_API_SERVER_URL", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"}
"""An address, and a database that is not there."""


def test_every_secret_is_made_and_used_and_every_mounted_one_is_named() -> None:
    made = set(re.findall(r"keep (\w+)|-f secrets/(\w+)", (ROOT / "deploy" / "make-secrets").read_text()))
    names = {a or b for a, b in made}
    used = {secret for service in SERVICES.values() for secret in service.get("secrets", [])}
    assert names == set(COMPOSE["secrets"]) == used
    for name, service in SERVICES.items():
        said = set(re.findall(r"/run/secrets/(\w+)", yaml.safe_dump([service.get(k) for k in ("environment", "command", "healthcheck")])))
        assert said <= set(service.get("secrets", [])), name


def test_a_profile_adds_and_never_changes_what_runs_without_it() -> None:
    profiles = {name: service.get("profiles") for name, service in SERVICES.items() if "profiles" in service}
    assert profiles == {"broker": ["scale"], "worker-1": ["scale"], "worker-2": ["scale"], "store": ["store"], "upkeep": ["admin"]}
    for name, service in SERVICES.items():
        for needed, how in (service.get("depends_on") or {}).items():
            same_profile = SERVICES[needed].get("profiles") == service.get("profiles")
            assert "profiles" not in SERVICES[needed] or same_profile or how["required"] is False, f"{name} needs {needed}"


def test_settings_of_the_compose_file_are_known_to_the_pipeline() -> None:
    from etl.settings import SETTINGS

    known = {setting.name for setting in SETTINGS}
    for service in SERVICES.values():
        assert {name for name in _flat(service.get("environment", {})) if name.startswith("NDC_")} <= known


def test_the_inbox_takes_keys_and_files_only() -> None:
    said = dict(line.split(maxsplit=1) for line in (ROOT / "deploy/inbox/sshd_config").read_text().splitlines() if line[:1].isalpha())
    assert said["AuthenticationMethods"] == "publickey"
    assert said["PasswordAuthentication"] == said["PermitRootLogin"] == said["PermitTTY"] == "no"
    assert said["ForceCommand"].startswith("internal-sftp")
    assert said["ChrootDirectory"] == "/srv/inbox/%u"
    assert said["DisableForwarding"] == "yes"


def _flat(environment: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in environment.items()}
