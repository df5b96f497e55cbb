"""The fields of a contract, read from `schema[].properties[]`, with the rules that follow from their own keys.

Answers for: an option that has no effect on a field of its type, or on one that only tells the province or the period, is a fault.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, cast, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from expectations.arguments import regex, typed
from expectations.contract import Classification, Field, FieldType, Mask, Measure, Rule
from expectations.document import DOCUMENTATION, NAME, Cursor
from expectations.faults import Message
from expectations.quality import quality_rules
from expectations.rules import option_rules
from expectations.text import fold

_RESERVED = {"province_id", "delivery_id", "line", *("ctid", "xmin", "xmax", "cmin", "cmax", "tableoid")}  # ours, the database's own
_TELLING = {"province", "period"}
_DATE_FORMAT = re.compile(r"(?:yyyy|yy|MM|M|dd|d|HH|H|mm|ss|SSS|XXX|'[^']*'|[^A-Za-z'])+")
_DATE_PART = re.compile(r"'[^']*'|yyyy|yy|MM|M|dd|d|HH|H|mm|ss|SSS|XXX|.")
_OPTIONS: dict[str, tuple[str, ...]] = {
    "string": ("pattern", "minLength", "maxLength"),
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    "date": ("format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    "timestamp": ("format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "timezone", "defaultTimezone"),
    "boolean": (),
}


def read_fields(table: Cursor) -> tuple[tuple[Field, ...], list[Rule]]:
    """The fields of a table, and the rules that stand with them."""
    fields: list[Field] = []
    rules: list[Rule] = []
    for place in table.take("properties").items():
        field, own = _field(place)
        if any(f.name == field.name for f in fields):
            place.fault(f"trường «{field.name}» xuất hiện hai lần.", f"the field '{field.name}' stands here twice.")
        fields.append(field)
        rules += own
    for place in table.take("properties").items():
        rules += quality_rules(place, tuple(fields), place.take("name").text())
    for role in ("province", "period"):
        if sum(f.holds == role for f in fields) > 1:
            table.take("properties").fault(f"chỉ một trường được «holds: {role}».", f"only one field may have 'holds: {role}'.")
    _check_stand_ins(table, fields)
    return tuple(fields), rules


def _field(place: Cursor) -> tuple[Field, list[Rule]]:
    name = place.take("name")
    if not NAME.fullmatch(name.text()) or name.text() in _RESERVED:
        name.fault(
            f"tên trường «{name.text()}» không dùng được: chữ thường, số và _, khác {', '.join(sorted(_RESERVED))}.",
            f"'{name.text()}' is no name for a field: lower case letters, digits and _, and none of {', '.join(sorted(_RESERVED))}.",
        )
    kind = cast(FieldType, place.take("logicalType").one_of(get_args(FieldType)))
    custom, options = place.custom(), _options(place.find("logicalTypeOptions"), kind)
    label = place.text_at("businessName") or name.text()
    synonyms = place.find("synonyms")
    headers = [label, name.text()]
    for item in synonyms.items() if synonyms else ():
        headers.append(item.take("synonym").text())
        item.done("id", "description", "locale", "source", "status")
    examples, measure, sample, mask = place.find("examples"), custom.find("measure"), custom.find("sample"), custom.find("mask")
    timezone = _timezone(options)
    lengths = [part.count() for key in ("minLength", "maxLength") if (part := options.find(key))]
    field = Field(
        name=name.text(),
        label=label,
        type=kind,
        headers=tuple(dict.fromkeys(headers)),
        description=place.text_at("description"),
        required=place.flag_at("required"),
        key=_key_position(place),
        classification=place.choice_at("classification", get_args(Classification), "internal"),
        formats=_formats(options.find("format"), kind, has_zone=timezone is not None),
        length=lengths[0] if len(lengths) == 2 and lengths[0] == lengths[1] else None,
        enum=_enum(place),
        true_values=custom.texts_at("trueValues"),
        false_values=custom.texts_at("falseValues"),
        holds=custom.choice_at("holds", ("province", "period"), name.text() if name.text() in _TELLING else "") or None,
        code_list=custom.text_at("codeList") or None,
        measure=_measure(measure) if measure else None,
        timezone=timezone,
        examples=tuple(examples.must_be(list)) if examples else (),
        sample=dict(sample.must_be(dict)) if sample else {},
        pseudonym=custom.flag_at("pseudonym"),
        mask=_mask(mask) if mask else None,
    )
    _check_effect(field, place, custom, options)
    rules = [] if field.holds else option_rules(field, _limits(options, field), _enum_values(place, field), place.line)
    rules += _own_rules(field, place, custom)
    custom.done()
    place.find("quality")
    place.done(*DOCUMENTATION, "physicalType", "physicalName", "criticalDataElement", "semanticType", "transformDescription")
    return field, rules


def _own_rules(field: Field, place: Cursor, custom: Cursor) -> list[Rule]:
    """The rules of `withinPeriod` and `unique`."""
    rules = []
    within, unique = custom.find("withinPeriod"), place.find("unique")
    if within and within.must_be(bool):
        message = Message(f"{field.label}: ngày phải nằm trong kỳ báo cáo.", f"{field.name}: the day must lie within the period.")
        expectation = "expect_column_values_to_be_within_period"
        rules.append(
            Rule(f"{field.name}.within-period", expectation, {"column": field.name}, (field.name,), "error", message, source=within.line)
        )
    if unique and unique.must_be(bool):
        message = Message(
            f"{field.label}: giá trị này đã có ở một dòng phía trên.", f"{field.name}: this value stands in a line above already."
        )
        rules.append(
            Rule(
                f"{field.name}.unique",
                "expect_column_values_to_be_unique",
                {"column": field.name},
                (field.name,),
                "error",
                message,
                scope="delivery",
                source=unique.line,
            )
        )
    return rules


def _options(place: Cursor | None, kind: str) -> Cursor:
    """The options of a type; an option of another type is a fault."""
    if place is None:
        return Cursor(Path(), {}, {})
    for key in _OPTIONS[kind]:
        place.find(key)
    place.done()
    return place


def _limits(options: Cursor, field: Field) -> dict[str, Any]:
    """The options that become rules, limits in the field's type."""
    limits: dict[str, Any] = {}
    for key in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"):
        if found := options.find(key):
            limits[key] = typed(found, field)
    for key in ("minLength", "maxLength"):
        if found := options.find(key):
            limits[key] = found.count()
    if found := options.find("pattern"):
        limits["pattern"] = regex(found)
    for one, other in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if one in limits and other in limits:
            options.child(other).fault(f"chỉ một trong «{one}» và «{other}».", f"only one of '{one}' and '{other}' may stand here.")
    for lows, highs in ((("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")), (("minLength",), ("maxLength",))):
        low, high = next((key for key in lows if key in limits), None), next((key for key in highs if key in limits), None)
        if low and high and limits[low] > limits[high]:
            options.child(low).fault(f"«{low}» lớn hơn «{high}».", f"'{low}' is above '{high}'.")
    return limits


_EFFECTS: dict[str, tuple[str, ...]] = {
    "codeList": ("string",),
    "measure": ("integer", "number"),
    "withinPeriod": ("date", "timestamp"),
    "trueValues": ("boolean",),
    "falseValues": ("boolean",),
    "pseudonym": ("string",),
    "mask": ("string",),
}


def _check_effect(field: Field, place: Cursor, custom: Cursor, options: Cursor) -> None:
    """What has no effect on a field of this type, or on one that tells the province or the period, is a fault."""
    for key, types in _EFFECTS.items():
        if custom.has(key) and field.type not in types:
            custom.child(key).fault(
                f"«{key}» chỉ dùng cho kiểu {', '.join(types)}, không cho {field.type}.",
                f"'{key}' is for {', '.join(types)}, not for {field.type}.",
            )
    for key in ("pseudonym", "mask"):
        if custom.has(key) and not field.is_restricted:
            custom.child(key).fault(
                f"«{key}» chỉ dùng cho trường «classification: restricted»; trường khác ai cũng đọc được nguyên giá trị.",
                f"'{key}' is for fields with 'classification: restricted'; any other is read in clear by everybody.",
            )
    if field.enum and field.type in ("boolean", "timestamp"):
        place.child("enum").fault(f"«enum» không dùng cho kiểu {field.type}.", f"'enum' is not for {field.type}.")
    if field.key is not None and field.type == "number":
        place.child("primaryKey").fault("khoá không thể là số thực.", "a key cannot be a number with decimals.")
    both = sorted({fold(word) for word in field.true_values} & {fold(word) for word in field.false_values})
    if both:
        custom.child("falseValues").fault(f"«{both[0]}» vừa đúng vừa sai.", f"'{both[0]}' is both true and false.")
    if field.holds is None:
        return
    idle = [
        *(custom.child(key) for key in _EFFECTS if custom.has(key)),
        *(place.child(key) for key in ("enum", "unique") if place.has(key)),
        *(options.child(key) for key in options.value if key not in ("format", "timezone", "defaultTimezone")),
    ]
    for one in idle:
        one.fault(
            f"trường này chỉ cho biết {field.holds}; «{one.path[-1]}» không có tác dụng.",
            f"the field only tells the {field.holds}; '{one.path[-1]}' has no effect.",
        )


def _check_stand_ins(table: Cursor, fields: Sequence[Field]) -> None:
    """The columns that stand for restricted fields have names of their own."""
    names = {f.name for f in fields}
    for place, field in zip(table.take("properties").items(), fields, strict=True):
        for clash in names.intersection(field.stand_ins):
            place.fault(
                f"cột «{clash}» thay cho «{field.name}» trùng tên một trường; hãy đổi tên trường đó.",
                f"the column '{clash}' that stands for '{field.name}' has the name of a field; rename that field.",
            )


def _key_position(place: Cursor) -> int | None:
    """The place in the primary key; None when the field is not in it."""
    position = place.find("primaryKeyPosition")
    if place.flag_at("primaryKey"):
        return position.count(1) if position else 1
    if position and position.must_be(int) != -1:  # the standard's own way to say no
        position.fault("«primaryKeyPosition» cần «primaryKey: true».", "'primaryKeyPosition' needs 'primaryKey: true'.")
    return None


def _timezone(options: Cursor) -> str | None:
    """The zone that a moment's text means; None for moments without one."""
    has_zone, named = options.find("timezone"), options.find("defaultTimezone")
    if not (has_zone and has_zone.must_be(bool)):
        if named:
            named.fault("«defaultTimezone» cần «timezone: true».", "'defaultTimezone' needs 'timezone: true'.")
        return None
    if named is None:
        return "UTC"
    try:
        ZoneInfo(named.text())
    except (ZoneInfoNotFoundError, ValueError, OSError):
        named.fault(f"không có múi giờ «{named.text()}».", f"there is no time zone '{named.text()}'; for example: Europe/Rome.")
    return named.text()


def _enum(place: Cursor) -> tuple[str, ...]:
    listed, values = place.find("enum"), []
    for item in listed.items() if listed else ():
        value = item.take("value")
        if not isinstance(value.value, str):
            value.fault("viết giá trị trong ngoặc kép, để 01 không thành 1.", "put the value in quotes, so that 01 does not become 1.")
        values.append(value.value)
        item.done("label", "description", "tags", "id", "customProperties", "authoritativeDefinitions")
    return tuple(values)


_ENUM_READERS: dict[str, Callable[[str], Any]] = {"integer": int, "number": float, "date": date.fromisoformat}


def _enum_values(place: Cursor, field: Field) -> list[Any]:
    """The values of the enumeration, which stand as texts, in the field's type."""
    listed, values = place.find("enum"), []
    for item in listed.items() if listed else ():
        value, text = item.child("value"), item.child("value").text()
        try:
            values.append(_ENUM_READERS.get(field.type, str)(text))
        except ValueError:
            value.fault(f"«{text}» không thuộc kiểu {field.type}.", f"'{text}' is not of the type {field.type}.")
    return values


def _formats(place: Cursor | None, kind: str, *, has_zone: bool) -> tuple[str, ...]:
    if place is None:
        return {"date": ("yyyy-MM-dd",), "timestamp": ("yyyy-MM-dd'T'HH:mm:ss", "yyyy-MM-dd HH:mm:ss")}.get(kind, ())
    formats = tuple(part.strip() for part in place.text().split("|"))
    for text in formats:
        parts = _DATE_PART.findall(text)
        letters = [part[0] for part in parts if part[0].isalpha()]
        needs = {"d": "M", "M": "y", "H": "d", "m": "H", "s": "m", "S": "s", "X": "H"}
        is_whole = "y" in letters and len(letters) == len(set(letters)) and all(needs.get(letter, letter) in letters for letter in letters)
        if not _DATE_FORMAT.fullmatch(text) or not is_whole:
            place.fault(
                f"không hiểu dạng ngày «{text}»; ví dụ: dd/MM/yyyy hoặc yyyy-MM-dd HH:mm:ss (MM là tháng, mm là phút).",
                f"the date format '{text}' is not understood; for example: dd/MM/yyyy or yyyy-MM-dd HH:mm:ss (MM is the month, mm minutes).",
            )
        if "X" in letters and not has_zone:
            place.fault("«XXX» cần «timezone: true».", "'XXX' needs 'timezone: true'.")
    return formats


def _measure(place: Cursor) -> Measure:
    measure = Measure(place.take("additive").must_be(bool), place.take("unit").text())
    place.done()
    return measure


def _mask(place: Cursor) -> Mask:
    first, last = place.find("keepFirst"), place.find("keepLast")
    mask = Mask(first.count() if first else 0, last.count() if last else 0)
    place.done()
    if mask == Mask():
        place.fault(
            "cần «keepFirst» hoặc «keepLast» lớn hơn 0; muốn che hết thì bỏ «mask».",
            "'keepFirst' or 'keepLast' must be above 0; to show nothing, leave 'mask' out.",
        )
    return mask
