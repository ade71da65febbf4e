"""The bytes behind a described table as they are now: fresh files, and drift told once.

In: what a contract's table is read from. Out: Parquet files for a worker, or a refusal that
names columns and nothing else; a database is asked for its columns only. A change of the drift is
kept, evidenced (`source.drifted`) and emitted in one transaction; reading happens outside of any.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping, Sequence

from yunhe.catalog import store
from yunhe.catalog.events import SourceDrifted
from yunhe.catalog.model import Json
from yunhe.evidence import EvidenceLog
from yunhe.kernel.canonical import sha256_hex
from yunhe.kernel.clock import iso
from yunhe.kernel.db import Database, Tx
from yunhe.kernel.errors import YunheError
from yunhe.sources import Drift, SnapshotNotMade, Sources, parse
from yunhe.sources import SourceDrifted as SourceHasDrifted

log = logging.getLogger(__name__)


class Supply:
    """The provider's files under its contracts. One instance a node; thread-safe."""

    def __init__(self, db: Database, evidence: EvidenceLog, sources: Sources) -> None:
        self._db, self._evidence, self._sources = db, evidence, sources
        self._lock = threading.Lock()
        self._told: dict[tuple[str, str], str] = {}

    def files(
        self,
        resource_id: str,
        table: str,
        origins: Sequence[str],
        columns: Mapping[str, str],
        needed: Collection[str],
    ) -> tuple[str, ...]:
        """The files of a table now; none where a database is asked in place.

        Raises SourceDrifted if one of the `needed` columns is gone or of another type,
        SnapshotNotMade if the source cannot be read; the reason is the provider's to see.
        """
        files: tuple[str, ...] = ()
        asked = [origin for origin in origins if parse(origin).in_place]
        try:
            if asked:
                drift = self._sources.drift(asked[0], columns)
            else:
                found = self._sources.fresh(origins, columns)
                files, drift = found.files, found.drift
        except YunheError as error:
            log.warning("table %s of resource %s cannot be read: %s", table, resource_id, error)
            if not asked:
                raise SnapshotNotMade(str(error), table=table) from error
            drift = None
        if drift is None:  # a database away: the data plane, which asks it, says so
            return files
        self._tell(resource_id, table, drift)
        lost = drift.lost(needed)
        if lost:
            named = ", ".join(lost)
            en, zh = f"gone or of another type: {named}", f"缺失或类型已变的列：{named}"
            raise SourceHasDrifted(table=table, why=en, why_zh=zh)
        return files

    def _tell(self, resource_id: str, table: str, drift: Drift) -> None:
        told = drift.to_json()
        digest = sha256_hex(told) if drift else ""
        key = (resource_id, table)
        if self._told.get(key) == digest:
            return
        self._db.write(lambda tx: self._noted(tx, key, told, digest))
        with self._lock:
            self._told[key] = digest

    def _noted(self, tx: Tx, key: tuple[str, str], told: Json, digest: str) -> None:
        if not store.put_drift(tx, *key, digest, told):
            return
        body = {"resource": key[0], "table": key[1], "at": iso(tx.now), **told}
        self._evidence.record(tx, "source.drifted", body)
        tx.emit(SourceDrifted(key[0], key[1], told))
