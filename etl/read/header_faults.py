"""What the sender is told when no header is found, or two columns claim one field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rapidfuzz import fuzz, process

from etl.read.heading import HEAD_ROWS
from etl.read.levels import Column
from etl.read.wording import Cell, cell_text, one_line
from expectations.contract import Contract
from expectations.faults import Message, SenderFault
from expectations.text import fold


def header_not_found(contract: Contract, heads: Sequence[Sequence[Sequence[Cell]]], where: str = "") -> SenderFault:
    """The fault of a file in which no header was found: what was expected, and what comes nearest in it."""
    seen = {fold(text): one_line(text) for rows in heads for row in rows for text in map(cell_text, row) if 2 < len(fold(text)) < 120}
    wanted = [f for f in contract.fields if f.required or f.holds == "province"] or list(contract.fields)
    hints = []
    for wish in wanted:
        near = process.extractOne(fold(wish.label), list(seen), scorer=fuzz.ratio, score_cutoff=70)
        if near is not None:
            hints.append((wish.label, seen[near[0]]))
    more = ", …" if len(wanted) > 12 else ""
    expected = ", ".join(f"«{f.label}»" for f in wanted[:12]) + more
    expected_en = ", ".join(f"'{f.label}' ({f.name})" for f in wanted[:12]) + more
    vi, en = (f" ở {where}", f" in {where}") if where else ("", "")
    near_vi = " Gần giống: " + ", ".join(f"«{text}» cho «{label}»" for label, text in hints) + "." if hints else ""
    near_en = " Nearest: " + ", ".join(f"'{text}' for '{label}'" for label, text in hints) + "." if hints else ""
    return SenderFault(
        Message(
            f"Không tìm thấy dòng tiêu đề{vi} trong {HEAD_ROWS} dòng đầu. Cần các cột: {expected}.{near_vi} Hãy đặt tên cột đúng mẫu rồi gửi lại.",
            f"No header was found{en} within the first {HEAD_ROWS} lines. Expected columns: {expected_en}.{near_en} Name the columns as required and send again.",
        ),
        rule="header",
    )


def two_columns(contract: Contract, rivals: Mapping[str, Sequence[Column]], line: int) -> SenderFault:
    """The fault of a header in which several columns fit one field equally well."""
    name, columns = next(iter(rivals.items()))
    label = contract.by_name[name].label
    shown = ", ".join(f"{column.letter} ({one_line(column.title)})" if column.levels else column.letter for column in columns)
    return SenderFault(
        Message(
            f"Tiêu đề ở dòng {line}: các cột {shown} đều có thể là «{label}». Mỗi trường chỉ được một cột; hãy xoá hoặc đổi tên cột thừa.",
            f"Header in line {line}: the columns {shown} all fit '{label}' ({name}). A field has one column; delete or rename the others.",
        ),
        rule="header",
    )
