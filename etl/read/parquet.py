"""Parquet: typed columns, streamed, each row with its number in the file.

Answers for: any Arrow type becomes cells; a whole number that a double cannot hold stays exact, as text. Refuses: a damaged file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from etl.read import Cells
from etl.read.cells import EXACT, MOMENT, Rows
from etl.read.grid import Grid
from etl.read.header import HeaderFinder
from etl.read.header_faults import header_not_found
from etl.read.source import damaged
from expectations.contract import Contract


def open_parquet(file: Path, contract: Contract, batch_rows: int) -> Grid:
    """The rows of a Parquet file; the members of a struct are columns of their own, under a path."""
    try:
        reader = pq.ParquetFile(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise damaged(file, str(error)) from error
    titles = [title for field in reader.schema_arrow for title in _titles(field)]
    heading = HeaderFinder(contract).find_in(titles)
    if heading is None:
        reader.close()
        raise header_not_found(contract, [[[" / ".join(title) for title in titles]]])
    return Grid(heading, _batches(file, reader, heading.lines_for(batch_rows)))


def _titles(field: pa.Field) -> Iterator[tuple[str, ...]]:
    if pa.types.is_struct(field.type):
        for member in field.type:
            yield from ((field.name, *title) for title in _titles(member))
    else:
        yield (field.name,)


def _batches(file: Path, reader: pq.ParquetFile, batch_rows: int) -> Iterator[Rows]:
    line = 1
    with reader:
        batches = reader.iter_batches(batch_size=batch_rows)
        while True:
            try:
                batch = next(batches, None)
            except (pa.ArrowInvalid, OSError) as error:
                raise damaged(file, f"row {line}: {error}") from error
            if batch is None:
                return
            columns = [leaf for array in batch.columns for leaf in _leaves(array)]
            yield Rows(tuple(cells_of_array(array) for array in columns), np.arange(line, line + batch.num_rows))
            line += batch.num_rows


def _leaves(array: pa.Array) -> Iterator[pa.Array]:
    if pa.types.is_struct(array.type):
        for member in array.flatten():
            yield from _leaves(member)
    else:
        yield array


def cells_of_array(array: pa.Array) -> Cells:
    """An Arrow array of any type as cells: numbers, moments and truth values typed, everything else as text."""
    kind, none = array.type, pa.nulls(len(array), pa.string())
    if isinstance(kind, pa.BaseExtensionType):
        return cells_of_array(array.storage)
    if pa.types.is_dictionary(kind):
        return cells_of_array(array.dictionary_decode())
    if pa.types.is_boolean(kind):
        return Cells(none, flag=array)
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return _whole(array)
    if pa.types.is_floating(kind):
        numbers = array.cast(pa.float64())
        return Cells(none, number=pc.if_else(pc.is_nan(numbers), None, numbers))
    if pa.types.is_timestamp(kind):
        return Cells(none, moment=(pc.local_timestamp(array) if kind.tz else array).cast(MOMENT, safe=False))
    if pa.types.is_date(kind):
        return Cells(none, moment=array.cast(MOMENT))
    if pa.types.is_nested(kind):
        return Cells(
            pa.array([None if v is None else json.dumps(v, ensure_ascii=False, default=str) for v in array.to_pylist()], pa.string())
        )
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return Cells(pa.array([None if v is None else v.decode("utf-8", "backslashreplace") for v in array.to_pylist()], pa.string()))
    return Cells(array.cast(pa.string()))


def _whole(array: pa.Array) -> Cells:
    texts = pa.nulls(len(array), pa.string())
    if array.type.bit_width > 32:
        is_exact = pc.less_equal(array, pa.scalar(EXACT).cast(array.type) if pa.types.is_unsigned_integer(array.type) else EXACT)
        if not pa.types.is_unsigned_integer(array.type):
            is_exact = pc.and_(is_exact, pc.greater_equal(array, -EXACT))
        if pc.all(is_exact).as_py() is False:
            texts = pc.if_else(is_exact, None, array.cast(pa.string()))
            array = pc.if_else(is_exact, array, None)
    return Cells(texts, number=array.cast(pa.float64(), safe=False))
