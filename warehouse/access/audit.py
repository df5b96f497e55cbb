"""Who changed who may see what, when and why: the audit table in words."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from expectations.faults import Message
from warehouse.access.records import Row
from warehouse.access.words import say_moment, say_row

if TYPE_CHECKING:
    from sqlalchemy import Connection


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
            until = say_moment(_as_moment("until", after["until"]), timezone) if after["until"] else None
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
