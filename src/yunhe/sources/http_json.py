"""Rows of an HTTP JSON API behind a connection: paged, paced, bounded, never elsewhere.

In: a connection of node.toml (address, paging, a reference to its token) and a path below that
address. Out: one staged NDJSON file. Server-side request forgery ends here: the host is the
operator's, its addresses are checked at the moment of connecting, no redirect is followed, and
what an answer names as its next page must lie below the same address.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import httpx

from yunhe.kernel import limits
from yunhe.kernel.bodies import ACCEPTED, Unpackable, read_body
from yunhe.kernel.egress import Egress
from yunhe.sources.connections import Connection
from yunhe.sources.errors import SourceAway, SourceTooLarge
from yunhe.sources.locator import Locator
from yunhe.sources.port import Piece

_AGAIN: Final = frozenset({429, 502, 503, 504})
_NEXT_LINK: Final = re.compile(r'<([^>]{1,2000})>\s*;[^,]*\brel="?next"?')


class HttpJsonSource:
    """All pages of one address: `port.Staged`."""

    def __init__(self, locator: Locator, connection: Connection) -> None:
        """Raises SourceAway for a path that leads out of the connection's address."""
        self._locator, self._connection = locator, connection
        base = connection.text("address").rstrip("/") + "/"
        self._base = urlsplit(base)
        if self._base.scheme not in ("http", "https") or not self._base.hostname:
            raise self._away("its address is no http address", "地址不是 http 地址")
        if self._base.scheme == "http" and not connection.flag("allow_private"):
            raise self._away(
                "plain http needs allow_private = true", "明文 http 须设 allow_private"
            )
        self._first = self._inside(urljoin(base, "./" + locator.path))
        self._asked_at = 0.0

    @property
    def locator(self) -> Locator:
        """As given."""
        return self._locator

    @property
    def check_s(self) -> float:
        """Until its answer is too old."""
        age = self._age_s()
        return age - time.time() % age

    def fingerprint(self) -> str:
        """An API says nothing cheaply: its answer counts for `max_age_s`."""
        told = f"{self._locator}\0{self._first}\0{int(time.time() // self._age_s())}"
        return hashlib.sha256(told.encode()).hexdigest()

    def moved(self, fingerprint: str) -> bool:
        """Pages that change while they are read cannot be told from others."""
        return False

    def stage(self, folder: Path) -> tuple[Piece, ...]:
        """Every row as a line; raises SourceAway, SourceTooLarge."""
        file = folder / "rows.ndjson"
        with file.open("w", encoding="utf-8") as to:
            self._pages(to)
        return (Piece(file, "rows.ndjson", "json"),)

    def _pages(self, to: IO[str]) -> None:
        ends = time.monotonic() + limits.SOURCE_HTTP_S_MAX
        most = self._connection.number("pages_max", limits.SOURCE_HTTP_PAGES_MAX)
        url: str | None = self._sized(self._first)
        seen: set[str] = set()
        size = 0
        with _Client() as client:
            while url is not None:
                if url in seen or len(seen) >= min(most, limits.SOURCE_HTTP_PAGES_MAX):
                    raise self._away("its pages do not end", "分页没有尽头")
                seen.add(url)
                answer, body = self._get(client, url, ends)
                size += len(body)
                if size > limits.SOURCE_HTTP_BYTES_MAX:
                    raise SourceTooLarge(
                        what="the bytes of a table", limit=limits.SOURCE_HTTP_BYTES_MAX
                    )
                data = self._parsed(body)
                rows = self._pointed(data, self._connection.text("items"))
                if not isinstance(rows, list):
                    raise self._away("it has no array of rows", "应答中没有行数组")
                for row in rows:
                    to.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
                url = self._next(url, answer, data, len(rows))

    def _sized(self, url: str) -> str:
        param, size = self._connection.text("size_param"), self._connection.text("page_size")
        return _with(url, param, size) if param and size else url

    def _next(self, url: str, answer: httpx.Response, data: Any, rows: int) -> str | None:
        way = self._connection.text("page", "none")
        if way == "none":
            return None
        if way == "link":
            pointer = self._connection.text("next")
            found = self._pointed(data, pointer) if pointer else None
            if not pointer:
                link = _NEXT_LINK.search(answer.headers.get("link", ""))
                found = link[1] if link else None
            return self._inside(urljoin(url, found)) if isinstance(found, str) and found else None
        param = self._connection.text("page_param", way)
        if way == "cursor":
            found = self._pointed(data, self._connection.text("next"))
            held = found if isinstance(found, (str, int)) and not isinstance(found, bool) else ""
            return _with(url, param, str(held)) if held != "" else None
        if way in ("offset", "page") and rows:
            now = dict(parse_qsl(urlsplit(url).query)).get(param, "0" if way == "offset" else "1")
            if not now.isdecimal():
                raise self._away(f"{param} is no whole number", f"{param} 不是整数")
            return _with(url, param, str(int(now) + (rows if way == "offset" else 1)))
        if way in ("offset", "page"):
            return None
        raise self._away(f"there is no paging {way!r}", f"没有分页方式 {way!r}")

    def _get(self, client: _Client, url: str, ends: float) -> tuple[httpx.Response, bytes]:
        for attempt in range(limits.SOURCE_HTTP_TRIES):
            self._pace()
            try:
                answer, body = self._once(client, url, ends)
            except httpx.HTTPError as error:
                if client.cut:
                    raise self._away("it takes too long", "耗时过长", str(error)) from error
                last = self._away("it cannot be reached", "无法连接", str(error))
                time.sleep(min(0.2 * 2**attempt, self._left(ends)))
                continue
            if answer.status_code == 200:
                return answer, body
            last = self._away(f"it answers {answer.status_code}", f"应答状态 {answer.status_code}")
            if answer.status_code not in _AGAIN:
                break
            after = answer.headers.get("retry-after", "")
            wait = float(after) if after.isdecimal() else 0.2 * 2**attempt
            time.sleep(min(wait, limits.SOURCE_HTTP_WAIT_S_MAX, self._left(ends)))
        raise last

    def _left(self, ends: float) -> float:
        """Seconds left for all pages together; raises SourceAway when there are none."""
        left = ends - time.monotonic()
        if left <= 0:
            raise self._away("it takes too long", "耗时过长")
        return left

    def _once(self, client: _Client, url: str, ends: float) -> tuple[httpx.Response, bytes]:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        address = self._address(host, port)
        shown = f"[{address}]" if ":" in address else address
        # To the very address that was checked; TLS still verifies the name.
        there = parts._replace(netloc=f"{shown}:{port}").geturl()
        told = {"Accept": "application/json", "Accept-Encoding": ACCEPTED}
        headers = {"Host": parts.netloc, **told, **self._token()}
        left = self._left(ends)
        answer_s = min(limits.SOURCE_ANSWER_S_MAX, left)
        timeout = httpx.Timeout(answer_s, connect=min(limits.SOURCE_CONNECT_S_MAX, left))
        page_s = min(limits.SOURCE_PAGE_S_MAX, left)
        with client.within(page_s, there, host, headers, timeout) as answer:
            most, coding = limits.SOURCE_HTTP_PAGE_BYTES_MAX, answer.headers.get("content-encoding")
            try:
                body = read_body(self._in_time(answer, ends), coding or "", most)
            except Unpackable as error:
                raise httpx.DecodingError(str(error)) from error
            if len(body) > most:
                raise SourceTooLarge(what="the bytes of a page", limit=most)
            if client.cut:  # without a stated length, what is cut ends like what is whole
                raise self._away("it takes too long", "耗时过长")
            return answer, body

    def _address(self, host: str, port: int) -> str:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise self._away("its host has no address", "主机没有地址", str(error)) from error
        addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
        egress = Egress(local=self._connection.flag("allow_private"))
        if not addresses or not all(egress.allows(each) for each in addresses):
            why = "its host leads to an address that is not public"
            raise self._away(why, "其主机指向非公网地址", str(addresses))
        return addresses[0]

    def _in_time(self, answer: httpx.Response, ends: float) -> Iterator[bytes]:
        for chunk in answer.iter_raw():
            self._left(ends)
            yield chunk

    def _token(self) -> Mapping[str, str]:
        token = self._connection.secret("token")
        if token is None:
            return {}
        header = self._connection.text("header")
        return {header: token} if header else {"Authorization": f"Bearer {token}"}

    def _pace(self) -> None:
        rate = self._connection.number("rate_per_s", limits.SOURCE_HTTP_RATE)
        time.sleep(max(0.0, self._asked_at + 1 / max(rate, 1) - time.monotonic()))
        self._asked_at = time.monotonic()

    def _inside(self, url: str) -> str:
        """`url` if it lies below the connection's address; raises SourceAway."""
        parts = urlsplit(url)
        base = self._base
        same = (parts.scheme, parts.netloc) == (base.scheme, base.netloc)
        climbs = any(
            word in parts.path for word in ("/../", "\\", "//", "%2e", "%2E", "%2f", "%2F")
        )
        if not same or climbs or not f"{parts.path}/".startswith(base.path):
            raise self._away("it leads out of the connection's address", "超出了该连接的地址范围")
        return parts._replace(fragment="").geturl()

    def _parsed(self, body: bytes) -> Any:
        try:
            return json.loads(body, parse_constant=_never)
        except (ValueError, RecursionError) as error:
            raise self._away("its answer is no JSON", "应答不是 JSON") from error

    def _pointed(self, data: Any, pointer: str) -> Any:
        for key in pointer.split("/")[1:] if pointer else ():
            data = data.get(key) if isinstance(data, dict) else None
        return data

    def _age_s(self) -> int:
        return max(1, self._connection.number("max_age_s", limits.SOURCE_HTTP_AGE_S))

    def _away(self, en: str, zh: str, detail: str = "") -> SourceAway:
        return SourceAway(detail, path=str(self._locator), why=en, why_zh=zh)


class _Client:
    """One caller's HTTP client whose every request ends in time, however head or body drips.

    Its own timeouts are for one read each: a byte every second would meet none of them.
    """

    def __init__(self) -> None:
        self.cut = False  # whether the last request was ended by its time
        one = httpx.Limits(max_connections=1)  # so that there is one line to be cut, the latest
        self._http = httpx.Client(follow_redirects=False, trust_env=False, limits=one)
        self._line: socket.socket | None = None

    def __enter__(self) -> _Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()
        self._drop()

    @contextlib.contextmanager
    def within(
        self,
        seconds: float,
        url: str,
        host: str,
        headers: Mapping[str, str],
        timeout: httpx.Timeout,
    ) -> Iterator[httpx.Response]:
        """The answer to a GET, of the server named `host`; raises httpx.HTTPError."""
        self.cut = False
        timer = threading.Timer(seconds, self._cut)
        timer.daemon = True
        timer.start()
        more = {"sni_hostname": host, "trace": self._seen}
        try:
            with self._http.stream(
                "GET", url, headers=dict(headers), timeout=timeout, extensions=more
            ) as answer:
                yield answer
        finally:
            timer.cancel()

    def _seen(self, event: str, told: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            self._drop()  # of what hangs up after every page only the latest is held
            # A descriptor of our own: TLS takes the first one over, and may drip already.
            self._line = told["return_value"].get_extra_info("socket").dup()
            if self.cut:
                self._cut()

    def _drop(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()

    def _cut(self) -> None:
        self.cut = True
        line = self._line
        if line is not None:
            with contextlib.suppress(OSError):  # it has ended by itself
                line.shutdown(socket.SHUT_RDWR)


def _with(url: str, param: str, value: str) -> str:
    parts = urlsplit(url)
    kept = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] != param]
    return parts._replace(query=urlencode([*kept, (param, value)])).geturl()


def _never(word: str) -> Iterator[Any]:
    raise ValueError(f"{word} is no JSON")
