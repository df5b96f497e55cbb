"""Bring a warehouse up to the code, the contracts and the registry: shown first, then done.

Answers for: roles, the schema `control` (Alembic), the dataset tables and the registry's rows, each step safe to repeat.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from expectations.contract import Contract
from expectations.faults import Message
from warehouse.engine import Warehouse, run_script
from warehouse.ledger import save_contract
from warehouse.provinces import Registry
from warehouse.roles import ensure_roles
from warehouse.tables import Change, plan

if TYPE_CHECKING:
    from sqlalchemy import Connection

_MIGRATIONS = Path(__file__).parent / "migrations"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a migration would do. `control` names Alembic revisions, `tables` are changes of dataset tables."""

    control: tuple[str, ...]
    tables: tuple[Change, ...]

    @property
    def is_empty(self) -> bool:
        return not self.control and not self.tables


def prepare_roles(admin: Warehouse) -> None:
    """Create the roles and schemas; `admin` is a superuser or a login with CREATEROLE and CREATE on the database."""
    from sqlalchemy.exc import OperationalError

    from warehouse.engine import check_version, unreachable

    try:
        with admin.engine.begin() as connection:
            check_version(connection)
            ensure_roles(connection)
    except OperationalError as error:
        raise unreachable(admin.url, error) from error


def make_plan(warehouse: Warehouse, contracts: Mapping[str, Contract], registry: Registry) -> Plan:
    """What is to be done. Nothing is changed. Raises `SetupFault` for what would lose data."""
    with warehouse.transaction("ndc_owner") as connection:
        control = _pending(connection)
        return Plan(control, tuple(plan(connection, contracts.values(), registry.ids)))


def migrate(warehouse: Warehouse, contracts: Mapping[str, Contract], registry: Registry) -> Plan:
    """Do it, in two transactions: `control`, then tables and registry. Returns what was done."""
    with warehouse.transaction("ndc_owner") as connection:
        control = _pending(connection)
        if control:
            _upgrade(connection)
    with warehouse.transaction("ndc_owner") as connection:
        changes = plan(connection, contracts.values(), registry.ids)
        for change in changes:
            run_script(connection, change.sql)
        run_script(connection, "SET LOCAL ROLE ndc_loader")
        _register(connection, contracts, registry)
    return Plan(control, tuple(changes))


def check_migrated(connection: Connection, contracts: Mapping[str, Contract]) -> None:
    """Raise `SetupFault` when a table does not follow its contract as it stands today."""
    from sqlalchemy import text
    from sqlalchemy.exc import ProgrammingError

    from expectations.faults import SetupFault

    try:
        rows = connection.execute(text("SELECT dataset, sha256 FROM control.dataset"))
        live = {row[0]: row[1] for row in rows}
    except ProgrammingError:
        live = {}
    stale = [name for name, contract in contracts.items() if live.get(name) != contract.sha256]
    if stale:
        names = ", ".join(stale)
        raise SetupFault(
            Message(
                f"Hợp đồng đã thay đổi hoặc mới: {names}. Hãy chạy: ndc migrate", f"Contracts are new or changed: {names}. Run: ndc migrate"
            ),
            rule="not-migrated",
        )


def _register(connection: Connection, contracts: Mapping[str, Contract], registry: Registry) -> None:
    """Enter contracts and provinces for people who join with them."""
    from sqlalchemy import text

    for contract in contracts.values():
        save_contract(connection, contract)
        connection.execute(
            text(
                "INSERT INTO control.dataset (dataset, sha256) VALUES (:dataset, :sha) "
                "ON CONFLICT (dataset) DO UPDATE SET sha256 = excluded.sha256, migrated_at = now() WHERE control.dataset.sha256 <> excluded.sha256"
            ),
            {"dataset": contract.dataset, "sha": contract.sha256},
        )
    connection.execute(text("DELETE FROM control.province"))
    connection.execute(
        text(
            "INSERT INTO control.province (province_id, name, full_name, unit_type, valid_from, valid_to, successor_id, legal_basis) "
            "VALUES (:province_id, :name, :full_name, :unit_type, :valid_from, :valid_to, :successor_id, :legal_basis)"
        ),
        [
            {
                name: getattr(row, name)
                for name in ("province_id", "name", "full_name", "unit_type", "valid_from", "valid_to", "successor_id", "legal_basis")
            }
            for row in registry.rows
        ],
    )


def _config(connection: Connection) -> object:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def _pending(connection: Connection) -> tuple[str, ...]:
    """The revisions of `control` that are still to run, in their order."""
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(_config(connection))  # type: ignore[arg-type]
    current = MigrationContext.configure(
        connection, opts={"version_table": "migration", "version_table_schema": "control"}
    ).get_current_revision()
    return tuple(s.revision for s in reversed(list(scripts.iterate_revisions("head", current or "base"))))


def _upgrade(connection: Connection) -> None:
    from alembic import command

    command.upgrade(_config(connection), "head")  # type: ignore[arg-type]
