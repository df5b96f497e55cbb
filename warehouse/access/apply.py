"""Declared delegations beside those that live in the database: the difference shown, then carried out in one transaction.

Answers for: nothing is applied unless all compiles; only what changes is touched; what somebody changed by hand is found and
mended. The compiler itself is `functions.sql`, so a plan is what the database would do, tried and rolled back.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from expectations.faults import MachineFault, Message, SetupFault
from warehouse.access.declared import Delegation
from warehouse.access.grantees import CENTRE, Grantee, ends, enter_grantees, starts
from warehouse.access.words import say_difference, say_parts
from warehouse.engine import run_script

if TYPE_CHECKING:
    from sqlalchemy import Connection

LOCK_WAIT = "20s"
FUNCTIONS = (Path(__file__).with_name("functions.sql"), Path(__file__).parent.with_name("leaves.sql"))
_TERMS = (
    "name, grantor, grantee, datasets, provinces, communes, periods_from, periods_until, in_clear, is_own, from_at, until_at, "
    "may_redelegate, purpose, legal_basis"
)


_END_OF_THE_ENDED = (
    "UPDATE control.delegation SET revoked_at = now(), revoked_by = session_user, revoked_because = 'its holder has ended' WHERE revoked_at IS NULL "
    "AND grantee IN (SELECT id FROM control.grantee WHERE ended_at IS NOT NULL)"
)
_END_OF_THE_PAST = (
    "UPDATE control.delegation SET revoked_at = now(), revoked_by = session_user, revoked_because = 'its last day has passed' "
    "WHERE revoked_at IS NULL AND until_at <= now()"
)
_ENDED_NOW = "SELECT array_agg(delegation_id) FROM control.delegation WHERE revoked_at = now() AND revoked_because NOT IN ('its last day has passed', 'replaced')"
"""What this transaction has ended, but for what ends by its own policy, and what goes on in another form."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """What the files say: who there is, and who grants what to whom. `timezone` is that of the days."""

    grantees: tuple[Grantee, ...]
    delegations: tuple[Delegation, ...]
    timezone: str


@dataclass(frozen=True, slots=True)
class AccessPlan:
    """What is to be done: in words, and as SQL. `drift` is what differs already, without any change of a declaration. `is_cut`: tables
    were busy, so what ends was cut off, and the statements wait for the next time."""

    said: tuple[Message, ...]
    drift: tuple[str, ...]
    statements: tuple[str, ...]
    is_cut: bool = False

    @property
    def is_empty(self) -> bool:
        return not self.said and not self.statements


def install_functions(connection: Connection) -> None:
    """Have the database's functions, the compiler's and those of a load, as this version of the code has them."""
    for file in FUNCTIONS:
        run_script(connection, file.read_text())


def plan_access(connection: Connection, declaration: Declaration) -> AccessPlan:
    """What `apply_declaration` would do; nothing stays. Raises `SetupFault` with every delegation that does not compile."""
    attempt = connection.begin_nested()
    try:
        return _enter(connection, declaration)
    finally:
        attempt.rollback()


def apply_declaration(connection: Connection, declaration: Declaration, actor: str | None = None) -> AccessPlan:
    """Make the database follow the declaration, in the caller's transaction as ndc_owner.

    Raises `SetupFault` when a delegation does not compile, `MachineFault` when tables stay busy; then nothing is changed. But what
    the declaration ends, no busy table keeps alive: its grantees lose the tables whole, and the rest waits for the next time.
    """
    from sqlalchemy import text
    from sqlalchemy.exc import OperationalError

    connection.execute(text("SELECT set_config('ndc.actor', :actor, true)"), {"actor": actor or ""})
    done = _enter(connection, declaration)
    attempt = connection.begin_nested()
    try:
        connection.execute(text("SELECT control.apply_access()"))
        attempt.commit()
    except OperationalError as error:
        attempt.rollback()
        if getattr(error.orig, "sqlstate", "") != "55P03":
            raise
        if not (ended := connection.execute(text(_ENDED_NOW)).scalar_one()):
            raise busy() from error
        connection.execute(text("SELECT control.end_access(:ended)"), {"ended": ended})
        return replace(done, is_cut=True)
    return done


def busy() -> MachineFault:
    return MachineFault(
        Message(
            "Các bảng đang bận với truy vấn dài, hoặc ai đó đang đổi quyền; chưa có gì thay đổi, hãy chạy lại.",
            "Long queries keep the tables busy, or somebody is changing access; nothing was changed, run it again.",
        ),
        rule="tables-busy",
    )


def set_zone(connection: Connection, timezone: str) -> None:
    """Tell the database in which zone the installation's days begin, whatever a session's own is."""
    zone = timezone.replace("'", "''").replace("'", "''")
    run_script(
        connection,
        "CREATE OR REPLACE FUNCTION control.site_zone() RETURNS text LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp "
        f"AS 'SELECT ''{ZoneInfo(zone).key}''::text'",
    )


def end_delegation(connection: Connection, name: str, grantor: str, because: str, actor: str) -> int:
    """End a delegation that `grantor` gave with its own login, and all that hang on it, in the centre's name; returns how many ended.

    Raises `SetupFault` when there is none such.
    """
    from sqlalchemy import text
    from sqlalchemy.exc import DBAPIError

    wait_for_turn(connection)
    count = text("SELECT count(*) FROM control.delegation WHERE revoked_at IS NULL")
    before = connection.execute(count).scalar_one()
    connection.execute(text("SELECT set_config('ndc.actor', :actor, true)"), {"actor": actor})
    end = text(
        "UPDATE control.delegation SET revoked_at = now(), revoked_by = session_user, revoked_because = :because "
        "WHERE name = :name AND grantor = :grantor AND NOT is_declared AND revoked_at IS NULL RETURNING delegation_id"
    )
    try:
        found = connection.execute(end, {"name": name, "grantor": grantor, "because": because}).all()
    except DBAPIError as error:
        if (message := refusal(error.orig)) is None:
            raise
        raise SetupFault(message, rule="delegation") from error
    if not found:
        raise SetupFault(
            Message(
                f"«{grantor}» không có phân quyền tự giao nào mang tên «{name}»; xem: ndc delegations list. Quyền khai báo trong tệp thì sửa tệp.",
                f"'{grantor}' gave no live delegation of the name '{name}'; see: ndc delegations list. Declared ones are ended in their file.",
            ),
            rule="delegation",
        )
    ids = "SELECT array_agg(delegation_id) FROM control.delegation WHERE revoked_at = now()"
    connection.execute(text(f"SELECT control.end_access(({ids}))"))
    return int(before - connection.execute(count).scalar_one())


def drift(connection: Connection) -> tuple[str, ...]:
    """The SQL that would mend what differs from what the live delegations ask for."""
    from sqlalchemy import text

    return tuple(connection.execute(text("SELECT statement FROM control.access_drift()")).scalars())


def all_delegations(connection: Connection, *, ended: bool = False) -> list[dict[str, Any]]:
    """The rows of control.delegation, those that have ended only when asked for."""
    from sqlalchemy import text

    live = "" if ended else "WHERE revoked_at IS NULL AND (until_at IS NULL OR until_at > now())"
    return [dict(row) for row in connection.execute(text(f"SELECT * FROM control.delegation {live} ORDER BY delegation_id")).mappings()]


# ---------------------------------------------------------------- the rows of control.delegation


def _enter(connection: Connection, declaration: Declaration) -> AccessPlan:
    from sqlalchemy import text

    wait_for_turn(connection)
    before = drift(connection)
    connection.execute(text(_END_OF_THE_ENDED))
    enter_grantees(connection, declaration.grantees, declaration.timezone)
    connection.execute(text(_END_OF_THE_ENDED))
    connection.execute(text(_END_OF_THE_PAST))
    connection.execute(text("SELECT control.end_orphans()"))
    connection.execute(text("ANALYZE control.grantee, control.delegation"))  # or a thousand new ones are walked through by guesswork
    now = connection.execute(text("SELECT now()")).scalar_one()
    today = now.astimezone(ZoneInfo(declaration.timezone)).date()
    names = {g.id: g.name for g in declaration.grantees if g.valid_until is None or g.valid_until >= today}
    live = _live(connection)
    wanted = {d.name: d for d in declaration.delegations if d.until is None or ends(d.until, declaration.timezone) > now}
    rows = {name: _terms(d, declaration.timezone) for name, d in wanted.items()}
    same = {name for name, row in rows.items() if name in live and _same(row, live[name])}
    gone, changed = [n for n in live if n not in rows], [n for n in live if n in rows and n not in same]
    orphans = _children(connection, [live[name]["delegation_id"] for name in changed])
    _end(connection, gone, "no longer declared")
    connection.execute(text("SELECT set_config('ndc.replacing', 'on', true)"))  # their children are looked after below
    _end(connection, changed, "replaced")
    connection.execute(text("SELECT set_config('ndc.replacing', 'off', true)"))
    new = [name for name in rows if name not in same]
    mistakes = _insert(connection, [(wanted[name], rows[name]) for name in new])
    mistakes += _conflicts(connection, wanted)
    if mistakes:
        raise SetupFault(Message("\n".join(m.vi for m in mistakes), "\n".join(m.en for m in mistakes)), rule="delegation")
    ended = _adopt(connection, orphans)
    if mistakes := _lost(connection, wanted, ended):
        raise SetupFault(Message("\n".join(m.vi for m in mistakes), "\n".join(m.en for m in mistakes)), rule="delegation")
    said = say_difference([wanted[n] for n in new], set(changed), [live[n] for n in gone], ended, names)
    after = drift(connection)
    return AccessPlan(tuple(said), before, after)


def wait_for_turn(connection: Connection) -> None:
    """Until the transaction ends nobody else changes access. Raises `MachineFault` when somebody keeps a change open."""
    from sqlalchemy import text
    from sqlalchemy.exc import OperationalError

    try:
        connection.execute(text("SELECT set_config('lock_timeout', :wait, true)"), {"wait": LOCK_WAIT})
        connection.execute(text("SELECT pg_advisory_xact_lock(11)"))
        connection.execute(text("SELECT set_config('lock_timeout', '0', true)"))
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", "") != "55P03":
            raise
        raise busy() from error


def _terms(delegation: Delegation, timezone: str) -> dict[str, Any]:
    """A delegation as the columns of its row."""
    return {
        "name": delegation.name,
        "grantor": delegation.grantor,
        "grantee": delegation.grantee,
        "datasets": _sorted(delegation.datasets),
        "provinces": _sorted(delegation.provinces),
        "communes": _sorted(delegation.communes),
        "periods_from": delegation.periods_from,
        "periods_until": delegation.periods_until,
        "in_clear": _sorted(delegation.in_clear),
        "is_own": delegation.is_own,
        "from_at": starts(delegation.start, timezone),
        "until_at": ends(delegation.until, timezone) if delegation.until else None,
        "may_redelegate": delegation.may_redelegate,
        "purpose": delegation.purpose,
        "legal_basis": delegation.legal_basis,
        "shares_workspace": delegation.shares_workspace,
    }


def _sorted(values: Sequence[str] | None) -> list[str] | None:
    return None if values is None else sorted(values)


def _live(connection: Connection) -> dict[str, dict[str, Any]]:
    from sqlalchemy import text

    query = f"SELECT delegation_id, {_TERMS}, workspace_of IS NOT NULL AS shares_workspace FROM control.delegation WHERE is_declared AND revoked_at IS NULL"
    return {row["name"]: dict(row) for row in connection.execute(text(query)).mappings()}


def _same(wanted: dict[str, Any], live: dict[str, Any]) -> bool:
    return all(live[key] == value for key, value in wanted.items())


def _end(connection: Connection, names: Sequence[str], because: str) -> None:
    from sqlalchemy import text

    connection.execute(
        text(
            "UPDATE control.delegation SET revoked_at = now(), revoked_by = session_user, revoked_because = :because "
            "WHERE is_declared AND revoked_at IS NULL AND name = ANY (:names)"
        ),
        {"names": list(names), "because": because},
    )


def _insert(connection: Connection, new: Sequence[tuple[Delegation, dict[str, Any]]]) -> list[Message]:
    """Enter delegations, those of the centre first; what hangs on another declared one waits for it."""
    waiting = sorted(new, key=lambda pair: pair[0].grantor != CENTRE)
    mistakes: list[Message] = []
    while waiting:
        refused: list[tuple[Delegation, dict[str, Any]]] = []
        mistakes = []
        for delegation, row in waiting:
            mistake = _insert_one(connection, delegation, row)
            if mistake is not None:
                refused.append((delegation, row))
                mistakes.append(
                    Message(
                        f"{delegation.source}: {delegation.name}: {mistake.vi}", f"{delegation.source}: {delegation.name}: {mistake.en}"
                    )
                )
        if len(refused) == len(waiting):
            return mistakes
        waiting = refused
    return mistakes


def _insert_one(connection: Connection, delegation: Delegation, row: dict[str, Any]) -> Message | None:
    """Enter one delegation under its parent; why not, when it cannot be."""
    from sqlalchemy import text

    parent: dict[str, Any] = {"delegation_id": None, "workspace_of": None}
    if delegation.grantor != CENTRE:
        candidates = _candidates(connection, row)
        if not candidates:
            return Message(
                f"«{delegation.grantor}» không giữ phân quyền nào đang hiệu lực để giao lại.",
                f"'{delegation.grantor}' holds no live delegation to give on.",
            )
        parent = min(candidates, key=lambda c: len(c["wide"] or ""))
        if parent["wide"]:
            return say_parts(parent["name"], parent["wide"])
    elif delegation.shares_workspace:
        return Message("trung tâm không có vùng làm việc để chia sẻ.", "the centre has no workspace to share.")
    values = {**row, "parent_id": parent["delegation_id"], "workspace_of": parent["workspace_of"] if delegation.shares_workspace else None}
    with refusals(connection) as refused:
        connection.execute(
            text(
                f"INSERT INTO control.delegation (parent_id, workspace_of, is_declared, source, {_TERMS}) VALUES (:parent_id, :workspace_of, true, :source, "
                f"{', '.join(':' + name.strip() for name in _TERMS.split(','))})"
            ),
            {**values, "source": Path(delegation.source).name.rpartition(":")[0]},
        )
    return refused[0] if refused else None


def _candidates(connection: Connection, row: dict[str, Any]) -> list[dict[str, Any]]:
    """The declared ones that the grantor holds, for a file must not hang on what somebody takes back at will; and in what the row reaches beyond each."""
    from sqlalchemy import text

    query = (
        "SELECT d.delegation_id, d.name, CASE WHEN d.is_own THEN control.holder(d.grantee) ELSE d.workspace_of END AS workspace_of, control.too_wide(c, d) AS wide "
        "FROM jsonb_populate_record(NULL::control.delegation, CAST(:row AS jsonb)) c CROSS JOIN control.delegation d "
        "WHERE d.is_declared AND d.revoked_at IS NULL AND (d.until_at IS NULL OR d.until_at > now()) "
        "AND d.grantee = ANY (ARRAY(SELECT s.id FROM control.span() s WHERE s.holder_id = (SELECT control.holder(:grantor)))) "
        "ORDER BY d.grantee = c.grantor DESC, d.is_own DESC, d.delegation_id"
    )
    return [
        dict(found)
        for found in connection.execute(text(query), {"row": json.dumps(row, default=str), "grantor": row["grantor"]}).mappings()
    ]


def _children(connection: Connection, parents: Sequence[int]) -> list[dict[str, Any]]:
    """The live delegations below some that are about to be replaced."""
    from sqlalchemy import text

    query = (
        "SELECT c.delegation_id, c.name, c.grantee, p.name AS parent FROM control.delegation c JOIN control.delegation p ON p.delegation_id = c.parent_id "
        "WHERE c.revoked_at IS NULL AND p.delegation_id = ANY (:parents) ORDER BY c.delegation_id"
    )
    return [dict(row) for row in connection.execute(text(query), {"parents": list(parents)}).mappings()]


def _adopt(connection: Connection, orphans: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], Message]]:
    """Hang delegations below the new form of their parent; those that reach beyond it end. Returns them, and why."""
    from sqlalchemy import text

    ended = []
    for child in orphans:
        with refusals(connection) as refused:
            connection.execute(
                text(
                    "UPDATE control.delegation SET parent_id = (SELECT delegation_id FROM control.delegation WHERE name = :parent AND is_declared AND revoked_at IS NULL) "
                    "WHERE delegation_id = :delegation_id AND revoked_at IS NULL"
                ),
                child,
            )
        if refused:
            connection.execute(
                text(
                    "UPDATE control.delegation SET revoked_at = now(), revoked_by = session_user, revoked_because = :because "
                    "WHERE delegation_id = :delegation_id AND revoked_at IS NULL"
                ),
                {**child, "because": refused[0].en},
            )
            ended.append((child, refused[0]))
    return ended


def _lost(connection: Connection, wanted: dict[str, Delegation], ended: Sequence[tuple[dict[str, Any], Message]]) -> list[Message]:
    """Declared delegations that do not live because a changed or ended parent no longer holds them."""
    why = {child["name"]: reason for child, reason in ended}
    none_left = Message("quyền gốc của nó không còn.", "its parent is no more.")
    live = _live(connection)
    return [
        Message(f"{d.source}: {name}: {why.get(name, none_left).vi}", f"{d.source}: {name}: {why.get(name, none_left).en}")
        for name, d in wanted.items()
        if name not in live
    ]


def _conflicts(connection: Connection, wanted: dict[str, Delegation]) -> list[Message]:
    from sqlalchemy import text

    found = []
    for login, dataset, names in connection.execute(text("SELECT login, dataset, names FROM control.column_conflict()")):
        source = next((f"{d.source}: " for name, d in wanted.items() if f"{name} (" in names), "")
        found.append(say_conflict(source, login, dataset, names))
    return found


def say_conflict(source: str, login: str, dataset: str, names: str) -> Message:
    """Two delegations that show different restricted columns of one dataset to one role."""
    return Message(
        f"{source}trái nhau: «{login}» sẽ thấy rõ các cột khác nhau của {dataset} ({names}); cột được cấp theo vai trò, không theo dòng. "
        "Hãy cho cùng các cột, hoặc giao cho người khác.",
        f"{source}contradictory: '{login}' would see different columns of {dataset} in clear ({names}); columns are granted per role, not per row. "
        "Give the same columns, or give them to another grantee.",
    )


@contextmanager
def refusals(connection: Connection) -> Iterator[list[Message]]:
    """What the database's own checks of delegations refuse inside the block is undone and becomes a message."""
    from sqlalchemy.exc import DBAPIError

    refused: list[Message] = []
    attempt = connection.begin_nested()
    try:
        yield refused
        attempt.commit()
    except DBAPIError as error:
        attempt.rollback()
        message = refusal(error.orig)
        if message is None:
            raise
        refused.append(message)


def refusal(error: Any) -> Message | None:
    """The message of a check in functions.sql, or of a constraint on control.delegation; None for any other error."""
    state, said = getattr(error, "sqlstate", None) or "", getattr(getattr(error, "diag", None), "message_primary", None) or ""
    if state.startswith("ND"):
        vi, _, en = said.partition(" · ")
        return Message(vi, en or vi)
    if state == "25006":
        return Message(
            "phiên chỉ đọc, hoặc máy chủ dự phòng: không đổi quyền ở đây được.",
            "a read-only session or a standby server: access cannot be changed here.",
        )
    if state == "23514" and "ends_after_it_begins" in said:
        return Message("ngày kết thúc trước ngày bắt đầu.", "it ends before it begins.")
    if state == "23505" and "delegation_live_name" in said:
        return Message("đã có phân quyền đang hiệu lực mang tên này.", "there is a live delegation of this name already.")
    if state == "23514" and "days_of_a_calendar" in said:
        return Message("ngày phải từ năm 1900 đến 9998.", "days lie between the years 1900 and 9998.")
    if state == "23514" and "plain_words" in said:
        return Message(
            "tên và mã chỉ gồm chữ không dấu, số và . _ / -; nhiều nhất 5.000 xã.",
            "names and codes are letters, digits and . _ / -; 5,000 communes at most.",
        )
    if state == "23514" and "names_something" in said:
        return Message("danh sách trống hoặc có chỗ trống.", "a list is empty, or has an empty place in it.")
    if state in ("23514", "23502"):
        return Message(
            "thiếu mục đích, căn cứ pháp lý hoặc lý do, hoặc ở đó có ký tự điều khiển, hoặc quá 2.000 chữ.",
            "the purpose, the legal basis or the reason is missing, holds a control character, or is longer than 2,000 letters.",
        )
    return None
