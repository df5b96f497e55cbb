"""Why somebody sees no rows, and what to do: the first reason that explains it, in words.

Refuses: reading data, but for counting what a role may see anyway.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from expectations.faults import Message
from warehouse.access.answers import covers, holders, in_force, life, line, parties_of
from warehouse.access.records import NEVER, Records, Row, Span, span
from warehouse.access.words import say_moment

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Select


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
    if not life(grantee).holds(at):
        return Verdict(_why_not_living(records, grantee, at, timezone))
    parties = {party["id"] for party in parties_of(records, grantee, Span(at, at + datetime.resolution))}
    mine = [d for d in records.delegations if any(h["id"] in parties and s.holds(at) for h, s in holders(records, d))]
    about = [d for d in mine if covers(d, table, place)]
    live = [d for d in about if in_force(d).holds(at)]
    if not about and grantee["kind"] == "person" and parties == {grantee["id"]}:
        return Verdict(_why_no_group(records, grantee, at, timezone))
    if not about:
        other = sorted({p for d in mine if covers(d, table) and in_force(d).holds(at) for p in d["provinces"] or ("*",)})
        beside = Message(f" (đang thấy: {', '.join(other)})", f" (it sees {', '.join(other)})") if other else Message("", "")
        return Verdict(Reason("no-delegation", _filled(_NO_DELEGATION, id=grantee["id"], rows=rows, beside=beside)))
    if not live:
        likeliest = max(about, key=lambda d: in_force(d).end)  # one that is still to begin, or else the one that ended last
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
    lived = life(grantee)
    if at < lived.start:
        return Reason("not-begun", _filled(_TO_COME, id=grantee["id"], when=say_moment(lived.start, timezone)))
    if grantee["kind"] == "person":
        return Reason("disabled", _filled(_DISABLED, id=grantee["id"], when=say_moment(lived.end, timezone)))
    heir = _heir(records, grantee, at)
    message = _ENDED_HEIR if heir else _ENDED
    return Reason("ended", _filled(message, id=grantee["id"], when=say_moment(lived.end, timezone), heir=heir))


def _heir(records: Records, grantee: Row, at: datetime) -> str | None:
    return next((heir["id"] for heir, held in line(records, grantee["id"]) if held.holds(at)), None)


def _why_no_group(records: Records, person: Row, at: datetime, timezone: str) -> Reason:
    """A person whose groups have all ended or were left; the last one is named."""
    past = Message("", "")
    for member in records.memberships:
        if member["person"] != person["id"]:
            continue
        group = records.grantees[member["grantee"]]
        end = min(span(member["since"], member["until"]).end, life(group).end)
        if end <= at:
            when, heir = say_moment(end, timezone), _heir(records, group, at)
            to_heir = f" → {heir}" if heir else ""
            past = Message(f" ({group['id']}{to_heir}: đến {when.vi})", f" ({group['id']}{to_heir}: until {when.en})")
    return Reason("no-group", _filled(_NO_GROUP, id=person["id"], past=past))


def _why_not_live(records: Records, d: Row, at: datetime, timezone: str) -> Reason:
    expired, revoked = d["until_at"] or NEVER, d["revoked_at"] or NEVER
    if expired <= min(at, revoked):
        return Reason("expired", _filled(_EXPIRED, when=say_moment(expired, timezone), name=d["name"], ask=_ask(d)))
    if revoked > at:
        return Reason("not-begun", _filled(_NOT_BEGUN, when=say_moment(in_force(d).start, timezone), name=d["name"]))
    root = d
    while (above := records.parent(root)) is not None and root["revoked_because"] == f"parent {above['name']}":
        root = above
    message = _REVOKED if root is d else _REVOKED_ABOVE
    values = {"when": say_moment(revoked, timezone), "name": d["name"], "root": root["name"], "by": root["revoked_by"], "ask": _ask(root)}
    return Reason("revoked", _filled(message, **values, because=root["revoked_because"]))


def _ask(delegation: Row) -> Message:
    """Who can give it anew."""
    if delegation["is_declared"] and delegation["source"]:
        return _ASK_CENTRE.fill(source=delegation["source"])
    return _ASK.fill(grantor=delegation["grantor"])


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
