"""Small contracts and batches for the tests of judging."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from etl.conform import arrow_type
from expectations.contract import Contract
from expectations.odcs import parse_contract
from expectations.period import Period
from expectations.predicates import Circumstances
from expectations.validate import Finding, Judge

FILE = Path("somewhere/sheet.odcs.yaml")
JUNE = Period(date(2025, 6, 1), "month")
LISTS = {"communes": frozenset({"00001", "00004"})}
FIELDS: dict[str, dict[str, Any]] = {
    "t": {"logicalType": "string"},
    "u": {"logicalType": "string"},
    "n": {"logicalType": "integer"},
    "k": {"logicalType": "integer"},
    "x": {"logicalType": "number"},
    "y": {"logicalType": "number"},
    "d": {"logicalType": "date"},
    "e": {"logicalType": "date"},
    "m": {"logicalType": "timestamp"},
    "z": {"logicalType": "timestamp", "logicalTypeOptions": {"timezone": True, "defaultTimezone": "Asia/Ho_Chi_Minh"}},
    "f": {"logicalType": "boolean"},
}
_MESSAGE = {"property": "message", "value": {"vi": "Sai.", "en": "Wrong."}}


def rule(expectation: str, when: Any = None, severity: str = "error", name: str = "rule", **arguments: Any) -> dict[str, Any]:
    """A rule as it stands in a contract."""
    custom = [_MESSAGE, *([{"property": "when", "value": when}] if when else [])]
    implementation = {"type": expectation, "kwargs": arguments}
    return {
        "id": name,
        "type": "custom",
        "engine": "greatExpectations",
        "severity": severity,
        "implementation": implementation,
        "customProperties": custom,
    }


def contract_with(*rules: dict[str, Any], **fields: dict[str, Any]) -> Contract:
    """A contract with all kinds of fields, or some of them with other keys, and these rules."""
    described = {**FIELDS, **fields}
    document = {
        "apiVersion": "v3.2.0",
        "kind": "DataContract",
        "id": "sheet",
        "version": "1.0.0",
        "status": "active",
        "schema": [{"name": "sheet", "properties": [{"name": name, **keys} for name, keys in described.items()], "quality": list(rules)}],
        "customProperties": [
            {"property": "sender", "value": "each-province"},
            {"property": "periodicity", "value": "month"},
            {"property": "fileName", "value": "sheet_{period:%Y-%m}"},
        ],
    }
    return parse_contract(yaml.safe_dump(document, allow_unicode=True, sort_keys=False), FILE)


def batch_of(contract: Contract, **columns: Sequence[Any]) -> pa.RecordBatch:
    """A batch of these columns; the others hold nothing."""
    count = max(map(len, columns.values()))
    arrays = [pa.array(list(columns.get(f.name, [None] * count)), arrow_type(f)) for f in contract.stored_fields]
    return pa.RecordBatch.from_arrays(arrays, names=[f.name for f in contract.stored_fields])


def new_judge(contract: Contract) -> Judge:
    return Judge(contract, Circumstances(JUNE, LISTS))


def broken(judge: Judge, batch: pa.RecordBatch, unreadable: Mapping[str, Sequence[bool]] | None = None) -> dict[str, list[int]]:
    """The rows of a batch that break each rule."""
    masks = {name: np.array(mask) for name, mask in (unreadable or {}).items()}
    return rows_of(judge.judge(batch, masks))


def repeated(judge: Judge, batch: pa.RecordBatch, lines: Sequence[int] | None = None) -> dict[str, list[int]]:
    """The rows of a batch that repeat what must be unique."""
    chosen = np.arange(batch.num_rows) if lines is None else np.array(lines, np.intp)
    return rows_of(judge.repeated({name: batch.column(name) for name in batch.schema.names}, chosen))


def rows_of(findings: list[Finding]) -> dict[str, list[int]]:
    return {finding.rule.id: finding.rows.tolist() for finding in findings}
