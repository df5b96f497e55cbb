"""Sorted rows become batches under the contract's field names: what stands above or beside a line is written into it.

Answers for: every data line comes out, once for each name its values stand under where columns are values; a cell left empty
below its like, and a title line that speaks for the lines below it, are filled in if the contract says so. Refuses: reading any of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from etl.read import Batch, Cells
from etl.read.cells import Rows, all_blank, blank, first_filled, join, keep, take
from etl.read.heading import Columns, Heading, Named
from etl.read.lines import Sorted
from expectations.contract import Layout


class Shaper:
    """Shapes the rows of one table, in their order: what is filled down goes on from batch to batch."""

    def __init__(self, layout: Layout, heading: Heading) -> None:
        self._layout, self._heading = layout, heading
        self._above: dict[str, Cells] = {}

    def shape(self, rows: Rows, sort: Sorted) -> Batch:
        """The data lines of the next rows."""
        whole = bool(sort.data.all())

        def column(places: Columns) -> Cells:
            cells = first_filled([rows.cells[place] for place in places])
            return cells if whole else keep(cells, sort.data)

        batch = Batch(
            {name: column(places) for name, places in self._heading.columns.items()},
            rows.lines if whole else rows.lines[sort.data],
            None if sort.groups is None else sort.groups[sort.data],
            None if sort.is_unassigned is None else sort.is_unassigned[sort.data],
            sort.broken,
        )
        filled = {name: self._filled(name, batch.columns[name]) for name in self._layout.fill_down if name in batch.columns}
        titled = self._layout.lines.subtotal_field
        if titled is not None and batch.groups is not None:
            filled[titled] = Cells(pa.array([*sort.titles, None], pa.string()).take(pa.array(batch.groups % (len(sort.titles) + 1))))
        batch = replace(batch, columns={**batch.columns, **filled}) if filled else batch
        return self._unpivoted(batch, column) if self._heading.named else batch

    def _filled(self, name: str, cells: Cells) -> Cells:
        """The column with each blank cell taking the one above it."""
        if not len(cells.text):
            return cells
        both = join([self._above[name], cells]) if name in self._above else cells
        source = np.maximum.accumulate(np.where(blank(both), 0, np.arange(len(both.text))))
        both = take(both, source)
        self._above[name] = take(both, np.array([len(source) - 1]))
        return take(both, np.arange(len(source) - len(cells.text), len(source)))

    def _unpivoted(self, batch: Batch, column: Callable[[Columns], Cells]) -> Batch:
        """Each line once for each name, the names of a line in the order of their columns."""
        unpivot = self._layout.unpivot
        assert unpivot is not None  # nothing else names columns
        named = self._heading.named
        order = list(dict.fromkeys(one.name for one in named))
        count, width = len(batch.lines), len(order)
        again = np.repeat(np.arange(count), width)
        across = np.arange(count * width) % width * count + again

        def side_by_side(part: Callable[[Named], Columns], chosen: Sequence[Named]) -> Cells:
            by_name = {one.name: column(part(one)) for one in chosen}
            return take(join([by_name.get(name) or Cells(pa.nulls(count, pa.string())) for name in order]), across)

        values = {
            field: side_by_side(lambda one: one.columns, [n for n in named if n.field == field])
            for field in dict.fromkeys(n.field for n in named)
        }
        if unpivot.beside is not None:
            values[unpivot.beside] = side_by_side(lambda one: one.beside, named)
        result = Batch(
            {field: take(cells, again) for field, cells in batch.columns.items()}
            | {unpivot.names: Cells(pa.array(np.tile(np.array(order, object), count), pa.string()))}
            | values,
            batch.lines[again],
            None if batch.groups is None else batch.groups[again],
            None if batch.is_unassigned is None else batch.is_unassigned[again],
            batch.broken,
        )
        return only(result, ~all_blank(list(values.values()))) if unpivot.beside is not None else result


def only(batch: Batch, mask: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Batch:
    """The rows of a batch where the mask is true; its broken lines stay."""
    if mask.all():
        return batch
    return Batch(
        {name: keep(cells, mask) for name, cells in batch.columns.items()},
        batch.lines[mask],
        None if batch.groups is None else batch.groups[mask],
        None if batch.is_unassigned is None else batch.is_unassigned[mask],
        batch.broken,
    )
