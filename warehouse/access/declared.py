"""Delegations as people declare them: YAML files, read and resolved to one row for each grantee.

Answers for: every mistake names its file and line, and all of them are told at once. A file's name says who grants; only the
centre's file may record what somebody else granted. Refuses: codes in place of province ids, because codes change their meaning.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

from expectations.contract import Contract
from expectations.document import Cursor, parse_document, read_text, suggestion
from expectations.faults import Message, SetupFault
from warehouse.access.grantees import CENTRE, GROUPS, ID, PUBLIC, Grantee
from warehouse.provinces import Registry

EACH_PROVINCE, ALL, OWN, NONE = "each-province", "all", "own", "none"


@dataclass(frozen=True, slots=True)
class Delegation:
    """One grant to one grantee, as a row of control.delegation. None stands for all; `in_clear` holds `dataset.field`.

    `until` is its last day. `periods_from` and `periods_until` bound the rows to the periods in which the commune codes mean
    what they are meant to mean. `source` is where it is declared.
    """

    name: str
    grantor: str
    grantee: str
    datasets: tuple[str, ...] | None
    provinces: tuple[str, ...] | None
    communes: tuple[str, ...] | None
    periods_from: date | None
    periods_until: date | None
    in_clear: tuple[str, ...] | None
    is_own: bool
    shares_workspace: bool
    start: date
    until: date | None
    may_redelegate: bool
    purpose: str
    legal_basis: str
    source: str


@dataclass(frozen=True, slots=True)
class World:
    """What delegations may name."""

    registry: Registry
    contracts: Mapping[str, Contract]
    grantees: Mapping[str, Grantee]


def load_delegations(folder: Path, world: World) -> tuple[Delegation, ...]:
    """All delegations of the files in `folder`. Raises `SetupFault` with every mistake, each with its file and line."""
    found: list[Delegation] = []
    mistakes: list[Message] = []
    places: dict[str, Cursor] = {}
    _refuse_missing(folder)
    for file in sorted(folder.glob("*.yaml")):
        try:
            whole = parse_document(read_text(file), file)
            items = list(whole.take("delegations").items())
            whole.done()
            grantor = _grantor_of(file, whole, world)
        except SetupFault as fault:
            mistakes.append(fault.message)
            continue
        for item in items:
            try:
                rows = item.group(partial(_resolve_all, owner=grantor, world=world))
                for row in rows:
                    _refuse_contradictions(item, row, found, places)
                    places.setdefault(row.name, item)
                found += rows
            except SetupFault as fault:
                mistakes.append(fault.message)
    if mistakes:
        raise SetupFault(Message("\n".join(m.vi for m in mistakes), "\n".join(m.en for m in mistakes)), rule="delegation")
    return tuple(found)


def _refuse_missing(folder: Path) -> None:
    """A folder that is not there would otherwise read as one that takes every delegation back."""
    central = folder / f"{CENTRE}.yaml"
    if not central.is_file():
        raise SetupFault(
            Message(
                f"{central}: không có tệp này; thiếu nó thì mọi phân quyền sẽ bị thu hồi. Xem NDC_ACCESS. Muốn thu hồi thật, hãy ghi: delegations: []",
                f"{central}: there is no such file, and without it every delegation would end. See NDC_ACCESS. If that is meant, write: delegations: []",
            ),
            rule="delegation",
        )
    for file in folder.iterdir():
        if file.is_file() and file.suffix != ".yaml" and not file.name.startswith("."):
            raise SetupFault(
                Message(f"{file}: tệp phân quyền phải có đuôi .yaml.", f"{file}: files of delegations end in .yaml."), rule="delegation"
            )


def _grantor_of(file: Path, whole: Cursor, world: World) -> str:
    name = file.name.removesuffix(".yaml")
    if name != CENTRE and name not in world.grantees:
        near = suggestion(name, [CENTRE, *world.grantees])
        whole.fault(
            f"tên tệp phải là người giao: «{name}» không phải trung tâm, tỉnh hay cơ quan nào.{near[0]}",
            f"the file's name says who grants: '{name}' is no centre, province or organisation.{near[1]}",
        )
    return name


# ---------------------------------------------------------------- one entry


def _resolve_all(cursor: Cursor, owner: str, world: World) -> list[Delegation]:
    return list(_resolve(cursor, owner, world))


def _resolve(cursor: Cursor, owner: str, world: World) -> Iterator[Delegation]:
    """The rows of one entry: one, or one for each province."""
    at_id = cursor.take("id")
    if not ID.fullmatch(at_id.text()):
        at_id.fault("id chỉ gồm chữ thường không dấu, số và gạch nối.", "an id is small letters without marks, digits and hyphens.")
    grantor = _grantor(cursor, owner, world)
    grantees = _grantees(cursor.take("grantee"), grantor, world)
    datasets = _datasets(cursor.take("datasets"), world)
    at_provinces = cursor.take("provinces")
    communes = cursor.find("communes")
    in_clear = _in_clear(cursor.find("columns"), datasets, world)
    start, until = cursor.take("from"), cursor.find("until")
    first, last = _day(start), _day(until) if until else None
    if until and last and last < first:
        until.fault(f"until {last:%d/%m/%Y} trước from {first:%d/%m/%Y}.", f"until {last} is before from {first}.")
    if communes and datasets is not None:
        for dataset in datasets:
            if world.contracts[dataset].commune_field is None:
                communes.fault(
                    f"tập «{dataset}» không có cột xã, không giới hạn theo xã được.",
                    f"the dataset '{dataset}' has no commune column, so it cannot be limited to communes.",
                )
    shares, may_redelegate = cursor.flag_at("workspace"), cursor.flag_at("may_redelegate")
    purpose, legal_basis = _said(cursor.take("purpose")), _said(cursor.take("legal_basis"))
    for grantee in grantees:
        provinces = _provinces(at_provinces, grantee, world)
        bounds = _commune_bounds(communes, provinces, first, world) if communes else (None, None, None)
        yield Delegation(
            name=at_id.text() if len(grantees) == 1 else f"{at_id.text()}/{grantee.id}",
            grantor=grantor,
            grantee=grantee.id,
            datasets=datasets,
            provinces=provinces,
            communes=bounds[0],
            periods_from=bounds[1],
            periods_until=bounds[2],
            in_clear=in_clear,
            is_own=at_provinces.value == OWN and grantee.kind == "province" and datasets is None and communes is None and grantor == CENTRE,
            shares_workspace=shares,
            start=first,
            until=last,
            may_redelegate=may_redelegate,
            purpose=purpose,
            legal_basis=legal_basis,
            source=f"{cursor.file.name}:{cursor.line}",
        )


def _said(cursor: Cursor) -> str:
    if not cursor.text().strip():
        cursor.fault("không được để trống.", "this must not be empty.")
    if any(unicodedata.category(letter) == "Cc" for letter in cursor.text().strip()):
        cursor.fault("có ký tự điều khiển.", "this holds a control character.")
    return cursor.text().strip()


def _day(cursor: Cursor) -> date:
    if not isinstance(cursor.value, date) or hasattr(cursor.value, "hour"):
        cursor.fault("cần một ngày, dạng 2026-12-31.", "a day is needed, such as 2026-12-31.")
    if not 1900 <= cursor.value.year <= 9997:
        cursor.fault(
            "năm phải từ 1900 đến 9997; không có ngày hết thì bỏ until.",
            "a year lies between 1900 and 9997; without an end leave out until.",
        )
    return cursor.value


def _grantor(cursor: Cursor, owner: str, world: World) -> str:
    said = cursor.find("grantor")
    if said is None:
        return owner
    grantor = _known(said, world)
    if owner not in (CENTRE, grantor.id):
        said.fault(
            f"tệp này là của «{owner}», không giao thay «{grantor.id}» được; chỉ trung tâm ghi hộ.",
            f"this file is that of '{owner}', which cannot grant in the name of '{grantor.id}'; only the centre records for others.",
        )
    return grantor.id


def _grantees(cursor: Cursor, grantor: str, world: World) -> tuple[Grantee, ...]:
    if cursor.text() == EACH_PROVINCE:
        return tuple(g for g in world.grantees.values() if g.kind == "province")
    grantee = _known(cursor, world)
    if grantee.id == PUBLIC:
        cursor.fault(
            "công chúng chỉ thấy dữ liệu mở đã công bố; không phân quyền trên dòng dữ liệu.",
            "the public sees publications only; rows are not delegated to it.",
        )
    if grantee.id == grantor != CENTRE:
        cursor.fault(f"«{grantor}» giao cho chính mình.", f"'{grantor}' grants to itself.")
    return (grantee,)


def _known(cursor: Cursor, world: World) -> Grantee:
    """The grantee of an id, or of the name of its role."""
    said = cursor.text()
    for grantee in (*GROUPS, *world.grantees.values()):
        if said in (grantee.id, grantee.role):
            return grantee
    near = suggestion(said, [EACH_PROVINCE, *(g.id for g in GROUPS), *world.grantees])
    cursor.fault(
        f"không có tỉnh, cơ quan hay người «{said}»; cơ quan khai trong organisations.yaml, người thêm bằng: ndc people add.{near[0]}",
        f"there is no province, organisation or person '{said}'; organisations stand in organisations.yaml, people come by: ndc people add.{near[1]}",
    )


def _datasets(cursor: Cursor, world: World) -> tuple[str, ...] | None:
    if cursor.value == ALL:
        return None
    return _several(cursor, [item.one_of(sorted(world.contracts)) for item in _each(cursor)])


def _each(cursor: Cursor) -> list[Cursor]:
    """The items of a list; one text alone counts as a list of one."""
    return [cursor] if isinstance(cursor.value, str) else list(cursor.items())


def _several(cursor: Cursor, values: Sequence[str]) -> tuple[str, ...]:
    if not values:
        cursor.fault("danh sách trống.", "the list is empty.")
    return tuple(dict.fromkeys(values))


def _provinces(cursor: Cursor, grantee: Grantee, world: World) -> tuple[str, ...] | None:
    if cursor.value == ALL:
        return None
    if cursor.value == OWN:
        if grantee.province_id is None:
            cursor.fault(
                f"«{grantee.id}» không thuộc tỉnh nào; hãy nêu tên các tỉnh.", f"'{grantee.id}' belongs to no province; name the provinces."
            )
        return own_provinces(grantee.province_id, world.registry)
    return _several(cursor, [_province(item, world.registry) for item in _each(cursor)])


def own_provinces(province_id: str, registry: Registry) -> tuple[str, ...]:
    """A province and all that went into it."""
    return tuple(sorted({province_id, *registry.predecessors(province_id)}))


def _province(cursor: Cursor, registry: Registry) -> str:
    said = cursor.text() if isinstance(cursor.value, str) else str(cursor.value)
    if registry.exists(said):
        return said
    meanings = [c for c in registry.codes if c.code == said]
    if meanings:
        told = "; ".join(f"{c.province_id} ({c.valid_from} – {c.valid_to or '…'})" for c in meanings)
        cursor.fault(
            f"«{said}» là mã, và mã đổi nghĩa: {told}. Hãy viết province_id.",
            f"'{said}' is a code, and codes change their meaning: {told}. Write the province_id.",
        )
    near = suggestion(said, registry.ids)
    cursor.fault(f"không có tỉnh «{said}».{near[0]}", f"there is no province '{said}'.{near[1]}")


def _commune_bounds(
    cursor: Cursor, provinces: Sequence[str] | None, day: date, world: World
) -> tuple[tuple[str, ...], date | None, date | None]:
    """The commune codes as they are meant on `day`, and the periods in which they mean just that."""
    codes = _several(cursor, [item.text() for item in _each(cursor)])
    try:
        first, last = commune_bounds(world.registry, provinces, codes, day)
    except SetupFault as fault:
        cursor.fault(fault.message.vi, fault.message.en)
    return codes, first, last


def commune_bounds(registry: Registry, provinces: Sequence[str] | None, codes: Sequence[str], day: date) -> tuple[date | None, date | None]:
    """The periods in which all these commune codes mean what they mean on `day`. Raises `SetupFault` for one that means nothing."""
    first, last = date.min, date.max
    for code in codes:
        meaning = _commune_meaning(registry, provinces, code, day)
        if meaning is None:
            raise SetupFault(
                Message(
                    f"không có xã mã «{code}» trong các tỉnh đã nêu vào ngày {day:%d/%m/%Y}.",
                    f"no commune of these provinces has the code '{code}' on {day}.",
                ),
                rule="delegation",
            )
        first, last = max(first, meaning[0]), min(last, meaning[1] or date.max)
    return first, None if last == date.max else last


def _commune_meaning(registry: Registry, provinces: Sequence[str] | None, code: str, day: date) -> tuple[date, date | None] | None:
    """From when to when a commune code means what it means on `day` in one of the provinces; None when it means nothing there.

    A day before the list of communes begins is answered as its first day.
    """
    start = registry.communes_from
    if start is None:
        return None
    for commune in registry.communes(provinces if provinces is not None else registry.ids):
        if (
            commune.code == code
            and commune.valid_from <= max(day, start)
            and (commune.valid_to is None or max(day, start) <= commune.valid_to)
        ):
            return commune.valid_from, commune.valid_to
    return None


def _in_clear(columns: Cursor | None, datasets: tuple[str, ...] | None, world: World) -> tuple[str, ...] | None:
    if columns is None:
        return ()
    cursor = columns.group(lambda c: c.take("in_clear"))
    if cursor.value == ALL:
        return None
    if cursor.value == NONE:
        return ()
    named = datasets if datasets is not None else tuple(sorted(world.contracts))
    restricted = {f"{d}.{f.name}": f.name for d in named for f in world.contracts[d].restricted_fields}
    found: list[str] = []
    for item in _each(cursor):
        matching = [full for full, field in restricted.items() if item.text() in (full, field)]
        if not matching:
            near = suggestion(item.text(), list(restricted.values()))
            item.fault(
                f"không có trường hạn chế «{item.text()}» trong các tập đã nêu; trường khác vốn đã thấy.{near[0]}",
                f"these datasets have no restricted field '{item.text()}'; other fields are seen anyway.{near[1]}",
            )
        found += matching
    return tuple(sorted(set(found)))


# ---------------------------------------------------------------- entries beside each other


def _refuse_contradictions(item: Cursor, row: Delegation, others: Sequence[Delegation], places: Mapping[str, Cursor]) -> None:
    """Two entries of one id, or two that say different things of the same rows for the same grantee."""
    for other in others:
        if other.name == row.name or (
            (other.grantor, other.grantee, other.datasets, other.provinces, other.communes)
            == (row.grantor, row.grantee, row.datasets, row.provinces, row.communes)
        ):
            place = places[other.name]
            same = other.name == row.name
            item.fault(
                f"«{row.name}» {'trùng id với' if same else 'nói về cùng các dòng cho cùng người nhận, trái với'} {place.file}:{place.line}.",
                f"'{row.name}' {'has the same id as' if same else 'speaks of the same rows for the same grantee and contradicts'} {place.file}:{place.line}.",
            )
