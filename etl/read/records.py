"""JSON: an array, an array or object somewhere inside, or a record a line; its keys are headings.

Answers for: a column for each key that any record has, nested keys joined as a path, values typed as the file types them, memory
that does not grow with the file. Refuses: a document that is no JSON from some place on, unless it was only cut off.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import islice
from typing import Any, BinaryIO

import ijson
import numpy as np

from etl.read.cells import Rows, Stray, cells_of
from etl.read.grid import Grid
from etl.read.header import HeaderFinder
from etl.read.header_faults import header_not_found
from etl.read.source import Source, damaged, open_utf8
from etl.read.wording import Cell
from expectations.contract import Contract
from expectations.faults import Message

Path = tuple[str, ...]
Record = dict[Path, Cell]

_NO_RECORD = Message(
    "Dòng này không phải một đối tượng JSON hoàn chỉnh.",
    "This line is not a whole JSON object.",
)


def open_json(source: Source, contract: Contract, batch_rows: int) -> Grid:
    """The records of a JSON file. It is read twice: any record may have a key that those before it had not."""
    keys: dict[Path, None] = {}
    for _, record in _records(source, contract):
        keys.update(dict.fromkeys(record or ()))
    titles = list(keys)
    heading = HeaderFinder(contract).find_in(titles)
    if heading is None:
        raise header_not_found(contract, [[[" / ".join(title) for title in titles]]])
    grid = Grid(heading, iter(()), encoding=source.encoding, repairs={} if source.is_utf8 else {"encoding": 1})
    grid.rows = _batches(_records(source, contract, lambda: setattr(grid, "is_cut", True)), titles, heading.lines_for(batch_rows))
    return grid


def _batches(records: Iterator[tuple[int, Record | None]], titles: list[Path], batch_rows: int) -> Iterator[Rows]:
    while chunk := list(islice(records, batch_rows)):
        strays: list[Stray] = []
        rows: list[tuple[int, Record]] = []
        for line, record in chunk:
            if record is None:
                strays.append(Stray(line, len(rows), (), "", _NO_RECORD))
            else:
                rows.append((line, record))
        lines = np.array([line for line, _ in rows], np.int64)
        yield Rows(tuple(cells_of([record.get(title) for _, record in rows]) for title in titles), lines, tuple(strays))


# ---------------------------------------------------------------- records


def _records(source: Source, contract: Contract, on_cut: Callable[[], None] = lambda: None) -> Iterator[tuple[int, Record | None]]:
    """Each record with its number, its line where a line is a record; None for what is none."""
    where = contract.layout.records
    if where is None and _is_by_line(source):
        yield from _by_line(source, on_cut)
        return
    number = 0
    try:
        with open_utf8(source) as stream:
            for number, value in enumerate(_values(stream, source, where), 1):
                yield number, _flat(value)
    except ijson.JSONError as error:
        if "premature EOF" not in str(error):
            raise damaged(source.file, f"JSON, record {number + 1}: {str(error).splitlines()[0]}") from error
        on_cut()
        yield number + 1, None


def _is_by_line(source: Source) -> bool:
    with open_utf8(source) as stream:
        for line in stream:
            if line.strip():
                return isinstance(_loaded(line), dict)
    return False


def _by_line(source: Source, on_cut: Callable[[], None]) -> Iterator[tuple[int, Record | None]]:
    with open_utf8(source) as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            record = _flat(_loaded(line))
            if record is None and not line.endswith(b"\n"):
                on_cut()
            yield number, record


def _loaded(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _values(stream: BinaryIO, source: Source, where: str | None) -> Iterator[Any]:
    """The values at a path: the members of an array, `*` for the values of an object, or what else stands there."""
    if where is not None and where.split(".")[-1] == "*":
        for key, value in ijson.kvitems(stream, where[:-1].rstrip("."), multiple_values=True):
            yield {"key": key, **value} if isinstance(value, dict) else value
        return
    prefix = where or ""
    with open_utf8(source) as probe:
        event = next((event for place, event, _ in ijson.parse(probe, multiple_values=True) if place == prefix), None)
    if event == "start_array":
        prefix = f"{prefix}.item".lstrip(".")
    yield from ijson.items(stream, prefix, multiple_values=True)


def _flat(value: Any) -> Record | None:
    """A record with the paths of its keys; a list counts its members from 1."""
    if isinstance(value, list):
        value = {str(place): member for place, member in enumerate(value, 1)}
    if not isinstance(value, dict):
        return None
    flat: Record = {}
    for key, member in value.items():
        if isinstance(member, dict):
            flat.update({(str(key), *path): cell for path, cell in (_flat(member) or {}).items()})
        elif isinstance(member, list):
            flat[str(key),] = json.dumps(member, ensure_ascii=False, default=float)
        else:
            flat[str(key),] = float(member) if isinstance(member, Decimal) else member
    return flat
