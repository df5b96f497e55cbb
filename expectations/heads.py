"""What a scheduler needs to know of each contract, read fast: it looks at all of them every minute.

Answers for: a contract with mistakes has a head, too, as long as it is YAML; what is wrong with it is said by whoever loads it whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from expectations.period import PERIODICITIES

DEFAULT_HOUR = "02:00"
_HOUR = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_DATASET = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Head:
    """A dataset's name for machines and for people, what it is for, how often it comes, who sends it, and the hour of its load."""

    dataset: str
    name: str
    purpose: str
    periodicity: str
    sender: str
    at: str = DEFAULT_HOUR

    @property
    def is_central(self) -> bool:
        return self.sender != "each-province"


def read_heads(folder: Path) -> tuple[Head, ...]:
    """The heads of all contracts of a folder, in the order of their names; none for a file that is no YAML mapping."""
    return tuple(head for path in sorted(folder.glob("*.odcs.yaml")) for head in _head(path))


def _head(path: Path) -> Iterator[Head]:
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)  # the C form of the safe loader
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return
    schema = document.get("schema") if isinstance(document, Mapping) else None
    table = schema[0] if isinstance(schema, list) and schema else None
    dataset = table.get("name") if isinstance(table, Mapping) else None
    if not isinstance(dataset, str) or not _DATASET.fullmatch(dataset):
        return
    listed, description = document.get("customProperties"), document.get("description")
    custom = {one.get("property"): one.get("value") for one in listed if isinstance(one, Mapping)} if isinstance(listed, list) else {}
    purpose = description.get("purpose") if isinstance(description, Mapping) else ""
    yield Head(
        dataset,
        _line(document.get("name")) or dataset,
        str(purpose or "").strip(),
        next((one for one in PERIODICITIES if one == custom.get("periodicity")), "day"),
        _line(custom.get("sender")) or "each-province",
        _hour(custom.get("schedule")),
    )


def _line(value: Any) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""


def _hour(schedule: Any) -> str:
    at = schedule.get("at") if isinstance(schedule, Mapping) else None
    return at if isinstance(at, str) and _HOUR.fullmatch(at) else DEFAULT_HOUR
