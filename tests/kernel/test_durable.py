"""Keys and secrets are on the disk whole or not there, however a crash or a full disk comes."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from yunhe.kernel.durable import make_once
from yunhe.kernel.keys import KeyStore, KeyUnreadable, secret_file


def test_a_full_disk_leaves_no_half_of_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "mask.key"
    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            secret_file(path)
    assert list(tmp_path.iterdir()) == []
    made = secret_file(path)
    assert len(made) == 32
    assert secret_file(path) == made
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("found", [b"", b"x" * 31, b"x" * 33])
def test_what_is_no_whole_secret_is_not_used(tmp_path: Path, found: bytes) -> None:
    path = tmp_path / "mask.key"
    path.write_bytes(found)
    with pytest.raises(KeyUnreadable, match="mask"):
        secret_file(path)
    assert path.read_bytes() == found  # nor made anew: what it masked would be masked otherwise


def test_who_comes_second_keeps_the_first(tmp_path: Path) -> None:
    path, found = tmp_path / "mask.key", list[bytes]()
    threads = [threading.Thread(target=lambda: found.append(secret_file(path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    make_once(path, b"another")
    assert set(found) == {secret_file(path)}
    assert [each.name for each in tmp_path.iterdir()] == ["mask.key"]


def test_the_draft_of_a_crash_is_in_nobodys_way(tmp_path: Path) -> None:
    """In a container a process has the id of the one before it."""
    for left in ("did.tmp", f"did.{os.getpid()}.tmp", f"did.pem.{os.getpid()}.tmp"):
        (tmp_path / left).write_bytes(b"half")
    assert KeyStore(tmp_path).key("did").kid == KeyStore(tmp_path).key("did").kid
