"""The way of one delivery, from the archive to the receipt. It reads like the specification.

    judge (read, conform, validate) → decide → store (Parquet, under a name nobody reads) → load (rows, their restricted fields in a
    table of their own, rejections and ledger in one transaction) → the Parquet file takes its place in the lake → report

Answers for: the order of effects. A crash at any point leaves the old rows or the new ones, and `finish` does what is left.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from etl.decide import Evidence, Verdict, decide
from etl.journal import keep_contract, write_entry
from etl.judge import Judged, Task, judge, read_rejections, row_schema
from etl.lake import LakeFile, incoming_name, lake_name, read_metadata, read_rows
from etl.pipe import Behind, ahead
from etl.read import Part
from etl.receive import TOO_EARLY
from etl.report import Receipt, write_receipt
from etl.site import Site
from etl.watch import UNWATCHED, Watch
from expectations.contract import Contract
from expectations.faults import MachineFault, Message, SenderFault, SetupFault
from expectations.odcs import parse_contract
from expectations.unique import checksum
from warehouse import ledger, load, reconcile
from warehouse.ledger import Counts, Delivery, Reason
from warehouse.load import Partition, Stage
from warehouse.pseudonyms import with_stand_ins
from warehouse.tables import DatasetTable, check_fields, dataset_tables

if TYPE_CHECKING:
    from warehouse.engine import Connection


def deliver(
    site: Site, delivery: Delivery, now: datetime, *, is_approved: bool = False, is_again: bool = False, watch: Watch = UNWATCHED
) -> Delivery:
    """Carry a received (or approved) delivery to its end and return it as the ledger has it then.

    `is_again`: its rows are shown already, and stay when this time it would not be loaded.

    Raises `MachineFault` or `SetupFault` when something else than the file is wrong; the delivery then waits for the next run.
    """
    contract = contract_of(site, delivery)
    with archived_file(site, delivery) as file:
        try:
            task = task_of(site, contract, delivery, file)
            with site.warehouse.transaction() as connection:
                load.lock_partition(connection, partition_of(contract, delivery))
                if _is_overtaken(connection, delivery):
                    raise _NotLoaded(Verdict("return"), None)
                main, *personal = tables_of(site, contract)
                key = site.pseudonym_key.lend(connection) if main.pseudonyms else None
                stage = Stage(connection, main, partition_of(contract, delivery))
                judged, loaded, row_checksum = _judge_into(site, task, delivery, stage, lambda rows: with_stand_ins(rows, main, key), watch)
                stage.finish()
                watch.on_step("judged")
                verdict = decide(contract, _evidence(connection, contract, delivery, judged))
                if verdict.action != "load" and not (is_approved and verdict.action == "hold"):
                    raise _NotLoaded(verdict, judged)
                counts = Counts(judged.read, loaded, judged.read - loaded, 0, judged.faulty)
                stages = [stage, *(_copy_restricted(site, connection, contract, delivery, table, loaded) for table in personal)]
                _write_down(connection, contract, delivery, judged)
                ledger.record(
                    connection,
                    delivery.delivery_id,
                    "loaded",
                    counts=counts,
                    notices=[*verdict.reasons, *_warned_totals(judged), *judged.notices],
                    row_checksum=row_checksum,
                    lake_path=lake_name(delivery),
                    contract_sha256=contract.sha256,
                )
                ledger.supersede_older(connection, delivery)
                load.swap(connection, stages)
                watch.on_step("staged")
            watch.on_step("loaded")
        except _NotLoaded as outcome:
            _not_loaded(site, contract, delivery, outcome, is_again=is_again)
        except SenderFault as fault:
            refused = _NotLoaded(Verdict("return", (Reason(fault.rule, fault.message),)), None)
            _not_loaded(site, contract, delivery, refused, is_again=is_again)
        except SetupFault as fault:
            if fault.rule not in TOO_EARLY:
                raise
            refused = _NotLoaded(Verdict("return", (Reason(fault.rule, fault.message),)), None)
            _not_loaded(site, contract, delivery, refused, is_again=is_again)
        except load.PartitionRefused as refusal:
            raise SetupFault(
                Message(
                    f"Cơ sở dữ liệu từ chối đợt gửi {delivery.delivery_id}: {refusal}. Hợp đồng cho qua điều bảng không nhận; hãy sửa hợp đồng.",
                    f"The database refused delivery {delivery.delivery_id}: {refusal}. The contract lets pass what its table does not take; mend the contract.",
                ),
                rule="partition-refused",
            ) from refusal
    return finish(site, delivery.delivery_id, now, watch=watch)


def finish(site: Site, delivery_id: int, now: datetime, *, watch: Watch = UNWATCHED) -> Delivery:
    """Do what is left after the warehouse has decided: lake file, ledger `stored`, receipt. Safe to repeat."""
    with site.warehouse.transaction() as connection:
        delivery = ledger.get(connection, delivery_id)
    if delivery.state == "loaded":
        with site.warehouse.transaction() as connection:
            load.lock_partition(connection, partition_of(contract_of(site, delivery), delivery))
            if ledger.get(connection, delivery_id).state == "loaded":
                _place_lake_file(site, delivery)
                watch.on_step("placed")
                ledger.mark_stored(connection, delivery_id)
        watch.on_step("stored")
    if delivery.state in ("loaded", "stored"):
        _reconcile_across(site, delivery)
    report(site, delivery_id, now)
    watch.on_step("reported")
    with site.warehouse.transaction() as connection:
        replaced = ledger.unreported_predecessors(connection, delivery)
    for older in replaced:
        report(site, older, now)
    with site.warehouse.transaction() as connection:
        return ledger.get(connection, delivery_id)


# ---------------------------------------------------------------- what is to be judged


def contract_of(site: Site, delivery: Delivery) -> Contract:
    """Today's contract of the delivery's dataset. Raises `SetupFault` when there is none any more."""
    contract = site.contracts.get(delivery.dataset or "")
    if contract is None:
        raise SetupFault(
            Message(
                f"Đợt gửi {delivery.delivery_id}: không còn hợp đồng «{delivery.dataset}» trong {site.settings.contracts}.",
                f"Delivery {delivery.delivery_id}: there is no contract '{delivery.dataset}' in {site.settings.contracts} any more.",
            ),
            rule="no-contract",
        )
    return contract


def partition_of(contract: Contract, delivery: Delivery) -> Partition:
    return Partition(contract.dataset, delivery.province_id, delivery.period_of(contract.periodicity))


def tables_of(site: Site, contract: Contract) -> tuple[DatasetTable, ...]:
    """The tables that take the rows of a contract, which may be an older one. Raises `SetupFault` when a field has no place in them."""
    tables = site.tables.get(contract.dataset) or dataset_tables(contract)
    check_fields(tables, contract)
    return tables


def task_of(site: Site, contract: Contract, delivery: Delivery, file: Path) -> Task:
    """The task of judging a delivery's file by a contract."""
    part = Part(delivery.period_of(contract.periodicity), delivery.sheet, delivery.by_line)
    return Task(
        file=file,
        contract=contract,
        part=part,
        province_id=delivery.province_id,
        delivery_id=delivery.delivery_id,
        registry=site.registry,
        code_lists=site.code_lists(contract, part.period, delivery.province_id),
        batch_rows=site.settings.batch_rows,
    )


@contextlib.contextmanager
def archived_file(site: Site, delivery: Delivery) -> Iterator[Path]:
    """The delivery's bytes as a file of this machine."""
    local = site.archive.local_path(delivery.archive_path)
    if local is not None:
        yield local
        return
    copy = site.work_file(f"{delivery.delivery_id}.bytes")
    try:
        site.archive.get(delivery.archive_path, copy)
        yield copy
    finally:
        copy.unlink(missing_ok=True)


# ---------------------------------------------------------------- the steps of `deliver`


class _NotLoaded(Exception):
    """Rolls the transaction back: the verdict is to hold or to return, or a newer delivery is there (no verdict reasons)."""

    def __init__(self, verdict: Verdict, judged: Judged | None) -> None:
        super().__init__(verdict.action)
        self.verdict, self.judged = verdict, judged


def _is_overtaken(connection: Connection, delivery: Delivery) -> bool:
    """Whether the partition already shows a newer delivery, which an older one never overwrites."""
    assert delivery.dataset is not None and delivery.period is not None
    shown = ledger.shown(connection, delivery.dataset, delivery.province_id, delivery.period)
    return shown is not None and shown.delivery_id > delivery.delivery_id


def _judge_into(
    site: Site, task: Task, delivery: Delivery, stage: Stage, shape: Callable[[pa.RecordBatch], pa.RecordBatch], watch: Watch
) -> tuple[Judged, int, int]:
    """Judge the file while accepted rows go to the lake's waiting file and, shaped, to the stage; returns also their count and checksum."""
    lake_file = LakeFile(site.lake, delivery, task.contract)
    loaded = total = 0

    def keep(rows: pa.RecordBatch) -> None:
        nonlocal loaded, total
        lake_file.write(rows)
        stage.write(shape(rows))
        loaded += rows.num_rows
        total += checksum(rows)

    try:
        with Behind(keep) as sink:
            judged = judge(task, sink.put, site.work_file(f"{delivery.delivery_id}.rejections"), watch.on_lines)
    except BaseException:
        stage.abandon()
        raise
    finally:
        lake_file.close()
    return judged, loaded, total % 2**64


def _copy_restricted(site: Site, connection: Connection, contract: Contract, delivery: Delivery, table: DatasetTable, loaded: int) -> Stage:
    """The restricted fields of the accepted rows, from the lake's waiting file: a connection copies into one table at a time."""
    wanted = {column.name for column in table.columns}
    schema = pa.schema([field for field in row_schema(contract) if field.name in wanted])
    stage = Stage(connection, table, partition_of(contract, delivery))
    try:
        for rows in ahead(read_rows(site.lake, incoming_name(delivery), delivery, schema, site.settings.batch_rows)):
            stage.write(rows)
    except BaseException:
        stage.abandon()
        raise
    stage.finish()
    if stage.rows != loaded:
        raise MachineFault(
            Message(
                f"Đợt gửi {delivery.delivery_id}: tệp chờ trong hồ có {stage.rows} dòng, đúng ra {loaded}; lần chạy sau sẽ làm lại.",
                f"Delivery {delivery.delivery_id}: its waiting file in the lake has {stage.rows} lines instead of {loaded}; a later run does it anew.",
            ),
            rule="disk",
        )
    return stage


def _evidence(connection: Connection, contract: Contract, delivery: Delivery, judged: Judged) -> Evidence:
    usual = ledger.usual_lines(connection, delivery, contract.volume.over) if contract.volume else None
    return Evidence(judged.read, judged.faulty, judged.is_cut, judged.fatal, judged.broken_totals, usual)


def _write_down(connection: Connection, contract: Contract, delivery: Delivery, judged: Judged) -> None:
    """Rejections, without the values of restricted fields, and reconciliation, in place of an earlier judgement's."""
    restricted = [f.name for f in contract.fields if f.is_restricted]
    ledger.replace_rejections(connection, delivery.delivery_id, read_rejections(judged.rejections), restricted)
    ledger.replace_reconciliations(connection, delivery, judged.reconciliations)


def _warned_totals(judged: Judged) -> list[Reason]:
    """What the delivery as a whole breaks without being refused for it."""
    return [Reason(rule.id, rule.message) for rule in judged.broken_totals if rule.severity == "warning"]


def _not_loaded(site: Site, contract: Contract, delivery: Delivery, outcome: _NotLoaded, *, is_again: bool) -> None:
    """Write down that a delivery is held, returned or superseded. Raises `SetupFault` instead when its rows are shown and stay."""
    site.lake.delete(incoming_name(delivery))
    verdict, judged = outcome.verdict, outcome.judged
    if is_again:
        rules = ", ".join(reason.rule for reason in verdict.reasons)
        raise SetupFault(
            Message(
                f"Đợt gửi {delivery.delivery_id}: hợp đồng hiện nay không nhận nữa ({rules}); dòng cũ được giữ nguyên.",
                f"Delivery {delivery.delivery_id}: today's contract would not take it any more ({rules}); its rows stay as they are.",
            ),
            rule="not-again",
        )
    with site.warehouse.transaction() as connection:
        if judged is None and not verdict.reasons:
            ledger.record(connection, delivery.delivery_id, "superseded")
            return
        read, faulty = (judged.read, judged.faulty) if judged else (0, 0)
        is_held = verdict.action == "hold"
        counts = Counts(read, 0, faulty, read - faulty, faulty) if is_held else Counts(read, 0, read, 0, faulty)
        if judged:
            _write_down(connection, contract, delivery, judged)
        else:
            ledger.replace_rejections(connection, delivery.delivery_id, (), ())
        ledger.record(
            connection,
            delivery.delivery_id,
            "held" if is_held else "returned",
            counts=counts,
            reasons=verdict.reasons,
            notices=[*_warned_totals(judged), *judged.notices] if judged else [],
            contract_sha256=contract.sha256,
        )


# ---------------------------------------------------------------- the steps of `finish`


def _place_lake_file(site: Site, delivery: Delivery) -> None:
    """The waiting file takes its place. Where it was lost, it is written again from the archive."""
    waiting, name = incoming_name(delivery), lake_name(delivery)
    if not site.lake.exists(waiting):
        if (read_metadata(site.lake, name) or {}).get("delivery_id") == delivery.delivery_id:
            return
        write_lake_file(site, delivery)
    site.lake.move(waiting, name)


def write_lake_file(site: Site, delivery: Delivery) -> None:
    """Judge the archived bytes once more, for the lake's file alone."""
    contract = _contract_that_judged(site, delivery)
    lake_file = LakeFile(site.lake, delivery, contract)
    try:
        with archived_file(site, delivery) as file:
            judge(task_of(site, contract, delivery, file), lake_file.write, site.work_file(f"{delivery.delivery_id}.rejections"))
    finally:
        lake_file.close()


def _reconcile_across(site: Site, delivery: Delivery) -> None:
    """Compare with datasets that declare totals of this one, or that this one declares totals of."""
    for contract in site.contracts.values():
        for link in contract.reconciles:
            target = site.contracts.get(link.dataset)
            if target is not None and delivery.period is not None and delivery.dataset in (contract.dataset, target.dataset):
                with site.warehouse.transaction() as connection:
                    reconcile.across(connection, contract, link, target, delivery.period)


def report(site: Site, delivery_id: int, now: datetime) -> Path:
    """Write the sender's receipt and note that nothing is left to do."""
    with site.warehouse.transaction() as connection:
        delivery = ledger.get(connection, delivery_id)
        by_rule = ledger.rejections_by_rule(connection, delivery_id)
        totals = ledger.reconciliations(connection, delivery_id)
        decided = ledger.decisions(connection, delivery_id)
    contract = site.contracts.get(delivery.dataset or "")
    receipt = replace(receipt_of(site, delivery), by_rule=by_rule, reconciliations=totals, decisions=decided)
    spool = site.work_file(f"{delivery_id}.rejections")
    if by_rule and not spool.exists():
        _judge_again(site, delivery, spool)
    folder = write_receipt(site.settings.outbox, receipt, read_rejections(spool) if by_rule else ())
    if contract and delivery.contract_sha256 == contract.sha256:
        keep_contract(site.archive, contract.sha256, contract.text)
    write_entry(site.archive, delivery, decided)
    with site.warehouse.transaction() as connection:
        ledger.mark_reported(connection, delivery_id, now)
    spool.unlink(missing_ok=True)
    return folder


def receipt_of(site: Site, delivery: Delivery) -> Receipt:
    """What the receipt of a delivery says, but for its rejections, totals and decisions."""
    contract = site.contracts.get(delivery.dataset or "")
    return Receipt(
        delivery=delivery,
        contract=contract,
        sender_name=site.sender_name(delivery.sender),
        period_text=str(delivery.period_of(contract.periodicity)) if contract and delivery.period else None,
        timezone=site.settings.timezone,
        by_rule=[],
        reconciliations=[],
        decisions=[],
    )


def receipt_folder(site: Site, delivery: Delivery) -> Path:
    """Where the receipt of a delivery lies."""
    return site.settings.outbox / delivery.sender / receipt_of(site, delivery).folder_name


def _judge_again(site: Site, delivery: Delivery, spool: Path) -> None:
    """The rejections with the sender's own values, which the warehouse does not keep, from the archived bytes."""
    contract = _contract_that_judged(site, delivery)
    with archived_file(site, delivery) as file:
        judge(task_of(site, contract, delivery, file), lambda rows: None, spool)


def _contract_that_judged(site: Site, delivery: Delivery) -> Contract:
    """The contract by which the ledger says that a delivery was judged, which may not be today's."""
    today = contract_of(site, delivery)
    if delivery.contract_sha256 in (None, today.sha256):
        return today
    with site.warehouse.transaction() as connection:
        text = ledger.contract_text(connection, delivery.contract_sha256 or "")
    return parse_contract(text, today.file) if text else today
