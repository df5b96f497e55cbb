"""Read, conform and validate a delivery in one pass, batch by batch.

Answers for: every line read is accepted or has a rejection that names it; memory holds some batches and, of the whole delivery,
hashes and sums only. Refuses: deciding about the delivery (decide.py does) and storing it (the caller's sink does).
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.conform import BadCells, Conformed, Conformer, arrow_type
from etl.dates import Mask
from etl.pipe import ahead
from etl.read import Batch, Declared, Part, Table
from etl.read.tables import read_table
from expectations.contract import Contract, Field, Rule
from expectations.faults import Message, SenderFault
from expectations.predicates import Circumstances
from expectations.validate import Finding, Judge
from warehouse.ledger import Reason, Reconciliation
from warehouse.provinces import Registry

REJECTIONS = pa.schema(
    [
        ("line", pa.int64()),
        ("field", pa.string()),
        ("rule", pa.string()),
        ("severity", pa.string()),
        ("value", pa.string()),
        ("message_vi", pa.string()),
        ("message_en", pa.string()),
    ]
)
_EXACT = 1e-9
"""Two sums of the same numbers in another order differ by less than this share."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be judged: a file, its part, and by which contract and registry."""

    file: Path
    contract: Contract
    part: Part
    province_id: str | None
    delivery_id: int
    registry: Registry
    code_lists: Mapping[str, frozenset[str]]
    batch_rows: int = 50_000


@dataclass(slots=True)
class Judged:
    """What is known when all lines are judged. `rejections` is a file of Arrow record batches (schema REJECTIONS)."""

    rejections: Path
    read: int = 0
    faulty: int = 0
    is_cut: bool = False
    fatal: list[Rule] = field(default_factory=list)
    broken_totals: list[Rule] = field(default_factory=list)
    notices: list[Reason] = field(default_factory=list)
    reconciliations: list[Reconciliation] = field(default_factory=list)


def row_schema(contract: Contract) -> pa.Schema:
    """The columns of a dataset's rows as they are stored: where each row comes from, then the contract's fields."""
    own = [("province_id", pa.string()), ("period", pa.date32()), ("delivery_id", pa.int64()), ("line", pa.int32())]
    return pa.schema(own + [(f.name, arrow_type(f)) for f in contract.stored_fields])


def judge(
    task: Task, sink: Callable[[pa.RecordBatch], None], rejections: Path, on_lines: Callable[[int], None] = lambda count: None
) -> Judged:
    """Judge all lines; accepted rows go to `sink` in the file's order, refused ones to the file `rejections`.

    Raises `SenderFault` when the file cannot be read as a table of this contract at all.
    """
    table = read_table(task.file, task.contract, task.part, batch_rows=task.batch_rows)
    result = Judged(rejections)
    _check_header(task.contract, table, result)
    conformer = Conformer(task.contract, task.registry, task.part.period, task.province_id)
    judge_lines = Judge(task.contract, Circumstances(task.part.period, task.code_lists))
    sums = _Sums(task.contract)
    with pa.OSFile(str(rejections), "wb") as out, pa.ipc.new_stream(out, REJECTIONS) as refused:
        for batch in ahead(table.batches):
            conformed = conformer.conform(batch)
            findings = judge_lines.judge(conformed.rows, conformed.unreadable)
            accepted = _accepted(conformed, findings)
            again = judge_lines.repeated(_columns(task.contract, conformed), np.flatnonzero(accepted))
            for finding in again:
                if finding.rule.severity == "error":
                    accepted[finding.rows] = False
            _write_rejections(refused, task.contract, batch, conformed, [*findings, *again])
            result.read += len(batch.lines) + len(batch.broken)
            result.faulty += int((~accepted).sum()) + len(batch.broken)
            result.fatal += [
                f.rule for f in (*findings, *again) if f.rule.severity == "fatal" and f.rule.mostly is None and f.rule not in result.fatal
            ]
            rows = _rows(task, batch, conformed, accepted)
            sums.add(rows, batch, accepted)
            sink(rows)
            on_lines(result.read)
    result.is_cut = table.is_cut
    result.broken_totals = judge_lines.judge_totals()
    result.reconciliations = sums.beside(table.declared)
    _say_what_was_mended(table, conformer, result)
    return result


def read_rejections(file: Path) -> Iterator[pa.RecordBatch]:
    """The batches that `judge` wrote."""
    with pa.OSFile(str(file), "rb") as source, pa.ipc.open_stream(source) as stream:
        yield from stream


def summarise_rejections(file: Path) -> list[dict[str, Any]]:
    """How often each rule was broken and its first ten lines, as `ledger.rejections_by_rule` has it from the warehouse."""
    found: dict[tuple[str, str | None, str], dict[str, Any]] = {}
    for batch in read_rejections(file):
        for row in batch.slice(0, 10).to_pylist():
            key = (row["rule"], row["field"], row["severity"])
            one = found.setdefault(
                key,
                {"rule": key[0], "field": key[1], "severity": key[2], "message_vi": row["message_vi"], "message_en": row["message_en"], "lines": 0, "first_lines": []},
            )  # fmt: skip
            if len(one["first_lines"]) < 10:
                one["first_lines"].append(row["line"])
        found[key]["lines"] += batch.num_rows  # a batch is of one rule
    return sorted(found.values(), key=lambda one: (one["severity"], -one["lines"], one["rule"]))


# ---------------------------------------------------------------- header and repairs


def _check_header(contract: Contract, table: Table, result: Judged) -> None:
    """A missing column that is required returns the delivery; others, and unknown ones, are reported."""
    missing = [contract.by_name[name] for name in table.header.missing]
    needed = [f for f in missing if f.required or f.key is not None or (f.holds == "province" and contract.is_central)]
    if needed:
        vi, en = ", ".join(f"«{f.label}»" for f in needed), ", ".join(f"'{f.label}' ({f.name})" for f in needed)
        unknown = f" Các cột không nhận ra: {', '.join(map(_cut, table.header.unknown[:20]))}." if table.header.unknown else ""
        unknown_en = f" Columns nobody knows: {', '.join(map(_cut, table.header.unknown[:20]))}." if table.header.unknown else ""
        raise SenderFault(
            Message(
                f"Thiếu cột bắt buộc: {vi}.{unknown} Hãy đặt đúng tên cột rồi gửi lại.",
                f"Required columns are missing: {en}.{unknown_en} Name the columns as required and send again.",
            ),
            rule="header",
        )
    for f in missing:
        result.notices.append(Reason("column-missing", Message(f"Không có cột «{f.label}»; trường này để trống.", f"There is no column '{f.label}'; the field {f.name} stays empty.")))  # fmt: skip
    for text in [_cut(t) for t in table.header.unknown[:20]]:
        result.notices.append(Reason("column-unknown", Message(f"Cột «{text}» không có trong hợp đồng; không được nạp.", f"The column '{text}' is not in the contract; it is not loaded.")))  # fmt: skip


def _cut(heading: str) -> str:
    """A heading for the ledger: its beginning, and no long number, which may be somebody's."""
    return re.sub(r"\d{6,}", "…", heading if len(heading) <= 60 else heading[:60] + "…")


_REPAIRS = {
    "text": Message(
        "{n} ô được chuẩn hoá chữ (dấu cách thừa, mã Unicode).", "{n} cells had their text normalised (stray blanks, Unicode forms)."
    ),
    "zeros": Message("{n} mã được thêm lại số 0 ở đầu.", "{n} codes got their leading zeros back."),
    "encoding": Message("Tệp không phải UTF-8, đã chuyển mã từ {n}.", "The file is not UTF-8; it was read as {n}."),
}


def _say_what_was_mended(table: Table, conformer: Conformer, result: Judged) -> None:
    repairs = {**table.repairs, **{name: count for name, count in conformer.repairs.items() if count}}
    for name, count in repairs.items():
        said = _REPAIRS.get(name, Message("Đã sửa {n} chỗ: " + name, "{n} repairs: " + name))
        shown = table.encoding if name == "encoding" else count
        result.notices.append(Reason(f"repaired-{name}", said.fill(n=shown)))


# ---------------------------------------------------------------- rows


def _accepted(conformed: Conformed, findings: list[Finding]) -> Mask:
    """True for the rows that nothing refuses so far."""
    accepted = np.ones(len(conformed.provinces), bool)
    for bad in conformed.bad:
        accepted[bad.rows] = False
    for finding in findings:
        if finding.rule.severity == "error" and finding.rule.mostly is None:
            accepted[finding.rows] = False
    return accepted


def _columns(contract: Contract, conformed: Conformed) -> dict[str, pa.Array]:
    columns = {name: conformed.rows.column(name) for name in conformed.rows.schema.names}
    for held in contract.fields:
        if held.holds == "province":
            columns[held.name] = conformed.provinces
        elif held.holds == "period":
            columns[held.name] = pa.array(np.zeros(len(conformed.provinces), np.int64))
    return columns


def _rows(task: Task, batch: Batch, conformed: Conformed, accepted: Mask) -> pa.RecordBatch:
    """The accepted rows with where they come from, in the schema `row_schema`."""
    count = len(batch.lines)
    period = pa.array(np.full(count, (task.part.period.start.toordinal() - 719_163), np.int32)).cast(pa.date32())
    own = [conformed.provinces, period, pa.array(np.full(count, task.delivery_id, np.int64)), pa.array(batch.lines.astype(np.int32))]
    schema = row_schema(task.contract)
    rows = pa.RecordBatch.from_arrays([*own, *(conformed.rows.column(f.name) for f in task.contract.stored_fields)], schema=schema)
    return rows if accepted.all() else rows.filter(pa.array(accepted))


# ---------------------------------------------------------------- rejections


def _write_rejections(out: Any, contract: Contract, batch: Batch, conformed: Conformed, findings: list[Finding]) -> None:
    for broken in batch.broken:
        columns = [[broken.line], [None], ["cells"], ["error"], [broken.text], [broken.message.vi], [broken.message.en]]
        out.write_batch(
            pa.RecordBatch.from_arrays([pa.array(c, f.type) for c, f in zip(columns, REJECTIONS, strict=True)], schema=REJECTIONS)
        )
    for bad in conformed.bad:
        out.write_batch(_rejected(batch, bad, "error"))
    for finding in findings:
        blamed = finding.rule.fields[0]
        values = _values(contract.by_name[blamed], batch, conformed, finding)
        severity = "warning" if finding.rule.severity == "warning" or finding.rule.mostly is not None else "error"
        out.write_batch(_rejected(batch, BadCells(finding.rows, blamed, finding.rule.id, values, finding.rule.message), severity))


def _rejected(batch: Batch, bad: BadCells, severity: str) -> pa.RecordBatch:
    count = len(bad.rows)

    def same(text: str) -> pa.Array:
        return pa.array([text], pa.string()).take(pa.array(np.zeros(count, np.int8)))

    lines = pa.array(batch.lines[bad.rows])
    return pa.RecordBatch.from_arrays(
        [lines, same(bad.field), same(bad.rule), same(severity), bad.values, same(bad.message.vi), same(bad.message.en)], schema=REJECTIONS
    )


def _values(blamed: Field, batch: Batch, conformed: Conformed, finding: Finding) -> pa.Array:
    from etl.conform import as_written

    cells = batch.columns.get(blamed.name)
    if cells is None:
        return pa.nulls(len(finding.rows), pa.string())
    return as_written(cells, finding.rows)


# ---------------------------------------------------------------- declared totals


class _Sums:
    """Sums of the additive fields over the accepted rows, of everything and under each subtotal."""

    def __init__(self, contract: Contract) -> None:
        self._fields = contract.additive_fields
        self._parts: dict[tuple[int | None, str], list[float]] = defaultdict(list)

    def add(self, rows: pa.RecordBatch, batch: Batch, accepted: Mask) -> None:
        groups = batch.groups[accepted] if batch.groups is not None else None
        for f in self._fields:
            column = pc.fill_null(rows.column(f.name), 0).to_numpy(zero_copy_only=False).astype(np.float64)
            if groups is None:
                self._parts[None, f.name].append(float(column.sum()))
                continue
            self._parts[None, f.name].append(math.fsum(column))
            for group in np.unique(groups[groups >= 0]):
                self._parts[int(group), f.name].append(math.fsum(column[groups == group]))

    def beside(self, declared: list[Declared]) -> list[Reconciliation]:
        """Each declared total of an additive field beside the computed one (exactly rounded, math.fsum)."""
        result = []
        for total in declared:
            for f in self._fields:
                if f.name in total.values and f.measure:
                    stated, computed = total.values[f.name], math.fsum(self._parts.get((total.group, f.name), ()))
                    ties = math.isclose(stated, computed, rel_tol=_EXACT, abs_tol=_EXACT)
                    result.append(
                        Reconciliation(total.scope, total.group is None, f.name, f.measure.unit, total.line, stated, computed, ties)
                    )
        return result
