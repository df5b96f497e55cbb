"""Load a delivery, hold it for a person, or return it.

Answers for: one verdict from the whole delivery, with every reason, in an order that puts the root cause first. Refuses:
looking at single lines (validate did) and at the clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from expectations.contract import Contract, Rule
from expectations.faults import Message
from warehouse.ledger import Reason


@dataclass(frozen=True, slots=True)
class Verdict:
    """What happens to a delivery, and why."""

    action: Literal["load", "hold", "return"]
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a delivery when all its lines are judged. `usual` is the sender's usual number of lines and over how
    many deliveries, `fatal` and `broken_totals` are the rules of that kind that it breaks."""

    read: int
    faulty: int
    is_cut: bool
    fatal: Sequence[Rule]
    broken_totals: Sequence[Rule]
    usual: tuple[float, int] | None


def decide(contract: Contract, evidence: Evidence) -> Verdict:
    """The verdict by the contract. A returned delivery is not held as well."""
    returned = [*_fatal(evidence), *_too_many_faults(contract, evidence)]
    if returned:
        return Verdict("return", tuple(returned))
    held = [*_cut(evidence), *_empty(contract, evidence), *_volume(contract, evidence)]
    return Verdict("hold", tuple(held)) if held else Verdict("load")


def _fatal(evidence: Evidence) -> list[Reason]:
    broken = [*evidence.fatal, *(r for r in evidence.broken_totals if r.severity in ("error", "fatal"))]
    return [Reason(rule.id, rule.message) for rule in broken]


def _too_many_faults(contract: Contract, evidence: Evidence) -> list[Reason]:
    """More faulty lines than the contract tolerates, as a share of the lines read."""
    if not evidence.faulty or evidence.faulty <= contract.tolerance * evidence.read:
        return []
    share = f"{evidence.faulty / evidence.read:.1%}"
    return [
        Reason(
            "tolerance",
            Message(
                f"{evidence.faulty} trong {evidence.read} dòng có lỗi ({share}), nhiều hơn mức cho phép {contract.tolerance:.1%}. Hãy sửa các dòng nêu trong biên nhận rồi gửi lại cả tệp.",
                f"{evidence.faulty} of {evidence.read} lines are faulty ({share}), more than the tolerated {contract.tolerance:.1%}. Mend the lines named in the receipt and send the whole file again.",
            ),
        )
    ]


def _cut(evidence: Evidence) -> list[Reason]:
    if not evidence.is_cut:
        return []
    return [
        Reason(
            "cut",
            Message(
                "Tệp kết thúc giữa một dòng, có thể đã bị cắt khi truyền. Hãy kiểm tra tệp gốc và gửi lại nếu thiếu.",
                "The file ends in the middle of a line; it may have been cut in transit. Check the original and send it again if lines are missing.",
            ),
        )
    ]


def _empty(contract: Contract, evidence: Evidence) -> list[Reason]:
    if evidence.read or contract.allows_empty:
        return []
    return [
        Reason(
            "empty",
            Message(
                "Tệp không có dòng dữ liệu nào; kỳ này thật sự không có gì?",
                "The file has no data line; is there really nothing in this period?",
            ),
        )
    ]


def _volume(contract: Contract, evidence: Evidence) -> list[Reason]:
    """Far more or fewer lines than the sender's own history."""
    if contract.volume is None or evidence.usual is None or not evidence.usual[0]:
        return []
    usual, over = evidence.usual
    ratio = (evidence.read - evidence.faulty) / usual
    if contract.volume.min <= ratio <= contract.volume.max:
        return []
    return [
        Reason(
            "volume",
            Message(
                f"{evidence.read} dòng, bằng {ratio:.2f} lần mức thường gửi ({usual:.0f} dòng, trung vị của {over} đợt gần nhất); khoảng bình thường là {contract.volume.min:g} đến {contract.volume.max:g} lần.",
                f"{evidence.read} lines, {ratio:.2f} times the usual ({usual:.0f} lines, the median of the last {over} deliveries); normal is {contract.volume.min:g} to {contract.volume.max:g} times.",
            ),
        )
    ]
