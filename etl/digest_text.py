"""A digest in words: a subject line that says the essential, a text for a phone, and the same as a simple page.

Answers for: both languages say the same, and what is capped says so. Refuses: anything that is not in the digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from etl.digest import OUTCOMES, Cause, Digest, Entry, Failure, Late, shortened
from expectations.faults import Message

if TYPE_CHECKING:
    import jinja2

Language = Literal["vi", "en"]
LISTED, CAUSES = 10, 3
"""How many things a part of a digest lists, and how many rules of one delivery: the rest is counted, and stands in the receipts."""

_COUNTED: Mapping[str, Message] = {
    "trouble": Message("sự cố", "trouble"),
    "unsent": Message("tin chưa gửi được", "not sent"),
    "returned": Message("trả lại", "returned"),
    "held": Message("tạm giữ", "held"),
    "overdue": Message("quá hạn", "overdue"),
    "in-part": Message("nhận một phần", "in part"),
    "accepted": Message("nhận", "accepted"),
    "superseded": Message("được thay thế", "replaced"),
}
_REASONS: Mapping[str, Message] = {
    "tolerance": Message("quá nhiều dòng lỗi", "too many faulty lines"),
    "cut": Message("tệp có thể bị cắt", "the file may be cut"),
    "empty": Message("không có dòng nào", "no lines"),
    "volume": Message("số dòng khác thường", "an unusual number of lines"),
    "header": Message("tiêu đề cột không khớp", "headings that do not fit"),
    "sheet": Message("không thấy trang tính", "the sheet was not found"),
    "file-name": Message("tên tệp không đúng mẫu", "the file's name does not fit"),
    "unknown-dataset": Message("không rõ tập dữ liệu", "the dataset is not known"),
    "wrong-sender": Message("đơn vị khác gửi tập này", "another sender's dataset"),
    "wrong-province": Message("không phải tỉnh của đơn vị gửi", "a province of another sender"),
    "wrong-period": Message("kỳ báo cáo không đúng", "not the period it should be"),
    "future-period": Message("kỳ báo cáo chưa kết thúc", "a period that has not ended"),
    "too-large": Message("tệp quá lớn", "the file is too large"),
    "rejected-by-person": Message("trung tâm không chấp nhận", "refused by the centre"),
}
"""Reasons in a few words. The receipt has the sentence with its figures."""


@dataclass(frozen=True, slots=True)
class Words:
    """A digest as it is sent."""

    subject: str
    body: str
    page: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """One thing: its first line, what explains it, and where to act on it. `tone` is a colour: bad, wait or good."""

    head: str
    lines: tuple[str, ...] = ()
    tone: str = ""
    link: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """Things of one kind under a title; those of them that are not listed are counted in `more`."""

    title: str
    paragraphs: tuple[Paragraph, ...]
    more: str = ""


@dataclass(frozen=True, slots=True)
class Side:
    """The whole digest in one language."""

    language: Language
    title: str
    summary: str
    parts: tuple[Part, ...]
    end: str


def in_words(digest: Digest, link: str | None = None) -> Words:
    """The digest in both languages. `link` is where the status pages lie, for the operator; it carries no data."""
    sides = tuple(_side(digest, language, link) for language in ("vi", "en"))
    subject = f"ndc {digest.night:%d/%m}: {sides[0].summary} · {sides[1].summary}"
    body = "\n\n".join("\n".join(_lines(side)) for side in sides) + "\n"
    return Words(subject, body, _template().render(sides=sides, subject=subject))


def _side(digest: Digest, language: Language, link: str | None) -> Side:
    is_vi, is_operator = language == "vi", digest.sender is None
    whole = [
        _part("Sự cố" if is_vi else "Trouble", [_failure(one, language) for one in digest.troubles], language),
        _part("Bản tin chưa gửi được" if is_vi else "Notices not sent", [_failure(one, language) for one in digest.unsent], language),
        _part("Các đợt gửi" if is_vi else "Deliveries", [_entry(one, digest, language, link) for one in digest.entries], language),
        _part("Quá hạn" if is_vi else "Overdue", [_late(one, digest, language) for one in digest.late], language),
        _part("Theo tập dữ liệu" if is_vi else "By dataset", _totals(digest, language), language),
    ]
    name = ("Trung tâm" if is_vi else "The centre") if is_operator else digest.name
    receipts = "Biên nhận nằm trong hộp trả của đơn vị." if is_vi else "Receipts lie in your outbox."
    return Side(
        language,
        f"{name} · {'đêm' if is_vi else 'night of'} {digest.night:%d/%m/%Y}",
        _summary(digest, language),
        tuple(part for part in whole if part.paragraphs),
        (link or "") if is_operator else receipts if digest.entries else "",
    )


def _summary(digest: Digest, language: Language) -> str:
    """What there is of each kind, the most urgent first."""
    counts = {"trouble": len(digest.troubles), "unsent": len(digest.unsent), "overdue": len(digest.late)}
    for outcome in OUTCOMES:
        told = sum(totals.get(outcome, 0) for totals in digest.totals.values())
        counts[outcome] = max(told, sum(entry.outcome == outcome for entry in digest.entries))
    return ", ".join(f"{counts[name]} {_in(words, language)}" for name, words in _COUNTED.items() if counts[name])


def _part(title: str, paragraphs: list[Paragraph], language: Language) -> Part:
    left = len(paragraphs) - LISTED
    more = "" if left <= 0 else f"… và {left} nữa" if language == "vi" else f"… and {left} more"
    return Part(title, tuple(paragraphs[:LISTED]), more)


# ---------------------------------------------------------------- one thing


def _entry(entry: Entry, digest: Digest, language: Language, link: str | None) -> Paragraph:
    is_vi, is_operator = language == "vi", digest.sender is None
    name = entry.label if is_vi else entry.dataset or entry.label
    number = f"đợt gửi {entry.delivery_id}" if is_vi else f"delivery {entry.delivery_id}"
    what = " ".join(filter(None, (name, entry.period)))
    who = f"{entry.sender_name} ({entry.sender}), " if is_operator else ""
    head = f"{_in(_COUNTED[entry.outcome], language).upper()}: {who}{what}, {number}{_repeated(entry.nights, language)}"
    lines = [_counts(entry, language), *_causes(entry.causes, language)]
    if is_operator:
        lines.append(_command(entry))
    else:
        lines.append(("biên nhận: " if is_vi else "receipt: ") + entry.receipt)
    tone = {"returned": "bad", "held": "wait", "in-part": "wait"}.get(entry.outcome, "good")
    return Paragraph(
        head, tuple(filter(None, lines)), tone, f"{link.rstrip('/')}/deliveries/{entry.delivery_id}" if link and is_operator else ""
    )


def _counts(entry: Entry, language: Language) -> str:
    if not entry.read:
        return ""
    words = (
        ("đọc", "nạp", "từ chối", "chờ") if language == "vi" else ("read", "loaded", "rejected", "waiting"),
        (entry.read, entry.loaded, entry.rejected, entry.waiting),
    )
    counted = ", ".join(f"{word} {count:,}" for word, count in zip(*words, strict=True) if count or word in ("đọc", "read"))
    return f"{'dòng' if language == 'vi' else 'lines'}: {counted}"


def _causes(causes: tuple[Cause, ...], language: Language) -> Iterator[str]:
    for cause in causes[:CAUSES]:
        said = cause.words or _REASONS.get(cause.rule)
        words = _in(said, language).rstrip(".") if said else cause.label if language == "vi" else None
        yield "- " + (f"{words} ({cause.rule})" if words else cause.rule) + (f" ×{cause.lines:,}" if cause.lines is not None else "")
    if len(causes) > CAUSES:
        left = len(causes) - CAUSES
        yield f"- … và {left} quy tắc nữa" if language == "vi" else f"- … and {left} more rules"


def _command(entry: Entry) -> str:
    if entry.outcome == "held":
        return f'ndc approve {entry.delivery_id} --reason "…" | ndc reject {entry.delivery_id} --reason "…"'
    return f"ndc rejections {entry.delivery_id}"


def _late(late: Late, digest: Digest, language: Language) -> Paragraph:
    is_vi = language == "vi"
    who = f"{late.sender_name} ({late.sender}), " if late.sender != digest.sender else ""
    due = f"hạn {late.due:%d/%m/%Y}" if is_vi else f"due {late.due:%d/%m/%Y}"
    return Paragraph(f"{who}{late.label if is_vi else late.dataset} {late.period}, {due}{_repeated(late.nights, language)}", tone="bad")


def _failure(failure: Failure, language: Language) -> Paragraph:
    head = shortened(failure.where, 100) + _repeated(failure.nights, language)
    return Paragraph(head, (_in(failure.message, language),), "bad")


def _totals(digest: Digest, language: Language) -> list[Paragraph]:
    return [
        Paragraph(f"{dataset}: " + ", ".join(f"{count} {_in(_COUNTED[outcome], language)}" for outcome, count in totals.items()))
        for dataset, totals in digest.totals.items()
    ]


def _repeated(nights: int, language: Language) -> str:
    """Nothing the first time."""
    if nights == 1:
        return ""
    return f" — lặp lại, từ {nights} đêm" if language == "vi" else f" — again, since {nights} nights"


def _in(message: Message, language: Language) -> str:
    return message.vi if language == "vi" else message.en


# ---------------------------------------------------------------- text and page


def _lines(side: Side) -> Iterable[str]:
    yield side.title
    yield side.summary
    for part in side.parts:
        yield ""
        yield part.title.upper()
        for paragraph in part.paragraphs:
            yield paragraph.head
            yield from (f"  {line}" for line in (*paragraph.lines, paragraph.link) if line)
        if part.more:
            yield part.more
    if side.end:
        yield ""
        yield side.end


@cache
def _template() -> jinja2.Template:
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    pages = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return pages.get_template("digest.html.j2")
