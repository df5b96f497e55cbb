"""Giving a part of one's own delegation on, with one's own login and without the centre.

Answers for: the call of control.delegate and control.revoke, and their refusals as sentences. What may be given is decided in the
database, by the same checks that the centre's declarations pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from expectations.faults import Message, SetupFault
from warehouse.access.apply import busy, refusal
from warehouse.access.grantees import ends, starts
from warehouse.engine import unreachable
from warehouse.query import login_refused

if TYPE_CHECKING:
    import psycopg
    from psycopg.errors import Diagnostic
    from sqlalchemy import URL

_NO_RIGHT = Message(
    "Tài khoản này không được phân quyền tiếp; cần một người dùng do ndc people add tạo.",
    "This login cannot delegate; it must be that of a person made by: ndc people add.",
)


@dataclass(frozen=True, slots=True)
class Grant:
    """What is to be given. None: as wide as the delegation that it comes from. `in_clear` None: every restricted column."""

    grantee: str
    purpose: str
    legal_basis: str
    datasets: tuple[str, ...] | None = None
    provinces: tuple[str, ...] | None = None
    communes: tuple[str, ...] | None = None
    in_clear: tuple[str, ...] | None = ()
    start: date | None = None
    until: date | None = None
    may_redelegate: bool = False
    shares_workspace: bool = False
    name: str | None = None
    grantor: str | None = None


def grant(url: URL, wanted: Grant, timezone: str, *, dry_run: bool = False) -> Mapping[str, Any]:
    """Enter a delegation and put it into force; returns its row. Raises `SetupFault` when it may not be given."""
    with _session(url) as connection:
        asked = {
            "grantee": wanted.grantee,
            "purpose": wanted.purpose,
            "legal_basis": wanted.legal_basis,
            "datasets": _list(wanted.datasets),
            "provinces": _list(wanted.provinces),
            "communes": _list(wanted.communes),
            "in_clear": _list(wanted.in_clear),
            "from": starts(wanted.start, timezone) if wanted.start else None,
            "until": ends(wanted.until, timezone) if wanted.until else None,
            "may_redelegate": wanted.may_redelegate,
            "workspace": wanted.shares_workspace,
            "name": wanted.name,
            "grantor": wanted.grantor,
        }
        said = ", ".join(f"p_{key} => %({key})s" for key in asked)
        name = connection.execute(f"SELECT control.delegate({said})", asked).fetchone()
        assert name is not None
        row = [r for r in _mine(connection) if r["name"] == name[0] and r["revoked_at"] is None and not r["is_declared"]][-1]
        if dry_run:
            connection.rollback()
        return row


@dataclass(frozen=True, slots=True)
class Ended:
    """How many delegations ended; `warnings` are the database's own, in both languages."""

    count: int
    warnings: tuple[Message, ...]


def revoke(url: URL, name: str, because: str, *, dry_run: bool = False) -> Ended:
    """End a delegation and all that hang on it."""
    warnings: list[Message] = []

    def hear(said: Diagnostic) -> None:
        if said.severity_nonlocalized == "WARNING":
            vi, _, en = (said.message_primary or "").partition(" · ")
            warnings.append(Message(vi, en or vi))

    with _session(url) as connection:
        connection.add_notice_handler(hear)
        ended = connection.execute("SELECT control.revoke(%s, %s)", (name, because)).fetchone()
        if dry_run:
            connection.rollback()
    return Ended(int(ended[0]) if ended else 0, tuple(warnings))


def own_delegations(url: URL) -> list[Mapping[str, Any]]:
    """What this login holds, gave, or what hangs on that, ended ones included."""
    with _session(url) as connection:
        return _mine(connection)


def _mine(connection: psycopg.Connection) -> list[Mapping[str, Any]]:
    cursor = connection.execute("SELECT * FROM control.my_delegations()")
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _list(values: Sequence[str] | None) -> list[str] | None:
    return None if values is None else list(values)


@contextmanager
def _session(url: URL) -> Iterator[psycopg.Connection]:
    import psycopg

    try:
        with psycopg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False), connect_timeout=10) as connection:
            yield connection
    except psycopg.OperationalError as error:
        if error.sqlstate in ("55P03", "57014", "40P01"):
            raise busy() from error
        raise (login_refused(url, error) or unreachable(url, error)) from error
    except psycopg.Error as error:
        message = refusal(error)
        if message is None and error.sqlstate in ("42501", "42883", "3F000"):
            raise SetupFault(_NO_RIGHT, rule="delegation") from error
        if message is None:
            raise
        raise SetupFault(message, rule="delegation") from error
