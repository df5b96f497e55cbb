"""The files of a province registry, line by line.

Answers for: every line that comes out is whole, has real dates and does not contradict another; what does not is a
`SetupFault` that names file and line. Refuses: questions about a day; those belong to `warehouse.provinces`.

A registry is a folder: `provinces.csv`, and as far as the country has them `province_codes.csv`, `province_aliases.csv`,
`unit_words.csv` and `communes.csv`. A period includes both its days; an empty `valid_to` means that it lasts.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from expectations.contract import UNASSIGNED
from expectations.faults import Message, SetupFault
from expectations.text import fold

_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Province:
    """A province for as long as it bore one name and was one kind of unit; a province has one or more of these."""

    province_id: str
    name: str
    full_name: str
    unit_type: str
    valid_from: date
    valid_to: date | None
    successor_id: str | None
    legal_basis: str


Provinces = dict[str, list[Province]]  # the name periods of each, oldest first


@dataclass(frozen=True, slots=True)
class ProvinceCode:
    """What a code of one system means in a period; `evidence` says where it was seen."""

    code_system: str
    code: str
    province_id: str
    valid_from: date
    valid_to: date | None
    evidence: str


@dataclass(frozen=True, slots=True)
class Commune:
    """A commune in a period: its code, its name without the kind of unit, and the province it lies in."""

    code: str
    name: str
    unit_type: str
    province_id: str
    valid_from: date
    valid_to: date | None


P = TypeVar("P", Province, ProvinceCode, Commune)


def is_within(day: date, period: Province | ProvinceCode | Commune) -> bool:
    """Whether `period` covers `day`."""
    return period.valid_from <= day and (period.valid_to is None or day <= period.valid_to)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file, to be read cell by cell; it knows where it stands."""

    path: Path
    number: int
    cells: dict[str, str]

    def fault(self, vi: str, en: str, **values: object) -> SetupFault:
        """A fault that names this file and line."""
        place = f"{self.path}:{self.number}: "
        return SetupFault(Message(place + vi, place + en).fill(**values), rule="registry")

    def text(self, column: str) -> str:
        """The cell, which must not be empty."""
        if not self.cells[column]:
            raise self.fault("cột {column} để trống.", "column {column} is empty; give a value.", column=column)
        return self.cells[column]

    def day(self, column: str) -> date:
        """The cell as a day."""
        try:
            return date.fromisoformat(self.cells[column])
        except ValueError:
            raise self.fault(
                "cột {column} có '{found}', cần ngày dạng YYYY-MM-DD.",
                "column {column} has '{found}', expected a day as YYYY-MM-DD.",
                column=column,
                found=self.cells[column],
            ) from None

    def period(self) -> tuple[date, date | None]:
        """The cells `valid_from` and `valid_to`, in this order in time."""
        start, end = self.day("valid_from"), self.day("valid_to") if self.cells["valid_to"] else None
        if end is not None and end < start:
            raise self.fault("valid_to đứng trước valid_from.", "valid_to is before valid_from.")
        return start, end


def read_lines(path: Path, columns: tuple[str, ...]) -> Iterator[Line]:
    """The lines of a CSV file whose header is exactly `columns`; none if there is no such file."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        for cells in reader:
            line = Line(path, reader.line_num, dict(zip(columns, cells, strict=False)))
            if reader.line_num == 1:
                if tuple(cells) != columns:
                    raise line.fault("tiêu đề phải là: {header}.", "the header must be: {header}.", header=",".join(columns))
            elif len(cells) != len(columns):
                raise line.fault(
                    "có {found} ô, cần {expected}.", "{found} cells, expected {expected}.", found=len(cells), expected=len(columns)
                )
            else:
                yield line


def read_provinces(path: Path) -> Provinces:
    """The name periods of each province, oldest first, without gap or overlap, each successor starting the day after."""
    lines: dict[str, list[tuple[Line, Province]]] = defaultdict(list)
    for line in read_lines(
        path, ("province_id", "name", "full_name", "unit_type", "valid_from", "valid_to", "successor_id", "legal_basis")
    ):
        province_id = line.text("province_id")
        if not _SLUG.fullmatch(province_id) or province_id == UNASSIGNED:
            raise line.fault(
                "'{found}' không dùng được làm province_id: chỉ chữ thường không dấu, số và gạch nối; '{reserved}' là từ dành riêng.",
                "'{found}' cannot be a province_id: lower-case letters, digits and single hyphens only; '{reserved}' is reserved.",
                found=province_id,
                reserved=UNASSIGNED,
            )
        names = line.text("name"), line.text("full_name"), line.text("unit_type")
        period = Province(province_id, *names, *line.period(), line.cells["successor_id"] or None, line.cells["legal_basis"])
        lines[province_id].append((line, period))
    if not lines:
        raise Line(path, 1, {}).fault("không có tệp hoặc tệp trống.", "no such file, or nothing in it; a registry needs provinces.")
    for periods in lines.values():
        periods.sort(key=lambda item: item[1].valid_from)
        _check_life(periods, lines)
    _check_overlaps([item for periods in lines.values() for item in periods], lambda province: province.name)
    return {province_id: [period for _, period in periods] for province_id, periods in lines.items()}


def _check_life(periods: list[tuple[Line, Province]], lines: dict[str, list[tuple[Line, Province]]]) -> None:
    for (line, period), (next_line, following) in pairwise(periods):
        if period.valid_to is None or period.valid_to + _DAY != following.valid_from:
            raise next_line.fault(
                "'{id}' phải bắt đầu ngay sau kỳ trước (dòng {other}); có khoảng trống hoặc chồng lấn.",
                "'{id}' must start the day after its earlier period (line {other}) ends; there is a gap or an overlap.",
                id=period.province_id,
                other=line.number,
            )
        if period.successor_id:
            raise line.fault("chỉ kỳ cuối mới có successor_id.", "only the last period of a province names a successor_id.")
    line, last = periods[-1]
    start = min((heir.valid_from for _, heir in lines.get(last.successor_id or "", ())), default=None)
    if last.successor_id and (last.valid_to is None or last.valid_to + _DAY != start):
        raise line.fault(
            "successor_id '{heir}' không có hoặc không bắt đầu vào ngày kế tiếp.",
            "successor_id '{heir}' does not exist or does not start the day after this province ends.",
            heir=last.successor_id,
        )


def read_codes(path: Path, provinces: Provinces) -> list[ProvinceCode]:
    """The codes of every system; on each day a code means one province, which exists on that day."""
    items: list[tuple[Line, ProvinceCode]] = []
    for line in read_lines(path, ("code_system", "code", "province_id", "valid_from", "valid_to", "evidence")):
        names = line.text("code_system"), line.text("code"), line.text("province_id")
        items.append((line, ProvinceCode(*names, *line.period(), line.cells["evidence"])))
        _check_alive(line, items[-1][1], provinces)
    # Zeros in front are dropped by spreadsheets, so 1 and 01 may not differ.
    _check_overlaps(items, lambda item: f"{item.code_system} {item.code.lstrip('0').casefold()}")
    return [code for _, code in items]


def read_aliases(path: Path, provinces: Provinces) -> list[tuple[str, str]]:
    """Pairs (alias, name): another spelling of a name, for every province that bears the name on any day."""
    names = {period.name for periods in provinces.values() for period in periods}
    official = {fold(name): name for name in names}
    aliases: dict[str, str] = {}
    for line in read_lines(path, ("alias", "name")):
        alias, name = line.text("alias"), line.text("name")
        if name not in names:
            raise line.fault("không tỉnh nào mang tên '{name}'.", "no province is named '{name}'.", name=name)
        if official.get(fold(alias), name) != name or aliases.setdefault(alias, name) != name:
            raise line.fault("'{alias}' đã chỉ tên khác.", "'{alias}' already stands for another name.", alias=alias)
    return list(aliases.items())


def read_unit_words(path: Path) -> list[tuple[str, str | None]]:
    """Pairs (word, unit type): what is written before or after a name; a word without a type goes with any province."""
    return [(line.text("word"), line.cells["unit_type"] or None) for line in read_lines(path, ("word", "unit_type"))]


def read_communes(path: Path, provinces: Provinces) -> list[Commune]:
    """The communes of every period; on each day a code means one commune, in a province that exists on that day."""
    items: list[tuple[Line, Commune]] = []
    for line in read_lines(path, ("code", "name", "unit_type", "province_id", "valid_from", "valid_to")):
        names = line.text("code"), line.text("name"), line.text("unit_type"), line.text("province_id")
        items.append((line, Commune(*names, *line.period())))
        _check_alive(line, items[-1][1], provinces)
    _check_overlaps(items, lambda commune: commune.code)
    return [commune for _, commune in items]


def _check_alive(line: Line, item: ProvinceCode | Commune, provinces: Provinces) -> None:
    """Refuse a period outside the life of its province."""
    life = provinces.get(item.province_id)
    if life is None:
        raise line.fault("không có tỉnh '{id}'.", "there is no province '{id}'.", id=item.province_id)
    last = life[-1].valid_to
    if item.valid_from < life[0].valid_from or (last is not None and (item.valid_to is None or item.valid_to > last)):
        raise line.fault(
            "kỳ vượt ra ngoài thời gian tồn tại của '{id}'.", "the period reaches beyond the life of '{id}'.", id=item.province_id
        )


def _check_overlaps(items: list[tuple[Line, P]], key: Callable[[P], str]) -> None:
    """Refuse two periods of one key that share a day."""
    latest: dict[str, tuple[Line, P]] = {}
    for line, item in sorted(items, key=lambda pair: pair[1].valid_from):
        if (earlier := latest.get(key(item))) and is_within(item.valid_from, earlier[1]):
            raise line.fault(
                "'{key}' đã dùng ở dòng {other} cho cùng ngày.",
                "'{key}' is taken on the same day by line {other}.",
                key=key(item),
                other=earlier[0].number,
            )
        latest[key(item)] = line, item
