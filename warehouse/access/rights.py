"""Which rights each role has on the system's relations and workspaces, by whatever way it came to them: as the server itself answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from expectations.faults import Message
from warehouse.access.findings import Finding
from warehouse.access.oracle import Oracle

if TYPE_CHECKING:
    from sqlalchemy import Connection

MEANINGS: Mapping[str, Message] = {
    "writes": Message("Không ai ngoài hệ thống được ghi", "Nobody but the pipeline writes"),
    "parts": Message("Không ai đọc thẳng được phân vùng", "Nobody reads a partition itself"),
    "workspace": Message("Chỉ tỉnh chủ và người được giao vào vùng làm việc", "A workspace is entered by its province and by those to whom it is given"),
}  # fmt: skip

_READ = """
SELECT r.name, format('%I.%I', n.nspname, c.relname), array_agg(a.attname::text)
FROM unnest(CAST(:roles AS text[])) r (name)
CROSS JOIN pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE n.nspname IN ('national', 'personal', 'control', 'mart', 'open') AND c.relkind IN ('r', 'p', 'v')
AND has_schema_privilege(r.name, n.oid, 'USAGE') AND has_any_column_privilege(r.name, c.oid, 'SELECT') AND has_column_privilege(r.name, c.oid, a.attnum, 'SELECT')
GROUP BY 1, 2"""
_WRITE = """
SELECT r.name, format('%I.%I', n.nspname, c.relname), string_agg(p, ', ' ORDER BY p)
FROM unnest(CAST(:roles AS text[])) r (name) CROSS JOIN pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN unnest('{INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) p
WHERE n.nspname IN ('national', 'personal', 'control', 'mart', 'open') AND c.relkind IN ('r', 'p', 'v')
AND (has_table_privilege(r.name, c.oid, p) OR (p IN ('INSERT', 'UPDATE', 'REFERENCES') AND has_any_column_privilege(r.name, c.oid, p)))
GROUP BY 1, 2"""
_PARTS = "SELECT name FROM unnest(CAST(:roles AS text[])) r (name) WHERE has_schema_privilege(name, 'parts', 'USAGE') OR has_schema_privilege(name, 'parts', 'CREATE')"
_WORKSPACES = """
SELECT r.name, g.id, n.nspname::text
FROM unnest(CAST(:roles AS text[])) r (name) CROSS JOIN control.grantee g JOIN pg_namespace n ON n.nspname = 'workspace_' || replace(g.id, '-', '_')
WHERE g.kind = 'province' AND (has_schema_privilege(r.name, n.oid, 'USAGE') OR has_schema_privilege(r.name, n.oid, 'CREATE'))"""

_WRITES = Message("{role} có quyền {what} trên {thing}.", "{role} holds {what} on {thing}.")
_ENTERS_PARTS = Message("{role} vào được schema parts.", "{role} enters the schema parts.")
_ENTERS = Message("{role} vào được {thing}, dù không được giao.", "{role} enters {thing}, which is not given to it.")


@dataclass(frozen=True, slots=True)
class Rights:
    """What roles may read, and in `beyond` what they may do besides."""

    columns: Mapping[tuple[str, str], frozenset[str]]
    beyond: tuple[Finding, ...]

    def readable(self, role: str, relation: str) -> frozenset[str]:
        """The columns that a role may read, where it sees rows."""
        return self.columns.get((role, relation.replace('"', "")), frozenset())


def read_rights(connection: Connection, roles: Sequence[str], oracle: Oracle, at: datetime) -> Rights:
    """The rights of these roles. Runs as ndc_owner."""
    from sqlalchemy import text

    values = {"roles": list(roles)}
    columns = {(role, thing.replace('"', "")): frozenset(names) for role, thing, names in connection.execute(text(_READ), values)}
    beyond: list[Finding] = []

    def found() -> Iterator[Finding]:
        for role, relation, what in connection.execute(text(_WRITE), values):
            thing = relation.replace('"', "")
            yield Finding("leak", "writes", thing, role, _WRITES.fill(role=role, thing=thing, what=what))
        for (role,) in connection.execute(text(_PARTS), values):
            yield Finding("leak", "parts", "parts", role, _ENTERS_PARTS.fill(role=role))
        for role, province, schema in connection.execute(text(_WORKSPACES), values):
            if not oracle.enters_workspace(role, province, at):
                yield Finding("leak", "workspace", schema, role, _ENTERS.fill(role=role, thing=schema))

    beyond += found()
    return Rights(columns, tuple(beyond))
