"""Files of this machine: a path a provider names, under the roots the operator allows.

Every link is followed before the check, so neither `..` nor a symlink leaves the roots; outside
them nobody learns what there is.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Final

from yunhe.kernel import limits
from yunhe.sources.errors import (
    PathNotAllowed,
    SourceEmpty,
    SourceKindUnknown,
    SourceMissing,
    SourceTooLarge,
)
from yunhe.sources.locator import Locator
from yunhe.sources.port import Piece

_PACKED: Final = ("", ".gz", ".zst")
SUFFIXES: Final = {
    "parquet": (".parquet",),
    "csv": tuple(s + p for s in (".csv", ".tsv") for p in _PACKED),
    "json": tuple(s + p for s in (".json", ".ndjson", ".jsonl") for p in _PACKED),
    "arrow": (".arrow", ".arrows", ".feather", ".ipc"),
    "dicom": (".dcm", ".dicom"),
}


def kind_of(name: str) -> str:
    """The kind a file's suffix tells; empty for none that is known."""
    low = name.lower()
    return next((kind for kind, known in SUFFIXES.items() if low.endswith(known)), "")


class Roots:
    """The files this node may read: everything under them, nothing else."""

    def __init__(self, roots: Iterable[Path]) -> None:
        self._roots = tuple(Path(root).resolve() for root in roots)
        self._named = ", ".join(root.name for root in self._roots) or "-"
        self._tops = tuple(os.path.join(root, "") for root in self._roots)  # ending in "/"

    def open(self, locator: Locator) -> LocalSource:
        """What a locator of this machine names, its kind decided and its path absolute.

        Raises PathNotAllowed, SourceMissing, SourceEmpty, SourceKindUnknown, SourceTooLarge.
        """
        top = self.allowed(Path(locator.path), locator.path)
        kind = locator.kind or self._kind(top, locator.path)
        return LocalSource(self, replace(locator, kind=kind, path=str(top)), locator.path)

    def _kind(self, top: Path, given: str) -> str:
        if top.is_file():
            kind = kind_of(top.name)
            if not kind:
                raise SourceKindUnknown(path=given)
            return kind
        kinds = {kind_of(file.name) for file in _below(top)} - {""}
        if not kinds:
            raise SourceEmpty(path=given)
        if len(kinds) > 1 and "parquet" not in kinds:
            raise SourceKindUnknown(path=given)
        return "parquet" if "parquet" in kinds else kinds.pop()

    def files(self, locator: Locator, given: str) -> tuple[Path, ...]:
        """The files of a table, sorted, links resolved."""
        top = self.allowed(Path(locator.path), given)
        if top.is_file():
            return (top,)
        known = SUFFIXES[locator.kind]
        every = _below(top)
        found = [file for file in every if file.name.lower().endswith(known)]
        if locator.kind == "dicom" and not found:
            found = [file for file in every if not file.suffix or file.suffix[1:].isdigit()]
        if not found:
            raise SourceEmpty(path=given)
        return tuple(self.allowed(file, given) for file in found)

    def allowed(self, path: Path, given: str) -> Path:
        """`path` with its links resolved, if it lies under a root; errors name what was `given`."""
        try:
            real = self._found(path)
            if real is None:
                raise SourceMissing(path=given, roots=self._named)
        except (OSError, RuntimeError, ValueError) as error:
            raise PathNotAllowed(str(error), path=given, roots=self._named) from error
        if not self._inside(real):
            raise PathNotAllowed(str(real), path=given, roots=self._named)
        return real

    def _found(self, path: Path) -> Path | None:
        """Where `path` leads; None where it would lead into a root and nothing is there."""
        if path.is_absolute():
            with suppress(FileNotFoundError, NotADirectoryError):
                return path.resolve(strict=True)
        else:
            # A relative path is meant under a root, never under wherever the node was started.
            for root in self._roots:
                if (root / path).exists():
                    return (root / path).resolve(strict=True)
            here = path.resolve()
            if here.exists() and self._inside(here):
                return here
        # A way up could be walked to ask of the folders it passes: no word about those.
        if ".." in path.parts:
            raise FileNotFoundError
        ends = (
            [path.resolve()] if path.is_absolute() else [(r / path).resolve() for r in self._roots]
        )
        if not all(self._inside(end) for end in ends):
            raise FileNotFoundError
        return None

    def _inside(self, real: Path) -> bool:
        return f"{real}/".startswith(self._tops)


def _below(top: Path) -> list[Path]:
    """Every file of a folder, all levels, sorted; hidden ones are nobody's data."""
    found = []
    for child in top.rglob("*"):
        if child.is_file() and not child.name.startswith("."):
            found.append(child)
            if len(found) > limits.SOURCE_FILES_MAX:
                raise SourceTooLarge(what="the files of a table", limit=limits.SOURCE_FILES_MAX)
    return sorted(found)


class LocalSource:
    """Files under the roots: `port.Staged` without a copy."""

    def __init__(self, roots: Roots, locator: Locator, given: str) -> None:
        self._roots, self._locator, self._given = roots, locator, given
        self._seen: tuple[Path, ...] | None = None
        self._look_s = 0.0

    @property
    def locator(self) -> Locator:
        """With its kind and an absolute path."""
        return self._locator

    @property
    def check_s(self) -> float:
        """Looking takes at most a twentieth of the time, however many files there are."""
        if self._look_s < limits.SOURCE_LOOK_S:
            return 0.0
        return min(20 * self._look_s, limits.SOURCE_CHECK_S)

    def files(self) -> tuple[Path, ...]:
        """The files as they lay there when they were last looked at."""
        if self._seen is None:
            self._seen = self._roots.files(self._locator, self._given)
        return self._seen

    def fingerprint(self) -> str:
        """Over path, size, time and inode of every file."""
        begun = monotonic()
        self._seen = None
        try:
            return _print_of(self.files())
        finally:
            self._look_s = monotonic() - begun

    def moved(self, fingerprint: str) -> bool:
        """Whether a file changed, came or went."""
        return self.fingerprint() != fingerprint

    def stage(self, folder: Path) -> tuple[Piece, ...]:
        """The files themselves, named from the folder on."""
        files = self.files()
        size = sum(file.stat().st_size for file in files)
        if size > limits.SOURCE_BYTES_MAX:
            raise SourceTooLarge(what="the bytes of a table", limit=limits.SOURCE_BYTES_MAX)
        top = Path(self._locator.path)
        return tuple(Piece(file, _name(file, top), self._locator.kind) for file in files)


def _print_of(files: Sequence[Path]) -> str:
    """A digest that changes when a file of them does."""
    made = hashlib.sha256()
    for file in files:
        stat = file.stat()
        made.update(f"{file}\0{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ino}\n".encode())
    return made.hexdigest()


def _name(file: Path, top: Path) -> str:
    return str(file.relative_to(top)) if file != top and file.is_relative_to(top) else file.name
