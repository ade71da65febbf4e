"""`Space` and `AsyncSpace`: a data space as one sees it from one's own node.

In: verbs. Out: records, Arrow tables, or typed errors. The verbs are values (`call`); a client only
carries them out. The token stays in the client; the provider's never leaves the node.
"""

from __future__ import annotations

import asyncio
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import httpx

from yunhe.sdk import calls, negotiating, receive, sharing, standing, stream, vault, watermark
from yunhe.sdk import fabric as weave
from yunhe.sdk import transfers as verbs
from yunhe.sdk.apps import Apps, AsyncApps
from yunhe.sdk.call import Call, Flow, Pause, id_of
from yunhe.sdk.errors import YunheRefused, unreachable
from yunhe.sdk.lines import CONNECT_TIMEOUT_S, Lines
from yunhe.sdk.model import Contract, Transfer
from yunhe.sdk.receive import Received
from yunhe.sdk.stream import Batches
from yunhe.sdk.target import API, Target, read_answer, target
from yunhe.sdk.verb import Awaiting, Blocking, Verb

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

T = TypeVar("T")

TIMEOUT_S = 30.0
QUERY_TIMEOUT_S = 120.0
RECEIVE_TIMEOUT_S = 3600.0


class _Verbs:
    """What both clients can do; see their modules for parameters, answers and errors."""

    target: Target

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.target.base}>"

    health = Verb(calls.health)
    ready = Verb(calls.ready)
    doctor = Verb(calls.doctor)
    me = Verb(calls.me)
    create_token = Verb(calls.create_token)
    tokens = Verb(calls.tokens)
    revoke_token = Verb(calls.revoke_token)
    members = Verb(calls.members)
    change_standing = Verb(calls.change_standing)
    rotate_key = Verb(calls.rotate_key)
    next_key = Verb(calls.next_key)
    register_self = Verb(calls.register_self)
    registration = Verb(calls.registration)

    applications = Verb(calls.applications)
    review = Verb(calls.review)
    registrations = Verb(calls.registrations)
    review_registration = Verb(calls.review_registration)

    add_resource = Verb(calls.add_resource)
    resources = Verb(calls.resources)
    resource = Verb(calls.resource)
    profile_resource = Verb(calls.profile_resource)
    sample_resource = Verb(calls.sample_resource)
    edit_resource = Verb(calls.edit_resource)
    submit_resource = Verb(calls.submit_resource)
    withdraw_resource = Verb(calls.withdraw_resource)
    add_product = Verb(calls.add_product)
    products = Verb(calls.products)
    own_product = Verb(calls.own_product)
    edit_product = Verb(calls.edit_product)
    submit_product = Verb(calls.submit_product)
    list_product = Verb(calls.list_product)
    withdraw = Verb(calls.withdraw)

    search = Verb(calls.search)
    product = Verb(calls.product)
    offer = Verb(calls.offer)
    propose = Verb(negotiating.propose)
    negotiate = Verb(negotiating.negotiate)
    wait_for_contract = Verb(negotiating.wait_for_contract)
    negotiations = Verb(negotiating.negotiations)
    negotiation = Verb(negotiating.negotiation)
    accept_offer = Verb(negotiating.accept_offer)
    counter_offer = Verb(negotiating.counter_offer)
    end_negotiation = Verb(negotiating.end_negotiation)

    contracts = Verb(calls.contracts)
    contract = Verb(calls.contract)
    budget = Verb(standing.budget)
    governed = Verb(standing.governed)
    terminate = Verb(calls.terminate)
    seal = Verb(vault.seal)
    vault_items = Verb(vault.vault_items)
    vault_item = Verb(vault.vault_item)
    vault_notes = Verb(vault.vault_notes)
    vault_proofs = Verb(vault.vault_proofs)
    vault_destroy = Verb(vault.vault_destroy)
    marked_for = Verb(watermark.marked_for)
    whose_copy = Verb(watermark.whose_copy)
    make_profile = Verb(sharing.make_profile)
    profiles = Verb(sharing.profiles)
    revoke_profile = Verb(sharing.revoke_profile)
    transfers = Verb(verbs.transfers)
    transfer = Verb(verbs.transfer)
    push = Verb(verbs.push)
    discard = Verb(verbs.discard)
    terminate_transfer = Verb(verbs.terminate_transfer)
    suspend_transfer = Verb(verbs.suspend_transfer)
    resume_transfer = Verb(verbs.resume_transfer)
    uses = Verb(calls.uses)
    bill = Verb(calls.bill)
    explain = Verb(weave.explain)
    fabric_answers = Verb(weave.answers)
    fabric_answer = Verb(weave.answer)
    lineage = Verb(weave.lineage)
    issue_statement = Verb(calls.issue_statement)
    statements = Verb(calls.statements)
    statement = Verb(calls.statement)
    bundle = Verb(calls.bundle)
    checkpoint = Verb(calls.checkpoint)
    log_key = Verb(calls.log_key)
    entries = Verb(calls.entries)
    proof = Verb(calls.proof)


def _query(text: str, contract: Contract | str, purpose: str, use_id: str | None) -> dict[str, Any]:
    # The id is ours, so that a repeat after a broken line is the same use and not a second bill.
    use = use_id or str(uuid.uuid4())
    return {"contract_id": id_of(contract), "sql": text, "purpose": purpose, "use_id": use}


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


class Space(_Verbs, Blocking):
    """A synchronous client of one node; safe to share between threads; close it when done."""

    def __init__(self, where: Target) -> None:
        self.target = where
        self._http = httpx.Client(**_client_options(where))
        self._lines = Lines(where)
        self.apps = Apps(self.run, where, self._http)

    def run(self, work: Call[T] | Flow[T]) -> T:
        """Carry out a verb; raises YunheRefused, NodeUnreachable, UnexpectedAnswer."""
        if isinstance(work, Call):
            return self._send(work)
        answer: Any = None
        refused: YunheRefused | None = None
        while True:
            try:  # a flow that goes through several things may go on after a refusal of one
                step = work.send(answer) if refused is None else work.throw(refused)
            except StopIteration as done:
                return cast(T, done.value)
            answer = refused = None
            if isinstance(step, Pause):
                time.sleep(step.seconds)
                continue
            try:
                answer = self._send(step)
            except YunheRefused as error:
                refused = error

    def _send(self, call: Call[T]) -> T:
        status, body = self._lines.call(call)
        return read_answer(self.target, call, status, body)

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
        now = self.run(verbs.transfer(id_of(transfer)))
        return receive.fetch(self.target, self._http, now, Path(to))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
        self._lines.close()

    def __enter__(self) -> Space:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()


class AsyncSpace(_Verbs, Awaiting):
    """The same verbs to await; queries read their stream in a thread."""

    def __init__(self, where: Target) -> None:
        self.target = where
        self._http = httpx.AsyncClient(**_client_options(where))
        self._lines = Lines(where)
        self.apps = AsyncApps(self.run, self._blocking)

    async def run(self, work: Call[T] | Flow[T]) -> T:
        """Carry out a verb; raises as `Space.run`."""
        if isinstance(work, Call):
            return await self._send(work)
        answer: Any = None
        refused: YunheRefused | None = None
        while True:
            try:  # a flow that goes through several things may go on after a refusal of one
                step = work.send(answer) if refused is None else work.throw(refused)
            except StopIteration as done:
                return cast(T, done.value)
            answer = refused = None
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                continue
            try:
                answer = await self._send(step)
            except YunheRefused as error:
                refused = error

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
        return await self._blocking(lambda space: space.fetch(transfer, to))

    async def vault_read(
        self, item: str, purpose: str = "", application_token: str = ""
    ) -> pyarrow.Table:
        """As `Space.vault_read`."""
        asked = (item, purpose, application_token)
        return await self._blocking(lambda space: space.vault_read(*asked))

    async def vault_sql(
        self, item: str, sql: str, purpose: str = "", application_token: str = ""
    ) -> pyarrow.Table:
        """As `Space.vault_sql`."""
        asked = (item, sql, purpose, application_token)
        return await self._blocking(lambda space: space.vault_sql(*asked))

    async def _blocking(self, verb: Callable[[Space], T]) -> T:
        """A verb that reads a whole body, in a thread with a connection of its own."""

        def whole() -> T:
            with Space(self.target) as space:
                return verb(space)

        return await asyncio.to_thread(whole)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        self._lines.close()

    async def __aenter__(self) -> AsyncSpace:
        return self

    async def __aexit__(self, *_raised: object) -> None:
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
