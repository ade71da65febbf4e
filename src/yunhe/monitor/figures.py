"""The figures of one node as Prometheus reads them.

In: what the slices tell while they work, counted in memory; what the parts say of themselves when
somebody reads. Out: one text. A label's values are the program's own words (verbs, codes, states):
never a contract, a peer, a person or anything that came in a request.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import Metric
from prometheus_client.process_collector import ProcessCollector

from yunhe.control import UseDenied, UsePosted
from yunhe.kernel.db import Tx
from yunhe.monitor.gauges import Gauges
from yunhe.monitor.model import Watched

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
# What a path begins with -> the face that it belongs to; everything else is a stranger's word.
_FACES: Final = {
    "api": "api",
    "dsp": "dsp",
    "dcp": "dcp",
    "tds": "tds",
    "data": "data",
    "delta-sharing": "delta",
    "log": "log",
    ".well-known": "did",
}


class Figures:
    """Counted in memory; one a node, so that two nodes of one process never see each other's."""

    def __init__(self) -> None:
        self._registry = made = CollectorRegistry()
        ProcessCollector(registry=made)
        self._verbs = Counter(
            "yunhe_verbs",
            "Calls of the management API, by outcome.",
            ("verb", "code"),
            registry=made,
        )
        self._answers = Counter(
            "yunhe_answers", "HTTP answers, by face and status.", ("face", "status"), registry=made
        )
        self._queries = Counter(
            "yunhe_queries", "Uses asked of this provider, by outcome.", ("code",), registry=made
        )
        self._seconds = Histogram(
            "yunhe_query_seconds",
            "From being asked to the first bytes of the result, of queries that were admitted.",
            buckets=_SECONDS,
            registry=made,
        )
        self._denied = Counter(
            "yunhe_uses_denied", "Uses that usage control denied.", ("code",), registry=made
        )
        self._posted = Counter(
            "yunhe_uses_posted", "Uses that were charged.", ("complete",), registry=made
        )
        self._rows = Counter("yunhe_use_rows", "Rows delivered under contracts.", registry=made)
        self._bytes = Counter("yunhe_use_bytes", "Bytes delivered under contracts.", registry=made)

    def watch(self, watched: Watched) -> None:
        """Listen to what the node's verbs tell, and read its parts; once, before it starts."""
        watched.db.events.on(UseDenied, self._on_denied)
        watched.db.events.on(UsePosted, self._on_posted)
        self._registry.register(Gauges(watched))

    def verb(self, name: str, code: str) -> None:
        """A call of the management API ended: "OK" or the code of its refusal."""
        self._verbs.labels(name, code).inc()

    def query(self, code: str, seconds: float) -> None:
        """A use was asked for: see `dataplane.DataPlane`."""
        self._queries.labels(code).inc()
        if code == "OK":
            self._seconds.observe(seconds)

    def answered(self, path: str, status: int) -> None:
        """An HTTP answer began."""
        face = _FACES.get(path.split("/", 2)[1] if path.startswith("/") else "", "other")
        self._answers.labels(face, str(status)).inc()

    def _on_denied(self, tx: Tx, event: UseDenied) -> None:
        tx.after_commit(self._denied.labels(event.code).inc)

    def _on_posted(self, tx: Tx, event: UsePosted) -> None:
        tx.after_commit(lambda: self._post(event))

    def _post(self, event: UsePosted) -> None:
        self._posted.labels("true" if event.complete else "false").inc()
        self._rows.inc(event.rows)
        self._bytes.inc(event.bytes)

    def text(self) -> bytes:
        """Everything, in the text format 0.0.4; blocks as long as one read of the database."""
        return generate_latest(self)

    def collect(self) -> Iterator[Metric]:
        """What the registry has, without the instants at which each series began."""
        for family in self._registry.collect():
            family.samples = [s for s in family.samples if not s.name.endswith("_created")]
            yield family
