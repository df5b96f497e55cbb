"""The first start and every upgrade: databases and logins, the warehouse's tables, Airflow's own tables, the first person.

Answers for: safe to repeat, and each login has the password of its file afterwards, so changing a password is a new file and a run.
Refuses: giving the task's login more than the loader; the superuser's password is used here and nowhere else.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, create_engine, make_url, text

from warehouse.engine import run_script
from warehouse.logins import PIPELINE_GROUPS, TASK
from warehouse.roles import ensure_login, ensure_roles

SECRETS = Path("/run/secrets")


def main() -> None:
    """Do it all, in an order in which each step finds what it needs."""
    admin, task, airflow = (make_url(_secret(name)) for name in ("warehouse_admin_url", "warehouse_task_url", "airflow_database_url"))
    if task.username != TASK:
        sys.exit(f"secrets/warehouse_task_url names {task.username}; tasks log in as {TASK}")
    _say("logins and databases")
    with _superuser(admin) as connection:
        make_pipeline_login(connection, admin)
        _ensure_login(connection, airflow, ())
        run_script(connection, f"ALTER ROLE {_quoted(connection, airflow.username)} INHERIT")  # the owner's rights in its own database
    make_airflow_database(admin, airflow)
    _say("warehouse: ndc migrate")
    _run("ndc", "migrate")
    with _superuser(admin) as connection:
        ensure_roles(connection)  # once more as the superuser, who may take away what everybody has by default
        _ensure_login(connection, task, PIPELINE_GROUPS[TASK])
    make_bucket()
    _say("Airflow: airflow db migrate")
    _run("airflow", "db", "migrate")
    make_first_person()
    _say("done")


def make_pipeline_login(connection: Connection, url: URL) -> None:
    """The login that owns the warehouse's database and makes its roles; its own reads are in the ledger and not in the server's log."""
    login, database = _quoted(connection, url.username), _quoted(connection, url.database)
    _ensure_login(connection, url, ())
    run_script(
        connection,
        f"ALTER ROLE {login} CREATEROLE; ALTER ROLE {login} SET pgaudit.role = ''; "
        f"ALTER DATABASE {database} OWNER TO {login}; GRANT SET ON PARAMETER log_statement TO {login}",
    )


def make_airflow_database(admin: URL, url: URL) -> None:
    """A database that is Airflow's alone."""
    engine = create_engine(_superuser_url(admin), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        owner, database = _quoted(connection, url.username), _quoted(connection, url.database)
        if connection.execute(text("SELECT FROM pg_database WHERE datname = :name"), {"name": url.database}).first() is None:
            connection.exec_driver_sql(f"CREATE DATABASE {database} OWNER {owner}")
        connection.exec_driver_sql(f"REVOKE ALL ON DATABASE {database} FROM PUBLIC")
    engine.dispose()


def make_bucket() -> None:
    """The buckets of archive and lake, where these are in an object store."""
    from etl.store import Store

    for address in filter(None, (os.environ.get("NDC_ARCHIVE"), os.environ.get("NDC_LAKE"))):
        if address.startswith("s3://"):
            store = Store(address + ("&" if "?" in address else "?") + "allow_bucket_creation=true")
            store.fs.create_dir(store.root.split("/")[0])


def make_first_person() -> None:
    """Airflow's first administrator, unless there is one of that name: a password changed since then stays."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    with get_application_builder() as builder:
        people = builder.sm
        people.sync_roles()
        if people.find_user("admin") is None:
            role = people.find_role("Admin")
            people.add_user("admin", "Quản trị", "Trung tâm", "admin@localhost.localdomain", role, _secret("airflow_admin_password"))


def _ensure_login(connection: Connection, url: URL, groups: tuple[str, ...]) -> None:
    assert url.username and url.password
    ensure_login(connection, url.username, str(url.password), groups, inherits=False)


def _superuser_url(admin: URL) -> URL:
    return admin.set(drivername="postgresql+psycopg", username="postgres", password=_secret("postgres_password"))


@contextmanager
def _superuser(admin: URL) -> Iterator[Connection]:
    engine = create_engine(_superuser_url(admin))
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def _quoted(connection: Connection, name: str | None) -> str:
    return connection.dialect.identifier_preparer.quote(name or "")


def _secret(name: str) -> str:
    return (SECRETS / name).read_text().strip()


def _run(*command: str) -> None:
    if code := subprocess.run(command, check=False).returncode:  # noqa: S603 - both programs are the image's own
        sys.exit(code)


def _say(step: str) -> None:
    print(f"init: {step}", flush=True)


if __name__ == "__main__":
    main()
