"""People with a login of their own: added to the groups they belong to, disabled, listed.

Answers for: the login on the server and the rows that say whose it is change together or not at all, with the name of who did it.
Refuses: names that could be taken for a group or for SQL, a name that was somebody's before, groups that have ended, and groups
that would together show other columns in clear than each of them does.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from expectations.document import suggestion
from expectations.faults import MachineFault, Message, SetupFault
from warehouse.access.apply import LOCK_WAIT
from warehouse.access.grantees import ends
from warehouse.access.person_login import change_password, close_login, create_login, end_sessions, limits_of
from warehouse.engine import run_script

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from warehouse.engine import Warehouse

NAME = re.compile(r"(?!pg_|ndc_)[a-z][a-z0-9_]{1,30}")
_NOT_ROLES = ("public", "none")  # words that PostgreSQL keeps for itself where a role is named
_OWNED = "SELECT count(*) FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner WHERE r.rolname = :login AND c.relkind IN ('r', 'p', 'v', 'm', 'f')"

_NAME = Message(
    "«{login}» không dùng làm tên đăng nhập được: cần 2 đến 31 chữ thường không dấu, chữ số và _, bắt đầu bằng chữ; không phải từ khoá SQL, "
    "không bắt đầu bằng pg_ hay ndc_.",
    "'{login}' cannot be a login: 2 to 31 small letters without marks, digits and _, a letter first; no word of SQL, nothing that begins with pg_ or ndc_.",
)
_FULL_NAME = Message("--name trống hoặc có ký tự điều khiển.", "--name is empty or holds a control character.")
_TAKEN = Message(
    "Tên «{login}» đã có người, nhóm hoặc vai trò dùng; hãy chọn tên khác.",
    "The name '{login}' is taken by a person, a group or a role; choose another.",
)
_ENDED = Message(
    "«{login}» đã bị khoá ngày {day}; một tên không được cấp lại, để nhật ký luôn chỉ một người. Hãy chọn tên khác: ndc people add",
    "'{login}' was disabled on {day}; a name is never given again, so that it means one person in every log. Choose another: ndc people add",
)
_NO_GROUP = Message("Không có nhóm, tỉnh hay cơ quan «{asked}».", "There is no group, province or organisation '{asked}'.")
_OVER = Message("{name} ({id}) đã kết thúc.", "{name} ({id}) has ended.")
_OVER_HEIR = Message(
    "{name} ({id}) đã kết thúc; nay là {heir_name}: --role {heir}",
    "{name} ({id}) has ended; its place is taken by {heir_name}: --role {heir}",
)
_NO_ROLE = Message("Máy chủ chưa có vai trò {role}; hãy chạy: ndc migrate", "The server has no role {role} yet; run: ndc migrate")
_PAST = Message("Ngày {day} đã qua.", "{day} has passed.")
_NOBODY = Message("Không có người dùng «{login}».", "There is no person '{login}'.")
_NO_LOGIN = Message("Máy chủ không còn vai trò này ({said}).", "The server has this role no more ({said}).")
_BUSY = Message(
    "Một lệnh khác đang đổi quyền; chưa có gì thay đổi, hãy chạy lại.",
    "Another command is changing access; nothing was changed, run it again.",
)
_STILL_BUSY = Message(
    "«{login}» đã bị khoá, các phiên đã đóng; còn lại các policy của riêng người này, vì truy vấn dài đang giữ bảng. Hãy chạy lại.",
    "'{login}' is disabled and its sessions have ended; policies of its own are left, since long queries keep the tables busy. Run it again.",
)
_CONFLICT = Message(
    "Các nhóm của «{login}» thấy rõ các cột khác nhau của cùng một tập ({said}); cột được cấp theo người, không theo dòng, nên người này sẽ thấy "
    "tất cả ở mọi dòng. Hãy tạo mỗi nhóm một tài khoản, hoặc cho các nhóm cùng các cột.",
    "The groups of '{login}' see different columns of one dataset in clear ({said}); columns are granted per login, not per row, so all of them would "
    "be seen in every row. Make one login for each group, or give the groups the same columns.",
)
_NO_RIGHT = Message(
    "Tài khoản {login} không đủ quyền đổi vai trò ({said}). Cần superuser, hoặc CREATEROLE cùng ADMIN OPTION trên các nhóm ndc_* (tài khoản đã chạy ndc migrate).",
    "The login {login} may not change these roles ({said}). It must be a superuser, or have CREATEROLE and ADMIN OPTION on the groups ndc_* (the login that ran ndc migrate).",
)
_NOT_MIGRATED = Message("Kho dữ liệu chưa được cập nhật; hãy chạy: ndc migrate", "The warehouse is not migrated; run: ndc migrate")


@dataclass(frozen=True, slots=True)
class NewPerson:
    """Who is to be added. `groups` are ids or roles; `until` is the last day."""

    login: str
    groups: tuple[str, ...]
    name: str | None = None
    legal_basis: str | None = None
    until: date | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """One person, as control tables and server have it. `until` is the first moment after the last day."""

    login: str
    name: str
    groups: tuple[str, ...]
    province_id: str | None
    can_log_in: bool
    since: datetime | None
    until: datetime | None
    ended_at: datetime | None
    connections: int | None
    statement_timeout: str | None
    is_logged: bool


@dataclass(frozen=True, slots=True)
class Disabled:
    """What disabling a person did. `declared` maps delegations that stand in a file to that file; `objects` stay."""

    login: str
    groups: tuple[str, ...]
    sessions: int
    delegations: tuple[str, ...]
    declared: Mapping[str, str]
    objects: int


@dataclass(frozen=True, slots=True)
class _Group:
    id: str
    role: str
    province_id: str | None


def add_person(admin: Warehouse, new: NewPerson, password: str, actor: str, timezone: str, *, dry_run: bool = False) -> Person:
    """Give a person a login in its groups, in one transaction; a dry run does all of it and rolls back.

    `admin` is a superuser, or a login with CREATEROLE that made the groups' roles. Raises `SetupFault`.
    """
    with _as_owner(admin, actor) as connection:
        _refuse_name(connection, new.login)
        if new.name is not None and (not new.name.strip() or any(unicodedata.category(letter) == "Cc" for letter in new.name)):
            raise SetupFault(_FULL_NAME, rule="person-name")
        groups = tuple(dict.fromkeys(_find_group(connection, asked) for asked in new.groups))
        until = ends(new.until, timezone) if new.until else None
        _enter(connection, new, groups, until)
        with _as_login(connection):
            create_login(connection, new.login, password, [g.role for g in groups], limits_of([g.id for g in groups]), until)
        _refuse_conflict(connection, new.login)
        (person,) = _people(connection, new.login)
        if dry_run:
            _undo(connection)
    return person


def disable_person(admin: Warehouse, login: str, reason: str, actor: str, *, dry_run: bool = False) -> Disabled:
    """Close a person's login for good: no new session, no group, no delegation, no open session. Safe to repeat.

    It is closed before its sessions end, so that none begins anew, and policies go last, since those sessions may hold the
    tables. What the person made stays, owned by its role. Raises `SetupFault` for nobody of that name.
    """
    from sqlalchemy import text

    with _as_owner(admin, actor) as connection:
        person = _find_person(connection, login)
        if person.connections is not None:
            with _as_login(connection):
                close_login(connection, login)
        delegations = _end_rows(connection, login, reason, actor)
        if person.ended_at is None:
            _note(connection, "person disable", login, reason)
        objects = connection.execute(text(_OWNED), {"login": login}).scalar_one()
        if dry_run:
            _undo(connection)
    sessions = 0
    with _as_owner(admin, actor, _STILL_BUSY.fill(login=login)) as connection:
        if person.connections is not None:
            with _as_login(connection):
                sessions = end_sessions(connection, login, dry_run=dry_run)
        if not dry_run:
            connection.execute(text("SELECT control.apply_access()"))
    declared = {name: source for name, source in delegations if source}
    return Disabled(login, person.groups, sessions, tuple(name for name, _ in delegations), declared, objects)


def disable_overdue(admin: Warehouse, actor: str) -> list[str]:
    """Disable everybody whose last day has passed; PostgreSQL's own memberships never end by themselves. Returns their logins."""
    with _as_owner(admin, actor) as connection:
        overdue = find_overdue(connection)
    for login in overdue:
        disable_person(admin, login, "its last day has passed", actor)
    return overdue


def find_overdue(connection: Connection) -> list[str]:
    """The logins of those whose last day has passed and who are not disabled yet."""
    from sqlalchemy import text

    query = (
        "SELECT person FROM control.membership JOIN control.grantee g ON g.id = person WHERE g.ended_at IS NULL "
        "GROUP BY person HAVING max(coalesce(until, 'infinity')) <= now() ORDER BY person"
    )
    return list(connection.execute(text(query)).scalars())


def set_password(admin: Warehouse, login: str, password: str, actor: str) -> None:
    """Give a person a new password; open sessions go on. Raises `SetupFault` for nobody of that name, or one who is disabled."""
    with _as_owner(admin, actor) as connection:
        if ended := _find_person(connection, login).ended_at:
            raise _taken(login, ended)
        with _as_login(connection):
            change_password(connection, login, password)
        _note(connection, "person password", login)


def list_people(warehouse: Warehouse) -> tuple[Person, ...]:
    """Everybody who has or had a login, those who still have one first."""
    with _refusals_told(warehouse), warehouse.transaction("ndc_owner") as connection:
        return _people(connection)


def _people(connection: Connection, login: str | None = None) -> tuple[Person, ...]:
    from sqlalchemy import text

    rows = connection.execute(
        text(
            "SELECT g.id, g.name, g.province_id, g.valid_until, g.ended_at, r.rolconnlimit, "
            "coalesce(r.rolcanlogin AND (r.rolvaliduntil IS NULL OR r.rolvaliduntil > now()), false) AS can_log_in, "
            "(SELECT min(since) FROM control.membership m WHERE m.person = g.id) AS since, "
            "ARRAY(SELECT m.grantee FROM control.membership m WHERE m.person = g.id AND (m.until IS NULL OR m.until > now()) ORDER BY m.grantee) AS groups, "
            "(SELECT split_part(c, '=', 2) FROM unnest(r.rolconfig) c WHERE c LIKE 'statement\\_timeout=%') AS statement_timeout, "
            "coalesce('log_statement=all' = ANY (r.rolconfig), false) AS is_logged "
            "FROM control.grantee g LEFT JOIN pg_roles r ON r.rolname = g.role "
            "WHERE g.kind = 'person' AND (CAST(:login AS text) IS NULL OR g.id = :login) ORDER BY g.ended_at NULLS FIRST, g.id"
        ),
        {"login": login},
    )
    return tuple(
        Person(
            row.id,
            row.name,
            tuple(row.groups),
            row.province_id,
            row.can_log_in,
            row.since,
            row.valid_until,
            row.ended_at,
            row.rolconnlimit,
            row.statement_timeout,
            row.is_logged,
        )
        for row in rows
    )


# ---------------------------------------------------------------- who changes what, in one transaction


@contextmanager
def _as_owner(admin: Warehouse, actor: str, busy: Message = _BUSY) -> Iterator[Connection]:
    """A transaction of the administrator as ndc_owner, one at a time with changes of delegations."""
    from sqlalchemy import text

    with _refusals_told(admin, busy), admin.transaction("ndc_owner") as connection:
        connection.execute(
            text("SELECT set_config('lock_timeout', :wait, true), set_config('ndc.actor', :actor, true)"),
            {"wait": LOCK_WAIT, "actor": actor},
        )
        connection.execute(text("SELECT pg_advisory_xact_lock(11)"))
        yield connection


@contextmanager
def _refusals_told(warehouse: Warehouse, busy: Message = _BUSY) -> Iterator[None]:
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except DBAPIError as error:
        state, said = getattr(error.orig, "sqlstate", None), getattr(getattr(error.orig, "diag", None), "message_primary", None)
        if state == "55P03":
            raise MachineFault(busy, rule="tables-busy") from error
        if state in ("42P01", "3F000", "42883", "42703"):
            raise SetupFault(_NOT_MIGRATED, rule="not-migrated") from error
        if state == "42704":
            raise SetupFault(_NO_LOGIN.fill(said=said), rule="person-unknown") from error
        if state == "42501":
            raise SetupFault(_NO_RIGHT.fill(login=warehouse.url.username, said=said), rule="administrator") from error
        raise


@contextmanager
def _as_login(connection: Connection) -> Iterator[None]:
    """Inside the block the administrator's own rights hold, which may change roles."""
    run_script(connection, "SET LOCAL ROLE NONE")
    yield
    run_script(connection, "SET LOCAL ROLE ndc_owner")


def _undo(connection: Connection) -> None:
    if transaction := connection.get_transaction():
        transaction.rollback()


# ---------------------------------------------------------------- adding


def _refuse_name(connection: Connection, login: str) -> None:
    from sqlalchemy import text

    if not NAME.fullmatch(login) or login in _NOT_ROLES:
        raise SetupFault(_NAME.fill(login=login), rule="person-name")
    found = connection.execute(
        text(
            "SELECT (SELECT ended_at FROM control.grantee WHERE id = :login AND kind = 'person') AS ended_at, "
            "EXISTS (SELECT FROM pg_get_keywords() WHERE word = :login AND catcode IN ('R', 'T')) AS is_word, "
            "EXISTS (SELECT FROM control.grantee WHERE :login IN (id, CAST(role AS text))) "
            "OR EXISTS (SELECT FROM pg_roles WHERE rolname = :login) AS is_taken"
        ),
        {"login": login},
    ).one()
    if found.is_word:
        raise SetupFault(_NAME.fill(login=login), rule="person-name")
    if found.is_taken:
        raise _taken(login, found.ended_at)


def _taken(login: str, ended_at: datetime | None) -> SetupFault:
    if ended_at is None:
        return SetupFault(_TAKEN.fill(login=login), rule="person-taken")
    return SetupFault(_ENDED.fill(login=login, day=ended_at.date()), rule="person-ended")


def _find_group(connection: Connection, asked: str) -> _Group:
    from sqlalchemy import text

    found = connection.execute(
        text(
            "SELECT g.id, CAST(g.role AS text) AS role, g.province_id, g.name, h.id AS heir, h.name AS heir_name, "
            "g.ended_at IS NOT NULL OR coalesce(g.valid_until <= now(), false) AS is_over, "
            "EXISTS (SELECT FROM pg_roles WHERE rolname = g.role) AS has_role "
            "FROM control.grantee g LEFT JOIN control.grantee h ON h.id = control.holder(g.heir_id) "
            "WHERE g.kind <> 'person' AND :asked IN (g.id, CAST(g.role AS text))"
        ),
        {"asked": asked},
    ).one_or_none()
    if found is None:
        living = (
            "SELECT id FROM control.grantee WHERE kind <> 'person' AND ended_at IS NULL AND (valid_until IS NULL OR valid_until > now())"
        )
        vi, en = suggestion(asked, connection.execute(text(living)).scalars().all())
        raise SetupFault(Message(_NO_GROUP.vi + vi, _NO_GROUP.en + en).fill(asked=asked), rule="person-group")
    if found.is_over:
        message = _OVER_HEIR if found.heir else _OVER
        raise SetupFault(message.fill(name=found.name, id=found.id, heir=found.heir, heir_name=found.heir_name), rule="person-group-over")
    if not found.has_role:
        raise SetupFault(_NO_ROLE.fill(role=found.role), rule="not-migrated")
    return _Group(found.id, found.role, found.province_id)


def _enter(connection: Connection, new: NewPerson, groups: Sequence[_Group], until: datetime | None) -> None:
    from sqlalchemy import text

    if until is not None and until <= connection.execute(text("SELECT now()")).scalar_one():
        raise SetupFault(_PAST.fill(day=new.until), rule="person-until")
    connection.execute(
        text(
            "INSERT INTO control.grantee (id, role, kind, name, province_id, valid_until) "
            "VALUES (CAST(:login AS text), CAST(CAST(:login AS text) AS name), 'person', :name, :province_id, :until)"
        ),
        {
            "login": new.login,
            "name": new.name or new.login,
            "province_id": next((g.province_id for g in groups if g.province_id), None),
            "until": until,
        },
    )
    connection.execute(
        text("INSERT INTO control.membership (person, grantee, until, legal_basis) VALUES (:login, :group, :until, :legal_basis)"),
        [{"login": new.login, "group": g.id, "until": until, "legal_basis": new.legal_basis} for g in groups],
    )


def _refuse_conflict(connection: Connection, login: str) -> None:
    from sqlalchemy import text

    found = connection.execute(text("SELECT dataset, names FROM control.column_conflict() WHERE login = :login"), {"login": login}).all()
    if found:
        said = "; ".join(f"{row.dataset}: {row.names}" for row in found)
        raise SetupFault(_CONFLICT.fill(login=login, said=said), rule="column-conflict")


# ---------------------------------------------------------------- ending


def _find_person(connection: Connection, login: str) -> Person:
    everybody = _people(connection)
    for person in everybody:
        if person.login == login:
            return person
    vi, en = suggestion(login, [p.login for p in everybody if p.ended_at is None])
    raise SetupFault(Message(_NOBODY.vi + vi, _NOBODY.en + en).fill(login=login), rule="person-unknown")


def _end_rows(connection: Connection, login: str, reason: str, actor: str) -> list[tuple[str, str | None]]:
    """End the person's row, memberships and delegations; returns the delegations by name, with the file of declared ones."""
    from sqlalchemy import text

    ended = connection.execute(
        text(
            "UPDATE control.delegation SET revoked_at = now(), revoked_by = :actor, revoked_because = :reason "
            "WHERE grantee = :login AND revoked_at IS NULL RETURNING name, CASE WHEN is_declared THEN source END"
        ),
        {"login": login, "actor": actor, "reason": reason},
    )
    delegations = sorted((row[0], row[1]) for row in ended)
    for statement in (
        "UPDATE control.membership SET until = now() WHERE person = :login AND (until IS NULL OR until > now())",
        "UPDATE control.grantee SET ended_at = now() WHERE id = :login AND ended_at IS NULL",
    ):
        connection.execute(text(statement), {"login": login})
    return delegations


def _note(connection: Connection, what: str, login: str, reason: str | None = None) -> None:
    """Enter into the audit table what leaves no trace in the rows it watches."""
    from sqlalchemy import text

    connection.execute(
        text(
            "INSERT INTO control.access_change (actor, what, name, after) "
            "VALUES (current_setting('ndc.actor'), :what, :login, jsonb_strip_nulls(jsonb_build_object('reason', CAST(:reason AS text))))"
        ),
        {"what": what, "login": login, "reason": reason},
    )
