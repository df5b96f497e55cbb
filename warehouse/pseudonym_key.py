"""The key of the pseudonyms: what it computes, where it is, and which one the database was filled with.

Answers for: the key never reaches the database, a log or a message; its fingerprint does, so that a load under another key, which
would break every join in silence, is refused. A change of the key that is stopped at any point is finished or undone.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import stat
import tempfile
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from expectations.faults import Message, SetupFault

if TYPE_CHECKING:
    from sqlalchemy import Connection

LEAST_LENGTH = 32
LOCK = 12
"""The advisory lock of the key: loads share it, a rotation has it alone."""
_BYTES = 16


@dataclass(frozen=True)
class Key:
    """A key, of which nothing but the fingerprint is ever shown."""

    secret: bytes = field(repr=False)

    @cached_property
    def fingerprint(self) -> str:
        return hashlib.sha256(b"ndc-pseudonym" + self.secret).hexdigest()[:16]

    def pseudonyms(self, values: pa.Array) -> pa.Array:
        """The first 16 bytes of HMAC-SHA256 of each text, as UTF-8; a missing text has none."""
        made: list[bytes | None] = []
        for value in values.cast(pa.binary()).to_pylist():
            if value is None:
                made.append(None)
                continue
            mac = self._begun.copy()
            mac.update(value)
            made.append(mac.digest()[:_BYTES])
        return pa.array(made, pa.binary(_BYTES))

    @cached_property
    def _begun(self) -> hmac.HMAC:
        """The key is taken in once and not for each value."""
        return hmac.new(self.secret, digestmod="sha256")


class KeyPlace:
    """Where the key of one installation is: in the environment (`given`), or in `file`, made when it is first needed."""

    def __init__(self, file: Path, given: str | None) -> None:
        self.file, self._given = file, given
        self._next = file.with_name(f"{file.name}.new")

    def __repr__(self) -> str:
        return f"KeyPlace({str(self.file)!r})"

    def lend(self, connection: Connection) -> Key:
        """The key, for computing pseudonyms inside the caller's transaction, which a rotation waits for.

        The first one is entered with its fingerprint. Raises `SetupFault` when it is not the key of the pseudonyms that there are.
        """
        from sqlalchemy import text

        connection.execute(text("SELECT pg_advisory_xact_lock_shared(:lock)"), {"lock": LOCK})
        current = current_fingerprint(connection)
        key = self.find(current)
        if current is None:
            key = key or self._make(self.file)
            enter_key(connection, key, is_first=True)
            current = current_fingerprint(connection)
        if key is None or key.fingerprint != current:
            raise SetupFault(_OTHER_KEY.fill(where=self._where), rule="pseudonym-key")
        return key

    def find(self, current: str | None) -> Key | None:
        """The key that is there, or None. A rotation that was stopped between database and file is finished first."""
        if self._given is not None:
            return Key(self._given.encode())
        if self._next.exists() and self._read(self._next).fingerprint == current:
            self.accept()
        return self._read(self.file) if self.file.exists() else None

    def propose(self, current: str | None) -> Key:
        """The key that a rotation changes to: a new one beside the file, or the one that the environment holds by now."""
        if self._given is None:
            self.find(current)
            self._next.unlink(missing_ok=True)
            return self._make(self._next)
        key = Key(self._given.encode())
        if key.fingerprint == current:
            raise SetupFault(_SAME_KEY, rule="pseudonym-key")
        return key

    def accept(self) -> None:
        """The proposed key takes its place; the database has its fingerprint."""
        if self._given is None:
            with contextlib.suppress(FileNotFoundError):  # a load has seen to it already
                self._next.replace(self.file)

    @property
    def _where(self) -> str:
        return "NDC_PSEUDONYM_KEY" if self._given is not None else str(self.file)

    def _make(self, file: Path) -> Key:
        """A new key in a file that was not there; where another process is quicker, its key. Nobody ever sees half a key."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.parent.chmod(0o700)
        descriptor, half = tempfile.mkstemp(prefix=f"{file.name}.", dir=file.parent)  # O_EXCL and 0600, says its documentation
        with os.fdopen(descriptor, "w") as out:
            out.write(secrets.token_hex(32))
            out.flush()
            os.fsync(out.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(half, file)
        Path(half).unlink()
        return self._read(file)

    def _read(self, file: Path) -> Key:
        if stat.S_IMODE(file.stat().st_mode) & 0o077:
            raise SetupFault(_OPEN_TO_OTHERS.fill(file=file), rule="pseudonym-key")
        secret = file.read_text().strip()
        if len(secret) < LEAST_LENGTH:
            raise SetupFault(_TOO_SHORT.fill(where=file), rule="pseudonym-key")
        return Key(secret.encode())


_OTHER_KEY = Message(
    "Khoá bí danh ({where}) không có hoặc khác khoá đã tạo các bí danh đang có; nạp tiếp sẽ làm mọi phép nối sai lặng lẽ. "
    "Hãy đặt lại khoá cũ, hoặc chạy: ndc pseudonyms rotate",
    "The pseudonym key ({where}) is missing, or not the one that made the pseudonyms that there are; loading with it would break every join in silence. "
    "Put the old key back, or run: ndc pseudonyms rotate",
)
_SAME_KEY = Message(
    "NDC_PSEUDONYM_KEY vẫn là khoá đang dùng. Hãy đặt khoá mới vào biến này (ít nhất 32 ký tự ngẫu nhiên) rồi chạy lại.",
    "NDC_PSEUDONYM_KEY is still the key in use. Put the new one there (32 random characters or more), then run this again.",
)
_OPEN_TO_OTHERS = Message(
    "{file}: người khác đọc được khoá bí danh. Hãy chạy: chmod 600 {file}; nếu đã có người đọc, đổi khoá: ndc pseudonyms rotate",
    "{file}: others can read the pseudonym key. Run: chmod 600 {file}; if somebody did, change it: ndc pseudonyms rotate",
)
_TOO_SHORT = Message(
    "{where}: khoá bí danh cần ít nhất 32 ký tự ngẫu nhiên.", "{where}: a pseudonym key needs 32 random characters or more."
)


# ---------------------------------------------------------------- the key's fingerprint in the database


@dataclass(frozen=True, slots=True)
class CurrentKey:
    """Which key made the pseudonyms that there are."""

    fingerprint: str
    since: datetime


def current_key(connection: Connection) -> CurrentKey | None:
    """What the database knows of the key; None before the first pseudonym."""
    from sqlalchemy import text

    row = connection.execute(text("SELECT fingerprint, since FROM control.pseudonym_key WHERE until IS NULL")).one_or_none()
    return CurrentKey(*row) if row else None


def current_fingerprint(connection: Connection) -> str | None:
    current = current_key(connection)
    return current.fingerprint if current else None


def enter_key(connection: Connection, key: Key, *, is_first: bool) -> None:
    """Write down which key holds from now on. Of two first ones, one holds."""
    from sqlalchemy import text

    if not is_first:
        connection.execute(text("UPDATE control.pseudonym_key SET until = now() WHERE until IS NULL"))
    again = "DO NOTHING" if is_first else "(fingerprint) DO UPDATE SET since = now(), until = NULL"
    connection.execute(
        text(f"INSERT INTO control.pseudonym_key (fingerprint) VALUES (:fingerprint) ON CONFLICT {again}"), {"fingerprint": key.fingerprint}
    )
