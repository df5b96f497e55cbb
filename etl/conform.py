"""Cells become typed values, and spellings become provinces.

Answers for: the declared type of every field, texts in one normal form, the `province_id` of each row as of the period; a cell
that cannot be read is a rejection with its line, never an exception, and every repair is counted. Refuses: guessing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.dates import Mask, parse_moments
from etl.read import Batch, Cells
from expectations.contract import UNASSIGNED, Contract, Field, Numbers
from expectations.faults import Message
from expectations.period import Period
from expectations.text import fold, normalise
from expectations.unique import repeats
from warehouse.provinces import Registry

ARROW_TYPES = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "boolean": pa.bool_(),
}
_TRUE = ("true", "1", "x", "có", "yes", "đúng")
_FALSE = ("false", "0", "không", "no", "sai")
_ODD = r"[^ -~\x{C0}-\x{CF}\x{D1}-\x{EF}\x{F1}-\x{188}\x{18A}-\x{24F}\x{1E00}-\x{1EFF}]"
"""A letter that normalising may change: none of plain ASCII or composed Latin, without Eth and African D, which stand for Đ."""


def arrow_type(field: Field) -> pa.DataType:
    """The Arrow type of a field's values."""
    return pa.timestamp("us", "UTC") if field.timezone else ARROW_TYPES[field.type]


@dataclass(frozen=True, slots=True)
class BadCells:
    """Some rows of a batch whose cell in `field` is refused, for one reason; `values` are the cells as written."""

    rows: np.ndarray[Any, np.dtype[np.intp]]
    field: str
    rule: str
    values: pa.Array
    message: Message


@dataclass(slots=True)
class Conformed:
    """A batch in the contract's types: `rows` has the stored fields, `provinces` the province_id of each row.

    `unreadable` marks, by field, the cells that could not be read; `bad` says why, also for the province and the period.
    """

    rows: pa.RecordBatch
    provinces: pa.Array
    unreadable: dict[str, Mask] = field(default_factory=dict)
    bad: list[BadCells] = field(default_factory=list)


class Conformer:
    """Conforms the batches of one delivery. `province_id` is the sender's own, or None for a central body."""

    def __init__(self, contract: Contract, registry: Registry, period: Period, province_id: str | None) -> None:
        self._contract, self._registry, self._period, self._own = contract, registry, period, province_id
        self._day = period.start if contract.as_of == "start" else period.end
        self._provinces: dict[str | None, tuple[str | None, Message | None]] = {None: (None, _NO_PROVINCE)}
        self._mended: set[str | None] = set()
        self.repairs: Counter[str] = Counter()

    def conform(self, batch: Batch) -> Conformed:
        """The batch in the contract's types. A field whose column is missing is null throughout."""
        count = len(batch.lines)
        result = Conformed(rows=pa.record_batch({}), provinces=pa.nulls(count, pa.string()))
        columns = {f.name: self._column(f, batch.columns.get(f.name), count, result) for f in self._contract.stored_fields}
        result.rows = pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns)) if columns else _empty(count)
        result.provinces = self._province_ids(batch, count, result)
        self._check_period(batch, result)
        return result

    # ------------------------------------------------------------ values

    def _column(self, field: Field, cells: Cells | None, count: int, result: Conformed) -> pa.Array:
        kind = arrow_type(field)
        if cells is None:
            return pa.nulls(count, kind)
        texts, changed = tidy(cells.text)
        self.repairs["text"] += changed
        if field.type == "string":
            return self._strings(field, cells, texts)
        texts = _without(texts, self._contract.layout.numbers.missing)
        reader = _read_zoned if field.timezone else _READERS[field.type]
        read, unreadable = reader(texts, field, self._contract.layout.numbers)
        typed, mistyped = _typed(field, cells, len(texts))
        if typed is not None:
            typed = _in_zone(typed, field.timezone) if field.timezone else typed
            read = pc.coalesce(read, typed.cast(read.type))
        if mistyped is not None:
            unreadable |= mistyped
        if unreadable.any():
            rows = np.flatnonzero(unreadable)
            result.unreadable[field.name] = unreadable
            result.bad.append(
                BadCells(
                    rows, field.name, f"{field.name}.type", as_written(cells, rows), _type_message(field, self._contract.layout.numbers)
                )
            )
        return read.cast(kind)

    def _strings(self, field: Field, cells: Cells, texts: pa.Array) -> pa.Array:
        """Texts; a code that a workbook stored as a number gets its lost zeros back."""
        if cells.number is not None and cells.number.null_count < len(cells.number):
            written = [None if v is None else _number_text(v) for v in cells.number.to_pylist()]
            if field.length:
                restored = [w.zfill(field.length) if w is not None and w.isdigit() else w for w in written]
                self.repairs["zeros"] += sum(a != b for a, b in zip(written, restored, strict=True))
                written = restored
            texts = pc.coalesce(texts, pa.array(written, pa.string()))
        if cells.moment is not None:
            moments = [None if m is None else (f"{m:%Y-%m-%d}" if (m.hour, m.minute, m.second) == (0, 0, 0) else f"{m:%Y-%m-%d %H:%M:%S}") for m in cells.moment.to_pylist()]  # fmt: skip
            texts = pc.coalesce(texts, pa.array(moments, pa.string()))
        if cells.flag is not None:
            texts = pc.coalesce(texts, pc.if_else(cells.flag, "true", "false"))
        return texts

    # ------------------------------------------------------------ province and period

    def _province_ids(self, batch: Batch, count: int, result: Conformed) -> pa.Array:
        """Each row's province as of the period: the sender's own, or what the row says."""
        field = self._contract.province_field
        if self._contract.territory == "none":
            return pa.array([UNASSIGNED] * count, pa.string())
        if field is None or (self._own is not None and field.name not in batch.columns):
            return pa.array([self._own] * count, pa.string())
        cells = batch.columns.get(field.name) or Cells(pa.nulls(count, pa.string()))
        texts, _ = tidy(_written(cells))
        encoded = texts.dictionary_encode()
        words = [*encoded.dictionary.to_pylist(), None]
        for word in words:
            if word not in self._provinces:
                self._provinces[word] = self._resolve(word)
        codes = pc.fill_null(encoded.indices, len(words) - 1).to_numpy(zero_copy_only=False)
        self.repairs["zeros"] += int(np.isin(codes, [code for code, word in enumerate(words) if word in self._mended]).sum())
        ids = pa.array([self._provinces[word][0] for word in words], pa.string()).take(pa.array(codes))
        if batch.is_unassigned is not None and batch.is_unassigned.any():
            ids = pc.if_else(pa.array(batch.is_unassigned), UNASSIGNED, ids)
        missing = ids.is_null().to_numpy(zero_copy_only=False)
        for code in np.unique(codes[missing]) if missing.any() else ():
            rows = np.flatnonzero(missing & (codes == code))
            message = self._provinces[words[code]][1] or _NO_PROVINCE
            result.bad.append(BadCells(rows, field.name, "province", as_written(cells, rows), message))
        return ids

    def _resolve(self, word: str) -> tuple[str | None, Message | None]:
        found = self._registry.resolve(word, self._day, self._contract.code_system)
        if found.province_id is None:
            return None, _unknown_province(found.candidates, found.note, self._day)
        if found.repaired:
            self._mended.add(word)
        if self._own is not None and found.province_id != self._own:
            return None, Message(
                "Dòng này thuộc tỉnh khác; một tỉnh chỉ gửi dữ liệu của chính mình.",
                "This line belongs to another province; a province sends its own data only.",
            )
        return found.province_id, None

    def _check_period(self, batch: Batch, result: Conformed) -> None:
        """Lines that tell a period tell that of the delivery."""
        from etl.read.periods import periods_of

        field = self._contract.period_field
        if field is None or field.name not in batch.columns:
            return
        cells = batch.columns[field.name]
        wrong = np.array([p != self._period for p in periods_of(cells, field, self._period.periodicity)])
        if wrong.any():
            rows = np.flatnonzero(wrong)
            message = Message(
                f"{field.label}: dòng này không thuộc kỳ {self._period} của đợt gửi.",
                f"{field.name}: this line is not of the delivery's period {self._period}.",
            )
            result.bad.append(BadCells(rows, field.name, "period", as_written(cells, rows), message))


_NO_PROVINCE = Message("Không có tên hoặc mã tỉnh; hãy điền vào ô trống.", "No province is named; fill in the empty cell.")


def _unknown_province(candidates: tuple[Any, ...], note: Message | None, day: date) -> Message:
    near = ", ".join(c.name for c in candidates[:3])
    vi = f"Không có tỉnh này trong danh mục ngày {day:%d/%m/%Y}."
    en = f"No such province in the registry of {day:%Y-%m-%d}."
    if note:
        vi, en = f"{vi} {note.vi}", f"{en} {note.en}"
    if near:
        vi, en = f"{vi} Gần nhất: {near}.", f"{en} Nearest: {near}."
    return Message(vi, en)


# ---------------------------------------------------------------- texts


def tidy(texts: pa.Array) -> tuple[pa.Array, int]:
    """Texts in normal form, empty ones as null, and how many changed. Only texts that may be odd are looked at one by one."""
    if not len(texts) or texts.null_count == len(texts):
        return texts, 0
    data, offsets = _letters(texts)
    odd = _has_edge_blanks(data, offsets)
    if b"\x00" in (raw := data[offsets[0] : offsets[-1]].tobytes()):
        odd |= pc.fill_null(pc.match_substring(texts, "\x00"), False).to_numpy(zero_copy_only=False)
    if np.count_nonzero(offsets[1:] == offsets[:-1]) > texts.null_count:
        texts = pc.if_else(pc.equal(pc.binary_length(texts), 0), None, texts)
    if not raw.isascii():
        encoded = texts.dictionary_encode()  # texts with letters beyond ASCII repeat: names, titles, addresses
        strange = pc.match_substring_regex(encoded.dictionary, _ODD)
        if pc.any(strange).as_py():
            odd |= pc.fill_null(strange.take(encoded.indices), False).to_numpy(zero_copy_only=False)
    if not odd.any():
        return texts, 0
    found = texts.filter(pa.array(odd)).dictionary_encode()
    before = found.dictionary.to_pylist()
    after = [normalise(text) or None for text in before]
    changed = np.array([a != b for a, b in zip(after, before, strict=True)])
    mended = pc.replace_with_mask(texts, pa.array(odd), pa.array(after, pa.string()).take(found.indices))
    return mended, int(changed[found.indices.to_numpy()].sum())


def _letters(texts: pa.Array) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The bytes of a column of texts and where each text begins; the last offset is the end."""
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return np.frombuffer(texts.buffers()[2] or b"", np.uint8), offsets


def _has_edge_blanks(data: np.ndarray[Any, Any], offsets: np.ndarray[Any, Any]) -> Mask:
    odd = np.zeros(len(offsets) - 1, bool)
    filled = np.flatnonzero(offsets[1:] > offsets[:-1])
    odd[filled] = (data[offsets[filled]] <= 32) | (data[offsets[filled + 1] - 1] <= 32)
    return odd


def _without(texts: pa.Array, missing: tuple[str, ...]) -> pa.Array:
    """Texts with the marks for 'missing' as null."""
    marks = pa.array([m for m in missing if m], pa.string())
    found = pc.is_in(texts, value_set=marks)
    return pc.if_else(found, None, texts) if pc.any(found).as_py() else texts


def _number_text(value: float) -> str:
    return str(int(value)) if math.isfinite(value) and value == int(value) else repr(value)


def _written(cells: Cells) -> pa.Array:
    """The cells as texts, whatever they are stored as."""
    texts = cells.text
    if cells.number is not None:
        texts = pc.coalesce(texts, pa.array([None if v is None else _number_text(v) for v in cells.number.to_pylist()], pa.string()))
    if cells.moment is not None:
        texts = pc.coalesce(texts, cells.moment.cast(pa.string()))
    if cells.flag is not None:
        texts = pc.coalesce(texts, cells.flag.cast(pa.string()))
    return texts


def as_written(cells: Cells, rows: np.ndarray[Any, Any]) -> pa.Array:
    """Some cells as texts, as the sender wrote them."""
    chosen = pa.array(rows)
    parts = [None if part is None else part.take(chosen) for part in (cells.number, cells.moment, cells.flag)]
    return _written(Cells(cells.text.take(chosen), *parts))


def _empty(count: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.nulls(count)], names=[""]).select([])


# ---------------------------------------------------------------- readers of one type


def _over_distinct(texts: pa.Array, read: Callable[[pa.Array], tuple[pa.Array, Mask]]) -> tuple[pa.Array, Mask]:
    """Read the distinct texts only, where many are equal."""
    if not repeats(texts):
        return read(texts)
    encoded = texts.dictionary_encode()
    values, unreadable = read(encoded.dictionary)
    indices = encoded.indices
    places = pc.fill_null(indices, 0).to_numpy(zero_copy_only=False)
    mask = unreadable[places] & texts.is_valid().to_numpy(zero_copy_only=False) if len(unreadable) else np.zeros(len(texts), bool)
    return values.take(indices), mask


def _read_numbers(texts: pa.Array, field: Field, numbers: Numbers) -> tuple[pa.Array, Mask]:
    return _over_distinct(texts, lambda part: parse_numbers(part, numbers, is_integer=field.type == "integer", is_percent=bool(field.measure and field.measure.unit == "%")))  # fmt: skip


def parse_numbers(texts: pa.Array, numbers: Numbers, *, is_integer: bool, is_percent: bool = False) -> tuple[pa.Array, Mask]:
    """Texts as numbers in the declared style, and a mask of those that are none. An integer may end in a zero fraction."""
    if numbers.footnote_marks:
        texts = pc.replace_substring_regex(texts, r"(\S)\s*(\(\d+\)|\*+)$", r"\1")  # nothing before it: a negative number of accountants
        texts = _without(texts, numbers.missing)
    if is_percent:
        texts = pc.replace_substring_regex(texts, r"\s*%$", "")
    group = {".": r"\.", ",": ",", " ": r"[ \x{00A0}]"}.get(numbers.thousands)
    whole = rf"(\d{{1,3}}({group}\d{{3}})+|\d+)" if group else r"\d+"
    mark = r"\." if numbers.decimal == "." else ","
    fraction = rf"({mark}0+)?" if is_integer else rf"({mark}\d+)?([eE][+-]?\d+)?"
    shaped = pc.match_substring_regex(texts, rf"^[+-]?{whole}{fraction}$")
    plain = pc.if_else(shaped, texts, None)
    if group:
        plain = pc.replace_substring_regex(plain, group, "")
    if is_integer:
        plain = pc.replace_substring_regex(plain, rf"{mark}0+$", "")
        plain = pc.if_else(pc.match_substring_regex(plain, r"^[+-]?\d{1,18}$"), plain, None)
    elif numbers.decimal == ",":
        plain = pc.replace_substring(plain, ",", ".")
    values = pc.replace_substring_regex(plain, r"^\+", "").cast(pa.int64() if is_integer else pa.float64())
    if not is_integer:
        values = pc.if_else(pc.is_finite(values), values, None)
    unreadable = pc.and_(texts.is_valid(), values.is_null())
    return values, unreadable.to_numpy(zero_copy_only=False).copy()


def _read_dates(texts: pa.Array, field: Field, numbers: Numbers) -> tuple[pa.Array, Mask]:
    moments, unreadable = _read_moments(texts, field, numbers)
    return moments.cast(pa.date32(), safe=False), unreadable


def _read_moments(texts: pa.Array, field: Field, numbers: Numbers) -> tuple[pa.Array, Mask]:
    return _over_distinct(texts, lambda part: parse_moments(part, field.formats))


def _read_zoned(texts: pa.Array, field: Field, numbers: Numbers) -> tuple[pa.Array, Mask]:
    """Moments in UTC: those written with an offset by it, the others by the field's own zone."""
    zone = field.timezone or "UTC"
    with_offset = tuple(f for f in field.formats if "XXX" in f)
    local = tuple(f for f in field.formats if "XXX" not in f)
    told, unread = parse_moments(texts, with_offset)
    moments, unreadable = parse_moments(pc.if_else(pa.array(unread), texts, None), local)
    return pc.coalesce(told.cast(pa.timestamp("us", "UTC")), _in_zone(moments, zone)), unreadable


def _in_zone(moments: pa.Array, zone: str) -> pa.Array:
    """Moments of a zone's clock in UTC; an hour that the clock left out or had twice is read as its earlier one."""
    return pc.assume_timezone(moments, zone, ambiguous="earliest", nonexistent="earliest").cast(pa.timestamp("us", "UTC"))


def _read_flags(texts: pa.Array, field: Field, numbers: Numbers) -> tuple[pa.Array, Mask]:
    yes, no = ({fold(word) for word in words} for words in (field.true_values or _TRUE, field.false_values or _FALSE))

    def read(part: pa.Array) -> tuple[pa.Array, Mask]:
        values = [None if w is None else True if fold(w) in yes else False if fold(w) in no else None for w in part.to_pylist()]
        array = pa.array(values, pa.bool_())
        return array, pc.and_(part.is_valid(), array.is_null()).to_numpy(zero_copy_only=False).copy()

    return _over_distinct(texts, read)


_READERS: Mapping[str, Callable[[pa.Array, Field, Numbers], tuple[pa.Array, Mask]]] = {
    "integer": _read_numbers,
    "number": _read_numbers,
    "date": _read_dates,
    "timestamp": _read_moments,
    "boolean": _read_flags,
}


def _typed(field: Field, cells: Cells, count: int) -> tuple[pa.Array | None, Mask | None]:
    """What the file itself stores as a value of the field's type, and a mask of cells stored as something else."""
    wanted = {"integer": "number", "number": "number", "date": "moment", "timestamp": "moment", "boolean": "flag"}[field.type]
    mistyped = np.zeros(count, bool)
    for name in ("number", "moment", "flag"):
        part = getattr(cells, name)
        if part is not None and name != wanted:
            mistyped |= part.is_valid().to_numpy(zero_copy_only=False)
    values = getattr(cells, wanted)
    if field.type == "integer" and values is not None:
        whole = pc.fill_null(pc.equal(pc.floor(values), values), True)
        in_range = pc.fill_null(pc.less(pc.abs(values), 2.0**53), True)
        fits = pc.and_(whole, in_range)
        mistyped |= ~fits.to_numpy(zero_copy_only=False)
        values = pc.if_else(fits, values, None).cast(pa.int64())
    if field.type == "date" and values is not None:
        values = values.cast(pa.date32(), safe=False)
    if field.type == "number" and values is not None:
        finite = pc.fill_null(pc.is_finite(values), True)
        mistyped |= ~finite.to_numpy(zero_copy_only=False)
        values = pc.if_else(finite, values, None)
    return values, mistyped if mistyped.any() else None


def _type_message(field: Field, numbers: Numbers) -> Message:
    match field.type:
        case "integer":
            vi, en = "cần số nguyên", "a whole number is expected"
        case "number":
            vi, en = f"cần số, dấu thập phân là «{numbers.decimal}»", f"a number is expected, its decimal mark being '{numbers.decimal}'"
        case "boolean":
            vi, en = "cần có/không", "yes or no is expected"
        case _:
            shown = " | ".join(field.formats)
            vi, en = f"cần ngày có thật, viết theo dạng {shown}", f"a day that exists is expected, written {shown}"
    return Message(f"{field.label}: {vi}.", f"{field.name}: {en}.")
