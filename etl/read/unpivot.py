"""Sorted rows become a batch under the contract's field names; columns whose headings are values become lines.

Answers for: every data line comes out, once for each name its values stand under. Refuses: reading the names.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from etl.read import Batch, Cells
from etl.read.cells import Places, Rows, first_filled, join, keep, take
from etl.read.header import Columns, Heading, Named
from etl.read.lines import Sorted


def batch_of(rows: Rows, sort: Sorted, heading: Heading, names: str | None) -> Batch:
    """The data lines of some rows. `names` is the field that takes the headings of columns that are values, if any are."""
    whole = bool(sort.data.all())

    def column(places: Columns) -> Cells:
        cells = first_filled([rows.cells[place] for place in places])
        return cells if whole else keep(cells, sort.data)

    batch = Batch(
        {name: column(places) for name, places in heading.columns.items()},
        rows.lines if whole else rows.lines[sort.data],
        None if sort.groups is None else sort.groups[sort.data],
        None if sort.is_unassigned is None else sort.is_unassigned[sort.data],
        sort.broken,
    )
    if names is None or not heading.named:
        return batch
    return _unpivoted(batch, {named: column(named.columns) for named in heading.named}, names)


def _unpivoted(batch: Batch, columns: dict[Named, Cells], names: str) -> Batch:
    """Each line once for each name, the names of a line in the order of their columns."""
    order = list(dict.fromkeys(named.name for named in columns))
    count, width = len(batch.lines), len(order)
    again = np.repeat(np.arange(count), width)
    result = {field: take(cells, again) for field, cells in batch.columns.items()}
    result[names] = Cells(pa.array(np.tile(np.array(order, object), count), pa.string()))
    across = np.arange(count * width) % width * count + again
    for field in dict.fromkeys(named.field for named in columns):
        by_name = {named.name: cells for named, cells in columns.items() if named.field == field}
        result[field] = _side_by_side([by_name.get(name) for name in order], count, across)
    return Batch(
        result,
        batch.lines[again],
        None if batch.groups is None else batch.groups[again],
        None if batch.is_unassigned is None else batch.is_unassigned[again],
        batch.broken,
    )


def _side_by_side(parts: Sequence[Cells | None], count: int, across: Places) -> Cells:
    return take(join([Cells(pa.nulls(count, pa.string())) if part is None else part for part in parts]), across)
