"""Small contracts and tables for the tests of reading."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import yaml

from etl.read import Batch, Cells, Part, Table
from etl.read.tables import read_table
from expectations.contract import Contract
from expectations.odcs import load_contract
from expectations.period import Period, parse_period

CONTRACTS = Path(__file__).parent / "contracts"
YEAR = Part(Period.containing(date(2024, 1, 1), "year"))


def text(name: str, *headers: str, **more: Any) -> dict[str, Any]:
    """A text field."""
    return {"name": name, "logicalType": "string", "synonyms": [{"synonym": header} for header in headers], **more}


def number(name: str, *headers: str, **more: Any) -> dict[str, Any]:
    """An additive number."""
    measure = {"property": "measure", "value": {"additive": True, "unit": "things"}}
    return {**text(name, *headers, **more), "logicalType": "number", "customProperties": [measure]}


def period(name: str = "year", *headers: str, **more: Any) -> dict[str, Any]:
    """The field that tells the period."""
    return {**text(name, *headers), "logicalType": "integer", "customProperties": [{"property": "holds", "value": "period"}], **more}


PROVINCE = text("province", "Tỉnh", required=True)
PEOPLE = number("people", "Dân số")


def contract_of(folder: Path, *fields: dict[str, Any], periodicity: str = "year", **layout: Any) -> Contract:
    """A contract of these fields and layout, read from YAML like any other."""
    document = {
        "apiVersion": "v3.2.0",
        "kind": "DataContract",
        "id": "things",
        "version": "1.0.0",
        "status": "active",
        "schema": [{"name": "things", "properties": list(fields or (PROVINCE, PEOPLE))}],
        "customProperties": [
            {"property": "sender", "value": "each-province"},
            {"property": "periodicity", "value": periodicity},
            {"property": "fileName", "value": f"things_{{period:{_PERIODS[periodicity]}}}"},
            *([{"property": "layout", "value": layout}] if layout else []),
        ],
    }
    written = yaml.safe_dump(document, allow_unicode=True)
    if written not in _LOADED:
        file = folder / "things.odcs.yaml"
        file.write_text(written, encoding="utf-8")
        _LOADED[written] = load_contract(file)
    return _LOADED[written]


_PERIODS = {"year": "%Y", "quarter": "%Y-Q%q", "month": "%Y-%m", "day": "%Y-%m-%d"}
_LOADED: dict[str, Contract] = {}  # Hypothesis asks for one contract again and again


def named_contract(name: str) -> Contract:
    """One of the contracts beside these tests."""
    return load_contract(CONTRACTS / f"{name}.odcs.yaml")


def part_of(told: str, contract: Contract) -> Part:
    """A part of a whole file."""
    found = parse_period(told, contract.periodicity)
    assert found is not None
    return Part(found)


def read(file: Path, contract: Contract, part: Part | None = None, **more: Any) -> tuple[Table, list[Batch]]:
    """A table and all its batches."""
    table = read_table(file, contract, part or Part(Period.containing(YEAR.period.start, contract.periodicity)), **more)
    return table, list(table.batches)


def cells(batches: list[Batch], name: str) -> list[Any]:
    """The cells of a field as they stand in the file: text, number, moment or truth value."""
    return [value for batch in batches for value in _values(batch.columns[name])]


def _values(cells: Cells) -> list[Any]:
    parts = [part.to_pylist() for part in (cells.text, cells.number, cells.moment, cells.flag) if part is not None]
    for row in zip(*parts, strict=True):
        assert sum(value is not None for value in row) <= 1, "a cell stands in one array only"
    return [next((value for value in row if value is not None), None) for row in zip(*parts, strict=True)]


def lines(batches: list[Batch]) -> list[int]:
    """The line number of each row."""
    return [int(line) for batch in batches for line in batch.lines]


def broken(batches: list[Batch]) -> list[int]:
    """The line numbers of broken lines."""
    return [one.line for batch in batches for one in batch.broken]


def groups(batches: list[Batch]) -> list[int]:
    """The group of each row."""
    return [int(group) for batch in batches if batch.groups is not None for group in batch.groups]
