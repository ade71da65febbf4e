"""Spark Connect on the wire: one session a question, answers streamed as Arrow batches.

In: `[connections.NAME]` of kind spark, and SQL that `dataplane.spark` made. Out: the schema of a
query, and its batches, complete or not at all. What an engine says when it fails never leaves
here: a `Failed` carries one word. The same calls reach Apache Spark and Sail.
"""

from __future__ import annotations

import contextlib
import re
import uuid
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from time import monotonic
from types import ModuleType
from typing import Any, Final

import pyarrow as pa

from yunhe.kernel import limits
from yunhe.sources.connections import Connection
from yunhe.sources.database import AWAY, FAILED, TIME, UNTESTED, Failed, Stop
from yunhe.sources.errors import SourceExtraMissing

# Versions on which the same corpus gave the same tables as our own engine, and leaked nothing.
TESTED: Final = {"sail": ("0.7.2",), "spark": ("4.2.0",)}
_URL: Final = re.compile(
    r"sc://(?P<host>[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:]{2,45}\])(:(?P<port>\d{1,5}))?/?"
    r"(;use_ssl=(?P<tls>true|false);?)?"
)
_LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")
_PORT: Final = "15002"
_SPARK_VERSION: Final = re.compile(r"(\d+\.\d+\.\d+)\S* [0-9a-f]{40}")
_SAIL_VERSION: Final = re.compile(r"\d+\.\d+\.\d+\S*")
_SETTINGS: Final = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.variable.substitute": "false",
    "spark.sql.caseSensitive": "false",
}
_MESSAGE_BYTES_MAX: Final = 128 << 20  # one batch
_ENDING_S_MAX: Final = 30.0  # for a busy server to hear that a query is to end
_REATTACHED_MAX: Final = 1000  # Spark ends a stream every two minutes, to be taken up again
_AWAY_STATUS: Final = ("UNAVAILABLE", "UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED")
_LATE_STATUS: Final = ("DEADLINE_EXCEEDED", "CANCELLED")
_PLAIN: Final = {
    "boolean": "BOOLEAN",
    "byte": "TINYINT",
    "short": "SMALLINT",
    "integer": "INTEGER",
    "long": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "date": "DATE",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
    "timestamp_ntz": "TIMESTAMP",
}


@dataclass(frozen=True)
class Address:
    """Where a server listens: `target` of gRPC, and whether TLS is spoken."""

    target: str
    tls: bool
    local: bool

    @classmethod
    def of(cls, connection: Connection) -> Address | None:
        """The address of a connection; None where its url is no plain `sc://host:port`."""
        found = _URL.fullmatch(connection.text("url"))
        if found is None or int(found["port"] or _PORT) > 65_535:
            return None
        tls = found["tls"] == "true"
        return cls(f"{found['host']}:{found['port'] or _PORT}", tls, found["host"] in _LOOPBACK)


@dataclass(frozen=True)
class _Wire:
    """The generated messages and the stub, loaded on first use."""

    grpc: ModuleType
    messages: ModuleType
    stub: Any


def _wire(what: str) -> _Wire:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pandas, which none of what is used here touches
            import grpc
            import pyspark.sql.connect.proto as messages
            from pyspark.sql.connect.proto.base_pb2_grpc import SparkConnectServiceStub
    except ImportError as error:
        raise SourceExtraMissing(what=what, extra="spark") from error
    return _Wire(grpc, messages, SparkConnectServiceStub)


class Session:
    """One session of one server, settled and of a tested version; ended by `close`."""

    def __init__(self, connection: Connection, what: str, seconds: float, stop: Stop) -> None:
        """`what` names the table in errors. Raises Failed, SourceExtraMissing, CredentialNotRead.

        `seconds` is the time for everything done in it.
        """
        self._wire = _wire(what)
        self._until = monotonic() + seconds
        self._stop = stop
        address = Address.of(connection)
        if address is None:
            raise Failed(AWAY, "its url is not sc://host:port")
        token = connection.secret("token")
        if token is not None and not (address.tls or address.local):
            raise Failed(AWAY, "a token goes to another machine under TLS only")
        self._headers = (("authorization", f"Bearer {token}"),) if token else ()
        self._channel = self._opened(address)
        self._stub = self._wire.stub(self._channel)
        self._id = str(uuid.uuid4())
        self._ending: Any = None  # an interrupt on its way
        self.engine = ""
        try:
            self._settle()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """The server forgets the session; idempotent, raises nothing."""
        if self._ending is not None:  # who stops does not wait for a busy server
            self._ending.add_done_callback(lambda _: self._channel.close())
            return
        self._quietly(self._stub.ReleaseSession, self._message("ReleaseSessionRequest"))
        self._channel.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()

    def columns(self, sql: str) -> list[tuple[str, str | None]]:
        """The columns a query gives, with DuckDB types (None: a type that is not read).

        Nothing runs: the engine's analyser alone is asked. Raises Failed.
        """
        analyze = self._wire.messages.AnalyzePlanRequest
        message = self._message("AnalyzePlanRequest", schema=analyze.Schema(plan=self._plan(sql)))
        answer = self._call(self._stub.AnalyzePlan, message)
        return [(each.name, _type(each.data_type)) for each in answer.schema.schema.struct.fields]

    def run(self, sql: str) -> Iterator[pa.RecordBatch]:
        """The answer's batches, to its end; raises Failed, also where the end does not come.

        Whoever stops reading ends the query there.
        """
        operation = str(uuid.uuid4())
        proto = self._wire.messages
        options = proto.ExecutePlanRequest.RequestOption(
            reattach_options=proto.ReattachOptions(reattachable=True)
        )
        asked = self._message(
            "ExecutePlanRequest",
            plan=self._plan(sql),
            operation_id=operation,
            request_options=[options],
            client_type="yunhe",
        )
        call = self._stub.ExecutePlan(asked, timeout=self._left(), metadata=self._headers)
        ended = False
        try:
            for _ in range(_REATTACHED_MAX):
                self._stop.by(partial(self._interrupt, operation, call))
                last = ""
                for answer in self._answers(call):
                    last = answer.response_id
                    kind = answer.WhichOneof("response_type")
                    if kind == "arrow_batch":
                        yield from _batches(answer.arrow_batch)
                    ended = ended or kind == "result_complete"
                if ended or self._stop.asked or not last:
                    break
                call = self._reattached(operation, last)
        finally:
            with contextlib.suppress(Failed):
                self._stop.by(None)
            if not ended and self._ending is None:
                self._interrupt(operation, call)
            if ended:
                self._release(operation)
        if not ended:
            raise Failed(TIME if self._stop.asked else FAILED, "the answer has no end")

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """A small answer as Python values; raises Failed."""
        return [row for batch in self.run(sql) for row in batch.to_pylist()]

    def _opened(self, address: Address) -> Any:
        grpc = self._wire.grpc
        options = [
            ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
            ("grpc.enable_retries", 0),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        if address.tls:
            return grpc.secure_channel(address.target, grpc.ssl_channel_credentials(), options)
        return grpc.insecure_channel(address.target, options)

    def _settle(self) -> None:
        """Only a version that was tested is asked anything; then the session's fixed settings."""
        proto = self._wire.messages
        connect = min(self._left(), float(limits.SOURCE_CONNECT_S_MAX))
        pairs = [proto.KeyValue(key=key, value=value) for key, value in _SETTINGS.items()]
        change = proto.ConfigRequest.Operation(set=proto.ConfigRequest.Set(pairs=pairs))
        message = self._message("ConfigRequest", operation=change)
        try:
            self._stub.Config(message, timeout=connect, metadata=self._headers)
        except self._wire.grpc.RpcError as error:
            late = error.code() == self._wire.grpc.StatusCode.DEADLINE_EXCEEDED
            raise Failed(AWAY) if late else self._failed(error) from error
        (told,) = self.rows("SELECT version() AS v")
        self.engine = _tested(str(told["v"]))

    def _message(self, kind: str, **values: Any) -> Any:
        proto = self._wire.messages
        user = proto.UserContext(user_id="yunhe", user_name="yunhe")
        return getattr(proto, kind)(session_id=self._id, user_context=user, **values)

    def _plan(self, sql: str) -> Any:
        proto = self._wire.messages
        common = proto.RelationCommon(plan_id=1)
        return proto.Plan(root=proto.Relation(common=common, sql=proto.SQL(query=sql)))

    def _call(self, method: Any, message: Any) -> Any:
        try:
            return method(message, timeout=self._left(), metadata=self._headers)
        except self._wire.grpc.RpcError as error:
            raise self._failed(error) from error

    def _answers(self, call: Any) -> Iterator[Any]:
        try:
            yield from call
        except self._wire.grpc.RpcError as error:
            raise self._failed(error) from error

    def _left(self) -> float:
        return max(0.01, self._until - monotonic())

    def _reattached(self, operation: str, last: str) -> Any:
        message = self._message(
            "ReattachExecuteRequest", operation_id=operation, last_response_id=last
        )
        return self._stub.ReattachExecute(message, timeout=self._left(), metadata=self._headers)

    def _interrupt(self, operation: str, call: Any) -> None:
        """End it there without waiting for it to end, and here at once."""
        kinds = self._wire.messages.InterruptRequest
        message = self._message(
            "InterruptRequest",
            interrupt_type=kinds.INTERRUPT_TYPE_OPERATION_ID,
            operation_id=operation,
        )
        with contextlib.suppress(self._wire.grpc.RpcError, ValueError):
            told = self._stub.Interrupt.future(
                message, timeout=_ENDING_S_MAX, metadata=self._headers
            )
            self._ending = told
        call.cancel()

    def _release(self, operation: str) -> None:
        everything = self._wire.messages.ReleaseExecuteRequest.ReleaseAll()
        message = self._message(
            "ReleaseExecuteRequest", operation_id=operation, release_all=everything
        )
        self._quietly(self._stub.ReleaseExecute, message)

    def _quietly(self, method: Any, message: Any) -> None:
        """Tell the server what it may forget; it does so by itself, too."""
        with contextlib.suppress(self._wire.grpc.RpcError, ValueError):
            method(message, timeout=2.0, metadata=self._headers)

    def _failed(self, error: Any) -> Failed:
        """Which of our words it is; the engine's own words are dropped, they may hold values."""
        status = str(error.code().name) if hasattr(error, "code") else ""
        if self._stop.asked or status in _LATE_STATUS:
            return Failed(TIME, status)
        return Failed(AWAY if status in _AWAY_STATUS else FAILED, status)


def _batches(answer: Any) -> Iterator[pa.RecordBatch]:
    try:
        batches = list(pa.ipc.open_stream(answer.data))
    except (pa.ArrowException, OSError) as error:
        raise Failed(FAILED, "no Arrow stream") from error
    if sum(batch.num_rows for batch in batches) != answer.row_count:
        raise Failed(FAILED, "a batch is not whole")
    yield from batches


def _tested(version: str) -> str:
    """Engine and version; raises Failed for one that the corpus never held on."""
    spark = _SPARK_VERSION.fullmatch(version)
    name = "spark" if spark is not None else "sail"
    number = spark[1] if spark is not None else version
    if number not in TESTED[name] or not (spark or _SAIL_VERSION.fullmatch(version)):
        raise Failed(UNTESTED, f"{name} {number[:40]}")
    return f"{name} {number}"


def _type(kind: Any) -> str | None:
    name = kind.WhichOneof("kind")
    if name == "decimal":
        return f"DECIMAL({kind.decimal.precision},{kind.decimal.scale})"
    if name == "string":
        return "VARCHAR" if kind.string.collation in ("", "UTF8_BINARY") else None
    return _PLAIN.get(str(name))


__all__ = ["TESTED", "Address", "Session"]
