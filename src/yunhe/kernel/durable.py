"""Files that must outlive a crash: what was written, and the names it was written under.

In: an open file, or a folder. Out: nothing; when the call returns, the disk has it.
"""

from __future__ import annotations

import os
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
