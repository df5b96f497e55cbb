"""Code lists: which codes are valid on a day.

A list is a CSV file of the reference folder with the columns `code`, `valid_from`, `valid_to` and, where codes belong to
provinces, `province_id`; a contract names it by its file name. Refuses: a day before the list begins.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from datetime import date
from functools import cache
from pathlib import Path

from expectations.faults import Message, SetupFault

Entry = tuple[str, str | None, date, date | None]


def valid_codes(folder: Path, name: str, day: date, province_id: str | None) -> frozenset[str]:
    """The codes of a list on a day, of one province where the list tells provinces and one is given."""
    entries = _entries(folder / f"{name}.csv")
    first = min(start for _, _, start, _ in entries)
    if day < first:
        raise SetupFault(
            Message(
                f"{folder / name}.csv bắt đầu từ {first:%d/%m/%Y}, không có mã nào cho ngày {day:%d/%m/%Y}; hãy bổ sung danh mục.",
                f"{folder / name}.csv starts on {first}, it has no codes for {day}; extend the list.",
            ),
            rule="code-list",
        )
    return frozenset(
        code
        for code, owner, start, end in entries
        if start <= day and (end is None or day <= end) and (province_id is None or owner is None or owner == province_id)
    )


def check_code_list(folder: Path, name: str) -> None:
    """Raise `SetupFault` unless the list exists and is readable."""
    _entries(folder / f"{name}.csv")


@cache
def _entries(file: Path) -> tuple[Entry, ...]:
    def fault(line: int, vi: str, en: str) -> SetupFault:
        return SetupFault(Message(f"{file}:{line}: {vi}", f"{file}:{line}: {en}"), rule="code-list")

    if not file.is_file():
        raise fault(1, "không có danh mục này.", "there is no such code list.")
    with file.open(encoding="utf-8-sig", newline="") as opened:
        reader = csv.DictReader(opened)
        missing = {"code", "valid_from", "valid_to"} - set(reader.fieldnames or ())
        if missing:
            raise fault(1, f"thiếu cột {', '.join(sorted(missing))}.", f"the columns {', '.join(sorted(missing))} are missing.")
        entries: list[Entry] = []
        for row in reader:
            try:
                end = date.fromisoformat(row["valid_to"]) if row["valid_to"] else None
                entries.append((row["code"], row.get("province_id") or None, date.fromisoformat(row["valid_from"]), end))
            except ValueError:
                raise fault(reader.line_num, "ngày viết là YYYY-MM-DD.", "a day is written YYYY-MM-DD.") from None
    if not entries:
        raise fault(1, "danh mục trống.", "the list is empty.")
    return tuple(entries)


def code_lists(folder: Path, names: tuple[str, ...], day: date, province_id: str | None) -> Mapping[str, frozenset[str]]:
    """Several lists by name."""
    return {name: valid_codes(folder, name, day, province_id) for name in names}
