"""What each role really sees, found out by being that role: read only, with an end to each question, and held against the oracle.

Answers for: of each dataset, of which provinces a role sees rows, whether any lies outside of its communes and periods, and which
restricted columns it reads; whose deliveries it sees; that the loader sees every row and the owner none. Refuses: running anything
that people made: only the system's own relations are asked, by their full names, and all other names mean those of pg_catalog.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from expectations.contract import IN_CLEAR
from expectations.faults import Message
from warehouse.access.findings import Finding, Kind, Seen
from warehouse.access.oracle import Grant, Oracle
from warehouse.access.rights import Rights
from warehouse.engine import run_script
from warehouse.tables import quoted

if TYPE_CHECKING:
    from sqlalchemy import Connection

TIMEOUT_S = 60
COUNT_TIMEOUT_S = 900
LEDGER = {
    "delivery": ("delivery_id", "bigint"),
    "rejection": ("delivery_id", "bigint"),
    "reconciliation": ("delivery_id", "bigint"),
    "decision": ("delivery_id", "bigint"),
    "expected": ("period", "date"),
}
"""The tables that tell whose each line is, and the column by which one line of each sender is picked out."""
_NAMED = 5

MEANINGS: Mapping[str, Message] = {
    "rows": Message("Mỗi vai trò chỉ thấy dòng của các tỉnh, xã và kỳ được giao", "Each role sees rows of its provinces, communes and periods only"),
    "columns": Message("Mỗi vai trò chỉ thấy rõ các cột hạn chế được giao", "Each role sees in clear only the restricted columns given to it"),
    "sight": Message("Mỗi vai trò thấy mọi dòng được giao", "Each role sees all rows given to it"),
    "ledger": Message("Mỗi tỉnh chỉ thấy sổ của mình và của tỉnh đã nhập vào mình", "Each province sees its own ledger, and that of the provinces that went into it"),
    "loader": Message("Bộ nạp thấy mọi dòng, đúng số dòng trong sổ", "The loader sees every row, as many as the ledger states"),
    "owner-blind": Message("ndc_owner không thấy dòng nào", "ndc_owner sees no row"),
}  # fmt: skip

_FOREIGN = Message(
    "{role} thấy dòng của {what} trong {thing}, dù không được giao.", "{role} sees rows of {what} in {thing}, which are not given to it."
)
_OUTSIDE = Message(
    "{role} thấy dòng ngoài các xã hoặc kỳ được giao trong {thing}.",
    "{role} sees rows of {thing} outside of the communes or periods given to it.",
)
_COLUMN = Message(
    "{role} thấy rõ cột {column} của {what} trong {thing}, dù không được giao.",
    "{role} sees the column {column} of {what} in {thing} in clear, which is not given to it.",
)
_LACKS = Message(
    "{role} không thấy dòng của {what} trong {thing}, dù được giao.",
    "{role} sees no rows of {what} in {thing}, though they are given to it.",
)
_LEDGER = Message("{role} thấy sổ của {what} ({thing}).", "{role} sees the ledger of {what} ({thing}).")
_COUNT = Message(
    "Bộ nạp thấy {what} dòng trong {thing}, sổ ghi {stated}.", "The loader sees {what} rows in {thing}, the ledger states {stated}."
)
_UNCOVERED = Message(
    "Sổ ghi {thing} có dòng của {what}, bộ nạp không thấy dòng nào.", "The ledger states rows of {what} in {thing}, the loader sees none."
)
_OWNER = Message("ndc_owner thấy dòng của {thing}.", "ndc_owner sees rows of {thing}.")
_NOT_SET = Message(
    "Không kiểm tra được {role}: tài khoản quản trị không được SET ROLE thành vai trò này.",
    "{role} was not examined: the administrator may not SET ROLE to it.",
)
_TOO_LONG = Message(
    "Không kiểm tra xong {role} trên {thing}: quá {seconds} giây.", "{role} on {thing} was not examined to the end: more than {seconds} s."
)


@dataclass(frozen=True, slots=True)
class Role:
    """A role or login to be examined; `kind` is that of its grantee, or `login` where nothing is known of it."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Holding:
    """The tables of one dataset, and of which provinces there are rows."""

    dataset: str
    restricted: frozenset[str]
    commune_field: str | None
    provinces: frozenset[str]
    tables: tuple[str, ...]

    @property
    def view(self) -> str:
        return _in(f"{self.dataset}{IN_CLEAR}", "national")


@dataclass
class Probe:
    """One examination by the administrator's `session`; `places` is every province there ever was. Findings gather in the lists."""

    session: Connection
    oracle: Oracle
    at: datetime
    places: Sequence[str]
    rights: Rights
    findings: list[Finding] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    def examine(self, roles: Iterable[Role]) -> None:
        """The owner, then each of `roles`. Each question is a transaction of its own, so that locks do not add up."""
        for held in self.holdings:
            for table in held.tables:
                with self._as("ndc_owner", table):
                    if self._one(f"SELECT EXISTS (SELECT FROM {table})"):
                        self._say("leak", "owner-blind", "ndc_owner", table, _OWNER)
        for role in roles:
            if self._is_possible(role.name):
                self._role(role)
            else:
                self._say("unproven", "rows", role.name, "role", _NOT_SET)

    # ------------------------------------------------------------ the loader

    @cached_property
    def holdings(self) -> tuple[Holding, ...]:
        """The datasets that have tables, and of which provinces the loader, who sees every row, finds some."""
        found = []
        for known in self.oracle.datasets.values():
            provinces: list[str] = []
            tables: tuple[str, ...] = ()
            with self._as("ndc_loader", known.dataset):
                tables = tuple(t for t in (_in(known.dataset, "national"), _in(known.dataset, "personal")) if self._exists(t))
                provinces = self._provinces(tables[0]) if tables else []
            if tables:
                found.append(Holding(known.dataset, known.restricted, known.commune_field, frozenset(provinces), tables))
        return tuple(found)

    @cached_property
    def _samples(self) -> Mapping[str, tuple[list[str], list[Any]]]:
        """Of each part of the ledger, the senders that have lines there, and a delivery or period of each."""
        found: dict[str, tuple[list[str], list[Any]]] = {}
        for table, (key, _) in LEDGER.items():
            with self._as("ndc_loader", f"control.{table}", COUNT_TIMEOUT_S):
                rows = self._all(f"SELECT sender, max({key}) FROM control.{table} GROUP BY sender")
                found[table] = [row[0] for row in rows], [row[1] for row in rows]
        return found

    def count_rows(self) -> None:
        """The rows of each table beside the ledger; this takes as long as there are rows."""
        for held in self.holdings:
            self._loaded(held)

    def _loaded(self, held: Holding) -> None:
        shown = (
            "SELECT DISTINCT ON (province_id, period) province_id, lines_loaded FROM control.delivery "
            "WHERE dataset = :dataset AND state IN ('loaded', 'stored') ORDER BY province_id, period, delivery_id DESC"
        )
        for table in held.tables:
            with self._as("ndc_loader", table, COUNT_TIMEOUT_S):
                rows = self._all(shown, dataset=held.dataset)
                if (counted := self._one(f"SELECT count(*) FROM {table}")) != (stated := sum(count or 0 for _, count in rows)):
                    self._say("drift", "loader", "ndc_loader", table, _COUNT, what=counted, stated=stated)
                if table == held.tables[0] and (missing := {province for province, count in rows if province and count} - held.provinces):
                    self._say("drift", "loader", "ndc_loader", table, _UNCOVERED, what=_few(missing))

    # ------------------------------------------------------------ one role

    def _role(self, role: Role) -> None:
        grants = tuple(self.oracle.held_by(role.name, self.at))
        for held in self.holdings:
            of_rows = [g for g in grants if self.oracle.concerns(g, held.dataset)]
            of_cells = [g for g in of_rows if self.oracle.clear_columns(g, held.dataset)]
            for relation, given in zip((*held.tables, held.view), (of_rows, of_cells, of_cells), strict=False):
                with self._as(role.name, relation):
                    self._relation(role, held, relation, given)
        for table, (key, _) in LEDGER.items():
            if table in self._samples and {"sender", key} <= self.rights.readable(role.name, f"control.{table}"):
                with self._as(role.name, f"control.{table}"):
                    self._ledger(role.name, table)

    def _relation(self, role: Role, held: Holding, relation: str, grants: Sequence[Grant]) -> None:
        """What is really seen of one relation, beside what the delegations allow."""
        columns = self.rights.readable(role.name, relation)
        provinces = self._provinces(relation) if "province_id" in columns else []
        whole = self._covered(g for g in grants if _is_whole(g))
        if relation in held.tables and (lacking := (whole & held.provinces) - set(provinces)):
            self._say("drift", "sight", role.name, relation, _LACKS, what=_few(lacking))
        if not columns:
            return
        restricted = columns & held.restricted
        self.seen.append(Seen(role.name, role.kind, _plain(relation), tuple(provinces), tuple(sorted(restricted))))
        if foreign := set(provinces) - self._covered(grants):
            self._say("leak", "rows", role.name, relation, _FOREIGN, what=_few(foreign))
        self._outside(role.name, held, relation, grants, whole)
        for column in sorted(restricted):
            naming = [g for g in grants if column in self.oracle.clear_columns(g, held.dataset)]
            if others := set(provinces) - self._covered(naming):
                self._say("leak", "columns", role.name, relation, _COLUMN, what=_few(others), column=column)

    def _outside(self, role: str, held: Holding, relation: str, grants: Sequence[Grant], whole: frozenset[str]) -> None:
        """Rows of its provinces outside of its communes and periods: asked only where a delegation names some."""
        partial = [g for g in grants if not _is_whole(g)]
        places = self._covered(partial) - whole
        if not places or held.commune_field not in (None, *self.rights.readable(role, relation)):
            return
        condition, values = _as_condition(partial, held.commune_field)
        outside = f"SELECT EXISTS (SELECT FROM {relation} WHERE province_id = ANY (:places) AND NOT coalesce({condition}, false))"
        if self._one(outside, places=sorted(places), **values):
            self._say("leak", "rows", role, relation, _OUTSIDE)

    def _ledger(self, role: str, table: str) -> None:
        senders, keys = self._samples[table]
        key, kind = LEDGER[table]
        found = self._all(
            f"SELECT s.sender FROM unnest(CAST(:senders AS text[]), CAST(:keys AS {kind}[])) s (sender, key) "
            f"WHERE EXISTS (SELECT FROM control.{table} t WHERE t.{key} = s.key AND t.sender = s.sender)",
            senders=senders,
            keys=keys,
        )
        if foreign := [sender for (sender,) in found if not self.oracle.sees_delivery(role, sender, self.at)]:
            self._say("leak", "ledger", role, f"control.{table}", _LEDGER, what=_few(foreign))

    # ------------------------------------------------------------ questions

    def _provinces(self, relation: str) -> list[str]:
        """Of which provinces the present role sees rows: a look into an index for each, no count."""
        found = self._all(
            f"SELECT p FROM unnest(CAST(:places AS text[])) p WHERE EXISTS (SELECT FROM {relation} t WHERE t.province_id = p) ORDER BY 1",
            places=list(self.places),
        )
        return [place for (place,) in found]

    def _covered(self, grants: Iterable[Grant]) -> frozenset[str]:
        named = [g.provinces for g in grants]
        return frozenset(self.places) if None in named else frozenset().union(*(p for p in named if p is not None))

    def _exists(self, relation: str) -> bool:
        return bool(self._one("SELECT to_regclass(:name) IS NOT NULL", name=relation))

    def _one(self, sql: str, **values: Any) -> Any:
        from sqlalchemy import text

        return self.session.execute(text(sql), values).scalar()

    def _all(self, sql: str, **values: Any) -> list[Any]:
        from sqlalchemy import text

        return list(self.session.execute(text(sql), values))

    def _say(self, kind: Kind, rule: str, role: str, thing: str, message: Message, **values: object) -> None:
        thing = _plain(thing)
        self.findings.append(Finding(kind, rule, thing, role, message.fill(role=role, thing=thing, **values)))

    def _is_possible(self, role: str) -> bool:
        """Whether the administrator may be this role."""
        from sqlalchemy.exc import DBAPIError

        try:
            with self.session.begin():
                run_script(self.session, f"SET LOCAL ROLE {quoted(role)}")
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", "") != "42501":
                raise
            return False
        return True

    @contextmanager
    def _as(self, role: str, thing: str, seconds: int = TIMEOUT_S) -> Iterator[None]:
        """A transaction that can only read, as a role. A question that takes too long is not proven; whoever may not ask it sees
        nothing. The others go on."""
        from sqlalchemy.exc import DBAPIError

        try:
            with self.session.begin():
                run_script(
                    self.session,
                    f"SET TRANSACTION READ ONLY; SET LOCAL search_path = pg_catalog; SET LOCAL statement_timeout = '{seconds}s'; "
                    f"SET LOCAL row_security = on; SET LOCAL ROLE {quoted(role)}",
                )
                yield
        except DBAPIError as error:
            state = getattr(error.orig, "sqlstate", "")
            if state == "57014":
                self._say("unproven", "rows", role, thing, _TOO_LONG, seconds=seconds)
            elif state != "42501":
                raise


def _in(name: str, schema: str) -> str:
    return f"{schema}.{quoted(name)}"


def _plain(relation: str) -> str:
    """A relation as people write it."""
    return relation.replace('"', "")


def _is_whole(grant: Grant) -> bool:
    """Whether a delegation shows whole provinces in all periods."""
    return grant.communes is None and grant.periods_from is None and grant.periods_until is None


def _as_condition(grants: Sequence[Grant], commune_field: str | None) -> tuple[str, dict[str, Any]]:
    """The rows that delegations cover, as SQL with its values."""
    alternatives: list[str] = []
    values: dict[str, Any] = {}
    for number, grant in enumerate(grants):
        terms = {
            "province_id = ANY ({})": None if grant.provinces is None else sorted(grant.provinces),
            f"{quoted(commune_field or '')} = ANY ({{}})": None if grant.communes is None else sorted(grant.communes),
            "period >= {}": grant.periods_from,
            "period <= {}": grant.periods_until,
        }
        said = {f"v{number}_{place}": (term, value) for place, (term, value) in enumerate(terms.items()) if value is not None}
        alternatives.append("(" + " AND ".join(term.format(f":{name}") for name, (term, _) in said.items()) + ")")
        values |= {name: value for name, (_, value) in said.items()}
    return f"({' OR '.join(alternatives)})", values


def _few(names: Iterable[object]) -> str:
    listed = sorted(map(str, names))
    return ", ".join(listed[:_NAMED]) + (f" … (+{len(listed) - _NAMED})" if len(listed) > _NAMED else "")
