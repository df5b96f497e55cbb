"""The nouns of a contract: what one dataset must be, as frozen values.

Answers for: a shape that every step can rely on without knowing YAML. Refuses: reading files (odcs.py does) and judging
lines (validate.py does). Nothing here or in the steps knows the name of any dataset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from expectations.faults import Message
from expectations.period import NamePattern, Periodicity

FieldType = Literal["string", "integer", "number", "date", "timestamp", "boolean"]
Severity = Literal["error", "warning", "fatal"]
Classification = Literal["public", "internal", "restricted"]
Storage = Literal["list", "leaves", "central"]
Territory = Literal["province", "none"]

UNASSIGNED = "unassigned"
"""The province_id of a row that belongs to no province of its day."""

COMMUNES = "communes"
"""The code list whose codes are those of communes."""

IN_CLEAR = "_in_clear"
"""What the name of a dataset's view with the restricted fields ends in."""

ROW_COLUMNS = ("province_id", "period", "delivery_id", "line")
"""The columns that every dataset table has before its fields."""


@dataclass(frozen=True, slots=True)
class Condition:
    """When a rule applies: the field is (or is not) one of some values, or is (or is not) filled in.

    An empty cell is in no list, so it is not `in` one. `values` are of the field's type.
    """

    field: str
    values: tuple[Any, ...] | None = None
    is_in: bool = True
    is_present: bool | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One expectation on the lines of a delivery.

    `fields` are the fields it reads, the first one is blamed. `severity`: error rejects the line, warning reports it, fatal
    returns the delivery. `mostly` (share from 0 to 1) makes it a rule on the whole delivery: it breaks when a smaller
    share of the lines passes, and no single line is rejected for it. `source` is the contract's line.
    """

    id: str
    expectation: str
    arguments: Mapping[str, Any]
    fields: tuple[str, ...]
    severity: Severity
    message: Message
    when: tuple[Condition, ...] = ()
    mostly: float | None = None
    scope: Literal["line", "delivery"] = "line"
    source: int = 1


@dataclass(frozen=True, slots=True)
class Measure:
    """What a number counts. Only additive measures are ever summed or compared with a declared total."""

    additive: bool
    unit: str


@dataclass(frozen=True, slots=True)
class Mask:
    """What of a restricted text may be seen: its first and last characters, with *** between them."""

    keep_first: int = 0
    keep_last: int = 0


@dataclass(frozen=True, slots=True)
class Field:
    """One field. `headers` are the spellings by which its column is found; `key` is its place in the primary key or None.

    `formats` are strict date formats (dd/MM/yyyy, yyyy-MM-dd HH:mm:ss …). `length` is the fixed length of a code, so that
    leading zeros lost by a spreadsheet can be restored. `holds` says that the column tells the row's province or period.
    `pseudonym` and `mask` are what stands for a restricted text where it is not seen itself.
    """

    name: str
    label: str
    type: FieldType
    headers: tuple[str, ...]
    description: str = ""
    required: bool = False
    key: int | None = None
    classification: Classification = "internal"
    formats: tuple[str, ...] = ()
    length: int | None = None
    enum: tuple[str, ...] = ()
    true_values: tuple[str, ...] = ()
    false_values: tuple[str, ...] = ()
    holds: Literal["province", "period"] | None = None
    code_list: str | None = None
    measure: Measure | None = None
    timezone: str | None = None
    examples: tuple[Any, ...] = ()
    sample: Mapping[str, Any] = field(default_factory=dict)
    pseudonym: bool = False
    mask: Mask | None = None

    @property
    def is_restricted(self) -> bool:
        return self.classification == "restricted"

    @property
    def pseudonym_name(self) -> str:
        """The column of its pseudonym, where it has one."""
        return f"{self.name}_pseudonym"

    @property
    def mask_name(self) -> str:
        """The column of its masked text, where it has one."""
        return f"{self.name}_masked"

    @property
    def stand_ins(self) -> tuple[str, ...]:
        """The columns that stand for it where it is not seen itself."""
        return (*((self.pseudonym_name,) if self.pseudonym else ()), *((self.mask_name,) if self.mask else ()))


@dataclass(frozen=True, slots=True)
class Numbers:
    """How numbers are written as text. Cells that a workbook stores as numbers need none of this."""

    decimal: Literal[".", ","] = "."
    thousands: Literal["", ".", ",", " "] = ""
    missing: tuple[str, ...] = ("", "-", "..", "...", "…")
    footnote_marks: bool = False


@dataclass(frozen=True, slots=True)
class Lines:
    """Which lines are not data. Labels compare folded, `*` stands for anything; patterns are regular expressions.

    `total` and `subtotal` lines are declared totals: kept for reconciliation, never loaded. A subtotal speaks for the data
    lines below it, up to the next one, and its label may be the value of a field of theirs (`subtotal_field`: a region, a
    province whose districts follow). It is known by its first cell, by its label, or because it fills one cell only (`alone`). `end` is where the table ends; a pattern that takes nothing (`^$`) ends it at the first
    blank line. `unassigned` lines belong to no province; their labels may stand in any text field.
    """

    total: tuple[str, ...] = ()
    subtotal_first_cell: str | None = None
    subtotal_labels: tuple[str, ...] = ()
    subtotal_alone: bool = False
    subtotal_field: str | None = None
    skip: tuple[str, ...] = ()
    end: str | None = None
    unassigned: tuple[str, ...] = ()

    @property
    def has_subtotals(self) -> bool:
        return bool(self.subtotal_first_cell or self.subtotal_labels or self.subtotal_alone)

    @property
    def are_plain(self) -> bool:
        """True when every line below the header is data."""
        return not (self.total or self.has_subtotals or self.skip or self.end or self.unassigned)


@dataclass(frozen=True, slots=True)
class Unpivot:
    """Columns that are really values: `names` takes the header's text (a year, a province).

    Where a header has several levels, `pattern` finds the level that holds the name and the other levels say which field
    the cell is; where nothing else is left, `values` takes the cell. `beside` is a field whose cell is repeated left of
    every such column (each ranking with its own list of provinces).
    """

    names: str
    values: str | None = None
    pattern: str | None = None
    beside: str | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the table stands in its file. `header_lines` is None when it is to be found out (1 to 8 lines).

    An empty cell of a `fill_down` field takes the one above it.
    """

    sheet: str | None = None
    anchor: str | None = None
    header_lines: int | None = None
    numbered: Literal["optional", "required", "never"] = "optional"
    ignore: tuple[str, ...] = ()
    fill_down: tuple[str, ...] = ()
    records: str | None = None
    lines: Lines = Lines()
    numbers: Numbers = Numbers()
    unpivot: Unpivot | None = None


@dataclass(frozen=True, slots=True)
class Volume:
    """The accepted ratio of a delivery's lines to the median of the sender's last `over` loaded deliveries."""

    min: float
    max: float
    over: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """When the nightly load runs (local time) and how many days after the period's end the data are due."""

    at: str = "02:00"
    due_days: int | None = None


@dataclass(frozen=True, slots=True)
class Latency:
    """How long after the end of a period its data are due, as the contract's service levels say."""

    months: int
    days: int


@dataclass(frozen=True, slots=True)
class OpenData:
    """What of the dataset may be published, and how."""

    publish: Literal["none", "rows", "mart"]
    licence: str | None = None
    theme: str | None = None
    disclosure: str | None = None
    minimum_count: int | None = None
    mart: str | None = None


@dataclass(frozen=True, slots=True)
class Reconciles:
    """This dataset declares totals of another one: `by` pairs our grouping fields with theirs, `measures` ours with theirs."""

    dataset: str
    by: Mapping[str, str]
    measures: Mapping[str, str]


@dataclass(frozen=True)
class Contract:
    """One dataset. `sender` is `each-province` or the name of the central body that sends all provinces at once."""

    dataset: str
    version: str
    label: str
    purpose: str
    status: str
    fields: tuple[Field, ...]
    rules: tuple[Rule, ...]
    sender: str
    periodicity: Periodicity
    file_names: tuple[NamePattern, ...]
    file: Path
    sha256: str
    text: str
    pillar: str = ""
    tolerance: float = 0.0
    volume: Volume | None = None
    code_system: str | None = None
    as_of: Literal["start", "end"] = "start"
    allows_empty: bool = False
    territory: Territory = "province"
    storage: Storage = "list"
    layout: Layout = Layout()
    schedule: Schedule = Schedule()
    open_data: OpenData = OpenData("none")
    reconciles: tuple[Reconciles, ...] = ()
    frequency: str | None = None
    latency: Latency | None = None

    @property
    def is_central(self) -> bool:
        return self.sender != "each-province"

    @cached_property
    def by_name(self) -> Mapping[str, Field]:
        return {f.name: f for f in self.fields}

    @cached_property
    def stored_fields(self) -> tuple[Field, ...]:
        """The fields that become columns: all but those that tell the province or the period."""
        return tuple(f for f in self.fields if f.holds is None)

    @cached_property
    def restricted_fields(self) -> tuple[Field, ...]:
        """The stored fields whose values only a delegation that names them shows."""
        return tuple(f for f in self.stored_fields if f.is_restricted)

    @cached_property
    def commune_field(self) -> str | None:
        """The stored field that holds a code of the list of communes; a restricted one cannot say who sees a row."""
        return next((f.name for f in self.stored_fields if f.code_list == COMMUNES and not f.is_restricted), None)

    @cached_property
    def province_field(self) -> Field | None:
        return next((f for f in self.fields if f.holds == "province"), None)

    @cached_property
    def period_field(self) -> Field | None:
        return next((f for f in self.fields if f.holds == "period"), None)

    @cached_property
    def key_fields(self) -> tuple[Field, ...]:
        """The primary key within a partition, in its order; empty when the dataset has none."""
        return tuple(sorted((f for f in self.fields if f.key is not None), key=lambda f: f.key or 0))

    @cached_property
    def code_lists(self) -> tuple[str, ...]:
        """The code lists that rules look up, whether a field's `codeList` or an expectation names them."""
        return tuple(dict.fromkeys(r.arguments["code_list"] for r in self.rules if "code_list" in r.arguments))

    @cached_property
    def additive_fields(self) -> tuple[Field, ...]:
        return tuple(f for f in self.stored_fields if f.measure and f.measure.additive)
