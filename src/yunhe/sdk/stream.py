"""One governed query as an Arrow stream, read as it arrives and never buffered whole.

In: a target and a query. Out: `Batches`. The standard library's http.client reads here: pyarrow
pulls bytes straight from the socket's file, and a body that ends early is an error, not an end.
"""

from __future__ import annotations

import http.client
import importlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

from yunhe.sdk.errors import ArrowMissing, StreamBroken, UnexpectedAnswer, unreachable
from yunhe.sdk.lines import Lines
from yunhe.sdk.target import Target, refusal

if TYPE_CHECKING:
    import pyarrow

ARROW = "application/vnd.apache.arrow.stream"
_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"  # the end-of-stream mark of Arrow IPC
_PROBLEM_BYTES_MAX = 1 << 20
_AT_ONCE_BYTES_MAX = 1 << 26  # a larger claim is believed only as its bytes come


class Batches:
    """The record batches of one use; iterate once, and close (or use as a context manager)."""

    def __init__(
        self,
        body: Body,
        connection: http.client.HTTPConnection,
        facts: _Facts,
        keep: Callable[[http.client.HTTPConnection], None],
    ) -> None:
        """`keep` takes the connection back when the answer was read to its end."""
        self._arrow = arrow()
        self._body, self._keep = body, keep
        self._connection: http.client.HTTPConnection | None = connection
        self.use_id, self.groups_withheld = facts
        with self._whole():
            self._reader = self._arrow.ipc.open_stream(self._arrow.PythonFile(body, mode="r"))
        self.schema: pyarrow.Schema = self._reader.schema.with_metadata(
            {
                **(self._reader.schema.metadata or {}),
                b"yunhe.use_id": self.use_id.encode(),
                b"yunhe.groups_withheld": b"true" if self.groups_withheld else b"false",
            }
        )

    def __iter__(self) -> Iterator[pyarrow.RecordBatch]:
        with self._whole():
            yield from self._reader
            # The node ends the body only when its own receipt of this use is durable.
            if self._body.tail != _END or self._body.read(1):
                raise EOFError
        connection, self._connection = self._connection, None
        if connection is not None:
            self._keep(connection)

    def read_all(self) -> pyarrow.Table:
        """The rest as one table; raises StreamBroken rather than return a part."""
        batches = [batch.replace_schema_metadata(self.schema.metadata) for batch in self]
        return self._arrow.Table.from_batches(batches, schema=self.schema)

    def close(self) -> None:
        """End the request; closing early tells the node to stop."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @contextmanager
    def _whole(self) -> Iterator[None]:
        try:
            yield
        except (http.client.HTTPException, OSError, EOFError, self._arrow.ArrowInvalid) as error:
            self.close()
            raise StreamBroken(detail=repr(error), use_id=self.use_id) from error

    def __enter__(self) -> Batches:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()


_Facts = tuple[str, bool]


class Body:
    """The response as the file object pyarrow wants, remembering its last eight bytes."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response
        self._allocate = arrow().allocate_buffer
        self.tail = b""
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, fewer only at the end."""
        data = self._response.read(size if size >= 0 else None)
        self._remember(data)
        return data

    def read_buffer(self, size: int) -> pyarrow.Buffer | bytes:
        """As `read`, from the socket to where the record batch will lie, without a copy between."""
        if not 0 <= size <= _AT_ONCE_BYTES_MAX:
            return self.read(size)
        buffer = self._allocate(size)
        view = memoryview(buffer)
        view = view[: self._response.readinto(view)]
        self._remember(view)
        return buffer if len(view) == size else bytes(view)

    def _remember(self, data: bytes | memoryview) -> None:
        self.tail = (self.tail + data[-8:])[-8:]

    def close(self) -> None:
        """No more will be read; the connection is its owner's."""
        self.closed = True


def arrow() -> ModuleType:
    """pyarrow with its ipc module; raises ArrowMissing where it is not installed."""
    optional("pyarrow.ipc")
    return optional("pyarrow")


def require_arrow() -> None:
    """Raise ArrowMissing now rather than after a query was sent and charged."""
    arrow()


def optional(name: str) -> ModuleType:
    """A module of the table world by name; raises ArrowMissing where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ArrowMissing(package=name.partition(".")[0]) from error


def open_stream(
    where: Target, lines: Lines, query: dict[str, Any], timeout_s: float, path: str = "/sql"
) -> Batches:
    """Send a query and return at the first byte of its result.

    Raises ArrowMissing before anything is sent (a use costs money), YunheRefused, NodeUnreachable,
    StreamBroken.
    """
    arrow()
    headers = {**where.headers(), "accept": ARROW, "content-type": "application/json"}
    connection, response = lines.ask(json.dumps(query).encode(), headers, timeout_s, path)
    if response.status != 200:
        try:
            body = response.read(_PROBLEM_BYTES_MAX)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise unreachable(where.base, error) from error
        if response.isclosed():
            lines.give_back(connection)
        else:
            connection.close()  # there is more in it than a refusal
        raise refusal(where, response.status, body)
    if response.headers.get_content_type() != ARROW:
        connection.close()
        raise UnexpectedAnswer(url=where.base, why="a query answered without Arrow")
    use_id = response.headers.get("x-yunhe-use-id", query.get("use_id", ""))
    withheld = response.headers.get("x-yunhe-groups-withheld", "false") == "true"
    return Batches(Body(response), connection, (use_id, withheld), lines.give_back)
