"""Who can hold a delegation: the groups of the system, the provinces of the registry, organisations, and people.

Answers for: one id, one database role and one name each, and who takes a province's place after a merger. People come from
`people.py`; the others are data: the registry, and `organisations.yaml` beside the delegations.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo

from expectations.document import Cursor, parse_document, read_text
from expectations.faults import Message, SetupFault
from warehouse.provinces import Registry

if TYPE_CHECKING:
    from sqlalchemy import Connection

Kind = Literal["group", "province", "organisation", "person"]
ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
CENTRE, PUBLIC, AUDITOR = "centre", "public", "auditor"
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Grantee:
    """Who can hold a delegation. `valid_from` and `valid_until` (its last day) are of provinces; `heir_id` takes its place."""

    id: str
    role: str
    kind: Kind
    name: str
    province_id: str | None = None
    valid_from: date | None = None
    valid_until: date | None = None
    heir_id: str | None = None

    def lives_on(self, day: date) -> bool:
        return (self.valid_from is None or self.valid_from <= day) and (self.valid_until is None or day <= self.valid_until)


GROUPS = (
    Grantee(CENTRE, "ndc_centre", "group", "Trung tâm"),
    Grantee(PUBLIC, "ndc_public", "group", "Công chúng"),
    Grantee(AUDITOR, "ndc_auditor", "group", "Kiểm toán"),
)


def role_name(kind: Kind, grantee_id: str) -> str:
    """The database role of an id. Raises `SetupFault` when it would be too long for PostgreSQL (63 bytes)."""
    prefix = {"province": "ndc_province_", "organisation": "ndc_org_"}.get(kind, "")
    role = prefix + grantee_id.replace("-", "_")
    if len(role) > 63:
        raise SetupFault(Message(f"«{grantee_id}» quá dài cho một vai trò.", f"'{grantee_id}' is too long for the name of a role."))
    return role


def provinces_as_grantees(registry: Registry) -> tuple[Grantee, ...]:
    """Every province that the registry knows, ended ones included: what was given to them goes on to their heirs."""
    found = []
    for province_id in registry.ids:
        periods = [row for row in registry.rows if row.province_id == province_id]
        first, last = min(periods, key=lambda p: p.valid_from), max(periods, key=lambda p: p.valid_from)
        role = role_name("province", province_id)
        found.append(
            Grantee(province_id, role, "province", last.full_name, province_id, first.valid_from, last.valid_to, last.successor_id or None)
        )
    return tuple(found)


def load_organisations(file: Path, registry: Registry) -> tuple[Grantee, ...]:
    """The organisations of a file; none when there is no file. Raises `SetupFault` with file and line."""
    if not file.exists():
        return ()
    whole = parse_document(read_text(file), file)
    found: dict[str, Grantee] = {}
    for item in whole.take("organisations").items():
        organisation = item.group(lambda cursor: _organisation(cursor, registry))
        if organisation.id in found:
            item.fault(f"«{organisation.id}» xuất hiện hai lần.", f"'{organisation.id}' stands here twice.")
        found[organisation.id] = organisation
    whole.done()
    return tuple(found.values())


def _organisation(cursor: Cursor, registry: Registry) -> Grantee:
    at = cursor.take("id")
    if not ID.fullmatch(at.text()):
        at.fault("id chỉ gồm chữ thường không dấu, số và gạch nối.", "an id is small letters without marks, digits and hyphens.")
    if registry.exists(at.text()) or at.text() in (g.id for g in GROUPS):
        at.fault(f"«{at.text()}» đã là một tỉnh hoặc nhóm.", f"'{at.text()}' is a province or a group already.")
    province = cursor.find("province")
    if province is not None and not registry.exists(province.text()):
        province.one_of(registry.ids)
    return Grantee(
        at.text(),
        role_name("organisation", at.text()),
        "organisation",
        cursor.take("name").text(),
        province.text() if province else None,
    )


def starts(day: date, timezone: str) -> datetime:
    """The first moment of a day. Raises `SetupFault` for a day that no calendar of ours has."""
    if not 1900 <= day.year <= 9997:
        raise SetupFault(
            Message(f"ngày {day} không nằm giữa năm 1900 và 9997.", f"the day {day} is not between 1900 and 9997."), rule="day"
        )
    return datetime.combine(day, time(), ZoneInfo(timezone)).astimezone(UTC)


def ends(day: date, timezone: str) -> datetime:
    """The first moment after a day."""
    starts(day, timezone)
    return datetime.combine(day + _DAY, time(), ZoneInfo(timezone)).astimezone(UTC)


def enter_grantees(connection: Connection, grantees: Sequence[Grantee], timezone: str) -> None:
    """Bring control.grantee to these groups, provinces and organisations; people are left alone.

    Raises `SetupFault` for an id that is, or was, somebody else's: who held a delegation must stay known.
    """
    from sqlalchemy import text

    there = {row.id: row for row in connection.execute(text("SELECT id, kind, name, province_id, ended_at FROM control.grantee"))}
    for g in grantees:
        was = there.get(g.id)
        if was is not None and (was.kind != g.kind or _is_another(was, g)):
            raise SetupFault(
                Message(
                    f"id «{g.id}» đang hoặc đã là của bên khác ({was.name}); hãy chọn id mới.",
                    f"the id '{g.id}' is or was somebody else's ({was.name}); choose another.",
                ),
                rule="grantee",
            )
    connection.execute(
        text(
            "INSERT INTO control.grantee AS g (id, role, kind, name, province_id, valid_from, valid_until, heir_id) "
            "VALUES (:id, :role, :kind, :name, :province_id, :valid_from, :valid_until, :heir_id) ON CONFLICT (id) DO UPDATE SET "
            "kind = excluded.kind, name = excluded.name, province_id = excluded.province_id, valid_from = excluded.valid_from, "
            "valid_until = excluded.valid_until, heir_id = excluded.heir_id, ended_at = NULL "
            "WHERE (g.kind, g.name, g.province_id, g.valid_from, g.valid_until, g.heir_id, g.ended_at) IS DISTINCT FROM "
            "(excluded.kind, excluded.name, excluded.province_id, excluded.valid_from, excluded.valid_until, excluded.heir_id, NULL)"
        ),
        [
            {
                "id": g.id,
                "role": g.role,
                "kind": g.kind,
                "name": g.name,
                "province_id": g.province_id,
                "valid_from": g.valid_from and starts(g.valid_from, timezone),
                "valid_until": g.valid_until and ends(g.valid_until, timezone),
                "heir_id": g.heir_id,
            }
            for g in grantees
        ],
    )
    connection.execute(
        text("UPDATE control.grantee SET ended_at = now() WHERE ended_at IS NULL AND kind <> 'person' AND id <> ALL (:ids)"),
        {"ids": [g.id for g in grantees]},
    )


def _is_another(was: Any, organisation: Grantee) -> bool:
    """Another organisation under an old id: of another province, or once ended and now of another name."""
    return was.kind == "organisation" and (
        was.province_id != organisation.province_id or (was.ended_at is not None and was.name != organisation.name)
    )


def ensure_group_roles(connection: Connection, grantees: Iterable[Grantee], day: date) -> None:
    """Create the roles of those that live on `day` or later; nobody logs in as one. Runs as the administrator."""
    from sqlalchemy import text

    quote = connection.dialect.identifier_preparer.quote
    there = set(connection.execute(text("SELECT rolname FROM pg_roles")).scalars())
    for grantee in grantees:
        if grantee.role not in there and (grantee.valid_until is None or grantee.valid_until >= day):
            role = quote(grantee.role)
            connection.execute(
                text(f"DO $$ BEGIN CREATE ROLE {role} NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$")
            )


def people(connection: Connection) -> tuple[Grantee, ...]:
    """Those who have a login, as control.grantee knows them."""
    from sqlalchemy import text

    rows = connection.execute(
        text("SELECT id, role, name, province_id FROM control.grantee WHERE kind = 'person' AND ended_at IS NULL ORDER BY id")
    )
    return tuple(Grantee(row.id, row.role, "person", row.name, row.province_id) for row in rows)
