"""Who could see what on a day, what a role sees, and why somebody sees nothing: answered from what is written down.

Answers for: a past day is answered as it was, with delegations that have ended since and without those that came later. The rows
are fetched once, all of them or those that a person's own login is told; the answers are plain functions over them.
Refuses: reading data, but for counting what a role may see anyway.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from expectations.document import suggestion
from expectations.faults import Message, SetupFault
from warehouse.access.grantees import AUDITOR, CENTRE, GROUPS, ends, role_name, starts
from warehouse.access.words import say_row

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Select

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

    def holds(self, at: datetime) -> bool:
        return self.start <= at < self.end

    @property
    def first(self) -> datetime | None:
        return None if self.start == _ALWAYS else self.start

    @property
    def over(self) -> datetime | None:
        """The first moment after it; None when no end is known."""
        return None if self.end == _NEVER else self.end


def span(start: datetime | None, *ended: datetime | None) -> Span:
    """From `start`, or ever, to the earliest of several ends, or for ever."""
    return Span(start or _ALWAYS, min((e for e in ended if e is not None), default=_NEVER))


def day_span(day: date, timezone: str) -> Span:
    return Span(starts(day, timezone), ends(day, timezone))


# ---------------------------------------------------------------- what is written down


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


# ---------------------------------------------------------------- who holds what, when


@dataclass(frozen=True, slots=True)
class Holding:
    """Somebody holds a delegation from the first to the last moment of `within`: the grantee, its heir, or a person of theirs."""

    holder: Row
    belongs_to: Row | None
    delegation: Row
    within: Span

    @property
    def inherited_from(self) -> str | None:
        """The province to whom it was given, where an heir took its place."""
        held_by: str = (self.belongs_to or self.holder)["id"]
        return None if held_by == self.delegation["grantee"] else self.delegation["grantee"]


def holdings(records: Records, when: Span) -> Iterator[Holding]:
    """Every delegation that was in force at some moment of `when`, with those who saw through it then."""
    for delegation in records.delegations:
        for holder, held in _holders(records, delegation):
            within = held.meets(_in_force(delegation))
            if within is None or not within.meets(when):
                continue
            yield Holding(holder, None, delegation, within)
            for member in records.memberships:
                if member["grantee"] == holder["id"]:
                    person = records.grantees[member["person"]]
                    together = _together(person, member, within)
                    if together and together.meets(when):
                        yield Holding(person, holder, delegation, together)


def _in_force(delegation: Row) -> Span:
    """A delegation counts from its beginning or its entry, whichever is later, to its end or its revocation."""
    return span(max(delegation["from_at"], delegation["created_at"]), delegation["until_at"], delegation["revoked_at"])


def _life(grantee: Row) -> Span:
    return span(grantee["valid_from"], grantee["valid_until"], grantee["ended_at"])


def _together(person: Row, member: Row, other: Span) -> Span | None:
    """When a person lived and belonged to a group, within another span."""
    belonged = span(member["since"], member["until"]).meets(_life(person))
    return belonged and belonged.meets(other)


def _holders(records: Records, delegation: Row) -> Iterator[tuple[Row, Span]]:
    """The grantee and, after a merger, those that take its place. Own rows do not pass on: an heir has its own."""
    for holder, held in _line(records, delegation["grantee"]):
        if not delegation["is_own"] or holder["id"] == delegation["grantee"]:
            yield holder, held


def _line(records: Records, grantee_id: str | None) -> Iterator[tuple[Row, Span]]:
    """A grantee, its heir, the heir's heir, each with its own time. Nothing passes on from one that was taken out of the registry."""
    known = span(None)
    grantee = records.grantees.get(grantee_id or "")
    while grantee is not None:
        known = Span(known.start, min(known.end, grantee["ended_at"] or _NEVER))
        held = span(grantee["valid_from"], grantee["valid_until"]).meets(known)
        if held:
            yield grantee, held
        grantee = records.grantees.get(grantee["heir_id"] or "")


def _parties(records: Records, grantee: Row, when: Span) -> Iterator[Row]:
    """A grantee itself and, for a person, those to whom it belonged at some moment of `when`; none of those that did not live."""
    if _life(grantee).meets(when):
        yield grantee
    for member in records.memberships:
        group = records.grantees[member["grantee"]]
        together = _together(grantee, member, when) if member["person"] == grantee["id"] else None
        if together and together.meets(_life(group)):
            yield group


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


def shown(records: Records, delegation: Row) -> tuple[Row, ...]:
    """The datasets of which a delegation shows rows."""
    return tuple(dataset for dataset in records.datasets.values() if covers(delegation, dataset))


def who(records: Records, when: Span, dataset: str, province: str, commune: str | None = None, column: str | None = None) -> list[Holding]:
    """Everybody who saw such rows, and that column of them, at some moment of `when`. Raises `SetupFault` for what is not known."""
    table, place = records.find_dataset(dataset), records.find_province(province)["id"]
    if column is not None:
        records.find_column(table, column)
    if commune is not None and table["commune_field"] is None:
        raise SetupFault(
            Message(f"Tập {dataset} không có cột xã.", f"The dataset {dataset} has no column with communes."), rule="no-communes"
        )
    return [h for h in holdings(records, when) if covers(h.delegation, table, place, commune, column)]


@dataclass(frozen=True, slots=True)
class Sight:
    """What somebody saw at some moment of a span of time.

    `workspaces` maps a province to whether its workspace is one's own. `ledger` holds the senders whose deliveries are seen;
    None: all of them.
    """

    holder: Row
    holdings: tuple[Holding, ...]
    workspaces: Mapping[str, bool]
    ledger: tuple[str, ...] | None


def what(records: Records, when: Span, role: str) -> Sight:
    """Everything that somebody saw at some moment of `when`. Raises `SetupFault` for an unknown role."""
    grantee = records.find_grantee(role)
    held = tuple(h for h in holdings(records, when) if h.holder["id"] == grantee["id"])
    parties = {party["id"] for party in _parties(records, grantee, when)}
    workspaces = {h.delegation["workspace_of"]: False for h in held if h.delegation["workspace_of"]}
    for province in (g for g in records.grantees.values() if g["kind"] == "province" and _workspace(g["id"]) in records.workspaces):
        if any(holder["id"] in parties and time.meets(when) for holder, time in _line(records, province["id"])):
            workspaces[province["id"]] = True
    senders = sorted({sender for h in held if h.delegation["is_own"] for sender in h.delegation["provinces"] or ()})
    return Sight(grantee, held, dict(sorted(workspaces.items())), None if parties & {CENTRE, AUDITOR} else tuple(senders))


def _workspace(province_id: str) -> str:
    return "workspace_" + province_id.replace("-", "_")


# ---------------------------------------------------------------- why nothing


@dataclass(frozen=True, slots=True)
class Reason:
    """Why somebody sees no rows, and what to do."""

    rule: str
    message: Message


@dataclass(frozen=True, slots=True)
class Verdict:
    """The first thing that keeps somebody from seeing rows, if anything does; and the delegations that do show some."""

    reason: Reason | None
    through: tuple[Row, ...] = ()


_DISABLED = Message(
    "Tài khoản «{id}» đã bị khoá từ {when}. Tên cũ không cấp lại; cần tài khoản mới: ndc people add",
    "The login '{id}' has been disabled since {when}. A name is never given again; a new login is needed: ndc people add",
)
_ENDED = Message(
    "«{id}» đã chấm dứt từ {when} và không có bên kế thừa.",
    "'{id}' ended on {when}, and nobody takes its place.",
)
_ENDED_HEIR = Message(
    "«{id}» đã chấm dứt từ {when}; nay là {heir}. Hãy hỏi: --role {heir}",
    "'{id}' ended on {when}; its place is taken by {heir}. Ask for: --role {heir}",
)
_TO_COME = Message("«{id}» đến {when} mới có.", "'{id}' exists only from {when} on.")
_NO_GROUP = Message(
    "«{id}» không thuộc tỉnh hay cơ quan nào còn hiệu lực{past}; cần tài khoản thuộc nơi giữ quyền: ndc people add",
    "'{id}' belongs to no province or organisation that lives{past}; a login of one that holds a delegation is needed: ndc people add",
)
_NO_DELEGATION = Message(
    "«{id}» chưa từng được phân quyền trên {rows}{beside}. Hãy đề nghị tỉnh giữ các dòng ấy: ndc delegate grant",
    "'{id}' was never given {rows}{beside}. Ask the province that holds these rows: ndc delegate grant",
)
_REVOKED = Message(
    "«{name}» đã bị thu hồi lúc {when}, bởi {by}: {because}.{ask}", "'{name}' was revoked on {when} by {by}: {because}.{ask}"
)
_REVOKED_ABOVE = Message(
    "«{name}» đã hết lúc {when}, vì quyền gốc «{root}» bị thu hồi, bởi {by}: {because}.{ask}",
    "'{name}' ended on {when}, because '{root}', from which it was given, was revoked by {by}: {because}.{ask}",
)
_EXPIRED = Message("«{name}» đã hết hạn từ {when}.{ask}", "'{name}' has expired since {when}.{ask}")
_NOT_BEGUN = Message("«{name}» đến {when} mới bắt đầu; hãy chờ.", "'{name}' begins only on {when}; wait until then.")
_ASK = Message(" Hãy đề nghị {grantor} giao lại: ndc delegate grant", " Ask {grantor} to give it anew: ndc delegate grant")
_ASK_CENTRE = Message(
    " Được khai báo trong {source}: trung tâm sửa tệp rồi chạy ndc delegations apply",
    " It is declared in {source}: the centre edits the file and runs ndc delegations apply",
)
_NOT_IN_CLEAR = Message(
    "«{id}» thấy dòng của {rows} nhưng không thấy rõ cột {column}, chỉ thấy bí danh hoặc giá trị che bớt nếu có. Hãy đề nghị giao lại kèm: --in-clear {column}",
    "'{id}' sees rows of {rows}, but not {column} in clear, only its pseudonym or mask where there is one. Ask for a delegation with: --in-clear {column}",
)
_NO_ROWS = Message(
    "«{id}» được thấy {rows} (qua {names}), nhưng ở đó chưa có dòng nào. Tỉnh đã gửi chưa: ndc deliveries --dataset {dataset}",
    "'{id}' may see {rows} (through {names}), but there are no rows yet. Were any delivered: ndc deliveries --dataset {dataset}",
)
_NO_ROWS_WITHIN = Message(
    "«{id}» chỉ được thấy một phần của {rows}: {limits}; trong phạm vi ấy không có dòng nào. Cần rộng hơn thì đề nghị bên giao: ndc delegate grant",
    "'{id}' may see only a part of {rows}: {limits}; there are no rows in that part. For more ask the grantor: ndc delegate grant",
)


def why_empty(
    records: Records, at: datetime, timezone: str, role: str, dataset: str, province: str | None = None, column: str | None = None
) -> Verdict:
    """What keeps a role from seeing rows of a dataset at a moment: the first that explains it.

    Without a reason rows are seen where there are any, through the delegations of the verdict: `why_no_rows` goes on from there.
    Raises `SetupFault` for what is not known.
    """
    grantee, table = records.find_grantee(role), records.find_dataset(dataset)
    place = records.find_province(province)["id"] if province is not None else None
    if column is not None:
        records.find_column(table, column)
    rows = _rows_named(dataset, place)
    if not _life(grantee).holds(at):
        return Verdict(_why_not_living(records, grantee, at, timezone))
    parties = {party["id"] for party in _parties(records, grantee, Span(at, at + datetime.resolution))}
    mine = [d for d in records.delegations if any(h["id"] in parties and s.holds(at) for h, s in _holders(records, d))]
    about = [d for d in mine if covers(d, table, place)]
    live = [d for d in about if _in_force(d).holds(at)]
    if not about and grantee["kind"] == "person" and parties == {grantee["id"]}:
        return Verdict(_why_no_group(records, grantee, at, timezone))
    if not about:
        other = sorted({p for d in mine if covers(d, table) and _in_force(d).holds(at) for p in d["provinces"] or ("*",)})
        beside = Message(f" (đang thấy: {', '.join(other)})", f" (it sees {', '.join(other)})") if other else Message("", "")
        return Verdict(Reason("no-delegation", _filled(_NO_DELEGATION, id=grantee["id"], rows=rows, beside=beside)))
    if not live:
        likeliest = max(about, key=lambda d: _in_force(d).end)  # one that is still to begin, or else the one that ended last
        return Verdict(_why_not_live(records, likeliest, at, timezone))
    clear = [d for d in live if covers(d, table, column=column)]
    if not clear:
        return Verdict(Reason("not-in-clear", _filled(_NOT_IN_CLEAR, id=grantee["id"], rows=rows, column=column)), tuple(live))
    return Verdict(None, tuple(clear))


def why_no_rows(verdict: Verdict, role: str, dataset: str, province: str | None = None) -> Reason:
    """Why somebody sees nothing although a delegation is in force, when there are no rows within it."""
    rows = _rows_named(dataset, province)
    limits = [limits_of(d) for d in verdict.through]
    if all(limits):
        return Reason("no-rows-in-limits", _filled(_NO_ROWS_WITHIN, id=role, rows=rows, limits="; ".join(limits)))
    names = ", ".join(d["name"] for d in verdict.through)
    return Reason("no-rows", _filled(_NO_ROWS, id=role, rows=rows, names=names, dataset=dataset))


def limits_of(delegation: Row) -> str:
    """The communes and periods to which a delegation is limited; empty for whole provinces and every period."""
    first, last = delegation["periods_from"], delegation["periods_until"]
    periods = f"{first or '…'} – {last or '…'}" if first or last else ""
    return " ".join(filter(None, (", ".join(delegation["communes"] or ()), f"({periods})" if periods else "")))


def _rows_named(dataset: str, province: str | None) -> Message:
    return Message(f"{dataset} của {province}", f"{dataset} of {province}") if province else Message(dataset, dataset)


def _why_not_living(records: Records, grantee: Row, at: datetime, timezone: str) -> Reason:
    life = _life(grantee)
    if at < life.start:
        return Reason("not-begun", _filled(_TO_COME, id=grantee["id"], when=_when(life.start, timezone)))
    if grantee["kind"] == "person":
        return Reason("disabled", _filled(_DISABLED, id=grantee["id"], when=_when(life.end, timezone)))
    heir = _heir(records, grantee, at)
    message = _ENDED_HEIR if heir else _ENDED
    return Reason("ended", _filled(message, id=grantee["id"], when=_when(life.end, timezone), heir=heir))


def _heir(records: Records, grantee: Row, at: datetime) -> str | None:
    return next((heir["id"] for heir, held in _line(records, grantee["id"]) if held.holds(at)), None)


def _why_no_group(records: Records, person: Row, at: datetime, timezone: str) -> Reason:
    """A person whose groups have all ended or were left; the last one is named."""
    past = Message("", "")
    for member in records.memberships:
        if member["person"] != person["id"]:
            continue
        group = records.grantees[member["grantee"]]
        end = min(span(member["since"], member["until"]).end, _life(group).end)
        if end <= at:
            when, heir = _when(end, timezone), _heir(records, group, at)
            to_heir = f" → {heir}" if heir else ""
            past = Message(f" ({group['id']}{to_heir}: đến {when.vi})", f" ({group['id']}{to_heir}: until {when.en})")
    return Reason("no-group", _filled(_NO_GROUP, id=person["id"], past=past))


def _why_not_live(records: Records, d: Row, at: datetime, timezone: str) -> Reason:
    expired, revoked = d["until_at"] or _NEVER, d["revoked_at"] or _NEVER
    if expired <= min(at, revoked):
        return Reason("expired", _filled(_EXPIRED, when=_when(expired, timezone), name=d["name"], ask=_ask(d)))
    if revoked > at:
        return Reason("not-begun", _filled(_NOT_BEGUN, when=_when(_in_force(d).start, timezone), name=d["name"]))
    root = d
    while (above := records.parent(root)) is not None and root["revoked_because"] == f"parent {above['name']}":
        root = above
    message = _REVOKED if root is d else _REVOKED_ABOVE
    values = {"when": _when(revoked, timezone), "name": d["name"], "root": root["name"], "by": root["revoked_by"], "ask": _ask(root)}
    return Reason("revoked", _filled(message, **values, because=root["revoked_because"]))


def _ask(delegation: Row) -> Message:
    """Who can give it anew."""
    if delegation["is_declared"] and delegation["source"]:
        return _ASK_CENTRE.fill(source=delegation["source"])
    return _ASK.fill(grantor=delegation["grantor"])


def _when(at: datetime, timezone: str) -> Message:
    here = at.astimezone(ZoneInfo(timezone))
    return Message(f"{here:%d/%m/%Y %H:%M}", f"{here:%-d %b %Y %H:%M}")


def _filled(template: Message, **values: object) -> Message:
    """A template filled with values, of which some are messages themselves."""
    vi = {name: value.vi if isinstance(value, Message) else value for name, value in values.items()}
    en = {name: value.en if isinstance(value, Message) else value for name, value in values.items()}
    return Message(template.fill(**vi).vi, template.fill(**en).en)


def count_seen(connection: Connection, dataset: Row, delegations: Iterable[Row], province: str | None = None) -> int:
    """How many rows some delegations show, of one province or all; counted by the loader, whom no policy filters."""
    return int(connection.execute(_count(dataset, delegations, province)).scalar_one())


def count_own(url: URL, dataset: Row, delegations: Iterable[Row], province: str | None = None) -> int:
    """The same with a person's own login, whom the policies filter."""
    from sqlalchemy.dialects import postgresql

    from warehouse.query import query_rows

    dialect = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]  # the library gives it no types
    query = _count(dataset, delegations, province).compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    return int(query_rows(url, str(query))[1][0][0])


def _count(dataset: Row, delegations: Iterable[Row], province: str | None) -> Select[int]:
    from sqlalchemy import Date, String, and_, column, func, or_, select, table, true

    place, period = column("province_id", String), column("period", Date)

    def within(d: Row) -> Any:
        return and_(
            true(),
            *([place.in_(d["provinces"])] if d["provinces"] is not None else []),
            *([column(dataset["commune_field"], String).in_(d["communes"])] if d["communes"] is not None else []),
            *([period >= d["periods_from"]] if d["periods_from"] is not None else []),
            *([period <= d["periods_until"]] if d["periods_until"] is not None else []),
        )

    asked = true() if province is None else place == province
    return select(func.count()).select_from(table(dataset["dataset"], schema="national")).where(asked, or_(*map(within, delegations)))


# ---------------------------------------------------------------- the audit table


def changes(connection: Connection, since: datetime | None = None, name: str | None = None) -> list[Row]:
    """Every change of who may see what, the last one first. `name` is a delegation, a declared entry of many, a grantee or a person."""
    from sqlalchemy import text

    query = (
        "SELECT changed_at, login, actor, what, name, before, after, legal_basis FROM control.access_change "
        "WHERE (CAST(:since AS timestamptz) IS NULL OR changed_at >= :since) "
        "AND (CAST(:name AS text) IS NULL OR name = :name OR starts_with(name, :name || '/')) ORDER BY change_id DESC"
    )
    return [dict(row) for row in connection.execute(text(query), {"since": since, "name": name}).mappings()]


_KINDS = {
    "group": Message("nhóm", "group"),
    "province": Message("tỉnh", "province"),
    "organisation": Message("cơ quan", "organisation"),
    "person": Message("người", "person"),
}


def say_change(change: Row, timezone: str) -> Message:
    """A change in words: what was given, to whom, what ended and why, or which column went from what to what."""
    before, after = change["before"], change["after"]
    match change["what"]:
        case "delegation insert":
            row = {key: _as_moment(key, value) for key, value in after.items()}
            said, on = (
                say_row(row, timezone),
                Message("; được giao lại", "; it may be given on") if row["may_redelegate"] else Message("", ""),
            )
            return Message(
                f"{row['grantor']} giao: {said.vi}{on.vi}; {row['purpose']}", f"{row['grantor']} gives: {said.en}{on.en}; {row['purpose']}"
            )
        case "delegation update" if before["revoked_at"] is None and after["revoked_at"] is not None:
            because, who_to = after["revoked_because"], f"{after['grantor']} → {after['grantee']}"
            return Message(f"{who_to}: hiệu lực → thu hồi: {because}", f"{who_to}: in force → revoked: {because}")
        case "delegation update":
            return Message("chuyển sang quyền gốc mới", "now hangs on the new form of its parent")
        case "grantee insert":
            kind = _KINDS[after["kind"]]
            return Message(f"thêm {kind.vi}: {after['name']}", f"new {kind.en}: {after['name']}")
        case "membership insert":
            until = _when(_as_moment("until", after["until"]), timezone) if after["until"] else None
            end = Message(f", đến {until.vi}", f", until {until.en}") if until else Message("", "")
            return Message(f"vào {after['grantee']}{end.vi}", f"joins {after['grantee']}{end.en}")
        case "person disable":
            return Message(f"bị khoá: {after['reason']}", f"disabled: {after['reason']}")
        case "person password":
            return Message("mật khẩu mới", "a new password")
    said_once = difference(change, timezone)
    return Message(said_once, said_once)


def difference(change: Row, timezone: str) -> str:
    """Which columns a change changed, each as `column: before → after`."""
    before, after = change["before"] or {}, change["after"] or {}
    return "; ".join(
        f"{key}: {_shown(key, before.get(key), timezone)} → {_shown(key, after.get(key), timezone)}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    )


def _as_moment(key: str, value: Any) -> Any:
    """A value of an audit row, where moments are text."""
    is_moment = isinstance(value, str) and (key.endswith("_at") or key in ("since", "until", "valid_from", "valid_until"))
    return datetime.fromisoformat(value) if is_moment else value


def _shown(key: str, value: Any, timezone: str) -> str:
    value = _as_moment(key, value)
    if isinstance(value, datetime):
        return f"{value.astimezone(ZoneInfo(timezone)):%Y-%m-%d %H:%M}"
    return ", ".join(map(str, value)) if isinstance(value, list) else "∅" if value is None else str(value)
