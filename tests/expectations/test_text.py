"""Claims about the two forms of a text: what people type in many ways is one word, and stays it."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from expectations.text import fold, normalise

NAMES = ["Đắk Lắk", "Thừa Thiên - Huế", "Bà Rịa - Vũng Tàu", "TP. Hồ Chí Minh", "Lượt khám", "Tổng thu NSNN trên địa bàn", "Yên Bái"]
TONES = "\u0300\u0301\u0303\u0309\u0323"
ODD = st.text(alphabet=st.sampled_from([*"aĐđÐðƉɖêộ D\u00a0\u2007\u202f\ufeff\u200b\u00ad№ß½İ", *TONES, "\u0302", "\u031b"]))


def as_cp1258(text: str) -> str:
    """As the Windows code page for Vietnamese writes it: letters with their hat or horn composed, tones apart."""
    out = ""
    for letter in unicodedata.normalize("NFC", text):
        apart = unicodedata.normalize("NFD", letter)
        tones = "".join(c for c in apart if c in TONES)
        out += unicodedata.normalize("NFC", "".join(c for c in apart if c not in TONES)) + tones
    return out


@given(st.one_of(st.text(), ODD))
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@given(st.one_of(st.text(), ODD))
def test_folding_twice_changes_nothing_more(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@example("0\x000")
@given(st.one_of(st.text(), ODD))
def test_folding_does_not_depend_on_normalising_first(text: str) -> None:
    assert fold(normalise(text)) == fold(text)


@given(st.text())
def test_a_folded_text_is_words_of_letters_and_digits_with_one_blank_between(text: str) -> None:
    folded = fold(text)
    assert folded == folded.strip() and all(letter.isalnum() or letter == " " for letter in folded)
    assert all(pair != (" ", " ") for pair in pairwise(folded))


@pytest.mark.parametrize("name", NAMES)
def test_however_accents_are_composed_it_is_one_text(name: str) -> None:
    composed = unicodedata.normalize("NFC", name)
    ways = [composed, unicodedata.normalize("NFD", name), as_cp1258(name)]
    assert len(set(ways)) > 1
    assert {normalise(way) for way in ways} == {composed}
    assert len({fold(way) for way in ways}) == 1


@pytest.mark.parametrize("letter", ["Đ", "Ð", "Ɖ", "đ", "ð", "ɖ"])
def test_every_sign_that_stands_for_đ_is_read_as_it(letter: str) -> None:
    assert normalise(f"{letter}ồng Nai").casefold() == "đồng nai"
    assert fold(f"{letter}ồng Nai") == "dong nai"


def test_signs_that_nobody_sees_are_no_part_of_a_text() -> None:
    assert normalise("\ufeff\u00a0Hà\u00a0Nội\u200b\u2007") == "Hà Nội"
    assert normalise("Hà\u00ad Nội\u200e") == "Hà Nội"
    assert fold("Hà\u00adnh chính\u2060") == "hanh chinh"
    assert normalise("Hà\x00 Nội") == "Hà Nội"


def test_accents_case_blanks_and_signs_do_not_tell_words_apart() -> None:
    assert fold("  TỔNG THU\nNSNN (1)") == fold("Tổng-thu_NSNN 1") == "tong thu nsnn 1"


@pytest.mark.parametrize(("written", "folded"), [("№ 5", "no 5"), ("𝐓ỉnh", "tinh"), ("ﬁle", "file"), ("km²", "km2"), ("Straße", "strasse")])
def test_signs_made_of_letters_are_these_letters(written: str, folded: str) -> None:
    assert fold(written) == folded


def test_words_of_other_scripts_are_not_lost() -> None:
    assert fold("Νομός Αττικής") == "νομοσ αττικησ"
    assert fold("ປະເທດລາວ") != fold("ກຳປູເຈຍ")
