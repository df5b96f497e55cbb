"""A held delivery before the person who decides: why it is held, what would change, and what came of the answer.

Answers for: counts, rules and totals only, never a line's value. Whoever decides first has decided, by whichever way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from etl.run import approve, reject
from etl.site import Site
from expectations.faults import Message
from warehouse import ledger

if TYPE_CHECKING:
    from warehouse.ledger import Delivery

MANY = 10


@dataclass(frozen=True, slots=True)
class Question:
    """What the approver reads, in Markdown; `is_open` is false when somebody has decided already."""

    subject: str
    body: str
    is_open: bool


def question(site: Site, delivery_id: int) -> Question:
    """What there is to decide about a delivery. Raises `SetupFault` when there is no such delivery."""
    with site.warehouse.transaction() as connection:
        delivery = ledger.get(connection, delivery_id)
        shown = (
            ledger.shown(connection, delivery.dataset, delivery.province_id, delivery.period)
            if delivery.dataset and delivery.period
            else None
        )
        by_rule = ledger.rejections_by_rule(connection, delivery_id)
        totals = [t for t in ledger.reconciliations(connection, delivery_id) if not t["ties"]]
    what = f"{site.sender_name(delivery.sender)}: {_dataset_name(site, delivery)} {_period(site, delivery)}"
    lines = [
        f"**Vì sao tạm giữ · Why it is held** (delivery {delivery_id})",
        *(f"- {reason.message.vi}\n  {reason.message.en}" for reason in delivery.reasons),
        "",
        "| | dòng · lines |",
        "|---|---:|",
        f"| trong tệp · in the file | {delivery.lines_read or 0:,} |",
        f"| có lỗi · faulty | {delivery.lines_faulty or 0:,} |",
        f"| đang hiển thị · shown now | {shown.lines_loaded or 0 if shown else 0:,} |",
    ]
    if by_rule:
        lines += [
            "",
            "| quy tắc · rule | dòng · lines |",
            "|---|---:|",
            *(f"| `{_code(r['rule'])}` | {r['lines']:,} |" for r in by_rule[:MANY]),
        ]
    if totals:
        lines += ["", "| tổng · total | công bố · declared | tính được · computed |", "|---|---:|---:|"]
        lines += [f"| {_scope(t)} {t['measure']} | {t['declared']:,.6g} | {t['computed']:,.6g} |" for t in totals[:MANY]]
        lines += [f"… {len(totals) - MANY} more"] if len(totals) > MANY else []
    lines += ["", f"`ndc rejections {delivery_id}` · `ndc approve {delivery_id} --reason …` · `ndc reject {delivery_id} --reason …`"]
    return Question(f"{delivery_id}: {what}", "\n".join(lines), delivery.state == "held")


def answer(site: Site, delivery_id: int, *, is_approved: bool, by: str, reason: str, now: datetime) -> Message:
    """Carry out what was decided, and say what came of it. Nothing when somebody else has decided meanwhile."""
    with site.warehouse.transaction() as connection:
        delivery = ledger.get(connection, delivery_id)
        decided = ledger.decisions(connection, delivery_id)
    if delivery.state != "held":
        who = f"{decided[-1]['action']}, {decided[-1]['decided_by']}" if decided else delivery.state
        return Message(f"Đợt gửi {delivery_id} đã được quyết định trước đó ({who}).", f"Delivery {delivery_id} was decided before ({who}).")
    done = (approve if is_approved else reject)(site, delivery_id, by=by, reason=reason, now=now)
    return Message(f"Đợt gửi {delivery_id}: {done.state}.", f"Delivery {delivery_id}: {done.state}.")


def _dataset_name(site: Site, delivery: Delivery) -> str:
    contract = site.contracts.get(delivery.dataset or "")
    return contract.label if contract else delivery.dataset or "?"


def _period(site: Site, delivery: Delivery) -> str:
    contract = site.contracts.get(delivery.dataset or "")
    return str(delivery.period_of(contract.periodicity)) if contract and delivery.period else ""


def _scope(total: Mapping[str, Any]) -> str:
    """Which total, without the words of the file."""
    return "tổng · total" if total["is_total"] else f"dòng · line {total['line']}"


def _code(text: str) -> str:
    """A name inside Markdown's code marks or a table's cell."""
    return text.replace("`", "'").replace("|", "/").replace("\n", " ")
