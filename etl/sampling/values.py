"""The values of an invented file, field by field, from what a contract says of its fields and from their `sample`.

Answers for: values that keep the contract's rules, the same ones for the same seed, whole columns at a time. Refuses: knowing a
dataset or a country; names, codes and texts come from the contract and the registry. A word of `sample` that is not
understood is a `SetupFault` that names file and line.

Without a `sample`, a field is filled from its `examples`, else its `enum`, else the codes of its `codeList` valid on the
period's day in the province, else by its type: days of the period, numbers within its limits, running texts. A `sample` is

    values: [a, b]                    one of these; an entry that is a list holds values that belong together, this field's first
    weights: [3, 1]                   how often each of `values`, of several patterns, or of the enum comes
    beside: field, place: 2           the second of the values that belong together in that field's entry
    pattern: "…" or ["…", "…"]        a text with {braces}, see below
    lists: {word: [a, b]}             what {word} may be in a pattern
    after: field, days: [0, 30]       a day so many days after that field's; hours: [7, 17] for a timestamp;
                                      within: period keeps it from passing the period's end
    between: [0, 100]                 a number
    by: field, cases: {"1": {…}}      a `sample` of its own for each value of that field

and may add `missing: 0.03` (share left empty) and `only_when: {field: f, in: [1]}` (also notIn, present; else left empty).
In braces stand: {digits:4} random digits; {01..45} a number, with as many digits as the first one; {serial:04} the running
number among the lines on which the rest of the text is the same; {province:system} the sender's code in a code system (its last
one, or a predecessor's, where it has none on the day); a word of `lists`; another field, dates as in {received_on:%y%m%d}.
Where the contract wants a check digit, the right one is put in. A key repeats no earlier line's where it holds {serial}, the
province, or a running text; otherwise the contract's author has to see to it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from graphlib import CycleError, TopologicalSorter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.dates import parse_moments
from etl.sampling.patterns import Random, pattern_maker
from etl.sampling.setting import Block, Made, Maker, Setting, holds
from etl.sampling.texts import DAY, EPOCH, Ints, joined, texts_of_bytes, write_moments
from expectations.contract import Condition, Contract, Field, Rule
from expectations.document import Cursor, parse_document, suggestion

_CHECK_DIGIT = "expect_column_values_to_have_check_digit"


def field_makers(setting: Setting) -> dict[str, Maker]:
    """How to make each field of the contract, in an order in which what one needs of another is made before."""
    places = _places(setting.contract)
    makers: dict[str, Maker] = {}
    needs: dict[str, set[str]] = {}
    for each in setting.contract.fields:
        recipe = _Recipe(setting, each, setting.random(each.name))
        sample, where = places[each.name]
        makers[each.name] = _checked(recipe, recipe.sampled(sample) if sample else recipe.by_itself(where, None), where)
        needs[each.name] = recipe.needs
    try:
        return {name: makers[name] for name in TopologicalSorter(needs).static_order()}
    except CycleError as error:
        circle = " → ".join(error.args[1])
        where = places[error.args[1][0]][1]
        where.fault(f"«sample» đi vòng tròn: {circle}.", f"the samples go round in a circle: {circle}.")


def _places(contract: Contract) -> dict[str, tuple[Cursor | None, Cursor]]:
    """For each field its `sample` and itself, as places of the contract's file."""
    found: dict[str, tuple[Cursor | None, Cursor]] = {}
    for place in parse_document(contract.text, contract.file).at(["schema", 0, "properties"]).items():
        listed = place.find("customProperties")
        samples = [item.take("value") for item in (listed.items() if listed else ()) if item.take("property").value == "sample"]
        found[place.take("name").text()] = (samples[0] if samples else None, place)
    return found


class _Recipe:
    """Makes the maker of one field and notes which other fields it needs."""

    def __init__(self, setting: Setting, of: Field, random: Random) -> None:
        self.setting, self.of, self.random = setting, of, random
        self.needs: set[str] = set()

    # ------------------------------------------------------------ what a `sample` says

    def sampled(self, place: Cursor) -> Maker:
        """The maker that a `sample` describes."""
        place.must_be(dict)
        ways: dict[str, Callable[[Cursor], Maker]] = {
            "values": self._values,
            "beside": self._beside,
            "pattern": self._pattern,
            "after": self._after,
            "between": self._between,
            "by": self._by,
        }
        named = [key for key in ways if place.find(key)]
        if len(named) > 1:
            place.fault(f"chỉ chọn một trong: {', '.join(named)}.", f"only one of these can be: {', '.join(named)}.")
        make = ways[named[0]](place) if named else self.by_itself(place, place.find("weights"))
        missing, only = place.find("missing"), place.find("only_when")
        place.done()
        if self.of.required and (missing or only):
            place.fault("trường bắt buộc không thể để trống.", "a required field cannot be left empty.")
        if missing and not 0 <= missing.number() <= 1:
            missing.fault("tỷ lệ phải từ 0 đến 1.", "a share lies between 0 and 1.")
        conditions = (self._condition(only),) if only else ()
        return partial(self._emptied, make, conditions, missing.number() if missing else 0.0) if missing or only else make

    def _emptied(self, make: Maker, conditions: tuple[Condition, ...], missing: float, block: Block) -> Made:
        made = make(block)
        keep = holds(conditions, block)
        if missing:
            keep &= self.random.random(block.count) >= missing
        return Made(pc.if_else(pa.array(keep), made.text, pa.scalar(None, pa.string())), made.moments, made.entries)

    def _values(self, place: Cursor) -> Maker:
        listed = list(place.take("values").items())
        if not listed:
            place.take("values").fault("danh sách trống.", "the list is empty.")
        firsts = [_plain(next(item.items(), item) if isinstance(item.value, list) else item) for item in listed]
        return self._pool(firsts, place.find("weights"))

    def _beside(self, place: Cursor) -> Maker:
        name, position = place.take("beside"), place.take("place").must_be(int)
        self._need(name)
        sample = _places(self.setting.contract)[name.text()][0]
        values = sample.find("values") if sample else None
        if values is None or not all(isinstance(v, list) and 0 < position <= len(v) for v in values.must_be(list)):
            name.fault(
                f"«values» của «{name.text()}» không có giá trị thứ {position} ở mọi dòng.",
                f"the 'values' of '{name.text()}' have no value number {position} in every entry.",
            )
        pool = pa.array([_plain(item.child(position - 1)) for item in values.items()], pa.string())

        def make(block: Block) -> Made:
            entries = block.made[name.text()].entries
            assert entries is not None  # the other field has `values`
            return Made(pool.take(pa.array(entries)), entries=entries)

        return make

    def _pattern(self, place: Cursor) -> Maker:
        patterns = place.take("pattern")
        lists_place = place.find("lists")
        lists: dict[str, pa.Array] = {}
        for word in lists_place.must_be(dict) if lists_place else ():
            assert lists_place is not None
            lists[word] = pa.array([_plain(item) for item in lists_place.child(word).items()], pa.string())
        makers = [pattern_maker(patterns, text, lists, self.setting, self.random, self.needs) for text in patterns.texts()]
        choose = _chooser(len(makers), place.find("weights"), self.random)

        def make(block: Block) -> Made:
            texts = [one(block) for one in makers]
            return Made(texts[0] if len(texts) == 1 else pc.choose(pa.array(choose(block.count)), *texts))

        return make

    def _after(self, place: Cursor) -> Maker:
        base, days, hours, within = place.take("after"), place.take("days"), place.find("hours"), place.find("within")
        self._need(base)
        if self.of.type not in ("date", "timestamp") or self.setting.contract.by_name[base.text()].type not in ("date", "timestamp"):
            base.fault("«after» nối hai ngày hoặc giờ.", "'after' joins two dates or timestamps.")
        low, high = _pair(days)
        first, last = _pair(hours) if hours else (0, 24)
        if not 0 <= first < last <= 24:
            (hours or place).fault("giờ từ 0 đến 24.", "hours lie between 0 and 24.")
        end = self.setting.period.end.toordinal() - EPOCH if within and within.one_of(["period"]) else None

        def make(block: Block) -> Made:
            other = block.made[base.text()]
            assert other.moments is not None
            earliest = other.moments // DAY + low
            latest = earliest + (high - low)
            if end is not None:
                latest = np.maximum(np.minimum(latest, end), earliest)
            moments = (earliest + (self.random.random(block.count) * (latest - earliest + 1)).astype(np.int64)) * DAY
            if self.of.type == "timestamp":
                moments += self.random.integers(first * 3_600, last * 3_600, block.count)
            if low >= 0:
                moments = np.maximum(moments, other.moments if self.of.type == "timestamp" else other.moments // DAY * DAY)
            return self._moments(moments, other.text.is_valid())

        return make

    def _between(self, place: Cursor) -> Maker:
        limits = place.take("between")
        if self.of.type not in ("integer", "number") or len(limits.must_be(list)) != 2:
            limits.fault("«between» cần hai số, cho một trường số.", "'between' needs two numbers, for a field of numbers.")
        return self._number(limits.child(0).number(), limits.child(1).number())

    def _by(self, place: Cursor) -> Maker:
        name, cases = place.take("by"), place.take("cases")
        self._need(name)
        words = list(cases.must_be(dict))
        makers = [self.sampled(cases.child(word)) for word in words]

        def make(block: Block) -> Made:
            made = [one(block) for one in makers]
            encoded = pc.index_in(block.made[name.text()].text, value_set=pa.array([str(w) for w in words], pa.string()))
            return Made(pc.choose(encoded, *(m.text for m in made)))

        return make

    # ------------------------------------------------------------ what a field says without one

    def by_itself(self, place: Cursor, weights: Cursor | None) -> Maker:
        """The maker that follows from the field's own examples, values, code list, type and limits."""
        of = self.of
        if of.holds == "province":
            return self._provinces(place)
        if of.holds == "period":
            return lambda block: Made(joined([pa.scalar(str(self.setting.period))], block.count))
        if of.enum:
            return self._pool(list(of.enum), weights)
        if of.code_list:
            return self._pool(self.setting.codes(of.code_list, place), weights)
        if of.examples and not (of.type == "string" and of.key is not None):
            return self._pool([str(example) for example in of.examples], weights)
        if weights:
            weights.fault("không có gì để chọn theo «weights».", "there is nothing that 'weights' could choose from.")
        match of.type:
            case "boolean":
                return self._pool([(of.true_values or ("true",))[0], (of.false_values or ("false",))[0]], None)
            case "date" | "timestamp":
                return self._days_of_period
            case "integer" | "number":
                return self._number(*_limits(self.setting.contract, of))
            case _:
                return self._running_text(place)

    def _provinces(self, place: Cursor) -> Maker:
        """The province that sends, or all of them in turn, by name or in the contract's code system."""
        setting, system = self.setting, self.setting.contract.code_system
        provinces = [p for p in setting.registry.on(setting.day) if setting.province_id in (None, p.province_id)]
        pool = pa.array([setting.code_of(p.province_id, system, place) if system else p.name for p in provinces], pa.string())

        def make(block: Block) -> Made:
            entries = np.arange(block.first, block.first + block.count) % len(pool)
            return Made(pool.take(pa.array(entries)), entries=entries)

        return make

    def _days_of_period(self, block: Block) -> Made:
        first, last = (day.toordinal() - EPOCH for day in (self.setting.period.start, self.setting.period.end))
        moments = self.random.integers(first, last + 1, block.count) * DAY
        if self.of.type == "timestamp":
            moments += self.random.integers(0, DAY, block.count)
        return self._moments(moments, None)

    def _moments(self, moments: Ints, valid: pa.Array | None) -> Made:
        if self.of.type == "date":
            distinct, places = np.unique(moments, return_inverse=True)
            text = write_moments(distinct, self.of.formats[0]).take(pa.array(places))
        else:
            text = write_moments(moments, self.of.formats[0])
        return Made(text if valid is None else pc.if_else(valid, text, pa.scalar(None, pa.string())), moments)

    def _number(self, low: float, high: float) -> Maker:
        def make(block: Block) -> Made:
            if self.of.type == "integer":
                return Made(pa.array(self.random.integers(int(np.ceil(low)), int(np.floor(high)) + 1, block.count)).cast(pa.string()))
            values = np.clip(np.round(low + self.random.random(block.count) * (high - low), 2), low, high)
            return Made(pa.array(values).cast(pa.string()))

        return make

    def _running_text(self, place: Cursor) -> Maker:
        of, longest = self.of, _longest(self.setting.contract, self.of)
        if any("regex" in r.expectation for r in self.setting.contract.rules if of.name in r.fields):
            place.fault(
                f"«{of.name}» phải theo mẫu: cần «sample» hoặc «examples» để đặt ra giá trị.",
                f"'{of.name}' must match a pattern: values can be invented only with a 'sample' or 'examples'.",
            )

        def make(block: Block) -> Made:
            numbers = pa.array([str(n) for n in range(block.first + 1, block.first + block.count + 1)], pa.string())
            if of.length:
                return Made(pc.utf8_lpad(numbers, of.length, "0"))
            room = None if longest is None else max(longest - len(str(block.first + block.count)) - 1, 0)
            return Made(joined([pa.scalar(of.label[:room] + " "), numbers], block.count) if room != 0 else numbers)

        return make

    # ------------------------------------------------------------ parts

    def _pool(self, texts: list[str], weights: Cursor | None) -> Maker:
        pool = pa.array(texts, pa.string())
        choose = _chooser(len(texts), weights, self.random)

        def make(block: Block) -> Made:
            entries = choose(block.count)
            return Made(pool.take(pa.array(entries)), entries=entries)

        return make

    def _need(self, name: Cursor) -> None:
        """Another field is read; it must exist."""
        fields = self.setting.contract.by_name
        if name.text() not in fields:
            near = suggestion(name.text(), list(fields))
            name.fault(f"không có trường «{name.text()}».{near[0]}", f"there is no field '{name.text()}'.{near[1]}")
        self.needs.add(name.text())

    def _condition(self, place: Cursor) -> Condition:
        place.must_be(dict)
        name = place.take("field")
        inside, outside, present = place.find("in"), place.find("notIn"), place.find("present")
        place.done()
        self._need(name)
        if sum(part is not None for part in (inside, outside, present)) != 1:
            place.fault("cần đúng một trong «in», «notIn», «present».", "exactly one of 'in', 'notIn', 'present' is needed.")
        if present:
            return Condition(name.text(), is_present=present.must_be(bool))
        chosen = inside or outside
        assert chosen is not None
        return Condition(name.text(), values=tuple(chosen.must_be(list)), is_in=inside is not None)


def _checked(recipe: _Recipe, make: Maker, place: Cursor) -> Maker:
    """The maker, its dates known as moments and its check digits right."""
    of = recipe.of
    for rule in recipe.setting.contract.rules:
        if rule.expectation == _CHECK_DIGIT and rule.fields[0] == of.name:
            recipe.needs |= {condition.field for condition in rule.when}
            make = partial(_with_check_digit, make, rule)
    return partial(_with_moments, make, of, place) if of.type in ("date", "timestamp") else make


def _with_moments(make: Maker, of: Field, place: Cursor, block: Block) -> Made:
    made = make(block)
    if made.moments is None:
        moments, unreadable = parse_moments(made.text, of.formats)
        if unreadable.any():
            place.fault(
                f"«sample» hoặc «examples» có ngày không theo dạng {of.formats[0]}.",
                f"'sample' or 'examples' hold a day not written {of.formats[0]}.",
            )
        made.moments = pc.fill_null(moments.cast(pa.int64()), 0).to_numpy(zero_copy_only=False) // 1_000_000
    return made


def _with_check_digit(make: Maker, rule: Rule, block: Block) -> Made:
    """Put the right check digit in; where none is right (the remainder has two digits), the digit before it moves on first."""
    made = make(block)
    weights, modulus = np.asarray(rule.arguments["weights"], np.int64), int(rule.arguments["modulus"])
    width = len(weights) + 1
    fits = pc.fill_null(pc.match_substring_regex(made.text, f"^[0-9]{{{width}}}"), False).to_numpy(zero_copy_only=False)
    mask = fits & holds(rule.when, block)
    if not mask.any():
        return made
    chosen = made.text.filter(pa.array(mask))
    head = "".join(pc.utf8_slice_codeunits(chosen, 0, width).to_pylist()).encode("ascii")
    digits = np.frombuffer(head, np.uint8).reshape(-1, width).astype(np.int64) - 48
    while True:
        digits[:, -1] = (int(rule.arguments.get("complement", 0)) - digits[:, :-1] @ weights % modulus) % modulus
        wrong = digits[:, -1] > 9
        if not wrong.any():
            break
        digits[wrong, -2] = (digits[wrong, -2] + 1) % 10
    right = joined([texts_of_bytes((digits + 48).astype(np.uint8)), pc.utf8_slice_codeunits(chosen, width, None)], len(chosen))
    return Made(pc.replace_with_mask(made.text, pa.array(mask), right), made.moments, made.entries)


def _chooser(count: int, weights: Cursor | None, random: Random) -> Callable[[int], Ints]:
    """What chooses among `count` things, equally or by weights."""
    if weights is None:
        return lambda lines: random.integers(0, count, lines)
    shares = np.array([item.number() for item in weights.items()])
    if len(shares) != count or (shares < 0).any() or not shares.sum():
        weights.fault(f"cần {count} trọng số không âm.", f"{count} weights are needed, none below 0.")
    bounds = np.cumsum(shares / shares.sum())[:-1]
    return lambda lines: np.searchsorted(bounds, random.random(lines), side="right").astype(np.int64)


def _plain(item: Cursor) -> str:
    """A value of a list as text; true and false are not values."""
    if isinstance(item.value, (bool, dict, list)) or item.value is None:
        item.fault("cần chữ hoặc số.", "a text or a number is needed.")
    return str(item.value)


def _pair(place: Cursor) -> tuple[int, int]:
    if len(place.must_be(list)) != 2:
        place.fault("cần hai số nguyên.", "two whole numbers are needed.")
    low, high = (item.must_be(int) for item in place.items())
    if low > high:
        place.fault("số đầu lớn hơn số sau.", "the first number is above the second.")
    return low, high


def _limits(contract: Contract, of: Field) -> tuple[float, float]:
    """The limits of a number that its rules allow; 1,000 wide where one is open."""
    low, high, step = float("-inf"), float("inf"), 1 if of.type == "integer" else 0.01
    for rule in contract.rules:
        if rule.fields == (of.name,) and rule.expectation == "expect_column_values_to_be_between":
            least, most = rule.arguments.get("min_value"), rule.arguments.get("max_value")
            low = max(low, float(least) + step * bool(rule.arguments.get("strict_min"))) if least is not None else low
            high = min(high, float(most) - step * bool(rule.arguments.get("strict_max"))) if most is not None else high
    if low == float("-inf"):
        low = 0.0 if high >= 0 else high - 1_000
    return low, high if high < float("inf") else low + 1_000


def _longest(contract: Contract, of: Field) -> int | None:
    """The greatest length that a field's rules allow."""
    limits = [r.arguments.get("max_value") for r in contract.rules if r.fields == (of.name,) and "lengths_to_be_between" in r.expectation]
    return min((limit for limit in limits if limit is not None), default=None)
