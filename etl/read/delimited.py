"""Text with separators (CSV): found out from its header, read in blocks, with the physical line of every row.

Answers for: quoted line breaks, title lines above and notes below, lines with too many or too few cells, a file cut off in the
middle. Refuses: a row of more than one block, which only a quotation mark that is never closed makes.
"""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv

from etl.read import Cells
from etl.read.cells import Places, Rows, Stray
from etl.read.grid import Grid
from etl.read.header import MAX_HEADER_LINES, HeaderFinder
from etl.read.header_faults import header_not_found
from etl.read.heading import HEAD_ROWS, Heading
from etl.read.source import Source, open_utf8
from expectations.contract import Contract
from expectations.faults import Message, SenderFault

SEPARATORS = ",;\t|"
_BLOCK = 1 << 20  # measured: larger blocks read slower
_MOST_ODD = 600_000  # lines in a row: more than a block can hold. The parser hands over nothing while none is whole
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_BREAK = r"\r\n|\r|\n"
_UNCLOSED = Message(
    "Dấu ngoặc kép mở ở dòng này không được đóng đến hết tệp; tệp có thể bị cắt.",
    "A quotation mark opened in this line is not closed until the file's end; the file may be cut off.",
)


@dataclass(frozen=True, slots=True)
class _Head:
    """The first rows under one separator: cells, the physical line each ends on, and the bytes up to its end."""

    separator: str
    rows: list[list[str]]
    lines: list[int]
    ends: list[int]


def open_delimited(source: Source, contract: Contract, batch_rows: int) -> Grid:
    """The table of a text file. Raises `SenderFault` when no separator gives a header."""
    with open_utf8(source) as stream:
        text = stream.read(_BLOCK).decode("utf-8", "ignore")
    finder = HeaderFinder(contract)
    heads = [_read_head(text, separator) for separator in SEPARATORS]
    found: list[tuple[_Head, Heading]] = []
    faults: list[SenderFault] = []
    for one in heads:
        try:
            found += [(one, heading) for heading in [finder.find(one.rows, one.lines)] if heading is not None]
        except SenderFault as fault:  # under another separator the same bytes may be a sound header
            faults.append(fault)
    if not found:
        raise faults[0] if faults else header_not_found(contract, [one.rows for one in heads])
    head, heading = max(found, key=lambda pair: _credit(*pair))
    grid = Grid(heading, iter(()), encoding=source.encoding, repairs={} if source.is_utf8 else {"encoding": 1})
    width = _width(head, heading)
    if width != heading.width:
        grid.heading = heading = replace(heading, width=width)
        grid.repairs["separators"] = 1
    grid.rows = _Reader(source, head, heading, heading.lines_for(batch_rows), grid).rows()
    return grid


def _read_head(text: str, separator: str) -> _Head:
    head = _Head(separator, [], [], [])
    size = 0

    def physical() -> Iterator[str]:
        nonlocal size
        for line in _LINE.finditer(text):
            size += len(line.group().encode())
            yield line.group()

    reader = csv.reader(physical(), delimiter=separator)
    try:
        for row in islice(reader, 2 * HEAD_ROWS + MAX_HEADER_LINES):
            head.rows.append(row)
            head.lines.append(reader.line_num)
            head.ends.append(size)
    except csv.Error:
        pass  # a cell without end; the header stands above it or nowhere
    return head


def _credit(head: _Head, heading: Heading) -> tuple[int, int]:
    """The separator under which most fields are found and fewest rows are odd."""
    below = head.rows[heading.last + 1 :]
    return len(heading.header.found) + len(heading.named), -sum(len(row) != heading.width for row in below if row)


def _width(head: _Head, heading: Heading) -> int:
    """The number of cells of a row: that of the header, unless all rows agree on another and only blank cells make the difference."""
    below = [row for row in head.rows[heading.last + 1 :] if any(row)]
    counts = {len(row) for row in below}
    if len(counts) != 1:
        return heading.width
    [count] = counts
    surplus = below if count > heading.width else head.rows[heading.first : heading.last + 1]
    is_blank = not any(cell.strip() for row in surplus for cell in row[min(count, heading.width) :])
    return count if is_blank else heading.width


class _Reader:
    """One pass over the rows below the header. Keeps count of records and physical lines across blocks."""

    def __init__(self, source: Source, head: _Head, heading: Heading, batch_rows: int, grid: Grid) -> None:
        self._source, self._head, self._heading, self._batch_rows, self._grid = source, head, heading, batch_rows, grid
        self._odd: deque[tuple[int, str]] = deque()
        self._record = 1  # the reader's number of the next record
        self._line = head.lines[heading.last] + 1

    def rows(self) -> Iterator[Rows]:
        """All rows in the file's order, blank ones too; the last are held back until it is known whether they are whole."""
        held: Rows | None = None
        for batch in self._joined():
            if held is not None:
                yield held
            held = self._placed(batch, is_last=False)
        rest = self._placed(None, is_last=True)
        last = held if held is not None else rest
        if held is not None and rest is not None:
            shifted = tuple(replace(stray, after=len(held.lines)) for stray in rest.strays)
            last = Rows(held.cells, held.lines, (*held.strays, *shifted))
        if last is not None:
            yield self._without_torn_end(last)

    # ------------------------------------------------------------ blocks

    def _joined(self) -> Iterator[pa.RecordBatch]:
        waiting: list[pa.RecordBatch] = []
        count = 0
        for batch in self._blocks():
            waiting.append(batch)
            count += batch.num_rows
            if max(count, len(self._odd)) >= self._batch_rows:
                yield _as_one(waiting)
                waiting, count = [], 0
        if count:
            yield _as_one(waiting)

    def _blocks(self) -> Iterator[pa.RecordBatch]:
        names = [str(place) for place in range(self._heading.width)]
        with open_utf8(self._source) as stream:
            _skip(stream, self._head.ends[self._heading.last])
            try:
                reader = pcsv.open_csv(
                    stream,
                    read_options=pcsv.ReadOptions(use_threads=False, block_size=_BLOCK, column_names=names),
                    parse_options=pcsv.ParseOptions(
                        delimiter=self._head.separator, newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=self._note
                    ),
                    convert_options=pcsv.ConvertOptions(
                        check_utf8=False,  # the source has proved it
                        column_types=dict.fromkeys(names, pa.string()),
                        null_values=[""],
                        strings_can_be_null=True,
                        quoted_strings_can_be_null=True,
                    ),
                )
            except pa.ArrowInvalid as error:
                if "Empty CSV file" in str(error):
                    return
                raise self._unreadable(error) from error
            try:
                yield from reader
            except pa.ArrowInvalid as error:
                raise self._unreadable(error) from error

    def _note(self, row: Any) -> str:
        self._odd.append((row.number, row.text))
        return "skip" if len(self._odd) < _MOST_ODD else "error"

    def _unreadable(self, error: Exception) -> Exception:
        if len(self._odd) >= _MOST_ODD:
            return SenderFault(
                Message(
                    f"Từ khoảng dòng {self._line}: {_MOST_ODD} dòng liền nhau không có đủ {self._heading.width} ô như tiêu đề. Hãy xuất lại tệp.",
                    f"From about line {self._line}: {_MOST_ODD} lines in a row do not have the header's {self._heading.width} cells. Export the file again.",
                ),
                rule="cells",
            )
        if "straddling" not in str(error):
            return error
        return SenderFault(
            Message(
                f"Từ khoảng dòng {self._line}: có dấu ngoặc kép mở mà không đóng, hoặc một dòng dài hơn {_BLOCK} byte. Hãy sửa rồi gửi lại.",
                f"From about line {self._line}: a quotation mark is opened and never closed, or a line is longer than {_BLOCK} bytes. Mend it and send again.",
            ),
            rule="quotes",
        )

    # ------------------------------------------------------------ line numbers

    def _placed(self, batch: pa.RecordBatch | None, *, is_last: bool) -> Rows | None:
        """The batch with the physical line of each row, and the odd rows among it. The parser reports odd rows ahead of time."""
        count = batch.num_rows if batch is not None else 0
        odd: list[tuple[int, str]] = []
        while self._odd and (is_last or self._odd[0][0] < self._record + count + len(odd)):
            odd.append(self._odd.popleft())
        if batch is None and not odd:
            return None
        columns = tuple(Cells(array) for array in batch.columns) if batch is not None else ()
        before = np.array([number - self._record - place for place, (number, _) in enumerate(odd)], np.int64)
        records = np.arange(count) + np.searchsorted(before, np.arange(count), side="right")
        extra = np.zeros(count + len(odd), np.int64)
        for cells in columns:
            extra[records] += _line_breaks(cells.text)
        for number, text in odd:
            extra[number - self._record] += len(re.findall(_BREAK, text))
        lines = self._line + np.arange(len(extra)) + np.concatenate(([0], np.cumsum(extra)[:-1])) if len(extra) else extra
        strays = tuple(
            Stray(int(lines[number - self._record]), int(after), self._cells(text), text)
            for (number, text), after in zip(odd, before, strict=True)
        )
        self._record += len(extra)
        self._line += len(extra) + int(extra.sum())
        return Rows(columns or _no_cells(self._heading.width), lines[records], strays)

    def _cells(self, text: str) -> tuple[str, ...]:
        try:
            return tuple(next(csv.reader(io.StringIO(text, newline=""), delimiter=self._head.separator), []))
        except csv.Error:
            return (text,)

    # ------------------------------------------------------------ the end

    def _without_torn_end(self, rows: Rows) -> Rows:
        """Mark the file as cut when it ends inside a line: without line break and with too few cells, or inside quotation marks."""
        ends_with_stray = bool(rows.strays) and rows.strays[-1].after == len(rows.lines)
        if ends_with_stray:
            stray = rows.strays[-1]
            self._grid.is_cut |= bool(stray.text.strip()) and (not self._source.is_ended or _is_open(stray.text, self._head.separator))
            return rows
        if not len(rows.lines):
            return rows
        value = rows.cells[-1].text[-1].as_py() or ""
        torn = '"' + value.replace('"', '""')
        tail = self._tail(len(torn.encode()) + 4)
        if tail.rstrip("\r\n").endswith(torn + '"'):
            return rows  # closed, and then a line break
        tail = tail[-len(torn) - 1 :]
        if not tail.endswith(torn) or tail[: -len(torn)] not in ("", self._head.separator, "\n", "\r"):
            return rows
        self._grid.is_cut = True
        texts = [cells.text[-1].as_py() or "" for cells in rows.cells]
        stray = Stray(int(rows.lines[-1]), len(rows.lines) - 1, tuple(texts), self._head.separator.join(texts), _UNCLOSED)
        return Rows(tuple(Cells(cells.text.slice(0, len(rows.lines) - 1)) for cells in rows.cells), rows.lines[:-1], (*rows.strays, stray))

    def _tail(self, size: int) -> str:
        """The last bytes of the text."""
        with open_utf8(self._source) as stream:
            if self._source.is_utf8:
                stream.seek(-min(size, self._source.file.stat().st_size), io.SEEK_END)
                return stream.read().decode("utf-8", "ignore")
            tail = b""
            while block := stream.read(_BLOCK):
                tail = (tail + block)[-size:]
            return tail.decode("utf-8", "ignore")


def _as_one(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.Table.from_batches(batches).combine_chunks().to_batches()[0]


def _no_cells(width: int) -> tuple[Cells, ...]:
    return tuple(Cells(pa.array([], pa.string())) for _ in range(width))


def _skip(stream: BinaryIO, size: int) -> None:
    """Pass over the first bytes of a text that may not be seekable."""
    while size:
        size -= len(stream.read(min(size, _BLOCK)))


def _line_breaks(texts: pa.Array) -> Places:
    """How many line breaks stand inside each cell; a column without any costs one look at its smallest byte."""
    data = texts.buffers()[2]
    if data is None or not data.size or np.frombuffer(data, np.uint8).min() > 13:
        return np.zeros(len(texts), np.int64)
    return np.asarray(pc.fill_null(pc.count_substring_regex(texts, _BREAK), 0), np.int64)


def _is_open(text: str, separator: str) -> bool:
    """Whether a row ends inside quotation marks."""
    try:
        deque(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True), maxlen=0)
    except csv.Error as error:
        return "unexpected end" in str(error)
    return False
