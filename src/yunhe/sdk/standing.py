"""The verbs that ask how a contract stands, as values like those of `calls`; none is a use."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from yunhe.sdk.call import Call, one, segment
from yunhe.sdk.model import Contract, Governed, Left


def budget(contract: Contract | str) -> Call[Left]:
    """What is left of a contract, at either end: uses, volume, privacy budget, and when."""
    return Call("GET", f"/contracts/{segment(contract)}/budget", one(Left))


def governed(contract: Contract | str, sql: str) -> Call[Governed]:
    """At the provider: what a query of the consumer becomes and where it runs; charges nothing."""
    return Call("POST", f"/contracts/{segment(contract)}/explain", _governed, body={"sql": sql})


def _governed(data: dict[str, Any]) -> Governed:
    return replace(one(Governed)(data), left=one(Left)(data.get("left") or {}))
