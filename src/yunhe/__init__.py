"""Yunhe (运河): publish a data product once, sign a contract, use the data as the contract says.

`yunhe.connect(url, token)` is the door for data users; nodes are built by `yunhe.node`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from yunhe.sdk import Space


def connect(url: str, token: str, **options: Any) -> Space:
    """Open a session with the connector at `url`; see `yunhe.sdk.Space`."""
    from yunhe.sdk import Space

    return Space(url, token, **options)
