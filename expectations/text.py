"""When two texts are the same word.

Answers for: one normal form for what people type (composed, NBSP as blank, U+00D0 as Đ) and one folded form for comparing
names and headers. Refuses: guessing encodings; text comes here decoded.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# U+00D0/U+00F0 (Eth) and U+0189 (African D) are what old fonts and keyboards leave where Đ is meant.
_ETH = {"Ð": "Đ", "ð": "đ", "Ɖ": "Đ", "ɖ": "đ"}
# Blanks that do not break, and signs that nobody sees: zero byte, byte order mark, soft hyphen, marks of no width and of direction.
_ODD_BLANKS = dict.fromkeys("\u00a0\u2007\u202f", " ") | dict.fromkeys("\x00\ufeff\u00ad\u200b\u200e\u200f\u2060", "")
_REPAIRED = str.maketrans(_ETH | _ODD_BLANKS)
_UNACCENTED = str.maketrans({"đ": "d", "ð": "d", "ɖ": "d", "ı": "i"})  # Unicode knows no mark that could be taken off these
_NOT_WORD = re.compile(r"[\W_]+")


def normalise(text: str) -> str:
    """The text composed (NFC), with Đ repaired, odd blanks as plain blanks, and no blank at either end."""
    return unicodedata.normalize("NFC", text.translate(_REPAIRED)).strip()


@lru_cache(maxsize=1 << 16)
def fold(text: str) -> str:
    """The text in lower case, without accents, its words of letters and digits joined by one blank.

    Idempotent; `fold("  TỔNG THU\\nNSNN (1)") == "tong thu nsnn 1"`.
    """
    base = unicodedata.normalize("NFKD", text.translate(_REPAIRED)).casefold()  # № and 𝐀 have their capitals after NFKD only
    plain = "".join(c for c in unicodedata.normalize("NFKD", base) if not unicodedata.combining(c) and unicodedata.category(c) != "Cf")
    return _NOT_WORD.sub(" ", plain.translate(_UNACCENTED)).strip()
