"""Folders that hold bytes: a local one or one in an object store, through one interface.

Answers for: a name shows a whole file or no file. On a disk that takes a temporary name, a flush to the disk and a rename; in
an object store one PUT. Refuses: names that leave the folder.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs

from expectations.faults import MachineFault, Message, SetupFault

_CHUNK = 1 << 20


class Store:
    """A folder by its path or `s3://` address."""

    def __init__(self, address: str) -> None:
        self.address = address
        if "://" in address:
            try:
                self.fs, self.root = pafs.FileSystem.from_uri(address)
            except (pa.ArrowException, OSError) as error:
                said = str(error).splitlines()[0]
                raise SetupFault(
                    Message(f"{address}: địa chỉ không dùng được ({said}).", f"{address}: this address cannot be used ({said})."),
                    rule="setting",
                ) from error
        else:
            self.fs, self.root = pafs.LocalFileSystem(), str(Path(address).absolute())
        self.is_local = self.fs.type_name == "local"

    def path(self, name: str) -> str:
        """The full path of a name inside the folder."""
        if any(part in ("", ".", "..") for part in name.split("/")):
            raise ValueError(f"not a name inside the folder: {name!r}")
        return f"{self.root}/{name}"

    def local_path(self, name: str) -> Path | None:
        """Where the file lies on this machine, or None."""
        return Path(self.path(name)) if self.is_local else None

    def exists(self, name: str) -> bool:
        return bool(self.fs.get_file_info(self.path(name)).type == pafs.FileType.File)

    def put(self, name: str, source: Path) -> None:
        """Copy a local file under a name. Raises `MachineFault` when the disk is full."""
        with self._writing(name) as target, source.open("rb") as file, self.fs.open_output_stream(target) as out:
            while chunk := file.read(_CHUNK):
                out.write(chunk)

    def put_bytes(self, name: str, content: bytes) -> None:
        """Write some bytes under a name."""
        with self._writing(name) as target, self.fs.open_output_stream(target) as out:
            out.write(content)

    def get(self, name: str, target: Path) -> None:
        """Copy a file to this machine."""
        with self.fs.open_input_stream(self.path(name)) as source, target.open("wb") as out:
            while chunk := source.read(_CHUNK):
                out.write(chunk)

    def read_bytes(self, name: str) -> bytes:
        with self.fs.open_input_stream(self.path(name)) as source:
            content: bytes = source.read()
        return content

    def fingerprint(self, name: str) -> tuple[str, int]:
        """SHA-256 of a file and its size, read once and never held whole."""
        digest, size = hashlib.sha256(), 0
        with self.fs.open_input_stream(self.path(name)) as source:
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
        return digest.hexdigest(), size

    def modified(self, name: str) -> datetime:
        """When a file was written."""
        return datetime.fromtimestamp(self.fs.get_file_info(self.path(name)).mtime_ns / 1e9, UTC)

    def open_input(self, name: str) -> Any:
        """The file for random access, as Arrow readers want it."""
        return self.fs.open_input_file(self.path(name))

    def open_output(self, name: str) -> Any:
        """A stream to a new file. On a disk the name shows while it grows: choose one that nobody reads, then `move`."""
        if self.is_local:
            Path(self.path(name)).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self.fs.open_output_stream(self.path(name))

    def move(self, name: str, target: str) -> None:
        """Put a finished file in the place of another one. On a disk it is flushed first, and the change is one rename."""
        if self.is_local:
            flush(Path(self.path(name)))
            Path(self.path(target)).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.fs.move(self.path(name), self.path(target))

    def delete(self, name: str) -> None:
        """Remove a file; it may be gone already."""
        if self.exists(name):
            self.fs.delete_file(self.path(name))

    def names(self, under: str = "") -> Iterator[str]:
        """The names of all files below a folder, sorted."""
        base = f"{self.root}/{under}".rstrip("/")
        found = self.fs.get_file_info(pafs.FileSelector(base, allow_not_found=True, recursive=True))
        yield from sorted(info.path[len(self.root) + 1 :] for info in found if info.type == pafs.FileType.File)

    @contextmanager
    def _writing(self, name: str) -> Iterator[str]:
        final = self.path(name)
        try:
            if not self.is_local:
                yield final
                return
            Path(final).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary = f"{final}.{os.getpid()}.part"
            try:
                yield temporary
                flush(Path(temporary))
                Path(temporary).replace(final)
            finally:
                Path(temporary).unlink(missing_ok=True)
        except OSError as error:
            raise disk_fault(error, self.address) from error
        except pa.ArrowException as error:
            raise disk_fault(error, self.address) from error


def flush(file: Path) -> None:
    """Make sure that a file is on the disk and not only in memory."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def disk_fault(error: Exception, where: str) -> MachineFault:
    """What to say when bytes cannot be written."""
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):
        vi, en = "hết chỗ trên đĩa", "no space left on the disk"
    else:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        vi, en = f"không ghi được ({reason})", f"cannot be written ({reason})"
    return MachineFault(
        Message(
            f"{where}: {vi}. Tệp gửi vẫn còn nguyên trong hộp đến; hãy dọn đĩa rồi chạy lại.",
            f"{where}: {en}. The file is still in the inbox; make room, then run again.",
        ),
        rule="disk",
    )
