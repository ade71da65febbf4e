"""Where a node is and how it answers: address, headers, TLS, and the reading of refusals.

In: what the user gave to `connect`, and raw answers. Out: values, or a typed error; both clients
and the Arrow stream go through here, so that a refusal reads the same on every path.
"""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

from yunhe.kernel.errors import Invalid
from yunhe.sdk.call import Call
from yunhe.sdk.errors import InsecureUrl, UnexpectedAnswer, YunheRefused

T = TypeVar("T")

API = "/api/v1"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Target:
    """One node as seen by one client; `tls` is None for plain http."""

    url: SplitResult
    token: str | None = field(repr=False)
    timeout_s: float
    tls: ssl.SSLContext | None

    @property
    def base(self) -> str:
        """The address without a trailing slash."""
        return self.url.geturl()

    def headers(self) -> dict[str, str]:
        """Headers of every request."""
        found = {"accept": "application/json"}
        return {**found, "authorization": f"Bearer {self.token}"} if self.token else found


def target(
    url: str,
    token: str | None,
    timeout_s: float,
    tls: ssl.SSLContext | None,
    insecure: bool,
) -> Target:
    """Check an address; raises Invalid, or InsecureUrl where a token would go in clear text."""
    parts = urlsplit(url.rstrip("/"))
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise Invalid(
            why=f"{url!r} is no address of a node; one looks like https://node.example:8443",
            why_zh=f"{url!r} 不是节点地址，应形如 https://node.example:8443",
        )
    if parts.scheme == "http":
        if token and not insecure and parts.hostname not in _LOOPBACK:
            raise InsecureUrl(url=url)
        return Target(parts, token, timeout_s, None)
    return Target(parts, token, timeout_s, tls or ssl.create_default_context())


def read_answer(where: Target, call: Call[T], status: int, body: bytes) -> T:
    """The value of an answer; raises YunheRefused for a refusal, UnexpectedAnswer for neither."""
    if status >= 300:
        raise refusal(where, status, body)
    try:
        return call.read(json.loads(body) if body else None)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnexpectedAnswer(
            detail=repr(error),
            url=where.base,
            why=f"{call.method} {call.path} answered otherwise",
            why_zh=f"{call.method} {call.path} 的应答格式不符",
        ) from error


def refusal(where: Target, status: int, body: bytes) -> YunheRefused | UnexpectedAnswer:
    """The error that an answer of status 300 and up stands for."""
    problem: Any = None
    try:
        problem = json.loads(body)
    except ValueError:
        problem = None  # not ours: an HTML page of a proxy, say
    if isinstance(problem, dict) and isinstance(problem.get("code"), str):
        return YunheRefused(problem, status)
    return UnexpectedAnswer(
        url=where.base,
        why=f"HTTP {status} without a problem body",
        why_zh=f"HTTP {status}，且无问题说明",
    )
