"""What a file is, by its bytes, and how its text is encoded."""

from __future__ import annotations

import unicodedata
import zipfile
from pathlib import Path

import pytest
import xlwt
from openpyxl import Workbook
from xlwt import CompoundDoc

from etl.read.source import identify, open_utf8
from expectations.faults import SenderFault
from tests.etl.read.reading import cells, contract_of, read

TABLE = "Tỉnh,Dân số\nBình Định,1487\nĐà Nẵng,1169\n"


def write(folder: Path, name: str, content: bytes) -> Path:
    file = folder / name
    file.write_bytes(content)
    return file


def workbook_bytes(folder: Path) -> bytes:
    book = Workbook()
    book.active.append(["Tỉnh", "Dân số"])
    book.save(folder / "book")
    return (folder / "book").read_bytes()


@pytest.mark.parametrize("content", [b"", b"   \r\n\t\n", b"\xef\xbb\xbf", b"\xff\xfe"])
def test_a_file_of_nothing_but_blanks_is_empty(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(SenderFault) as fault:
        identify(write(tmp_path, "a.csv", content))
    assert fault.value.rule == "empty"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SenderFault) as fault:
        identify(tmp_path)
    assert fault.value.rule == "folder"


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"<html><table><tr><td>1</td></tr></table></html>", "markup"),
        (b"\xef\xbb\xbf\n <!DOCTYPE html>", "markup"),
        (b"<?xml version='1.0'?><Workbook/>", "markup"),
        (b"%PDF-1.7\n", "format"),
        (b"\x1f\x8b\x08\x00", "format"),
        (b"\x00\x01\x02\x03" * 64, "format"),
        (b"PK\x03\x04 not an archive", "damaged"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "WordDocument".encode("utf-16-le"), "format"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"), "protected"),
    ],
)
def test_what_is_no_table_is_refused_by_its_bytes_whatever_its_name(tmp_path: Path, content: bytes, rule: str) -> None:
    with pytest.raises(SenderFault) as fault:
        identify(write(tmp_path, "table.csv", content))
    assert fault.value.rule == rule
    assert fault.value.message.vi
    assert fault.value.message.en


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w") as archive:
        archive.writestr("a.csv", TABLE)
    with pytest.raises(SenderFault) as fault:
        identify(tmp_path / "a.xlsx")
    assert fault.value.rule == "format"


def test_a_workbook_named_csv_is_read_as_a_workbook(tmp_path: Path) -> None:
    assert identify(write(tmp_path, "a.csv", workbook_bytes(tmp_path))).format == "workbook"


def test_a_workbook_cut_short_is_damaged(tmp_path: Path) -> None:
    content = workbook_bytes(tmp_path)
    with pytest.raises(SenderFault) as fault:
        identify(write(tmp_path, "a.xlsx", content[: len(content) // 2]))
    assert fault.value.rule == "damaged"


def test_an_old_workbook_cut_short_is_damaged(tmp_path: Path) -> None:
    book = xlwt.Workbook()
    sheet = book.add_sheet("a")
    for line in range(3000):
        sheet.write(line, 0, f"text {line}")
    book.save(tmp_path / "whole.xls")
    content = (tmp_path / "whole.xls").read_bytes()
    for size in (len(content) // 2, 3000):
        with pytest.raises(SenderFault) as fault:
            read(write(tmp_path, "a.xls", content[:size]), contract_of(tmp_path))
        assert fault.value.rule in ("damaged", "format")


def test_an_old_workbook_with_a_password_is_protected(tmp_path: Path) -> None:
    book = xlwt.Workbook()
    book.add_sheet("a").write(0, 0, "Tỉnh")
    stream = book.get_biff_data()
    first = 4 + int.from_bytes(stream[2:4], "little")
    lock = b"\x2f\x00\x36\x00\x01\x00\x01\x00\x01\x00" + bytes(48)
    CompoundDoc.XlsDoc().save(str(tmp_path / "a.xls"), stream[:first] + lock + stream[first:])
    with pytest.raises(SenderFault) as fault:
        read(tmp_path / "a.xls", contract_of(tmp_path))
    assert fault.value.rule == "protected"


@pytest.mark.parametrize(
    ("encoding", "named"),
    [("utf-8", "utf-8"), ("utf-8-sig", "utf-8"), ("utf-16", "utf-16"), ("utf-16-le", "utf-16-le"), ("utf-16-be", "utf-16-be")],
)
def test_the_same_cells_come_out_of_every_encoding(tmp_path: Path, encoding: str, named: str) -> None:
    table, batches = read(write(tmp_path, "a.csv", TABLE.encode(encoding)), contract_of(tmp_path))
    assert cells(batches, "province") == ["Bình Định", "Đà Nẵng"]
    assert table.encoding == named
    assert table.repairs == ({} if named == "utf-8" else {"encoding": 1})


def as_windows_1258(text: str) -> bytes:
    """As the code page writes it: letters with their own mark, tones as marks of their own."""
    out = ""
    for letter in text:
        base = unicodedata.normalize("NFD", letter)
        tone = [mark for mark in base if mark in "\u0300\u0301\u0303\u0309\u0323"]
        out += unicodedata.normalize("NFC", "".join(mark for mark in base if mark not in tone)) + "".join(tone)
    return out.encode("cp1258")


def test_windows_1258_is_read_and_composed(tmp_path: Path) -> None:
    table, batches = read(write(tmp_path, "a.csv", as_windows_1258(TABLE)), contract_of(tmp_path))
    assert cells(batches, "province") == ["Bình Định", "Đà Nẵng"]
    assert (table.encoding, table.repairs) == ("windows-1258", {"encoding": 1})


def test_a_tone_that_no_vowel_carries_tells_the_western_code_page(tmp_path: Path) -> None:
    table, batches = read(
        write(tmp_path, "a.csv", "Tỉnh,Dân số\nx,1\n".encode().decode("latin-1").encode("latin-1")), contract_of(tmp_path)
    )
    assert table.encoding == "utf-8"
    contract = contract_of(tmp_path, {"name": "province", "logicalType": "string", "required": True})
    table, batches = read(write(tmp_path, "b.csv", "province\nForlì\nCefalù\n".encode("cp1252")), contract)
    assert cells(batches, "province") == ["Forlì", "Cefalù"]
    assert table.encoding == "windows-1252"


def test_no_character_is_lost_where_blocks_meet(tmp_path: Path) -> None:
    rows = "".join(f"Bà Rịa - Vũng Tàu {n}ộ,{n}\n" for n in range(60_000))
    for encoding in ("utf-8", "utf-16"):
        source = identify(write(tmp_path, "a.csv", ("Tỉnh,Dân số\n" + rows).encode(encoding)))
        with open_utf8(source) as stream:
            assert stream.read().decode() == "Tỉnh,Dân số\n" + rows


def test_one_bad_byte_at_the_end_of_a_large_file_is_not_taken_for_utf_8(tmp_path: Path) -> None:
    content = ("Ti,D\n" + "a,1\n" * 500_000).encode() + b"\xe0"
    assert identify(write(tmp_path, "a.csv", content)).encoding == "windows-1258"


def test_damaged_utf_8_is_not_read_as_anything_else(tmp_path: Path) -> None:
    content = TABLE.encode() * 20
    for bad in (b"\xff", b"\xe1\x22", b"\x80"):
        with pytest.raises(SenderFault, match=r"not UTF-8 \(from line 61\)") as fault:
            identify(write(tmp_path, "a.csv", content + bad + content))
        assert fault.value.rule == "encoding"


def test_bytes_of_no_known_encoding_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SenderFault, match="nor windows-1258") as fault:
        identify(write(tmp_path, "a.csv", b"T\x81nh,D\x9dn s\x90\n"))
    assert fault.value.rule == "encoding"
