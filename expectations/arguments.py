"""The arguments of an expectation: their names, their types, and the fields they name.

Answers for: an argument that the engine would refuse, or silently take for another, is a fault at its line before any file is
judged; limits, members of sets and conditions come out as values of their field's type. Refuses: running anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from expectations.contract import Condition, Field
from expectations.document import Cursor
from expectations.rules import BOUNDS, KINDS, Kind

_ALIKE = {"integer": "number", "timestamp": "date"}
_MISSING = {
    "column_A": ("both_values_are_missing", "either_value_is_missing", "neither"),
    "column_list": ("all_values_are_missing", "any_value_is_missing", "never"),
}


def typed(place: Cursor, field: Field) -> Any:
    """A value of the field's type. A moment comes without a zone: in UTC where the field has a zone, whose own the text means."""
    value = place.value
    match field.type:
        case "string":
            return place.text()
        case "integer":
            return place.must_be(int)
        case "number":
            return place.number()
        case "boolean":
            return place.must_be(bool)
    try:
        read = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        read = None
    if field.type == "date" and isinstance(read, date):
        if not isinstance(read, datetime):
            return read
        if (read.hour, read.minute, read.second, read.microsecond) == (0, 0, 0, 0):
            return read.date()
    elif isinstance(read, date):
        return _moment(place, read, field)
    place.fault(
        f"cần ngày có thật viết theo dạng 2025-06-30{' hoặc 2025-06-30 17:00:00' if field.type == 'timestamp' else ''}, gặp «{value}».",
        f"expected a day that exists, written 2025-06-30{' or 2025-06-30 17:00:00' if field.type == 'timestamp' else ''}, found '{value}'.",
    )


def _moment(place: Cursor, day: date, field: Field) -> datetime:
    moment = day if isinstance(day, datetime) else datetime(day.year, day.month, day.day)  # noqa: DTZ001 - a local day has none
    if field.timezone is None:
        if moment.tzinfo is not None:
            place.fault("trường này không có múi giờ.", "this field has no time zone.")
        return moment
    return (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(field.timezone))).astimezone(UTC).replace(tzinfo=None)


def known(place: Cursor, fields: Sequence[Field]) -> Field:
    """The field of that name."""
    found = next((f for f in fields if f.name == place.text()), None)
    if found is None:
        place.fault(f"không có trường «{place.text()}».", f"there is no field '{place.text()}'.")
    return found


def regex(place: Cursor) -> str:
    """A regular expression."""
    try:
        re.compile(place.text())
    except (re.error, OverflowError) as error:
        place.fault(f"biểu thức chính quy sai: {error}.", f"not a regular expression: {error}.")
    return place.text()


def condition(place: Cursor, fields: Sequence[Field]) -> Condition:
    """When a rule applies: `{field: …}` with one of `in: […]`, `notIn: […]`, `present: true or false`."""
    name = place.take("field")
    field = known(name, fields)
    if field.holds:
        _only_tells(name, field)
    inside, outside, present = place.find("in"), place.find("notIn"), place.find("present")
    if sum(part is not None for part in (inside, outside, present)) != 1:
        place.fault("cần đúng một trong «in», «notIn», «present».", "exactly one of 'in', 'notIn', 'present' is needed.")
    place.done()
    if present is not None:
        return Condition(field.name, is_present=present.must_be(bool))
    chosen = inside or outside
    assert chosen is not None  # one of the three is there
    return Condition(field.name, values=tuple(typed(item, field) for item in _filled(chosen)), is_in=inside is not None)


def check_arguments(place: Cursor, given: Mapping[str, Any], fields: Sequence[Field], expectation: str) -> dict[str, Any]:
    """The arguments of an expectation, each of the type it needs. `place` is where they stand, or stand nearest to."""
    kind = KINDS[expectation]
    arguments = Cursor(place.file, dict(given), place.lines_below(), ())
    allowed = (*kind.columns, *kind.arguments, *kind.optional)
    for key in arguments.value:
        if key not in allowed:
            arguments.child(key).fault(
                f"{expectation} không có tham số «{key}»; có: {', '.join(allowed)}.",
                f"{expectation} has no argument '{key}'; it has {', '.join(allowed)}.",
            )
    for key in (*kind.columns, *kind.arguments):
        if arguments.value.get(key) is None:
            arguments.fault(f"{expectation} cần tham số «{key}».", f"{expectation} needs the argument '{key}'.")
    named = _fields_named(arguments, kind, fields, expectation)
    if BOUNDS[0] in kind.optional and not any(arguments.find(key) for key in BOUNDS[:2]):
        arguments.fault(f"{expectation} cần min_value hoặc max_value.", f"{expectation} needs min_value or max_value.")
    result = {key: _argument(arguments.child(key), key, expectation, named) for key, value in arguments.value.items() if value is not None}
    low, high = (result.get(key) for key in BOUNDS[:2])
    if low is not None and high is not None and low > high:
        arguments.child(BOUNDS[0]).fault("min_value lớn hơn max_value.", "min_value is above max_value.")
    return result


def _fields_named(arguments: Cursor, kind: Kind, fields: Sequence[Field], expectation: str) -> list[Field]:
    """The fields that the arguments name, in their order."""
    named: list[Field] = []
    for key in kind.columns:
        place = arguments.child(key)
        if key == "column_list":
            named += [_field(item, kind, fields, expectation) for item in _filled(place)]
        else:
            named.append(_field(place, kind, fields, expectation))
    groups = {f"{_ALIKE.get(f.type, f.type)}{' with zone' if f.timezone else ''}" for f in named}
    if kind.is_alike and len(groups) > 1:
        shown = ", ".join(f"{f.name}: {f.type}{f' {f.timezone}' if f.timezone else ''}" for f in named)
        arguments.fault(f"{expectation} cần các trường cùng kiểu ({shown}).", f"{expectation} needs fields of one type ({shown}).")
    return named


def _field(place: Cursor, kind: Kind, fields: Sequence[Field], expectation: str) -> Field:
    field = next((f for f in fields if f.name == place.text()), None)
    if field is None:
        place.fault(
            f"quy tắc nhắc đến trường «{place.value}» không tồn tại.", f"the rule names a field '{place.value}' that does not exist."
        )
    if field.holds and not kind.is_key:
        _only_tells(place, field)
    if kind.types and field.type not in kind.types:
        place.fault(
            f"{expectation} không áp dụng cho kiểu {field.type} của «{field.name}».",
            f"{expectation} does not read {field.type}, the type of '{field.name}'.",
        )
    return field


def _only_tells(place: Cursor, field: Field) -> None:
    place.fault(f"trường «{field.name}» chỉ cho biết {field.holds}.", f"the field '{field.name}' only tells the {field.holds}; no rule can read it.")  # fmt: skip


def _argument(place: Cursor, key: str, expectation: str, named: Sequence[Field]) -> Any:
    """One argument in the type it needs."""
    if key in BOUNDS[:2] or key == "value":
        if "sum" in expectation or "mean" in expectation:
            return place.number()
        if "length" in expectation or "count" in expectation:
            return place.count()
        return typed(place, named[0])
    if key == "value_set":
        return [typed(item, named[0]) for item in _filled(place)]
    if key == "value_pairs_set":
        return [_pair(item, named) for item in _filled(place)]
    if key == "ignore_row_if":
        return place.one_of(_MISSING["column_list" if len(named) != 2 or "pair" not in expectation else "column_A"])
    return _SIMPLE[key](place)


def _pair(place: Cursor, named: Sequence[Field]) -> list[Any]:
    if len(place.must_be(list)) != len(named):
        place.fault("cần từng cặp [a, b].", "pairs [a, b] are needed.")
    return [typed(item, field) for item, field in zip(place.items(), named, strict=True)]


def _filled(place: Cursor) -> list[Cursor]:
    """The items of a list that is not empty."""
    items = list(place.items())
    if not items:
        place.fault("danh sách trống.", "the list is empty.")
    return items


def _share(place: Cursor) -> float:
    if not place.number() >= 0:
        place.fault("không được âm.", "it must not be negative.")
    return place.number()


def _flag(place: Cursor) -> bool:
    return place.must_be(bool)


_SIMPLE: dict[str, Callable[[Cursor], Any]] = {
    "column": Cursor.text,
    "column_A": Cursor.text,
    "column_B": Cursor.text,
    "column_list": lambda place: list(place.texts()),
    "strict_min": _flag,
    "strict_max": _flag,
    "or_equal": _flag,
    "regex": regex,
    "regex_list": lambda place: [regex(item) for item in _filled(place)],
    "match_on": lambda place: place.one_of(("any", "all")),
    "sum_total": Cursor.number,
    "code_list": Cursor.text,
    "days_before": Cursor.count,
    "days_after": Cursor.count,
    "tolerance": _share,
    "weights": lambda place: [item.count() for item in _filled(place)],
    "modulus": lambda place: place.count(2),
    "complement": Cursor.count,
}
