"""Refusals of the unauthenticated, counted per source, reason and minute (DESIGN §4.6).

In: where a refused request came from and why. Out: one row a source, reason and minute, however
many requests there were: nobody fills our disk, and at most one write a second is caused.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from yunhe.identity import store_access as store
from yunhe.kernel import limits
from yunhe.kernel.db import Database, Tx

_OTHER: Final = "other"
_Key = tuple[str, str, datetime]


@dataclass(frozen=True)
class Refusals:
    """How often a source was refused for a reason within a minute."""

    source: str
    reason: str
    minute: datetime
    count: int


class RefusalMeter:
    """Counts in memory, writes now and then; `flush` when the node stops."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._counts: dict[_Key, int] = {}
        self._seen: set[_Key] = set()  # the rows of this minute, in memory or written
        self._minute = db.clock.now()
        self._lock = threading.Lock()
        self._write_at = db.clock.now()
        self._prune_at = db.clock.now()

    def refused(self, source: str, reason: str) -> None:
        """Count one refusal; `source` an address, `reason` an error code. Never raises for load."""
        now = self._db.clock.now()
        minute = now.replace(second=0, microsecond=0)
        with self._lock:
            if minute != self._minute:
                self._minute, self._seen = minute, set()
            key = (source[: limits.ADDRESS_CHARS_MAX], reason, minute)
            if key not in self._seen and len(self._seen) >= limits.REFUSAL_SOURCES_MAX:
                key = (_OTHER, reason, minute)
            else:
                self._seen.add(key)
            self._counts[key] = self._counts.get(key, 0) + 1
            due = now >= self._write_at
            if due:
                self._write_at = now + timedelta(seconds=limits.REFUSAL_FLUSH_S)
        if due:
            self.flush()

    def flush(self) -> None:
        """Write what was counted; what cannot be written is counted on."""
        with self._lock:
            taken, self._counts = self._counts, {}
        if not taken:
            return
        try:
            self._db.write(lambda tx: self._save(tx, taken))
        except BaseException:
            with self._lock:
                for key, count in taken.items():
                    self._counts[key] = self._counts.get(key, 0) + count
            raise

    def _save(self, tx: Tx, counts: dict[_Key, int]) -> None:
        for (source, reason, minute), count in counts.items():
            store.add_refusals(tx, source, reason, minute, count)
        if tx.now >= self._prune_at:
            store.prune_refusals(tx, tx.now - timedelta(days=limits.REFUSAL_KEEP_DAYS))
            later = tx.now + timedelta(hours=1)
            tx.after_commit(lambda: self._pruned(later))

    def _pruned(self, next_at: datetime) -> None:
        self._prune_at = next_at

    def recent(self, limit: int = 100) -> list[Refusals]:
        """The latest rows, newest minute first, what is still in memory included."""
        self.flush()
        rows = self._db.read(lambda tx: store.refusals(tx, limit))
        return [Refusals(**row._mapping) for row in rows]
