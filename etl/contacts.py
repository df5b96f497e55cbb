"""Who is told, and through which channels: the file contacts.yaml, which is an installation's own.

Answers for: every mistake names file and line, all of them at once. An address holds secrets, so no message, log or `repr` shows
it: people find a channel by its kind and line, and the ledger by a mark that tells nobody anything.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from expectations.document import Cursor, parse_document, read_text, suggestion
from expectations.faults import Message, SetupFault

if TYPE_CHECKING:
    from apprise import NotifyBase

_ONE_AT_A_TIME = threading.RLock()


@dataclass(frozen=True, slots=True)
class Channel:
    """One way to reach somebody. `mark` stays the same while only the password changes; `place` is where it stands."""

    kind: str
    mark: str
    place: str
    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Contacts:
    """The channels of the operator and of senders; without any, a digest is a file only."""

    operator: tuple[Channel, ...] = ()
    senders: Mapping[str, tuple[Channel, ...]] = field(default_factory=dict)

    def of(self, sender: str | None) -> tuple[Channel, ...]:
        return self.operator if sender is None else self.senders.get(sender, ())


def read_contacts(file: Path, senders: Collection[str] | None = None, *, must_exist: bool = True) -> Contacts:
    """The contacts in a file. `senders` are those that there may be, None when they are not looked at.

    Raises `SetupFault` with every mistake. A file that is not there holds nobody, unless it must exist.
    """
    if not must_exist and not file.exists():
        return Contacts()
    whole = parse_document(read_text(file), file)
    mistakes: list[Message] = []
    operator, found = whole.find("operator"), whole.find("senders")
    whole.done()
    known: dict[str, tuple[Channel, ...]] = {}
    for sender in found.must_be(dict) if found else ():
        place = found.child(sender) if found else whole
        if senders is not None and sender not in senders:
            near = suggestion(sender, sorted(senders))
            mistakes.append(_at(place, f"không có đơn vị gửi «{sender}».{near[0]}", f"there is no sender '{sender}'.{near[1]}"))
            continue
        known[sender] = _channels(place, mistakes)
    contacts = Contacts(_channels(operator, mistakes) if operator else (), known)
    if mistakes:
        raise SetupFault(Message("\n".join(m.vi for m in mistakes), "\n".join(m.en for m in mistakes)), rule="contacts")
    return contacts


def plugin_of(url: str) -> NotifyBase | None:
    """What sends to an address, or None when it is not understood; its complaints, which show the address, are not heard."""
    from apprise import Apprise, AppriseAsset

    with unheard():
        found: NotifyBase | None = Apprise.instantiate(url, asset=AppriseAsset(async_mode=False, secure_logging=True, app_id="ndc"))
    return found


@contextmanager
def unheard() -> Iterator[None]:
    """Nothing is logged meanwhile: libraries of the network write addresses with their tokens, at levels that differ by release."""
    with _ONE_AT_A_TIME:
        before = logging.root.manager.disable
        logging.disable(1_000)  # above every level that there is
        try:
            yield
        finally:
            logging.disable(before)


def _channels(cursor: Cursor, mistakes: list[Message]) -> tuple[Channel, ...]:
    """The channels of a list; two that look alike but for their secrets are told apart by their order."""
    found: list[Channel] = []
    if not isinstance(cursor.value, list):
        mistakes.append(_at(cursor, "cần một danh sách địa chỉ kênh.", "a list of addresses of channels is needed."))
        return ()
    for item in cursor.items():
        plugin = plugin_of(item.value) if isinstance(item.value, str) else None
        if plugin is None:
            mistakes.append(
                _at(
                    item,
                    "không hiểu địa chỉ kênh này; ví dụ: mailtos://user:mật-khẩu@máy-chủ?to=địa-chỉ (xem docs/how-to/notices.md).",
                    "this address of a channel is not understood; for example mailtos://user:password@server?to=address (see docs/how-to/notices.md).",
                )
            )
            continue
        kind = item.value.split("://", 1)[0].lower()
        masked = hashlib.sha256(_masked(plugin).encode()).hexdigest()[:12]
        alike = sum(channel.mark.startswith(f"{kind}-{masked}") for channel in found)
        mark = f"{kind}-{masked}" + (f"-{alike + 1}" if alike else "")
        found.append(Channel(kind, mark, f"{item.file.name}:{item.line} ({kind})", item.value))
    return tuple(found)


def _masked(plugin: NotifyBase) -> str:
    return str(plugin.url(privacy=True))  # type: ignore[no-untyped-call]  # the library's own


def _at(cursor: Cursor, vi: str, en: str) -> Message:
    return Message(f"{cursor.file}:{cursor.line}: {vi}", f"{cursor.file}:{cursor.line}: {en}")
