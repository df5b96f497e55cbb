"""Lines are judged by their contract, in batches, by Great Expectations.

Answers for: every rule of the contract is judged on every line; each finding names its rule and rows completely. Refuses:
deciding about the delivery, and treating a broken check as bad data: an expectation that raises is a `SetupFault`.

The engine is imported when a `Judge` is made, since that takes seconds.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations.contract import Condition, Contract, Rule
from expectations.faults import Message, SetupFault
from expectations.period import Period
from expectations.predicates import PREDICATES, Circumstances
from expectations.rules import KINDS
from expectations.unique import SeenKeys, hash_rows

if TYPE_CHECKING:
    import pandas as pd

Rows = np.ndarray[Any, np.dtype[np.intp]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]
_ANY_PERIOD = Period(date(2000, 1, 1), "year")
_NO_ROWS = np.zeros(0, np.intp)
_SMALL = 20_000
_EPOCH_MOMENT = datetime(1970, 1, 1)  # noqa: DTZ001 - moments have no zone here
_EPOCH = date(1970, 1, 1).toordinal()
_MISSING = {"column_list": "any_value_is_missing", "column_A": "either_value_is_missing"}


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule and the rows of a batch that break it (indices from 0, ascending, complete)."""

    rule: Rule
    rows: Rows


@dataclass(slots=True)
class Tally:
    """How many lines a rule judged and how many of them broke it, over the whole delivery."""

    judged: int = 0
    broken: int = 0


class Judge:
    """Judges the batches of one delivery in order; it remembers keys, counts and sums between them."""

    def __init__(self, contract: Contract, circumstances: Circumstances) -> None:
        self._contract, self._known = contract, circumstances
        self._line_rules = tuple(r for r in contract.rules if r.scope == "line")
        self._unique_rules = tuple(r for r in contract.rules if r.expectation in _UNIQUE)
        self._total_rules = tuple(r for r in contract.rules if r.scope == "delivery" and r.expectation not in _UNIQUE)
        self._seen = {r.id: SeenKeys() for r in self._unique_rules}
        self._engine = _engine()
        self._suite = self._engine.suite([self._configuration(r) for r in self._line_rules]) if self._line_rules else None
        self.tallies = {r.id: Tally() for r in contract.rules}
        self._sums = {name: _Sum() for r in self._total_rules for name in r.fields}
        self._rows = 0

    def judge(self, batch: pa.RecordBatch, unreadable: Mapping[str, Mask]) -> list[Finding]:
        """The findings of the line rules on one batch; a cell that could not be converted is not judged again."""
        self._rows += batch.num_rows
        for name, total in self._sums.items():
            total.add(batch.column(name))
        if self._suite is None or not batch.num_rows:
            return []
        results = self._results(self._frame(batch), self._suite)
        return [finding for rule in self._line_rules if (finding := self._finding(rule, results.get(rule.id, _NO_ROWS), batch, unreadable))]

    def repeated(self, columns: Mapping[str, pa.Array], lines: Rows) -> list[Finding]:
        """The findings of the uniqueness rules among some lines of a batch, those that are otherwise accepted.

        `columns` holds the contract's fields and may hold a column for the field that tells the province.
        """
        findings = []
        for rule in self._unique_rules:
            tally = self.tallies[rule.id]
            chosen = {name: columns[name].take(pa.array(lines)) for name in rule.fields}
            judged = lines
            if rule.expectation == "expect_column_values_to_be_unique":
                ((name, column),) = chosen.items()
                valid = column.is_valid()
                chosen, judged = {name: column.filter(valid)}, lines[valid.to_numpy(zero_copy_only=False)]
            again = self._seen[rule.id].repeated(hash_rows(chosen))
            tally.judged += len(judged)
            tally.broken += int(again.sum())
            if again.any():
                findings.append(Finding(rule, judged[again]))
        return findings

    def judge_totals(self) -> list[Rule]:
        """The rules on the whole delivery that it breaks: row counts, sums, and shares of lines (`mostly`)."""
        broken = [r for r in self._contract.rules if r.mostly is not None and not _is_mostly(self.tallies[r.id], r.mostly)]
        if self._total_rules:
            import pandas as pd

            values = {r.id: [self._total(r)] for r in self._total_rules}
            suite = self._engine.suite([_between(r) for r in self._total_rules])
            results = self._results(pd.DataFrame(values, dtype="float64"), suite)
            broken += [r for r in self._total_rules if len(results.get(r.id, _NO_ROWS))]
        return broken

    def _results(self, frame: pd.DataFrame, suite: Any) -> dict[str, Rows]:
        """The rows that break each rule, for the rules that are broken at all.

        In a small batch most rules hold, and the engine says so in half the time that it takes to say where.
        """
        try:
            if len(frame) <= _SMALL:
                suite = self._engine.broken(frame, suite)
            return dict(self._engine.validate(frame, suite)) if suite is not None else {}
        except _Raised as raised:
            rule = next(r for r in self._contract.rules if r.id == raised.rule)
            raise _broken(rule, self._contract, raised.reason) from raised

    def _total(self, rule: Rule) -> float:
        if "row_count" in rule.expectation:
            return float(self._rows)
        return self._sums[rule.fields[0]].value(rule.expectation)

    def _finding(self, rule: Rule, rows: Rows, batch: pa.RecordBatch, unreadable: Mapping[str, Mask]) -> Finding | None:
        tally = self.tallies[rule.id]
        applies = _applies(rule.when, batch)
        tally.judged += batch.num_rows if applies is None else int(applies.sum())
        if len(rows):
            keep = np.ones(len(rows), bool) if applies is None else applies[rows]
            for name in rule.fields:
                if name in unreadable:
                    keep &= ~unreadable[name][rows]
            rows = rows[keep]
        tally.broken += len(rows)
        return Finding(rule, rows) if len(rows) else None

    def _frame(self, batch: pa.RecordBatch) -> pd.DataFrame:
        """The columns that the rules read, in the forms that the engine is fast on: numbers, and texts of Arrow."""
        import pandas as pd

        columns: dict[str, Any] = {}
        for rule in self._line_rules:
            if KINDS[rule.expectation].is_ours:
                columns[rule.id] = _numbers(PREDICATES[rule.expectation](batch, rule.arguments, self._known))
                continue
            for name in rule.fields:
                column = _column(rule, name, self._contract)
                if column not in columns:
                    columns[column] = _values(batch.column(name), as_moment=column != name)
        return pd.DataFrame(columns, copy=False)

    def _configuration(self, rule: Rule) -> dict[str, Any]:
        if KINDS[rule.expectation].is_ours:
            return {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": rule.id, "value_set": [1]}, "meta": {"rule": rule.id}}
        arguments = dict(rule.arguments)
        for argument in KINDS[rule.expectation].columns:
            named = arguments[argument]
            if isinstance(named, str):
                arguments[argument] = _column(rule, named, self._contract)
            else:
                arguments[argument] = [_column(rule, name, self._contract) for name in named]
            if argument in _MISSING:
                arguments.setdefault("ignore_row_if", _MISSING[argument])
        kind = self._contract.by_name[rule.fields[0]].type
        for argument in ("min_value", "max_value"):
            if argument in arguments:
                arguments[argument] = _ordered(arguments[argument], kind, rule, self._contract)
        if "value_set" in arguments:
            arguments["value_set"] = [_ordered(value, kind, rule, self._contract) for value in arguments["value_set"]]
        return {"type": rule.expectation, "kwargs": arguments, "meta": {"rule": rule.id}}


_UNIQUE = ("expect_column_values_to_be_unique", "expect_compound_columns_to_be_unique")


def check_rules(contract: Contract) -> None:
    """Make each rule's expectation once. Raises `SetupFault` with file and line when the engine refuses one."""
    for rule in contract.rules:
        alone = replace(contract, rules=(rule,))
        try:
            Judge(alone, Circumstances(_ANY_PERIOD, {}))
        except (TypeError, ValueError) as error:
            raise _broken(rule, contract, " ".join(str(error).split())[:300]) from error


def _is_mostly(tally: Tally, share: float) -> bool:
    return tally.judged == 0 or (tally.judged - tally.broken) / tally.judged >= share


# ---------------------------------------------------------------- values in the engine's forms


def _column(rule: Rule, name: str, contract: Contract) -> str:
    """The frame's column for a field; a day compared with a moment is read as the moment it begins."""
    types = {contract.by_name[n].type for n in rule.fields}
    return f"{name} as moment" if types == {"date", "timestamp"} and contract.by_name[name].type == "date" else name


def _values(column: pa.Array, as_moment: bool) -> Any:
    if pa.types.is_string(column.type):
        return column.to_pandas()
    if as_moment:
        column = column.cast(pa.timestamp("us"))
    if pa.types.is_date32(column.type):
        column = column.cast(pa.int32())
    elif pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    return _numbers(column)


def _numbers(column: pa.Array) -> Any:
    """Numbers without a copy where nothing is missing; else floats with NaN, which the engine skips."""
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    if column.null_count:
        column = column.cast(pa.float64(), safe=False)
    return column.to_numpy(zero_copy_only=False)


def _ordered(value: Any, kind: str, rule: Rule, contract: Contract) -> Any:
    """A limit or member of a set, in the form of the column: days since 1970 for dates, microseconds for moments."""
    if value is None or kind == "string":
        return value
    try:
        match kind:
            case "date":
                return (value if isinstance(value, date) else date.fromisoformat(str(value))).toordinal() - _EPOCH
            case "timestamp":
                moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
                return int((moment.replace(tzinfo=None) - _EPOCH_MOMENT).total_seconds() * 1_000_000)
            case "integer":
                return int(value)
            case "boolean":
                return int(value)
            case _:
                return float(value)
    except (TypeError, ValueError) as error:
        raise _broken(rule, contract, str(error)) from error


def _applies(conditions: tuple[Condition, ...], batch: pa.RecordBatch) -> Mask | None:
    """For each row whether all conditions hold; None when there are none."""
    mask: Mask | None = None
    for condition in conditions:
        column = batch.column(condition.field)
        if condition.is_present is not None:
            truth = column.is_valid() if condition.is_present else column.is_null()
        else:
            wanted = pa.array([str(v) if pa.types.is_string(column.type) else v for v in condition.values or ()]).cast(column.type)
            truth = pc.is_in(column, value_set=wanted)
            truth = truth if condition.is_in else pc.invert(truth)
        own = pc.fill_null(truth, False).to_numpy(zero_copy_only=False)
        mask = own if mask is None else mask & own
    return mask


def _between(rule: Rule) -> dict[str, Any]:
    """A rule on a total as an expectation on the one value in the column of its name."""
    arguments = {key: value for key, value in rule.arguments.items() if key != "column"}
    if "value" in arguments:
        arguments = {"min_value": arguments["value"], "max_value": arguments["value"]}
    return {"type": "expect_column_values_to_be_between", "kwargs": {"column": rule.id, **arguments}, "meta": {"rule": rule.id}}


class _Sum:
    """Sum, count, least and greatest value of a column so far."""

    def __init__(self) -> None:
        self.sum, self.count, self.least, self.greatest = 0.0, 0, float("nan"), float("nan")

    def add(self, column: pa.Array) -> None:
        count = len(column) - column.null_count
        if count:
            found = pc.min_max(column)
            self.sum += float(pc.sum(column).as_py())
            self.count += count
            self.least = float(np.fmin(self.least, float(found["min"].as_py())))
            self.greatest = float(np.fmax(self.greatest, float(found["max"].as_py())))

    def value(self, expectation: str) -> float:
        if "mean" in expectation:
            return self.sum / self.count if self.count else float("nan")
        return self.least if "min" in expectation else self.greatest if "max" in expectation else self.sum


# ---------------------------------------------------------------- the engine


def _broken(rule: Rule, contract: Contract, reason: str) -> SetupFault:
    where = f"{contract.file}:{rule.source}"
    return SetupFault(
        Message(
            f"{where}: quy tắc «{rule.id}» không chạy được: {reason}. Hãy sửa hợp đồng.",
            f"{where}: the rule '{rule.id}' could not be run: {reason}. Mend the contract.",
        ),
        rule="broken-rule",
    )


class _Engine:
    """Great Expectations in this process: one ephemeral context."""

    def __init__(self) -> None:
        os.environ["GX_ANALYTICS_ENABLED"] = "false"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the engine's own imports warn of its dependencies' deprecations
            import great_expectations as gx
            from great_expectations.data_context.types.base import ProgressBarsConfig
        self._gx = gx
        self._context = gx.get_context(mode="ephemeral")
        self._context.variables.progress_bars = ProgressBarsConfig(globally=False)
        asset = self._context.data_sources.add_pandas("batches").add_dataframe_asset("batch")
        self._batches = asset.add_batch_definition_whole_dataframe("whole")

    def suite(self, configurations: list[dict[str, Any]]) -> Any:
        return self._gx.ExpectationSuite(name="contract", expectations=configurations)

    def broken(self, frame: pd.DataFrame, suite: Any) -> Any | None:
        """The expectations of the suite that the frame does not meet, as a suite; None when it meets all."""
        report = self._batches.get_batch({"dataframe": frame}).validate(suite, result_format="BOOLEAN_ONLY")
        names = {result.expectation_config.meta["rule"] for result in report.results if not result.success}
        chosen = [expectation for expectation in suite.expectations if expectation.meta["rule"] in names]
        return self._gx.ExpectationSuite(name="broken", expectations=chosen) if chosen else None

    def validate(self, frame: pd.DataFrame, suite: Any) -> Iterator[tuple[str, Rows]]:
        """For each expectation its rule and the rows that break it. The index list is complete, unlike the value list."""
        batch = self._batches.get_batch({"dataframe": frame})
        report = batch.validate(suite, result_format={"result_format": "COMPLETE", "return_unexpected_index_query": False})
        for result in report.results:
            rule = result.expectation_config.meta["rule"]
            if "unexpected_index_list" not in result.result and not result.success:
                raise _Raised(rule, _reason(result.exception_info))
            yield rule, np.sort(np.asarray(result.result.get("unexpected_index_list") or [], np.intp))


class _Raised(Exception):
    """An expectation raised instead of judging."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(f"{rule}: {reason}")
        self.rule, self.reason = rule, reason


def _reason(info: Mapping[str, Any]) -> str:
    """The message of an expectation that raised; its shape depends on where it raised."""
    if "exception_message" in info:
        return str(info["exception_message"])
    return "; ".join(str(part.get("exception_message", "")) for part in info.values() if isinstance(part, dict))


_made: list[_Engine] = []


def _engine() -> _Engine:
    if not _made:
        _made.append(_Engine())
    return _made[0]
