"""Who could see what on a day, what a role sees, and why somebody sees nothing: answered from what is written down.

Answers for: a past day is answered as it was, with delegations that have ended since and without those that came later. The rows
are fetched once; the answers are plain functions over them. Refuses: reading data, but for counting what a role may see anyway.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from expectations.document import suggestion
from expectations.faults import Message, SetupFault
from warehouse.access.grantees import ends, starts

if TYPE_CHECKING:
    from sqlalchemy import Connection

_ALWAYS, _NEVER = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
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


def span(start: datetime | None, end: datetime | None) -> Span:
    return Span(start or _ALWAYS, end or _NEVER)


def day_span(day: date, timezone: str) -> Span:
    return Span(starts(day, timezone), ends(day, timezone))


@dataclass(frozen=True, slots=True)
class Records:
    """What is written down about access, as rows of the control tables."""

    delegations: tuple[Row, ...]
    grantees: Mapping[str, Row]
    memberships: tuple[Row, ...]
    datasets: Mapping[str, Row]

    def find_grantee(self, said: str) -> Row:
        """The grantee of an id or a role. Raises `SetupFault`."""
        for row in self.grantees.values():
            if said in (row["id"], row["role"]):
                return row
        raise _unknown("tỉnh, cơ quan hay người", "province, organisation or person", said, self.grantees)

    def find_dataset(self, said: str) -> Row:
        if said not in self.datasets:
            raise _unknown("tập dữ liệu", "dataset", said, self.datasets)
        return self.datasets[said]

    def chain(self, row: Row) -> tuple[str, ...]:
        """The names of a delegation's ancestors up to the centre's, nearest first."""
        by_id = {d["delegation_id"]: d for d in self.delegations}
        names = []
        while row["parent_id"] is not None:
            row = by_id[row["parent_id"]]
            names.append(row["name"])
        return tuple(names)


def read_records(connection: Connection) -> Records:
    """Everything that is written down; as ndc_owner, or an auditor."""
    from sqlalchemy import text

    def rows(table: str, order: str) -> list[Row]:
        return [dict(r) for r in connection.execute(text(f"SELECT * FROM control.{table} ORDER BY {order}")).mappings()]

    return Records(
        tuple(rows("delegation", "delegation_id")),
        {r["id"]: r for r in rows("grantee", "id")},
        tuple(rows("membership", "person, grantee, since")),
        {r["dataset"]: r for r in rows("dataset", "dataset")},
    )


def _unknown(vi: str, en: str, said: str, known: Iterable[str]) -> SetupFault:
    near = suggestion(said, list(known))
    return SetupFault(Message(f"không có {vi} «{said}».{near[0]}", f"there is no {en} '{said}'.{near[1]}"), rule="unknown")


# ---------------------------------------------------------------- who holds what, when


@dataclass(frozen=True, slots=True)
class Holding:
    """Somebody holds a delegation in a span of time: the grantee, its heir, or a person who belongs to one of them."""

    holder: Row
    belongs_to: Row | None
    delegation: Row
    within: Span


def holdings(records: Records, when: Span) -> Iterator[Holding]:
    """Every delegation that was in force at some moment of `when`, with those who saw through it."""
    for delegation in records.delegations:
        in_force = _in_force(delegation).meets(when)
        if in_force is None:
            continue
        for holder, held in _line(records, delegation):
            within = held.meets(in_force)
            if within is None:
                continue
            yield Holding(holder, None, delegation, within)
            for member in records.memberships:
                together = span(member["since"], member["until"]).meets(within)
                if member["grantee"] == holder["id"] and together:
                    yield Holding(records.grantees[member["person"]], holder, delegation, together)


def _in_force(delegation: Row) -> Span:
    ended = min(delegation["until_at"] or _NEVER, delegation["revoked_at"] or _NEVER)
    return Span(max(delegation["from_at"], delegation["created_at"]), ended)


def _line(records: Records, delegation: Row) -> Iterator[tuple[Row, Span]]:
    """The grantee and, after a merger, those that take its place. Own rows do not pass on: an heir has its own."""
    grantee = records.grantees.get(delegation["grantee"])
    while grantee is not None:
        yield grantee, span(grantee["valid_from"], min(grantee["valid_until"] or _NEVER, grantee["ended_at"] or _NEVER))
        grantee = None if delegation["is_own"] else records.grantees.get(grantee["heir_id"])


def clear_fields(delegation: Row, dataset: Row) -> tuple[str, ...]:
    """The restricted fields of a dataset that a delegation shows in clear."""
    named = delegation["in_clear"]
    return tuple(f for f in dataset["restricted"] if named is None or f"{dataset['dataset']}.{f}" in named)


def covers(delegation: Row, dataset: Row, province: str | None = None, commune: str | None = None, column: str | None = None) -> bool:
    """Whether a delegation shows rows of a dataset, of a province, of a commune, and a column of them."""
    if delegation["datasets"] is not None and dataset["dataset"] not in delegation["datasets"]:
        return False
    if delegation["communes"] is not None and (dataset["commune_field"] is None or (commune and commune not in delegation["communes"])):
        return False
    if province is not None and delegation["provinces"] is not None and province not in delegation["provinces"]:
        return False
    return column is None or column not in dataset["restricted"] or column in clear_fields(delegation, dataset)


def who(records: Records, when: Span, dataset: str, province: str, commune: str | None = None, column: str | None = None) -> list[Holding]:
    """Everybody who saw such rows, and that column of them, at some moment of `when`. Raises `SetupFault` for what is not known."""
    table = records.find_dataset(dataset)
    if records.find_grantee(province)["kind"] != "province":
        raise _unknown("tỉnh", "province", province, [g["id"] for g in records.grantees.values() if g["kind"] == "province"])
    return [h for h in holdings(records, when) if covers(h.delegation, table, province, commune, column)]


def what(records: Records, when: Span, role: str) -> list[Holding]:
    """Every delegation through which somebody saw at some moment of `when`. Raises `SetupFault` for an unknown role."""
    grantee = records.find_grantee(role)
    return [h for h in holdings(records, when) if h.holder["id"] == grantee["id"]]


# ---------------------------------------------------------------- why nothing


@dataclass(frozen=True, slots=True)
class Reason:
    """Why somebody sees no rows, and what to do."""

    rule: str
    message: Message


def why_empty(records: Records, at: datetime, role: str, dataset: str, province: str | None = None) -> tuple[list[Reason], list[Row]]:
    """What keeps a role from seeing rows of a dataset, the likeliest reason first; and the delegations that do show some.

    With no reasons, rows should be seen where there are any. Raises `SetupFault` for what is not known.
    """
    grantee, table = records.find_grantee(role), records.find_dataset(dataset)
    now = Span(at, _NEVER)
    ids = {grantee["id"], *(m["grantee"] for m in records.memberships if m["person"] == grantee["id"] and m["until"] is None)}
    if grantee["ended_at"] is not None or (grantee["valid_until"] is not None and grantee["valid_until"] <= at):
        heir = f": {grantee['heir_id']}" if grantee["heir_id"] else ""
        return [
            Reason(
                "ended",
                Message(
                    f"«{grantee['id']}» đã chấm dứt; quyền thuộc bên kế thừa{heir}.",
                    f"'{grantee['id']}' has ended; what it held belongs to its heir{heir}.",
                ),
            )
        ], []
    mine = [d for d in records.delegations if any(h["id"] in ids for h, s in _line(records, d) if s.meets(now))]
    about = [d for d in mine if covers(d, table, province)]
    live = [d for d in about if _in_force(d).start <= at < _in_force(d).end]
    if live:
        return [], live
    reasons = [_why_not(records, d, at) for d in sorted(about, key=lambda d: _in_force(d).end, reverse=True)]
    if not reasons and grantee["kind"] == "person" and ids == {grantee["id"]}:
        reasons.append(
            Reason(
                "no-group",
                Message(
                    f"«{grantee['id']}» không thuộc tỉnh hay cơ quan nào; hãy thêm bằng: ndc people add.",
                    f"'{grantee['id']}' belongs to no province or organisation; people are added by: ndc people add.",
                ),
            )
        )
    if not reasons:
        other = sorted({p for d in mine if covers(d, table) for p in d["provinces"] or ("*",)})
        beside_vi = f" (đang thấy: {', '.join(other)})" if other else ""
        beside_en = f" (it sees {', '.join(other)})" if other else ""
        of_vi, of_en = (f" của {province}", f" of {province}") if province else ("", "")
        reasons.append(
            Reason(
                "no-delegation",
                Message(
                    f"«{grantee['id']}» chưa từng được phân quyền trên {dataset}{of_vi}{beside_vi}; hãy đề nghị tỉnh giữ các dòng: ndc delegate grant.",
                    f"'{grantee['id']}' was never given {dataset}{of_en}{beside_en}; ask the province that holds the rows: ndc delegate grant.",
                ),
            )
        )
    return reasons, []


def _why_not(records: Records, d: Row, at: datetime) -> Reason:
    if d["revoked_at"] is not None:
        by = f"{d['revoked_at']:%Y-%m-%d %H:%M}Z, {d['revoked_by']}: {d['revoked_because']}"
        return Reason("revoked", Message(f"«{d['name']}» đã bị thu hồi ({by}).", f"'{d['name']}' was revoked ({by})."))
    if d["until_at"] is not None and d["until_at"] <= at:
        on = f"{d['until_at']:%Y-%m-%d %H:%M}Z"
        return Reason("expired", Message(f"«{d['name']}» hết hạn từ {on}.", f"'{d['name']}' has expired since {on}."))
    on = f"{_in_force(d).start:%Y-%m-%d %H:%M}Z"
    return Reason("not-begun", Message(f"«{d['name']}» đến {on} mới bắt đầu.", f"'{d['name']}' begins on {on}."))


def count_seen(connection: Connection, dataset: str, delegations: Iterable[Row]) -> int:
    """How many rows some delegations show, counted by the loader, whom no policy filters."""
    from sqlalchemy import text

    from warehouse.tables import quoted

    commune = connection.execute(text("SELECT commune_field FROM control.dataset WHERE dataset = :d"), {"d": dataset}).scalar()
    clauses, values = [], {}
    for n, d in enumerate(delegations):
        parts = ["true"]
        for column, key in (("province_id", "provinces"), (commune, "communes")):
            if d[key] is not None and column:
                parts.append(f"{quoted(column)} = ANY (:{key}{n})")
                values[f"{key}{n}"] = d[key]
        for sign, key in ((">=", "periods_from"), ("<=", "periods_until")):
            if d[key] is not None:
                parts.append(f"period {sign} :{key}{n}")
                values[f"{key}{n}"] = d[key]
        clauses.append(f"({' AND '.join(parts)})")
    found = connection.execute(text(f"SELECT count(*) FROM national.{quoted(dataset)} WHERE {' OR '.join(clauses)}"), values)
    return int(found.scalar_one())


# ---------------------------------------------------------------- the audit table


def changes(connection: Connection, since: datetime | None = None, name: str | None = None) -> list[Row]:
    """Every change of who may see what, the last one first; `name` is a delegation, a grantee or a person."""
    from sqlalchemy import text

    query = (
        "SELECT changed_at, login, actor, what, name, before, after, legal_basis FROM control.access_change "
        "WHERE (CAST(:since AS timestamptz) IS NULL OR changed_at >= :since) AND (CAST(:name AS text) IS NULL OR name = :name) ORDER BY change_id DESC"
    )
    return [dict(row) for row in connection.execute(text(query), {"since": since, "name": name}).mappings()]


def difference(change: Row) -> str:
    """What a change changed: `column: before → after`, or for a new row its terms."""
    before, after = change["before"] or {}, change["after"] or {}
    return "; ".join(
        f"{key}: {_shown(before.get(key))} → {_shown(after.get(key))}" if before else f"{key}: {_shown(after[key])}"
        for key in after or before
        if before.get(key) != after.get(key) and not (not before and after[key] in (None, [], False)) and key not in _SELF_EVIDENT
    )


_SELF_EVIDENT = {"name", "delegation_id", "id", "person", "created_at", "created_by", "parent_id", "legal_basis"}


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else "∅" if value is None else str(value)
