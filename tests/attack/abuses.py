"""Abuses that are more than a query: of protocols, contracts, files, addresses and the engine.

Each is a function that does it to a `Target` and returns what came: a refusal's code, RUNS, or
LEAK with what leaked. `due` is what must come; several after `|` are equally safe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from attack import (
    abuse_apps,
    abuse_bounds,
    abuse_engine,
    abuse_fabric,
    abuse_flight,
    abuse_http,
    abuse_ranks,
    abuse_sources,
    abuse_terms,
    abuse_vault,
    inference,
)
from attack.world import Target

Act = Callable[[Target], str]


@dataclass(frozen=True)
class Abuse:
    """One abuse with the answer that is due."""

    group: str
    title: str
    due: str
    act: Act

    @property
    def name(self) -> str:
        """class:title."""
        return f"{self.group}:{self.title}"

    def wrong(self, target: Target) -> str:
        """What is wrong with what came; empty: it is as it should be."""
        got = self.act(target)
        if got in self.due.split("|"):
            return ""
        return got if got.startswith("LEAK") else f"{got} instead of {self.due}"


def _listed(group: str, acts: Mapping[tuple[str, str], Act]) -> list[Abuse]:
    return [Abuse(group, title, due, act) for (title, due), act in acts.items()]


ABUSES: Final = (
    *_listed("http_tokens", abuse_http.TOKENS),
    *_listed("http_headers", abuse_http.HEADERS),
    *_listed("http_framing", abuse_http.FRAMING),
    *_listed("http_bodies", abuse_http.BODIES),
    *_listed("flight_tickets", abuse_flight.TICKETS),
    *_listed("flight_messages", abuse_flight.MESSAGES),
    *_listed("terms", abuse_terms.TERMS),
    *_listed("bounds", abuse_bounds.BOUNDS),
    *_listed("apps", abuse_apps.APPS),
    *_listed("vault", abuse_vault.VAULT),
    *_listed("ranks", abuse_ranks.RANKS),
    *_listed("fabric", abuse_fabric.FABRIC),
    *_listed("engine", abuse_engine.ENGINE),
    *_listed("engine_bombs", abuse_engine.BOMBS),
    *_listed("paths", abuse_sources.PATHS),
    *_listed("poisoned", abuse_sources.POISONED),
    *_listed("addresses", abuse_sources.ADDRESSES),
    *_listed("inference", inference.HELD),
)
