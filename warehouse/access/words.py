"""Delegations in words, for plans, lists and errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from expectations.faults import Message
from warehouse.access.declared import Delegation

_PARTS = {
    "may_redelegate": ("quyền gốc không cho giao lại", "the parent may not be given on"),
    "datasets": ("tập dữ liệu", "datasets"),
    "provinces": ("tỉnh", "provinces"),
    "communes": ("xã", "communes"),
    "periods": ("kỳ", "periods"),
    "columns": ("cột thấy rõ", "columns in clear"),
    "from": ("bắt đầu sớm hơn", "it begins earlier"),
    "until": ("kết thúc muộn hơn", "it ends later"),
    "workspace": ("vùng làm việc của tỉnh khác", "another province's workspace"),
}
_MANY = 3


def say_parts(parent: str, wide: str) -> Message:
    """Which parts of a delegation reach beyond its parent, from the words of control.too_wide."""
    vi, en = [], []
    for part in wide.split("; "):
        name, _, excess = part.partition(": ")
        said = _PARTS.get(name, (name, name))
        all_vi, all_en = ("tất cả", "all") if excess == "*" else (excess, excess)
        vi.append(said[0] + (f": {all_vi}" if excess else ""))
        en.append(said[1] + (f": {all_en}" if excess else ""))
    return Message(f"rộng hơn quyền gốc «{parent}» ({'; '.join(vi)}).", f"wider than its parent '{parent}' ({'; '.join(en)}).")


def say_delegation(d: Delegation, grantee: str) -> Message:
    """What a delegation lets its grantee see: "Sở Y tế will see 3 communes of dossier, without phone, until 2026-12-31"."""
    vi, en = say_terms(d.datasets, d.provinces, d.communes, d.in_clear, d.until, is_own=d.is_own, starts_later=None)
    return Message(f"{grantee} sẽ thấy {vi}", f"{grantee} will see {en}")


def say_terms(
    datasets: Sequence[str] | None,
    provinces: Sequence[str] | None,
    communes: Sequence[str] | None,
    in_clear: Sequence[str] | None,
    until: date | None,
    *,
    is_own: bool = False,
    starts_later: date | None = None,
) -> tuple[str, str]:
    """Rows, columns and time of a delegation, in Vietnamese and in English."""
    of_vi, of_en = ("mọi tập dữ liệu", "every dataset") if datasets is None else (_listed(datasets, "tập"), _listed(datasets, "datasets"))
    if communes is not None:
        rows_vi, rows_en = (
            (f"{len(communes)} xã", f"{len(communes)} communes") if len(communes) > 1 else (f"xã {communes[0]}", f"commune {communes[0]}")
        )
        if provinces:
            rows_vi, rows_en = f"{rows_vi} ở {_listed(provinces, 'tỉnh')}", f"{rows_en} of {_listed(provinces, 'provinces')}"
    elif provinces is None:
        rows_vi, rows_en = "mọi dòng", "every row"
    elif is_own:
        rows_vi, rows_en = "dòng của chính mình", "its own rows"
    else:
        rows_vi, rows_en = f"dòng của {_listed(provinces, 'tỉnh')}", f"the rows of {_listed(provinces, 'provinces')}"
    if in_clear is None:
        columns_vi, columns_en = "cột hạn chế thấy rõ", "restricted columns in clear"
    elif in_clear:
        columns_vi, columns_en = f"thấy rõ {_listed(in_clear, 'cột')}", f"{_listed(in_clear, 'columns')} in clear"
    else:
        columns_vi, columns_en = "không có cột hạn chế", "without restricted columns"
    vi, en = f"{rows_vi} của {of_vi}, {columns_vi}", f"{rows_en} of {of_en}, {columns_en}"
    if starts_later:
        vi, en = f"{vi}, từ {starts_later:%d/%m/%Y}", f"{en}, from {starts_later:%-d %b %Y}"
    if until:
        vi, en = f"{vi}, đến hết {until:%d/%m/%Y}", f"{en}, until {until:%-d %b %Y}"
    return vi, en


def say_row(row: Mapping[str, Any], timezone: str) -> Message:
    """A row of control.delegation: which rows and columns of what, from when, until when."""
    zone = ZoneInfo(timezone)
    until = (row["until_at"] - timedelta(microseconds=1)).astimezone(zone).date() if row["until_at"] else None
    first = row["from_at"].astimezone(zone).date() if row["from_at"] > row["created_at"] else None
    vi, en = say_terms(row["datasets"], row["provinces"], row["communes"], row["in_clear"], until, is_own=row["is_own"], starts_later=first)
    return Message(f"{row['grantee']} thấy {vi}", f"{row['grantee']} sees {en}")


def _listed(values: Sequence[str], what: str) -> str:
    return ", ".join(values) if len(values) <= _MANY else f"{len(values)} {what}"


def say_difference(
    new: Sequence[Delegation],
    changed: set[str],
    gone: Sequence[Mapping[str, Any]],
    ended: Iterable[tuple[Mapping[str, Any], Message]],
    names: Mapping[str, str],
) -> Iterator[Message]:
    """The steps of a plan. Delegations to each province are said once; `names` are those of grantees that live or are to come."""
    families: dict[str, list[Delegation]] = {}
    for d in (d for d in new if d.grantee in names or not d.is_own):
        families.setdefault(d.name.partition("/")[0] + ("~" if d.name in changed else ""), []).append(d)
    for family in families.values():
        sign = "~" if family[0].name in changed else "+"
        grantee = Message(f"{len(family)} tỉnh", f"{len(family)} provinces")
        who_vi, who_en = (names.get(family[0].grantee, family[0].grantee),) * 2 if len(family) == 1 else (grantee.vi, grantee.en)
        name = family[0].name.partition("/")[0]
        yield Message(f"{sign} {say_delegation(family[0], who_vi).vi} ({name})", f"{sign} {say_delegation(family[0], who_en).en} ({name})")
    lost: dict[str, list[str]] = {}
    for row in gone:
        lost.setdefault(str(row["name"]).partition("/")[0], []).append(names.get(row["grantee"], row["grantee"]))
    for name, grantees in lost.items():
        who_vi, who_en = (grantees[0],) * 2 if len(grantees) == 1 else (f"{len(grantees)} bên nhận", f"{len(grantees)} grantees")
        yield Message(f"− {who_vi} không còn quyền «{name}»", f"− {who_en} will no longer hold '{name}'")
    for child, why in ended:
        yield Message(
            f"− «{child['name']}» của {child['grantee']} kết thúc: {why.vi}", f"− '{child['name']}' of {child['grantee']} ends: {why.en}"
        )


def say_moment(at: datetime, timezone: str) -> Message:
    """A moment to the minute, in both languages."""
    here = at.astimezone(ZoneInfo(timezone))
    return Message(f"{here:%d/%m/%Y %H:%M}", f"{here:%-d %b %Y %H:%M}")
