"""Yunhe (运河): publish a data product once, sign a contract, use the data as the contract says.

`yunhe.connect(url, token)` is the door for data users; nodes are built by `yunhe.node`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from yunhe.sdk import Space


def connect(url: str, token: str | None = None, **options: Any) -> Space:
    """A client of your own node at `url`; see `yunhe.sdk.connect` and `yunhe.sdk.Space`."""
    from yunhe import sdk

    return sdk.connect(url, token, **options)
