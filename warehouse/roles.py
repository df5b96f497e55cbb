"""The roles that the pipeline and its readers need, and the schemas they own.

Answers for: `ndc_owner` owns everything and nobody logs in as it; `ndc_loader` writes; `ndc_centre` reads what is granted to it;
logins become these roles and inherit nothing of the owner. Refuses: superuser for anything but creating these roles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

GROUPS = ("ndc_owner", "ndc_loader", "ndc_centre", "ndc_public", "ndc_auditor", "ndc_people")
SCHEMAS = ("national", "personal", "parts", "mart", "open", "control")
PIPELINE = ("ndc_owner", "ndc_loader")


_LOCKS_OF_OUR_OWN = """
DO $$ DECLARE f regprocedure; BEGIN
    FOR f IN SELECT oid FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND proname ~ '^pg_(try_)?advisory_(xact_)?lock' LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO ndc_owner, ndc_loader', f);
    END LOOP;
END $$
"""
"""Deliveries and delegations wait for each other by advisory locks, which anybody could otherwise take and keep."""


def ensure_roles(connection: Connection) -> None:
    """Create what is missing of the roles and schemas. Runs as a superuser, or as a login with CREATEROLE and CREATE."""
    from sqlalchemy import text

    def run(sql: str) -> None:
        connection.execute(text(sql))

    quote = connection.dialect.identifier_preparer.quote
    database = quote(connection.engine.url.database or "")
    for name in GROUPS:
        run(f"DO $$ BEGIN CREATE ROLE {name} NOLOGIN NOINHERIT; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$")
    is_superuser = connection.execute(text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")).scalar()
    if not is_superuser:
        _let_login_become(connection, "CURRENT_USER")
    run(f"GRANT CREATE, CONNECT ON DATABASE {database} TO ndc_owner")
    run(f"REVOKE ALL ON DATABASE {database} FROM PUBLIC")
    run(f"GRANT CONNECT ON DATABASE {database} TO ndc_loader, ndc_centre, ndc_public, ndc_auditor, ndc_people")
    run(f"GRANT TEMPORARY ON DATABASE {database} TO ndc_loader, ndc_owner")
    if is_superuser:
        run("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        run(_LOCKS_OF_OUR_OWN)
    for name in SCHEMAS:
        run(f"CREATE SCHEMA IF NOT EXISTS {name} AUTHORIZATION ndc_owner")


def ensure_login(connection: Connection, name: str, password: str, groups: tuple[str, ...], *, inherits: bool) -> None:
    """Create a login, or give it its password again; it can become `groups`, and inherits them only when it reads.

    Runs as a superuser. What a reading login reads is in the server's own log.
    """
    from sqlalchemy import text

    from warehouse.engine import run_script

    quote = connection.dialect.identifier_preparer.quote
    role = quote(name)
    connection.execute(text(f"DO $$ BEGIN CREATE ROLE {role} LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"))
    rights = "INHERIT CONNECTION LIMIT 20" if inherits else "NOINHERIT"
    attributes = f"LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB {rights}"
    run_script(connection, f"ALTER ROLE {role} {attributes} PASSWORD {literal(scram_verifier(connection, name, password))}")
    if inherits:
        run_script(connection, f"ALTER ROLE {role} SET log_statement = 'all'")
    connection.execute(text(f"GRANT CONNECT ON DATABASE {quote(connection.engine.url.database or '')} TO {role}"))
    for group in groups:
        grant_group(connection, group, role, inherits=inherits)


def ensure_database(engine: Engine, name: str, password: str) -> None:
    """A database with a login of the same name that owns it, has no group and reaches no other database of ours. As a superuser."""
    from sqlalchemy import text

    from warehouse.engine import run_script

    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        quoted = connection.dialect.identifier_preparer.quote(name)
        if not connection.execute(text("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = :name)"), {"name": name}).scalar_one():
            connection.execute(text(f"CREATE ROLE {quoted}"))
        run_script(connection, f"ALTER ROLE {quoted} LOGIN NOINHERIT PASSWORD {literal(scram_verifier(connection, name, password))}")
        if not connection.execute(text("SELECT EXISTS (SELECT FROM pg_database WHERE datname = :name)"), {"name": name}).scalar_one():
            connection.execute(text(f"CREATE DATABASE {quoted} OWNER {quoted}"))
        connection.execute(text(f"REVOKE CONNECT, TEMPORARY ON DATABASE {quoted} FROM PUBLIC"))


def scram_verifier(connection: Connection, name: str, password: str) -> str:
    """What the server needs to check a password. It is made here, so that the password reaches no server and no log."""
    raw: Any = connection.connection.dbapi_connection
    return str(raw.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode())


def may_log_statements(connection: Connection) -> bool:
    """Whether this login may set log_statement for others: as a superuser, or because one granted it."""
    from sqlalchemy import text

    return bool(connection.execute(text("SELECT has_parameter_privilege(session_user, 'log_statement', 'SET')")).scalar())


def grant_group(connection: Connection, group: str, login: str, *, inherits: bool) -> None:
    """Make `login` a member of `group`, both quoted already; never with the right to add others."""
    from warehouse.engine import run_script

    raw: Any = connection.connection.dbapi_connection
    options = f" WITH INHERIT {str(inherits).upper()}, SET TRUE, ADMIN FALSE" if raw.info.server_version >= 160000 else ""
    run_script(connection, f"GRANT {group} TO {login}{options}")


def literal(value: str) -> str:
    """A text as SQL writes it, for statements that take no parameters."""
    from psycopg.sql import quote

    return quote(value)


def _let_login_become(connection: Connection, login: str) -> None:
    for group in PIPELINE:
        grant_group(connection, group, login, inherits=False)
