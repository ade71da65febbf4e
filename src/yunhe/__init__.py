"""Yunhe (运河): publish a data product once, sign a contract, use the data as the contract says.

`yunhe.connect(url, token)` is the door for data users, `yunhe.connect_async` the one to await; what
either raises is a `yunhe.YunheError`. Nodes are built by `yunhe.node`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yunhe.kernel.errors import YunheError

if TYPE_CHECKING:
    from yunhe.sdk import AsyncSpace, Space

__version__ = "0.1.0"
__all__ = ["YunheError", "__version__", "connect", "connect_async"]


def connect(url: str, token: str | None = None, **options: Any) -> Space:
    """A client of your own node at `url`; see `yunhe.sdk.connect` and `yunhe.sdk.Space`."""
    from yunhe import sdk

    return sdk.connect(url, token, **options)


def connect_async(url: str, token: str | None = None, **options: Any) -> AsyncSpace:
    """As `connect`, with the same verbs to await; see `yunhe.sdk.AsyncSpace`."""
    from yunhe import sdk

    return sdk.connect_async(url, token, **options)
