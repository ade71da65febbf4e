"""Two connectors of Eclipse EDC that negotiate with each other, and how many a second.

In: a class path (interop.edc.runtime), their stores. Out: `Pair`, and `rate`, which measures EDC
and us by one rule: what was completed within a window that opens on callers already at work.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from interop.edc import runtime
from interop.edc.runtime import Edc

from yunhe.demo.nodes import free_ports

CALLERS = 16
LOST = "lost"
LOST_AFTER_S = 15.0  # some ten times what EDC takes for one of sixteen
POLL_S = 0.2  # more often costs EDC a sixth of its rate, on two cores
WARM = 1000  # negotiations; what one costs EDC falls until then, to a thirtieth of the first
WARM_OURS = 50
WARM_S_MAX = 240.0
RAMP_S, WINDOW_S = 2.0, 8.0


@dataclass(frozen=True)
class Rate:
    """Negotiations completed a second; those that never were, by how they ended."""

    a_second: float
    lost: int

    def __str__(self) -> str:
        return f"{self.a_second:.1f}/s, lost {self.lost}"

    @classmethod
    def of(cls, several: Sequence[Rate]) -> Rate:
        """The median rate, and all that was lost."""
        return cls(statistics.median(r.a_second for r in several), sum(r.lost for r in several))


@dataclass(frozen=True)
class Pair:
    """A consumer and a provider of EDC, and what the provider offers."""

    consumer: Edc
    provider: Edc
    asset: str
    offer: dict[str, Any]

    def negotiate(self, poll_s: float = POLL_S) -> str:
        """One negotiation to FINALIZED, asked after every `poll_s`: "" or how it was lost."""
        where = self.provider.address, self.provider.id
        try:
            asked = self.consumer.negotiate(*where, self.asset, self.offer)
            self.consumer.agreed(asked, LOST_AFTER_S, poll_s)
        except (runtime.NegotiationEnded, runtime.EdcRefused, TimeoutError, httpx.HTTPError):
            return LOST
        return ""


@contextmanager
def pair(
    folder: Path, class_path: str, wait_ms: int | None, jdbc: tuple[str, str] = ("", "")
) -> Iterator[Pair]:
    """Two EDCs; the provider offers one asset for use."""
    ports = free_ports(12)
    consumer = Edc(folder / "c", ports[:6], wait_ms, jdbc[0])
    provider = Edc(folder / "p", ports[6:], wait_ms, jdbc[1])
    try:
        for each in (consumer, provider):
            each.start(class_path)
        provider.publish("asset", {"permission": [{"action": "use"}]}, provider.root)
        [dataset] = listed(consumer.catalog(provider.address, provider.id)["dataset"])
        [offer] = listed(dataset["hasPolicy"])
        yield Pair(consumer, provider, dataset["@id"], offer)
    finally:
        for each in (consumer, provider):
            each.stop()


def listed(value: Any) -> list[dict[str, Any]]:
    """JSON-LD's one value or many, as a list."""
    return value if isinstance(value, list) else [value]


def warm(work: Callable[[], str], number: int) -> None:
    """`CALLERS` at once until `number` were completed, or until `WARM_S_MAX`."""
    step_s, completed, until = 5.0, 0.0, time.perf_counter() + WARM_S_MAX
    while completed < number and time.perf_counter() < until:
        completed += step_s * rate(work, 0.0, step_s).a_second


def rate(work: Callable[[], str], ramp_s: float = RAMP_S, window_s: float = WINDOW_S) -> Rate:
    """`CALLERS` at once, again and again; counted is what ends within the window.

    What `work` says was lost is counted from the window's opening on, and not in the rate. What
    is under way when the window shuts is waited for, so that it does not weigh on who comes next.
    """
    opens = time.perf_counter() + ramp_s
    shuts = opens + window_s
    done, lost = Counter[int](), Counter[int]()

    def call(me: int) -> None:
        while time.perf_counter() < shuts:
            how, now = work(), time.perf_counter()
            done[me] += not how and opens <= now < shuts
            lost[me] += bool(how) and now >= opens

    threads = [threading.Thread(target=call, args=(me,)) for me in range(CALLERS)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return Rate(done.total() / window_s, lost.total())
