"""What the parts of a node say of themselves whenever its figures are read.

In: the parts. Out: families of samples. What only the database knows is asked at most every
FIGURES_KEPT_S and by one reader at a time: others get what was last known. Where the database
refuses, `yunhe_database_up` is 0 and its figures are left out, so that no old one looks fresh.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from yunhe import __version__
from yunhe.evidence import Standing
from yunhe.federation import Status
from yunhe.kernel import backlog, backup, limits
from yunhe.kernel.backlog import Backlog
from yunhe.kernel.errors import YunheError
from yunhe.monitor.expiry import certificate_ends, key_ages
from yunhe.monitor.model import Watched

log = logging.getLogger(__name__)
_ROLES: Final = ("provider", "consumer")
_STATES: Final = ("issued", "disputed")
_FATES: Final = ("killed", "died", "replaced", "spent")


@dataclass(frozen=True)
class _Kept:
    """What the database said at one moment."""

    now: datetime
    waiting: Backlog
    log: Standing
    statements: dict[tuple[str, str], int]
    parent: Status
    parent_up: bool
    credential_ends: datetime | None


class Gauges:
    """A collector of one node."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._reading = threading.Lock()
        self._kept: _Kept | None = None
        self._kept_at = float("-inf")

    def describe(self) -> tuple[()]:
        """Nothing: the registry need not read everything to learn the names."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Everything that is known now."""
        kept = self._known()
        yield _gauge("database_up", "Whether the database answered.", float(kept is not None))
        yield from self._of_process()
        if kept is not None:
            yield from self._of_outbox(kept)
            yield from self._of_log(kept)
            yield from self._of_others(kept)

    def _known(self) -> _Kept | None:
        if not self._reading.acquire(blocking=False):
            return self._kept
        try:
            if monotonic() - self._kept_at >= limits.FIGURES_KEPT_S:
                self._kept = self._read()
                self._kept_at = monotonic()
            return self._kept
        finally:
            self._reading.release()

    def _read(self) -> _Kept | None:
        watched, parent = self._watched, self._watched.config.parent_did
        try:
            return _Kept(
                now=watched.db.clock.now(),
                waiting=watched.db.read(backlog.backlog),
                log=watched.evidence.standing(),
                statements=watched.exchange.count_open(),
                parent=watched.federation.status(),
                parent_up=not watched.db.read(lambda tx: backlog.in_vain(tx, parent)),
                credential_ends=watched.identity.credential_ends(),
            )
        except YunheError as error:
            log.warning("the database has no figures to give: %s", error)
            return None

    def _of_process(self) -> Iterator[Metric]:
        watched = self._watched
        node = GaugeMetricFamily("yunhe_node_info", "Which program this is.", labels=("version",))
        node.add_metric((__version__,), 1)
        yield node
        if watched.provides:
            census = watched.pool.census()
            workers = GaugeMetricFamily(
                "yunhe_workers",
                "Workers now; `most`: as many may have a contract.",
                labels=("state",),
            )
            for state in ("most", "busy", "idle", "spare"):
                workers.add_metric((state,), getattr(census, state))
            yield workers
            ended = CounterMetricFamily(
                "yunhe_workers_ended", "Workers that ended, by why.", labels=("why",)
            )
            for why in _FATES:
                ended.add_metric((why,), census.ended.get(why, 0))
            yield ended
        yield CounterMetricFamily(
            "yunhe_database_commits", "Commits of this process.", value=watched.db.commits
        )
        disk = shutil.disk_usage(watched.config.data_dir)
        yield _gauge("disk_free_bytes", "Free where the data folder lies.", disk.free)
        yield _gauge("disk_size_bytes", "Size of what the data folder lies on.", disk.total)
        now = watched.db.clock.now()
        ages = GaugeMetricFamily(
            "yunhe_key_age_seconds", "Since a key was made.", labels=("purpose",)
        )
        for purpose, made_at in key_ages(watched.config.data_dir / "keys"):
            ages.add_metric((purpose,), (now - made_at).total_seconds())
        yield ages
        if (ends := certificate_ends(watched.config.flight_tls_cert)) is not None:
            left = (ends - now).total_seconds()
            yield _gauge("certificate_expires_in_seconds", "Of Flight SQL's certificate.", left)
        if (taken := backup.last(watched.config.data_dir)) is not None:
            age = (now - taken).total_seconds()
            yield _gauge("backup_age_seconds", "Since `yunhe backup` made a copy.", age)

    def _of_outbox(self, kept: _Kept) -> Iterator[Metric]:
        found = kept.waiting
        yield _gauge("outbox_messages", "Messages that wait to be sent.", found.waiting)
        age = _since(kept, found.oldest_at)
        yield _gauge("outbox_oldest_seconds", "How long the oldest has waited.", age)
        yield _gauge("outbox_failed", "Messages that were given up.", found.failed)

    def _of_log(self, kept: _Kept) -> Iterator[Metric]:
        yield CounterMetricFamily(
            "yunhe_evidence_entries", "Entries under the newest checkpoint.", value=kept.log.size
        )
        if kept.log.grown_at is not None:
            age = _since(kept, kept.log.grown_at)
            yield _gauge("evidence_checkpoint_age_seconds", "Since the log last grew.", age)
        age = _since(kept, kept.log.waiting_since)
        yield _gauge("evidence_waiting_seconds", "How long an entry waits for its index.", age)

    def _of_others(self, kept: _Kept) -> Iterator[Metric]:
        statements = GaugeMetricFamily(
            "yunhe_statements", "Statements that are not settled.", labels=("role", "state")
        )
        for role in _ROLES:
            for state in _STATES:
                statements.add_metric((role, state), kept.statements.get((role, state), 0))
        yield statements
        if not self._watched.config.parent_did:
            return
        yield _gauge("parent_up", "Whether no message waits that it was sent.", kept.parent_up)
        yield _gauge(
            "parent_undecided", "Submissions that it has yet to decide.", kept.parent.waiting
        )
        if kept.parent.last_contact is not None:
            age = _since(kept, kept.parent.last_contact)
            yield _gauge("parent_contact_age_seconds", "Since it last took a message.", age)
        left = -_since(kept, kept.credential_ends)
        yield _gauge("credential_expires_in_seconds", "0: none is in force.", left)


def _gauge(name: str, said: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"yunhe_{name}", said, value=value)


def _since(kept: _Kept, at: datetime | None) -> float:
    """Seconds since then; 0 where there was no such moment."""
    return 0.0 if at is None else (kept.now - at).total_seconds()
