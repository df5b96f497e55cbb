"""Claims about periods: one way to write each, and names that say for which one a file is."""

from __future__ import annotations

import unicodedata
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expectations.period import PERIODICITIES, BadPattern, NameMatch, NamePattern, Period, Periodicity, parse_period

KINDS = st.sampled_from(PERIODICITIES)
DAYS = st.dates()
PERIODS = st.builds(Period.containing, DAYS, KINDS)
RECENT = st.dates(date(2000, 1, 1), date(2099, 12, 31))
SLUGS = st.from_regex(r"[a-z]{2,6}(-[a-z0-9]{2,6}){0,3}", fullmatch=True)
PATTERNS: dict[Periodicity, list[str]] = {
    "year": ["Final_{period:%Y}", "*{period:%Y}-average", "báo cáo {period:%y}", "[{province}_]{period:%Y}"],
    "quarter": ["kế hoạch_{period:%Y-Q%q}", "q{period:%q.%Y}", "x{period:%m%Y}"],
    "month": ["dossier_[{province}_]{period:%Y-%m}", "{province}.{period:%m%y}", "{period:%Y-%m-%d}"],
    "day": ["dpc-{period:%Y%m%d}", "{period:%d.%m.%y}_{province}", "ngày {period:%d}/{period:%m}/{period:%Y}"],
}


def month(text: str) -> Period:
    found = parse_period(text, "month")
    assert found is not None
    return found


# --- periods ----------------------------------------------------------------------------------------------------------


@given(PERIODS)
def test_what_is_written_is_read_back(period: Period) -> None:
    assert parse_period(str(period), period.periodicity) == period
    assert parse_period(f" {period.start.isoformat()} ", period.periodicity) == period


@given(DAYS, KINDS)
def test_every_day_lies_in_exactly_one_period(day: date, kind: Periodicity) -> None:
    period = Period.containing(day, kind)
    assert period.start <= day <= period.end
    assert Period.containing(period.start, kind) == Period.containing(period.end, kind) == period


@given(st.dates(max_value=date(9998, 12, 31)), KINDS)
def test_the_next_period_begins_the_day_after_the_end(day: date, kind: Periodicity) -> None:
    period = Period.containing(day, kind)
    assert period.next().start == period.end + timedelta(days=1)
    assert period.next().periodicity == kind and period < period.next()


def test_the_last_period_that_dates_can_tell_has_an_end() -> None:
    assert {Period.containing(date.max, kind).end for kind in PERIODICITIES} == {date.max}


@pytest.mark.parametrize(
    ("kind", "written", "start"),
    [
        ("year", "2025", date(2025, 1, 1)),
        ("quarter", "2025-Q2", date(2025, 4, 1)),
        ("quarter", "2025q4", date(2025, 10, 1)),
        ("month", "2025-06", date(2025, 6, 1)),
        ("day", "2025-06-10", date(2025, 6, 10)),
    ],
)
def test_each_kind_has_its_way_of_writing(kind: Periodicity, written: str, start: date) -> None:
    assert parse_period(written, kind) == Period(start, kind)


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        ("year", "25"), ("year", "2025-06"), ("year", "0000"), ("quarter", "2025-Q5"), ("quarter", "2025"), ("month", "2025-13"),
        ("month", "2025-6"), ("month", "2025"), ("day", "2025-02-30"), ("day", "10/06/2025"), ("month", "2025-06-02"), ("day", ""),
    ],
)  # fmt: skip
def test_what_tells_another_kind_or_no_day_tells_no_period(kind: Periodicity, written: str) -> None:
    assert parse_period(written, kind) is None


# --- names of files and sheets ----------------------------------------------------------------------------------------


@given(st.data(), KINDS, RECENT, SLUGS)
def test_the_example_of_a_pattern_says_its_period_and_province(data: st.DataObject, kind: Periodicity, day: date, province: str) -> None:
    pattern = NamePattern(data.draw(st.sampled_from(PATTERNS[kind])), kind)
    period = Period.containing(day, kind)
    assert pattern.match(pattern.example(period, province)) == NameMatch(period, province if pattern.has_province else None)


@pytest.mark.parametrize("kind", PERIODICITIES)
def test_an_optional_province_may_be_left_out(kind: Periodicity) -> None:
    pattern = NamePattern("x_[{province}_]{period:%Y%m%d}", kind)
    period = Period.containing(date(2025, 4, 1), kind)
    assert pattern.match(pattern.example(period)) == NameMatch(period, None)


def test_an_optional_period_may_be_left_out_for_the_lines_to_tell() -> None:
    pattern = NamePattern("scores[_{period:%Y}]", "year")
    assert pattern.match("scores") == NameMatch(None, None)
    assert pattern.match("scores_2024") == NameMatch(parse_period("2024", "year"), None)
    assert pattern.match("scores_0000") is None


@pytest.mark.parametrize("name", ["dossier_2025-06 (1)", "dossier_2025-06(12)", " dossier_2025-06 ", "DOSSIER_2025-06", "dossier_2025-06"])
def test_a_second_copy_and_another_case_are_the_same_name(name: str) -> None:
    assert NamePattern("dossier_{period:%Y-%m}", "month").match(name) == NameMatch(month("2025-06"), None)


def test_a_second_copy_is_known_before_its_suffix_too() -> None:
    assert NamePattern("Final_{period:%Y}.xls", "year").match("Final_2010 (1).xls") == NameMatch(parse_period("2010", "year"), None)


def test_a_pattern_that_itself_ends_in_a_number_in_brackets_matches() -> None:
    assert NamePattern("mẫu (2)", "year").match("mẫu (2)") == NameMatch(None, None)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_name_from_a_computer_that_takes_accents_apart_is_the_same_name(form: str) -> None:
    name, text = (
        unicodedata.normalize(form, "hồ sơ_2025-06"),
        unicodedata.normalize("NFD" if form == "NFC" else "NFC", "hồ sơ_{period:%Y-%m}"),
    )
    assert NamePattern(text, "month").match(name) == NameMatch(month("2025-06"), None)


@pytest.mark.parametrize("name", ["d_2025-13", "d_2025-00", "d_0000-06", "d_2025-6", "d_2025-06.csv", "ed_2025-06", "d_", "d_2025-06 (a)"])
def test_an_impossible_date_or_another_name_does_not_match(name: str) -> None:
    assert NamePattern("d_{period:%Y-%m}", "month").match(name) is None


@pytest.mark.parametrize("name", ["d_20250230", "d_20251301", "d_20250631"])
def test_a_day_that_does_not_exist_does_not_match(name: str) -> None:
    assert NamePattern("d_{period:%Y%m%d}", "day").match(name) is None


@pytest.mark.parametrize(("name", "start"), [("b_2025-Q1", date(2025, 1, 1)), ("b_2025-q4", date(2025, 10, 1))])
def test_a_quarter_begins_with_its_first_month(name: str, start: date) -> None:
    assert NamePattern("b_{period:%Y-Q%q}", "quarter").match(name) == NameMatch(Period(start, "quarter"), None)


def test_there_is_no_fifth_quarter() -> None:
    assert NamePattern("b_{period:%Y-Q%q}", "quarter").match("b_2025-Q5") is None


def test_a_province_is_read_in_small_letters_and_whole() -> None:
    pattern = NamePattern("{province}_{period:%Y}", "year")
    assert pattern.match("Thua-Thien-Hue_2024") == NameMatch(parse_period("2024", "year"), "thua-thien-hue")
    assert pattern.match("-hue_2024") is None


@given(st.text(max_size=40), st.sampled_from([(text, kind) for kind, texts in PATTERNS.items() for text in texts]))
def test_no_name_raises(name: str, pattern: tuple[str, Periodicity]) -> None:
    NamePattern(*pattern).match(name)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("x_{period:%m}", "month"), ("x_{period:%Y}", "month"), ("x_{period:%Y}", "quarter"), ("x_{period:%Y-%m}", "day"), ("x_{period:%m}", "year"),
        ("x_{period:}", "year"), ("{period:%Y}_{period:%Y}", "year"), ("{period:%Y %y}", "year"), ("{province}{province}", "year"), ("x_{period}", "year"),
        ("x_{period:%H}", "year"), ("x_{period:%Y%}", "year"), ("x_{date:%Y}", "year"), ("[x", "year"), ("x]", "year"), ("[[x]]", "year"), ("][", "year"),
    ],
)  # fmt: skip
def test_a_pattern_that_could_never_tell_its_period_is_refused_in_both_languages(text: str, kind: Periodicity) -> None:
    with pytest.raises(BadPattern) as caught:
        NamePattern(text, kind)
    assert caught.value.message.vi and caught.value.message.vi != caught.value.message.en
