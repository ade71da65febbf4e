"""What one node holds alone: a second on its folder or port is refused, a killed one frees both."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from yunhe.kernel.premises import AddressInUse, DataDirInUse, data_folder, listening
from yunhe.kernel.settings import BadSetting

_HOLD = """
import sys, time
from pathlib import Path
from yunhe.kernel.premises import data_folder
with data_folder(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_node_on_one_folder_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "var"
    first = subprocess.Popen([sys.executable, "-c", _HOLD, str(folder)], stdout=subprocess.PIPE)
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == b"held\n"
        with pytest.raises(DataDirInUse) as refused, data_folder(folder):
            pass
        assert refused.value.facts == {"path": str(folder), "pid": str(first.pid)}
        assert str(folder) in refused.value.sentence("zh")
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate()
    with data_folder(folder):
        assert (folder / "node.lock").read_text(encoding="utf-8") == f"{os.getpid()}\n"
    with data_folder(folder):  # freed on exit too
        assert folder.stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for path in (file, file / "below", Path("/proc"), Path("/proc/none")):
        with pytest.raises(BadSetting) as refused, data_folder(path):
            pass
        assert refused.value.facts["name"] == "data_dir"
        assert str(path) in refused.value.sentence("en")
        assert str(path) in refused.value.sentence("zh")


def test_a_port_in_use_is_refused_and_named() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(AddressInUse) as refused, listening("127.0.0.1", port):
            pass
        assert refused.value.facts == {"host": "127.0.0.1", "port": port}
    with listening("127.0.0.1", port) as sockets:
        assert sockets[0].getsockname() == ("127.0.0.1", port)


def test_two_that_bind_at_once_learn_it_when_they_listen() -> None:
    with listening("127.0.0.1", 0) as first:
        port = first[0].getsockname()[1]
        with pytest.raises(AddressInUse):
            _listen_late("127.0.0.1", port, first[0])


def _listen_late(host: str, port: int, other: socket.socket) -> None:
    with listening(host, port) as sockets:
        other.listen()
        sockets[0].listen()


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_a_host_that_is_not_ours_is_named(host: str) -> None:
    with pytest.raises(BadSetting) as refused, listening(host, 0):
        pass
    assert refused.value.facts["name"] == "listen_host"
