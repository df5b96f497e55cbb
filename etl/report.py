"""The receipt of a delivery: what its sender gets back, always.

Answers for: three files in one folder that appears whole: `receipt.json` for machines, `rejected.csv` with every rejection, and
`receipt.html` for people, where what is capped says so; nobody but the owner reads them. Refuses: clock, database and judgement.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import jinja2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from etl.store import flush
from expectations.contract import Contract, Field
from expectations.faults import MachineFault, Message
from expectations.period import Period
from warehouse.ledger import Delivery

FORMAT = 1
REJECTED, MACHINES, PEOPLE = "rejected.csv", "receipt.json", "receipt.html"
COLUMNS = ("sheet", "line", "field", "label", "rule", "severity", "value", "message_vi", "message_en")
SAMPLE_ROWS, SAMPLE_CHARACTERS, TOTALS_SHOWN = 50, 120, 100

_BLOCK_BYTES = 16 << 20
_NARROW = "\u202f"
_SCHEMA = pa.schema([(name, pa.int64() if name == "line" else pa.string()) for name in COLUMNS])
# A spreadsheet runs a cell that starts so, behind blanks and invisible characters too. Where its list separator is the
# semicolon (most of Europe) it cuts our lines elsewhere: then a cell also starts after a semicolon, tab or line break in a value.
_TRIGGER = "[=+@＝＋－＠-]"
_AT_START = rf"^([\t\r\n]|[\s\pZ\pC]*{_TRIGGER})"
_WITHIN = rf"([;\t\r\n][\s\pZ\pC\"]*)({_TRIGGER})"
_NEGATIVE_NUMBER = r"^-[0-9]+([.,][0-9]+)*$"


@dataclass(frozen=True)
class Receipt:
    """What a receipt says. `by_rule`, `reconciliations` and `decisions` are rows as the ledger gives them; `timezone` is the
    IANA name of the zone in which times are written; the contract is None when the file could not be attributed."""

    delivery: Delivery
    contract: Contract | None
    sender_name: str
    period_text: str | None
    timezone: str
    by_rule: Sequence[Mapping[str, Any]] = ()
    reconciliations: Sequence[Mapping[str, Any]] = ()
    decisions: Sequence[Mapping[str, Any]] = ()

    @property
    def folder_name(self) -> str:
        return f"{self.delivery.delivery_id:08d}-{self.delivery.dataset or 'unknown'}-{self.period_text or 'none'}"

    def field(self, name: str | None) -> Field | None:
        return self.contract.by_name.get(name or "") if self.contract else None

    def label(self, name: str | None) -> str | None:
        """The label of a field; of a field that the contract does not know, its name."""
        known = self.field(name)
        return known.label if known else name

    def local(self, moment: datetime) -> datetime:
        return moment.astimezone(ZoneInfo(self.timezone))


def write_receipt(outbox: Path, receipt: Receipt, rejections: Iterable[pa.RecordBatch]) -> Path:
    """Write the receipt to `outbox/<sender>/<number>-<dataset>-<period>/`, in place of an earlier one, and return that folder.

    `rejections` has the columns line, field, rule, severity, value, message_vi, message_en; it is read once and never held
    whole. Raises `MachineFault` when the folder cannot be written; an earlier receipt is still there then.
    """
    sender, name = _one_part(receipt.delivery.sender), _one_part(receipt.folder_name)
    try:
        home = _private_folder(outbox, sender)
        new = Path(tempfile.mkdtemp(prefix=f".{receipt.delivery.delivery_id:08d}-", dir=home))
        try:
            seen = _write_rejected(new / REJECTED, receipt, rejections)
            facts = _facts(receipt, seen)
            _write_text(new / MACHINES, json.dumps(facts, ensure_ascii=False, indent=2, allow_nan=False) + "\n")
            _write_text(new / PEOPLE, _page(receipt, facts, seen))
            flush(new)
            _take_place(home, new, name)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    except OSError as error:
        raise _cannot_write(outbox / sender / name, error) from error
    return home / name


# ---------------------------------------------------------------- the folder


def _one_part(name: str) -> str:
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise ValueError(f"not the name of a folder: {name!r}")
    return name


def _private_folder(outbox: Path, sender: str) -> Path:
    """The sender's folder, for its owner alone even where it was there before."""
    outbox.mkdir(mode=0o700, parents=True, exist_ok=True)
    home = outbox / sender
    home.mkdir(mode=0o700, exist_ok=True)
    if home.stat().st_mode & 0o077:
        home.chmod(0o700)
    return home


def _take_place(home: Path, new: Path, name: str) -> None:
    """Put the new folder where earlier receipts of its delivery are; a rename cannot replace a folder that holds files.

    Between two renames there is no receipt. After a crash there the ledger still has the receipt as due, and it is written anew.
    """
    number = name.split("-", 1)[0]
    attic = Path(tempfile.mkdtemp(prefix=f".{number}-", dir=home))
    for earlier in home.glob(f"{number}-*"):
        earlier.rename(attic / earlier.name)
    new.rename(home / name)
    flush(home)
    for left in home.glob(f".{number}-*"):
        shutil.rmtree(left, ignore_errors=True)


def _write_text(path: Path, text: str) -> None:
    with _private_file(path) as file:
        file.write(text.encode("utf-8", "replace"))
    flush(path)


def _private_file(path: Path) -> Any:
    return open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600))


def _cannot_write(folder: Path, error: OSError) -> MachineFault:
    reason = error.strerror or type(error).__name__
    return MachineFault(
        Message(
            f"Không ghi được biên nhận vào {folder} ({reason}). Đợt gửi không mất gì; hãy sửa rồi chạy lại, biên nhận sẽ được viết.",
            f"The receipt cannot be written to {folder} ({reason}). Nothing of the delivery is lost; mend this and run again, and it will be written.",
        ),
        rule="receipt",
    )


# ---------------------------------------------------------------- rejected.csv


@dataclass
class _Seen:
    """What the page needs of the rejections that went by: how many, and of each rule the first ones, which no frequent rule crowds out."""

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def warnings(self) -> int:
        return self.counts["warning"]

    @property
    def errors(self) -> int:
        return self.counts.total() - self.warnings

    def add(self, block: pa.RecordBatch) -> None:
        severities, rules = (block.column(name).dictionary_encode() for name in ("severity", "rule"))
        codes = severities.indices.to_numpy().astype(np.int64) * len(rules.dictionary) + rules.indices.to_numpy()
        for code, count in zip(*np.unique(codes, return_counts=True), strict=True):
            severity, rule = divmod(int(code), len(rules.dictionary))
            key = severities.dictionary[severity].as_py(), rules.dictionary[rule].as_py()
            self.counts[key[0]] += int(count)
            kept = self.first.setdefault(key, [])
            wanted = np.flatnonzero(codes == code)[: SAMPLE_ROWS - len(kept)]
            kept += block.take(pa.array(wanted, pa.int64())).to_pylist()

    def sample(self, *, are_warnings: bool) -> list[dict[str, Any]]:
        """At most SAMPLE_ROWS, taken from the rules in turn, in the order of the lines."""
        chosen = [rows for (severity, _), rows in self.first.items() if (severity == "warning") == are_warnings]
        in_turn = [row for turn in zip_longest(*chosen) for row in turn if row is not None]
        return sorted(in_turn[:SAMPLE_ROWS], key=lambda row: (row["line"] is None, row["line"]))


def _write_rejected(path: Path, receipt: Receipt, rejections: Iterable[pa.RecordBatch]) -> _Seen:
    """Write every rejection as CSV, values made harmless for spreadsheets."""
    seen = _Seen()
    with _private_file(path) as file:
        file.write(b"\xef\xbb\xbf")  # without it Excel takes UTF-8 for the machine's old code page
        with pacsv.CSVWriter(file, _SCHEMA) as writer:
            for block in _blocks(rejections):
                seen.add(block)
                writer.write(_as_written(receipt, block))
    flush(path)
    return seen


def _as_written(receipt: Receipt, block: pa.RecordBatch) -> pa.RecordBatch:
    fields = receipt.contract.fields if receipt.contract else ()
    names, labels = pa.array([f.name for f in fields], pa.string()), pa.array([f.label for f in fields], pa.string())
    columns = {name: block.column(name) for name in block.schema.names}
    columns["sheet"] = pa.repeat(pa.scalar(receipt.delivery.sheet, pa.string()), block.num_rows)
    columns["label"] = labels.take(pc.index_in(block.column("field"), names))
    return pa.RecordBatch.from_arrays([columns[name] if name == "line" else _harmless(columns[name]) for name in COLUMNS], schema=_SCHEMA)


def _blocks(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in blocks of bounded size, each in the order of its lines: rules come one after the other, often a row at a time."""
    waiting: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        waiting.append(batch)
        size += batch.nbytes
        if size >= _BLOCK_BYTES:
            block = pa.Table.from_batches(waiting).sort_by("line")
            waiting, size = [], 0
            yield from block.to_batches()
    if waiting:
        yield from pa.Table.from_batches(waiting).sort_by("line").to_batches()


def _harmless(texts: pa.Array) -> pa.Array:
    """Texts that no spreadsheet takes for a formula; a plain negative number stays as it is."""
    encoded = texts.dictionary_encode()  # rules and messages are few, values often
    plain = encoded.dictionary
    quoted = pc.replace_substring_regex(plain, pattern=_AT_START, replacement=r"'\1")
    quoted = pc.replace_substring_regex(quoted, pattern=_WITHIN, replacement=r"\1'\2")
    return pc.if_else(pc.match_substring_regex(plain, _NEGATIVE_NUMBER), plain, quoted).take(encoded.indices)


# ---------------------------------------------------------------- receipt.json

OUTCOMES: Mapping[str, Message] = {
    "received": Message("Đã nhận, chưa kiểm tra xong", "Received, not judged yet"),
    "loaded": Message("Đã tiếp nhận và nạp", "Accepted and loaded"),
    "loaded-in-part": Message("Đã nạp, có dòng bị từ chối", "Loaded, with rejected lines"),
    "held": Message("Tạm giữ chờ xử lý", "Held for a decision"),
    "returned": Message("Không chấp nhận, trả lại", "Not accepted, returned"),
    "returned-unread": Message("Không chấp nhận, trả lại", "Not accepted, returned"),
    "superseded": Message("Đã được thay thế", "Replaced"),
}
"""What became of a delivery, in words for its sender; what that means and what to do next stands in the page's template."""


def _outcome(delivery: Delivery) -> str:
    """The key in OUTCOMES. A sender need not know that the lake's file follows the rows by a moment."""
    if delivery.state in ("loaded", "stored"):
        return "loaded-in-part" if delivery.lines_rejected else "loaded"
    if delivery.state == "returned" and not delivery.lines_read:
        return "returned-unread"
    return delivery.state


def _facts(receipt: Receipt, seen: _Seen) -> dict[str, Any]:
    """All that a receipt says, but for values of rows."""
    delivery, contract = receipt.delivery, receipt.contract
    outcome = _outcome(delivery)
    return {
        "format": FORMAT,
        "delivery": delivery.delivery_id,
        "state": delivery.state,
        "outcome": {"name": outcome, "vi": OUTCOMES[outcome].vi, "en": OUTCOMES[outcome].en},
        "sender": {"id": delivery.sender, "name": receipt.sender_name},
        "dataset": delivery.dataset,
        "contract": {"version": contract.version, "label": contract.label, "sha256": delivery.contract_sha256} if contract else None,
        "period": receipt.period_text,
        "province": delivery.province_id,
        "file": {"name": delivery.file_name, "sheet": delivery.sheet, "sha256": delivery.sha256, "size_bytes": delivery.size_bytes},
        "received_at": receipt.local(delivery.received_at).isoformat(timespec="seconds"),
        "lines": {name: getattr(delivery, f"lines_{name}") for name in ("read", "loaded", "rejected", "waiting", "faulty")},
        "reasons": [reason.as_json() for reason in delivery.reasons],
        "notices": [notice.as_json() for notice in delivery.notices],
        "rejections": {
            "file": REJECTED,
            "errors": seen.errors,
            "warnings": seen.warnings,
            "by_rule": [_rule_facts(receipt, row) for row in receipt.by_rule],
        },
        "reconciliation": [_total_facts(receipt, row) for row in receipt.reconciliations],
        "decisions": [_decision_facts(receipt, row) for row in receipt.decisions],
    }


def _rule_facts(receipt: Receipt, row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "rule": row["rule"],
        "field": row["field"],
        "label": receipt.label(row["field"]),
        "severity": row["severity"],
        "vi": row["message_vi"],
        "en": row["message_en"],
        "count": row["lines"],
        "first_lines": list(row["first_lines"][:10]),
    }


def _total_facts(receipt: Receipt, row: Mapping[str, Any]) -> dict[str, Any]:
    declared, computed = float(row["declared"]), float(row["computed"])
    return {
        "scope": row["scope"],
        "measure": row["measure"],
        "label": receipt.label(row["measure"]),
        "unit": row["unit"],
        "line": row["line"],
        "declared": _finite(declared),
        "computed": _finite(computed),
        "difference": _finite(computed - declared),
        "ties": row["ties"],
    }


def _decision_facts(receipt: Receipt, row: Mapping[str, Any]) -> dict[str, Any]:
    at = receipt.local(row["decided_at"]).isoformat(timespec="seconds")
    return {"action": row["action"], "reason": row["reason"], "decided_by": row["decided_by"], "decided_at": at}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None  # JSON has no infinity


# ---------------------------------------------------------------- receipt.html


def _page(receipt: Receipt, facts: Mapping[str, Any], seen: _Seen) -> str:
    totals = sorted(facts["reconciliation"], key=lambda total: bool(total["ties"]))
    by_rule = facts["rejections"]["by_rule"]
    return _template().render(
        facts,
        period_words=_period_in_words(receipt),
        errors=[row for row in by_rule if row["severity"] != "warning"],
        warnings=[row for row in by_rule if row["severity"] == "warning"],
        sample=_places(receipt, seen.sample(are_warnings=False)),
        warned=_places(receipt, seen.sample(are_warnings=True)),
        totals=totals[:TOTALS_SHOWN],
        totals_left=len(totals[TOTALS_SHOWN:]),
        totals_off=sum(not total["ties"] for total in totals),
    )


@cache
def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    pages = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    pages.filters |= {"number": _number, "size": _size, "moment": _moment}
    return pages.get_template("receipt.html.j2")


def _places(receipt: Receipt, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rejections for the page, those with one message together, in the order of the rules above them."""
    order = {(row["rule"], row["field"]): place for place, row in enumerate(receipt.by_rule)}
    groups: dict[tuple[str, str | None, str], dict[str, Any]] = {}
    for row in rows:
        rule, name, vi = key = row["rule"], row["field"], row["message_vi"]
        new = {
            "place": order.get((rule, name), len(order)),
            "label": receipt.label(name),
            "field": name,
            "vi": vi,
            "en": row["message_en"],
            "rows": [],
        }
        groups.setdefault(key, new)["rows"].append({"line": row["line"], "value": _shown(receipt, row)})
    return sorted(groups.values(), key=lambda group: int(group["place"]))


def _shown(receipt: Receipt, row: Mapping[str, Any]) -> str | None:
    """A value for the page, shortened; None where there may be one that the ledger does not keep."""
    known = receipt.field(row["field"])
    if row["value"] is None:
        return None if known and known.is_restricted else ""
    value = str(row["value"])
    return value if len(value) <= SAMPLE_CHARACTERS else value[:SAMPLE_CHARACTERS] + "…"


def _period_in_words(receipt: Receipt) -> Message | None:
    if receipt.contract is None or receipt.delivery.period is None:
        return None
    period = Period(receipt.delivery.period, receipt.contract.periodicity)
    day, quarter = period.start, (period.start.month + 2) // 3
    match period.periodicity:
        case "year":
            return Message(f"Năm {day.year}", f"{day.year}")
        case "quarter":
            return Message(f"Quý {quarter} năm {day.year}", f"Quarter {quarter} of {day.year}")
        case "month":
            return Message(f"Tháng {day.month} năm {day.year}", f"{day:%B %Y}")
        case _:
            return Message(f"Ngày {day:%d/%m/%Y}", f"{day.day} {day:%B %Y}")


def _number(value: float | None) -> str:
    """1 234 567,89 with narrow blanks, which both languages read alike."""
    if value is None:
        return "–"
    text = f"{value:,}" if isinstance(value, int) else f"{value:,.6f}".rstrip("0").rstrip(".")
    return ("0" if text == "-0" else text).replace(".", "\0").replace(",", _NARROW).replace("\0", ",").replace("-", "−")


def _size(size_bytes: int) -> str:
    for unit, step in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size_bytes >= step:
            return f"{_number(round(size_bytes / step, 1))}{_NARROW}{unit}"
    return f"{_number(size_bytes)} byte"


def _moment(written: str) -> str:
    """10/07/2025 02:13 (UTC+07)."""
    moment = datetime.fromisoformat(written)
    return f"{moment:%d/%m/%Y %H:%M} ({(moment.tzname() or '').removesuffix(':00')})"
