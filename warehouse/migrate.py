"""Bring a warehouse up to the code, the contracts and the registry: shown first, then done.

Answers for: roles, the schema `control` (Alembic), the dataset tables, the registry's rows and the delegations, each step safe to
repeat. A table is never there without its policies and grants: they come in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from expectations.contract import Contract
from expectations.faults import Message, SetupFault
from warehouse.access.apply import AccessPlan, apply_declaration, install_functions, plan_access, set_zone, wait_for_turn
from warehouse.access.grantees import people
from warehouse.access.load import AccessFiles, load_declaration
from warehouse.engine import Warehouse, run_script
from warehouse.ledger import save_contract
from warehouse.plan import Change, plan
from warehouse.provinces import Registry
from warehouse.roles import ensure_roles

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from warehouse.access.grantees import Grantee

_MIGRATIONS = Path(__file__).parent / "migrations"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a migration would do. `control` names Alembic revisions, `tables` are changes of dataset tables, `access` of who sees
    what; it is unknown (None) until the control tables are there."""

    control: tuple[str, ...]
    tables: tuple[Change, ...]
    access: AccessPlan | None

    @property
    def is_empty(self) -> bool:
        return not self.control and not self.tables and (self.access is None or self.access.is_empty)


def prepare_roles(admin: Warehouse, grantees: Iterable[Grantee] = (), day: date = date.max) -> None:
    """Create the roles and schemas; `admin` is a superuser or a login with CREATEROLE and CREATE on the database."""
    from sqlalchemy.exc import OperationalError, ProgrammingError

    from warehouse.access.grantees import ensure_group_roles
    from warehouse.engine import check_version, unreachable

    try:
        with admin.engine.begin() as connection:
            check_version(connection)
            ensure_roles(connection)
            ensure_group_roles(connection, grantees, day)
    except OperationalError as error:
        raise unreachable(admin.url, error) from error
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", "") != "42501":
            raise
        raise SetupFault(
            Message(
                f"Tài khoản {admin.url.username} không được tạo vai trò; cần tài khoản của hệ thống trong NDC_WAREHOUSE_URL (CREATEROLE, chủ cơ sở dữ liệu).",
                f"The login {admin.url.username} may not make roles; NDC_WAREHOUSE_URL needs the pipeline's own (CREATEROLE, owner of the database).",
            ),
            rule="login",
        ) from error


def make_plan(warehouse: Warehouse, contracts: Mapping[str, Contract], registry: Registry, access: AccessFiles) -> Plan:
    """What is to be done. Nothing is changed. Raises `SetupFault` for what would lose data, or does not compile."""
    with warehouse.transaction("ndc_owner") as connection:
        control = _pending(connection)
        changes = tuple(plan(connection, contracts.values(), registry.ids))
        if control:
            load_declaration(access, registry, contracts)
            return Plan(control, changes, None)
        attempt = connection.begin_nested()
        install_functions(connection)
        _bring_up_tables(connection, contracts, registry, changes)
        access_plan = plan_access(connection, load_declaration(access, registry, contracts, people(connection)))
        attempt.rollback()
        return Plan(control, changes, access_plan)


def migrate(
    warehouse: Warehouse, contracts: Mapping[str, Contract], registry: Registry, access: AccessFiles, actor: str | None = None
) -> Plan:
    """Do it, in two transactions: `control`, then tables, registry, policies and grants. Returns what was done."""
    with warehouse.transaction("ndc_owner") as connection:
        control = _pending(connection)
        if control:
            wait_for_turn(connection)
            _upgrade(connection)
            install_functions(connection)
            set_zone(connection, access.timezone)
            connection.exec_driver_sql("SELECT control.apply_access()")
    with warehouse.transaction("ndc_owner") as connection:
        wait_for_turn(connection)
        declaration = load_declaration(access, registry, contracts, people(connection))
        install_functions(connection)
        set_zone(connection, access.timezone)
        changes = tuple(plan(connection, contracts.values(), registry.ids))
        _bring_up_tables(connection, contracts, registry, changes)
        done = apply_declaration(connection, declaration, actor)
    return Plan(control, changes, done)


def _bring_up_tables(connection: Connection, contracts: Mapping[str, Contract], registry: Registry, changes: Iterable[Change]) -> None:
    for change in changes:
        run_script(connection, change.sql)
    run_script(connection, "SET LOCAL ROLE ndc_loader")
    _register(connection, contracts, registry)
    run_script(connection, "SET LOCAL ROLE ndc_owner")


def check_migrated(connection: Connection, contracts: Mapping[str, Contract]) -> None:
    """Raise `SetupFault` when a table does not follow its contract as it stands today."""
    from sqlalchemy import text
    from sqlalchemy.exc import ProgrammingError

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
                "INSERT INTO control.dataset AS d (dataset, sha256, label, restricted, commune_field) "
                "VALUES (:dataset, :sha, :label, :restricted, :commune_field) ON CONFLICT (dataset) DO UPDATE SET sha256 = excluded.sha256, "
                "label = excluded.label, restricted = excluded.restricted, commune_field = excluded.commune_field, migrated_at = now() "
                "WHERE (d.sha256, d.label, d.restricted, d.commune_field) IS DISTINCT FROM "
                "(excluded.sha256, excluded.label, excluded.restricted, excluded.commune_field)"
            ),
            {
                "dataset": contract.dataset,
                "sha": contract.sha256,
                "label": contract.label,
                "restricted": [f.name for f in contract.restricted_fields],
                "commune_field": contract.commune_field,
            },
        )
    _enter_communes(connection, registry)
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


def _enter_communes(connection: Connection, registry: Registry) -> None:
    """Bring control.commune to the registry, by which codes in delegations are understood."""
    from sqlalchemy import text

    there = {tuple(row) for row in connection.execute(text("SELECT code, name, province_id, valid_from, valid_to FROM control.commune"))}
    wanted = {(c.code, c.name, c.province_id, c.valid_from, c.valid_to) for c in registry.communes(registry.ids)}
    names = ("code", "name", "province_id", "valid_from", "valid_to")
    if gone := [dict(zip(names, row, strict=True)) for row in there - wanted]:
        connection.execute(
            text("DELETE FROM control.commune WHERE code = :code AND province_id = :province_id AND valid_from = :valid_from"), gone
        )
    if new := [dict(zip(names, row, strict=True)) for row in wanted - there]:
        connection.execute(
            text(
                "INSERT INTO control.commune (code, name, province_id, valid_from, valid_to) VALUES (:code, :name, :province_id, :valid_from, :valid_to)"
            ),
            new,
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
