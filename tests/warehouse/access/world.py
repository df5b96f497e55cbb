"""A small country with every kind of row, and people with real logins and open sessions, for tests of who sees what."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg

from etl.settings import read_settings
from etl.site import Site
from expectations.contract import UNASSIGNED
from tests.conftest import NOW, PSEUDONYM_KEY, site_on
from warehouse.access.load import group_grantees
from warehouse.access.oracle import Oracle, Row, read_oracle
from warehouse.embedded import Server
from warehouse.migrate import migrate

HERE = Path(__file__).resolve().parent
PROVINCES = ("east", "north", "south", "union", "west")
PERIODS = (date(2023, 1, 1), date(2024, 1, 1), date(2025, 1, 1))
COMMUNES = (None, "K1", "K2")  # the same codes in each province
DATASETS = ("card", "census", "visit")
RESTRICTED = ("citizen", "phone")
ORGANISATIONS = """
organisations:
  - {id: clinic, name: Clinic, province: north}
  - {id: institute, name: Institute}
"""
OWN = """
  - {id: own-rows, grantee: each-province, provinces: own, datasets: all, columns: {in_clear: all}, from: 2024-01-01,
     may_redelegate: true, purpose: p, legal_basis: l}
  - {id: centre-all, grantee: centre, provinces: all, datasets: all, columns: {in_clear: none}, from: 2024-01-01, purpose: p, legal_basis: l}
"""
_numbers = itertools.count(1)


def declare(folder: Path, delegations: str = OWN) -> Path:
    """The folder `access` of a test."""
    (folder / "delegations").mkdir(parents=True, exist_ok=True)
    (folder / "organisations.yaml").write_text(ORGANISATIONS)
    (folder / "delegations" / "centre.yaml").write_text(f"delegations:{delegations or ' []'}\n")
    return folder


@dataclass(frozen=True, slots=True)
class Held:
    """A row in the database: `line` tells it from all others of its dataset."""

    row: Row
    line: int


def rows_of(dataset: str) -> tuple[Held, ...]:
    """Every province, period and commune; a central body's table also holds rows of no province."""
    provinces = (*PROVINCES, UNASSIGNED) if dataset == "census" else PROVINCES
    places = itertools.product(provinces, PERIODS, COMMUNES)
    return tuple(Held(Row(dataset, *place), line) for line, place in enumerate(places, 1))


class World:
    """An installation with rows of every kind, its superuser's session, and those of the people in it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.admin = self._connect(site.logins.administrator().url)
        self.sessions: dict[str, psycopg.Connection[Any]] = {}
        self.rows = {dataset: rows_of(dataset) for dataset in DATASETS}
        self._fill()

    @classmethod
    def made_on(cls, server: Server, database: str, folder: Path, delegations: str = "") -> World:
        with psycopg.connect(_plain(server.superuser_url("postgres")), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)".encode())
            connection.execute(f"CREATE DATABASE {database}".encode())
        settings = replace(
            read_settings({"NDC_HOME": str(folder / "home"), "NDC_PSEUDONYM_KEY": PSEUDONYM_KEY}),
            contracts=HERE / "contracts",
            reference=HERE / "reference",
            access=declare(folder / "access", delegations),
        )
        site = site_on(server, database, settings)
        site.logins.prepare(group_grantees(site.access, site.registry), NOW.date())
        migrate(site.warehouse, site.contracts, site.registry, site.access)
        return cls(site)

    def close(self) -> None:
        self.remove_people()
        self.admin.close()
        self.site.warehouse.dispose()

    # ------------------------------------------------------------ people

    def add_person(self, *groups: str, login: str | None = None, valid_days: float | None = None) -> str:
        """A person with a real login and an open session, a member of the groups with these ids."""
        login = login or f"person{next(_numbers)}"
        self.run(f"CREATE ROLE {login} LOGIN INHERIT PASSWORD 'secret'; GRANT ndc_people TO {login}")
        until = None if valid_days is None else self.now + timedelta(days=valid_days)
        self.run(
            "INSERT INTO control.grantee (id, role, kind, name, valid_until) VALUES (%s, %s, 'person', %s, %s)", login, login, login, until
        )
        self.belong(login, groups)
        self.sessions[login] = self._connect(self.site.warehouse.url.set(username=login, password="secret"))
        return login

    def remove_people(self) -> None:
        """Roles are the server's: those of one test are not there in the next."""
        for login, session in self.sessions.items():
            session.close()
            self.run("DELETE FROM control.membership WHERE person = %s", login)
            self.run("SET session_replication_role = replica")
            self.run("DELETE FROM control.delegation WHERE grantee = %s", login)
            self.run("DELETE FROM control.grantee WHERE id = %s", login)
            self.run("SET session_replication_role = origin")
            self.run(f"DROP OWNED BY {login}; DROP ROLE {login}")
        self.sessions.clear()

    def belong(self, login: str, groups: Iterable[str]) -> None:
        """Make a person a member of just these groups."""
        roles = dict(self.query("SELECT id, role FROM control.grantee WHERE kind <> 'person'"))
        there = {r for (r,) in self.query("SELECT roleid::regrole::text FROM pg_auth_members WHERE member = %s::regrole", login)}
        wanted = {roles[group] for group in groups}
        for role in there - wanted - {"ndc_people"}:
            self.run(f"REVOKE {role} FROM {login}")
        for role in wanted - there:
            self.run(f"GRANT {role} TO {login}")
        self.run("DELETE FROM control.membership WHERE person = %s", login)
        for group in groups:
            self.run("INSERT INTO control.membership (person, grantee) VALUES (%s, %s)", login, group)

    # ------------------------------------------------------------ delegations

    def enter(self, **terms: Any) -> int:
        """A declared delegation, as the centre's files would enter it."""
        values = {"grantor": "centre", "purpose": "p", "legal_basis": "l", "is_declared": True, "from_at": self.now - timedelta(days=400)}
        values |= {"name": f"d{next(_numbers)}", "in_clear": [], "source": "centre.yaml", **terms}
        names = ", ".join(values)
        places = ", ".join(f"%({name})s" for name in values)
        sql = f"INSERT INTO control.delegation ({names}) VALUES ({places}) RETURNING delegation_id"
        with self.as_owner() as cursor:
            return int(cursor.execute(sql.encode(), values).fetchone()[0])

    def apply(self) -> int:
        with self.as_owner() as cursor:
            return int(cursor.execute("SELECT control.apply_access()").fetchone()[0])

    def forget(self) -> None:
        """No delegation, ended or live; what followed from them goes with the next `apply`."""
        self.run("SET session_replication_role = replica; DELETE FROM control.delegation; SET session_replication_role = origin")

    def turn_clock(self, days: float) -> None:
        """Let every policy, just as it was compiled, think that it is `days` later; `apply` turns the clock back."""
        found = self.query("SELECT polrelid::regclass::text, quote_ident(polname), pg_get_expr(polqual, polrelid) FROM pg_policy")
        for relation, name, qual in found:
            if qual and "now()" in qual:
                later = qual.replace("now()", f"(now() + interval '{days} days')")
                self.run(f"ALTER POLICY {name} ON {relation} USING ({later})")

    def oracle(self) -> Oracle:
        with self.site.warehouse.transaction("ndc_owner") as connection:
            return read_oracle(connection)

    # ------------------------------------------------------------ sessions

    @property
    def now(self) -> datetime:
        return self.query("SELECT now()")[0][0]

    def run(self, sql: str, *values: Any) -> None:
        """Statements as the superuser."""
        self.admin.execute(sql.encode(), values or None)

    def query(self, sql: str, *values: Any) -> list[Any]:
        return self.admin.execute(sql.encode(), values or None).fetchall()

    @contextmanager
    def as_owner(self) -> Iterator[psycopg.Cursor[Any]]:
        with self.admin.transaction(), self.admin.cursor() as cursor:
            cursor.execute("SET LOCAL ROLE ndc_owner")
            yield cursor

    def read(self, login: str, sql: str) -> list[Any]:
        """The rows of a query in a person's session; raises what the database raises."""
        return self.sessions[login].execute(sql.encode()).fetchall()

    def is_denied(self, login: str, sql: str) -> bool:
        """Whether a person lacks the right to a statement; any other error is raised."""
        try:
            self.sessions[login].execute(sql.encode())
        except psycopg.errors.InsufficientPrivilege:
            return True
        return False

    def lines(self, login: str, sql: str) -> frozenset[int]:
        """The lines that a query tells a person; none when it may not ask."""
        try:
            return frozenset(row[0] for row in self.read(login, sql))
        except psycopg.errors.InsufficientPrivilege:
            return frozenset()

    def copied(self, login: str, sql: str) -> frozenset[int]:
        """The same by COPY; the line is the first column."""
        with self.sessions[login].cursor() as cursor:
            try:
                with cursor.copy(sql.encode()) as copy:
                    return frozenset(int(row[0]) for row in copy.rows())
            except (psycopg.errors.InsufficientPrivilege, psycopg.errors.WrongObjectType):
                return frozenset()

    @staticmethod
    def _connect(url: Any) -> psycopg.Connection[Any]:
        return psycopg.connect(_plain(url), autocommit=True)

    # ------------------------------------------------------------ rows

    @cached_property
    def parts(self) -> Mapping[str, tuple[str, str]]:
        """Every partition and leaf: its dataset and province."""
        found = self.query("SELECT relname FROM pg_class WHERE relnamespace = 'parts'::regnamespace AND relkind IN ('r', 'p')")
        split = {name: name.split("@") for (name,) in found}
        return {
            name: (next(d for d in DATASETS if d in words[0]), next(w for w in words if w in PROVINCES)) for name, words in split.items()
        }

    def columns(self, relation: str) -> Sequence[str]:
        found = self.query(
            "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            relation,
        )
        return [name for (name,) in found]

    def _fill(self) -> None:
        """All rows, as the loader, with the ledger's entries of the deliveries that brought them."""
        self._make_leaves()
        with self.site.warehouse.transaction() as connection:
            raw: Any = connection.connection.dbapi_connection
            deliveries: dict[Any, int] = {}
            for dataset in DATASETS:
                for held in self.rows[dataset]:
                    if (key := _partition(held.row)) not in deliveries:
                        count = sum(_partition(other.row) == key for other in self.rows[dataset])
                        deliveries[key] = raw.execute(
                            "INSERT INTO control.delivery (sender, dataset, province_id, period, file_name, sha256, size_bytes, archive_path, state, "
                            "received_at, lines_read, lines_loaded, lines_rejected, lines_waiting) "
                            "VALUES (%s, %s, %s, %s, 'f', 'x', 1, 'a', 'stored', now(), %s, %s, 0, 0) RETURNING delivery_id",
                            (key[1] or "bureau", dataset, key[1], held.row.period, count, count),
                        ).fetchone()[0]
                for schema in ("national", "personal"):
                    columns = self.columns(f"{schema}.{dataset}")
                    names, places = ", ".join(columns), ", ".join(["%s"] * len(columns))
                    values = [[_value(name, held, deliveries[_partition(held.row)]) for name in columns] for held in self.rows[dataset]]
                    raw.cursor().executemany(f"INSERT INTO {schema}.{dataset} ({names}) VALUES ({places})".encode(), values)
            raw.execute(
                "INSERT INTO control.rejection SELECT delivery_id, 1, 'f', 'r', 'error', 'v', 'm', 'm', sender FROM control.delivery"
            )

    def _make_leaves(self) -> None:
        """A leaf for each period, as a load leaves them behind."""
        roots = self.query(
            "SELECT c.oid::regclass::text, c.relname FROM pg_class c WHERE c.relnamespace = 'parts'::regnamespace AND c.relkind = 'p'"
        )
        with self.as_owner() as cursor:
            for root, name in roots:
                for period in PERIODS:
                    leaf = f'parts."{name}@{period:%Y}"'
                    cursor.execute(
                        f"CREATE TABLE {leaf} PARTITION OF {root} FOR VALUES FROM ('{period}') TO ('{period.replace(year=period.year + 1)}'); "
                        f"ALTER TABLE {leaf} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY".encode()
                    )


def _partition(row: Row) -> tuple[str, str | None, date]:
    return row.dataset, None if row.dataset == "census" else row.province_id, row.period


def _value(column: str, held: Held, delivery_id: int) -> Any:
    row = held.row
    known = {"province_id": row.province_id, "period": row.period, "delivery_id": delivery_id, "line": held.line, "commune": row.commune}
    if column in known or column == "amount":
        return known.get(column, held.line)
    return uuid.UUID(int=held.line) if column.endswith("_pseudonym") else f"{column} {held.line}"


def _plain(url: Any) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)
