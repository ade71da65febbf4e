"""`Space` and `AsyncSpace`: a data space as one sees it from one's own node.

In: verbs. Out: records, Arrow tables, or typed errors. The verbs are those of `calls`; a client
only carries them out. The token stays in the client; the provider's never leaves the node.
"""

from __future__ import annotations

import asyncio
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import update_wrapper
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast, overload

import httpx

from yunhe.sdk import calls, receive, sharing, stream, vault
from yunhe.sdk import fabric as weave
from yunhe.sdk import transfers as verbs
from yunhe.sdk.calls import Call, Flow, Pause
from yunhe.sdk.errors import unreachable
from yunhe.sdk.lines import Lines
from yunhe.sdk.model import Contract, Transfer
from yunhe.sdk.receive import Received
from yunhe.sdk.stream import Batches
from yunhe.sdk.target import API, Target, read_answer, target

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

P = ParamSpec("P")
T = TypeVar("T")

TIMEOUT_S = 30.0
QUERY_TIMEOUT_S = 120.0
RECEIVE_TIMEOUT_S = 3600.0
CONNECT_TIMEOUT_S = 5.0


class _Verb(Generic[P, T]):
    """A function of `calls` as a method of `Space`, and awaited as one of `AsyncSpace`."""

    def __init__(self, build: Callable[P, Call[T] | Flow[T]]) -> None:
        self.build = build
        update_wrapper(cast(Any, self), build)

    @overload
    def __get__(self, space: None, owner: type) -> Callable[P, Call[T] | Flow[T]]: ...
    @overload
    def __get__(self, space: Space, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, space: AsyncSpace, owner: type) -> Callable[P, Awaitable[T]]: ...
    def __get__(self, space: Space | AsyncSpace | None, owner: type) -> Any:
        if space is None:
            return self.build  # so that help() shows the documentation

        def verb(*args: P.args, **kwargs: P.kwargs) -> T | Awaitable[T]:
            return space.run(self.build(*args, **kwargs))

        return update_wrapper(verb, self.build)


class _Verbs:
    """What both clients can do; see `calls` for parameters, answers and errors."""

    health = _Verb(calls.health)
    doctor = _Verb(calls.doctor)
    me = _Verb(calls.me)
    create_token = _Verb(calls.create_token)
    tokens = _Verb(calls.tokens)
    revoke_token = _Verb(calls.revoke_token)
    members = _Verb(calls.members)
    change_standing = _Verb(calls.change_standing)
    rotate_key = _Verb(calls.rotate_key)
    register_self = _Verb(calls.register_self)
    registration = _Verb(calls.registration)

    applications = _Verb(calls.applications)
    review = _Verb(calls.review)
    registrations = _Verb(calls.registrations)
    review_registration = _Verb(calls.review_registration)

    add_resource = _Verb(calls.add_resource)
    resources = _Verb(calls.resources)
    resource = _Verb(calls.resource)
    profile_resource = _Verb(calls.profile_resource)
    sample_resource = _Verb(calls.sample_resource)
    edit_resource = _Verb(calls.edit_resource)
    submit_resource = _Verb(calls.submit_resource)
    withdraw_resource = _Verb(calls.withdraw_resource)
    add_product = _Verb(calls.add_product)
    products = _Verb(calls.products)
    own_product = _Verb(calls.own_product)
    edit_product = _Verb(calls.edit_product)
    submit_product = _Verb(calls.submit_product)
    list_product = _Verb(calls.list_product)
    withdraw = _Verb(calls.withdraw)

    search = _Verb(calls.search)
    product = _Verb(calls.product)
    offer = _Verb(calls.offer)
    propose = _Verb(calls.propose)
    negotiate = _Verb(calls.negotiate)
    wait_for_contract = _Verb(calls.wait_for_contract)
    negotiations = _Verb(calls.negotiations)
    negotiation = _Verb(calls.negotiation)
    accept_offer = _Verb(calls.accept_offer)
    counter_offer = _Verb(calls.counter_offer)
    end_negotiation = _Verb(calls.end_negotiation)

    contracts = _Verb(calls.contracts)
    contract = _Verb(calls.contract)
    budget = _Verb(calls.budget)
    terminate = _Verb(calls.terminate)
    seal = _Verb(vault.seal)
    vault_items = _Verb(vault.vault_items)
    vault_item = _Verb(vault.vault_item)
    vault_notes = _Verb(vault.vault_notes)
    vault_destroy = _Verb(vault.vault_destroy)
    make_profile = _Verb(sharing.make_profile)
    profiles = _Verb(sharing.profiles)
    revoke_profile = _Verb(sharing.revoke_profile)
    transfers = _Verb(verbs.transfers)
    transfer = _Verb(verbs.transfer)
    push = _Verb(verbs.push)
    discard = _Verb(verbs.discard)
    terminate_transfer = _Verb(verbs.terminate_transfer)
    suspend_transfer = _Verb(verbs.suspend_transfer)
    resume_transfer = _Verb(verbs.resume_transfer)
    uses = _Verb(calls.uses)
    bill = _Verb(calls.bill)
    explain = _Verb(weave.explain)
    fabric_answers = _Verb(weave.answers)
    fabric_answer = _Verb(weave.answer)
    lineage = _Verb(weave.lineage)
    issue_statement = _Verb(calls.issue_statement)
    statements = _Verb(calls.statements)
    statement = _Verb(calls.statement)
    bundle = _Verb(calls.bundle)
    checkpoint = _Verb(calls.checkpoint)
    log_key = _Verb(calls.log_key)
    entries = _Verb(calls.entries)
    proof = _Verb(calls.proof)


def _query(text: str, contract: Contract | str, purpose: str, use_id: str | None) -> dict[str, Any]:
    key = contract if isinstance(contract, str) else contract.id
    # The id is ours, so that a repeat after a broken line is the same use and not a second bill.
    use = use_id or str(uuid.uuid4())
    return {"contract_id": key, "sql": text, "purpose": purpose, "use_id": use}


def _request(where: Target, call: Call[Any]) -> dict[str, Any]:
    return {
        "method": call.method,
        "url": f"{where.base}{API}{call.path}",
        "params": call.params,
        "json": call.body,
        "timeout": httpx.Timeout(where.timeout_s + call.wait_s, connect=CONNECT_TIMEOUT_S),
    }


def _client_options(where: Target) -> dict[str, Any]:
    # One's own node is reached directly, never through a proxy of the environment.
    return {
        "headers": where.headers(),
        "verify": where.tls if where.tls is not None else False,
        "trust_env": False,
    }


class Space(_Verbs):
    """A synchronous client of one node; safe to share between threads; close it when done."""

    def __init__(self, where: Target) -> None:
        self.target = where
        self._http = httpx.Client(**_client_options(where))
        self._lines = Lines(where)

    def run(self, work: Call[T] | Flow[T]) -> T:
        """Carry out a verb of `calls`; raises YunheRefused, NodeUnreachable, UnexpectedAnswer."""
        if isinstance(work, Call):
            return self._send(work)
        answer: Any = None
        while True:
            try:
                step = work.send(answer)
            except StopIteration as done:
                return cast(T, done.value)
            if isinstance(step, Pause):
                time.sleep(step.seconds)
                answer = None
            else:
                answer = self._send(step)

    def _send(self, call: Call[T]) -> T:
        try:
            response = self._http.request(**_request(self.target, call))
        except httpx.HTTPError as error:
            raise unreachable(self.target.base, error) from error
        return read_answer(self.target, call, response.status_code, response.content)

    def sql(
        self,
        text: str,
        contract: Contract | str,
        purpose: str,
        use_id: str | None = None,
        timeout_s: float = QUERY_TIMEOUT_S,
    ) -> pyarrow.Table:
        """Run plain SQL under a contract and return the governed result.

        The schema's metadata holds `yunhe.use_id` and `yunhe.groups_withheld`. Repeating with the
        same `use_id` never charges twice. Raises YunheRefused with the reason, StreamBroken.
        """
        with self.sql_stream(text, contract, purpose, use_id, timeout_s) as batches:
            return batches.read_all()

    def sql_stream(
        self,
        text: str,
        contract: Contract | str,
        purpose: str,
        use_id: str | None = None,
        timeout_s: float = QUERY_TIMEOUT_S,
    ) -> Batches:
        """As `sql`, but an iterator of record batches; `timeout_s` bounds each wait for bytes."""
        query = _query(text, contract, purpose, use_id)
        return stream.open_stream(self.target, self._lines, query, timeout_s)

    def fabric(
        self,
        text: str,
        contracts: weave.Contracts,
        purpose: str,
        fabric_id: str | None = None,
        timeout_s: float = QUERY_TIMEOUT_S,
    ) -> pyarrow.Table:
        """Run one SQL over the products of several nodes; see `explain` for what will happen.

        `contracts`: alias -> contract, or the contracts that each hold a part of the same tables.
        The schema's metadata holds `yunhe.policy`, what the result inherits. Raises YunheRefused.
        """
        query = weave.asked(text, contracts, purpose, fabric_id)
        with stream.open_stream(
            self.target, self._lines, query, timeout_s, "/fabric/sql"
        ) as batches:
            return batches.read_all()

    def sql_pandas(
        self, text: str, contract: Contract | str, purpose: str, use_id: str | None = None
    ) -> pandas.DataFrame:
        """As `sql`, as a pandas frame."""
        stream.optional("pandas")
        frame: pandas.DataFrame = self.sql(text, contract, purpose, use_id).to_pandas()
        return frame

    def sql_polars(
        self, text: str, contract: Contract | str, purpose: str, use_id: str | None = None
    ) -> polars.DataFrame:
        """As `sql`, as a polars frame."""
        to_frame = stream.optional("polars").from_arrow
        frame: polars.DataFrame = to_frame(self.sql(text, contract, purpose, use_id))
        return frame

    def receive(
        self,
        contract: Contract | str,
        to: str | Path,
        *,
        sql: str = "",
        purpose: str = "",
        use_id: str | None = None,
        on_progress: Callable[[Transfer], None] | None = None,
        timeout_s: float = RECEIVE_TIMEOUT_S,
    ) -> Received:
        """Have the whole product pushed to your node, or what `sql` says, and write it to `to`.

        A folder, or a file ending in .arrow, .arrows (a stream) or .parquet. It is one use, and
        signed for as any other. Raises YunheRefused, PushEnded, PushTimeout, BadTarget.
        """
        receive.check_target(Path(to))
        asked = self.run(verbs.push(contract, sql, purpose, use_id))
        self.run(verbs.arrived(asked, on_progress, timeout_s))
        return self.fetch(asked.id, to)

    def vault_read(
        self, item: str, purpose: str = "", application_token: str = ""
    ) -> pyarrow.Table:
        """Open a sealed delivery once more: a use as any. `application_token`: of the program that
        reads, where the contract names applications and our own token is none's."""
        body = {"purpose": purpose, "application_token": application_token}
        return vault.read_table(self.target, self._http, item, body)

    def vault_sql(
        self, item: str, sql: str, purpose: str = "", application_token: str = ""
    ) -> pyarrow.Table:
        """Run SQL over a sealed delivery, in the memory of a worker of this node: one use."""
        body = {"sql": sql, "purpose": purpose, "application_token": application_token}
        return vault.read_table(self.target, self._http, item, body, "sql")

    def fetch(self, transfer: Transfer | str, to: str | Path) -> Received:
        """Write what a push has brought to `to`, as `receive` does; the node keeps it."""
        key = transfer if isinstance(transfer, str) else transfer.id
        return receive.fetch(self.target, self._http, self.run(verbs.transfer(key)), Path(to))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
        self._lines.close()

    def __enter__(self) -> Space:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncSpace(_Verbs):
    """The same verbs to await; queries read their stream in a thread."""

    def __init__(self, where: Target) -> None:
        self.target = where
        self._http = httpx.AsyncClient(**_client_options(where))
        self._lines = Lines(where)

    async def run(self, work: Call[T] | Flow[T]) -> T:
        """Carry out a verb of `calls`; raises as `Space.run`."""
        if isinstance(work, Call):
            return await self._send(work)
        answer: Any = None
        while True:
            try:
                step = work.send(answer)
            except StopIteration as done:
                return cast(T, done.value)
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                answer = None
            else:
                answer = await self._send(step)

    async def _send(self, call: Call[T]) -> T:
        try:
            response = await self._http.request(**_request(self.target, call))
        except httpx.HTTPError as error:
            raise unreachable(self.target.base, error) from error
        return read_answer(self.target, call, response.status_code, response.content)

    async def sql(
        self,
        text: str,
        contract: Contract | str,
        purpose: str,
        use_id: str | None = None,
        timeout_s: float = QUERY_TIMEOUT_S,
    ) -> pyarrow.Table:
        """As `Space.sql`."""

        def whole() -> pyarrow.Table:
            query = _query(text, contract, purpose, use_id)
            with stream.open_stream(self.target, self._lines, query, timeout_s) as batches:
                return batches.read_all()

        return await asyncio.to_thread(whole)

    async def fabric(
        self,
        text: str,
        contracts: weave.Contracts,
        purpose: str,
        fabric_id: str | None = None,
        timeout_s: float = QUERY_TIMEOUT_S,
    ) -> pyarrow.Table:
        """As `Space.fabric`."""

        def whole() -> pyarrow.Table:
            query = weave.asked(text, contracts, purpose, fabric_id)
            with stream.open_stream(
                self.target, self._lines, query, timeout_s, "/fabric/sql"
            ) as batches:
                return batches.read_all()

        return await asyncio.to_thread(whole)

    async def sql_stream(
        self,
        text: str,
        contract: Contract | str,
        purpose: str,
        use_id: str | None = None,
        timeout_s: float = QUERY_TIMEOUT_S,
    ) -> AsyncIterator[pyarrow.RecordBatch]:
        """As `Space.sql_stream`; an async iterator of record batches."""
        query = _query(text, contract, purpose, use_id)
        batches = await asyncio.to_thread(
            stream.open_stream, self.target, self._lines, query, timeout_s
        )
        with batches:
            each = iter(batches)
            while (batch := await asyncio.to_thread(next, each, None)) is not None:
                yield batch

    async def receive(
        self,
        contract: Contract | str,
        to: str | Path,
        *,
        sql: str = "",
        purpose: str = "",
        use_id: str | None = None,
        on_progress: Callable[[Transfer], None] | None = None,
        timeout_s: float = RECEIVE_TIMEOUT_S,
    ) -> Received:
        """As `Space.receive`."""
        receive.check_target(Path(to))
        asked = await self.run(verbs.push(contract, sql, purpose, use_id))
        await self.run(verbs.arrived(asked, on_progress, timeout_s))
        return await self.fetch(asked.id, to)

    async def fetch(self, transfer: Transfer | str, to: str | Path) -> Received:
        """As `Space.fetch`."""

        def whole() -> Received:
            with Space(self.target) as space:
                return space.fetch(transfer, to)

        return await asyncio.to_thread(whole)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        self._lines.close()

    async def __aenter__(self) -> AsyncSpace:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


def connect(
    url: str,
    token: str | None = None,
    *,
    timeout_s: float = TIMEOUT_S,
    tls: ssl.SSLContext | None = None,
    insecure: bool = False,
) -> Space:
    """A client of your own node at `url`; nothing is sent until the first verb.

    `tls` for a private certificate authority; `insecure` lets a token travel over plain http to
    another machine. Raises InsecureUrl, Invalid.
    """
    return Space(target(url, token, timeout_s, tls, insecure))


def connect_async(
    url: str,
    token: str | None = None,
    *,
    timeout_s: float = TIMEOUT_S,
    tls: ssl.SSLContext | None = None,
    insecure: bool = False,
) -> AsyncSpace:
    """As `connect`, for asyncio."""
    return AsyncSpace(target(url, token, timeout_s, tls, insecure))
