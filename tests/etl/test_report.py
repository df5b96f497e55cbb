"""Claims about the receipt: nothing lost in it, nothing harmful in it, nobody else reads it."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import stat
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from etl.report import COLUMNS, OUTCOMES, SAMPLE_ROWS, TOTALS_SHOWN, Receipt, write_receipt
from expectations.contract import Contract, Field, Measure
from expectations.faults import MachineFault, Message
from warehouse.ledger import Delivery, Reason

SCHEMA = pa.schema(
    [("line", pa.int64()), *((name, pa.string()) for name in ("field", "rule", "severity", "value", "message_vi", "message_en"))]
)
FIELDS = (
    Field("code", "Mã hồ sơ", "string", ("Ma",)),
    Field("citizen", "Số định danh", "string", ("SoDinhDanh",), classification="restricted"),
    Field("fee", "Phí đã thu", "integer", ("Phi",), measure=Measure(True, "đồng")),
)
CONTRACT = Contract("dossier", "1.0.0", "Hồ sơ", "", "active", FIELDS, (), "each-province", "month", (), Path("x"), "c" * 64, "")
DELIVERY = Delivery(
    delivery_id=12,
    sender="gia-lai-2025",
    dataset="dossier",
    province_id="gia-lai-2025",
    period=date(2025, 8, 1),
    sheet="Tháng 8",
    by_line=False,
    file_name="dossier_2025-08.csv",
    sha256="a" * 64,
    size_bytes=4_812_331,
    archive_path="archive",
    contract_sha256="c" * 64,
    state="stored",
    received_at=datetime(2025, 9, 4, 19, 13, tzinfo=UTC),
    lines_read=1_000,
    lines_loaded=998,
    lines_rejected=2,
    lines_waiting=0,
    lines_faulty=2,
)
RECEIPT = Receipt(DELIVERY, CONTRACT, "Tỉnh Gia Lai", "2025-08", "Asia/Ho_Chi_Minh")
HOSTILE = "<script>alert('x')</script>\"'><img src=http://x onerror=y>&amp;"
TRIGGERS = "=+-@＝＋－＠"


def rejections(*rows: dict[str, Any]) -> list[pa.RecordBatch]:
    plain = {
        "line": 2,
        "field": "code",
        "rule": "code.pattern",
        "severity": "error",
        "value": "x",
        "message_vi": "sai",
        "message_en": "wrong",
    }
    return [pa.RecordBatch.from_pylist([plain | row for row in rows], schema=SCHEMA)]


def by_rule(rule: str = "code.pattern", field: str | None = "code", severity: str = "error", lines: int = 1, **more: Any) -> dict[str, Any]:
    first = list(range(2, 2 + min(lines, 10)))
    return {
        "rule": rule,
        "field": field,
        "severity": severity,
        "message_vi": "sai",
        "message_en": "wrong",
        "lines": lines,
        "first_lines": first,
    } | more


def total(scope: str, declared: float, computed: float) -> dict[str, Any]:
    return {
        "scope": scope,
        "measure": "fee",
        "unit": "đồng",
        "line": 9,
        "declared": declared,
        "computed": computed,
        "ties": declared == computed,
    }


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def page(folder: Path) -> str:
    return (folder / "receipt.html").read_text("utf-8")


def facts(folder: Path) -> Any:
    return json.loads((folder / "receipt.json").read_text("utf-8"))


def rejected(folder: Path, delimiter: str = ",") -> list[list[str]]:
    with (folder / "rejected.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file, delimiter=delimiter))


class Page(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def words(self) -> str:
        return re.sub(r"[ \n]+", " ", self.text)


# ---------------------------------------------------------------- the folder


def test_only_the_owner_reads_a_receipt_whatever_the_umask_and_the_folder_were(tmp_path: Path) -> None:
    (tmp_path / "gia-lai-2025").mkdir(mode=0o777)
    before = os.umask(0)
    try:
        folder = write_receipt(tmp_path, RECEIPT, [])
    finally:
        os.umask(before)
    assert folder == tmp_path / "gia-lai-2025" / "00000012-dossier-2025-08"
    assert [stat.S_IMODE(f.stat().st_mode) for f in (folder.parent, folder)] == [0o700, 0o700]
    assert {f.name: stat.S_IMODE(f.stat().st_mode) for f in folder.iterdir()} == dict.fromkeys(
        ["receipt.html", "receipt.json", "rejected.csv"], 0o600
    )


def test_a_later_receipt_of_a_delivery_takes_the_place_of_the_earlier_one_and_of_no_other(tmp_path: Path) -> None:
    other = write_receipt(tmp_path, replace(RECEIPT, delivery=replace(DELIVERY, delivery_id=13)), [])
    unknown = replace(DELIVERY, dataset=None, period=None, state="returned", lines_read=None)
    write_receipt(tmp_path, replace(RECEIPT, delivery=unknown, contract=None, period_text=None), [])
    write_receipt(tmp_path, replace(RECEIPT, delivery=replace(DELIVERY, state="held")), rejections({}))
    folder = write_receipt(tmp_path, RECEIPT, [])
    assert facts(folder)["state"] == "stored" and len(rejected(folder)) == 1
    assert names(folder.parent) == [folder.name, other.name]


def test_an_interrupted_receipt_leaves_the_earlier_one_and_nothing_else(tmp_path: Path) -> None:
    def cut() -> Iterator[pa.RecordBatch]:
        yield from rejections({})
        raise InterruptedError("power")

    folder = write_receipt(tmp_path, RECEIPT, rejections({"value": "first"}))
    with pytest.raises(MachineFault):
        write_receipt(tmp_path, RECEIPT, cut())
    assert [row[6] for row in rejected(folder)] == ["value", "first"]
    assert names(folder.parent) == [folder.name]


def test_what_a_crash_left_behind_is_cleared_by_the_next_receipt(tmp_path: Path) -> None:
    left = tmp_path / "gia-lai-2025" / ".00000012-crash"
    left.mkdir(parents=True)
    (left / "rejected.csv").write_text("half")
    folder = write_receipt(tmp_path, RECEIPT, [])
    assert names(folder.parent) == [folder.name]


def test_a_full_or_missing_disk_is_a_machine_fault(tmp_path: Path) -> None:
    (tmp_path / "outbox").write_text("a file where a folder should be")
    with pytest.raises(MachineFault, match="run again"):
        write_receipt(tmp_path / "outbox", RECEIPT, [])


@pytest.mark.parametrize("sender", ["..", "../other", "a/b", "", "a\0b"])
def test_no_receipt_leaves_its_outbox(tmp_path: Path, sender: str) -> None:
    with pytest.raises(ValueError, match="not the name of a folder"):
        write_receipt(tmp_path / "outbox", replace(RECEIPT, delivery=replace(DELIVERY, sender=sender)), [])
    assert names(tmp_path) == []


# ---------------------------------------------------------------- rejected.csv


def test_without_rejections_there_is_a_header_that_excel_reads_as_utf8(tmp_path: Path) -> None:
    raw = (write_receipt(tmp_path, RECEIPT, []) / "rejected.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    assert next(csv.reader(io.StringIO(raw.decode("utf-8-sig")))) == list(COLUMNS)


def test_rejections_stand_in_the_order_of_lines_with_the_fields_label(tmp_path: Path) -> None:
    batches = rejections({"line": 9, "value": "a\n;b"}) + rejections(
        {"line": 3, "field": None, "rule": "cells", "value": None, "severity": "warning"}
    )
    assert rejected(write_receipt(tmp_path, RECEIPT, batches))[1:] == [
        ["Tháng 8", "3", "", "", "cells", "warning", "", "sai", "wrong"],
        ["Tháng 8", "9", "code", "Mã hồ sơ", "code.pattern", "error", "a\n;b", "sai", "wrong"],
    ]


def starts_a_formula(cell: str) -> bool:
    """Whether a spreadsheet runs a cell: behind blanks and invisible characters there is a trigger, and not of a plain number."""
    if re.fullmatch(r"-[0-9]+([.,][0-9]+)*", cell):
        return False
    for character in cell:
        if unicodedata.category(character)[0] != "Z" and unicodedata.category(character) not in ("Cc", "Cf"):
            return character in TRIGGERS
    return False


cells = st.one_of(
    st.text(), st.text("=+-@;,\"'\t\r\n 1aＡ＝\u200b\u00a0"), st.from_regex(r"[ ;\t\"]*[=+@-][A-Z0-9(,;\"\n]*", fullmatch=True)
)


@given(st.lists(cells, min_size=1, max_size=30), cells)
@example(['x;"=HYPERLINK(""http://x"")"', "a\n=1+1", "\t=1", "\r@x", "\ufeff=1", "-2+3", "-", "'=1"], "=sheet")
@settings(max_examples=80, deadline=None)
def test_no_cell_is_run_by_a_spreadsheet_of_any_country(values: list[str], sheet: str) -> None:
    with tempfile.TemporaryDirectory() as outbox:
        hostile = replace(RECEIPT, delivery=replace(DELIVERY, sheet=sheet))
        folder = write_receipt(Path(outbox), hostile, rejections(*({"value": v, "message_vi": v} for v in values)))
        rows = rejected(folder)[1:]
        assert len(rows) == len(values)
        for delimiter in ",;\t":
            assert not [cell for row in rejected(folder, delimiter) for cell in row if starts_a_formula(cell)]
        for row, value in zip(rows, values, strict=True):
            assert re.sub("'", "", row[6]) == re.sub("'", "", value), "nothing but apostrophes is added"
            if not set(value) & set(TRIGGERS + "\t\r\n"):
                assert row[6] == value


@given(st.from_regex(r"-[0-9]{1,15}([.,][0-9]{1,5}){0,3}", fullmatch=True))
@settings(max_examples=20, deadline=None)
def test_a_negative_number_stays_a_number(number: str) -> None:
    with tempfile.TemporaryDirectory() as outbox:
        assert rejected(write_receipt(Path(outbox), RECEIPT, rejections({"value": number})))[1][6] == number


def test_two_hundred_thousand_rejections_are_all_written_and_never_held_together(tmp_path: Path) -> None:
    count, step, held = 200_000, 10_000, []
    start = pa.total_allocated_bytes()

    def stream() -> Iterator[pa.RecordBatch]:
        for first in range(0, count, step):
            held.append(pa.total_allocated_bytes() - start)
            yield from rejections(*({"line": n, "value": f"={n}", "message_vi": "sai " * 200} for n in range(first, first + step)))

    folder = write_receipt(tmp_path, replace(RECEIPT, by_rule=[by_rule(lines=count)]), stream())
    with (folder / "rejected.csv").open(encoding="utf-8-sig") as file:
        next(file)
        assert [int(row[1]) for row in csv.reader(file)] == list(range(count))
    assert facts(folder)["rejections"]["errors"] == count
    assert (folder / "rejected.csv").stat().st_size > 2 * max(held)
    shown = Page(page(folder))
    assert f"chỉ nêu {SAMPLE_ROWS} trong 200\u202f000 chỗ; tệp rejected.csv có đủ tất cả" in shown.text
    assert "và 199\u202f990 dòng nữa" in shown.text and len(page(folder)) < 100_000


# ---------------------------------------------------------------- receipt.json


def test_the_facts_for_machines_are_complete(tmp_path: Path) -> None:
    notice = Reason("column-unknown", Message("Cột «Ghi chú» không có trong hợp đồng.", "The column is not in the contract."))
    receipt = replace(
        RECEIPT,
        delivery=replace(DELIVERY, notices=(notice,)),
        by_rule=[by_rule(lines=2)],
        reconciliations=[total("Tổng số", 10.5, 10.0)],
        decisions=[{"action": "approve", "reason": "đúng", "decided_by": "an", "decided_at": datetime(2025, 9, 5, 2, tzinfo=UTC)}],
    )
    assert facts(write_receipt(tmp_path, receipt, rejections({}, {"line": 3}, {"severity": "warning"}))) == {
        "format": 1,
        "delivery": 12,
        "state": "stored",
        "outcome": {"name": "loaded-in-part", "vi": "Đã nạp, có dòng bị từ chối", "en": "Loaded, with rejected lines"},
        "sender": {"id": "gia-lai-2025", "name": "Tỉnh Gia Lai"},
        "dataset": "dossier",
        "contract": {"version": "1.0.0", "label": "Hồ sơ", "sha256": "c" * 64},
        "period": "2025-08",
        "province": "gia-lai-2025",
        "file": {"name": "dossier_2025-08.csv", "sheet": "Tháng 8", "sha256": "a" * 64, "size_bytes": 4_812_331},
        "received_at": "2025-09-05T02:13:00+07:00",
        "lines": {"read": 1_000, "loaded": 998, "rejected": 2, "waiting": 0, "faulty": 2},
        "reasons": [],
        "notices": [notice.as_json()],
        "rejections": {
            "file": "rejected.csv",
            "errors": 2,
            "warnings": 1,
            "by_rule": [
                {
                    "rule": "code.pattern",
                    "field": "code",
                    "label": "Mã hồ sơ",
                    "severity": "error",
                    "vi": "sai",
                    "en": "wrong",
                    "count": 2,
                    "first_lines": [2, 3],
                }
            ],
        },
        "reconciliation": [
            {
                "scope": "Tổng số",
                "measure": "fee",
                "label": "Phí đã thu",
                "unit": "đồng",
                "line": 9,
                "declared": 10.5,
                "computed": 10.0,
                "difference": -0.5,
                "ties": False,
            }
        ],
        "decisions": [{"action": "approve", "reason": "đúng", "decided_by": "an", "decided_at": "2025-09-05T09:00:00+07:00"}],
    }


def test_values_of_rows_are_in_the_csv_and_on_the_page_but_not_in_the_json(tmp_path: Path) -> None:
    folder = write_receipt(tmp_path, replace(RECEIPT, by_rule=[by_rule()]), rejections({"field": "citizen", "value": "052186001234"}))
    assert ["052186001234" in (folder / name).read_text("utf-8") for name in ("rejected.csv", "receipt.html", "receipt.json")] == [
        True,
        True,
        False,
    ]


def test_a_total_that_is_no_finite_number_still_gets_its_receipt(tmp_path: Path) -> None:
    folder = write_receipt(tmp_path, replace(RECEIPT, reconciliations=[total("Tổng", float("inf"), 1.0)]), [])
    assert facts(folder)["reconciliation"][0]["declared"] is None


# ---------------------------------------------------------------- receipt.html


def test_nothing_that_a_sender_wrote_becomes_markup(tmp_path: Path) -> None:
    said = Reason("x", Message(HOSTILE, HOSTILE))
    delivery = replace(DELIVERY, state="returned", file_name=HOSTILE, sheet=HOSTILE, province_id=HOSTILE, reasons=(said,), notices=(said,))
    receipt = Receipt(
        delivery,
        replace(CONTRACT, label=HOSTILE),
        HOSTILE,
        "2025-08",
        "Asia/Ho_Chi_Minh",
        [by_rule(field=HOSTILE, message_vi=HOSTILE, message_en=HOSTILE)],
        [total(HOSTILE, 1, 2)],
        [{"action": "reject", "reason": HOSTILE, "decided_by": HOSTILE, "decided_at": DELIVERY.received_at}],
    )
    folder = write_receipt(
        tmp_path, receipt, rejections({"field": HOSTILE, "value": HOSTILE, "message_vi": HOSTILE, "message_en": HOSTILE})
    )
    parsed = Page(page(folder))
    assert not {"script", "img"} & {tag for tag, _ in parsed.tags}
    assert parsed.text.count(HOSTILE) >= 18


def test_a_formula_is_shown_as_it_was_written_and_cannot_be_clicked(tmp_path: Path) -> None:
    formula = '=HYPERLINK("http://x","bấm vào đây")'
    parsed = Page(page(write_receipt(tmp_path, RECEIPT, rejections({"value": formula}) * 2)))
    assert formula not in parsed.text, "without a rule by the ledger there is nothing to mend"
    parsed = Page(page(write_receipt(tmp_path, replace(RECEIPT, by_rule=[by_rule()]), rejections({"value": formula}))))
    assert formula in parsed.text
    assert {attributes["href"] for tag, attributes in parsed.tags if tag == "a"} == {"rejected.csv", "receipt.json"}


def test_the_page_runs_nothing_and_loads_nothing(tmp_path: Path) -> None:
    text = page(write_receipt(tmp_path, replace(RECEIPT, by_rule=[by_rule()], reconciliations=[total("T", 1, 2)]), rejections({})))
    tags = Page(text).tags
    assert not {"script", "link", "iframe", "img", "object", "form", "base"} & {tag for tag, _ in tags}
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on") or name == "src"]
    assert not re.search(r"url\(|@import|https?:", text)


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({"state": "received", "lines_read": None}, "received"),
        ({"lines_loaded": 1_000, "lines_rejected": 0}, "loaded"),
        ({"state": "loaded"}, "loaded-in-part"),
        ({}, "loaded-in-part"),
        ({"state": "held", "lines_loaded": 0, "lines_waiting": 998}, "held"),
        ({"state": "returned", "lines_loaded": 0, "lines_rejected": 1_000}, "returned"),
        ({"state": "returned", "lines_read": 0, "lines_loaded": 0, "lines_rejected": 0}, "returned-unread"),
        ({"state": "superseded"}, "superseded"),
    ],
)
def test_each_state_has_its_verdict_in_words_and_says_what_to_do(tmp_path: Path, change: dict[str, Any], outcome: str) -> None:
    folder = write_receipt(tmp_path, replace(RECEIPT, delivery=replace(DELIVERY, **change)), [])
    shown = Page(page(folder))
    assert facts(folder)["outcome"]["name"] == outcome
    assert f"{OUTCOMES[outcome].vi} {OUTCOMES[outcome].en}" in shown.words and "Việc cần làm" in shown.words
    assert "{" not in Page(re.sub(r"<style>.*?</style>", "", page(folder), flags=re.DOTALL)).text
    assert ("Số dòng Lines" in shown.words) == bool(facts(folder)["lines"]["read"])


def test_a_frequent_fault_does_not_hide_a_rare_one(tmp_path: Path) -> None:
    many: Iterable[dict[str, Any]] = ({"line": n, "value": "many"} for n in range(2, 5_000))
    batches = rejections(*many) + rejections({"line": 7_000, "rule": "rare", "value": "needle"})
    receipt = replace(RECEIPT, by_rule=[by_rule(lines=4_998), by_rule("rare")])
    shown = Page(page(write_receipt(tmp_path, receipt, batches)))
    assert "needle" in shown.text and shown.text.count("many") == SAMPLE_ROWS - 1


def test_warnings_stand_apart_from_what_must_be_mended(tmp_path: Path) -> None:
    receipt = replace(RECEIPT, by_rule=[by_rule(), by_rule("late", severity="warning")])
    words = Page(
        page(write_receipt(tmp_path, receipt, rejections({"value": "must"}, {"rule": "late", "severity": "warning", "value": "may"})))
    ).words
    assert words.index("Phải sửa") < words.index("must") < words.index("Nên xem lại") < words.index("may")


def test_an_empty_cell_is_called_empty_but_not_one_whose_value_is_not_kept(tmp_path: Path) -> None:
    receipt = replace(RECEIPT, by_rule=[by_rule()])
    assert "(trống)" in Page(page(write_receipt(tmp_path, receipt, rejections({"value": None})))).text
    assert "(trống)" not in Page(page(write_receipt(tmp_path, receipt, rejections({"field": "citizen", "value": None})))).text


def test_totals_stand_beside_each_other_with_their_difference_in_words(tmp_path: Path) -> None:
    receipt = replace(RECEIPT, reconciliations=[total("Huyện A", 2, 2), total("Tổng số", 1_500_000, 1_250_000.25)])
    words = Page(page(write_receipt(tmp_path, receipt, []))).words
    off, ties = words.index("Tổng số · Phí đã thu (đồng)"), words.index("Huyện A · Phí đã thu (đồng)")
    assert off < ties and "≠ 1 trong 2 số tổng lệch" in words
    assert "1\u202f500\u202f000 1\u202f250\u202f000,25 −249\u202f999,75 ≠ lệch" in words and "2 2 0 ✓ khớp" in words


def test_totals_that_do_not_fit_on_the_page_are_counted(tmp_path: Path) -> None:
    totals = [total(f"Xã {n}", n, n) for n in range(TOTALS_SHOWN + 7)] + [total("Lệch", 1, 2)]
    folder = write_receipt(tmp_path, replace(RECEIPT, reconciliations=totals), [])
    words = Page(page(folder)).words
    assert "Lệch · Phí đã thu" in words and "Còn 8 số tổng nữa" in words and len(facts(folder)["reconciliation"]) == len(totals)


def test_times_are_written_in_the_zone_that_is_asked_for(tmp_path: Path) -> None:
    assert "05/09/2025 02:13 (UTC+07)" in page(write_receipt(tmp_path, RECEIPT, []))
    assert "04/09/2025 21:13 (UTC+02)" in page(write_receipt(tmp_path, replace(RECEIPT, timezone="Europe/Rome"), []))


@pytest.mark.parametrize(
    ("periodicity", "day", "words"),
    [("year", date(2024, 1, 1), "Năm 2024"), ("quarter", date(2025, 4, 1), "Quý 2 năm 2025"), ("month", date(2025, 8, 1), "Tháng 8 năm 2025"), ("day", date(2025, 6, 10), "Ngày 10/06/2025")],
)  # fmt: skip
def test_a_period_is_written_in_words(tmp_path: Path, periodicity: Any, day: date, words: str) -> None:
    receipt = replace(RECEIPT, contract=replace(CONTRACT, periodicity=periodicity), delivery=replace(DELIVERY, period=day))
    assert words in Page(page(write_receipt(tmp_path, receipt, []))).words


def test_the_same_facts_make_the_same_receipt(tmp_path: Path) -> None:
    one, two = (write_receipt(tmp_path / name, replace(RECEIPT, by_rule=[by_rule()]), rejections({})) for name in "ab")
    assert {f.name: f.read_bytes() for f in one.iterdir()} == {f.name: f.read_bytes() for f in two.iterdir()}
