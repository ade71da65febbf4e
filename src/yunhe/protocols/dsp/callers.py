"""Who calls the DSP face: members alone, known by their token; whoever is refused is counted.

In: the header of a request, a verifier of tokens. Out: the peer, its token spent, or a `Caller`
whose token is spent in the transaction of the message it came with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from fastapi import Request

from yunhe.contracts import Party
from yunhe.identity import Peer, require_member
from yunhe.kernel.db import Database, Tx
from yunhe.kernel.errors import YunheError


class Verifier(Protocol):
    """The part of `dcp.Verifier` asked here."""

    def authenticate(self, authorization: str) -> Peer:
        """The node behind a header; its token is spent by this."""
        ...

    def verify(self, authorization: str) -> tuple[Peer, Callable[[Tx], Peer]]:
        """The node behind a header, and what spends its token inside a transaction."""
        ...


@dataclass(frozen=True)
class Caller:
    """Who sends a message, by a token that is verified and not spent yet.

    `admit(tx)` spends it in the message's own transaction, `spend()` in one of its own; both
    raise what is wrong with the caller after all.
    """

    peer: Party
    admit: Callable[[Tx], Party]
    spend: Callable[[], object]


class Callers:
    """The two ways in: `authenticate` where something is read, `sender` where a message comes."""

    def __init__(
        self, db: Database, verifier: Verifier, refused: Callable[[str, str], object]
    ) -> None:
        """`refused(source, code)` counts who was not let in."""
        self._db, self._verifier, self._refused = db, verifier, refused

    def authenticate(self, request: Request) -> Peer:
        """The member that asks; raises what `Verifier.authenticate` raises, MemberOnly."""
        with self._counted(request):
            peer = self._verifier.authenticate(request.headers.get("authorization", ""))
        require_member(peer)
        return peer

    def sender(self, request: Request) -> Caller:
        """As `authenticate`, the token to be spent with the message that it came with."""
        with self._counted(request):
            peer, spend = self._verifier.verify(request.headers.get("authorization", ""))

        def admit(tx: Tx) -> Peer:
            peer = spend(tx)
            require_member(peer)
            return peer

        def spend_alone() -> None:
            with self._counted(request):
                self._db.write(spend)

        return Caller(peer, admit, spend_alone)

    @contextmanager
    def _counted(self, request: Request) -> Iterator[None]:
        try:
            yield
        except YunheError as refused:
            self._refused(request.client.host if request.client else "?", refused.code)
            raise
