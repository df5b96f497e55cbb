"""The warehouse and the lake made again, equal, from an archive and the ledger's copy that lies beside it.

Answers for: every delivery keeps its number, its verdict and its people's decisions, judged by the contract of its day; rows
that come out other than they were are a fault. Refuses: a home that has deliveries already.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from etl.deliver import archived_file, deliver, report, task_of
from etl.journal import Entry, contract_text, read_entries
from etl.judge import judge, read_rejections
from etl.site import Site
from etl.store import Store
from expectations.contract import Contract, Field
from expectations.faults import Message, SenderFault, SetupFault
from expectations.odcs import parse_contract
from warehouse import ledger


def rebuild(site: Site, source: Store, now: datetime, on_each: Callable[[int, int], None] = lambda done, total: None) -> int:
    """Make everything again from `source`, an archive; returns the number of deliveries. `site` must be migrated and empty."""
    entries = list(read_entries(source))
    if not entries:
        raise SetupFault(
            Message(
                f"{source.address}: không có sổ đợt gửi (_ledger) để dựng lại.",
                f"{source.address}: there is no ledger (_ledger) to rebuild from.",
            ),
            rule="no-ledger",
        )
    with site.warehouse.transaction() as connection:
        if ledger.deliveries(connection, limit=1):
            raise SetupFault(
                Message(
                    f"{site.settings.home} đã có đợt gửi; chỉ dựng lại vào nơi trống.",
                    f"{site.settings.home} has deliveries already; rebuild into an empty home.",
                ),
                rule="not-empty",
            )
    for done, entry in enumerate(entries):
        _rebuild_one(site, source, entry, now)
        on_each(done + 1, len(entries))
    with site.warehouse.transaction("ndc_owner") as connection:
        ledger.continue_numbers(connection)
    return len(entries)


def _rebuild_one(site: Site, source: Store, entry: Entry, now: datetime) -> None:
    was = entry.delivery
    _bring_bytes(site, source, was.archive_path, was.delivery_id)
    contract = _contract_of_its_day(site, source, entry)
    then = _with_contract(site, contract) if contract else site
    with site.warehouse.transaction() as connection:
        if contract:
            ledger.save_contract(connection, contract)
        ledger.open_delivery(connection, replace(was, state="received"), keep_id=True)
        for decision in entry.decisions:
            ledger.decide(
                connection,
                was.delivery_id,
                decision["action"],
                by=decision["decided_by"],
                reason=decision["reason"],
                at=decision["decided_at"],
            )
    if was.state in ("loaded", "stored"):
        again = deliver(then, replace(was, state="received"), now, is_approved=True)
        if (again.state, again.lines_loaded, again.row_checksum) != ("stored", was.lines_loaded, was.row_checksum):
            raise SetupFault(
                Message(
                    f"Đợt gửi {was.delivery_id} dựng lại khác trước ({again.lines_loaded} dòng, trước là {was.lines_loaded}).",
                    f"Delivery {was.delivery_id} came out other than it was ({again.lines_loaded} lines, before {was.lines_loaded}).",
                ),
                rule="rebuilt-differently",
            )
    with site.warehouse.transaction() as connection:
        ledger.restore(connection, was)
    if contract and was.lines_read and was.state not in ("loaded", "stored"):
        _rejections_again(then, contract, entry)
    report(then, was.delivery_id, now)


def _rejections_again(site: Site, contract: Contract, entry: Entry) -> None:
    """A delivery that shows no rows: its rejections and reconciliation, judged once more."""
    was = entry.delivery
    spool = site.work_file(f"{was.delivery_id}.rejections")
    try:
        with archived_file(site, was) as file:
            judged = judge(task_of(site, contract, was, file), lambda rows: None, spool)
    except SenderFault:
        return
    with site.warehouse.transaction() as connection:
        ledger.replace_rejections(connection, was.delivery_id, read_rejections(spool), [f.name for f in contract.fields if f.is_restricted])
        ledger.replace_reconciliations(connection, was, judged.reconciliations)


def _bring_bytes(site: Site, source: Store, name: str, delivery_id: int) -> None:
    if source.address == site.archive.address or site.archive.exists(name):
        return
    local = source.local_path(name)
    if local is not None:
        site.archive.put(name, local)
        return
    copy = site.work_file(f"{delivery_id}.bytes")
    source.get(name, copy)
    site.archive.put(name, copy)
    copy.unlink()


def _contract_of_its_day(site: Site, source: Store, entry: Entry) -> Contract | None:
    """The contract that judged the delivery, from the archive; today's when it is the same or the archive has none.

    Which of its fields are restricted is for today's to say: that is where their values lie, and who may see them.
    """
    was = entry.delivery
    today = site.contracts.get(was.dataset or "")
    if was.contract_sha256 is None or (today and today.sha256 == was.contract_sha256):
        return today
    text = contract_text(source, was.contract_sha256)
    if not text:
        return today
    then = parse_contract(text, Path(f"{was.dataset}@{was.contract_sha256[:12]}.odcs.yaml"))
    return replace(then, fields=tuple(_classified_by(today, field) for field in then.fields)) if today else then


def _classified_by(today: Contract, field: Field) -> Field:
    known = today.by_name.get(field.name)
    return replace(field, classification=known.classification) if known else field


def _with_contract(site: Site, contract: Contract) -> Site:
    """The same installation with the same tables, one dataset of which is judged by another version of its contract."""
    then = replace(site)
    then.__dict__.update(site.__dict__ | {"contracts": {**site.contracts, contract.dataset: contract}, "tables": site.tables})
    return then
