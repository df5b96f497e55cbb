"""Backups: one folder for each moment, from which an empty installation becomes what it was.

    <to>/ndc-20261125T031500Z/     0700, every file 0600
        warehouse.dump    all of the database, by pg_dump
        roles.sql         who can log in, with limits, memberships and verifiers of passwords
        objects.jsonl     each file of the archive and the lake, with size and SHA-256: they are listed here and not copied
        manifest.json     when, of what, how much, and the hash of each file above

Answers for: a folder has its name only when all of it is written; older ones go only after that. A restore is all or nothing and
says what differs afterwards. Refuses: a home that holds anything, a backup whose own bytes have changed.
Not in it: the pseudonym key, passwords of the pipeline's own logins, bytes of archive and lake, contracts and declared delegations.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etl.journal import highest_number
from etl.site import Site
from etl.store import Store, flush
from expectations.faults import Message, SetupFault

if TYPE_CHECKING:
    from etl.verify import Comparison

DUMP, ROLES, OBJECTS, MANIFEST = "warehouse.dump", "roles.sql", "objects.jsonl", "manifest.json"
_FORMAT = 1
_PREFIX = "ndc-"

_NOT_WHOLE = Message("{folder} không phải bản sao lưu trọn vẹn ({reason}).", "{folder} is no whole backup ({reason}).")
_BROKEN = Message(
    "{folder}: tệp đã thay đổi sau khi sao lưu: {names}. Hãy dùng bản sao lưu khác.",
    "{folder}: files have changed since the backup was made: {names}. Use another backup.",
)
_NOT_EMPTY = Message(
    "{home} không trống: {there_vi}. Chỉ khôi phục vào nơi trống. Nếu vừa khôi phục dở, hãy xem bằng: ndc verify",
    "{home} is not empty: {there_en}. A restore goes only into an empty installation. If one was just stopped, look with: ndc verify",
)
_IN_VIETNAMESE = {"deliveries": "đợt gửi", "people": "người dùng", "tables in workspaces": "bảng trong vùng làm việc"}
_UNDERWAY = Message("Một lệnh sao lưu khác đang ghi vào {folder}.", "Another backup is being written to {folder}.")


@dataclass(frozen=True, slots=True)
class Backup:
    """A whole backup. `counts` says how much of what it holds, `size_bytes` is that of its files."""

    folder: Path
    made_at: datetime
    counts: Mapping[str, int]
    size_bytes: int
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Checked:
    """A backup beside the archive and the lake as they are now. `newer` were replaced by deliveries since, `added` came since."""

    broken: tuple[str, ...]
    missing: tuple[str, ...]
    changed: tuple[str, ...]
    newer: tuple[str, ...]
    added: int

    @property
    def is_sound(self) -> bool:
        return not (self.broken or self.missing or self.changed)


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore came to: partitions that disagree, what lacks in archive and lake, SQL of access that differs, and deliveries
    that the archive's own ledger has above the backup's last."""

    backup: Backup
    compared: int
    differing: tuple[Comparison, ...]
    checked: Checked
    drift: tuple[str, ...]
    later_deliveries: int
    has_key: bool

    @property
    def is_equal(self) -> bool:
        return self.checked.is_sound and self.has_key and not (self.differing or self.drift or self.later_deliveries)


# ---------------------------------------------------------------- making


def create_backup(
    site: Site, to: Path, now: datetime, *, keep: int | None = None, on_object: Callable[[str], None] = lambda name: None
) -> Backup:
    """Write a backup into a new folder of `to`; then remove older ones beyond the newest `keep`. Raises `SetupFault` without a superuser."""
    to.mkdir(parents=True, exist_ok=True, mode=0o700)
    name = f"{_PREFIX}{now:%Y%m%dT%H%M%SZ}"
    with _alone(to):
        for left in to.glob(f".{_PREFIX}*"):  # of a backup or a removal that was stopped
            shutil.rmtree(left)
        half = to / f".{name}"
        half.mkdir(mode=0o700)
        _fill(site, half, now, on_object)
        half.rename(to / name)
        flush(to)
        backup = read_backup(to / name)
        for older in list_backups(to)[keep:] if keep else ():
            gone = to / f".{older.folder.name}"
            older.folder.rename(gone)
            shutil.rmtree(gone)
    return backup


@contextlib.contextmanager
def _alone(to: Path) -> Iterator[None]:
    lock = os.open(to / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise SetupFault(_UNDERWAY.fill(folder=to), rule="backup-underway") from error
    finally:
        os.close(lock)


def _fill(site: Site, folder: Path, now: datetime, on_object: Callable[[str], None]) -> None:
    """Database first, then the listing: whatever the ledger of that moment knows is in the archive by then."""
    from warehouse.dump import count_contents, find_program, open_snapshot, revision, roles_sql, write_dump
    from warehouse.pseudonym_key import current_fingerprint

    for name in (DUMP, ROLES, OBJECTS, MANIFEST):
        os.close(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    admin = site.logins.administrator()
    try:
        with open_snapshot(admin) as snapshot:
            facts = {
                "format": _FORMAT,
                "made_at": now,
                "ndc": version("ndc"),
                "server": snapshot.server,
                "migration": revision(snapshot.connection),
                "pseudonym_key_fingerprint": current_fingerprint(snapshot.connection),
                "counts": count_contents(snapshot.connection),
            }
            (folder / ROLES).write_text(roles_sql(snapshot.connection))
            program = find_program("pg_dump", snapshot.major, is_embedded=site.logins.server is not None)
            write_dump(admin.url, snapshot, folder / DUMP, program)
    finally:
        admin.dispose()
    counted = dict.fromkeys(("archive", "lake"), 0)
    with (folder / OBJECTS).open("w") as out:
        for place, store in _stores(site).items():
            for each in _names(store):
                on_object(each)
                sha256, size = store.fingerprint(each)
                out.write(json.dumps({"store": place, "name": each, "size": size, "sha256": sha256}, ensure_ascii=False) + "\n")
                counted[place] += 1
    files = {name: _facts(folder / name) for name in (DUMP, ROLES, OBJECTS)}
    (folder / MANIFEST).write_text(
        json.dumps({**facts, "objects": counted, "files": files}, default=lambda value: value.isoformat(), ensure_ascii=False, indent=1)
    )
    for name in (DUMP, ROLES, OBJECTS, MANIFEST):
        flush(folder / name)


def _stores(site: Site) -> dict[str, Store]:
    return {"archive": site.archive, "lake": site.lake}


def _names(store: Store) -> Iterator[str]:
    """Finished files: not those that wait for their delivery, nor those that are being written."""
    return (name for name in store.names() if not name.startswith("_incoming/") and not name.endswith(".part"))


def _facts(file: Path) -> dict[str, Any]:
    sha256, size = Store(str(file.parent)).fingerprint(file.name)
    return {"size": size, "sha256": sha256}


# ---------------------------------------------------------------- reading


def list_backups(to: Path) -> list[Backup]:
    """The whole backups in a folder, the newest first."""
    found = []
    for folder in sorted(to.glob(f"{_PREFIX}*"), reverse=True):
        with contextlib.suppress(SetupFault):
            found.append(read_backup(folder))
    return found


def read_backup(folder: Path) -> Backup:
    """What a backup says about itself. Raises `SetupFault` when it is not whole."""
    try:
        facts = json.loads((folder / MANIFEST).read_text())
        if facts["format"] != _FORMAT:
            raise SetupFault(_NOT_WHOLE.fill(folder=folder, reason=f"format {facts['format']}"), rule="backup")
        size = sum(file["size"] for file in facts["files"].values())
        return Backup(folder, datetime.fromisoformat(facts["made_at"]), facts["counts"], size, facts)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SetupFault(_NOT_WHOLE.fill(folder=folder, reason=type(error).__name__), rule="backup") from error


def check_backup(site: Site, folder: Path, on_object: Callable[[str], None] = lambda name: None) -> Checked:
    """Whether a backup's files are as they were written, and what has become of the archive and the lake since. Changes nothing."""
    backup = read_backup(folder)
    broken = _broken(backup)
    if OBJECTS in broken:
        return Checked(broken, (), (), (), 0)
    missing: list[str] = []
    changed: list[str] = []
    newer: list[str] = []
    listed = 0
    stores = _stores(site)
    for said in _objects(backup):
        place, name = said["store"], said["name"]
        on_object(name)
        listed += 1
        if not stores[place].exists(name):
            missing.append(f"{place}/{name}")
        elif stores[place].fingerprint(name) != (said["sha256"], said["size"]):
            (newer if _is_replaced(place, name) else changed).append(f"{place}/{name}")
    there = sum(1 for store in stores.values() for _ in _names(store))
    return Checked(broken, tuple(missing), tuple(changed), tuple(newer), there - (listed - len(missing)))


def _broken(backup: Backup) -> tuple[str, ...]:
    return tuple(
        name for name, said in backup.facts["files"].items() if not (backup.folder / name).is_file() or _facts(backup.folder / name) != said
    )


def _objects(backup: Backup) -> Iterator[dict[str, Any]]:
    with (backup.folder / OBJECTS).open() as lines:
        yield from map(json.loads, lines)


def _is_replaced(place: str, name: str) -> bool:
    """Partitions of the lake and entries of the archive's ledger are replaced as deliveries come; bytes as received never are."""
    return place == "lake" or name.startswith("_ledger/")


# ---------------------------------------------------------------- restoring


def plan_restore(site: Site, folder: Path) -> Backup:
    """See that a restore can be done: a whole backup, nothing at home that it would destroy. Raises `SetupFault`; changes nothing."""
    from warehouse.dump import find_contents

    backup = read_backup(folder)
    if broken := _broken(backup):
        raise SetupFault(_BROKEN.fill(folder=folder, names=", ".join(broken)), rule="backup")
    server = site.logins.server
    if server is not None and server.status().state == "absent":
        return backup
    admin = site.logins.administrator()
    try:
        there = find_contents(admin)
    finally:
        admin.dispose()
    if there:
        vi = ", ".join(f"{count:,} {_IN_VIETNAMESE[what]}" for what, count in there.items())
        en = ", ".join(f"{count:,} {what}" for what, count in there.items())
        raise SetupFault(_NOT_EMPTY.fill(home=site.settings.home, there_vi=vi, there_en=en), rule="not-empty")
    return backup


def restore_backup(site: Site, folder: Path, now: datetime, on_step: Callable[[str], None] = lambda step: None) -> Restored:
    """Make an empty warehouse what the backup's was; then compare it with the archive and the lake, which must be in place already.

    Server, roles and logins are made first, then the database changes in one transaction, so a restore that is stopped can be run again.
    """
    from warehouse import ledger
    from warehouse.access.apply import drift
    from warehouse.dump import find_program, read_dump

    backup = plan_restore(site, folder)
    site.prepare_logins(now)
    on_step("prepared")
    admin = site.logins.administrator()
    try:
        program = find_program("pg_restore", int(backup.facts["server"].partition(".")[0]), is_embedded=site.logins.server is not None)
        read_dump(admin, (folder / ROLES).read_text(), folder / DUMP, program)
    finally:
        admin.dispose()
    on_step("restored")
    with site.warehouse.transaction("ndc_owner") as connection:
        last = max((d.delivery_id for d in ledger.deliveries(connection, limit=1)), default=0)
        highest = highest_number(site.archive)
        if highest > last:  # numbers of deliveries that came after the backup are not given again
            ledger.number_after(connection, highest)
        differing_access = drift(connection)
    compared, differing = _verify(site)
    return Restored(
        backup=backup,
        compared=compared,
        differing=differing,
        checked=check_backup(site, folder),
        drift=differing_access,
        later_deliveries=_later(site, last),
        has_key=_has_key(site, backup),
    )


def _verify(site: Site) -> tuple[int, tuple[Comparison, ...]]:
    from etl.verify import verify

    compared = list(verify(site))
    return len(compared), tuple(each for each in compared if not each.agrees)


def _later(site: Site, last: int) -> int:
    return sum(1 for name in site.archive.names("_ledger") if int(Path(name).stem) > last)


def _has_key(site: Site, backup: Backup) -> bool:
    """Whether the pseudonym key is the one of the backup's pseudonyms; true where there are none."""
    wanted = backup.facts["pseudonym_key_fingerprint"]
    key = site.pseudonym_key.find(wanted) if wanted else None
    return wanted is None or (key is not None and key.fingerprint == wanted)
