"""The warehouse's database written to a file and read back by PostgreSQL's own pg_dump and pg_restore, and the roles that it needs.

Answers for: every row is in the dump whatever row security says, or there is no dump; counts, roles and dump are of one moment; a
restore is one transaction. Refuses: any login but a superuser's, programs older than the server, passwords among arguments.

Roles belong to a server and not to a database, so pg_dump leaves them out. `pg_dumpall --roles-only` writes every role of the server,
other systems' and superusers' too, as text that would have to be taken apart again. So they are written here, by SQL: our groups, all
who hold delegations, and whoever owns something or has a right in this database; with limits, memberships and the verifiers of
passwords, and without powers (superuser, CREATEROLE …), of which ours have none. Administrators and the pipeline's own logins are left
out: they are the installation's, which a restore finds in place, with passwords that lie in its secrets.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expectations.faults import MachineFault, Message, SetupFault
from warehouse.embedded_account import installed_programs
from warehouse.engine import Warehouse, check_version, run_script, unreachable
from warehouse.logins import ANALYST
from warehouse.roles import GROUPS, PIPELINE, SCHEMAS, literal
from warehouse.tables import quoted

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection

_LOCK_WAIT_MS = 60_000
_NO_POWERS = "NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"

_NOT_SUPERUSER = Message(
    "Sao lưu và khôi phục cần tài khoản superuser: chỉ tài khoản đó đọc được mọi dòng và mã kiểm tra mật khẩu. {login} không phải. "
    "Hãy đặt NDC_WAREHOUSE_URL bằng tài khoản superuser cho riêng lệnh này.",
    "Backup and restore need a superuser: nobody else reads every row and the verifiers of passwords. {login} is none. "
    "Set NDC_WAREHOUSE_URL to a superuser's login for this command alone.",
)
_NO_PROGRAM = Message(
    "Không có {name} phiên bản {major} trở lên (máy chủ là {major}); tìm thấy: {found}. Hãy cài gói postgresql-client-{major}.",
    "There is no {name} of version {major} or later (the server's is {major}); found: {found}. Install postgresql-client-{major}.",
)
_FAILED = Message("{program} không làm được: {said}", "{program} failed: {said}")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment of the warehouse, kept while it is open: others may dump the same one by its `id`."""

    connection: Connection
    id: str
    server: str
    major: int


@contextlib.contextmanager
def open_snapshot(admin: Warehouse) -> Iterator[Snapshot]:
    """The warehouse as it is now, to read as often as wanted. Raises `SetupFault` unless `admin` is a superuser."""
    with _as_superuser(admin) as connection, connection.begin():
        run_script(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        server, number = connection.exec_driver_sql(
            "SELECT current_setting('server_version'), current_setting('server_version_num')::int"
        ).one()
        exported = str(connection.exec_driver_sql("SELECT pg_export_snapshot()").scalar_one())
        yield Snapshot(connection, exported, server, number // 10_000)


@contextlib.contextmanager
def _as_superuser(admin: Warehouse) -> Iterator[Connection]:
    from sqlalchemy.exc import OperationalError

    try:
        connection = admin.engine.connect()
    except OperationalError as error:
        raise unreachable(admin.url, error) from error
    with connection:
        check_version(connection)
        if not connection.exec_driver_sql("SELECT rolsuper FROM pg_roles WHERE rolname = session_user").scalar_one():
            raise SetupFault(_NOT_SUPERUSER.fill(login=admin.url.username), rule="administrator")
        connection.rollback()
        yield connection


# ---------------------------------------------------------------- what is there


_COUNTED = {
    "deliveries": ("control.delivery", "SELECT count(*) FROM control.delivery"),
    "decisions": ("control.decision", "SELECT count(*) FROM control.decision"),
    "rejections": ("control.rejection", "SELECT count(*) FROM control.rejection"),
    "rows": ("control.delivery", "SELECT coalesce(sum(lines_loaded), 0)::bigint FROM control.delivery WHERE state IN ('loaded', 'stored')"),
    "delegations": ("control.delegation", "SELECT count(*) FROM control.delegation WHERE revoked_at IS NULL"),
    "people": ("control.grantee", "SELECT count(*) FROM control.grantee WHERE kind = 'person'"),
    "tables in workspaces": (
        "pg_catalog.pg_class",
        "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname LIKE 'workspace\\_%' AND c.relkind IN ('r', 'p', 'v', 'm')",
    ),
}
_IS_CONTENT = ("deliveries", "people", "tables in workspaces")


def count_contents(connection: Connection) -> dict[str, int]:
    """How much there is of what cannot be made anew; nothing in a database that was never migrated."""
    from sqlalchemy import text

    there = text("SELECT to_regclass(:name) IS NOT NULL")
    return {
        what: connection.exec_driver_sql(query.replace("%", "%%")).scalar_one()
        for what, (table, query) in _COUNTED.items()
        if connection.execute(there, {"name": table}).scalar_one()
    }


def find_contents(admin: Warehouse) -> dict[str, int]:
    """What a restore would destroy; empty when nothing. Raises `SetupFault` unless `admin` is a superuser."""
    with _as_superuser(admin) as connection:
        return {what: count for what, count in count_contents(connection).items() if count and what in _IS_CONTENT}


def revision(connection: Connection) -> str | None:
    """The newest migration of the control tables."""
    found: str | None = connection.exec_driver_sql("SELECT version_num FROM control.migration").scalar()
    return found


# ---------------------------------------------------------------- roles


def roles_sql(connection: Connection) -> str:
    """The statements that make the roles of this database, or bring those that there are to what they were. Safe to repeat.

    They hold the verifiers of passwords, by which passwords can be guessed: keep them as you keep the dump.
    """
    return ";\n".join((*_each_role(connection), *_memberships(connection))) + ";\n"


_OURS = """
    SELECT r.* FROM pg_authid r WHERE NOT r.rolsuper AND NOT r.rolcreaterole AND r.rolname NOT LIKE 'pg\\_%' AND r.rolname <> ALL (:own)
        AND NOT EXISTS (SELECT FROM pg_auth_members m JOIN pg_authid g ON g.oid = m.roleid WHERE m.member = r.oid AND g.rolname = ANY (:pipeline)) AND (
        r.rolname = ANY (:groups) OR r.rolname IN (SELECT role FROM control.grantee) OR EXISTS (SELECT FROM pg_shdepend d
            WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid AND d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())))
"""


def _each_role(connection: Connection) -> Iterator[str]:
    from sqlalchemy import text

    query = (
        f"WITH ours AS ({_OURS}) SELECT o.rolname, o.rolcanlogin, o.rolinherit, o.rolconnlimit, CAST(o.rolvaliduntil AS text) AS until, "
        "o.rolpassword, coalesce(s.setconfig, '{}') AS settings "
        "FROM ours o LEFT JOIN pg_db_role_setting s ON s.setrole = o.oid AND s.setdatabase = 0 ORDER BY o.rolname"
    )
    for role in connection.execute(text(query), _own()):
        name = quoted(role.rolname)
        yield f"DO $role$ BEGIN CREATE ROLE {name}; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $role$"
        may = f"{'LOGIN' if role.rolcanlogin else 'NOLOGIN'} {'INHERIT' if role.rolinherit else 'NOINHERIT'} {_NO_POWERS}"
        until = f" VALID UNTIL {literal(role.until)}" if role.until else ""
        password = literal(role.rolpassword) if role.rolpassword else "NULL"
        yield f"ALTER ROLE {name} {may} CONNECTION LIMIT {role.rolconnlimit}{until} PASSWORD {password}"
        for setting in role.settings:
            key, _, value = setting.partition("=")
            yield f"ALTER ROLE {name} SET {key} = {literal(value)}"


def _memberships(connection: Connection) -> Iterator[str]:
    from sqlalchemy import text

    raw: Any = connection.connection.dbapi_connection
    has_options = raw.info.server_version >= 160000
    options = "m.inherit_option, m.set_option" if has_options else "true AS inherit_option, true AS set_option"
    query = (
        f"WITH ours AS ({_OURS}) SELECT DISTINCT g.rolname AS held, o.rolname AS member, m.admin_option, {options} "
        "FROM pg_auth_members m JOIN ours o ON o.oid = m.member JOIN ours g ON g.oid = m.roleid ORDER BY 1, 2"
    )
    for row in connection.execute(text(query), _own()):
        options = f" WITH INHERIT {row.inherit_option}, SET {row.set_option}, ADMIN {row.admin_option}" if has_options else ""
        yield f"GRANT {quoted(row.held)} TO {quoted(row.member)}{options}"


def _own() -> dict[str, list[str]]:
    return {"own": [ANALYST], "pipeline": list(PIPELINE), "groups": list(GROUPS)}


# ---------------------------------------------------------------- pg_dump and pg_restore


def find_program(name: str, major: int, *, is_embedded: bool) -> Path:
    """pg_dump or pg_restore, not older than the server: the wheel's for its own server, else that of the PATH before the wheel's.

    Raises `SetupFault` when there is none.
    """
    found: list[str] = []
    for program in _programs(name, is_embedded=is_embedded):
        version = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, env=_environment(None)).stdout.strip()
        number = re.search(r"\(PostgreSQL\) (\d+)", version)
        if number and int(number[1]) >= major:
            return program
        found.append(version or str(program))
    raise SetupFault(_NO_PROGRAM.fill(name=name, major=major, found="; ".join(found) or "-"), rule="no-program")


def _programs(name: str, *, is_embedded: bool) -> Iterator[Path]:
    if not is_embedded and (path := shutil.which(name)):
        yield Path(path)
    with contextlib.suppress(SetupFault):  # beside an external server the wheel need not be installed
        yield installed_programs() / name


def write_dump(url: URL, snapshot: Snapshot, file: Path, program: Path) -> None:
    """The whole database as of the snapshot, in pg_dump's custom format. Row security is off, so a row that it would hide is an error."""
    _run(program, url, "--format=custom", f"--snapshot={snapshot.id}", f"--lock-wait-timeout={_LOCK_WAIT_MS}", f"--file={file}")


def read_dump(admin: Warehouse, roles: str, file: Path, program: Path) -> None:
    """Put the content of a dump in the place of our schemas, which hold nothing, and of people's workspaces; all or nothing."""
    with _as_superuser(admin) as connection, connection.begin():
        run_script(connection, roles)
        spaces = connection.exec_driver_sql("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'workspace\\_%%'").scalars()
        for name in (*SCHEMAS, *spaces):
            run_script(connection, f"DROP SCHEMA IF EXISTS {quoted(name)} CASCADE")
    _run(program, admin.url, "--single-transaction", "--exit-on-error", str(file))


def _run(program: Path, url: URL, *arguments: str) -> None:
    """Run a program on the database. The password goes by the environment, where other accounts cannot see it."""
    plain = url.set(drivername="postgresql")._replace(password=None).render_as_string()
    done = subprocess.run(
        [program, "--no-password", f"--dbname={plain}", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=_environment(url.password),
    )
    if done.returncode:
        raise MachineFault(_FAILED.fill(program=program.name, said=_plain(done.stderr, done.returncode)), rule="dump")


def _environment(password: str | None) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR") or name.startswith("PGSSL")}
    return own | {"LC_ALL": "C", **({"PGPASSWORD": password} if password else {})}


def _plain(said: str, code: int) -> str:
    """The first complaint, without what a COPY quotes of a row."""
    first = next((line for line in said.splitlines() if "error:" in line), f"exit code {code}")
    return first.partition(" ERROR:")[0] if "COPY" in first else first
