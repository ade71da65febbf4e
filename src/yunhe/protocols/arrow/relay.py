"""The consumer's relay: ask the provider under a contract, pass the stream on, sign a receipt.

In: a contract, a query, a purpose. Out: the provider's Arrow IPC stream as it arrives, and, when
it has ended, this node's signed receipt over what it counted. The provider's token stays here.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from yunhe.contracts import Access, Contract
from yunhe.dataplane import IpcCount
from yunhe.identity import guarded_socket
from yunhe.kernel import limits
from yunhe.kernel.canonical import dumps
from yunhe.kernel.errors import Unavailable, YunheError
from yunhe.protocols.arrow import wire


class ProviderUnreachable(Unavailable):
    code = "PROVIDER_UNREACHABLE"
    en = "The provider's data plane does not answer. What it metered it will account for."
    zh = "提供方数据面暂时无应答；已计量的使用将如实入账。"
    mend_en = "Ask again with the same use_id: it is never charged twice."
    mend_zh = "请用同一 use_id 重试：同一编号不会重复计费。"


class StreamCut(Unavailable):
    code = "STREAM_CUT"
    en = "The provider's stream ended before its end mark."
    zh = "提供方的数据流在结束标记之前中断。"
    mend_en = "See the state of the use and of the contract, then ask again."
    mend_zh = "请查看该次使用与合约的状态后重试。"


class RefusedByProvider(YunheError):
    """The provider's own refusal, passed on word for word."""

    code, status = "REFUSED_BY_PROVIDER", 403
    en = "The provider refused the use."
    zh = "提供方拒绝了该次使用。"

    def __init__(self, problem: dict[str, Any], status: int) -> None:
        self._problem = problem
        vars(self).update(code=str(problem.get("code", self.code)), status=status)
        super().__init__()

    def problem(self) -> dict[str, Any]:
        """The provider's problem body."""
        return self._problem


@dataclass(frozen=True)
class Consumed:
    """What one use delivered to us, as we counted it."""

    use_id: str
    contract_id: str
    purpose: str
    rows: int
    bytes: int
    digest: str


class Parts(Protocol):
    """What the relay needs of the contracts slice."""

    def in_force(self, contract_id: str, peer_did: str | None = None) -> Contract:
        """The contract, if it binds now."""
        ...

    def access(self, contract_id: str, wait_s: float = 10.0) -> Access:
        """Where and with which token to fetch."""
        ...


class Relay:
    """Fetches under our contracts; one instance a node; thread-safe."""

    def __init__(
        self,
        contracts: Parts,
        mint: Callable[[str], str],
        receipt: Callable[[Consumed], None],
        development: bool,
    ) -> None:
        """`mint(did)` makes our token for a peer; `receipt` signs and keeps what was consumed."""
        self._contracts, self._mint, self._receipt = contracts, mint, receipt
        self._development = development
        self._tls = ssl.create_default_context()
        self._idle: dict[str, list[http.client.HTTPConnection]] = {}

    def open(self, contract_id: str, asked: wire.Asked) -> Passing:
        """Ask the provider; the answer's head has arrived when this returns.

        Raises the provider's refusal, ProviderUnreachable, and why the contract does not bind.
        """
        contract = self._contracts.in_force(contract_id)
        access = self._contracts.access(contract_id)
        connection, response = self._ask(contract, access, asked)
        if response.status != 200:
            problem = _problem(response) or {}
            self._give_back(access.endpoint, connection)
            raise RefusedByProvider(problem, response.status)

        def consumed(count: IpcCount) -> None:
            told = (asked.use_id, contract.id, asked.purpose)
            self._receipt(Consumed(*told, count.rows, count.bytes, count.digest))

        return Passing(
            response, connection, consumed, lambda: self._give_back(access.endpoint, connection)
        )

    def _ask(
        self, contract: Contract, access: Access, asked: wire.Asked
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        body = dumps(asked.to_json())
        path = urlsplit(access.endpoint).path or wire.PATH
        for fresh in (False, True):
            connection = None if fresh else self._take(access.endpoint)
            if connection is None:
                connection = self._connect(access.endpoint)
                fresh = True
            headers = {
                "Authorization": f"Bearer {access.token}",
                wire.PEER: f"Bearer {self._mint(contract.peer_did)}",
                "Content-Type": "application/json",
                "Accept": wire.MEDIA_TYPE,
            }
            try:
                connection.request("POST", path, body, headers)
                return connection, connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if fresh:
                    raise ProviderUnreachable(detail=str(error)) from error
                # A kept connection may have been closed by the other side: once more, anew. The
                # use_id makes this safe: the same one never charges twice.
        raise ProviderUnreachable

    def _connect(self, endpoint: str) -> http.client.HTTPConnection:
        parts = urlsplit(endpoint)
        tls = parts.scheme == "https"
        host, port = parts.hostname or "", parts.port or (443 if tls else 80)
        connection = http.client.HTTPConnection(host, port, timeout=limits.RELAY_S_MAX)
        try:
            sock = guarded_socket(host, port, self._development, limits.RELAY_S_MAX, parts.scheme)
            connection.sock = self._tls.wrap_socket(sock, server_hostname=host) if tls else sock
        except OSError as error:
            raise ProviderUnreachable(detail=str(error)) from error
        return connection

    def _take(self, endpoint: str) -> http.client.HTTPConnection | None:
        idle = self._idle.get(endpoint)
        try:
            return idle.pop() if idle else None
        except IndexError:
            return None

    def _give_back(self, endpoint: str, connection: http.client.HTTPConnection) -> None:
        idle = self._idle.setdefault(endpoint, [])
        if connection.sock is not None and len(idle) < limits.RELAY_IDLE_MAX:
            idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close the kept connections."""
        for idle in self._idle.values():
            while idle:
                idle.pop().close()


class Passing:
    """The stream on its way through; iterate to the end or `close`."""

    def __init__(
        self,
        response: http.client.HTTPResponse,
        connection: http.client.HTTPConnection,
        consumed: Callable[[IpcCount], None],
        give_back: Callable[[], None],
    ) -> None:
        self.use_id = response.headers.get(wire.USE_ID, "")
        self.groups_withheld = response.headers.get(wire.WITHHELD) == "true"
        self.count = IpcCount()
        self._response, self._connection = response, connection
        self._consumed, self._give_back = consumed, give_back
        self._closed = False

    def __iter__(self) -> Passing:
        return self

    def __next__(self) -> bytes:
        if self._closed:
            raise StopIteration
        try:
            chunk = self._response.read1(limits.RELAY_CHUNK_BYTES)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise StreamCut(detail=str(error)) from error
        if chunk:
            self.count.feed(chunk)
            return chunk
        if not self.count.complete:
            self.close()
            raise StreamCut
        self._finish(reusable=True)
        raise StopIteration

    def close(self) -> None:
        """Stop here; the receipt then says what has passed. Idempotent."""
        self._finish(reusable=False)

    def _finish(self, *, reusable: bool) -> None:
        if self._closed:
            return
        self._closed = True
        self._consumed(self.count)
        if reusable:
            self._give_back()
        else:
            self._connection.close()


def _problem(response: http.client.HTTPResponse) -> dict[str, Any] | None:
    raw = response.read(limits.PROBLEM_BYTES_MAX)
    try:
        data = json.loads(raw)
    except ValueError:
        return None
    return data if isinstance(data, dict) and isinstance(data.get("code"), str) else None
