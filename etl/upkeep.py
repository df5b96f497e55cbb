"""What an installation needs each night besides its deliveries: access that has ended is taken away, leftovers go, the rest is reported.

Answers for: each step is of its own, and one that fails does not stop the next. Only what can be computed again from the archive is
removed, and only when its delivery is at its end. Refuses: deleting from the inbox, the archive, or partitions of the lake.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from etl.lake import lake_name
from etl.receive import find_unfinished
from etl.site import Site
from etl.store import Store
from expectations.faults import Fault, MachineFault, Message
from warehouse import ledger

if TYPE_CHECKING:
    from warehouse.access.apply import AccessPlan
    from warehouse.access.findings import Proof
    from warehouse.engine import Connection

Kind = Literal["waiting", "work", "upload", "archive", "lake"]
LEAST_AGE = timedelta(days=1)
_UPLOAD_AGE = timedelta(days=7)
_ARRIVING = timedelta(hours=1)  # bytes are archived before the ledger knows them

MEANINGS: dict[Kind, Message] = {
    "waiting": Message("tệp chờ trong hồ, đợt gửi đã xong", "waiting file in the lake, its delivery is at its end"),
    "work": Message("tệp làm việc còn sót", "left in the work folder"),
    "upload": Message("gửi dở trong hộp đến quá một tuần", "unfinished in the inbox for more than a week"),
    "archive": Message("có trong kho lưu mà sổ không biết", "in the archive, but not in the ledger"),
    "lake": Message("có trong hồ mà sổ không cho thấy", "in the lake, but the ledger shows no such partition"),
}


@dataclass(frozen=True, slots=True)
class Swept:
    """People whose last day has passed, and what was done to make access what is declared. Nothing was, when this is a plan."""

    disabled: tuple[str, ...]
    plan: AccessPlan


@dataclass(frozen=True, slots=True)
class Orphan:
    """A file that nothing seems to need. One that is not removable is for a person to look at."""

    kind: Kind
    name: str
    modified: datetime
    delivery_id: int | None = None
    is_removable: bool = False


@dataclass(slots=True)
class Upkeep:
    """What a night's upkeep did and found. `removed` would be removed, when it was a trial; `left` are for a person."""

    swept: Swept | None = None
    removed: tuple[Orphan, ...] = ()
    left: tuple[Orphan, ...] = ()
    proof: Proof | None = None
    trouble: dict[str, Message] = field(default_factory=dict)

    @property
    def needs_a_person(self) -> bool:
        return bool(self.left or self.trouble) or (self.proof is not None and not self.proof.is_clean)


def keep_up(site: Site, by: str, now: datetime, *, dry_run: bool = False, on_step: Callable[[str], None] = lambda step: None) -> Upkeep:
    """All steps in their order. What goes wrong with one is in the result; only a warehouse that does not answer ends it."""
    done = Upkeep()

    def sweep() -> None:
        done.swept = plan_sweep(site) if dry_run else sweep_access(site, by, now)

    def tidy() -> None:
        found = find_orphans(site, now)
        done.left = tuple(orphan for orphan in found if not orphan.is_removable)
        old = [orphan for orphan in found if orphan.is_removable and now - orphan.modified >= LEAST_AGE]
        done.removed = tuple(old) if dry_run else tuple(remove_orphans(site, now - LEAST_AGE, found))

    def prove() -> None:
        done.proof = check_access(site)

    for name, step in (("access", sweep), ("orphans", tidy), ("proof", prove)):
        on_step(name)
        try:
            step()
        except Fault as fault:
            if isinstance(fault, MachineFault) and fault.rule == "warehouse-down":
                raise
            done.trouble[name] = fault.message
    return done


# ---------------------------------------------------------------- access


def plan_sweep(site: Site) -> Swept:
    """What `sweep_access` would do; nothing is changed."""
    from warehouse.access.apply import plan_access
    from warehouse.access.grantees import people
    from warehouse.access.load import load_declaration
    from warehouse.access.people import find_overdue

    with site.warehouse.transaction("ndc_owner") as connection:
        overdue = find_overdue(connection)
        plan = plan_access(connection, load_declaration(site.access, site.registry, site.contracts, people(connection)))
    return Swept(tuple(overdue), plan)


def sweep_access(site: Site, by: str, now: datetime) -> Swept:
    """Disable people whose last day has passed, and make policies, columns and workspaces what the declared delegations ask for now.

    Policies end by themselves at the hour; column grants, workspaces and logins do not. Raises `SetupFault` when a declaration does
    not compile; the people are disabled then, and nothing else is changed.
    """
    from warehouse.access.apply import apply_declaration
    from warehouse.access.grantees import people
    from warehouse.access.load import load_declaration
    from warehouse.access.people import disable_overdue

    site.prepare_logins(now)
    admin = site.logins.administrator()
    try:
        disabled = disable_overdue(admin, by)
    finally:
        admin.dispose()
    with site.warehouse.transaction("ndc_owner") as connection:
        declaration = load_declaration(site.access, site.registry, site.contracts, people(connection))
        return Swept(tuple(disabled), apply_declaration(connection, declaration, by))


def check_access(site: Site, *, is_live: bool = True) -> Proof:
    """The proof of who sees what, made with the administrator's login; its findings are what a person must look at."""
    from warehouse.access.prove import prove

    admin = site.logins.administrator()
    try:
        return prove(admin, site.warehouse.url.username or "", is_live=is_live)
    finally:
        admin.dispose()


# ---------------------------------------------------------------- files that nothing needs


def find_orphans(site: Site, now: datetime) -> list[Orphan]:
    """Every file that no delivery needs, or that the ledger does not know. Removes nothing."""
    with site.warehouse.transaction() as connection:
        entered = ledger.deliveries(connection)
    at_end = {d.delivery_id for d in entered if _is_at_end(d)}
    archived = {d.archive_path for d in entered}
    shown = {lake_name(d) for d in entered if d.state in ("loaded", "stored")}
    return [
        *_in_lake(site.lake, at_end, shown),
        *_in_work(site.settings.work, at_end),
        *_in_inbox(site.settings.inbox, now),
        *_in_archive(site.archive, archived, now),
    ]


def _is_at_end(delivery: ledger.Delivery) -> bool:
    return delivery.reported_at is not None and delivery.state not in ("received", "loaded")


def _in_lake(lake: Store, at_end: set[int], shown: set[str]) -> Iterator[Orphan]:
    for name in lake.names():
        waiting = re.fullmatch(r"_incoming/(\d+)\.parquet", name)
        if waiting and int(waiting[1]) in at_end:
            yield Orphan("waiting", name, lake.modified(name), int(waiting[1]), is_removable=True)
        elif not waiting and name not in shown:
            yield Orphan("lake", name, lake.modified(name))


def _in_work(work: Path, at_end: set[int]) -> Iterator[Orphan]:
    """A trial's spool, or a delivery's; files of other names are others', and in no delivery's way."""
    for file in sorted(work.iterdir()) if work.is_dir() else ():
        own = re.fullmatch(r"(\d+)\.(?:rejections|bytes)", file.name)
        if file.is_file() and (int(own[1]) in at_end if own else re.fullmatch(r"check-.+\.rejections", file.name)):
            modified = datetime.fromtimestamp(file.stat().st_mtime, UTC)
            yield Orphan("work", file.name, modified, int(own[1]) if own else None, is_removable=True)


def _in_inbox(inbox: Path, now: datetime) -> Iterator[Orphan]:
    for file in find_unfinished(inbox):
        modified = datetime.fromtimestamp(file.stat().st_mtime, UTC)
        if now - modified > _UPLOAD_AGE:
            yield Orphan("upload", str(file.relative_to(inbox)), modified)


def _in_archive(archive: Store, known: set[str], now: datetime) -> Iterator[Orphan]:
    for name in archive.names():
        if name not in known and not name.startswith(("_ledger/", "_contracts/")) and now - archive.modified(name) > _ARRIVING:
            yield Orphan("archive", name, archive.modified(name))


def remove_orphans(site: Site, older_than: datetime, found: Iterable[Orphan]) -> Iterator[Orphan]:
    """Remove those of `found` that are removable, were written before `older_than`, and are still what they were; yields them."""
    for orphan in found:
        if orphan.is_removable and orphan.modified < older_than:
            with site.warehouse.transaction() as connection:
                if _is_free(connection, orphan) and _remove(site, orphan):
                    yield orphan


def _is_free(connection: Connection, orphan: Orphan) -> bool:
    """Whether no process carries the delivery on until this transaction ends, and none is to."""
    if orphan.delivery_id is None:
        return True
    return ledger.claim(connection, orphan.delivery_id) and _is_at_end(ledger.get(connection, orphan.delivery_id))


def _remove(site: Site, orphan: Orphan) -> bool:
    """False when the file is gone, or another one by now."""
    store = site.lake if orphan.kind == "waiting" else Store(str(site.settings.work))
    if not store.exists(orphan.name) or store.modified(orphan.name) != orphan.modified:
        return False
    store.delete(orphan.name)
    return True
