"""The port every kind of source stands behind: what a source must be able to say and do.

Two ways. A `Staged` source (files, objects, HTTP) hands its bytes over as local files, of which
a typed snapshot is made; a `Live` one (a database) is asked where it is and never copied whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from yunhe.sources.locator import Locator
from yunhe.sources.model import TableProfile


@dataclass(frozen=True)
class Piece:
    """One local file of a table: where it lies, what it is called in messages, its format."""

    file: Path
    name: str
    format: str  # parquet | csv | json | arrow | dicom


class Staged(Protocol):
    """A source whose bytes can be had as files."""

    @property
    def locator(self) -> Locator:
        """Where it lies, its kind decided."""
        ...

    @property
    def check_s(self) -> float:
        """How long what was seen counts before it is looked at again."""
        ...

    def fingerprint(self) -> str:
        """Changes when the bytes do; cheap. Raises SourceMissing, SourceAway."""
        ...

    def moved(self, fingerprint: str) -> bool:
        """Whether the bytes changed since that fingerprint, while they were read."""
        ...

    def stage(self, folder: Path) -> tuple[Piece, ...]:
        """The files themselves, or copies laid down in `folder` (empty, private, ours to delete).

        Bounded in files and bytes. Raises SourceMissing, SourceEmpty, SourceTooLarge, SourceAway.
        """
        ...


class Live(Protocol):
    """A source that is asked in its own language: `sources.database` implements it."""

    @property
    def locator(self) -> Locator:
        """Where it lies."""
        ...

    def profile(self) -> TableProfile:
        """Columns by their DuckDB types, NULL shares, rows; asked of the database itself."""
        ...

    def sample(self, rows: int) -> list[dict[str, Any]]:
        """At most `rows` rows, JSON-safe, for the provider's own eyes."""
        ...
