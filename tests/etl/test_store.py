"""A name in a store shows a whole file or no file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from etl.store import Store
from tests.conftest import ROOT


def test_a_file_comes_back_as_it_was(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    (tmp_path / "file").write_bytes(b"x" * 3_000_000)
    store.put("a/b/c", tmp_path / "file")
    store.get("a/b/c", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"x" * 3_000_000
    assert list(store.names()) == ["a/b/c"]


@pytest.mark.parametrize("name", ["../x", "a/../b", "a//b", "", "a/./b"])
def test_a_name_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        Store(str(tmp_path)).path(name)


def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], capture_output=True, check=False).returncode
    ):
        pytest.skip("a small disk can only be mounted by root")
    try:
        (tmp_path / "file").write_bytes(b"x" * 1_000_000)
        program = (
            "from etl.store import Store; from expectations.faults import MachineFault; from pathlib import Path; import sys\n"
            "try: Store(sys.argv[1]).put('a/b', Path(sys.argv[2]))\nexcept MachineFault as fault: print(fault.message.en)"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, str(small), str(tmp_path / "file")], capture_output=True, text=True, check=True, cwd=ROOT
        )
        assert "no space left on the disk" in done.stdout
        assert [p for p in small.rglob("*") if p.is_file()] == []
    finally:
        subprocess.run(["umount", str(small)], check=True)
