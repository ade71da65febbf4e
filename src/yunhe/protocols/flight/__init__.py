"""Flight SQL: stock ADBC clients, and through them pandas, Polars and others, under a contract.

In: gRPC calls with an API token (or a client certificate) and `x-agreement-id`; of other nodes
their token and a data token. Out: governed Arrow batches, each result one metered use, through the
same `DataPlane.query` as over HTTP. Off unless `flight_listen` is set.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from yunhe.contracts import Contracts
from yunhe.dataplane import DataPlane
from yunhe.identity import Identity, Peer
from yunhe.kernel import limits
from yunhe.kernel.keys import secret_file
from yunhe.kernel.settings import NodeConfig
from yunhe.protocols.flight.callers import Callers, Relayed
from yunhe.protocols.flight.desk import Desk
from yunhe.protocols.flight.errors import FlightNotListening, TlsNeeded
from yunhe.protocols.flight.hangup import hang_up
from yunhe.protocols.flight.reading import Watch
from yunhe.protocols.flight.server import Server

__all__ = ["Face", "FlightNotListening", "TlsNeeded"]

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Face:
    """The Flight SQL face of one node: `start` it, read its `address`, `stop` it."""

    def __init__(
        self,
        config: NodeConfig,
        identity: Identity,
        contracts: Contracts,
        plane: DataPlane,
        relay: Relayed,
        authenticate: Callable[[str], Peer],
    ) -> None:
        """Raises TlsNeeded where tokens would go over a network in clear."""
        self._config = config
        self._host, _, port = config.flight_listen.rpartition(":")
        self._port = int(port or 0)
        self._tls = bool(config.flight_tls_cert)
        if not self._tls and self._host.strip("[]") not in _LOOPBACK and not config.development:
            raise TlsNeeded
        pairs = (each.partition("=") for each in config.flight_clients)
        certificates = {name: user for name, _, user in pairs}
        self._callers = Callers(identity, contracts, plane, relay, authenticate, certificates)
        self._watch = Watch()
        self._secret = secret_file(config.data_dir / "keys" / "flight.key")
        self._server: Server | None = None

    @property
    def address(self) -> str:
        """Where it listens, as a client writes it: `grpc+tls://host:port`; empty before."""
        if self._server is None:
            return ""
        return f"{self._scheme}://{self._host}:{self._server.port}"

    @property
    def _scheme(self) -> str:
        return "grpc+tls" if self._tls else "grpc"

    def start(self) -> None:
        """Listen; raises FlightNotListening."""
        location = f"{self._scheme}://{self._host}:{self._port}"
        try:
            tls = self._certificates()
            self._server = Server(location, self._callers, Desk(self._watch, self._secret), **tls)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise FlightNotListening(str(error), address=self._config.flight_listen) from error
        port = self._server.port
        self._watch.start(lambda peer: hang_up(port, peer))

    def stop(self) -> None:
        """Cut what runs, and end; at once, whoever still reads. Idempotent."""
        server, self._server = self._server, None
        if server is None:
            return
        # gRPC waits for calls that run, so those are cut while it does, and so are connections.
        port = server.port
        ending = threading.Thread(target=server.shutdown, daemon=True)
        ending.start()
        self._watch.stop()
        ending.join(limits.FLIGHT_GOODBYE_S)
        while ending.is_alive() and hang_up(port):
            ending.join(limits.FLIGHT_GOODBYE_S)

    def _certificates(self) -> dict[str, Any]:
        config = self._config
        if not self._tls:
            return {}
        pair = (Path(config.flight_tls_cert).read_bytes(), Path(config.flight_tls_key).read_bytes())
        made: dict[str, Any] = {"tls_certificates": [pair]}
        if config.flight_client_ca:
            made["verify_client"] = True
            made["root_certificates"] = Path(config.flight_client_ca).read_bytes()
        return made
