"""Files that must outlive a crash: what was written, and the names it was written under.

In: an open file, a folder, or a name and what it is to hold. Out: nothing; when the call returns,
the disk has it.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Any


def settle_file(file: IO[Any]) -> None:
    """What was written is on the disk when this returns; raises OSError."""
    file.flush()
    os.fsync(file.fileno())


def settle_folder(folder: Path) -> None:
    """The names in `folder` are on the disk when this returns; raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_once(path: Path, data: bytes) -> None:
    """A file (0600) that is there whole or not at all; where there is one already, it stays.

    So two processes that start together agree on one, and neither a crash nor a full disk leaves
    half of one behind. Raises OSError.
    """
    handle, draft = tempfile.mkstemp(".tmp", f"{path.name}.", path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            settle_file(file)
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.unlink(draft)
    settle_folder(path.parent)
