"""Faults for some lines of an invented file, of as many kinds as its contract can tell.

Answers for: each fault breaks the rule that it says it breaks, on its own line and on no other; traps look odd and are right.
Refuses: knowing a dataset; what can be spoiled follows from the contract's fields and rules. Fatal rules, and rules on a share of
the lines, are left alone, since one line cannot break them without spoiling the file.
"""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial

import numpy as np
import pyarrow as pa

from etl.dates import parse_moments
from etl.sampling.texts import DAY, EPOCH, write_day_that_is_none, write_moments, write_number
from expectations.contract import Condition, Contract, Field, Numbers, Rule, Severity
from expectations.period import Period

Random = np.random.Generator

BROKEN_LINE = "cells"
"""The rule by which a line with too many or too few cells is rejected."""
_OTHER_FORMATS = ("dd.MM.yyyy", "yyyy/MM/dd", "dd-MM-yyyy", "yy-dd-MM")
_EXACT = ("regex", "in_set", "in_code_list", "lengths_to_equal", "check_digit")


@dataclass(slots=True)
class Line:
    """One line on its way to be spoiled: `cells` as they will be written, `values` before, `moments` of its filled dates.

    `earlier` are the cells of a good line above it. `surplus` adds a cell, `lacking` leaves a field's cell out.
    """

    cells: dict[str, str]
    values: Mapping[str, str]
    moments: Mapping[str, int]
    earlier: Mapping[str, str]
    surplus: bool = False
    lacking: str | None = None


Spoil = Callable[[Line, Random], bool]
"""Spoils the line, or leaves it as it is and answers False where this fault is not possible on it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault in a field: the rule that it breaks (None: a trap, nothing breaks) and how to make it."""

    kind: str
    field: str | None
    rule: str | None
    severity: Severity | None
    spoil: Spoil


@dataclass(slots=True)
class Planter:
    """Plants faults, each kind in its turn, and each field of a kind in its turn; a kind that does not fit a line waits."""

    kinds: deque[tuple[str, deque[Fault]]] = field(default_factory=deque)

    @classmethod
    def of(cls, contract: Contract, period: Period, codes: Mapping[str, Collection[str]], random: Random) -> Planter:
        """A planter of all faults that the contract can tell; `codes` are the valid codes of its code lists."""
        kinds: dict[str, deque[Fault]] = {}
        for fault in _faults(contract, period, codes):
            kinds.setdefault(fault.kind, deque()).append(fault)
        turns = deque(kinds.items())
        turns.rotate(int(random.integers(0, max(len(turns), 1))))
        for faults in kinds.values():  # small files, too, differ in their faults
            faults.rotate(int(random.integers(0, len(faults))))
        return cls(turns)

    def plant(self, line: Line, random: Random) -> Fault | None:
        """Spoil one line; None when no fault fits it."""
        for position, (_, faults) in enumerate(self.kinds):
            for index, fault in enumerate(faults):
                if fault.spoil(line, random):
                    del faults[index]
                    faults.append(fault)
                    turn = self.kinds[position]
                    del self.kinds[position]
                    self.kinds.append(turn)
                    return fault
        return None


def _faults(contract: Contract, period: Period, codes: Mapping[str, Collection[str]]) -> Iterator[Fault]:
    for rule in contract.rules:
        if rule.severity == "fatal" or rule.mostly is not None or not rule.fields:
            continue
        for kind, spoil in _of_rule(rule, contract, period, codes):
            yield Fault(kind, rule.fields[0], rule.id, rule.severity, partial(_where_it_applies, rule.when, spoil))
    for of in contract.stored_fields:
        for kind, spoil in _of_type(of, contract):
            yield Fault(kind, of.name, f"{of.name}.type", "error", spoil)
        for kind, spoil in _traps(of, contract):
            yield Fault(kind, of.name, None, None, spoil)
    yield Fault("cell_too_many", None, BROKEN_LINE, "error", _cell_too_many)
    yield Fault("cell_too_few", None, BROKEN_LINE, "error", _cell_too_few)


def _where_it_applies(conditions: Sequence[Condition], spoil: Spoil, line: Line, random: Random) -> bool:
    return _all_hold(conditions, line) and spoil(line, random)


def _all_hold(conditions: Sequence[Condition], line: Line) -> bool:
    for condition in conditions:
        value = line.values[condition.field]
        if condition.is_present is not None:
            truth = bool(value) is condition.is_present
        else:
            truth = (value in {str(v) for v in condition.values or ()}) is condition.is_in
        if not truth:
            return False
    return True


# ---------------------------------------------------------------- faults that follow from a rule


def _of_rule(rule: Rule, contract: Contract, period: Period, codes: Mapping[str, Collection[str]]) -> Iterator[tuple[str, Spoil]]:
    of, arguments = contract.by_name[rule.fields[0]], rule.arguments
    match rule.expectation.removeprefix("expect_").removeprefix("column_").removeprefix("values_to_"):
        case "not_be_null":
            yield "needed_cell_empty" if rule.when else "required_cell_empty", partial(_empty, of.name)
        case "be_in_set":
            yield "value_not_in_set", partial(_not_among, of, {str(v) for v in arguments["value_set"]})
        case "be_in_code_list":
            yield "code_not_in_list", partial(_not_among, of, set(codes[arguments["code_list"]]))
        case "be_between" if of.type in ("integer", "number"):
            yield (
                "number_out_of_range",
                partial(_out_of_range, of, contract.layout.numbers, arguments.get("min_value"), arguments.get("max_value")),
            )
        case "match_regex":
            others = [r for r in contract.rules if r.severity == "error" and r.fields == rule.fields and r.expectation == rule.expectation]
            yield (
                "pattern_broken",
                partial(_pattern_broken, of.name, re.compile(arguments["regex"]), others if rule.severity == "warning" else []),
            )
            yield "lost_digit", partial(_lost_digit, of.name, re.compile(arguments["regex"]))
        case "value_lengths_to_equal":
            yield "lost_digit", partial(_lost_digit, of.name, re.compile(rf"^.{{{arguments['value']}}}$"))
        case "value_lengths_to_be_between" if arguments.get("max_value") is not None:
            yield "text_too_long", partial(_too_long, of.name, int(arguments["max_value"]))
        case "be_within_period":
            is_later = any("a_to_be_greater" in r.expectation and r.arguments["column_A"] == of.name for r in contract.rules)
            yield "day_outside_period", partial(_outside, of, period, arguments, is_later)
        case "have_check_digit":
            yield "wrong_check_digit", partial(_wrong_check_digit, of.name, len(arguments["weights"]))
        case "pair_values_a_to_be_greater_than_b" if of.type in ("date", "timestamp"):
            yield "days_in_wrong_order", partial(_wrong_order, of, arguments["column_B"])
        case "be_unique" | "compound_columns_to_be_unique":
            yield "key_of_an_earlier_line", partial(_repeated, rule.fields)


def _empty(name: str, line: Line, random: Random) -> bool:
    if not line.cells[name]:
        return False
    line.cells[name] = ""
    return True


def _not_among(of: Field, known: Collection[str], line: Line, random: Random) -> bool:
    """Another value of the same shape: digits for digits, letters for letters."""
    value = line.values[of.name]
    if not value:
        return False
    is_number = of.type in ("integer", "number") or value.isdecimal()
    width = len(value) if of.type == "string" else 2
    for _ in range(50):
        other = "".join(str(random.integers(1, 10)) if is_number else chr(97 + int(random.integers(0, 26))) for _ in range(width))
        if other not in known:
            line.cells[of.name] = other
            return True
    return False


def _out_of_range(of: Field, numbers: Numbers, low: float | None, high: float | None, line: Line, random: Random) -> bool:
    if not line.cells[of.name]:
        return False
    outside = [limit + step for limit, step in ((low, -1), (high, 1)) if limit is not None]
    line.cells[of.name] = write_number(str(outside[int(random.integers(0, len(outside)))]), of, numbers)
    return True


def _pattern_broken(name: str, pattern: re.Pattern[str], kept: Sequence[Rule], line: Line, random: Random) -> bool:
    """A wrong character or digit; the `kept` patterns are not broken with it, so that only a warning follows from a warning's."""
    value = line.cells[name]
    if not value:
        return False
    others = [re.compile(rule.arguments["regex"]) for rule in kept if _all_hold(rule.when, line)]
    for wrong in (value + "?", "?" + value, "?", *_with_another_digit(value, random)):
        if not pattern.search(wrong) and all(other.search(wrong) for other in others):
            line.cells[name] = wrong
            return True
    return False


def _with_another_digit(value: str, random: Random) -> Iterator[str]:
    for place in random.permutation(len(value)).tolist():
        if value[place].isdecimal():
            yield from (value[:place] + digit + value[place + 1 :] for digit in "0123456789")


def _lost_digit(name: str, pattern: re.Pattern[str], line: Line, random: Random) -> bool:
    value = line.cells[name]
    if not value[-1:].isdecimal() or not value[:-1] or pattern.search(value[:-1]):
        return False
    line.cells[name] = value[:-1]
    return True


def _too_long(name: str, longest: int, line: Line, random: Random) -> bool:
    value = line.cells[name]
    if not value:
        return False
    line.cells[name] = (value + " ") * (longest // (len(value) + 1) + 1) + value
    return True


def _outside(of: Field, period: Period, arguments: Mapping[str, int], is_later: bool, line: Line, random: Random) -> bool:
    if of.name not in line.moments:
        return False
    days = int(random.integers(1, 40))
    day = (
        period.end.toordinal() + arguments.get("days_after", 0) + days
        if is_later
        else period.start.toordinal() - arguments.get("days_before", 0) - days
    )
    line.cells[of.name] = _write((day - EPOCH) * DAY + line.moments[of.name] % DAY, of)
    return True


def _wrong_check_digit(name: str, place: int, line: Line, random: Random) -> bool:
    value = line.cells[name]
    if not value[: place + 1].isdecimal() or len(value) <= place:
        return False
    line.cells[name] = value[:place] + str((int(value[place]) + int(random.integers(1, 10))) % 10) + value[place + 1 :]
    return True


def _wrong_order(of: Field, other: str, line: Line, random: Random) -> bool:
    if of.name not in line.moments or other not in line.moments:
        return False
    line.cells[of.name] = _write(line.moments[other] // DAY * DAY - int(random.integers(1, 30)) * DAY + line.moments[of.name] % DAY, of)
    return True


def _repeated(names: Sequence[str], line: Line, random: Random) -> bool:
    if not line.earlier or all(line.cells[name] == line.earlier[name] for name in names):
        return False
    for name in names:
        line.cells[name] = line.earlier[name]
    return True


# ---------------------------------------------------------------- faults that follow from a type


def _of_type(of: Field, contract: Contract) -> Iterator[tuple[str, Spoil]]:
    match of.type:
        case "date" | "timestamp":
            yield "day_that_is_none", partial(_day_that_is_none, of)
            form = next((f for f in _OTHER_FORMATS if not _is_read(write_moments(np.zeros(1, np.int64), f), of.formats)), None)
            if form:
                yield "date_in_another_format", partial(_in_format, of.name, form)
        case "integer" | "number":
            yield "letter_in_number", partial(_letter_in_number, of.name)


def _day_that_is_none(of: Field, line: Line, random: Random) -> bool:
    if of.name not in line.moments:
        return False
    line.cells[of.name] = write_day_that_is_none(of.formats[0], (date(1970, 1, 1) + timedelta(seconds=line.moments[of.name])).year)
    return True


def _in_format(name: str, form: str, line: Line, random: Random) -> bool:
    if name not in line.moments:
        return False
    line.cells[name] = str(write_moments(np.array([line.moments[name]]), form)[0])
    return True


def _letter_in_number(name: str, line: Line, random: Random) -> bool:
    if not line.cells[name]:
        return False
    line.cells[name] += "x"
    return True


# ---------------------------------------------------------------- broken lines, and traps


def _cell_too_many(line: Line, random: Random) -> bool:
    line.surplus = True
    return True


def _cell_too_few(line: Line, random: Random) -> bool:
    if len(line.cells) < 2:
        return False
    line.lacking = list(line.cells)[int(random.integers(0, len(line.cells)))]
    return True


def _traps(of: Field, contract: Contract) -> Iterator[tuple[str, Spoil]]:
    is_exact = of.key is not None or any(part in r.expectation for r in contract.rules if of.name in r.fields for part in _EXACT)
    if of.type == "string" and of.holds is None and not is_exact:
        yield "trap_line_break", partial(_line_break, of.name)
        yield "trap_decomposed_text", partial(_decomposed, of.name)
        yield "trap_odd_blanks", partial(_odd_blanks, of.name)
    if len(of.formats) > 1:
        yield "trap_other_accepted_form", partial(_in_format, of.name, of.formats[1])
    if of.measure and contract.layout.numbers.thousands:
        yield "trap_other_accepted_form", partial(_without_thousands, of.name, contract.layout.numbers.thousands)


def _line_break(name: str, line: Line, random: Random) -> bool:
    first, _, rest = line.cells[name].partition(" ")
    if not (first and rest):
        return False
    line.cells[name] = f"{first}\n{rest}"
    return True


def _decomposed(name: str, line: Line, random: Random) -> bool:
    before = line.cells[name]
    line.cells[name] = unicodedata.normalize("NFD", before)
    return line.cells[name] != before


def _odd_blanks(name: str, line: Line, random: Random) -> bool:
    if not line.cells[name]:
        return False
    line.cells[name] = f" {line.cells[name].replace(' ', chr(0xA0), 1)} "
    return True


def _without_thousands(name: str, mark: str, line: Line, random: Random) -> bool:
    has_mark = mark in line.cells[name]
    line.cells[name] = line.cells[name].replace(mark, "")
    return has_mark


# ---------------------------------------------------------------- parts


def _write(seconds: int, of: Field) -> str:
    return str(write_moments(np.array([seconds]), of.formats[0])[0])


def _is_read(texts: pa.Array, formats: tuple[str, ...]) -> bool:
    return not parse_moments(texts, formats)[1].any()
