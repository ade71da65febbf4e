"""What one serving node holds alone: its data folder and the address it listens on.

In: the folder, the host and port of the settings. Out: a lock on the folder and bound sockets, held
until the process ends, however it ends. Two nodes on one folder would spoil keys and database.
"""

from __future__ import annotations

import atexit
import errno
import fcntl
import gc
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from yunhe.kernel.errors import Invalid
from yunhe.kernel.settings import BadSetting

LOCK: Final = "node.lock"

_FOLDER_FAULTS: Final = {
    errno.EEXIST: ("it is a file, not a folder", "它是文件，不是目录"),
    errno.ENOTDIR: ("a part of its path is a file", "路径中有一段是文件"),
    errno.ENOENT: ("it cannot be made there", "无法在该处创建"),
    errno.EACCES: ("the node may not write there", "节点没有写入权限"),
    errno.EPERM: ("the node may not write there", "节点没有写入权限"),
    errno.EROFS: ("the file system is read-only", "文件系统为只读"),
    errno.ENOSPC: ("no space is left there", "磁盘空间不足"),
}


class DataDirInUse(Invalid):
    code = "DATA_DIR_IN_USE"
    en = "The data folder {path} is in use by another node (process {pid})."
    zh = "数据目录 {path} 正被另一个节点使用（进程 {pid}）。"
    mend_en = "Stop that node first, or give this one a data_dir of its own."
    mend_zh = "请先停止该节点，或为本节点另设 data_dir。"


class AddressInUse(Invalid):
    code = "ADDRESS_IN_USE"
    en = "Something else listens on {host}:{port} already."
    zh = "{host}:{port} 已被其他程序占用。"
    mend_en = "Stop it, or set another listen_port (and address) in node.toml."
    mend_zh = "请停止该程序，或在 node.toml 中改用其他 listen_port（及 address）。"


@contextmanager
def data_folder(path: Path) -> Iterator[None]:
    """Hold `path` alone, making it (0700) where it is not; the kernel frees it if we are killed.

    Raises DataDirInUse, or BadSetting where the folder cannot be used.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _unusable(path, error) from error
    with os.fdopen(handle, "r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataDirInUse(path=str(path), pid=file.read(20).strip() or "?") from error
        except OSError as error:
            raise _unusable(path, error) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _unusable(path: Path, error: OSError) -> BadSetting:
    text = error.strerror or "it cannot be used"
    en, zh = _FOLDER_FAULTS.get(error.errno or 0, (text, text))
    return BadSetting(str(error), name="data_dir", why=f"{path}: {en}", why_zh=f"{path}：{zh}")


@contextmanager
def listening(host: str, port: int) -> Iterator[list[socket.socket]]:
    """Sockets bound to every address of `host`; they answer once a server listens on them.

    Raises AddressInUse, or BadSetting where the host or port cannot be had.
    """
    with ExitStack() as stack:
        try:
            sockets = [stack.enter_context(each) for each in _bound(host, port)]
            yield sockets
        except OSError as error:
            # Two that bind at once learn of each other only when the second listens.
            if error.errno == errno.EADDRINUSE:
                raise AddressInUse(host=host, port=port) from error
            raise


def _bound(host: str, port: int) -> Iterator[socket.socket]:
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise _no_host(host, error) from error
    for family, kind, protocol, _, address in dict.fromkeys(found):
        made = socket.socket(family, kind, protocol)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.bind(address)
        except OSError as error:
            made.close()
            if error.errno == errno.EADDRNOTAVAIL:
                raise _no_host(host, error) from error
            if error.errno == errno.EACCES:
                why = f"the node may not listen on {port}"
                raise BadSetting(
                    str(error), name="listen_port", why=why, why_zh=f"节点无权监听端口 {port}"
                ) from error
            raise
        yield made


def _no_host(host: str, error: OSError) -> BadSetting:
    why = f"{host} is no address of this machine"
    return BadSetting(str(error), name="listen_host", why=why, why_zh=f"{host} 不是本机的地址")


def settle() -> None:
    """Once all is built: what lives as long as the process is not searched for garbage again.

    To walk through it stops every thread for a tenth of a second. At the exit it is garbage as
    any other: what is frozen then is reported by DuckDB as leaked, in sixty lines.
    """
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)
