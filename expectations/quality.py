"""The `quality` of a contract: library metrics of the standard, and expectations of the engine with a message in both languages.

Answers for: what each becomes is a `Rule`; a key or limit that would have no effect is a fault. Refuses: SQL, other engines.
"""

from __future__ import annotations

from math import inf, nextafter
from typing import Any, cast, get_args

from expectations.arguments import check_arguments, condition
from expectations.contract import Field, Rule, Severity
from expectations.document import DOCUMENTATION, Cursor, suggestion
from expectations.faults import Message
from expectations.rules import KINDS, fields_named, key_rule

_RULES_OF_STEPS = {"province", "period", "cells", "header", "tolerance", "volume", "cut", "empty"}
"""What the steps call their own findings, beside `<field>.type`."""


def key_rules(fields: tuple[Field, ...], table: Cursor) -> list[Rule]:
    keys = tuple(sorted((f for f in fields if f.key is not None), key=lambda f: f.key or 0))
    return [key_rule(keys, table.take("properties").line)] if keys else []


def quality_rules(place: Cursor, fields: tuple[Field, ...], owner: str | None) -> list[Rule]:
    """The rules in a `quality` list: library metrics, and expectations of the engine with a message in both languages."""
    listed = place.find("quality")
    return [rule for item in listed.items() if (rule := _rule(item, fields, owner))] if listed else []


def _rule(item: Cursor, fields: tuple[Field, ...], owner: str | None) -> Rule | None:
    custom = item.custom()
    metric, kind = item.find("metric"), item.find("type")
    if kind and kind.text() == "text":
        custom.done()
        item.done(*DOCUMENTATION, "name", "dimension")
        return None
    identifier = item.take("id").text()
    severity = cast(Severity, item.take("severity").one_of(get_args(Severity)))
    message_place = custom.find("message")
    message = _message(message_place) if message_place else None
    if metric:
        expectation, arguments, mostly = _library(item, metric, owner)
        arguments = check_arguments(item.find("arguments") or metric, arguments, fields, expectation)
        label = {f.name: f.label for f in fields}.get(owner or "", owner or "")
        message = message or Message(
            f"{label}: không đạt «{metric.text()}» của hợp đồng.".lstrip(": "),
            f"{owner or 'table'}: fails '{metric.text()}' of the contract.",
        )
    elif kind and kind.text() == "custom":
        expectation, arguments, mostly = _expectation(item, fields, owner)
        if message is None:
            item.fault("thiếu «message» bằng tiếng Việt và tiếng Anh.", "a 'message' in Vietnamese (vi) and English (en) is missing.")
    else:
        item.fault(
            "chỉ hiểu «metric» của thư viện, «type: custom» của Great Expectations và «type: text».",
            "only library metrics, 'type: custom' of Great Expectations and 'type: text' are understood.",
        )
    when = custom.find("when")
    parts = [] if when is None else list(when.items()) if isinstance(when.value, list) else [when]
    conditions = tuple(condition(part, fields) for part in parts)
    custom.done()
    item.done(*DOCUMENTATION, "name", "dimension", "unit", "businessImpact", "method", "type")
    scope = KINDS[expectation].scope
    if scope == "delivery" and (when or mostly is not None):
        (when or item).fault(
            f"{expectation} xét cả đợt gửi; «when» và tỷ lệ không có tác dụng.",
            f"{expectation} judges the whole delivery; 'when' and shares have no effect on it.",
        )
    named = fields_named(KINDS[expectation], arguments)
    return Rule(identifier, expectation, arguments, named, severity, message, conditions, mostly, scope, item.line)


def _expectation(item: Cursor, fields: tuple[Field, ...], owner: str | None) -> tuple[str, dict[str, Any], float | None]:
    """An expectation of the engine, its arguments, and the share of lines that must meet it."""
    item.take("engine").one_of(["greatExpectations"])
    implementation = item.take("implementation")
    implementation.must_be(dict)
    name = implementation.take("type")
    expectation = name.text()
    if expectation not in KINDS:  # the list is long, so only the nearest is named
        near = suggestion(expectation, list(KINDS))
        name.fault(f"không biết kỳ vọng «{expectation}».{near[0]}", f"there is no expectation '{expectation}'.{near[1]}")
    given = implementation.find("kwargs")
    implementation.done()
    arguments = dict(given.must_be(dict)) if given else {}
    share = given.find("mostly") if given else None
    mostly = share.number() if share else None
    if share and not 0 < share.number() <= 1:
        share.fault("«mostly» phải lớn hơn 0 và không quá 1.", "'mostly' must be above 0 and at most 1.")
    arguments.pop("mostly", None)
    if owner and "column" in KINDS[expectation].columns:
        arguments.setdefault("column", owner)
    return expectation, check_arguments(given or implementation, arguments, fields, expectation), mostly


_LIMITS = ("mustBe", "mustBeLessThan", "mustBeLessOrEqualTo", "mustBeGreaterThan", "mustBeGreaterOrEqualTo", "mustBeBetween")


def _library(item: Cursor, metric: Cursor, owner: str | None) -> tuple[str, dict[str, Any], float | None]:
    """A library metric as an expectation: `mustBe: 0`, or at most a percentage, or limits on the number of rows."""
    name = metric.one_of(("nullValues", "missingValues", "invalidValues", "duplicateValues", "rowCount"))
    bound = {key: item.find(key) for key in _LIMITS}
    limits = [(key, place) for key, place in bound.items() if place is not None]
    if len(limits) != 1:
        item.fault("cần đúng một giới hạn (mustBe, mustBeLessThan, …).", "exactly one limit (mustBe, mustBeLessThan, …) is needed.")
    unit = item.find("unit")
    is_share = unit is not None and unit.text() == "percent"
    given = item.find("arguments")
    arguments = dict(given.must_be(dict)) if given else {}
    takes = {"missingValues": ["missingValues"], "invalidValues": ["validValues", "pattern"], "duplicateValues": ["properties"]}.get(
        name, []
    )
    if given:
        for key in takes:
            given.find(key)
        given.done()
    if name == "rowCount":
        if unit and unit.text() != "rows":
            unit.fault("số dòng tính bằng «rows».", "a number of rows has the unit 'rows'.")
        return "expect_table_row_count_to_be_between", _rows(*limits[0]), None
    mostly = _mostly(*limits[0], item, is_share=is_share)
    if name == "duplicateValues":
        columns = arguments.get("properties", [owner] if owner else None)
        if not columns:
            item.fault("cần «arguments: {properties: […]}».", "'arguments: {properties: […]}' is needed.")
        if isinstance(columns, list) and len(columns) == 1:
            return "expect_column_values_to_be_unique", {"column": columns[0]}, mostly
        return "expect_compound_columns_to_be_unique", {"column_list": columns}, mostly
    if owner is None:
        metric.fault("chỉ số này thuộc về một trường.", "this metric belongs to a field.")
    if name == "nullValues":
        return "expect_column_values_to_not_be_null", {"column": owner}, mostly
    if name == "missingValues":
        missing = given.find("missingValues") if given else None
        for word in missing.items() if missing else ():
            if word.value in (None, ""):
                word.fault("ô trống thì dùng «nullValues».", "empty cells are what 'nullValues' is for.")
        if missing is None:
            metric.fault("cần «arguments: {missingValues: […]}».", "'arguments: {missingValues: […]}' is needed.")
        return "expect_column_values_to_not_be_in_set", {"column": owner, "value_set": missing.value}, mostly
    if len(arguments) != 1:
        metric.fault("«invalidValues» cần «validValues» hoặc «pattern».", "'invalidValues' needs either 'validValues' or 'pattern'.")
    if "validValues" in arguments:
        return "expect_column_values_to_be_in_set", {"column": owner, "value_set": arguments["validValues"]}, mostly
    return "expect_column_values_to_match_regex", {"column": owner, "regex": arguments["pattern"]}, mostly


def _rows(key: str, place: Cursor) -> dict[str, int | None]:
    """Limits on the number of rows."""
    if key == "mustBeBetween":
        limits = [part.must_be(int) for part in place.items()]
        if len(limits) != 2:
            place.fault("cần hai số [từ, đến].", "two numbers [from, to] are needed.")
        return {"min_value": limits[0], "max_value": limits[1]}
    value = place.must_be(int)
    return {
        "mustBe": {"min_value": value, "max_value": value},
        "mustBeGreaterThan": {"min_value": value + 1},
        "mustBeGreaterOrEqualTo": {"min_value": value},
        "mustBeLessThan": {"max_value": value - 1},
        "mustBeLessOrEqualTo": {"max_value": value},
    }[key]  # type: ignore[return-value]  # the dictionaries differ in their keys only


def _mostly(key: str, place: Cursor, item: Cursor, *, is_share: bool) -> float | None:
    """The share of lines that must be good: None for all of them."""
    if key not in ("mustBeLessThan", "mustBeLessOrEqualTo"):
        if key != "mustBe" or place.number() != 0:
            place.fault("ở đây chỉ hiểu «mustBe: 0» hoặc tỷ lệ phần trăm.", "only 'mustBe: 0' or a percentage is understood here.")
        return None
    if not is_share:
        item.fault("giới hạn theo tỷ lệ cần «unit: percent».", "a limit on a share needs 'unit: percent'.")
    good = (100 - place.number()) / 100  # 5 of 100 lines are as many as 1 of 20: rounded alike only when divided last
    mostly = nextafter(good, inf) if key == "mustBeLessThan" else good
    if not 0 < mostly <= 1:
        place.fault("tỷ lệ lỗi phải từ 0 đến dưới 100.", "the share of faults lies between 0 and less than 100.")
    return mostly


def check_ids(rules: list[Rule], fields: tuple[Field, ...], table: Cursor) -> None:
    """Every finding says by one word which rule it is of."""
    seen: dict[str, int] = {}
    taken = _RULES_OF_STEPS | {f.name for f in fields}
    for rule in rules:
        if rule.id in taken:
            place = Cursor(table.file, None, {(): rule.source})
            place.fault(f"mã quy tắc «{rule.id}» dành cho việc khác.", f"the rule id '{rule.id}' means something else already.")
        if rule.id in seen:
            place = Cursor(table.file, None, {(): rule.source})
            place.fault(
                f"mã quy tắc «{rule.id}» đã có ở dòng {seen[rule.id]}.", f"the rule id '{rule.id}' already stands in line {seen[rule.id]}."
            )
        seen[rule.id] = rule.source


def _message(place: Cursor) -> Message:
    place.must_be(dict)
    message = Message(place.take("vi").text(), place.take("en").text())
    place.done()
    return message
