"""What a file really is, by its bytes and never by its name, and how its text is encoded.

Answers for: a file that is no table of a known kind is refused at once, with what it is and how to mend it. UTF-8 is proved over
the whole file before another encoding is thought of. Refuses: guessing among encodings that a province would not use.
"""

from __future__ import annotations

import codecs
import io
import mmap
import re
import struct
import unicodedata
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import pyarrow as pa

from expectations.faults import Message, SenderFault

Format = Literal["csv", "workbook", "json", "parquet"]

_BLOCK = 1 << 20
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_KNOWN_KINDS = {
    b"%PDF": "PDF",
    b"\x1f\x8b": "gzip",
    b"Rar!": "RAR",
    b"7z\xbc\xaf": "7-Zip",
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"{\\rtf": "RTF",
}
_CONTROLS = [chr(code) for code in range(9)]
_MARKUP = re.compile(rb"\s*<(!doctype|html|head|body|meta|table|style|script|div|\?xml|!--)", re.IGNORECASE)
_STRAY_TONE = re.compile("(?<![aăâeêioôơuưyAĂÂEÊIOÔƠUƯY])[\u0300\u0301\u0303\u0309\u0323]")


@dataclass(frozen=True, slots=True)
class Source:
    """A file of a known kind. For text, its encoding, and whether its last line is ended by a line break."""

    file: Path
    format: Format
    encoding: str | None = None
    is_ended: bool = True

    @property
    def is_utf8(self) -> bool:
        return self.encoding == "utf-8"


def identify(file: Path) -> Source:
    """What the file is. Raises `SenderFault` for what is no table: empty, a folder, protected, damaged, markup, another kind."""
    if file.is_dir():
        raise _fault("folder", f"«{file.name}» là thư mục.", f"'{file.name}' is a folder.", "Hãy gửi một tệp.", "Send one file.")
    with file.open("rb") as stream:
        head = stream.read(_BLOCK)
    if not head:
        raise _empty(file)
    if head.startswith(b"PAR1"):
        return Source(file, "parquet")
    if head.startswith(b"PK"):
        return Source(file, _kind_of_zip(file))
    if head.startswith(_OLE):
        return Source(file, _kind_of_ole(file))
    for magic, name in _KNOWN_KINDS.items():
        if head.startswith(magic):
            raise _other_kind(file, name)
    return _text(file, head)


def open_utf8(source: Source) -> BinaryIO:
    """The text of a source as UTF-8 bytes without byte order mark; what was typed in pieces is composed (NFC)."""
    if source.is_utf8:
        stream = source.file.open("rb")
        if stream.read(3) != codecs.BOM_UTF8:
            stream.seek(0)
        return stream
    return cast(BinaryIO, io.BufferedReader(_Recoded(source), _BLOCK))


# ---------------------------------------------------------------- text


def _text(file: Path, head: bytes) -> Source:
    encoding = _encoding(file, head)
    source = Source(file, "csv", encoding)
    with open_utf8(source) as stream:
        start = stream.read(4096)
        if not start.strip() and not any(block.strip() for block in iter(lambda: stream.read(_BLOCK), b"")):
            raise _empty(file)
    if _MARKUP.match(start):
        raise _fault(
            "markup",
            f"«{file.name}» là trang web (HTML) hoặc XML, không phải bảng dữ liệu.",
            f"'{file.name}' is a web page (HTML) or XML, not a table.",
            "Hãy mở bằng Excel rồi lưu lại dạng .xlsx hoặc CSV UTF-8.",
            "Open it in a spreadsheet and save it as .xlsx or CSV UTF-8.",
        )
    is_json = re.match(rb'\s*(\{\s*["}]|\[\s*[{\["\d\]-]|\[\s*(?:true|false|null)\b)', start) is not None
    with file.open("rb") as stream:
        stream.seek(-min(2, file.stat().st_size), io.SEEK_END)
        is_ended = any(byte in b"\r\n" for byte in stream.read())
    return Source(file, "json" if is_json else "csv", encoding, is_ended)


def _encoding(file: Path, head: bytes) -> str:
    for mark, name in ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if head.startswith(mark):
            encoding = name
            break
    else:
        encoding = _without_mark(head)
    sample = head.decode(encoding, "ignore")
    if sum(sample.count(control) for control in _CONTROLS) > len(sample) // 50:
        raise _other_kind(file, None)
    if encoding != "utf-8":
        _decodes(file, encoding)
        return encoding
    return encoding if _is_utf8(file) else _legacy(file)


def _without_mark(head: bytes) -> str:
    """UTF-16 without a mark shows as NULs in every other place of its ASCII characters."""
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if odd > len(head) // 8 and odd > 4 * even:
        return "utf-16-le"
    if even > len(head) // 8 and even > 4 * odd:
        return "utf-16-be"
    return "utf-8"


def _is_utf8(file: Path) -> bool:
    """Whether the whole file is UTF-8, at the speed of Arrow's own check."""
    rest = b""
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            block = rest + block
            cut = len(block)
            for back in range(1, min(4, cut) + 1):  # a character may straddle two blocks
                if block[-back] & 0xC0 != 0x80:
                    cut -= back if block[-back] >= 0xC0 else 0
                    break
            rest = block[cut:]
            if not _is_valid(block[:cut]):
                return False
    return _is_valid(rest)


def _is_valid(block: bytes) -> bool:
    offsets = pa.py_buffer(struct.pack("=ii", 0, len(block)))
    try:
        pa.Array.from_buffers(pa.string(), 1, [None, offsets, pa.py_buffer(block)]).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _decodes(file: Path, encoding: str) -> None:
    try:
        for _ in _pieces(file, encoding):
            pass
    except UnicodeError as error:
        raise _fault(
            "encoding",
            f"«{file.name}»: bảng mã {encoding} bị hỏng ({error}).",
            f"'{file.name}': damaged {encoding} text ({error}).",
            "Hãy lưu lại dạng CSV UTF-8.",
            "Save it as CSV UTF-8.",
        ) from error


def _legacy(file: Path) -> str:
    """windows-1258, unless a tone mark would stand where no vowel precedes it: then windows-1252 shares the other letters.

    A file that is UTF-8 almost everywhere is damaged UTF-8; read as anything else it would be nonsense without a complaint.
    """
    line = _where_utf8_breaks(file)
    if line is None:
        for encoding in ("windows-1258", "windows-1252"):
            if _is_written_in(file, encoding):
                return encoding
    where_vi, where_en = (f" (từ dòng {line})", f" (from line {line})") if line is not None else ("", "")
    raise _fault(
        "encoding",
        f"«{file.name}»: chữ không phải UTF-8{where_vi}, cũng không phải windows-1258.",
        f"'{file.name}': its text is not UTF-8{where_en}, nor windows-1258.",
        "Hãy lưu lại dạng CSV UTF-8.",
        "Save it as CSV UTF-8.",
    )


def _where_utf8_breaks(file: Path) -> int | None:
    """The line of the first damage in a text that is UTF-8 almost everywhere, or None when it is another encoding."""
    first, line, bad, good = 1, 1, 0, 0
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            text = decoder.decode(block)
            if not bad and "\ufffd" in text:
                first = line + text[: text.index("\ufffd")].count("\n")
            bad += text.count("\ufffd")
            good += len(text.encode()) - len(text)
            line += text.count("\n")
    return first if good > 12 * bad else None  # a damaged place counts 2 itself, and a letter of a good text 1 or 2


def _is_written_in(file: Path, encoding: str) -> bool:
    last = ""
    try:
        for text in _pieces(file, encoding):
            if _STRAY_TONE.search(last + text):
                return False
            last = text[-1:]
    except UnicodeError:
        return False
    return True


def _pieces(file: Path, encoding: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            yield decoder.decode(block)
        yield decoder.decode(b"", final=True)


class _Recoded(io.RawIOBase):
    """A text file read as UTF-8 in NFC. Text is passed on line by line, so that no character is composed across a cut."""

    def __init__(self, source: Source) -> None:
        assert source.encoding is not None
        self._pieces: Iterator[str] | None = _pieces(source.file, source.encoding)
        self._waiting, self._ready = "", b""

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        while not self._ready and self._pieces is not None:
            piece = next(self._pieces, None)
            if piece is None:
                self._pieces, text = None, self._waiting
            else:
                text = self._waiting + piece
                end = max(text.rfind("\n"), text.rfind("\r")) + 1
                text, self._waiting = text[:end], text[end:]
            self._ready = unicodedata.normalize("NFC", text).removeprefix("\ufeff").encode()
        size = min(len(target), len(self._ready))
        target[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size


# ---------------------------------------------------------------- containers


def _kind_of_zip(file: Path) -> Format:
    try:
        with zipfile.ZipFile(file) as archive:
            names = set(archive.namelist())
            kind = archive.read("mimetype")[:80] if "mimetype" in names else b""
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise damaged(file, str(error)) from error
    if "xl/workbook.xml" in names or b"opendocument.spreadsheet" in kind:
        return "workbook"
    raise _other_kind(file, "XLSB" if "xl/workbook.bin" in names else "DOCX" if "word/document.xml" in names else "ZIP")


def _kind_of_ole(file: Path) -> Format:
    """An old workbook, unless the container's directory names something else: names there are UTF-16."""
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        has = {name: content.find(name.encode("utf-16-le")) >= 0 for name in ("EncryptedPackage", "Workbook", "Book", "WordDocument")}
    if has["EncryptedPackage"]:
        raise protected(file)
    if has["WordDocument"] or not (has["Workbook"] or has["Book"]):
        raise _other_kind(file, "DOC" if has["WordDocument"] else "OLE")
    return "workbook"


# ---------------------------------------------------------------- faults


def _fault(rule: str, vi: str, en: str, mend_vi: str, mend_en: str) -> SenderFault:
    return SenderFault(Message(f"{vi} {mend_vi}", f"{en} {mend_en}"), rule=rule)


def _empty(file: Path) -> SenderFault:
    return _fault(
        "empty",
        f"Tệp «{file.name}» trống.",
        f"The file '{file.name}' is empty.",
        "Hãy xuất lại dữ liệu rồi gửi.",
        "Export the data again and send it.",
    )


def _other_kind(file: Path, kind: str | None) -> SenderFault:
    return _fault(
        "format",
        f"Tệp «{file.name}» là {kind or 'tệp nhị phân lạ'}, không đọc được.",
        f"The file '{file.name}' is {kind or 'of an unknown binary kind'} and cannot be read.",
        "Hãy gửi CSV (UTF-8), .xlsx, .xls, .ods, JSON hoặc Parquet, không nén.",
        "Send CSV (UTF-8), .xlsx, .xls, .ods, JSON or Parquet, not packed.",
    )


def protected(file: Path) -> SenderFault:
    """The fault of a workbook that only a password opens."""
    return _fault(
        "protected",
        f"Sổ tính «{file.name}» có mật khẩu.",
        f"The workbook '{file.name}' is protected by a password.",
        "Hãy bỏ mật khẩu rồi gửi lại.",
        "Remove the password and send it again.",
    )


def damaged(file: Path, detail: str) -> SenderFault:
    """The fault of a file that begins like a known kind and cannot be read to its end."""
    return _fault(
        "damaged",
        f"Tệp «{file.name}» bị hỏng hoặc chưa chép xong ({detail[:120]}).",
        f"The file '{file.name}' is damaged or was not copied to its end ({detail[:120]}).",
        "Hãy mở và lưu lại, rồi gửi lại.",
        "Open it, save it and send it again.",
    )
