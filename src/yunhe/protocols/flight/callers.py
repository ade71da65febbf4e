"""Who calls over Flight, under which contract and for what, and through which door it goes.

In: the headers of one RPC, the connection it came by. Out: a `Caller`, or a refusal. Two kinds:
our own people (API token or client certificate), whose queries are relayed to the provider as
those of `/api/v1/sql`; and other nodes (their token and a data token), who ask our data plane.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final, Protocol

from yunhe.contracts import Contract, Contracts, Side
from yunhe.dataplane import DataPlane, Parted, PartingPlane, Query
from yunhe.identity import (
    Identity,
    Peer,
    RoleMissing,
    TokenMissing,
    require,
    require_member,
)
from yunhe.kernel import limits
from yunhe.kernel.errors import Unauthenticated
from yunhe.protocols.arrow import Asked
from yunhe.protocols.flight.batches import Chunks
from yunhe.protocols.flight.errors import AgreementsDiffer, MessageMalformed

AGREEMENT: Final = "x-agreement-id"
PURPOSE: Final = "x-purpose"
PRINCIPAL: Final = "x-principal"
PEER: Final = "x-yunhe-peer"
_AUTHORIZATION: Final = "authorization"


class Door(Protocol):
    """The way to the data for one caller; both lead to `DataPlane.query`."""

    @property
    def trusted(self) -> bool:
        """Whether what it gives was made by a worker of this node."""
        ...

    def agreements(self) -> Sequence[Contract]:
        """The contracts that the caller may ask under now."""
        ...

    def agreement(self, contract_id: str) -> Contract:
        """One of them; raises why not."""
        ...

    def stands(self, contract_id: str) -> Contract:
        """One of them, if data may flow under it now; raises why not."""
        ...

    def schema(self, contract_id: str, sql: str) -> bytes:
        """The schema a query would have; no use."""
        ...

    def shapes(self, contract_id: str) -> Mapping[str, bytes]:
        """The tables, each with its schema; no use."""
        ...

    def parted(self, contract_id: str, asked: Asked) -> Parted | None:
        """The query in parts for several readers, nothing of it begun; None: as one."""
        ...

    def open(self, contract_id: str, asked: Asked) -> Chunks:
        """Run a query: the use is charged when this returns."""
        ...


@dataclass(frozen=True)
class Caller:
    """One authenticated call. `key` tells callers apart: what one was given, no other may use."""

    key: str
    name: str
    door: Door
    agreement: str = ""
    purpose: str = ""


class Relayed(Protocol):
    """The part of `protocols.arrow.Relay` asked here."""

    def open(self, contract_id: str, asked: Asked) -> Chunks: ...
    def describe(self, contract_id: str, sql: str) -> dict[str, bytes]: ...


class OwnDoor:
    """Our own people: through the relay, under this node's contracts as consumer."""

    trusted = False

    def __init__(self, contracts: Contracts, relay: Relayed) -> None:
        self._contracts, self._relay = contracts, relay

    def agreements(self) -> Sequence[Contract]:
        """The latest contracts in force as consumer."""
        found = self._contracts.contracts("in_force")
        ours = [each for each in found if each.role is Side.CONSUMER]
        return ours[: limits.FLIGHT_CATALOGS_MAX]

    def agreement(self, contract_id: str) -> Contract:
        """A contract in force."""
        return self._contracts.in_force(contract_id)

    def stands(self, contract_id: str) -> Contract:
        """As `agreement`; the provider looks at its clock."""
        return self.agreement(contract_id)

    def schema(self, contract_id: str, sql: str) -> bytes:
        """As the provider tells it."""
        return self._relay.describe(contract_id, sql).get("", b"")

    def shapes(self, contract_id: str) -> Mapping[str, bytes]:
        """As the provider tells them."""
        return self._relay.describe(contract_id, "")

    def parted(self, contract_id: str, asked: Asked) -> Parted | None:
        """None: what is relayed is counted and signed for as one stream."""
        return None

    def open(self, contract_id: str, asked: Asked) -> Chunks:
        """The provider's stream, counted and signed for here."""
        return self._relay.open(contract_id, asked)


class PeerDoor:
    """Another node under the one contract of its data token."""

    trusted = True

    def __init__(self, plane: DataPlane, contracts: Contracts, did: str, contract_id: str) -> None:
        self._plane, self._contracts = plane, contracts
        self._did, self._contract_id = did, contract_id

    def agreements(self) -> Sequence[Contract]:
        """The one."""
        return [self.agreement(self._contract_id)]

    def agreement(self, contract_id: str) -> Contract:
        """The one, if it binds now."""
        if contract_id != self._contract_id:
            raise AgreementsDiffer
        return self._contracts.in_force(contract_id, self._did)

    def stands(self, contract_id: str) -> Contract:
        """The one, if data may flow now."""
        return self._plane.stands(self.agreement(contract_id).id, self._did)

    def schema(self, contract_id: str, sql: str) -> bytes:
        """Of the governed query."""
        return self._plane.describe(self._did, self.agreement(contract_id).id, sql)

    def shapes(self, contract_id: str) -> Mapping[str, bytes]:
        """Of the tables as the contract shows them."""
        return self._plane.shapes(self._did, self.agreement(contract_id).id)

    def parted(self, contract_id: str, asked: Asked) -> Parted | None:
        """As our data plane parts it."""
        if not isinstance(self._plane, PartingPlane):
            return None
        return self._plane.parted(self._did, self._query(contract_id, asked))

    def open(self, contract_id: str, asked: Asked) -> Chunks:
        """One governed use."""
        return self._plane.query(self._did, self._query(contract_id, asked))

    def _query(self, contract_id: str, asked: Asked) -> Query:
        return Query(
            contract_id=self.agreement(contract_id).id,
            use_id=asked.use_id,
            sql=asked.sql,
            purpose=asked.purpose,
            principal=asked.principal,
        )


class Callers:
    """Knows callers by their headers; one a node, thread-safe."""

    def __init__(
        self,
        identity: Identity,
        contracts: Contracts,
        plane: DataPlane,
        relay: Relayed,
        authenticate: Callable[[str], Peer],
        certificates: Mapping[str, str],
    ) -> None:
        """`authenticate` spends a node's token; `certificates`: a client's name -> our user."""
        self._identity, self._contracts, self._plane = identity, contracts, plane
        self._own = OwnDoor(contracts, relay)
        self._authenticate, self._certificates = authenticate, certificates
        self._peers: OrderedDict[bytes, tuple[Peer, float]] = OrderedDict()
        self._lock = threading.Lock()

    def caller(
        self, headers: Mapping[str, Sequence[str | bytes]], source: str, certificate: str
    ) -> Caller:
        """Who calls; `certificate`: the name in a verified client certificate, else empty.

        Raises the refusals of identity and contracts, MessageMalformed for a header that stands
        twice, AgreementsDiffer.
        """
        said = {name: _one(headers, name) for name in (_AUTHORIZATION, PEER, AGREEMENT, PURPOSE)}
        try:
            if said[PEER]:
                found = self._peer(said, source, _one(headers, PRINCIPAL))
            else:
                found = self._user(said[_AUTHORIZATION], certificate)
        except Unauthenticated as refused:
            self._identity.refusals.refused(_host(source), refused.code)
            raise
        agreement = said[AGREEMENT] or found.agreement
        if found.agreement and agreement != found.agreement:
            raise AgreementsDiffer
        return Caller(found.key, found.name, found.door, agreement, said[PURPOSE])

    def _user(self, bearer: str, certificate: str) -> Caller:
        if bearer:
            who = self._identity.tokens.known(bearer) or self._identity.authenticate(bearer)
            try:
                require(who, "user")
            except RoleMissing:
                self._identity.record_trespass(who, "Flight SQL")
                raise
            return Caller(f"user:{who.id}", who.name, self._own)
        if certificate in self._certificates:
            return Caller(f"certificate:{certificate}", self._certificates[certificate], self._own)
        raise TokenMissing

    def _peer(self, said: Mapping[str, str], source: str, principal: str) -> Caller:
        peer = self._known(said[PEER], source)
        token = said[_AUTHORIZATION].removeprefix("Bearer ").strip()
        contract_id = self._contracts.authenticate_data_token(token, peer.did).contract_id
        require_member(peer)
        door = PeerDoor(self._plane, self._contracts, peer.did, contract_id)
        return Caller(f"peer:{peer.did} {contract_id}", principal[:128], door, contract_id)

    def _known(self, bearer: str, source: str) -> Peer:
        """The node behind a token that counts once, or that this very connection just showed.

        A stock client sends the same headers with every call, so the token is spent by the
        connection: from any other it is a replay.
        """
        key = hashlib.sha256(f"{source}\n{bearer}".encode()).digest()
        with self._lock:
            found = self._peers.get(key)
            if found is not None and monotonic() < found[1]:
                return found[0]
        peer = self._authenticate(bearer)
        with self._lock:
            self._peers[key] = (peer, monotonic() + limits.FLIGHT_PEER_S)
            while len(self._peers) > limits.FLIGHT_PEERS_MAX:
                self._peers.popitem(last=False)
        return peer


def _one(headers: Mapping[str, Sequence[str | bytes]], name: str) -> str:
    """The one value of a header, empty where it is absent."""
    values = headers.get(name, ())
    if len(values) > 1:
        raise MessageMalformed(why=f"the header {name} stands twice", why_zh=f"头 {name} 重复")
    value = values[0] if values else ""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if len(value) > limits.FLIGHT_HEADER_CHARS_MAX:
        raise MessageMalformed(why=f"the header {name} is too long", why_zh=f"头 {name} 过长")
    return value


def _host(source: str) -> str:
    """`ipv4:127.0.0.1:4711` -> `127.0.0.1`."""
    return source.partition(":")[2].rpartition(":")[0] or "?"
