"""What the database itself can refuse; never a half state, whichever it is."""

from __future__ import annotations

import errno
from typing import Final

from sqlalchemy.exc import DBAPIError

from yunhe.kernel.errors import Conflict, Internal, Unavailable

_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class StorageFull(Unavailable):
    code = "STORAGE_FULL"
    en = "The node cannot write: its disk is full. Nothing was changed."
    zh = "节点磁盘已满，无法写入；没有任何改动。"
    mend_en = "Free space on the node's disk, then send the request again."
    mend_zh = "请为节点磁盘腾出空间后重新提交。"


class DatabaseBusy(Unavailable):
    code = "DATABASE_BUSY"
    en = "The node's database is locked or not reachable. Nothing was changed."
    zh = "节点数据库被锁定或不可达；没有任何改动。"
    mend_en = "Send the request again; if it persists, look for another process on the database."
    mend_zh = "请重新提交；若持续出现，请检查是否有其他进程占用数据库。"


class DatabaseFailed(Internal):
    code = "DATABASE_FAILED"
    en = "The node's database refused the change. Nothing was changed."
    zh = "节点数据库拒绝了本次更改；没有任何改动。"


class DatabaseDamaged(DatabaseFailed):
    code = "DATABASE_DAMAGED"
    en = "The node's database is damaged, or its file is no database. Nothing was changed."
    zh = "节点数据库已损坏，或其文件不是数据库；没有任何改动。"
    mend_en = (
        "Stop the node, keep the files as they are, and restore the last backup: docs/operating.md."
    )
    mend_zh = "请停止节点，保留现有文件，并恢复最近的备份，见 docs/operating.md。"


class DatabaseNewer(Conflict):
    code = "DATABASE_NEWER"
    en = "The database was written by a newer version of Yunhe (schema {found})."
    zh = "该数据库由更新版本的运河写入（模式版本 {found}）。"
    mend_en = "Run that version, or restore the backup of before the upgrade: docs/operating.md."
    mend_zh = "请运行该版本，或恢复升级前的备份，见 docs/operating.md。"


# How PostgreSQL's states begin that say more than "refused": its texts are in its own language.
_STATES: Final[tuple[tuple[str, type[StorageFull | DatabaseBusy | DatabaseFailed]], ...]] = (
    ("53100", StorageFull),
    ("53", DatabaseBusy),  # no memory, too many connections
    ("08", DatabaseBusy),  # the connection
    ("57", DatabaseBusy),  # shut down, starting, cancelled
    ("55P03", DatabaseBusy),  # a lock
    ("25006", DatabaseBusy),  # another server writes now
    ("XX001", DatabaseDamaged),
    ("XX002", DatabaseDamaged),
)


def no_room(error: BaseException) -> StorageFull | None:
    """The house's word for a file that could not grow; None for anything else."""
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return StorageFull(detail=str(error))
    return None


def translate(error: DBAPIError) -> StorageFull | DatabaseBusy | DatabaseFailed:
    """The house's word for a driver's error; the driver's text stays private."""
    text = str(error.orig)
    state = getattr(error.orig, "sqlstate", "")
    if state is None and type(error.orig).__name__ == "OperationalError":
        return DatabaseBusy(detail=text)  # the line to the server broke
    for begins, known in _STATES:
        if state and state.startswith(begins):
            return known(detail=text)
    low = text.lower()
    if "full" in low or "no space" in low or "disk i/o" in low:
        return StorageFull(detail=text)
    if "locked" in low or "busy" in low or "connection" in low or "timeout" in low:
        return DatabaseBusy(detail=text)
    if "malformed" in low or "not a database" in low:
        return DatabaseDamaged(detail=text)
    return DatabaseFailed(detail=text)
