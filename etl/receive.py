"""Files arrive: whose they are, for which dataset, period and province; their bytes are archived before anything else.

Answers for: the sender is known by the folder alone; a file that is still being written waits; one that belongs nowhere is
archived and returned, too; the same bytes sent twice change nothing. Refuses: looking at what lines say.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from etl.read import Part
from etl.read.tables import find_parts
from etl.site import Site
from etl.watch import UNWATCHED, Watch
from expectations.contract import Contract
from expectations.faults import Fault, MachineFault, Message, SenderFault, SetupFault
from expectations.period import NameMatch, Period
from warehouse import ledger
from warehouse.ledger import Delivery, Reason
from warehouse.provinces import Registry

if TYPE_CHECKING:
    from warehouse.engine import Connection

_UNFINISHED = (".part", ".tmp", ".crdownload", ".filepart", ".partial", ".uploading")
_CHUNK = 1 << 20
TOO_EARLY = ("day-before-registry", "day-before-communes", "code-list")
"""Rules of faults that say that a period lies before what the registry or a code list knows: the delivery is returned."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A file in the inbox. `folder` is the dataset's folder that it lies in, or None. `is_settled`: nobody writes to it."""

    path: Path
    sender: str
    folder: str | None
    is_settled: bool
    modified: float = 0.0


@dataclass(frozen=True, slots=True)
class Attribution:
    """What a file is, as far as could be found out; `fault` says why not further."""

    contract: Contract | None = None
    province_id: str | None = None
    parts: tuple[Part, ...] = ()
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """What became of one file: new deliveries, and earlier ones of the same bytes, which change nothing."""

    file_name: str
    sender: str
    new: tuple[Delivery, ...] = ()
    unchanged: tuple[Delivery, ...] = ()


# ---------------------------------------------------------------- the inbox


def find_arrivals(inbox: Path, settle_seconds: float, now: float) -> Iterator[Arrival]:
    """The files of an inbox, `<sender>/<file>` or `<sender>/<dataset>/<file>`, in the order of their names.

    Files whose names say that they are being written are not settled; neither are those that change while we look.
    Links that lead out of the inbox, and folders deeper down, are not followed.
    """
    young: dict[Path, tuple[int, int]] = {}
    arrivals = []
    for sender in sorted(_folders(inbox)):
        places: list[tuple[Path, str | None]] = [(sender, None), *((folder, folder.name) for folder in sorted(_folders(sender)))]
        for place, folder in places:
            for path in sorted(place.iterdir()):
                facts = _facts(path)
                if facts is None:
                    continue
                is_named_unfinished = path.name.lower().endswith(_UNFINISHED)
                if now - facts.st_mtime < settle_seconds and not is_named_unfinished:
                    young[path] = (facts.st_size, facts.st_mtime_ns)
                arrivals.append(Arrival(path, sender.name, folder, not is_named_unfinished, facts.st_mtime))
    if young:
        time.sleep(settle_seconds)  # looking twice is the only way to see that a file grows
    for arrival in arrivals:
        before = young.get(arrival.path)
        if before is not None:
            facts = _facts(arrival.path)
            if facts is not None:
                yield replace(arrival, is_settled=before == (facts.st_size, facts.st_mtime_ns))
        else:
            yield arrival


def find_unfinished(inbox: Path) -> Iterator[Path]:
    """Files of an inbox whose names say that they are being written."""
    return (a.path for a in find_arrivals(inbox, 0, 0) if a.path.name.lower().endswith(_UNFINISHED))


def _facts(path: Path) -> os.stat_result | None:
    """Size and times of a plain file that a sender put there; None for anything else, and for what is gone already.

    No folder, link, hidden file or lock file of a spreadsheet program.
    """
    if path.name.startswith((".", "~$")):
        return None
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return None
    return facts if stat.S_ISREG(facts.st_mode) else None


def _folders(place: Path) -> list[Path]:
    if not place.is_dir():
        return []
    return [path for path in place.iterdir() if path.is_dir() and not path.is_symlink() and not path.name.startswith(".")]


def check_readable(path: Path) -> None:
    """Raise `SenderFault` unless there is a file at the path that this account can read."""
    if not path.exists():
        raise SenderFault(Message(f"Không có tệp «{path}».", f"There is no file '{path}'."), rule="no-file")
    if not path.is_file():
        raise SenderFault(
            Message(f"«{path}» không phải là tệp; hãy nêu một tệp.", f"'{path}' is not a file; name a file."), rule="not-a-file"
        )
    if not os.access(path, os.R_OK):
        raise SenderFault(Message(f"Không có quyền đọc «{path}».", f"'{path}' may not be read by this account."), rule="not-readable")


# ---------------------------------------------------------------- whose file it is


def attribute(path: Path, sender: str, folder: str | None, site: Site, today: date, *, period_text: Period | None = None) -> Attribution:
    """Find out dataset, period and province of a file; what cannot be found out is in `fault`."""
    known = Attribution()
    try:
        contract, said = _contract_of(path.name, sender, folder, site.contracts, site.registry, period_text is not None)
        known = Attribution(contract)
        period = period_text or said.period
        province_id = _province_of(contract, sender, said.province, period, site.registry)
        known = Attribution(contract, province_id)
        parts = tuple(find_parts(path, contract, period))
        for part in parts:
            _check_time(contract, part.period, today)
            if contract.sender == "each-province":
                _check_existence(site.registry, province_id or sender, part.period, contract.as_of == "end")
        return Attribution(contract, province_id, parts)
    except SenderFault as fault:
        return replace(known, fault=fault)
    except SetupFault as fault:
        if fault.rule not in TOO_EARLY:
            raise
        return replace(known, fault=fault)


def _contract_of(
    name: str, sender: str, folder: str | None, contracts: Mapping[str, Contract], registry: Registry, has_period: bool
) -> tuple[Contract, NameMatch]:
    """The contract by the folder, else the one whose file names fit; and what the name says."""
    accepted = {d: c for d, c in contracts.items() if c.sender == sender or (c.sender == "each-province" and registry.exists(sender))}
    if not accepted:
        raise SenderFault(
            Message(
                f"Không có đơn vị gửi «{sender}»: thư mục phải mang mã tỉnh hoặc tên cơ quan trong hợp đồng.",
                f"There is no sender '{sender}': the folder must bear a province's id or the name of a body in a contract.",
            ),
            rule="unknown-sender",
        )
    if folder is not None:
        if folder not in contracts:
            raise SenderFault(
                Message(
                    f"Không có tập dữ liệu «{folder}»; có: {', '.join(sorted(accepted))}.",
                    f"There is no dataset '{folder}'; there are {', '.join(sorted(accepted))}.",
                ),
                rule="unknown-dataset",
            )
        if folder not in accepted:
            raise SenderFault(
                Message(f"«{sender}» không phải đơn vị gửi của «{folder}».", f"'{sender}' is not a sender of '{folder}'."),
                rule="wrong-sender",
            )
        accepted = {folder: accepted[folder]}
    stem = Path(name).stem
    if folder is not None and has_period:
        return accepted[folder], NameMatch(None, None)
    fits = [(c, m) for c in accepted.values() for p in c.file_names for m in (p.match(stem) or p.match(name),) if m]
    datasets = {c.dataset for c, _ in fits}
    if len(datasets) == 1:
        return fits[0]
    shown = "; ".join(f"{c.dataset}: {p.text}" for c in accepted.values() for p in c.file_names)
    if fits:
        raise SenderFault(
            Message(
                f"Tên tệp «{name}» hợp với nhiều tập dữ liệu; hãy đặt tệp vào thư mục của tập dữ liệu. {shown}",
                f"The file name '{name}' fits several datasets; put the file into its dataset's folder. {shown}",
            ),
            rule="file-name",
        )
    if folder is not None and len(accepted) == 1:
        contract = next(iter(accepted.values()))
        if not any(p.has_period for p in contract.file_names):
            return contract, NameMatch(None, None)
    raise SenderFault(
        Message(f"Tên tệp «{name}» không theo mẫu. {shown}", f"The file name '{name}' does not follow the pattern. {shown}"),
        rule="file-name",
    )


def _province_of(contract: Contract, sender: str, named: str | None, period: Period | None, registry: Registry) -> str | None:
    """The province a delivery is for: the sender's own, or a predecessor that the file's name says."""
    if contract.sender != "each-province":
        return None
    if named is None or named == sender:
        return sender
    if not registry.exists(named):
        raise SenderFault(Message(f"Tên tệp nhắc đến tỉnh «{named}» không có trong danh mục.", f"The file's name says the province '{named}', which the registry does not know."), rule="wrong-province")  # fmt: skip
    if named not in registry.predecessors(sender):
        raise SenderFault(
            Message(f"«{sender}» không được gửi dữ liệu của «{named}».", f"'{sender}' may not send data of '{named}'."),
            rule="wrong-province",
        )
    return named


def _check_time(contract: Contract, period: Period, today: date) -> None:
    if period.start > today:
        raise SenderFault(
            Message(
                f"Kỳ {period} ở tương lai (hôm nay {today:%d/%m/%Y}).",
                f"The period {period} lies in the future (today is {today:%Y-%m-%d}).",
            ),
            rule="future-period",
        )


def _check_existence(registry: Registry, province_id: str, period: Period, counts_at_end: bool) -> None:
    """A province delivers for the days on which it existed; a merged one names the predecessor it delivers for."""
    day = period.end if counts_at_end else period.start
    if registry.is_valid(province_id, day):
        return
    before = sorted(p for p in registry.predecessors(province_id) if registry.is_valid(p, day))
    hint_vi = f" Hãy ghi rõ tỉnh cũ trong tên tệp: {', '.join(before)}." if before else ""
    hint_en = f" Name the former province in the file's name: {', '.join(before)}." if before else ""
    raise SenderFault(
        Message(
            f"«{province_id}» không tồn tại trong kỳ {period}.{hint_vi}",
            f"'{province_id}' did not exist in the period {period}.{hint_en}",
        ),
        rule="wrong-period",
    )


# ---------------------------------------------------------------- archive and ledger


def receive(
    path: Path, file_name: str, sender: str, attribution: Attribution, site: Site, now: datetime, watch: Watch = UNWATCHED
) -> Received:
    """Archive the bytes, then enter one delivery for each part. Bytes that a partition has already are entered no second time.

    Raises `MachineFault` when the archive or the ledger cannot be written; the file is untouched then.
    """
    sha256, size = fingerprint(path)
    contract, parts = attribution.contract, attribution.parts
    dataset = contract.dataset if contract else "unknown"
    folder = str(parts[0].period) if len(parts) == 1 else "several" if parts else "unknown"
    name = f"{_safe(sender)}/{dataset}/{folder}/{sha256}-{_safe(file_name)}"
    if not site.archive.exists(name):
        site.archive.put(name, path)
        _check_archived(site, name, sha256)
    watch.on_step("archived")
    draft = Delivery(
        delivery_id=0,
        sender=sender,
        dataset=contract.dataset if contract else None,
        province_id=attribution.province_id,
        period=None,
        sheet=None,
        by_line=False,
        file_name=file_name,
        sha256=sha256,
        size_bytes=size,
        archive_path=name,
        contract_sha256=contract.sha256 if contract else None,
        state="received",
        received_at=now,
    )
    new, unchanged = [], []
    with site.warehouse.transaction() as connection:
        ledger.lock_sender(connection, sender)
        if contract:
            ledger.save_contract(connection, contract)
        for part in parts or (None,):
            one = replace(draft, period=part.period.start, sheet=part.sheet, by_line=part.by_line) if part else draft
            earlier = _earlier(connection, one)
            if earlier is not None:
                unchanged.append(earlier)
                continue
            entered = ledger.open_delivery(connection, one)
            if attribution.fault:
                whole = [Reason(attribution.fault.rule, attribution.fault.message)]
                ledger.record(connection, entered.delivery_id, "returned", reasons=whole)
                entered = ledger.get(connection, entered.delivery_id)
            new.append(entered)
    return Received(file_name, sender, tuple(new), tuple(unchanged))


def _earlier(connection: Connection, one: Delivery) -> Delivery | None:
    """An earlier delivery that makes this one superfluous: the partition's newest, of the same bytes and contract."""
    if one.dataset is None or one.period is None:
        return ledger.last_by_bytes(connection, one)
    found = ledger.latest(connection, one.dataset, one.province_id, one.period)
    is_same = found is not None and (found.sha256, found.contract_sha256, found.sheet) == (one.sha256, one.contract_sha256, one.sheet)
    return found if is_same else None


def fingerprint(path: Path) -> tuple[str, int]:
    """SHA-256 of a file and its size, read once."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size


def _check_archived(site: Site, name: str, sha256: str) -> None:
    """The archive has the bytes of its name; a file that changed while it was read is left for the next run."""
    local = site.archive.local_path(name)
    if local is not None and fingerprint(local)[0] != sha256:
        site.archive.delete(name)
        raise MachineFault(
            Message(
                "Tệp thay đổi trong khi đang đọc; lần chạy sau sẽ nhận.", "The file changed while it was read; the next run will take it."
            ),
            rule="changed-while-read",
        )


def clear(path: Path, seen: os.stat_result) -> None:
    """Take a received file out of the inbox, unless its sender has put another one in its place meanwhile."""
    facts = _facts(path)
    if facts is not None and (facts.st_ino, facts.st_size, facts.st_mtime_ns) == (seen.st_ino, seen.st_size, seen.st_mtime_ns):
        path.unlink(missing_ok=True)


def _safe(name: str) -> str:
    """A name as one part of a path: no separators, at most 150 bytes."""
    name = re.sub(r"[\x00-\x1f/\\]+", "_", name).strip() or "_"
    suffix = Path(name).suffix
    stem = name.removesuffix(suffix)
    while len(os.fsencode(stem + suffix)) > 150:
        stem = stem[:-1]
    return "_" + name if name in (".", "..") else stem + suffix
