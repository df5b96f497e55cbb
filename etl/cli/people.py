"""Commands about people with a login of their own: add, disable, list, password. Passwords are shown once and kept nowhere."""

from __future__ import annotations

import getpass
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from etl.cli.output import Json, console, open_site, print_json, print_table, say
from expectations.faults import Message

if TYPE_CHECKING:
    from etl.site import Site
    from warehouse.access.people import Disabled, Person
    from warehouse.engine import Warehouse

app = typer.Typer(help="Logins of people: who they are and whom they belong to. Tài khoản người dùng.", no_args_is_help=True)

Login = Annotated[str, typer.Argument(metavar="NAME", help="The login: small letters without marks, digits and _.")]
By = Annotated[str | None, typer.Option("--by", help="Who does it, for the audit table; by default the account's name.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done; change nothing.")]

_DRY = Message("(thử, không thay đổi gì) ", "(dry run, nothing is changed) ")
_ONCE = Message("Mật khẩu chỉ hiện lần này, không được lưu ở đâu:", "The password is shown this once and kept nowhere:")
_UNLOGGED = Message(
    "Những gì người này đọc không vào nhật ký máy chủ: {admin} không được đặt log_statement. Xem docs/how-to/audit-reads.md",
    "What this person reads is not in the server's log: {admin} may not set log_statement. See docs/how-to/audit-reads.md",
)


@app.command()
def add(
    login: Login,
    role: Annotated[
        list[str], typer.Option("--role", help="centre, auditor, public, a province_id or an organisation's id; several may be named.")
    ],
    name: Annotated[str | None, typer.Option("--name", help="Full name.")] = None,
    legal_basis: Annotated[str | None, typer.Option("--legal-basis", help="By which act.")] = None,
    until: Annotated[datetime | None, typer.Option("--until", formats=["%Y-%m-%d"], help="Last day of the login.")] = None,
    by: By = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Give a person a login of their own, in the groups they belong to. Thêm người dùng."""
    from warehouse.access.people import NewPerson, add_person

    site, password = open_site(), _new_password()
    new = NewPerson(login, tuple(role), name, legal_basis, until.date() if until else None)
    with _administrator(site) as admin:
        person = add_person(admin, new, password, by or getpass.getuser(), site.settings.timezone, dry_run=dry_run)
        unlogged = _UNLOGGED.fill(admin=admin.url.username)
    if as_json:
        print_json(asdict(person) | ({"dry_run": True} if dry_run else {"password": password, "url": _address(site, login)}))
        return
    dry = _DRY if dry_run else Message("", "")
    say(Message(f"✓ {dry.vi}đã thêm {login}", f"✓ {dry.en}{login} is added"))
    print_table("", ("", " "), [(label, value) for label, value in zip(_LABELS, _cells(site, person), strict=True) if value])
    if not person.is_logged:
        say(unlogged)
    if not dry_run:
        _show_password(site, login, password)


@app.command()
def disable(
    login: Login,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept in the audit table.")],
    by: By = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Close a login for good: no session, no group, no delegation; what the person made stays. Khoá người dùng."""
    from warehouse.access.people import disable_person

    site = open_site()
    with _administrator(site) as admin:
        done = disable_person(admin, login, reason, by or getpass.getuser(), dry_run=dry_run)
    if as_json:
        print_json(asdict(done) | {"dry_run": dry_run})
        return
    for message in _say_disabled(done, dry_run=dry_run):
        say(message)


def _say_disabled(done: Disabled, *, dry_run: bool) -> Iterator[Message]:
    dry = _DRY if dry_run else Message("", "")
    groups, ended = ", ".join(done.groups) or "—", ", ".join(done.delegations) or "—"
    yield Message(
        f"✓ {dry.vi}đã khoá {done.login}: rời {groups}; đóng {done.sessions} phiên; thu hồi phân quyền: {ended}",
        f"✓ {dry.en}{done.login} is disabled: left {groups}; {done.sessions} sessions ended; delegations ended: {ended}",
    )
    if done.objects:
        yield Message(
            f"{done.objects} bảng và khung nhìn của {done.login} vẫn còn, thuộc vai trò này; đồng nghiệp vẫn dùng được như trước.",
            f"{done.objects} tables and views of {done.login} stay, owned by that role; colleagues use them as before.",
        )
    for name, file in done.declared.items():
        yield Message(f"Hãy xoá «{name}» khỏi {file}, nơi vẫn khai báo.", f"Take '{name}' out of {file}, which still declares it.")


@app.command("list")
def list_people(as_json: Json = False) -> None:
    """Who has or had a login, and whom they belong to. Danh sách người dùng."""
    from warehouse.access.people import list_people as read_people

    site = open_site()
    people = read_people(site.warehouse)
    if as_json:
        print_json(people)
        return
    print_table(f"{len(people)} people · người dùng", _LABELS, [_cells(site, p) for p in people], right=(_LABELS[6],))


@app.command()
def password(login: Login, by: By = None, as_json: Json = False) -> None:
    """Give a person a new password, shown once. Đặt lại mật khẩu."""
    from warehouse.access.people import set_password

    site, new = open_site(), _new_password()
    with _administrator(site) as admin:
        set_password(admin, login, new, by or getpass.getuser())
    if as_json:
        print_json({"login": login, "password": new, "url": _address(site, login)})
    else:
        _show_password(site, login, new)


# ---------------------------------------------------------------- showing

_LABELS = (
    "login · tài khoản",
    "name · tên",
    "groups · thuộc",
    "province · tỉnh",
    "logs in · đăng nhập",
    "since · từ",
    "sessions · phiên",
    "statement · câu lệnh",
    "until · đến",
)


def _cells(site: Site, person: Person) -> tuple[Any, ...]:
    zone = ZoneInfo(site.settings.timezone)
    last_day = (person.until - timedelta(microseconds=1)).astimezone(zone).date() if person.until else None
    state = "yes · được" if person.can_log_in else f"disabled · đã khoá {person.ended_at:%Y-%m-%d}" if person.ended_at else "no · không"
    return (
        person.login,
        person.name if person.name != person.login else None,
        ", ".join(person.groups),
        person.province_id,
        state,
        f"{person.since.astimezone(zone):%Y-%m-%d}" if person.since else None,
        person.connections,
        person.statement_timeout,
        str(last_day) if last_day else None,
    )


def _show_password(site: Site, login: str, password: str) -> None:
    say(_ONCE)
    console().print(f"  {password}", markup=False, soft_wrap=True)
    console().print(f'  ndc sql --login {login} "SELECT …"\n  psql {_address(site, login)}', markup=False, soft_wrap=True)


def _address(site: Site, login: str) -> str:
    return site.logins.person_url(login, None).set(drivername="postgresql").render_as_string()


def _new_password() -> str:
    return secrets.token_urlsafe(24)


@contextmanager
def _administrator(site: Site) -> Iterator[Warehouse]:
    admin = site.logins.administrator()
    try:
        yield admin
    finally:
        admin.dispose()
