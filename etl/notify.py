"""Notices: the night's digests, written as files and sent through the channels in contacts.yaml.

Answers for: one digest for a sender and night; each is a file first, and goes to every channel once. It is in the ledger before it
is sent and each channel is noted at once, so a later run sends to those that failed and to no other; a crash in the moment between
a server's yes and our note sends one mail twice, never none. A channel that fails is bad luck and fails nothing.
Refuses: addresses in messages and logs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from etl.contacts import Channel, Contacts, plugin_of, read_contacts, unheard
from etl.digest import Digest, Unsent, night_of, operator_digest, sender_digests
from etl.digest_text import Words, in_words
from etl.store import flush
from expectations.document import suggestion
from expectations.faults import Message, SetupFault
from warehouse import notices
from warehouse.notices import Notice

if TYPE_CHECKING:
    from etl.run import Trouble
    from etl.settings import Settings
    from etl.site import Site
    from warehouse.engine import Connection

RETRY_NIGHTS = 7
"""A digest that has not reached a channel for so long is news no more; its file remains."""


@dataclass(frozen=True, slots=True)
class Sending:
    """What became of one digest. `sent`, `failed` and `given_up` are the places of channels in the contacts; `sender` is None
    for the operator; `file` is None where it could not be written, and then it is tried again as a channel is."""

    sender: str | None
    subject: str
    file: Path | None
    sent: tuple[str, ...] = ()
    failed: tuple[Unsent, ...] = ()
    given_up: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        return self.file is not None and not self.failed


@dataclass(frozen=True, slots=True)
class Draft:
    """A digest that would go out: to whom, in which words, through which channels."""

    digest: Digest
    words: Words
    channels: tuple[str, ...]


def contacts_of(site: Site) -> Contacts:
    """The contacts of an installation. Raises `SetupFault` with file and line of every mistake."""
    return read_contacts(site.settings.contacts_file, _senders(site), must_exist=site.settings.contacts is not None)


def draft_notices(site: Site, now: datetime, trouble: Sequence[Trouble] = (), only: str | None = None) -> list[Draft]:
    """What `send_notices` would send now; nothing is changed."""
    contacts = contacts_of(site)
    _check_sender(site, only)
    with site.warehouse.transaction() as connection:
        found: list[Digest] = list(sender_digests(site, connection, now, only))
        if only is None and (one := operator_digest(site, connection, now, trouble)):
            found.append(one)
    link = site.settings.link
    return [Draft(digest, in_words(digest, link), tuple(c.place for c in contacts.of(digest.sender))) for digest in found]


def send_notices(site: Site, now: Callable[[], datetime], trouble: Sequence[Trouble] = (), only: str | None = None) -> list[Sending]:
    """Finish what earlier runs left, then tell each sender what is new, and the operator last, with the channels that failed.

    `only` is a sender: then nobody else is told anything. Raises `SetupFault` for wrong contacts, before anything is sent,
    and `MachineFault` when the warehouse does not answer.
    """
    contacts = contacts_of(site)
    _check_sender(site, only)
    done = list(_finish_earlier(site, contacts, now, only))
    with site.warehouse.transaction() as connection:
        notices.lock(connection)
        new = [_enter(site, connection, digest, now()) for digest in sender_digests(site, connection, now(), only)]
    done += [sending for notice in new if (sending := _send(site, contacts, notice, now))]
    if only is not None:
        return done
    unsent = [one for sending in done for one in sending.failed]
    with site.warehouse.transaction() as connection:
        notices.lock(connection)
        digest = operator_digest(site, connection, now(), trouble, unsent)
        last = _enter(site, connection, digest, now()) if digest else None
    if last and (sending := _send(site, contacts, last, now)):
        done.append(sending)
    return done


def tell_operator(settings: Settings, subject: str, text: str) -> list[str]:
    """Send some words to the operator's channels at once, with no warehouse; returns the places of those that failed.

    Raises `SetupFault` when the contacts cannot be read.
    """
    channels = read_contacts(settings.contacts_file, must_exist=settings.contacts is not None).operator
    return [channel.place for channel in channels if not _send_to(channel, subject, text, None)]


def _senders(site: Site) -> set[str]:
    return {*site.registry.ids, *(c.sender for c in site.contracts.values() if c.is_central)}


def _check_sender(site: Site, only: str | None) -> None:
    if only is not None and only not in (known := _senders(site)):
        near = suggestion(only, sorted(known))
        raise SetupFault(Message(f"Không có đơn vị gửi «{only}».{near[0]}", f"There is no sender '{only}'.{near[1]}"), rule="no-sender")


# ---------------------------------------------------------------- one digest


def _enter(site: Site, connection: Connection, digest: Digest, at: datetime) -> Notice:
    words = in_words(digest, site.settings.link)
    return notices.enter(connection, digest.night, digest.sender, digest.nth, (words.subject, words.body, words.page), digest.items, at)


def _finish_earlier(site: Site, contacts: Contacts, now: Callable[[], datetime], only: str | None) -> Iterator[Sending]:
    with site.warehouse.transaction() as connection:
        left = [notice for notice in notices.unfinished(connection) if only in (None, notice.sender)]
    for notice in left:
        if sending := _send(site, contacts, notice, now):
            yield sending


def _send(site: Site, contacts: Contacts, notice: Notice, now: Callable[[], datetime]) -> Sending | None:
    """Write the file and send to the channels that it has not reached; None when another process is at it."""
    with site.warehouse.transaction() as claim:
        if not notices.claim(claim, notice.notice_id):
            return None
        reached = notices.reached(claim, notice.notice_id)
        file = _written(site.settings, notice)
        left = [channel for channel in contacts.of(notice.sender) if channel.mark not in reached]
        is_old = notice.night <= night_of(site, now()) - timedelta(days=RETRY_NIGHTS)
        sent, failed = [], []
        for channel in () if is_old else left:
            is_sent = _send_to(channel, notice.subject, notice.body, notice.page)
            with site.warehouse.transaction() as connection:
                notices.mark_channel(connection, notice.notice_id, channel.mark, now(), is_sent=is_sent)
            if is_sent:
                sent.append(channel.place)
            else:
                failed.append(Unsent(notice.sender or "operator", channel.mark, channel.place))
        sending = Sending(notice.sender, notice.subject, file, tuple(sent), tuple(failed), tuple(c.place for c in left) if is_old else ())
        if sending.is_whole:
            with site.warehouse.transaction() as connection:
                notices.finish(connection, notice.notice_id, now())
        return sending


def _send_to(channel: Channel, subject: str, text: str, page: str | None) -> bool:
    """Whether a channel took a message: a page by mail, the text by anything else. What a library says of a failure is not heard,
    because it may show the address."""
    from apprise import Apprise, NotifyFormat

    plugin = plugin_of(channel.url)
    if plugin is None:
        return False
    is_page = page is not None and channel.kind in ("mailto", "mailtos")
    with unheard():
        try:
            way = Apprise()
            way.add(plugin)
            body, form = (page, NotifyFormat.HTML) if is_page else (text, NotifyFormat.TEXT)
            return bool(way.notify(title=subject, body=body or "", body_format=form))
        except Exception:  # whatever one channel brings about, the others are told
            return False


# ---------------------------------------------------------------- the file


def file_of(settings: Settings, notice: Notice) -> Path:
    """Where the text of a digest lies; its page lies beside it."""
    folder = settings.home / "notices" if notice.sender is None else settings.outbox / notice.sender / "notices"
    return folder / f"{notice.night}{'' if notice.nth == 1 else f'-{notice.nth}'}.txt"


def _written(settings: Settings, notice: Notice) -> Path | None:
    """The digest's file, written where it is not there yet; None when the disk does not take it: the channels are still told."""
    file = file_of(settings, notice)
    try:
        for path, text in ((file, notice.body), (file.with_suffix(".html"), notice.page)):
            if not path.exists():
                _write(path, text)
    except OSError:
        return None
    return file


def _write(path: Path, text: str) -> None:
    """A file that appears whole and that this account alone reads, in a folder of the same kind."""
    for folder in (path.parent.parent, path.parent):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.parent.stat().st_mode & 0o077:
        path.parent.chmod(0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
    flush(draft)
    draft.replace(path)
