"""A contract file (ODCS 3.x, YAML) becomes a frozen `Contract`.

Answers for: strictness. Standard keys first, our own only in `customProperties`; a key, type or expectation that would have
no effect is a fault that names file and line. Refuses: defaults that hide a mistake.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, cast, get_args

from expectations.contract import (
    UNASSIGNED,
    Classification,
    Condition,
    Contract,
    Field,
    FieldType,
    Layout,
    Lines,
    Measure,
    Numbers,
    OpenData,
    Reconciles,
    Rule,
    Schedule,
    Severity,
    Unpivot,
    Volume,
)
from expectations.document import Cursor, parse_document, read_text
from expectations.faults import Message, SetupFault
from expectations.period import PERIODICITIES, NamePattern
from expectations.rules import KINDS, Kind, fields_named, key_rule, option_rules

NAME = re.compile(r"[a-z][a-z0-9_]{0,49}")
SENDER = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_RESERVED = {"province_id", "delivery_id", "line"}
_TELLING = {"province", "period"}
_DATE_FORMAT = re.compile(r"(?:yyyy|yy|MM|M|dd|d|HH|mm|ss|SSS|XXX|'[^']*'|[^A-Za-z'])+")
_DOCUMENTATION = ("tags", "authoritativeDefinitions", "description", "businessName", "id")
_OPTIONS: dict[str, tuple[str, ...]] = {
    "string": ("pattern", "minLength", "maxLength"),
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    "date": ("format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    "timestamp": ("format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "timezone", "defaultTimezone"),
    "boolean": (),
}


def load_contract(file: Path) -> Contract:
    """Read one contract. Raises `SetupFault` naming file and line for anything that is not understood."""
    return parse_contract(read_text(file), file)


def parse_contract(text: str, file: Path) -> Contract:
    """The same from text; `file` is what messages name."""
    document = parse_document(text, file)
    _check_schema(document)
    return _contract(document, file, text)


def load_contracts(folder: Path) -> dict[str, Contract]:
    """All contracts of a folder by dataset, in the order of their names."""
    paths = sorted(folder.glob("*.odcs.yaml"))
    if not paths:
        raise SetupFault(Message(f"{folder}: không có hợp đồng dữ liệu (*.odcs.yaml).", f"{folder}: holds no contract (*.odcs.yaml)."))
    contracts: dict[str, Contract] = {}
    for path in paths:
        contract = load_contract(path)
        if contract.dataset in contracts:
            other = contracts[contract.dataset].file
            raise SetupFault(Message(f"{path}:1: tập dữ liệu «{contract.dataset}» đã có trong {other}.", f"{path}:1: the dataset '{contract.dataset}' already stands in {other}."))  # fmt: skip
        contracts[contract.dataset] = contract
    return contracts


@cache
def _validator() -> Any:
    from jsonschema import Draft201909Validator

    return Draft201909Validator(json.loads((files("open_data_contract_standard") / "schema.json").read_text(encoding="utf-8")))


def _check_schema(document: Cursor) -> None:
    """The file is valid against the JSON schema of the standard; dates that YAML reads as such count as text."""
    from jsonschema.exceptions import best_match

    error = best_match(_validator().iter_errors(json.loads(json.dumps(document.must_be(dict), default=str))))
    if error is not None:
        document.at(list(error.absolute_path)).fault(f"không đúng chuẩn ODCS: {error.message}.", f"not valid ODCS: {error.message}.")


def _contract(document: Cursor, file: Path, text: str) -> Contract:
    document.take("kind").one_of(["DataContract"])
    version = document.take("apiVersion")
    if not version.text().startswith("v3."):
        version.fault("chỉ đọc ODCS 3.x.", "only ODCS 3.x is read.")
    objects = list(document.take("schema").items())
    if len(objects) != 1:
        document.take("schema").fault("cần đúng một bảng trong «schema».", "exactly one table is needed in 'schema'.")
    table = objects[0]
    name = table.take("name")
    if not NAME.fullmatch(name.text()):
        name.fault("tên tập dữ liệu: chữ thường, số và _.", "a dataset's name is lower case letters, digits and _.")
    custom = _custom(document)
    periodicity = custom.take("periodicity").one_of(PERIODICITIES)
    fields, rules = _fields(table)
    rules += _key_rules(fields, table)
    rules += _quality(table, fields, None)
    _check_rules(rules, table)
    sender = custom.take("sender")
    if not SENDER.fullmatch(sender.text()):
        sender.fault("tên đơn vị: chữ thường, số và dấu nối.", "a sender's name is lower case letters, digits and hyphens.")
    description = document.find("description")
    sla = _sla(document)
    contract = Contract(
        dataset=name.text(),
        version=document.take("version").text(),
        label=_text(table, "businessName") or _text(document, "name") or name.text(),
        purpose=_text(description, "purpose") if description else "",
        status=document.take("status").text(),
        fields=fields,
        rules=tuple(rules),
        sender=sender.text(),
        periodicity=periodicity,  # type: ignore[arg-type]  # one_of checked it
        file_names=_patterns(custom.take("fileName"), periodicity),
        file=file,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        text=text,
        pillar=_text(custom, "pillar"),
        tolerance=_share(custom.find("tolerance")),
        volume=_volume(custom.find("volume")),
        code_system=_text(custom, "codeSystem") or None,
        as_of=_choice(custom, "asOf", ("start", "end"), "start"),
        allows_empty=_flag(custom, "allowsEmpty"),
        territory=_choice(custom, "territory", ("province", "none"), "province"),
        storage="central" if sender.text() != "each-province" else _choice(custom, "storage", ("list", "leaves"), "list"),
        layout=_layout(custom.find("layout"), fields),
        schedule=_schedule(custom.find("schedule")),
        open_data=_open_data(custom.find("openData")),
        reconciles=_reconciles(custom.find("reconciles"), fields),
        frequency=sla.get("frequency"),
        latency=sla.get("latency"),
    )
    custom.done()
    table.done(*_DOCUMENTATION, "physicalName", "physicalType", "dataGranularityDescription", "logicalType")
    document.done(*_DOCUMENTATION, "name", "status", "tenant", "domain", "dataProduct", "servers", "team", "roles", "support", "price", "contractCreatedTs", "slaDefaultElement", "context")  # fmt: skip
    _check_whole(contract, document)
    return contract


def _custom(place: Cursor) -> Cursor:
    """The custom properties of a place as one group of keys."""
    lines: dict[tuple[object, ...], int] = {}
    values: dict[str, Any] = {}
    listed = place.find("customProperties")
    for item in listed.items() if listed else ():
        item.must_be(dict)
        key = item.take("property").text()
        value = item.take("value")
        if key in values:
            item.fault(f"«{key}» xuất hiện hai lần.", f"'{key}' stands here twice.")
        values[key] = value.value
        for path, line in place._lines.items():
            if path[: len(value.path)] == value.path:
                lines[(key, *path[len(value.path) :])] = line
    lines[()] = listed.line if listed else place.line
    return Cursor(place.file, values, lines)


def _text(place: Cursor | None, key: str) -> str:
    found = place.find(key) if place else None
    return found.text() if found else ""


def _flag(place: Cursor, key: str) -> bool:
    found = place.find(key)
    return found.must_be(bool) if found else False


def _choice(place: Cursor, key: str, allowed: tuple[str, ...], default: str) -> Any:
    found = place.find(key)
    return found.one_of(allowed) if found else default


def _share(place: Cursor | None) -> float:
    if place is None:
        return 0.0
    if not 0 <= place.number() <= 1:
        place.fault("tỷ lệ phải từ 0 đến 1.", "a share lies between 0 and 1.")
    return place.number()


def _regex(place: Cursor) -> str:
    try:
        re.compile(place.text())
    except re.error as error:
        place.fault(f"biểu thức chính quy sai: {error}.", f"not a regular expression: {error}.")
    return place.text()


def _message(place: Cursor) -> Message:
    place.must_be(dict)
    message = Message(place.take("vi").text(), place.take("en").text())
    place.done()
    return message


# ---------------------------------------------------------------- fields


def _fields(table: Cursor) -> tuple[tuple[Field, ...], list[Rule]]:
    fields: list[Field] = []
    rules: list[Rule] = []
    for place in table.take("properties").items():
        field, own = _field(place)
        if any(f.name == field.name for f in fields):
            place.fault(f"trường «{field.name}» xuất hiện hai lần.", f"the field '{field.name}' stands here twice.")
        fields.append(field)
        rules += own
    for place in table.take("properties").items():
        rules += _quality(place, tuple(fields), place.take("name").text())
    for role in ("province", "period"):
        if sum(f.holds == role for f in fields) > 1:
            table.take("properties").fault(f"chỉ một trường được «holds: {role}».", f"only one field may have 'holds: {role}'.")
    return tuple(fields), rules


def _field(place: Cursor) -> tuple[Field, list[Rule]]:
    name = place.take("name")
    if not NAME.fullmatch(name.text()) or name.text() in _RESERVED:
        name.fault(
            f"tên trường «{name.text()}» không dùng được: chữ thường, số và _, khác {', '.join(sorted(_RESERVED))}.",
            f"'{name.text()}' is no name for a field: lower case letters, digits and _, and none of {', '.join(sorted(_RESERVED))}.",
        )
    kind = place.take("logicalType").one_of(get_args(FieldType))
    options_place = place.find("logicalTypeOptions")
    options = dict(options_place.must_be(dict)) if options_place else {}
    if options_place:
        for key in options:
            options_place.take(key) if key in _OPTIONS[kind] else None
        options_place.done()
        if "pattern" in options:
            _regex(options_place.take("pattern"))
        for key in ("minLength", "maxLength"):
            if key in options:
                options_place.take(key).must_be(int)
    custom = _custom(place)
    label = _text(place, "businessName") or name.text()
    synonyms = place.find("synonyms")
    headers = [label, name.text()]
    for item in synonyms.items() if synonyms else ():
        headers.append(item.take("synonym").text())
        item.done("id", "description", "locale", "source", "status")
    key, position = _flag(place, "primaryKey"), place.find("primaryKeyPosition")
    examples = place.find("examples")
    measure, sample = custom.find("measure"), custom.find("sample")
    field = Field(
        name=name.text(),
        label=label,
        type=cast(FieldType, kind),
        headers=tuple(dict.fromkeys(headers)),
        description=_text(place, "description"),
        required=_flag(place, "required"),
        key=(position.must_be(int) if position else 1) if key else None,
        classification=_choice(place, "classification", get_args(Classification), "internal"),
        formats=_formats(options_place, kind),
        length=options["minLength"]
        if options.get("minLength") is not None and options.get("minLength") == options.get("maxLength")
        else None,
        enum=_enum(place),
        true_values=_words(custom, "trueValues"),
        false_values=_words(custom, "falseValues"),
        holds=_choice(custom, "holds", ("province", "period"), name.text() if name.text() in _TELLING else "") or None,
        code_list=_text(custom, "codeList") or None,
        measure=_measure(measure) if measure else None,
        timezone=options.get("defaultTimezone", "UTC") if options.get("timezone") else None,
        examples=tuple(examples.must_be(list)) if examples else (),
        sample=dict(sample.must_be(dict)) if sample else {},
    )
    if within := custom.find("withinPeriod"):
        within.must_be(bool)
    rules = option_rules(field, options, place.line) if field.holds is None else []
    if within and within.value:
        rules.append(
            Rule(
                f"{field.name}.within-period",
                "expect_column_values_to_be_within_period",
                {"column": field.name},
                (field.name,),
                "error",
                Message(f"{label}: ngày phải nằm trong kỳ báo cáo.", f"{field.name}: the day must lie within the period."),
                source=within.line,
            )
        )
    custom.done()
    unique = place.find("unique")
    if unique and unique.must_be(bool):
        rules.append(
            Rule(
                f"{field.name}.unique",
                "expect_column_values_to_be_unique",
                {"column": field.name},
                (field.name,),
                "error",
                Message(f"{label}: giá trị này đã có ở một dòng phía trên.", f"{field.name}: this value stands in a line above already."),
                scope="delivery",
                source=unique.line,
            )
        )
    place.find("quality")
    place.done(*_DOCUMENTATION, "physicalType", "physicalName", "criticalDataElement", "semanticType", "transformDescription")
    return field, rules


def _enum(place: Cursor) -> tuple[str, ...]:
    listed, values = place.find("enum"), []
    for item in listed.items() if listed else ():
        value = item.take("value")
        if not isinstance(value.value, str):
            value.fault("viết giá trị trong ngoặc kép, để 01 không thành 1.", "put the value in quotes, so that 01 does not become 1.")
        values.append(value.value)
        item.done("label", "description", "tags", "id", "customProperties", "authoritativeDefinitions")
    return tuple(values)


def _words(place: Cursor, key: str) -> tuple[str, ...]:
    found = place.find(key)
    return found.texts() if found else ()


def _formats(options: Cursor | None, kind: str) -> tuple[str, ...]:
    found = options.find("format") if options else None
    if found is None:
        return {"date": ("yyyy-MM-dd",), "timestamp": ("yyyy-MM-dd'T'HH:mm:ss", "yyyy-MM-dd HH:mm:ss")}.get(kind, ())
    formats = tuple(part.strip() for part in found.text().split("|"))
    for text in formats:
        if not _DATE_FORMAT.fullmatch(text) or not {"yyyy", "yy"} & set(re.findall(r"y+", text)):
            found.fault(
                f"không hiểu dạng ngày «{text}»; ví dụ: dd/MM/yyyy.",
                f"the date format '{text}' is not understood; for example: dd/MM/yyyy.",
            )
    return formats


def _measure(place: Cursor) -> Measure:
    measure = Measure(place.take("additive").must_be(bool), place.take("unit").text())
    place.done()
    return measure


# ---------------------------------------------------------------- rules


def _key_rules(fields: tuple[Field, ...], table: Cursor) -> list[Rule]:
    keys = tuple(sorted((f for f in fields if f.key is not None), key=lambda f: f.key or 0))
    return [key_rule(keys, table.take("properties").line)] if keys else []


def _quality(place: Cursor, fields: tuple[Field, ...], owner: str | None) -> list[Rule]:
    """The rules in a `quality` list: library metrics, and expectations of the engine with a message in both languages."""
    listed = place.find("quality")
    return [rule for item in listed.items() if (rule := _rule(item, fields, owner))] if listed else []


def _rule(item: Cursor, fields: tuple[Field, ...], owner: str | None) -> Rule | None:
    custom = _custom(item)
    metric, kind = item.find("metric"), item.find("type")
    if kind and kind.text() == "text":
        item.done(*_DOCUMENTATION, "name", "dimension")
        return None
    identifier = item.take("id").text()
    severity = cast(Severity, item.take("severity").one_of(get_args(Severity)))
    message_place = custom.find("message")
    message = _message(message_place) if message_place else None
    if metric:
        expectation, arguments, mostly = _library(item, metric, owner)
        metric_label = {f.name: f.label for f in fields}.get(owner or "", owner or "")
        message = message or Message(
            f"{metric_label}: không đạt «{metric.text()}» của hợp đồng.".lstrip(": "),
            f"{owner or 'table'}: fails '{metric.text()}' of the contract.",
        )
    elif kind and kind.text() == "custom":
        item.take("engine").one_of(["greatExpectations"])
        implementation = item.take("implementation")
        implementation.must_be(dict)
        name = implementation.take("type")
        expectation = name.one_of(list(KINDS))
        given = implementation.find("kwargs")
        arguments = dict(given.must_be(dict)) if given else {}
        if owner and "column" in KINDS[expectation].columns:
            arguments.setdefault("column", owner)
        mostly = arguments.pop("mostly", None)
        implementation.done()
        if message is None:
            item.fault("thiếu «message» bằng tiếng Việt và tiếng Anh.", "a 'message' in Vietnamese (vi) and English (en) is missing.")
        _check_arguments(given or implementation, KINDS[expectation], arguments, fields, expectation)
    else:
        item.fault(
            "chỉ hiểu «metric» của thư viện, «type: custom» của Great Expectations và «type: text».",
            "only library metrics, 'type: custom' of Great Expectations and 'type: text' are understood.",
        )
    when_place = custom.find("when")
    when = (
        tuple(_condition(part, fields) for part in (when_place.items() if isinstance(when_place.value, list) else [when_place]))
        if when_place
        else ()
    )
    custom.done()
    item.done(*_DOCUMENTATION, "name", "dimension", "unit", "businessImpact", "method", "type")
    if mostly is not None and not (isinstance(mostly, (int, float)) and 0 < mostly <= 1):
        item.fault("«mostly» phải lớn hơn 0 và không quá 1.", "'mostly' must be above 0 and at most 1.")
    shape = KINDS[expectation]
    named = fields_named(shape, arguments)
    return Rule(identifier, expectation, arguments, named, severity, message, when, mostly, shape.scope, item.line)


def _library(item: Cursor, metric: Cursor, owner: str | None) -> tuple[str, dict[str, Any], float | None]:
    """A library metric as an expectation: `mustBe: 0`, or at most a percentage, or limits on the number of rows."""
    given = item.find("arguments")
    arguments = dict(given.must_be(dict)) if given else {}
    bound = {
        key: item.find(key)
        for key in ("mustBe", "mustBeLessThan", "mustBeLessOrEqualTo", "mustBeGreaterThan", "mustBeGreaterOrEqualTo", "mustBeBetween")
    }
    limits = {key: place for key, place in bound.items() if place is not None}
    if len(limits) != 1:
        item.fault("cần đúng một giới hạn (mustBe, mustBeLessThan, …).", "exactly one limit (mustBe, mustBeLessThan, …) is needed.")
    key, place = next(iter(limits.items()))
    name = metric.text()
    if name == "rowCount":
        if key == "mustBeBetween":
            low, high = (part.must_be(int) for part in place.items())
        else:
            value = place.must_be(int)
            low = {"mustBe": value, "mustBeGreaterThan": value + 1, "mustBeGreaterOrEqualTo": value}.get(key)  # type: ignore[assignment]
            high = {"mustBe": value, "mustBeLessThan": value - 1, "mustBeLessOrEqualTo": value}.get(key)  # type: ignore[assignment]
        return "expect_table_row_count_to_be_between", {"min_value": low, "max_value": high}, None
    mostly = None
    if key in ("mustBeLessThan", "mustBeLessOrEqualTo"):
        unit = item.find("unit")
        if unit is None or unit.text() != "percent":
            item.fault("giới hạn theo tỷ lệ cần «unit: percent».", "a limit on a share needs 'unit: percent'.")
        mostly = 1 - place.number() / 100
    elif key != "mustBe" or place.value != 0:
        place.fault("ở đây chỉ hiểu «mustBe: 0» hoặc tỷ lệ phần trăm.", "only 'mustBe: 0' or a percentage is understood here.")
    if name == "duplicateValues":
        columns = arguments.get("properties", [owner] if owner else None)
        if not columns:
            item.fault("cần «arguments: {properties: […]}».", "'arguments: {properties: […]}' is needed.")
        return "expect_compound_columns_to_be_unique", {"column_list": columns}, None
    if owner is None:
        metric.fault("chỉ số này thuộc về một trường.", "this metric belongs to a field.")
    if name == "nullValues":
        return "expect_column_values_to_not_be_null", {"column": owner}, mostly
    if name == "missingValues":
        return "expect_column_values_to_not_be_in_set", {"column": owner, "value_set": arguments.get("missingValues", [""])}, mostly
    if "validValues" in arguments:
        return "expect_column_values_to_be_in_set", {"column": owner, "value_set": arguments["validValues"]}, mostly
    if "pattern" in arguments:
        return "expect_column_values_to_match_regex", {"column": owner, "regex": arguments["pattern"]}, mostly
    item.fault("«invalidValues» cần «validValues» hoặc «pattern».", "'invalidValues' needs 'validValues' or 'pattern'.")


def _condition(place: Cursor, fields: tuple[Field, ...]) -> Condition:
    place.must_be(dict)
    name = place.take("field")
    _known(name, fields)
    inside, outside, present = place.find("in"), place.find("notIn"), place.find("present")
    if sum(part is not None for part in (inside, outside, present)) != 1:
        place.fault("cần đúng một trong «in», «notIn», «present».", "exactly one of 'in', 'notIn', 'present' is needed.")
    place.done()
    if present is not None:
        return Condition(name.text(), is_present=present.must_be(bool))
    chosen = inside or outside
    assert chosen is not None
    return Condition(name.text(), values=tuple(chosen.must_be(list)), is_in=inside is not None)


def _known(place: Cursor, fields: tuple[Field, ...]) -> Field:
    """The field of that name. Fields that tell the province or the period are not columns and cannot be judged."""
    found = next((f for f in fields if f.name == place.text()), None)
    if found is None:
        place.fault(f"không có trường «{place.text()}».", f"there is no field '{place.text()}'.")
    return found


def _check_arguments(place: Cursor, kind: Kind, arguments: Mapping[str, Any], fields: tuple[Field, ...], expectation: str) -> None:
    allowed = (*kind.columns, *kind.arguments, *kind.optional)
    for key in arguments:
        if key not in allowed and key != "mostly":
            place.fault(
                f"{expectation} không có tham số «{key}»; có: {', '.join(allowed)}.",
                f"{expectation} has no argument '{key}'; it has {', '.join(allowed)}.",
            )
    for key in (*kind.columns, *kind.arguments):
        if key not in arguments:
            place.fault(f"{expectation} cần tham số «{key}».", f"{expectation} needs the argument '{key}'.")
    if kind.optional[:2] == ("min_value", "max_value") and not {"min_value", "max_value"} & set(arguments):
        place.fault(f"{expectation} cần min_value hoặc max_value.", f"{expectation} needs min_value or max_value.")
    for pattern in [arguments["regex"]] if "regex" in arguments else arguments.get("regex_list", []):
        try:
            re.compile(pattern)
        except re.error as error:
            place.fault(f"biểu thức chính quy sai: {error}.", f"not a regular expression: {error}.")
    for name in fields_named(kind, dict(arguments)):
        field = next((f for f in fields if f.name == name), None)
        if field is None:
            place.fault(f"quy tắc nhắc đến trường «{name}» không tồn tại.", f"the rule names a field '{name}' that does not exist.")
        if field.holds:
            place.fault(
                f"trường «{name}» chỉ cho biết {field.holds}.", f"the field '{name}' only tells the {field.holds}; no rule can read it."
            )
        if kind.types and field.type not in kind.types:
            place.fault(
                f"{expectation} không áp dụng cho kiểu {field.type} của «{name}».",
                f"{expectation} does not read {field.type}, the type of '{name}'.",
            )


def _check_rules(rules: list[Rule], table: Cursor) -> None:
    seen: dict[str, int] = {}
    for rule in rules:
        if rule.id in seen:
            place = Cursor(table.file, None, {(): rule.source})
            place.fault(
                f"mã quy tắc «{rule.id}» đã có ở dòng {seen[rule.id]}.", f"the rule id '{rule.id}' already stands in line {seen[rule.id]}."
            )
        seen[rule.id] = rule.source


# ---------------------------------------------------------------- our own keys


def _patterns(place: Cursor, periodicity: str) -> tuple[NamePattern, ...]:
    patterns = []
    for text in place.texts():
        try:
            patterns.append(NamePattern(text, periodicity))  # type: ignore[arg-type]  # one_of checked it
        except ValueError as error:
            place.fault(f"mẫu tên tệp «{text}»: {error}.", f"the file name pattern '{text}': {error}.")
    return tuple(patterns)


def _optional(place: Cursor | None, read: Callable[[Cursor], Any]) -> Any:
    if place is None:
        return None
    place.must_be(dict)
    result = read(place)
    place.done()
    return result


def _volume(place: Cursor | None) -> Volume | None:
    return cast(
        Volume | None, _optional(place, lambda p: Volume(p.take("min").number(), p.take("max").number(), p.take("over").must_be(int)))
    )


def _schedule(place: Cursor | None) -> Schedule:
    def read(p: Cursor) -> Schedule:
        at, due = p.find("at"), p.find("due")
        if at and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", at.text()):
            at.fault("giờ viết là HH:MM.", "an hour is written HH:MM.")
        days = re.fullmatch(r"P(\d+)D", due.text()) if due else None
        if due and not days:
            due.fault("thời hạn viết là P10D (10 ngày).", "the due date is written P10D (10 days).")
        return Schedule(at.text() if at else "02:00", int(days[1]) if days else None)

    return cast(Schedule, _optional(place, read) or Schedule())


def _open_data(place: Cursor | None) -> OpenData:
    def read(p: Cursor) -> OpenData:
        count = p.find("minimum_count")
        return OpenData(
            p.take("publish").one_of(("none", "rows", "mart")),  # type: ignore[arg-type]  # one_of checked it
            _text(p, "licence") or None,
            _text(p, "theme") or None,
            _text(p, "disclosure") or None,
            count.must_be(int) if count else None,
            _text(p, "mart") or None,
        )

    return cast(OpenData, _optional(place, read) or OpenData("none"))


def _reconciles(place: Cursor | None, fields: tuple[Field, ...]) -> tuple[Reconciles, ...]:
    def read(p: Cursor) -> Reconciles:
        by, measures = p.find("by"), p.take("measures")
        for pairs in (by, measures):
            for key in pairs.must_be(dict) if pairs else ():
                if key not in {f.name for f in fields}:
                    cast(Cursor, pairs).child(key).fault(f"không có trường «{key}».", f"there is no field '{key}'.")
        return Reconciles(p.take("dataset").text(), dict(by.must_be(dict)) if by else {}, dict(measures.must_be(dict)))

    if place is None:
        return ()
    return tuple(_optional(one, read) for one in (place.items() if isinstance(place.value, list) else [place]))


def _layout(place: Cursor | None, fields: tuple[Field, ...]) -> Layout:
    def read(p: Cursor) -> Layout:
        sheet, header, ignore, records = p.find("sheet"), p.find("header"), p.find("ignore"), p.find("records")
        filled = p.find("fill_down")
        for item in filled.items() if filled else ():
            _known(item, fields)
        anchor = count = numbered = None
        if header:
            header.must_be(dict)
            anchor, count, numbered = header.find("anchor"), header.find("lines"), header.find("numbered")
            if count and count.value != "auto" and not 1 <= count.must_be(int) <= 8:
                count.fault("số dòng tiêu đề từ 1 đến 8, hoặc auto.", "a header has 1 to 8 lines, or auto.")
            header.done()
        return Layout(
            sheet=sheet.text() if sheet else None,
            anchor=anchor.text() if anchor else None,
            header_lines=None if count is None or count.value == "auto" else count.value,
            numbered=numbered.one_of(("optional", "required", "never")) if numbered else "optional",  # type: ignore[arg-type]
            ignore=ignore.texts() if ignore else (),
            fill_down=filled.texts() if filled else (),
            records=records.text() if records else None,
            lines=_lines(p.find("lines"), fields),
            numbers=_numbers(p.find("numbers")),
            unpivot=_unpivot(p.find("unpivot"), fields),
        )

    return cast(Layout, _optional(place, read) or Layout())


def _lines(place: Cursor | None, fields: tuple[Field, ...]) -> Lines:
    def read(p: Cursor) -> Lines:
        subtotal, end = p.find("subtotal"), p.find("end")
        first = labels = titled = None
        alone = False
        if subtotal:
            subtotal.must_be(dict)
            first, labels, titled = subtotal.find("first_cell"), subtotal.find("labels"), subtotal.find("field")
            alone = _flag(subtotal, "alone")
            if titled:
                _known(titled, fields)
            subtotal.done()
        return Lines(
            total=_words(p, "total"),
            subtotal_first_cell=_regex(first) if first else None,
            subtotal_labels=labels.texts() if labels else (),
            subtotal_alone=alone,
            subtotal_field=titled.text() if titled else None,
            skip=_words(p, "skip"),
            end=_regex(end) if end else None,
            unassigned=_words(p, "unassigned"),
        )

    return cast(Lines, _optional(place, read) or Lines())


def _numbers(place: Cursor | None) -> Numbers:
    def read(p: Cursor) -> Numbers:
        decimal = _choice(p, "decimal", (".", ","), ".")
        thousands = _choice(p, "thousands", ("", ".", ",", " "), "")
        if decimal == thousands:
            p.fault("dấu thập phân và dấu hàng nghìn phải khác nhau.", "the decimal and the thousands mark must differ.")
        missing = p.find("missing")
        return Numbers(decimal, thousands, missing.texts() if missing else Numbers().missing, _flag(p, "footnote_marks"))

    return cast(Numbers, _optional(place, read) or Numbers())


def _unpivot(place: Cursor | None, fields: tuple[Field, ...]) -> Unpivot | None:
    def read(p: Cursor) -> Unpivot:
        names, values, pattern, beside = p.take("names"), p.find("values"), p.find("pattern"), p.find("beside")
        for named in (names, values, beside):
            if named:
                _known(named, fields)
        return Unpivot(
            names.text(), values.text() if values else None, _regex(pattern) if pattern else None, beside.text() if beside else None
        )

    return cast("Unpivot | None", _optional(place, read))


def _sla(document: Cursor) -> dict[str, str]:
    listed, result = document.find("slaProperties"), {}
    for item in listed.items() if listed else ():
        name = item.take("property").one_of(("frequency", "latency", "retention", "availability", "generalAvailability", "endOfLife"))
        unit = item.find("unit")
        result[name] = f"{item.take('value').value}{unit.text() if unit else ''}"
        item.done("driver", "description", "element", "id", "valueExt", "scheduler", "schedule")
    return result


def _check_whole(contract: Contract, document: Cursor) -> None:
    """What only the whole contract can say."""
    lacks_province = contract.is_central and contract.territory == "province" and contract.province_field is None
    if lacks_province:
        document.take("customProperties").fault(
            "đơn vị trung ương gửi nhiều tỉnh: cần một trường «holds: province», hoặc «territory: none».",
            "a central body sends many provinces: one field needs 'holds: province', or the dataset 'territory: none'.",
        )
    if contract.dataset == UNASSIGNED:
        document.fault("tên này dành riêng.", "this name is reserved.")
    sheet_says = contract.layout.sheet is not None and "{period" in contract.layout.sheet
    if not (sheet_says or contract.period_field or any(p.has_period for p in contract.file_names)):
        document.take("customProperties").fault(
            "không biết kỳ báo cáo: cần {period:…} trong «fileName» hoặc «sheet», hoặc một trường «holds: period».",
            "nothing tells the period: 'fileName' or 'sheet' needs {period:…}, or a field 'holds: period'.",
        )
    for other in contract.key_fields:
        if other.type == "number":
            document.take("schema").fault(
                f"khoá «{other.name}» không thể là số thực.", f"the key '{other.name}' cannot be a number with decimals."
            )
