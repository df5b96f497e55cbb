"""Invent a file as a sender might deliver it, from its contract alone, with known faults.

Answers for: good lines that keep every rule of the contract; the same bytes for the same arguments; a record of what was spoiled,
where, and which rule has to find it; memory that does not grow with the file. Refuses: knowing a dataset or a country (what a
field may hold is in the contract, see `etl.sampling.values`), and layouts that are more than a header and lines.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.sampling.faults import Fault, Line, Planter
from etl.sampling.setting import Block, Maker, Setting, check_setting
from etl.sampling.texts import as_csv, csv_line, write_cells
from etl.sampling.values import field_makers
from expectations.contract import Contract, Severity
from expectations.document import parse_document
from expectations.period import Period
from warehouse.provinces import Registry

BLOCK_LINES = 50_000  # a part of what is random: another size makes other files


@dataclass(frozen=True, slots=True)
class Planted:
    """One line that is not as it should be. `line` is its first line in the file, as an editor counts it; `row` counts data lines.

    `rule` is what has to find it; a trap is harmless and has no rule.
    """

    kind: str
    line: int
    row: int
    field: str | None
    rule: str | None
    severity: Severity | None


@dataclass(frozen=True)
class SampleTruth:
    """What was written: how many data lines, and which of them were spoiled how, in the file's order."""

    rows: int
    planted: tuple[Planted, ...]

    @cached_property
    def faults(self) -> Mapping[str, tuple[int, ...]]:
        """The line numbers of each kind of fault."""
        return _by_kind(p for p in self.planted if p.rule is not None)

    @cached_property
    def traps(self) -> Mapping[str, tuple[int, ...]]:
        """The line numbers of each kind of trap: odd, and right."""
        return _by_kind(p for p in self.planted if p.rule is None)

    @cached_property
    def rules(self) -> Mapping[str, tuple[str, ...]]:
        """The rules that have to find each kind of fault."""
        return {kind: tuple(sorted({p.rule for p in self.planted if p.kind == kind and p.rule})) for kind in self.faults}

    @property
    def rejected(self) -> int:
        """How many lines have to be rejected; those that only break a warning are loaded."""
        return sum(p.severity == "error" for p in self.planted)

    def as_json(self) -> str:
        """The truth as a small document for people and scripts."""
        planted = [[p.line, p.row, p.kind, p.field, p.rule, p.severity] for p in self.planted]
        columns = ["line", "row", "kind", "field", "rule", "severity"]
        head = {
            "rows": self.rows,
            "rejected": self.rejected,
            "faults": self.faults,
            "traps": self.traps,
            "rules": self.rules,
            "columns": columns,
        }
        return json.dumps({**head, "planted": planted}, ensure_ascii=False) + "\n"


def write_sample(
    contract: Contract,
    registry: Registry,
    province_id: str | None,
    period: Period,
    rows: int,
    fault_share: float,
    seed: int,
    out: Path,
    *,
    truth: bool = False,
) -> SampleTruth:
    """Write `rows` invented lines of a dataset as CSV (UTF-8, the header being the fields' labels) and return what was spoiled.

    `fault_share` (0 to 1) of the lines, never the first, get one fault or trap each, the kinds taking turns. `province_id` is the
    province whose file it is, None for a body that sends all. `truth` also writes `<out>.truth.json`. The file appears under
    its name when it is complete. Raises `SetupFault` naming file and line where the contract does not say what to invent.
    """
    setting = Setting(contract, registry, province_id, period, seed)
    check_setting(setting)
    sampler = _Sampler(setting, fault_share)
    part = out.with_name(f".{out.name}.part")
    try:
        with part.open("wb") as file:
            file.write(csv_line([f.label for f in contract.fields]).encode())
            for block in _blocks(rows):
                file.write(sampler.text(block))
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    result = SampleTruth(rows, tuple(sampler.planted))
    if truth:
        out.with_name(f"{out.name}.truth.json").write_text(result.as_json(), encoding="utf-8")
    return result


def _by_kind(planted: Iterable[Planted]) -> dict[str, tuple[int, ...]]:
    lines: dict[str, list[int]] = defaultdict(list)
    for one in planted:
        lines[one.kind].append(one.line)
    return {kind: tuple(found) for kind, found in sorted(lines.items())}


def _blocks(rows: int) -> Iterator[Block]:
    for first in range(0, rows, BLOCK_LINES):
        yield Block(first, min(BLOCK_LINES, rows - first))


@dataclass
class _Sampler:
    """Turns blocks into text, in the file's order; it remembers faults, line breaks and one earlier line between them."""

    setting: Setting
    fault_share: float
    planted: list[Planted] = field(default_factory=list)

    def __post_init__(self) -> None:
        contract = self.setting.contract
        self._makers: dict[str, Maker] = field_makers(self.setting)
        self._random = self.setting.random("")
        place = parse_document(contract.text, contract.file)
        codes = {f.code_list: self.setting.codes(f.code_list, place) for f in contract.fields if f.code_list}
        self._planter = Planter.of(contract, self.setting.period, codes, self._random)
        self._breaks = 0
        self._earlier: Mapping[str, str] = {}

    def text(self, block: Block) -> memoryview:
        """The lines of a block as they stand in the file."""
        for name, make in self._makers.items():
            block.made[name] = make(block)
        fields, numbers = self.setting.contract.fields, self.setting.contract.layout.numbers
        cells = {f.name: write_cells(block.made[f.name].text, f, numbers) for f in fields}
        columns = [as_csv(column) for column in cells.values()]
        ends = pa.array(["\n"], pa.string()).take(pa.array(np.zeros(block.count, np.int64)))
        columns[-1] = pc.binary_join_element_wise(columns[-1], ends, "", null_handling="replace")
        lines = pc.binary_join_element_wise(*columns, ",", null_handling="replace")
        chosen = self._choose(block)
        if len(chosen):
            mask = np.zeros(block.count, bool)
            mask[chosen] = True
            lines = pc.replace_with_mask(lines, pa.array(mask), pa.array(list(self._spoiled(block, cells, chosen, mask)), pa.string()))
        offsets = np.frombuffer(lines.buffers()[1], np.int32)[lines.offset : lines.offset + len(lines) + 1]
        return memoryview(lines.buffers()[2])[int(offsets[0]) : int(offsets[-1])]

    def _choose(self, block: Block) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The lines of the block to be spoiled, ascending; the file's first one stays good, so that there is a key to repeat."""
        usable = np.arange(1 if block.first == 0 else 0, block.count)
        wanted = round((block.first + block.count) * self.fault_share) - round(block.first * self.fault_share)
        return np.sort(self._random.choice(usable, min(wanted, len(usable)), replace=False))

    def _spoiled(self, block: Block, cells: Mapping[str, Any], chosen: Any, mask: Any) -> Iterator[str]:
        taken = {name: column.take(pa.array(chosen)).fill_null("").to_pylist() for name, column in cells.items()}
        plain = {name: made.text.take(pa.array(chosen)).fill_null("").to_pylist() for name, made in block.made.items()}
        good = np.flatnonzero(~mask)
        for index, row in enumerate(chosen.tolist()):
            above = int(np.searchsorted(good, row))
            if above:
                other = int(good[self._random.integers(0, above)])
                self._earlier = {name: column[other].as_py() or "" for name, column in cells.items()}
            line = Line(
                {name: texts[index] for name, texts in taken.items()},
                {name: texts[index] for name, texts in plain.items()},
                {name: int(made.moments[row]) for name, made in block.made.items() if made.moments is not None and plain[name][index]},
                self._earlier,
            )
            fault = self._planter.plant(line, self._random)
            if fault:
                self._note(fault, block.first + row)
            text = csv_line([cell for name, cell in line.cells.items() if name != line.lacking] + ["?"] * line.surplus)
            self._breaks += text.count("\n") - 1
            yield text

    def _note(self, fault: Fault, row: int) -> None:
        self.planted.append(Planted(fault.kind, row + 2 + self._breaks, row + 1, fault.field, fault.rule, fault.severity))
