"""One attempt to send a file to a stranger's HTTP address, and nothing more.

In: an address that a consumer named, a file, an offset. Out: all of it taken (2xx), or an error
that says whether another attempt may help. The address is guarded like every other that strangers
tell us (identity.guard); a watch is asked twice a second, so that an end cuts a running body.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final
from urllib.parse import urlsplit

from yunhe.contracts import DataAddress
from yunhe.identity import guarded_socket
from yunhe.kernel import limits
from yunhe.kernel.crash import CrashPoints
from yunhe.kernel.egress import Egress
from yunhe.kernel.errors import Denied, Unavailable
from yunhe.protocols.arrow import wire

OFFSET: Final = "Upload-Offset"
COMPLETE: Final = "Upload-Complete"
DIGEST: Final = "Repr-Digest"
_AGAIN: Final = frozenset({408, 409, 423, 425, 429})


class ReceiverUnreachable(Unavailable):
    code = "RECEIVER_UNREACHABLE"
    en = "The address of the push does not take the data: {why}."
    zh = "推送地址未能接收数据：{why}。"
    mend_en = "Wait; the push goes on by itself. If it persists, look at the receiving service."
    mend_zh = "请等待，推送会自动重试；若仍失败，请检查接收服务。"


class ReceiverRefused(Denied):
    code = "RECEIVER_REFUSED"
    en = "The address of the push refused the data: {why}."
    zh = "推送地址拒绝接收数据：{why}。"
    mend_en = "Ask for a new push to an address and with a token that are valid."
    mend_zh = "请使用有效的地址与令牌重新请求推送。"


@dataclass(frozen=True)
class Parcel:
    """What is to be sent: a file of `total` bytes, its SHA-256 (hex) and the id of its use."""

    path: Path
    total: int
    digest: str
    use_id: str


class Sending:
    """One attempt. `sent` is how far into the file bytes were handed to the network."""

    def __init__(
        self,
        address: DataAddress,
        parcel: Parcel,
        egress: Egress,
        crash: CrashPoints,
    ) -> None:
        self.sent = 0
        self._address, self._parcel = address, parcel
        self._egress, self._crash = egress, crash
        self._socket: socket.socket | None = None
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End it now, from any thread."""
        self._stopped.set()
        found = self._socket
        if found is not None:
            _hang_up(found)

    def run(self, watch: Callable[[], None]) -> None:
        """Send what is missing; returns when the receiver has said that it has all.

        Raises ReceiverUnreachable (again), ReceiverRefused, AddressForbidden (never), and what
        `watch` raises.
        """
        try:
            offset = self._offset() if self._address.ranged else 0
            if offset == self._parcel.total:
                self.sent = offset
                return
            self._send(offset, watch)
        except (OSError, ValueError, http.client.HTTPException) as error:
            why = "stopped" if self._stopped.is_set() else type(error).__name__
            raise ReceiverUnreachable(str(error), why=why) from error

    def probe(self) -> None:
        """Whether the address is there and lets us in, before a use is spent; raises as `run`."""
        try:
            if self._address.ranged:
                self._offset()
            else:
                self._connect().close()
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise ReceiverUnreachable(str(error), why=type(error).__name__) from error

    def _offset(self) -> int:
        """How much the receiver has; it is asked before every attempt."""
        connection = self._open("HEAD", {})
        try:
            answer = _answer(connection, limits.PUSH_CONNECT_S_MAX)
            self._judge(answer)
            said = answer.headers.get(OFFSET, "")
            if not said.isascii() or not said.isdigit() or int(said) > self._parcel.total:
                raise ReceiverRefused(why=f"its {OFFSET} is not a place in the data")
            return int(said)
        finally:
            connection.close()

    def _send(self, offset: int, watch: Callable[[], None]) -> None:
        total = self._parcel.total
        digest = base64.b64encode(bytes.fromhex(self._parcel.digest)).decode()
        headers = {
            "Content-Type": wire.MEDIA_TYPE,
            "Content-Length": str(total - offset),
            DIGEST: f"sha-256=:{digest}:",
        }
        if self._address.ranged:
            headers["Content-Range"] = f"bytes {offset}-{total - 1}/{total}"
        connection = self._open(self._address.method, headers)
        try:
            self.sent = offset
            broken: OSError | None = None
            try:
                self._body(connection.sock, offset, watch)
            except TimeoutError:
                raise
            except OSError as error:
                broken = error  # it may have answered before it hung up
            try:
                answer = _answer(connection, limits.PUSH_ANSWER_S_MAX if broken is None else 1.0)
            except (OSError, http.client.HTTPException) as error:
                raise ReceiverUnreachable(str(broken or error), why="it hung up") from error
            self._judge(answer)
            if broken is not None:
                raise ReceiverUnreachable(str(broken), why="it hung up") from broken
        finally:
            connection.close()

    def _body(self, sock: socket.socket, offset: int, watch: Callable[[], None]) -> None:
        sock.settimeout(limits.STREAM_CHECK_S)
        checked = moved = monotonic()
        with self._parcel.path.open("rb") as file:
            file.seek(offset)
            self._crash.at("before_first_byte")
            while chunk := memoryview(file.read(limits.PUSH_CHUNK_BYTES)):
                while chunk:
                    try:
                        taken = sock.send(chunk)
                    except TimeoutError:
                        taken = 0
                    now = monotonic()
                    moved = now if taken else moved
                    if now - checked >= limits.STREAM_CHECK_S:
                        checked = now
                        watch()
                    if now - moved > limits.STALL_S_MAX:
                        raise TimeoutError("the receiver takes nothing")
                    self.sent += taken
                    self._crash.at("after_first_byte")
                    chunk = chunk[taken:]

    def _open(self, method: str, headers: dict[str, str]) -> http.client.HTTPConnection:
        parts = urlsplit(self._address.endpoint)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
        sock = self._connect()
        try:
            self._socket = connection.sock = sock
            if self._stopped.is_set():
                raise OSError("stopped")
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in (headers | self._credentials()).items():
                connection.putheader(name, value)
            connection.putheader("Connection", "close")
            connection.endheaders()
        except BaseException:
            sock.close()
            raise
        return connection

    def _connect(self) -> socket.socket:
        """A guarded connection to the address, under TLS where it says https."""
        parts = urlsplit(self._address.endpoint)
        if parts.username or parts.password:
            raise ReceiverRefused(why="its address has a password in it")
        tls, host = parts.scheme == "https", parts.hostname or ""
        port, patience_s = parts.port or (443 if tls else 80), limits.PUSH_CONNECT_S_MAX
        sock = guarded_socket(host, port, self._egress, patience_s, parts.scheme)
        try:
            if tls:
                sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host)
            sock.settimeout(patience_s)  # from here on for each wait
            return sock
        except BaseException:
            sock.close()
            raise

    def _credentials(self) -> dict[str, str]:
        token = self._address.token
        said = {wire.USE_ID: self._parcel.use_id}
        if token:
            # A token with a space in it brings its own scheme.
            said["Authorization"] = token if " " in token else f"Bearer {token}"
        return said

    @staticmethod
    def _judge(answer: http.client.HTTPResponse) -> None:
        status = answer.status
        if 200 <= status < 300:
            return
        if status >= 500 or status in _AGAIN:
            raise ReceiverUnreachable(why=f"status {status}")
        raise ReceiverRefused(why=f"status {status}")


def _answer(connection: http.client.HTTPConnection, seconds: float) -> http.client.HTTPResponse:
    """The head of an answer, all of it within `seconds`; raises OSError, HTTPException.

    A head that drips, or a `100 Continue` without end, would hold the thread of a push for ever.
    """
    sock = connection.sock
    end = threading.Timer(seconds, _hang_up, [sock])
    end.daemon = True
    end.start()
    try:
        sock.settimeout(seconds)
        return connection.getresponse()
    finally:
        end.cancel()


def _hang_up(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # Of the connection and not of TLS, whose state belongs to the thread that reads.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
