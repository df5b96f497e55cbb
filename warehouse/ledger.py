"""The ledger: every delivery, what was decided about it, and every line that was refused.

Answers for: the states of a delivery and which delivery a partition shows; it is the truth that every later run starts from.
Refuses: values of restricted fields.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal

from expectations.contract import Contract
from expectations.faults import Message, SetupFault
from expectations.period import Period, Periodicity

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlalchemy import Connection, Row

State = Literal["received", "held", "returned", "loaded", "stored", "superseded"]
"""received: archived, not judged yet (or not to the end) · held: waits for a person · returned: refused whole ·
loaded: in the warehouse, its file not yet in the lake · stored: done · superseded: a newer delivery took its place."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a delivery was held or returned, or what its sender should know."""

    rule: str
    message: Message

    def as_json(self) -> dict[str, str]:
        return {"rule": self.rule, "vi": self.message.vi, "en": self.message.en}


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery as the ledger has it. `period` is its first day; without a dataset the file could not be attributed."""

    delivery_id: int
    sender: str
    dataset: str | None
    province_id: str | None
    period: date | None
    sheet: str | None
    by_line: bool
    file_name: str
    sha256: str
    size_bytes: int
    archive_path: str
    contract_sha256: str | None
    state: State
    received_at: datetime
    lines_read: int | None = None
    lines_loaded: int | None = None
    lines_rejected: int | None = None
    lines_waiting: int | None = None
    lines_faulty: int | None = None
    row_checksum: int | None = None
    lake_path: str | None = None
    reasons: tuple[Reason, ...] = ()
    notices: tuple[Reason, ...] = ()
    reported_at: datetime | None = None

    def period_of(self, periodicity: Periodicity) -> Period:
        if self.period is None:
            raise SetupFault(Message("Đợt gửi không có kỳ báo cáo.", "The delivery has no period."))
        return Period(self.period, periodicity)


@dataclass(frozen=True, slots=True)
class Counts:
    """The lines of a delivery: read = loaded + rejected + waiting, always; `faulty` are those with a fault of their own."""

    read: int
    loaded: int
    rejected: int
    waiting: int
    faulty: int


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """A declared total beside the computed one. `scope` is what the total speaks for, as the sender labels it; `is_total`: for
    the whole partition, not for a part of it."""

    scope: str
    is_total: bool
    measure: str
    unit: str
    line: int | None
    declared: float
    computed: float
    ties: bool


@dataclass(frozen=True, slots=True)
class Rejection:
    """One fault of one line; `severity` is error or warning."""

    line: int
    field: str | None
    rule: str
    severity: str
    value: str | None
    message: Message


_COLUMNS = (
    "delivery_id, sender, dataset, province_id, period, sheet, by_line, file_name, sha256, size_bytes, archive_path, contract_sha256, state, received_at, "
    "lines_read, lines_loaded, lines_rejected, lines_waiting, lines_faulty, row_checksum, lake_path, reasons, notices, reported_at"
)


def _delivery(row: Row[Any]) -> Delivery:
    values = dict(row._mapping)
    for name in ("reasons", "notices"):
        values[name] = tuple(Reason(r["rule"], Message(r["vi"], r["en"])) for r in values[name])
    if values["row_checksum"] is not None:
        values["row_checksum"] = int(values["row_checksum"])
    return Delivery(**values)


def _select(connection: Connection, where: str, **values: Any) -> list[Delivery]:
    from sqlalchemy import text

    return [_delivery(row) for row in connection.execute(text(f"SELECT {_COLUMNS} FROM control.delivery {where}"), values)]


# ---------------------------------------------------------------- writing


def claim(connection: Connection, delivery_id: int) -> bool:
    """Whether the delivery is ours to carry on until the transaction ends; not when another process has claimed it."""
    from sqlalchemy import text

    return bool(connection.execute(text("SELECT pg_try_advisory_xact_lock(10, :id)"), {"id": delivery_id % 2**31}).scalar())


def lock_sender(connection: Connection, sender: str) -> None:
    """Until the transaction ends, nobody else enters deliveries of this sender, so that the same bytes are not entered twice."""
    from sqlalchemy import text

    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:sender, 9))"), {"sender": sender})


def open_delivery(connection: Connection, delivery: Delivery, *, keep_id: bool = False) -> Delivery:
    """Enter a delivery and return it with its number; `keep_id` when it is rebuilt from an archive."""
    from sqlalchemy import text

    values = {k: v for k, v in asdict(delivery).items() if k in _ENTERED or (keep_id and k == "delivery_id")}
    names = ", ".join(values)
    row = connection.execute(
        text(f"INSERT INTO control.delivery ({names}) VALUES ({', '.join(':' + n for n in values)}) RETURNING {_COLUMNS}"), values
    ).one()
    return _delivery(row)


_ENTERED = ("sender", "dataset", "province_id", "period", "sheet", "by_line", "file_name", "sha256", "size_bytes", "archive_path", "contract_sha256", "state", "received_at")  # fmt: skip


def number_after(connection: Connection, highest: int) -> None:
    """The next delivery gets a number above `highest`, which an archive's own ledger knows."""
    from sqlalchemy import text

    connection.execute(
        text(
            "SELECT setval(pg_get_serial_sequence('control.delivery', 'delivery_id'), "
            "greatest(:highest, (SELECT max(delivery_id) FROM control.delivery)))"
        ),
        {"highest": highest},
    )


def contract_text(connection: Connection, sha256: str) -> str | None:
    """A contract that judged deliveries, word for word."""
    from sqlalchemy import text

    found: str | None = connection.execute(text("SELECT text FROM control.contract WHERE sha256 = :sha"), {"sha": sha256}).scalar()
    return found


def mark_stored(connection: Connection, delivery_id: int) -> None:
    """A loaded delivery is stored; one that was superseded meanwhile stays so."""
    from sqlalchemy import text

    connection.execute(
        text(
            "UPDATE control.delivery SET state = 'stored', changed_at = now(), reported_at = NULL WHERE delivery_id = :id AND state = 'loaded'"
        ),
        {"id": delivery_id},
    )


def continue_numbers(connection: Connection) -> None:
    """After a rebuild: the next delivery gets the next number."""
    from sqlalchemy import text

    connection.execute(
        text("SELECT setval(pg_get_serial_sequence('control.delivery', 'delivery_id'), (SELECT max(delivery_id) FROM control.delivery))")
    )


def save_contract(connection: Connection, contract: Contract) -> None:
    """Keep the contract's own text, by which deliveries were judged."""
    from sqlalchemy import text

    connection.execute(
        text(
            "INSERT INTO control.contract (sha256, dataset, version, text) VALUES (:sha, :dataset, :version, :body) ON CONFLICT DO NOTHING"
        ),
        {"sha": contract.sha256, "dataset": contract.dataset, "version": contract.version, "body": contract.text},
    )


def record(
    connection: Connection,
    delivery_id: int,
    state: State,
    *,
    counts: Counts | None = None,
    reasons: Sequence[Reason] = (),
    notices: Sequence[Reason] = (),
    row_checksum: int | None = None,
    lake_path: str | None = None,
    contract_sha256: str | None = None,
) -> None:
    """Write a verdict: the state with everything that explains it. The receipt is due anew."""
    from sqlalchemy import text

    connection.execute(
        text(
            "UPDATE control.delivery SET state = :state, lines_read = :read, lines_loaded = :loaded, lines_rejected = :rejected, lines_waiting = :waiting, "
            "lines_faulty = :faulty, reasons = CAST(:reasons AS jsonb), notices = CAST(:notices AS jsonb), row_checksum = :checksum, lake_path = :lake, "
            "contract_sha256 = coalesce(:contract, contract_sha256), changed_at = now(), reported_at = NULL WHERE delivery_id = :id"
        ),
        {
            "id": delivery_id,
            "state": state,
            "read": counts.read if counts else None,
            "loaded": counts.loaded if counts else None,
            "rejected": counts.rejected if counts else None,
            "waiting": counts.waiting if counts else None,
            "faulty": counts.faulty if counts else None,
            "reasons": json.dumps([r.as_json() for r in reasons], ensure_ascii=False),
            "notices": json.dumps([n.as_json() for n in notices], ensure_ascii=False),
            "checksum": row_checksum,
            "lake": lake_path,
            "contract": contract_sha256,
        },
    )


def mark(connection: Connection, delivery_id: int, state: State) -> None:
    """Change the state alone; the receipt is due anew."""
    from sqlalchemy import text

    connection.execute(
        text("UPDATE control.delivery SET state = :state, changed_at = now(), reported_at = NULL WHERE delivery_id = :id"),
        {"id": delivery_id, "state": state},
    )


def mark_reported(connection: Connection, delivery_id: int, at: datetime) -> None:
    """The receipt is written: nothing of the delivery is left to do."""
    from sqlalchemy import text

    connection.execute(text("UPDATE control.delivery SET reported_at = :at WHERE delivery_id = :id"), {"id": delivery_id, "at": at})


def supersede_older(connection: Connection, delivery: Delivery) -> None:
    """Older deliveries for the same partition that are shown, held or not judged yet have no more say."""
    from sqlalchemy import text

    connection.execute(
        text(
            f"UPDATE control.delivery SET state = 'superseded', changed_at = now(), reported_at = NULL WHERE {_SAME_PARTITION} "
            "AND delivery_id < :id AND state IN ('received', 'held', 'loaded', 'stored')"
        ),
        {"dataset": delivery.dataset, "province": delivery.province_id, "period": delivery.period, "id": delivery.delivery_id},
    )


def replace_rejections(connection: Connection, delivery_id: int, batches: Iterable[pa.RecordBatch], restricted: Sequence[str]) -> None:
    """Enter the rejections of a delivery, all of them; the values of restricted fields, and of lines that cannot be taken
    apart, stay with the sender."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from sqlalchemy import text

    from warehouse.load import write_rows

    connection.execute(text("DELETE FROM control.rejection WHERE delivery_id = :id"), {"id": delivery_id})
    sender = connection.execute(text("SELECT sender FROM control.delivery WHERE delivery_id = :id"), {"id": delivery_id}).scalar()
    same = pa.record_batch({"delivery_id": pa.array([delivery_id], pa.int64()), "sender": pa.array([sender], pa.string())})
    hidden = pa.array(restricted, pa.string())

    def entered() -> Iterator[pa.RecordBatch]:
        for batch in batches:
            field = batch.column("field")
            is_hidden = pc.or_(pc.is_in(field, value_set=hidden), field.is_null())
            shown = pc.replace_substring(pc.if_else(is_hidden, None, batch.column("value")), "\x00", "")  # no database takes it
            batch = batch.set_column(batch.schema.get_field_index("value"), "value", shown)
            repeated = same.take(pa.array([0] * batch.num_rows, pa.int8()))
            yield pa.RecordBatch.from_arrays([*batch.columns, *repeated.columns], names=[*batch.schema.names, *repeated.schema.names])

    # The ledger has row security, and COPY FROM does not go into such a table.
    stage = "CREATE TEMP TABLE IF NOT EXISTS rejections (LIKE control.rejection) ON COMMIT DROP; TRUNCATE pg_temp.rejections"
    connection.execute(text(stage))
    write_rows(connection, "pg_temp.rejections", entered())
    connection.execute(text("INSERT INTO control.rejection SELECT * FROM pg_temp.rejections"))


def replace_reconciliations(connection: Connection, delivery: Delivery, rows: Iterable[Reconciliation], target: str | None = None) -> None:
    """The declared totals of a delivery beside the computed ones, in place of earlier ones of the same delivery.

    `target` is the dataset whose rows were added up, the delivery's own unless said otherwise.
    """
    from sqlalchemy import text

    target = target or delivery.dataset
    connection.execute(
        text("DELETE FROM control.reconciliation WHERE delivery_id = :id AND target = :target"),
        {"id": delivery.delivery_id, "target": target},
    )
    values = [
        {
            "id": delivery.delivery_id,
            "sender": delivery.sender,
            "dataset": delivery.dataset,
            "period": delivery.period,
            "scope": r.scope,
            "target": target,
            "is_total": r.is_total,
            "measure": r.measure,
            "unit": r.unit,
        }
        | {"line": r.line, "declared": r.declared, "computed": r.computed, "ties": r.ties}
        for r in rows
    ]
    if values:
        connection.execute(
            text(
                "INSERT INTO control.reconciliation (delivery_id, sender, dataset, target, period, scope, is_total, measure, unit, line, declared, computed, ties) "
                "VALUES (:id, :sender, :dataset, :target, :period, :scope, :is_total, :measure, :unit, :line, :declared, :computed, :ties)"
            ),
            values,
        )


def decide(connection: Connection, delivery_id: int, action: Literal["approve", "reject"], *, by: str, reason: str, at: datetime) -> None:
    """Write down what a person decided about a held delivery, and why. It is carried out by the caller."""
    from sqlalchemy import text

    connection.execute(
        text(
            "INSERT INTO control.decision (delivery_id, sender, action, reason, decided_by, decided_at) "
            "SELECT delivery_id, sender, :action, :reason, :by, :at FROM control.delivery WHERE delivery_id = :id"
        ),
        {"id": delivery_id, "action": action, "reason": reason, "by": by, "at": at},
    )


def restore(connection: Connection, delivery: Delivery) -> None:
    """Give an entry the verdict that it had, from the ledger's own copy."""
    numbers = (delivery.lines_read, delivery.lines_loaded, delivery.lines_rejected, delivery.lines_waiting, delivery.lines_faulty)
    record(
        connection,
        delivery.delivery_id,
        "stored" if delivery.state == "loaded" else delivery.state,
        counts=Counts(*(n or 0 for n in numbers)) if delivery.lines_read is not None else None,
        reasons=delivery.reasons,
        notices=delivery.notices,
        row_checksum=delivery.row_checksum,
        lake_path=delivery.lake_path,
    )


def return_held(connection: Connection, delivery: Delivery, reason: Reason) -> None:
    """A held delivery is refused whole by a person: its waiting lines become rejected ones."""
    from sqlalchemy import text

    connection.execute(
        text(
            "UPDATE control.delivery SET state = 'returned', lines_rejected = lines_read, lines_waiting = 0, reasons = CAST(:reasons AS jsonb), "
            "changed_at = now(), reported_at = NULL WHERE delivery_id = :id"
        ),
        {"id": delivery.delivery_id, "reasons": json.dumps([r.as_json() for r in (reason, *delivery.reasons)], ensure_ascii=False)},
    )


# ---------------------------------------------------------------- reading


def get(connection: Connection, delivery_id: int, *, for_update: bool = False) -> Delivery:
    """One delivery. Raises `SetupFault` when there is none of that number."""
    found = _select(connection, f"WHERE delivery_id = :id {'FOR UPDATE' if for_update else ''}", id=delivery_id)
    if not found:
        raise SetupFault(
            Message(f"Không có đợt gửi số {delivery_id}; xem: ndc deliveries", f"There is no delivery {delivery_id}; see: ndc deliveries"),
            rule="no-delivery",
        )
    return found[0]


def numbered(connection: Connection, delivery_ids: Sequence[int]) -> list[Delivery]:
    """Some deliveries by their numbers, in the order of these."""
    return _select(connection, "WHERE delivery_id = ANY(:ids) ORDER BY delivery_id", ids=list(delivery_ids))


def unfinished(connection: Connection) -> list[Delivery]:
    """Deliveries that something is left to do for, oldest first."""
    return _select(connection, "WHERE reported_at IS NULL ORDER BY delivery_id")


def deliveries(connection: Connection, *, dataset: str | None = None, sender: str | None = None, state: str | None = None, limit: int | None = None) -> list[Delivery]:  # fmt: skip
    """The newest deliveries first."""
    where = " AND ".join(f"{name} = :{name}" for name, value in (("dataset", dataset), ("sender", sender), ("state", state)) if value)
    return _select(
        connection,
        f"{'WHERE ' + where if where else ''} ORDER BY delivery_id DESC {'LIMIT :limit' if limit else ''}",
        **{k: v for k, v in (("dataset", dataset), ("sender", sender), ("state", state), ("limit", limit)) if v},
    )


def all_in_order(connection: Connection) -> list[Delivery]:
    return _select(connection, "ORDER BY delivery_id")


_SAME_PARTITION = "dataset = :dataset AND period = :period AND province_id IS NOT DISTINCT FROM CAST(:province AS text)"


def latest(connection: Connection, dataset: str, province_id: str | None, period: date) -> Delivery | None:
    """The newest delivery for a partition that has not been superseded, whatever became of it."""
    found = _select(
        connection,
        f"WHERE {_SAME_PARTITION} AND state <> 'superseded' ORDER BY delivery_id DESC LIMIT 1",
        dataset=dataset,
        province=province_id,
        period=period,
    )
    return found[0] if found else None


def shown(connection: Connection, dataset: str, province_id: str | None, period: date) -> Delivery | None:
    """The delivery whose rows a partition shows."""
    found = _select(
        connection,
        f"WHERE {_SAME_PARTITION} AND state IN ('loaded', 'stored') ORDER BY delivery_id DESC LIMIT 1",
        dataset=dataset,
        province=province_id,
        period=period,
    )
    return found[0] if found else None


def unreported_predecessors(connection: Connection, delivery: Delivery) -> list[int]:
    """Superseded deliveries of the same partition whose senders do not know yet."""
    if delivery.dataset is None or delivery.period is None:
        return []
    found = _select(
        connection,
        f"WHERE {_SAME_PARTITION} AND state = 'superseded' AND reported_at IS NULL ORDER BY delivery_id",
        dataset=delivery.dataset,
        province=delivery.province_id,
        period=delivery.period,
    )
    return [d.delivery_id for d in found]


def of_partition(connection: Connection, delivery: Delivery) -> list[Delivery]:
    """All deliveries for the partition of a delivery, the newest first; itself alone where its period is not known."""
    if delivery.dataset is None or delivery.period is None:
        return [delivery]
    values = {"dataset": delivery.dataset, "province": delivery.province_id, "period": delivery.period}
    return _select(connection, f"WHERE {_SAME_PARTITION} ORDER BY delivery_id DESC", **values)


def all_shown(connection: Connection) -> list[Delivery]:
    """The deliveries whose rows the warehouse shows, one for each partition."""
    return _select(connection, "WHERE state IN ('loaded', 'stored') ORDER BY dataset, period, province_id")


def last_by_bytes(connection: Connection, one: Delivery) -> Delivery | None:
    """The newest delivery of the same bytes under the same name that could not be attributed to a period either."""
    found = _select(
        connection,
        "WHERE sender = :sender AND sha256 = :sha AND file_name = :name AND period IS NULL "
        "AND dataset IS NOT DISTINCT FROM CAST(:dataset AS text) ORDER BY delivery_id DESC LIMIT 1",
        sender=one.sender,
        sha=one.sha256,
        name=one.file_name,
        dataset=one.dataset,
    )
    return found[0] if found else None


def usual_lines(connection: Connection, delivery: Delivery, over: int) -> tuple[float, int] | None:
    """The median of the lines of the last `over` periods that were loaded of the dataset (of the province), and how many there were.

    A successor that delivers for its predecessor is measured by the predecessor's history.
    """
    from sqlalchemy import text

    row = connection.execute(
        text(
            "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY lines_loaded), count(*) FROM ("
            "SELECT DISTINCT ON (period) period, lines_loaded FROM control.delivery WHERE dataset = :dataset "
            "AND province_id IS NOT DISTINCT FROM CAST(:province AS text) AND state IN ('loaded', 'stored') AND period <> :period AND delivery_id <> :id "
            "ORDER BY period DESC, delivery_id DESC LIMIT :over) AS last"
        ),
        {
            "dataset": delivery.dataset,
            "province": delivery.province_id,
            "period": delivery.period,
            "id": delivery.delivery_id,
            "over": over,
        },
    ).one()
    return (float(row[0]), int(row[1])) if row[1] else None


def rejections(connection: Connection, delivery_id: int, limit: int | None = None) -> Iterator[Rejection]:
    """The rejections of a delivery in the order of its lines."""
    from sqlalchemy import text

    rows = connection.execution_options(yield_per=5_000).execute(
        text(
            "SELECT line, field, rule, severity, value, message_vi, message_en FROM control.rejection "
            f"WHERE delivery_id = :id ORDER BY line, field, rule {'LIMIT :limit' if limit else ''}"
        ),
        {"id": delivery_id, **({"limit": limit} if limit else {})},
    )
    for line, field, rule, severity, value, vi, en in rows:
        yield Rejection(line, field, rule, severity, value, Message(vi, en))


def rejections_by_rule(connection: Connection, delivery_id: int) -> list[Mapping[str, Any]]:
    """How often each rule was broken, and its first lines."""
    from sqlalchemy import text

    rows = connection.execute(
        text(
            "SELECT rule, field, severity, min(message_vi) AS message_vi, min(message_en) AS message_en, count(*) AS lines, "
            "(array_agg(line ORDER BY line))[1:10] AS first_lines FROM control.rejection WHERE delivery_id = :id "
            "GROUP BY rule, field, severity ORDER BY severity, count(*) DESC, rule"
        ),
        {"id": delivery_id},
    )
    return [dict(row._mapping) for row in rows]


def reconciliations(connection: Connection, delivery_id: int | None = None, dataset: str | None = None) -> list[Mapping[str, Any]]:
    """Declared totals beside computed ones, of one delivery or of what a dataset shows."""
    from sqlalchemy import text

    where = (
        "r.delivery_id = :id"
        if delivery_id is not None
        else "d.state IN ('loaded', 'stored')" + (" AND r.dataset = :dataset" if dataset else "")
    )
    rows = connection.execute(
        text(
            "SELECT r.delivery_id, r.dataset, r.period, r.scope, r.is_total, r.measure, r.unit, r.line, r.declared, r.computed, r.difference, r.ties "
            f"FROM control.reconciliation r JOIN control.delivery d USING (delivery_id) WHERE {where} ORDER BY r.dataset, r.period, r.delivery_id, r.line, r.measure"
        ),
        {"id": delivery_id} if delivery_id is not None else {"dataset": dataset} if dataset else {},
    )
    return [dict(row._mapping) for row in rows]


def decisions(connection: Connection, delivery_id: int) -> list[Mapping[str, Any]]:
    from sqlalchemy import text

    rows = connection.execute(
        text("SELECT action, reason, decided_by, decided_at FROM control.decision WHERE delivery_id = :id ORDER BY decided_at"),
        {"id": delivery_id},
    )
    return [dict(row._mapping) for row in rows]
