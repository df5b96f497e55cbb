"""What the server does for one person: a login role, its limits and groups, its share in workspaces, and their end.

Answers for: a login that owns no power but its groups'. Every function runs as the administrator, inside the caller's
transaction: a superuser, or a login with CREATEROLE that may grant the groups. Refuses: deciding who may have a login; that is
for `people.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from warehouse.access.grantees import AUDITOR, CENTRE, PUBLIC
from warehouse.engine import run_script
from warehouse.roles import grant_group, literal, may_log_statements, scram_verifier

if TYPE_CHECKING:
    from sqlalchemy import Connection

EVERYBODY = "ndc_people"
_GRACE_MS = 10_000  # in which an ended session rolls back and goes


@dataclass(frozen=True, slots=True)
class Limits:
    """What one login may take of the server. The times guard against accidents, a session may change them; the connections hold."""

    connections: int
    statement_s: int
    idle_in_transaction_s: int


LIMITS: Mapping[str, Limits] = {CENTRE: Limits(20, 1800, 300), AUDITOR: Limits(5, 600, 300), PUBLIC: Limits(3, 30, 30)}
_OF_A_BODY = Limits(10, 300, 300)  # a province or an organisation


def limits_of(grantees: Sequence[str]) -> Limits:
    """The most generous of what the groups have, each in its own right."""
    found = [LIMITS.get(grantee, _OF_A_BODY) for grantee in grantees]
    return Limits(*(max(getattr(each, field) for each in found) for field in Limits.__slots__))


def create_login(
    connection: Connection, login: str, password: str, roles: Sequence[str], limits: Limits, until: datetime | None = None
) -> None:
    """Create the role `login`, a member of `roles` and of everybody with a login. Its statements are logged where this may be set."""
    role, verifier = quote(connection, login), scram_verifier(connection, login, password)
    run_script(
        connection,
        f"CREATE ROLE {role} LOGIN INHERIT NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION "
        f"CONNECTION LIMIT {limits.connections} PASSWORD {literal(verifier)}"
        + (f" VALID UNTIL {literal(until.isoformat())}" if until else ""),
    )
    settings = {"statement_timeout": f"{limits.statement_s}s", "idle_in_transaction_session_timeout": f"{limits.idle_in_transaction_s}s"}
    if may_log_statements(connection):
        settings["log_statement"] = "all"  # a superuser's setting: the person cannot turn it off
    for name, value in settings.items():
        run_script(connection, f"ALTER ROLE {role} SET {name} = {literal(value)}")
    for group in (EVERYBODY, *roles):
        grant_group(connection, quote(connection, group), role, inherits=True)


def change_password(connection: Connection, login: str, password: str) -> None:
    run_script(connection, f"ALTER ROLE {quote(connection, login)} PASSWORD {literal(scram_verifier(connection, login, password))}")


def close_login(connection: Connection, login: str) -> None:
    """Let no new session begin, and take every membership away, by whomever it was granted (from 16 on each grantor's counts)."""
    from sqlalchemy import text

    role = quote(connection, login)
    run_script(connection, f"ALTER ROLE {role} NOLOGIN")
    memberships = text(
        "SELECT CAST(CAST(roleid AS regrole) AS text) AS role, CAST(CAST(grantor AS regrole) AS text) AS grantor "
        "FROM pg_auth_members WHERE member = (SELECT oid FROM pg_roles WHERE rolname = :login)"
    )
    raw: Any = connection.connection.dbapi_connection
    for found in connection.execute(memberships, {"login": login}).all():
        by = f" GRANTED BY {found.grantor}" if raw.info.server_version >= 160000 else ""
        run_script(connection, f"REVOKE {found.role} FROM {role}{by}")


def end_sessions(connection: Connection, login: str, *, dry_run: bool = False) -> int:
    """End the person's sessions and wait until they are gone; returns how many there were, or are when this is a dry run."""
    from sqlalchemy import text

    what = "true" if dry_run else f"pg_terminate_backend(pid, {_GRACE_MS})"
    with _as_person(connection, login):
        return len(connection.execute(text(f"SELECT {what} FROM pg_stat_activity WHERE usename = current_user")).all())


def quote(connection: Connection, identifier: str) -> str:
    return connection.dialect.identifier_preparer.quote(identifier)


@contextmanager
def _as_person(connection: Connection, login: str) -> Iterator[None]:
    """Inside the block the administrator acts as the person. A superuser may; another makes itself a member for that moment."""
    from sqlalchemy import text

    role = quote(connection, login)
    is_superuser = connection.execute(text("SELECT rolsuper FROM pg_roles WHERE rolname = session_user")).scalar()
    if not is_superuser:
        grant_group(connection, role, "CURRENT_USER", inherits=False)
    run_script(connection, f"SET LOCAL ROLE {role}")
    yield
    run_script(connection, "SET LOCAL ROLE NONE")
    if not is_superuser:
        run_script(connection, f"REVOKE {role} FROM CURRENT_USER")
