"""What ends by the calendar: certificates; and how old the node's keys are, which do not end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from yunhe.kernel.keys import ES256_PURPOSES, PURPOSES


def certificate_ends(file: str) -> datetime | None:
    """When the first certificate of a PEM file ends; None without one, or where it is unreadable
    (the face that serves it says so itself)."""
    try:
        found = x509.load_pem_x509_certificates(Path(file).read_bytes()) if file else []
    except (OSError, ValueError):
        return None
    return found[0].not_valid_after_utc if found else None


def key_ages(folder: Path) -> Iterator[tuple[str, datetime]]:
    """Each key of the node by its purpose, and when it was made."""
    names = [*PURPOSES, *(f"{each}.es256" for each in ES256_PURPOSES)]
    for name in names:
        with suppress(FileNotFoundError):  # this node has no such key
            made = (folder / f"{name}.pem").stat().st_mtime
            yield name, datetime.fromtimestamp(made, UTC)
