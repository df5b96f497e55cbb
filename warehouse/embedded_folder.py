"""The folder of an embedded cluster, and what it says about who lives there.

    <cluster>.lock      held while somebody starts, stops or removes the server; beside the folder, so that it outlasts the removal
    <cluster>/
        alive.lock      held by the server: initdb and the postmaster inherit the open file
        superuser.pw    0600
        start.log       what the last initdb or postmaster said before it wrote to data/log
        data/           PostgreSQL's

Answers for: the kernel is the only witness. `alive.lock` is free exactly when no process of the cluster lives, whatever a
`postmaster.pid` says that a killed server left behind and whoever has its pid by now.
Refuses: folders of another account, and links.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from expectations.faults import Message, SetupFault

NO_FOLDER = Message(
    vi="Không dùng được thư mục {folder} để chứa kho dữ liệu ({reason}). Cần một thư mục ghi được và thuộc tài khoản đang chạy lệnh.",
    en="The folder {folder} cannot hold the warehouse ({reason}). It must be writable and belong to the account that runs this command.",
)


class Ready(NamedTuple):
    """A postmaster that accepts logins."""

    pid: int
    port: int


@dataclass(frozen=True, slots=True)
class ClusterFolder:
    """`path` is made at the first `start_lock`. `is_passable`: another account has its data in there, and may pass but not look."""

    path: Path
    is_passable: bool

    @property
    def data(self) -> Path:
        return self.path / "data"

    @property
    def log(self) -> Path:
        return self.path / "start.log"

    def exists(self) -> bool:
        """Whether there is such a folder. Raises `SetupFault` when it is not ours."""
        with self._only_ours():
            try:
                _keep(self.path)
            except FileNotFoundError:
                return False
        return True

    def remove(self) -> None:
        """Remove everything, under the start lock and when nobody lives; a removal that is killed leaves no half of a cluster."""
        self.remove_leftovers()
        self.path.rename(self._gone_path)
        shutil.rmtree(self._gone_path)
        self._lock_path.unlink()

    def remove_leftovers(self) -> None:
        """Remove what a killed starter, server or removal left, under the start lock and when nobody lives."""
        for left in (*self.path.glob("*.new.*"), *self.path.parent.glob(self._gone_path.name)):
            shutil.rmtree(left)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    # Locks

    @contextlib.contextmanager
    def start_lock(self) -> Iterator[None]:
        """Make the folder where it is missing, and wait to be the only one who starts or stops its server."""
        with self._only_ours():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.is_passable:
                _keep(self.path.parent, 0o711)
            lock = self._lock_starters()
        try:
            with self._only_ours():
                self.path.mkdir(mode=0o700, exist_ok=True)
                _keep(self.path, 0o711 if self.is_passable else 0o700)
            yield
        finally:
            os.close(lock)

    def lock_alive(self) -> int | None:
        """An open file for the server to inherit, with the lock on it; None while any process of the cluster lives."""
        alive = _open_private(self._alive_path)
        try:
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(alive)
            return None
        return alive

    def is_alive(self) -> bool:
        """Looks under a shared start lock, lest somebody who starts or stops takes our look at `alive.lock` for a server."""
        try:
            with self._lock_path.open("rb") as lock, self._alive_path.open("rb") as alive:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                fcntl.flock(alive, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return False
        except BlockingIOError:
            return True
        except FileNotFoundError:
            return False

    def _lock_starters(self) -> int:
        while True:
            lock = _open_private(self._lock_path)
            fcntl.flock(lock, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock), self._lock_path.stat()):
                    return lock
            os.close(lock)  # while we waited it was removed with its cluster, and others may hold its successor

    # Content

    def version(self) -> str | None:
        """The major version of the data; None when there are none."""
        try:
            return (self.data / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            return None

    def password(self) -> str:
        return (self.path / "superuser.pw").read_text()

    def new_password(self) -> str:
        """A random password, on disk before any server knows it."""
        path, password = self.path / "superuser.pw", secrets.token_urlsafe(24)
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(password)
            file.flush()
            os.fsync(file.fileno())
        return password

    def ready(self) -> Ready | None:
        """What `postmaster.pid` says once the server accepts logins, and goes on saying when it was killed."""
        lines = self._pid_file()
        if len(lines) < 8 or lines[7].strip() != "ready":
            return None
        return Ready(pid=int(lines[0]), port=int(lines[3]))

    def server_pid(self) -> int | None:
        """The pid in `postmaster.pid`, unless that process is somebody else's by now or lives in another container."""
        if not (lines := self._pid_file()) or not lines[0].isdigit():
            return None
        pid = int(lines[0])
        if Path("/proc/self/cmdline").exists():  # not `cwd`: in a container root may not read that of another account
            try:
                arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except (FileNotFoundError, ProcessLookupError):
                return None
            return pid if os.fsencode(self.data) in arguments else None
        return pid

    def _pid_file(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text().split("\n")
        except FileNotFoundError:
            return []

    @property
    def _lock_path(self) -> Path:
        return self.path.with_name(f"{self.path.name}.lock")

    @property
    def _alive_path(self) -> Path:
        return self.path / "alive.lock"

    @property
    def _gone_path(self) -> Path:
        return self.path.with_name(f"{self.path.name}.gone")

    @contextlib.contextmanager
    def _only_ours(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SetupFault(NO_FOLDER.fill(folder=self.path, reason=error.strerror), rule="embedded-folder") from error


def _keep(folder: Path, mode: int | None = None) -> None:
    """See that `folder` is a folder of ours, not a link or a stranger's, and give it `mode` (mkdir's own obeys the umask)."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "it belongs to another account")
    if mode is not None:
        folder.chmod(mode)


def _open_private(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
