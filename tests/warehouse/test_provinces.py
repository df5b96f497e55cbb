"""Claims about the province registry: its data, its dates, and what it makes of what people write."""

from __future__ import annotations

import csv
import re
import time
import unicodedata
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expectations.faults import SetupFault
from expectations.text import fold
from warehouse.provinces import Registry, load_registry

ROOT = Path(__file__).parents[2]
SEEN_SPELLINGS = ROOT / "tests" / "data" / "province_spellings.csv"
SHARED_SPELLINGS = ROOT.parent / "shared" / "data" / "reference" / "province_aliases_dev.csv"
FIRST, EVE, MERGER = date(2008, 8, 1), date(2025, 6, 30), date(2025, 7, 1)
VIET_NAM = load_registry(ROOT / "warehouse" / "reference")
ITALY = load_registry(ROOT / "examples" / "italy" / "reference")
OLD = {province.province_id for province in VIET_NAM.on(EVE)}
NEW = {province.province_id for province in VIET_NAM.on(MERGER)}

days = st.dates(min_value=FIRST, max_value=date(2035, 12, 31))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# --- the dated sets ---------------------------------------------------------------------------------------------------


def test_63_provinces_to_the_eve_of_the_merger_and_34_from_it() -> None:
    assert (len(OLD), len(NEW), len(VIET_NAM.ids)) == (63, 34, 86)
    assert len(OLD & NEW) == 11


@settings(deadline=None)
@given(days)
def test_every_day_belongs_to_exactly_one_set(day: date) -> None:
    ids = [province.province_id for province in VIET_NAM.on(day)]
    assert len(ids) == len(set(ids))
    assert set(ids) == (NEW if day >= MERGER else OLD)
    assert all(VIET_NAM.is_valid(i, day) == (i in ids) for i in VIET_NAM.ids)


def test_the_predecessors_of_the_34_partition_the_63() -> None:
    families = [VIET_NAM.predecessors(i) or {i} for i in NEW]
    assert sum(len(family) for family in families) == 63
    assert set().union(*families) == OLD


def test_the_mapping_is_that_of_the_official_table() -> None:
    assert VIET_NAM.predecessors("gia-lai-2025") == {"binh-dinh", "gia-lai"}
    assert VIET_NAM.predecessors("ho-chi-minh-2025") == {"ho-chi-minh", "binh-duong", "ba-ria-vung-tau"}
    assert VIET_NAM.predecessors("ha-noi") == frozenset()
    assert VIET_NAM.successor_chain("binh-dinh") == ("gia-lai-2025",)
    assert VIET_NAM.successor_chain("gia-lai-2025") == ()


@pytest.mark.parametrize(
    ("province_id", "day", "full_name"),
    [
        ("thua-thien-hue", date(2024, 12, 31), "Tỉnh Thừa Thiên Huế"),
        ("thua-thien-hue", date(2025, 1, 1), "Thành phố Huế"),
        ("dong-nai-2025", date(2026, 4, 29), "Tỉnh Đồng Nai"),
        ("dong-nai-2025", date(2026, 4, 30), "Thành phố Đồng Nai"),
        ("quang-ninh", date(2026, 8, 31), "Tỉnh Quảng Ninh"),
        ("quang-ninh", date(2026, 9, 1), "Thành phố Quảng Ninh"),
        ("bac-ninh-2025", date(2026, 9, 20), "Thành phố Bắc Ninh"),
    ],
)
def test_a_province_keeps_its_id_through_changes_of_name_and_kind(province_id: str, day: date, full_name: str) -> None:
    assert VIET_NAM.get(province_id, day).full_name == full_name


@pytest.mark.parametrize("ask", [Registry.on, lambda r, d: r.is_valid("ha-noi", d), lambda r, d: r.resolve("Hà Nội", d)])
def test_a_day_before_the_registry_is_complete_is_a_fault_and_not_an_answer(ask: Callable[[Registry, date], object]) -> None:
    with pytest.raises(SetupFault, match="complete only from 2008-08-01"):
        ask(VIET_NAM, FIRST - timedelta(days=1))


def test_it_loads_fast_enough_for_every_process() -> None:
    took = []
    for _ in range(3):
        start = time.perf_counter()
        load_registry(ROOT / "warehouse" / "reference")
        took.append(time.perf_counter() - start)
    assert min(took) < 0.1


# --- spellings --------------------------------------------------------------------------------------------------------


def forms(name: str) -> dict[str, str]:
    """The shapes in which Vietnamese text arrives, and what typists do to it."""
    tones = "\u0300\u0301\u0303\u0309\u0323"
    apart = unicodedata.normalize("NFD", name)
    windows = "".join(
        unicodedata.normalize("NFC", "".join(m for m in unicodedata.normalize("NFD", c) if m not in tones))
        + "".join(m for m in unicodedata.normalize("NFD", c) if m in tones)
        for c in unicodedata.normalize("NFC", name)
    )
    return {
        "NFC": unicodedata.normalize("NFC", name),
        "NFD": apart,
        "windows-1258": windows,
        "Eth": name.replace("Đ", "Ð").replace("đ", "ð"),
        "African D": name.replace("Đ", "Ɖ").replace("đ", "ɖ"),
        "upper": name.upper(),
        "lower": name.lower(),
        "tone later": re.sub(f"([ou])([{tones}])([aey])", r"\1\3\2", apart),
        "tone earlier": re.sub(f"([ou])([aey])([{tones}])", r"\1\3\2", apart),
        "no accents": fold(name),
        "glued": fold(name).replace(" ", "").title(),
        "NBSP": f"\u00a0{name}\u00a0".replace(" ", "\u00a0"),
        "double blanks": f"  {name} ".replace(" ", "  "),
        "hyphens": name.replace(" ", "-"),
        "full stops": name.replace(" ", ". ") + ",",
        "footnote number": f"{name} (1)",
        "footnote star": f"{name}*",
        "footnote superscript": f"{name}¹",
    }


@settings(deadline=None)
@given(days, st.data())
def test_the_full_name_of_every_province_of_a_day_is_that_province(day: date, data: st.DataObject) -> None:
    province = data.draw(st.sampled_from(VIET_NAM.on(day)))
    assert VIET_NAM.resolve(province.full_name, day).province_id == province.province_id


@pytest.mark.parametrize("day", [EVE, MERGER, date(2026, 10, 1)])
def test_every_name_and_alias_is_read_in_every_form_and_with_every_unit_word(day: date) -> None:
    reference = ROOT / "warehouse" / "reference"
    words = [(row["word"], row["unit_type"]) for row in rows(reference / "unit_words.csv")]
    aliases = rows(reference / "province_aliases.csv")
    wrong = []
    for province in VIET_NAM.on(day):
        life = [period for period in VIET_NAM.rows if period.province_id == province.province_id]
        names = {period.name for period in life} | {period.full_name for period in life}
        names |= {row["alias"] for row in aliases if row["name"] in names}
        kinds = {"", *(period.unit_type for period in life)}
        written = {form for name in names for form in forms(name).values()}
        written |= {f"{word} {name}" for name in names for word, kind in words if kind in kinds}
        written |= {f"{name} {word}" for name in names for word, kind in words if kind in kinds}
        wrong += [text for text in written if VIET_NAM.resolve(text, day).province_id != province.province_id]
    assert wrong == []


def test_every_spelling_seen_in_real_files_is_read() -> None:
    seen = rows(SEEN_SPELLINGS)
    assert len(seen) == 328
    wrong = [row for row in seen if VIET_NAM.resolve(row["spelling"], date(2013, 1, 1)).province_id != row["province_id"]]
    assert wrong == []


@pytest.mark.skipif(not SHARED_SPELLINGS.is_file(), reason=f"{SHARED_SPELLINGS} is not here; the copy in tests/data is tested always")
def test_the_copied_spellings_are_those_that_were_collected() -> None:
    day = date(2013, 1, 1)
    collected = {(row["alias_as_written"], VIET_NAM.resolve(row["code_old"], day, "gso").province_id) for row in rows(SHARED_SPELLINGS)}
    assert collected == {(row["spelling"], row["province_id"]) for row in rows(SEEN_SPELLINGS)}


@pytest.mark.parametrize(
    ("province_id", "written"),
    [
        ("ha-noi", "HaNoi | hanoi | Hanoi City | TP Hà Nội | Tp.Hà Nội | T.P Hà Nội | Thủ đô Hà Nội | thành phố hà nội | Hà-Nội | Hà Nội, Việt Nam"),
        ("ha-noi", "Hà Nội (2) | Hà Nội (*) | Hà Nội ** | HÀ NỘI [1] | Hà Nội 1) | * Hà Nội | - Hà Nội | Hà Nội (gồm cả Hà Tây)"),
        ("ho-chi-minh", "TPHCM | TP HCM | T.P. HCM | HCMC | HCM City | Tp. Sài Gòn | Saigon | Ho Chi Minh City, Vietnam | TP.HCM (1) | Hochiminh"),
        ("thua-thien-hue", "TT Huế | T.T.Huế | TTHue | Thừa Thiên | Tỉnh Thừa Thiên - Huế | Thành phố Huế | TP. Huế | Hue City | Huế"),
        ("ba-ria-vung-tau", "BR-VT | BR - VT | Bà Rịa – Vũng Tàu | Bà Rịa Vũng Tàu | Ba Ria-Vung Tau Province | T. Bà Rịa-Vũng Tàu"),
        ("dak-lak", "DakLak | Đắc Lắc | Đăk Lăk | Đắk Lắc | Dac Lac | Darlac | Tỉnh Đắc Lắk | DAKLAK"),
        ("dak-nong", "DakNong | Đắc Nông | Đăk Nông | Dac Nong province"),
        ("bac-kan", "Bắc Cạn | Bac Can | Bac Kan Province"),
        ("kon-tum", "Kontum | KonTum | Công Tum | KON-TUM"),
        ("binh-dinh", "Province of Binh Dinh | Binh Dinh Prov. | tỉnh Bình Định | T.Bình Định | Bình  Định | B i n h Dinh | Bình Ðịnh (1)*"),
        ("hoa-binh", "Hòa Bình | Hoà Bình | Hoa Binh | HOÀ BÌNH"),
        ("ha-tinh", "Hà Tĩnh | Hà Tỉnh | Ha Tinh province | tỉnh Hà Tĩnh"),
        ("quang-nam", "Quảng Nam | Quang-Nam | QUẢNGNAM"),
        ("quang-ninh", "Quảng Ninh | TP Quảng Ninh | quang ninh"),
        ("tay-ninh", "Tây Ninh | T. Tây Ninh | Tayninh"),
    ],
)  # fmt: skip
def test_what_people_write_is_read(province_id: str, written: str) -> None:
    wrong = [text for text in written.split(" | ") if VIET_NAM.resolve(text, date(2013, 1, 1)).province_id != province_id]
    assert wrong == []


@pytest.mark.parametrize(
    ("written", "candidate"),
    [
        ("Bình Đinhh", "binh-dinh"),
        ("Tỉnh Bình Đinhh (1)", "binh-dinh"),
        ("Quảng Nin", "quang-ninh"),
        ("Ninh Bin", "ninh-binh"),
        ("Hà Nộii", "ha-noi"),
        ("Gia Lai (cũ)", "gia-lai"),  # may mean the old one in a table by new units
        ("TP Thái Bình", "thai-binh"),  # a city inside the province
        ("Tây Nguyên", "thai-nguyen"),  # a region
    ],
)
def test_a_wrong_spelling_gets_candidates_and_no_province(written: str, candidate: str) -> None:
    resolution = VIET_NAM.resolve(written, date(2013, 1, 1))
    assert resolution.province_id is None
    assert resolution.candidates[0].province_id == candidate


@pytest.mark.parametrize("written", ["", "Quảng", "Tổng số", "CẢ NƯỚC", "Đông Nam Bộ", "TP.", "(1)", "52", "Hà", "Bình", "Ninh"])
def test_what_is_like_no_name_gets_nothing(written: str) -> None:
    resolution = VIET_NAM.resolve(written, date(2013, 1, 1))
    assert (resolution.province_id, resolution.candidates) == (None, ())


def test_a_cell_full_of_unit_words_or_brackets_costs_no_time() -> None:
    start = time.perf_counter()
    for written in ("T. " * 60, "T. " * 100_000, "Tỉnh " * 39, "()" * 99, "(" * 100_000, " " * 100_000, "TP. HCM" * 10_000):
        assert VIET_NAM.resolve(written, EVE).province_id is None
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize("written", ["Thuế", "thue", "Hà Tây", "Vĩnh Phú"])
def test_a_word_that_looks_like_a_name_is_not_taken_for_one(written: str) -> None:
    assert VIET_NAM.resolve(written, date(2013, 1, 1)).province_id is None


@settings(deadline=None)
@given(days, st.text(max_size=12))
def test_no_text_breaks_the_resolution_and_likeness_never_becomes_identity(day: date, text: str) -> None:
    resolution = VIET_NAM.resolve(text, day)
    assert resolution.province_id is None or resolution.candidates == ()
    assert all(VIET_NAM.is_valid(candidate.province_id, day) for candidate in resolution.candidates)


# --- the merger -------------------------------------------------------------------------------------------------------


def test_a_province_that_was_merged_is_explained_and_its_heir_offered() -> None:
    resolution = VIET_NAM.resolve("tỉnh Bình Định", MERGER)
    assert resolution.province_id is None
    assert [candidate.province_id for candidate in resolution.candidates] == ["gia-lai-2025"]
    assert resolution.note is not None
    assert resolution.note.en == "Bình Định was merged into Gia Lai (gia-lai-2025) on 2025-07-01."
    assert "Bình Định đã nhập vào Gia Lai" in resolution.note.vi


def test_the_same_name_means_the_province_of_its_day() -> None:
    assert VIET_NAM.resolve("Gia Lai", EVE).province_id == "gia-lai"
    assert VIET_NAM.resolve("Gia Lai", MERGER).province_id == "gia-lai-2025"
    assert VIET_NAM.resolve("TP.HCM", EVE).province_id == "ho-chi-minh"
    assert VIET_NAM.resolve("TP.HCM", MERGER).province_id == "ho-chi-minh-2025"


def test_a_misspelt_living_province_is_not_said_to_be_merged() -> None:
    assert VIET_NAM.resolve("Gia Laii", MERGER).note is None
    assert VIET_NAM.resolve("Bình Đinhh", MERGER).note is not None


# --- codes ------------------------------------------------------------------------------------------------------------


def test_code_52_changes_its_meaning_with_the_merger() -> None:
    assert VIET_NAM.resolve("52", EVE, "gso").province_id == "binh-dinh"
    assert VIET_NAM.resolve("52", MERGER, "gso").province_id == "gia-lai-2025"


def test_the_same_number_means_another_province_in_another_system() -> None:
    meanings = {system: VIET_NAM.resolve("52", EVE, system).province_id for system in ("gso", "exam", "cccd", "pci")}
    assert meanings == {"gso": "binh-dinh", "exam": "ba-ria-vung-tau", "cccd": "binh-dinh", "pci": None}


@pytest.mark.parametrize(
    ("written", "system", "province_id", "repaired"),
    [
        ("01", "gso", "ha-noi", False),
        (" 01 ", "gso", "ha-noi", False),
        ("1", "gso", "ha-noi", True),
        ("1.0", "gso", "ha-noi", True),
        ("'01", "gso", "ha-noi", True),
        ("1,0", "gso", "ha-noi", True),
        ("01", "pci", "ha-noi", True),
        ("P35", "papi", "binh-dinh", False),
        ("h08", "h", "binh-dinh", True),
        ("052", "gso", None, False),
        ("52.5", "gso", None, False),
        ("35", "papi", None, False),
        ("Hà Nội", "gso", None, False),
        ("", "gso", None, False),
    ],
)
def test_a_code_that_went_through_a_spreadsheet_is_repaired_and_said_to_be(
    written: str, system: str, province_id: str | None, repaired: bool
) -> None:
    resolution = VIET_NAM.resolve(written, EVE, system)
    assert (resolution.province_id, resolution.repaired) == (province_id, repaired)


def test_a_code_of_other_days_is_explained_and_the_heir_offered() -> None:
    resolution = VIET_NAM.resolve("64", MERGER, "gso")
    assert resolution.province_id is None
    assert resolution.candidates[0].province_id == "gia-lai-2025"
    assert resolution.note is not None
    assert "it means Gia Lai (gia-lai) from 2008-08-01 to 2025-06-30" in resolution.note.en


def test_a_code_system_that_is_not_known_is_a_fault_of_the_contract() -> None:
    with pytest.raises(SetupFault, match="there are: gso, cccd, exam, pci, papi, census, h"):
        VIET_NAM.resolve("52", EVE, "nuts")


@settings(deadline=None)
@given(days)
def test_every_province_of_a_day_has_its_own_official_code(day: date) -> None:
    codes = {row.code for row in VIET_NAM.codes if row.code_system == "gso"}
    meant = [VIET_NAM.resolve(code, day, "gso").province_id for code in codes]
    assert sorted(i for i in meant if i) == [province.province_id for province in VIET_NAM.on(day)]


# --- communes ---------------------------------------------------------------------------------------------------------


def test_communes_are_those_of_their_province_on_their_day() -> None:
    assert len(VIET_NAM.communes_on(EVE, "binh-dinh")) == 155
    assert len(VIET_NAM.communes_on(EVE, "gia-lai")) == 218
    assert len(VIET_NAM.communes_on(MERGER, "gia-lai-2025")) == 135
    assert VIET_NAM.communes_on(MERGER, "binh-dinh") == frozenset()


@settings(deadline=None)
@given(st.dates(min_value=MERGER, max_value=date(2030, 1, 1)))
def test_3321_communes_since_the_merger_each_in_one_province(day: date) -> None:
    communes = [VIET_NAM.communes_on(day, i) for i in NEW]
    assert sum(map(len, communes)) == len(frozenset().union(*communes)) == 3321


def test_the_mistyped_line_of_the_official_table_is_corrected() -> None:
    assert "27691" in VIET_NAM.communes_on(EVE, "long-an")
    assert "27691" not in VIET_NAM.communes_on(EVE, "tien-giang")


def test_communes_of_a_day_that_no_list_covers_are_a_fault_and_not_an_empty_set() -> None:
    with pytest.raises(SetupFault, match="the list starts on 2025-01-01"):
        VIET_NAM.communes_on(date(2024, 12, 31), "binh-dinh")
    with pytest.raises(SetupFault, match="no communes are known"):
        ITALY.communes_on(date(2024, 12, 31), "napoli")
    assert VIET_NAM.communes_file_present
    assert not ITALY.communes_file_present


# --- a second country -------------------------------------------------------------------------------------------------


def test_another_country_needs_no_code_and_na_is_naples() -> None:
    day = date(2020, 3, 31)
    assert len(ITALY.on(day)) == 107
    assert ITALY.resolve("NA", day, "sigla").province_id == "napoli"
    assert ITALY.resolve("63", day, "istat").province_id == "napoli"
    assert ITALY.resolve("In fase di definizione/aggiornamento", day).province_id is None
    assert ITALY.resolve("980", day, "istat").province_id is None
    for province in ITALY.on(day):
        for written in forms(province.name).values():
            assert ITALY.resolve(written, day).province_id == province.province_id, written


# --- files that cannot be so ------------------------------------------------------------------------------------------

HEADERS = {
    "provinces.csv": "province_id,name,full_name,unit_type,valid_from,valid_to,successor_id,legal_basis",
    "province_codes.csv": "code_system,code,province_id,valid_from,valid_to,evidence",
    "province_aliases.csv": "alias,name",
    "unit_words.csv": "word,unit_type",
    "communes.csv": "code,name,unit_type,province_id,valid_from,valid_to",
}
GOOD = {
    "provinces.csv": "east,East,East,p,2000-01-01,2009-12-31,east-2010,\nwest,West,West,p,2000-01-01,2009-12-31,east-2010,\n"
    "east-2010,East,East,p,2010-01-01,2014-12-31,,\neast-2010,Far East,Far East,p,2015-01-01,,,",
    "province_codes.csv": "num,01,east,2000-01-01,2009-12-31,\nnum,01,east-2010,2010-01-01,,",
    "province_aliases.csv": "Orient,East",
    "communes.csv": "001,A,c,east,2000-01-01,2009-12-31\n001,A,c,east-2010,2010-01-01,",
}


def registry_of(folder: Path, file: str = "provinces.csv", old: str = "", new: str = "") -> Registry:
    """A small good registry, with `old` replaced by `new` in one file."""
    for name, body in GOOD.items():
        text = f"{HEADERS[name]}\n{body}\n"
        assert old in text or name != file
        (folder / name).write_text(text.replace(old, new) if name == file and old else text, encoding="utf-8")
    return load_registry(folder)


def test_a_small_registry_answers_as_it_should(tmp_path: Path) -> None:
    registry = registry_of(tmp_path)
    assert (registry.complete_from, registry.last_day_known) == (date(2000, 1, 1), date(2015, 1, 1))
    assert registry.resolve("Orient", date(2005, 1, 1)).province_id == "east"
    assert registry.resolve("orient", date(2020, 1, 1)).province_id == "east-2010"
    assert registry.resolve("Far East", date(2012, 1, 1)).province_id == "east-2010"
    note = registry.resolve("Far East", date(2005, 1, 1)).note
    assert note is not None
    assert note.en == "East (east-2010) exists only from 2010-01-01."


def test_a_name_that_passed_from_one_province_to_another_is_not_decided(tmp_path: Path) -> None:
    lines = [
        HEADERS["provinces.csv"],
        "a,Levant,Levant,p,2000-01-01,2004-12-31,,",
        "a,Sunrise,Sunrise,p,2005-01-01,,,",
        "b,West,West,p,2000-01-01,2004-12-31,,",
        "b,Levant,Levant,p,2005-01-01,,,",
    ]
    (tmp_path / "provinces.csv").write_text("\n".join(lines), encoding="utf-8")
    resolution = load_registry(tmp_path).resolve("Levant", date(2003, 1, 1))
    assert resolution.province_id is None
    assert [candidate.province_id for candidate in resolution.candidates] == ["a", "b"]
    assert resolution.note is not None


@pytest.mark.parametrize(
    ("file", "line", "old", "new", "reason"),
    [
        ("provinces.csv", 1, "province_id,name", "id,name", "the header must be"),
        ("provinces.csv", 2, "east,East,East,p", "east,East,East", "7 cells, expected 8"),
        ("provinces.csv", 2, "east,East,East,p", "East,East,East,p", "cannot be a province_id"),
        ("provinces.csv", 3, "west,West", "unassigned,West", "is reserved"),
        ("provinces.csv", 3, "west,West,West", "west,,West", "column name is empty"),
        ("provinces.csv", 3, "West,p,2000-01-01", "West,p,1/1/2000", "expected a day as YYYY-MM-DD"),
        ("provinces.csv", 3, "West,p,2000-01-01", "West,p,2011-01-01", "valid_to is before valid_from"),
        ("provinces.csv", 5, "2015-01-01", "2015-01-02", "a gap or an overlap"),
        ("provinces.csv", 5, "2015-01-01", "2014-12-31", "a gap or an overlap"),
        ("provinces.csv", 4, "2014-12-31,,", "2014-12-31,west,", "only the last period"),
        ("provinces.csv", 3, "p,2000-01-01,2009-12-31,east-2010,\neast-2010", "p,2000-01-01,2009-12-31,north,\neast-2010", "'north' does not exist"),
        ("provinces.csv", 3, "2009-12-31,east-2010,\neast-2010", "2009-12-30,east-2010,\neast-2010", "does not start the day after"),
        ("provinces.csv", 3, "west,West", "west,East", "taken on the same day by line 2"),
        ("province_codes.csv", 3, "num,01,east-2010", "num,01,north", "no province 'north'"),
        ("province_codes.csv", 2, "2009-12-31", "2010-12-31", "beyond the life of 'east'"),
        ("province_codes.csv", 3, "num,01,east-2010,2010-01-01", "num,1,west,2000-01-01,2000-01-02,\nnum,2,east-2010,2010-01-01", "by line 2"),
        ("province_aliases.csv", 2, "Orient,East", "Orient,Esat", "no province is named 'Esat'"),
        ("province_aliases.csv", 2, "Orient,East", "WEST,East", "already stands for another name"),
        ("province_aliases.csv", 3, "Orient,East", "Orient,East\nOrient,West", "already stands for another name"),
    ],
)  # fmt: skip
def test_a_registry_that_cannot_be_so_is_refused_by_file_and_line(
    tmp_path: Path, file: str, line: int, old: str, new: str, reason: str
) -> None:
    with pytest.raises(SetupFault) as refusal:
        registry_of(tmp_path, file, old, new)
    assert f"{file}:{line}: " in refusal.value.message.en
    assert reason in refusal.value.message.en


def test_a_commune_in_two_places_is_refused_when_communes_are_first_asked_for(tmp_path: Path) -> None:
    registry = registry_of(tmp_path, "communes.csv", "A,c,east-2010,2010-01-01,", "A,c,west,2009-12-31,2009-12-31")
    with pytest.raises(SetupFault, match=r"communes\.csv:3: '001' is taken on the same day by line 2"):
        registry.communes_on(date(2005, 1, 1), "east")


def test_a_folder_without_provinces_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupFault, match=r"provinces\.csv:1: no such file"):
        load_registry(tmp_path)
