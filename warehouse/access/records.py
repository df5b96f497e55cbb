"""What is written down about access: grantees, delegations, memberships and datasets, with the spans of time in which they count.

Answers for: one fetch of all of it, or of what a person's own login is told. Refuses: names that are not written down, with the nearest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from expectations.document import suggestion
from expectations.faults import Message, SetupFault
from warehouse.access.grantees import GROUPS, ends, role_name, starts

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection

ALWAYS, NEVER = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` to before `end`."""

    start: datetime
    end: datetime

    def meets(self, other: Span) -> Span | None:
        """What both have in common, if anything."""
        start, end = max(self.start, other.start), min(self.end, other.end)
        return Span(start, end) if start < end else None

    def holds(self, at: datetime) -> bool:
        return self.start <= at < self.end

    @property
    def first(self) -> datetime | None:
        return None if self.start == ALWAYS else self.start

    @property
    def over(self) -> datetime | None:
        """The first moment after it; None when no end is known."""
        return None if self.end == NEVER else self.end


def span(start: datetime | None, *ended: datetime | None) -> Span:
    """From `start`, or ever, to the earliest of several ends, or for ever."""
    return Span(start or ALWAYS, min((e for e in ended if e is not None), default=NEVER))


def day_span(day: date, timezone: str) -> Span:
    return Span(starts(day, timezone), ends(day, timezone))


@dataclass(frozen=True, slots=True)
class Records:
    """What is written down about access, as rows of the control tables.

    `workspaces` are the schemas that exist. `whole` are those of whom all is known; None: all of them.
    """

    delegations: tuple[Row, ...]
    grantees: Mapping[str, Row]
    memberships: tuple[Row, ...]
    datasets: Mapping[str, Row]
    workspaces: frozenset[str] = frozenset()
    whole: frozenset[str] | None = None

    def find_grantee(self, said: str) -> Row:
        """The grantee of an id or a role. Raises `SetupFault`, also for one of whom only a part is known."""
        found = self._find("tỉnh, cơ quan hay người", "province, organisation or person", said, self.grantees)
        if self.whole is not None and found["id"] not in self.whole:
            raise SetupFault(_NOT_TOLD.fill(id=found["id"]), rule="not-told")
        return found

    def find_province(self, said: str) -> Row:
        """The province of an id or a role. Raises `SetupFault`."""
        return self._find("tỉnh", "province", said, {g["id"]: g for g in self.grantees.values() if g["kind"] == "province"})

    def find_dataset(self, said: str) -> Row:
        """Raises `SetupFault`."""
        if said not in self.datasets:
            raise _unknown("tập dữ liệu", "dataset", said, self.datasets)
        return self.datasets[said]

    def find_column(self, dataset: Row, said: str) -> str:
        """Raises `SetupFault` for a column that the dataset has not."""
        if said not in dataset["columns"]:
            raise _unknown(f"cột trong {dataset['dataset']}:", f"column in {dataset['dataset']}:", said, dataset["columns"])
        return said

    def _find(self, vi: str, en: str, said: str, among: Mapping[str, Row]) -> Row:
        for row in among.values():
            if said in (row["id"], row["role"]):
                return row
        raise _unknown(vi, en, said, [name for row in among.values() for name in (row["id"], row["role"])])

    def parent(self, delegation: Row) -> Row | None:
        """The delegation that one was given from; None for the centre's, and where it is not told to this login."""
        return next((d for d in self.delegations if d["delegation_id"] == delegation["parent_id"]), None)

    def chain(self, delegation: Row) -> tuple[Row, ...]:
        """A delegation's ancestors up to the centre's, nearest first."""
        above, found = self.parent(delegation), []
        while above is not None:
            found.append(above)
            above = self.parent(above)
        return tuple(found)


def _unknown(vi: str, en: str, said: str, known: Iterable[str]) -> SetupFault:
    near = suggestion(said, list(known))
    return SetupFault(Message(f"không có {vi} «{said}».{near[0]}", f"there is no {en} '{said}'.{near[1]}"), rule="unknown")


_DATASETS = (
    "SELECT t.dataset, t.restricted, t.commune_field, ARRAY(SELECT DISTINCT a.attname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped WHERE n.nspname IN ('national', 'personal') AND c.relname = t.dataset) "
    "AS columns FROM control.dataset t ORDER BY t.dataset"
)
_WORKSPACES = r"SELECT nspname FROM pg_namespace WHERE nspname LIKE 'workspace\_%'"


def read_records(connection: Connection) -> Records:
    """Everything that is written down; as ndc_owner."""

    from sqlalchemy import text

    def rows(query: str) -> list[Row]:
        return [dict(r) for r in connection.execute(text(query)).mappings()]

    return Records(
        tuple(rows("SELECT * FROM control.delegation ORDER BY delegation_id")),
        {r["id"]: r for r in rows("SELECT * FROM control.grantee ORDER BY id")},
        tuple(rows("SELECT * FROM control.membership ORDER BY person, grantee, since")),
        {r["dataset"]: r for r in rows(_DATASETS)},
        frozenset(r["nspname"] for r in rows(_WORKSPACES)),
    )


_PROVINCES = (
    "SELECT DISTINCT ON (province_id) province_id, full_name, min(valid_from) OVER (PARTITION BY province_id) AS valid_from, valid_to, successor_id "
    "FROM control.province ORDER BY province_id, valid_from DESC"
)
_TOLD = "SELECT has_table_privilege('control.delegation', 'SELECT') AS delegations, has_table_privilege('control.membership', 'SELECT') AS memberships"
_NOT_TOLD = Message(
    "Tài khoản này không được biết hết về «{id}», chỉ về chính mình và nhóm của mình. Hãy hỏi kiểm toán, hoặc trung tâm chạy không kèm --login",
    "This login is not told all about '{id}', only about itself and its groups. Ask an auditor, or the centre without --login",
)


def read_own_records(url: URL, timezone: str) -> Records:
    """What a person's own login is told: for most what control.my_delegations() says, for the centre and auditors the tables.

    Memberships are those that the server knows now, unless an auditor asks; when they began is not told. Raises `SetupFault`, `MachineFault`.
    """
    from warehouse.access.delegate import own_delegations
    from warehouse.query import query_rows

    def rows(query: str) -> list[Row]:
        names, found = query_rows(url, query)
        return [dict(zip(names, row, strict=True)) for row in found]

    login = str(url.username)
    (told,) = rows(_TOLD)
    delegations = rows("SELECT * FROM control.delegation ORDER BY delegation_id") if told["delegations"] else own_delegations(url)
    roles = {r["rolname"]: r["is_mine"] for r in rows("SELECT rolname, pg_has_role(oid, 'MEMBER') AS is_mine FROM pg_roles")}
    if told["delegations"]:
        grantees = {r["id"]: r for r in rows("SELECT * FROM control.grantee ORDER BY id")}
    else:
        grantees = {g["id"]: g for g in _likely_grantees(delegations, rows(_PROVINCES), roles, login, timezone)}
    mine = [g for g in grantees.values() if g["kind"] != "person" and roles.get(g["role"])]
    whole: frozenset[str] | None = frozenset({login, *(g["id"] for g in mine)})
    memberships: list[Row] = [{"person": login, "grantee": g["id"], "since": None, "until": None} for g in mine]
    if told["memberships"]:
        memberships, whole = rows("SELECT * FROM control.membership ORDER BY person, grantee, since"), None
    elif told["delegations"]:
        whole = frozenset({login, *(g["id"] for g in grantees.values() if g["kind"] != "person")})
    return Records(
        tuple(delegations),
        grantees,
        tuple(memberships),
        {r["dataset"]: r for r in rows(_DATASETS)},
        frozenset(r["nspname"] for r in rows(_WORKSPACES)),
        whole,
    )


def _likely_grantees(
    delegations: Sequence[Row], provinces: Sequence[Row], roles: Mapping[str, bool], login: str, timezone: str
) -> Iterator[Row]:
    """Grantees as far as a login can know them: the groups, the registry, itself, its organisations and those its delegations name."""
    known = {g.id for g in GROUPS} | {p["province_id"] for p in provinces} | {login}
    for group in GROUPS:
        yield _grantee(group.id, group.role, "group", group.name)
    for p in provinces:
        row = _grantee(p["province_id"], role_name("province", p["province_id"]), "province", p["full_name"])
        until = p["valid_to"] and ends(p["valid_to"], timezone)
        yield {**row, "valid_from": starts(p["valid_from"], timezone), "valid_until": until, "heir_id": p["successor_id"] or None}
    yield _grantee(login, login, "person", login)
    prefix = role_name("organisation", "")  # an id has no underscores, so the role of an organisation tells its id
    mine = {role.removeprefix(prefix).replace("_", "-") for role, is_mine in roles.items() if is_mine and role.startswith(prefix)}
    for id_ in sorted((mine | {d[side] for d in delegations for side in ("grantor", "grantee")}) - known):
        role = role_name("organisation", id_)
        yield _grantee(id_, role, "organisation", id_) if role in roles else _grantee(id_, id_, "person", id_)


def _grantee(id_: str, role: str, kind: str, name: str) -> Row:
    return {"id": id_, "role": role, "kind": kind, "name": name, "valid_from": None, "valid_until": None, "heir_id": None, "ended_at": None}
