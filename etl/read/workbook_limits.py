"""Limits of a workbook, proved before it is read: its reader holds a sheet in memory as one rectangle.

Answers for: a stray cell far away, or damage that looks like one, is a fault of that file alone and never ends this process.
"""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
import zlib
from html import unescape
from pathlib import Path

from etl.read.source import damaged
from expectations.faults import Message, SenderFault

MOST_CELLS = 25_000_000
"""A larger sheet is refused: a workbook is held in memory as a whole. It is more than a full sheet of 22 columns."""
MOST_UNPACKED = 1 << 31
_MOST_MEMORY = 4 << 30
_MOST_SECONDS = 600
_PROBE = """
import resource, sys
from python_calamine import CalamineWorkbook
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]), int(sys.argv[2])))
workbook = CalamineWorkbook.from_path(sys.argv[1])
for name in workbook.sheet_names:
    workbook.get_sheet_by_name(name)
"""


def check_limits(file: Path) -> None:
    """Raise `SenderFault` when a sheet is larger than `MOST_CELLS`, or reading the workbook would end the process."""
    if zipfile.is_zipfile(file):
        _check_extent(file)
    try:
        # The reader aborts when memory runs out and no handler sees it; so another process goes first.
        probe = subprocess.run(  # noqa: S603 - our own program; the file's name is an argument of it
            [sys.executable, "-c", _PROBE, str(file.absolute()), str(_MOST_MEMORY)],
            capture_output=True,
            timeout=_MOST_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise damaged(file, f"{_MOST_SECONDS} s") from error
    if probe.returncode < 0:
        raise damaged(file, "memory")


_FILLED = re.compile(rb'<(?:\w+:)?c r="([A-Z]{1,3})(\d{1,7})"[^>]*(?<!/)>')
_FAR = re.compile(rb'<(?:\w+:)?c r="([A-Z]{2,3})\d{1,7}"[^>]*(?<!/)>')


def _check_extent(file: Path) -> None:
    """Name the sheet of an xlsx that reaches too far."""
    try:
        with zipfile.ZipFile(file) as archive:
            if sum(part.file_size for part in archive.infolist() if part.filename.endswith(".xml")) > MOST_UNPACKED:
                raise too_large(file, "XML")
            for part in archive.namelist():
                if part.startswith("xl/worksheets/") and part.endswith(".xml"):
                    height, width = _extent(archive, part)
                    if height * width > MOST_CELLS:
                        raise too_large(file, f"{_sheet_name(archive, part)}: {height} × {width}")
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, NotImplementedError, RuntimeError) as error:
        raise damaged(file, str(error)) from error


def _extent(archive: zipfile.ZipFile, part: str) -> tuple[int, int]:
    """How far the filled cells of a sheet reach. Rows ascend, so the last cells of each block tell its height."""
    height = width = 0
    rest = b""
    with archive.open(part) as stream:
        while block := stream.read(1 << 20):
            block = rest + block
            last = _FILLED.findall(block[-(1 << 16) :]) or _FILLED.findall(block)
            letters = {letters for letters, _ in last} | set(_FAR.findall(block))
            height = max(height, int(last[-1][1]) if last else 0)
            width = max(width, max(map(_column_number, letters), default=0))
            rest = block[-256:]
    return height, width


def _column_number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number


_ELEMENT = re.compile(rb"<(?:\w+:)?(?:sheet|Relationship)\s[^>]*>")
_ATTRIBUTE = re.compile(rb'([\w:]+)="([^"]*)"')


def _sheet_name(archive: zipfile.ZipFile, part: str) -> str:
    """The name of a sheet by its part, found through the workbook's relations."""

    def elements(name: str) -> list[dict[bytes, bytes]]:
        return [dict(_ATTRIBUTE.findall(element)) for element in _ELEMENT.findall(archive.read(name))]

    target = part.removeprefix("xl/").encode()
    ids = {e.get(b"Id") for e in elements("xl/_rels/workbook.xml.rels") if e.get(b"Target", b"").endswith(target)}
    names = [e.get(b"name", b"") for e in elements("xl/workbook.xml") if ids & set(e.values())]
    return unescape(names[0].decode()) if names else part


def too_large(file: Path, what: str) -> SenderFault:
    """The fault of a workbook with more cells than can be held in memory."""
    return SenderFault(
        Message(
            f"Sổ tính «{file.name}» quá lớn ({what}; tối đa {MOST_CELLS} ô). Hãy xoá các ô thừa ở xa bảng, hoặc gửi CSV UTF-8.",
            f"The workbook '{file.name}' is too large ({what}; at most {MOST_CELLS} cells). Delete stray cells far from the table, or send CSV UTF-8.",
        ),
        rule="too-large",
    )
