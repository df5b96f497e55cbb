"""The checks that a contract may ask for, between the contract and the engine that runs them.

Answers for: which expectations exist, which fields they name, and the rules that follow from a field's own options, each with
its sentence in both languages. Refuses: running anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

from expectations.contract import Field, Rule
from expectations.faults import Message


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of expectation: the arguments that name fields, whom it judges, and the types it can read (None: any).

    `is_alike`: its fields are compared with each other. `is_key`: it may read the field that tells the province or the period.
    `is_ours`: the engine judges a truth that predicates.py computes.
    """

    columns: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    scope: Literal["line", "delivery"] = "line"
    types: tuple[str, ...] | None = None
    is_alike: bool = False
    is_key: bool = False
    is_ours: bool = False


_TEXT = ("string",)
_ORDERED = ("integer", "number", "date", "timestamp")
_COUNTED = ("integer", "number")
BOUNDS = ("min_value", "max_value", "strict_min", "strict_max")

KINDS: dict[str, Kind] = {
    "expect_column_values_to_not_be_null": Kind(("column",)),
    "expect_column_values_to_be_null": Kind(("column",)),
    "expect_column_values_to_be_in_set": Kind(("column",), ("value_set",)),
    "expect_column_values_to_not_be_in_set": Kind(("column",), ("value_set",)),
    "expect_column_values_to_be_between": Kind(("column",), (), BOUNDS, types=_ORDERED),
    "expect_column_values_to_match_regex": Kind(("column",), ("regex",), types=_TEXT),
    "expect_column_values_to_not_match_regex": Kind(("column",), ("regex",), types=_TEXT),
    "expect_column_values_to_match_regex_list": Kind(("column",), ("regex_list",), ("match_on",), types=_TEXT),
    "expect_column_values_to_not_match_regex_list": Kind(("column",), ("regex_list",), types=_TEXT),
    "expect_column_value_lengths_to_equal": Kind(("column",), ("value",), types=_TEXT),
    "expect_column_value_lengths_to_be_between": Kind(("column",), (), BOUNDS, types=_TEXT),
    "expect_column_pair_values_to_be_equal": Kind(("column_A", "column_B"), (), ("ignore_row_if",), is_alike=True),
    "expect_column_pair_values_a_to_be_greater_than_b": Kind(
        ("column_A", "column_B"), (), ("or_equal", "ignore_row_if"), types=_ORDERED, is_alike=True
    ),
    "expect_column_pair_values_to_be_in_set": Kind(
        ("column_A", "column_B"), ("value_pairs_set",), ("ignore_row_if",), types=("string", "integer", "number", "boolean")
    ),
    "expect_select_column_values_to_be_unique_within_record": Kind(("column_list",), (), ("ignore_row_if",), is_alike=True),
    "expect_multicolumn_sum_to_equal": Kind(("column_list",), ("sum_total",), ("ignore_row_if",), types=_COUNTED),
    "expect_column_values_to_be_unique": Kind(("column",), scope="delivery", is_key=True),
    "expect_compound_columns_to_be_unique": Kind(("column_list",), scope="delivery", is_key=True),
    "expect_table_row_count_to_be_between": Kind((), (), ("min_value", "max_value"), scope="delivery"),
    "expect_table_row_count_to_equal": Kind((), ("value",), scope="delivery"),
    "expect_column_sum_to_be_between": Kind(("column",), (), BOUNDS, scope="delivery", types=_COUNTED),
    "expect_column_mean_to_be_between": Kind(("column",), (), BOUNDS, scope="delivery", types=_COUNTED),
    "expect_column_min_to_be_between": Kind(("column",), (), BOUNDS, scope="delivery", types=_COUNTED),
    "expect_column_max_to_be_between": Kind(("column",), (), BOUNDS, scope="delivery", types=_COUNTED),
    # Ours: a truth per line is computed from the columns, and the engine judges that.
    "expect_column_values_to_be_in_code_list": Kind(("column",), ("code_list",), types=_TEXT, is_ours=True),
    "expect_column_values_to_be_within_period": Kind(
        ("column",), (), ("days_before", "days_after"), types=("date", "timestamp"), is_ours=True
    ),
    "expect_column_values_to_equal_sum_of": Kind(("column", "column_list"), (), ("tolerance",), types=_COUNTED, is_ours=True),
    "expect_column_values_to_have_check_digit": Kind(("column",), ("weights", "modulus"), ("complement",), types=_TEXT, is_ours=True),
}


def fields_named(kind: Kind, arguments: dict[str, Any]) -> tuple[str, ...]:
    """The fields that an expectation's arguments name, the blamed one first."""
    names: list[str] = []
    for argument in kind.columns:
        value = arguments.get(argument, ())
        names += [value] if isinstance(value, str) else list(value)
    return tuple(dict.fromkeys(names))


def option_rules(field: Field, options: Mapping[str, Any], values: Sequence[Any], source: int) -> list[Rule]:
    """The rules that follow from a field's own standard options: required, pattern, lengths, limits, values, code list.

    Limits in `options`, and `values` (those of its enumeration), are of the field's type.
    """
    rules = []

    def add(name: str, expectation: str, vi: str, en: str, **arguments: Any) -> None:
        message = Message(f"{field.label}: {vi}", f"{field.name}: {en}")
        rules.append(
            Rule(f"{field.name}.{name}", expectation, {"column": field.name, **arguments}, (field.name,), "error", message, source=source)
        )

    if field.required or field.key is not None:
        add(
            "required",
            "expect_column_values_to_not_be_null",
            "bắt buộc phải có giá trị; hãy điền vào ô trống.",
            "a value is required; fill in the empty cell.",
        )
    if pattern := options.get("pattern"):
        shown = f" ({', '.join(map(str, field.examples[:2]))})" if field.examples and not field.is_restricted else ""
        add(
            "pattern",
            "expect_column_values_to_match_regex",
            f"không đúng dạng quy định{shown or ' ' + pattern}.",
            f"not of the required form{shown or ' ' + pattern}.",
            regex=pattern if pattern.startswith("^") else f"^(?:{pattern})$",
        )
    low, high = options.get("minLength"), options.get("maxLength")
    if low is not None and low == high:
        add(
            "length",
            "expect_column_value_lengths_to_equal",
            f"phải có đúng {low} ký tự.",
            f"must have exactly {low} characters.",
            value=low,
        )
    elif low is not None or high is not None:
        add(
            "length",
            "expect_column_value_lengths_to_be_between",
            f"độ dài phải {_range(low, high, 'từ', 'đến', 'ít nhất', 'nhiều nhất')} ký tự.",
            f"the length must be {_range(low, high, 'from', 'to', 'at least', 'at most')} characters.",
            min_value=low,
            max_value=high,
        )
    low, high = options.get("minimum", options.get("exclusiveMinimum")), options.get("maximum", options.get("exclusiveMaximum"))
    if low is not None or high is not None:
        is_above, is_below = "exclusiveMinimum" in options, "exclusiveMaximum" in options
        vi_low, vi_high = "lớn hơn" if is_above else "từ", "nhỏ hơn" if is_below else "đến"
        en_low, en_high = "above" if is_above else "at least", "below" if is_below else "at most"
        vi_parts = [f"{word} {_written(value, 'vi')}" for word, value in ((vi_low, low), (vi_high, high)) if value is not None]
        en_parts = [f"{word} {_written(value, 'en')}" for word, value in ((en_low, low), (en_high, high)) if value is not None]
        add(
            "range",
            "expect_column_values_to_be_between",
            f"phải {(' và ' if is_below else ' ').join(vi_parts)}{' trở lên' if high is None and not is_above else ' trở xuống' if low is None and not is_below else ''}.",
            f"must be {' and '.join(en_parts)}.",
            min_value=low,
            max_value=high,
            strict_min=is_above,
            strict_max=is_below,
        )
    if field.enum:
        shown = ", ".join(field.enum[:12]) + (", …" if len(field.enum) > 12 else "")
        add(
            "values",
            "expect_column_values_to_be_in_set",
            f"giá trị phải là một trong: {shown}.",
            f"must be one of: {shown}.",
            value_set=list(values),
        )
    if field.code_list:
        add(
            "code-list",
            "expect_column_values_to_be_in_code_list",
            "mã không có trong danh mục có hiệu lực của kỳ báo cáo; hãy tra lại danh mục.",
            "the code is not in the code list valid for the period; look it up in the list.",
            code_list=field.code_list,
        )
    return rules


def key_rule(keys: tuple[Field, ...], source: int) -> Rule:
    """Two lines of one delivery may not have the same key; the first one is kept."""
    labels, names = ", ".join(f.label for f in keys), ", ".join(f.name for f in keys)
    return Rule(
        "key.unique",
        "expect_compound_columns_to_be_unique",
        {"column_list": [f.name for f in keys]},
        tuple(f.name for f in keys),
        "error",
        Message(
            f"Trùng khoá ({labels}) với một dòng phía trên; hãy xoá một trong hai dòng.",
            f"Same key ({names}) as a line above; remove one of the two.",
        ),
        scope="delivery",
        source=source,
    )


def _written(value: Any, language: str) -> str:
    """A limit as people write it."""
    if isinstance(value, date) and language == "vi":
        return f"{value:%d/%m/%Y %H:%M}" if isinstance(value, datetime) else f"{value:%d/%m/%Y}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _range(low: Any, high: Any, start: str, to: str, least: str, most: str) -> str:
    if low is not None and high is not None:
        return f"{start} {low} {to} {high}"
    return f"{least} {low}" if low is not None else f"{most} {high}"
