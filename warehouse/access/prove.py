"""The proof of who sees what: the server's catalogue, and every role's real sight beside what the delegations allow.

Answers for: nothing is changed, no row is copied out, and no delegation changes while roles are examined; what could not be examined
is said and counts as not proven. The specification is `oracle.py`; `functions.sql`, which made the policies, is not asked what is right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from expectations.contract import UNASSIGNED
from expectations.faults import Message, SetupFault
from warehouse.access import invariants, probe, rights
from warehouse.access.findings import Proof, checks_of
from warehouse.access.grantees import CENTRE
from warehouse.access.oracle import Member, Oracle, read_oracle
from warehouse.access.probe import Probe, Role
from warehouse.engine import Warehouse, run_script, unreachable
from warehouse.logins import ANALYST, SERVICE, TASK
from warehouse.roles import GROUPS, PIPELINE

if TYPE_CHECKING:
    from sqlalchemy import Connection

_NOT_MIGRATED = Message("Kho dữ liệu chưa được cập nhật; hãy chạy: ndc migrate", "The warehouse is not migrated; run: ndc migrate")


def prove(admin: Warehouse, pipeline: str, *, is_live: bool = True) -> Proof:
    """Examine the warehouse as `admin`, a superuser, or a login that may SET ROLE; `pipeline` is the name of the pipeline's login.

    Without `is_live` the catalogue alone is examined, and no role's sight. Raises `SetupFault` when there is nothing to examine yet.
    """
    own = tuple({pipeline, admin.url.username or pipeline, SERVICE, TASK})
    with _session(admin) as session:
        with _unchanged(session):
            with _as_owner(session):
                at, database, server = session.exec_driver_sql("SELECT now(), current_database(), current_setting('server_version')").one()
                oracle = _oracle(session)
                roles = tuple(_roles(session, oracle, own))
                places = sorted({UNASSIGNED, *session.exec_driver_sql("SELECT province_id FROM control.province").scalars()})
                findings = list(invariants.find_broken(session, own))
                held = rights.read_rights(session, [role.name for role in roles], oracle, at)
                unbound = tuple(session.exec_driver_sql("SELECT rolname FROM pg_roles WHERE rolsuper OR rolbypassrls ORDER BY 1").scalars())
            examined = Probe(session, oracle, at, places, held)
            if is_live:
                examined.examine(roles)
        if is_live:
            examined.count_rows()
    findings += (*held.beyond, *examined.findings)
    meanings = {**invariants.MEANINGS, **rights.MEANINGS, **(probe.MEANINGS if is_live else {})}
    return Proof(
        at=at,
        database=database,
        server=server,
        is_live=is_live,
        roles=tuple(role.name for role in roles),
        unbound=unbound,
        checks=checks_of(meanings, findings),
        findings=tuple(findings),
        seen=tuple(examined.seen),
    )


def _oracle(session: Connection) -> Oracle:
    """With the analyst's login, whom no row names."""
    there = session.exec_driver_sql(f"SELECT FROM pg_roles WHERE rolname = '{ANALYST}'").rowcount
    return read_oracle(session, [Member(ANALYST, CENTRE)] if there else ())


def _roles(session: Connection, oracle: Oracle, own: Sequence[str]) -> Iterator[Role]:
    """Every role that somebody may be, the groups included; not the pipeline's own, and not superusers, whom nothing binds."""
    from sqlalchemy import text

    kinds = {party.role: party.kind for party in oracle.parties} | dict.fromkeys(GROUPS, "group")
    found = session.execute(
        text(
            "SELECT rolname FROM pg_roles WHERE NOT rolsuper AND rolname NOT LIKE 'pg\\_%' AND rolname <> ALL (:own) "
            "AND (rolcanlogin OR rolname = ANY (:known)) ORDER BY rolname"
        ),
        {"own": [*own, *PIPELINE], "known": list(kinds)},
    )
    for (name,) in found:
        yield Role(name, kinds.get(name, "login"))


@contextmanager
def _session(admin: Warehouse) -> Iterator[Connection]:
    from sqlalchemy.exc import OperationalError

    try:
        connection = admin.engine.connect()
    except OperationalError as error:
        raise unreachable(admin.url, error) from error
    with connection:
        yield connection


@contextmanager
def _unchanged(session: Connection) -> Iterator[None]:
    """Inside the block nobody changes delegations: whoever wants to waits."""
    with session.begin():
        session.exec_driver_sql("SET LOCAL ROLE ndc_owner")  # nobody else may take these locks
        session.exec_driver_sql("SELECT pg_advisory_lock_shared(11)")
    try:
        yield
    finally:
        session.rollback()
        with session.begin():
            session.exec_driver_sql("SELECT pg_advisory_unlock_shared(11)")


@contextmanager
def _as_owner(session: Connection) -> Iterator[None]:
    from sqlalchemy.exc import DBAPIError

    try:
        with session.begin():
            run_script(session, "SET TRANSACTION READ ONLY; SET LOCAL search_path = pg_catalog; SET LOCAL ROLE ndc_owner")
            yield
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", "") in ("22023", "3F000", "42704", "42883", "42P01", "42703"):
            raise SetupFault(_NOT_MIGRATED, rule="not-migrated") from error
        raise
