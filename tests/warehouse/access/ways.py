"""Every way in which somebody with a login may try to see or touch rows; what is found is held against the oracle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import psycopg

from tests.warehouse.access.world import DATASETS, PROVINCES, RESTRICTED, World
from warehouse.access.oracle import Oracle

SCHEMAS = ("national", "personal")
WRITES = (
    "INSERT INTO {} (province_id, period, delivery_id, line) VALUES ('north', '2024-01-01', 1, 9999)",
    "UPDATE {} SET line = 0",
    "DELETE FROM {}",
    "TRUNCATE {}",
    "MERGE INTO {} t USING (SELECT 1) s ON true WHEN MATCHED THEN DELETE",
    "SELECT line FROM {} LIMIT 1 FOR UPDATE",
    "COPY {} FROM STDIN",
    "ALTER TABLE {} DISABLE ROW LEVEL SECURITY",
    "CREATE POLICY mine ON {} USING (true)",
    "CREATE TRIGGER mine BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE INDEX ON {} (line)",
    "DROP TABLE {}",
    "REINDEX TABLE {}",
    "COMMENT ON TABLE {} IS 'mine'",
    "ALTER TABLE {} OWNER TO CURRENT_USER",
    "DO $$ BEGIN LOCK TABLE {} IN SHARE MODE; END $$",
    "ALTER TABLE {} REPLICA IDENTITY FULL",
)
_REFUSALS = (
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.WrongObjectType,  # a view, where a table is meant
    psycopg.errors.FeatureNotSupported,
    psycopg.errors.ObjectNotInPrerequisiteState,  # a view of two tables
)
PRIVILEGES = ("INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN")


@dataclass(frozen=True)
class Look:
    """What one login may see of one dataset at a moment, as the oracle says."""

    world: World
    oracle: Oracle
    role: str
    dataset: str
    at: datetime

    @cached_property
    def rows(self) -> frozenset[int]:
        return frozenset(h.line for h in self.world.rows[self.dataset] if self.oracle.sees_row(self.role, h.row, self.at))

    @cached_property
    def cells(self) -> Mapping[str, frozenset[int]]:
        held = self.world.rows[self.dataset]
        return {c: frozenset(h.line for h in held if self.oracle.sees_cell(self.role, h.row, c, self.at)) for c in RESTRICTED}

    @property
    def any_cell(self) -> frozenset[int]:
        return self.cells["phone"] | self.cells["citizen"]

    @property
    def all_cells(self) -> frozenset[int]:
        return self.cells["phone"] & self.cells["citizen"]


def differences(look: Look) -> Iterator[str]:
    """Each way that shows other rows or cells than the oracle allows, as a sentence."""
    for way, found, allowed in [*_exact(look), *_errors(look)]:
        if found != allowed:
            yield _said(look, way, found, allowed)
    for way, found, allowed in _at_most(look):
        if not found <= allowed:
            yield _said(look, way, found, allowed)


def _said(look: Look, way: str, found: frozenset[int], allowed: frozenset[int]) -> str:
    return f"{look.role}, {look.dataset}, {way}: leaks {sorted(found - allowed)}, lacks {sorted(allowed - found)}"


Finding = tuple[str, frozenset[int], frozenset[int]]


def _exact(look: Look) -> Iterator[Finding]:
    lines, copied, ds, me = look.world.lines, look.world.copied, look.dataset, look.role
    main, personal, view = f"national.{ds}", f"personal.{ds}", f"national.{ds}_in_clear"
    on = "USING (province_id, period, delivery_id, line)"
    for sql in (
        f"SELECT line FROM {main}",
        f"SELECT a.line FROM {main} a JOIN {main} b {on}",
        f"SELECT line FROM {main} a WHERE EXISTS (SELECT FROM {main} b WHERE b.line = a.line AND b.code = a.code)",
        f"SELECT max(line) FROM {main} GROUP BY line",
        f"SELECT line FROM (SELECT line, count(*) OVER () AS n FROM {main}) s WHERE n > 0",
        f"SELECT line FROM {main} t JOIN control.dataset d ON d.dataset = '{ds}'",
        f"SELECT line FROM {main} WHERE phone_masked LIKE 'ph%' AND code LIKE 'code%'",  # operators that are not leakproof
        f"TABLE {main} ORDER BY 4",
    ):
        column = 3 if sql.startswith("TABLE") else 0
        yield sql, frozenset(row[column] for row in _read(look, sql)), look.rows
    yield "COPY (SELECT)", copied(me, f"COPY (SELECT line FROM {main}) TO STDOUT"), look.rows
    for column, allowed in look.cells.items():
        sql = f"SELECT line, {column} FROM {personal}"
        found = _read(look, sql)
        assert all(value == f"{column} {line}" for line, value in found)
        yield sql, frozenset(row[0] for row in found), allowed
        yield f"COPY {column}", copied(me, f"COPY (SELECT line, {column} FROM {personal}) TO STDOUT"), allowed
        for clue in (f"WHERE {column} IS NOT NULL", f"ORDER BY {column}", f"WHERE {column} LIKE '%'"):
            yield clue, lines(me, f"SELECT line FROM {personal} {clue}"), allowed
    yield "personal rows", lines(me, f"SELECT line FROM {personal}"), look.any_cell
    yield "joined", lines(me, f"SELECT m.line FROM {main} m JOIN {personal} p {on}"), look.any_cell
    yield "view", lines(me, f"SELECT line, phone, citizen FROM {view}"), look.all_cells
    yield "view, open columns", lines(me, f"SELECT line FROM {view}"), look.all_cells
    yield "COPY view", copied(me, f"COPY (SELECT line FROM {view}) TO STDOUT"), look.all_cells


def _at_most(look: Look) -> Iterator[Finding]:
    ds, me = look.dataset, look.role
    columns = ", ".join(["line", *(c for c in look.world.columns(f"national.{ds}") if c != "line")])
    yield "COPY table", look.world.copied(me, f"COPY national.{ds} ({columns}) TO STDOUT"), look.rows
    yield "COPY personal", look.world.copied(me, f"COPY personal.{ds} (line, phone, citizen) TO STDOUT"), look.all_cells
    yield "whole row", look.world.lines(me, f"SELECT line, p FROM personal.{ds} p"), look.all_cells
    yield "only", look.world.lines(me, f"SELECT line FROM ONLY national.{ds}"), look.rows
    yield "sampled", look.world.lines(me, f"SELECT line FROM national.{ds} TABLESAMPLE BERNOULLI (100)"), look.rows
    yield "row security off", look.world.lines(me, f"SET row_security = off; SELECT line FROM national.{ds}"), look.rows
    look.world.sessions[me].execute("SET row_security = on")


def _read(look: Look, sql: str) -> list[Any]:
    try:
        return look.world.read(look.role, sql)
    except psycopg.errors.InsufficientPrivilege:
        return []


def _errors(look: Look) -> Iterator[Finding]:
    """Conditions that fail on each row that must stay hidden: were one evaluated, the error would tell."""
    for table, allowed in ((f"national.{look.dataset}", look.rows), (f"personal.{look.dataset}", look.any_cell)):
        seen = f"line = ANY ('{{{','.join(map(str, allowed))}}}')"
        for way, trap in (
            ("division", f"1 / (CASE WHEN {seen} THEN 1 ELSE 0 END) > 0"),
            ("cast", f"(CASE WHEN {seen} THEN '1' ELSE province_id END)::integer > 0"),
        ):
            try:
                found = look.world.lines(look.role, f"SELECT line FROM {table} WHERE {trap}")
            except psycopg.DataError as error:
                found = frozenset({-1})
                way = f"{way}: {error}"
            yield f"{way} on {table}", found, allowed


# ---------------------------------------------------------------- what is not a matter of one dataset's rows


def rights(world: World, oracle: Oracle, login: str, at: datetime, *, is_today: bool) -> Iterator[str]:
    """What the login can do besides reading, and it should not; and what it becomes by SET ROLE."""
    yield from _writes(world, login, is_today=is_today)
    yield from _partitions(world, login)
    yield from _becoming(world, oracle, login, at)
    yield from _ledger(world, oracle, login, at)
    for dataset in DATASETS:
        yield from _plan(world, oracle, login, dataset, at)


def _writes(world: World, login: str, *, is_today: bool) -> Iterator[str]:
    session = world.sessions[login]
    for dataset in DATASETS:
        for relation in (f"national.{dataset}", f"personal.{dataset}", f"national.{dataset}_in_clear"):
            for write in WRITES:
                try:
                    session.execute(write.format(relation).encode())
                except _REFUSALS:
                    continue
                except psycopg.Error as error:
                    yield f"{login}: {write.format(relation)}: {error}"
                else:
                    yield f"{login} may: {write.format(relation)}"
            world.is_denied(login, f"GRANT SELECT ON {relation} TO PUBLIC")  # a warning, where it may not; the drift would show it
    for (statement,) in world.query("SELECT statement FROM control.access_drift()") if is_today else ():
        yield f"{login} changed rights: {statement}"
    sql = (
        "SELECT c.oid::regclass::text, p FROM pg_class c CROSS JOIN unnest(%s::text[]) p WHERE c.relnamespace IN "
        "('national'::regnamespace, 'personal'::regnamespace, 'parts'::regnamespace, 'control'::regnamespace) AND c.relkind IN ('r', 'p', 'v') "
        "AND has_table_privilege(%s, c.oid, p)"
    )
    for relation, privilege in world.query(sql, list(_known_privileges(world)), login):
        yield f"{login} holds {privilege} on {relation}"


def _known_privileges(world: World) -> tuple[str, ...]:
    return PRIVILEGES if world.admin.info.server_version >= 170000 else PRIVILEGES[:-1]


def _partitions(world: World, login: str) -> Iterator[str]:
    for name in world.parts:
        if not world.is_denied(login, f'SELECT line FROM parts."{name}"'):
            yield f"{login} reads the partition {name} itself"


def _becoming(world: World, oracle: Oracle, login: str, at: datetime) -> Iterator[str]:
    """A prepared statement is used as oneself, as each role that one may become, and as oneself again."""
    session, own = world.sessions[login], {login: Look(world, oracle, login, "visit", at)}
    may = [r for (r,) in world.query("SELECT roleid::regrole::text FROM pg_auth_members WHERE member = %s::regrole", login)]
    queries = ["SELECT line FROM national.visit"]
    if not world.is_denied(login, "PREPARE again AS SELECT line FROM national.visit"):  # whoever sees no row at all is denied this, too
        queries.append("EXECUTE again")
    for role in (login, *may, login, "ndc_owner", "ndc_loader", "ndc_province_south"):
        if world.is_denied(login, f"SET ROLE {role}"):
            if role in (login, *may):
                yield f"{login} cannot become {role}"
            continue
        if role not in (login, *may):
            yield f"{login} can become {role}"
        allowed = own.setdefault(role, Look(world, oracle, role, "visit", at)).rows
        for sql in queries:
            if (found := world.lines(login, sql)) != allowed:
                yield f"{login} as {role}: {sql}: {_said(own[role], sql, found, allowed)}"
        session.execute("RESET ROLE")
    if len(queries) > 1:
        session.execute("DEALLOCATE again")


def _ledger(world: World, oracle: Oracle, login: str, at: datetime) -> Iterator[str]:
    allowed = {sender for sender in (*PROVINCES, "bureau") if oracle.sees_delivery(login, sender, at)}
    for table in ("delivery", "rejection"):
        try:
            found = {row[0] for row in world.read(login, f"SELECT sender FROM control.{table}")}
        except psycopg.errors.InsufficientPrivilege:
            found = set()
        if found != allowed:
            yield f"{login}: ledger, {table}: sees {sorted(found)}, should see {sorted(allowed)}"


def _plan(world: World, oracle: Oracle, login: str, dataset: str, at: datetime) -> Iterator[str]:
    """EXPLAIN ANALYZE counts what a scan removes: partitions that never were nor will be one's own must not be in the plan."""
    groups = {login, *(m.grantee for m in oracle.members if m.person == login)}
    mine = [g for g in oracle.grants if g.revoked_at is None and any(p.id in groups for p in oracle.holders(g))]
    allowed = {p for p in PROVINCES for g in mine if g.provinces is None or p in g.provinces}
    for sql in (f"SELECT * FROM national.{dataset} WHERE amount > 0", f"SELECT line FROM personal.{dataset} WHERE line = 1"):
        try:
            ((plan,),) = world.read(login, f"EXPLAIN (ANALYZE, VERBOSE, FORMAT JSON) {sql}")
        except psycopg.errors.InsufficientPrivilege:
            continue
        for relation in _scanned(plan[0]["Plan"]):
            if relation in world.parts and world.parts[relation][1] not in allowed:
                yield f"{login}: the plan of {sql} scans {relation}"


def _scanned(node: Mapping[str, Any]) -> Iterator[str]:
    if "Relation Name" in node:
        yield node["Relation Name"]
    for below in node.get("Plans", ()):
        yield from _scanned(below)


def workspaces(world: World, oracle: Oracle, login: str, at: datetime) -> Iterator[str]:
    """Who enters which workspace; a leaky function of one's own; nobody reads what another made there."""
    session = world.sessions[login]
    for province in PROVINCES:
        schema = f"workspace_{province}"
        if not world.query("SELECT to_regnamespace(%s) IS NOT NULL", schema)[0][0]:
            continue
        ((enters, makes),) = world.query(
            "SELECT has_schema_privilege(%s, %s, 'USAGE'), has_schema_privilege(%s, %s, 'CREATE')", *[login, schema] * 2
        )
        if enters != oracle.enters_workspace(login, province, at):
            yield f"{login}: {schema}: {'enters' if enters else 'does not enter'}"
        if makes:
            yield from _made_there(world, oracle, login, schema, at)
            session.execute(f"DROP FUNCTION {schema}.leak_{login}; DROP TABLE {schema}.copy_{login} CASCADE".encode())


def _made_there(world: World, oracle: Oracle, login: str, schema: str, at: datetime) -> Iterator[str]:
    session, look = world.sessions[login], Look(world, oracle, login, "visit", at)
    session.execute(
        f"CREATE FUNCTION {schema}.leak_{login}(integer, integer[]) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS "
        "$$ BEGIN IF $1 <> ALL ($2) THEN RAISE EXCEPTION 'leak of line %', $1; END IF; RETURN true; END $$".encode()
    )
    seen = "{" + ",".join(map(str, look.rows)) + "}"
    try:
        found = world.lines(login, f"SELECT line FROM national.visit WHERE {schema}.leak_{login}(line, '{seen}')")
        if found != look.rows:
            yield _said(look, "function of its own", found, look.rows)
    except psycopg.errors.RaiseException as error:
        yield f"{login}: function of its own: {error}"
    source = "national.visit" if look.rows else "control.dataset"
    session.execute(
        f"CREATE TABLE {schema}.copy_{login} AS SELECT 1 AS line FROM {source}; CREATE VIEW {schema}.view_{login} AS TABLE {schema}.copy_{login}".encode()
    )
    for other in world.sessions:
        for name in (f"copy_{login}", f"view_{login}"):
            if other != login and not world.is_denied(other, f"SELECT * FROM {schema}.{name}"):
                yield f"{other} reads {schema}.{name} of {login}"
