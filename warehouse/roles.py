"""The roles that the pipeline and its readers need, and the schemas they own.

Answers for: `ndc_owner` owns everything and nobody logs in as it; `ndc_loader` writes; `ndc_centre` reads what is granted to it;
logins become these roles and inherit nothing of the owner. Refuses: superuser for anything but creating these roles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection

GROUPS = ("ndc_owner", "ndc_loader", "ndc_centre", "ndc_public", "ndc_auditor")
SCHEMAS = ("national", "parts", "mart", "open", "control")
PIPELINE = ("ndc_owner", "ndc_loader")


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
    run(f"GRANT CONNECT ON DATABASE {database} TO ndc_loader, ndc_centre, ndc_public, ndc_auditor")
    run(f"GRANT TEMPORARY ON DATABASE {database} TO ndc_loader, ndc_owner")
    run("REVOKE CREATE ON SCHEMA public FROM PUBLIC") if is_superuser else None
    for name in SCHEMAS:
        run(f"CREATE SCHEMA IF NOT EXISTS {name} AUTHORIZATION ndc_owner")
    for grant in ("national TO ndc_loader, ndc_centre", "control TO ndc_loader, ndc_centre", "parts TO ndc_loader"):
        run(f"SET LOCAL ROLE ndc_owner; GRANT USAGE ON SCHEMA {grant}; RESET ROLE")


def ensure_login(connection: Connection, name: str, password: str, groups: tuple[str, ...], *, inherits: bool) -> None:
    """Create a login, or give it its password again; it can become `groups`, and inherits them only when it reads."""
    from sqlalchemy import text

    quote = connection.dialect.identifier_preparer.quote
    connection.execute(
        text(f"DO $$ BEGIN CREATE ROLE {quote(name)} LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$")
    )
    rights = "INHERIT CONNECTION LIMIT 20" if inherits else "NOINHERIT"
    attributes = f"LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB {rights}"
    literal = connection.execute(text("SELECT quote_literal(:password)"), {"password": password}).scalar()
    connection.exec_driver_sql(f"ALTER ROLE {quote(name)} {attributes} PASSWORD {literal}".replace("%", "%%"))
    connection.execute(text(f"GRANT CONNECT ON DATABASE {quote(connection.engine.url.database or '')} TO {quote(name)}"))
    for group in groups:
        _grant(connection, group, quote(name), inherits=inherits)


def _let_login_become(connection: Connection, login: str) -> None:
    for group in PIPELINE:
        _grant(connection, group, login, inherits=False)


def _grant(connection: Connection, group: str, login: str, *, inherits: bool) -> None:
    from sqlalchemy import text

    raw = connection.connection.dbapi_connection
    options = f" WITH INHERIT {str(inherits).upper()}, SET TRUE" if raw.info.server_version >= 160000 else ""  # type: ignore[union-attr]
    connection.execute(text(f"GRANT {group} TO {login}{options}"))
