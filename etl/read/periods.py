"""Which period a cell tells, whether it is a text, a number or a moment.

Answers for: one reading for finding a file's periods and for checking its lines. Refuses: ranges and half-written dates; a cell
that does not tell one period of the dataset's periodicity tells none.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.dates import parse_moments
from etl.read import Cells
from expectations.contract import Field
from expectations.period import Period, Periodicity, parse_period
from expectations.text import normalise

_ZERO_FRACTION = re.compile(r"(\d{4,8})[.,]0+")


def period_of(cell: str | float | datetime | None, field: Field, periodicity: Periodicity) -> Period | None:
    """The period that one cell tells, or None: written as the system writes it (2025-Q2), or in the field's own date formats."""
    if cell is None:
        return None
    if isinstance(cell, datetime):
        return Period.containing(cell.date(), periodicity)
    if isinstance(cell, float):
        cell = str(int(cell)) if cell.is_integer() else repr(cell)
    text = normalise(cell)
    whole = _ZERO_FRACTION.fullmatch(text)  # what spreadsheets and data frames make of a year
    text = whole[1] if whole else text
    found = parse_period(text, periodicity)
    if found is not None or not field.formats:
        return found
    moments, _ = parse_moments(pa.array([text]), field.formats)
    moment: datetime | None = moments[0].as_py()
    return Period.containing(moment.date(), periodicity) if moment is not None else None


def periods_of(cells: Cells, field: Field, periodicity: Periodicity) -> np.ndarray[Any, np.dtype[np.object_]]:
    """The period of each cell, or None; every distinct cell is read once."""
    found = np.full(len(cells.text), None, object)
    for part in (cells.moment, cells.number, cells.text):
        if part is None or part.null_count == len(part):
            continue
        encoded = part.dictionary_encode()
        distinct = np.array([*(period_of(cell, field, periodicity) for cell in encoded.dictionary.to_pylist()), None], object)
        filled = part.is_valid().to_numpy(zero_copy_only=False)
        codes = pc.fill_null(encoded.indices, len(distinct) - 1).to_numpy(zero_copy_only=False)
        found[filled] = distinct[codes[filled]]
    return found
