"""Abuses of the data door over HTTP: stolen and forged tokens, confused headers, lying lengths."""

from __future__ import annotations

import base64
import functools
import gzip
import http.client
import itertools
import json
import socket
import time
from collections.abc import Callable
from typing import Any, Final

from attack import canaries
from attack.faces import PEER, answer, problem_code
from attack.world import Target
from flow.world import PURPOSE
from yunhe.kernel.keys import jwt

Head = list[tuple[str, str]]
DATA_TYPE: Final = "yunhe-data+jwt"
SQL: Final = "SELECT age FROM patients LIMIT 3"
_numbers: Final = itertools.count()


def data_token(aim: Target, mode: str = "rows") -> str:
    """The consumer's own data token."""
    return aim.world["r"].node.contracts.access(aim.contracts[mode].id).token


def peer_token(aim: Target, key: str = "r", audience: str = "a", **more: Any) -> str:
    """A fresh self-issued token of a node."""
    return aim.world[key].node.identity.mint(aim.world[audience].did, **more)


def head(aim: Target, **over: str | None) -> Head:
    """The headers of an honest request, one replaced or (None) left out."""
    made: dict[str, str | None] = {
        "Authorization": f"Bearer {data_token(aim)}",
        PEER: f"Bearer {peer_token(aim)}",
        "Content-Type": "application/json",
        **over,
    }
    return [(name, value) for name, value in made.items() if value is not None]


def body(sql: str = SQL, **more: Any) -> bytes:
    """The body of an honest request."""
    use_id = f"abuse-{next(_numbers)}"
    return json.dumps({"use_id": use_id, "sql": sql, "purpose": PURPOSE, **more}).encode()


def send(
    aim: Target,
    headers: Head,
    content: bytes = b"",
    line: str = "POST /data/v1/query HTTP/1.1",
    length: bool = True,
    end: bool = False,
) -> str:
    """Bytes as given, on a connection of their own; what came. `end`: nothing more will follow."""
    content = content or body()
    lines = [line, "Host: provider", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers]
    if length:
        lines.append(f"Content-Length: {len(content)}")
    raw = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + content
    port = aim.world["a"].config.listen_port
    with socket.create_connection(("127.0.0.1", port), timeout=20) as wire:
        try:
            wire.sendall(raw)
            if end:
                wire.shutdown(socket.SHUT_WR)
            response = http.client.HTTPResponse(wire)
            response.begin()
            got = response.read()
        except (http.client.HTTPException, OSError):
            return "CLOSED"
    return outcome(response, got)


def outcome(response: http.client.HTTPResponse, got: bytes) -> str:
    """The code of an answer, or what of it should not be there."""
    shown = str(response.getheaders()) + got.decode("latin-1")
    if response.status == 200:
        decoded = answer(got)
        marks = canaries.leaks(decoded.shown) or canaries.large_numbers(decoded.rows)
        return f"LEAK of {marks}" if marks else decoded.code
    if marks := canaries.leaks(shown):
        return f"LEAK of {marks}"
    code = problem_code(got)
    return f"HTTP_{response.status}" if code.startswith("?") else code


def with_head(**over: str | None) -> Callable[[Target], str]:
    return lambda aim: send(aim, head(aim, **over))


def with_body(content: bytes) -> Callable[[Target], str]:
    return lambda aim: send(aim, head(aim), content)


def with_line(line: str) -> Callable[[Target], str]:
    return lambda aim: send(aim, head(aim), line=line)


# --- tokens ------------------------------------------------------------------------------------


def _with_peer(make: Callable[[Target], str]) -> Callable[[Target], str]:
    return lambda aim: send(aim, head(aim, **{PEER: f"Bearer {make(aim)}"}))


def _with_data(make: Callable[[Target], str]) -> Callable[[Target], str]:
    return lambda aim: send(aim, head(aim, Authorization=f"Bearer {make(aim)}"))


def _replayed(aim: Target) -> str:
    token = f"Bearer {peer_token(aim)}"
    first = send(aim, head(aim, **{PEER: token}))
    return send(aim, head(aim, **{PEER: token})) if first == "RUNS" else f"first: {first}"


def _claims(aim: Target, **over: Any) -> dict[str, Any]:
    now = int(time.time())
    contract = aim.contracts["rows"]
    transfer = aim.world["r"].node.contracts.transfers(contract.id)[0]
    good = {"iss": aim.world["a"].did, "sub": aim.world["r"].did, "contract": contract.id}
    good |= {"transfer": transfer.peer_pid, "jti": f"t{next(_numbers)}", "iat": now}
    return {**good, "exp": now + 300, **over}


def _forged(
    key: str = "a", typ: str = DATA_TYPE, **over: Callable[[Target], Any]
) -> Callable[[Target], str]:
    """A data token signed by a node's key, with claims changed."""

    def act(aim: Target) -> str:
        data_token(aim)  # the transfer must be there
        claims = _claims(aim, **{name: make(aim) for name, make in over.items()})
        token = jwt(aim.world[key].node.keys.key("did"), claims, typ=typ)
        return send(aim, head(aim, Authorization=f"Bearer {token}"))

    return act


def _part(token: str, at: int, change: Callable[[dict[str, Any]], None]) -> str:
    """A token with its header (0) or claims (1) changed and its signature kept."""
    parts = token.split(".")
    data = json.loads(base64.urlsafe_b64decode(parts[at] + "=" * (-len(parts[at]) % 4)))
    change(data)
    parts[at] = base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")
    return ".".join(parts)


def _none(token: str) -> str:
    return _part(token, 0, lambda header: header.update(alg="none")).rpartition(".")[0] + "."


def _other_contract(aim: Target) -> str:
    other = aim.contracts["groups"].id
    return _part(data_token(aim), 1, lambda claims: claims.update(contract=other))


def _groups_token_asks_rows(aim: Target) -> str:
    return send(aim, head(aim, Authorization=f"Bearer {data_token(aim, 'groups')}"))


def _swapped(aim: Target) -> str:
    peer, data = peer_token(aim), data_token(aim)
    return send(aim, head(aim, Authorization=f"Bearer {peer}", **{PEER: f"Bearer {data}"}))


def _use_twice(aim: Target) -> str:
    content = body()
    first = send(aim, head(aim), content)
    return send(aim, head(aim), content) if first == "RUNS" else f"first: {first}"


def _use_of_another_contract(aim: Target) -> str:
    content = body("SELECT count(*) FROM patients")
    first = send(aim, head(aim), content)
    token = f"Bearer {data_token(aim, 'groups')}"
    return send(aim, head(aim, Authorization=token), content) if first == "RUNS" else first


def _admin_token(aim: Target) -> str:
    return send(aim, head(aim, Authorization=f"Bearer {aim.world['r'].token}"))


def _api_with(make: Callable[[Target], str]) -> Callable[[Target], str]:
    return lambda aim: send(
        aim, [("Authorization", f"Bearer {make(aim)}")], line="GET /api/v1/contracts HTTP/1.1"
    )


TOKENS: Final = {
    ("an honest request", "RUNS"): with_head(),
    ("no data token", "DATA_TOKEN_INVALID"): with_head(Authorization=None),
    ("no peer token", "TOKEN_MISSING"): with_head(**{PEER: None}),
    ("an empty peer token", "TOKEN_MISSING|TOKEN_MALFORMED"): with_head(**{PEER: "Bearer "}),
    ("basic for bearer", "TOKEN_MALFORMED"): with_head(**{PEER: "Basic YTpi"}),
    ("a stolen data token", "DATA_TOKEN_FOREIGN"): _with_peer(lambda aim: peer_token(aim, "fn")),
    ("a thief signs for the consumer", "TOKEN_SIGNATURE|TOKEN_KEY_UNKNOWN"): _with_peer(
        lambda aim: jwt(
            aim.world["fn"].node.keys.key("did"),
            {
                "iss": aim.world["r"].did,
                "sub": aim.world["r"].did,
                "aud": aim.world["a"].did,
                "jti": f"thief{next(_numbers)}",
                "iat": int(time.time()),
                "exp": int(time.time()) + 60,
            },
        )
    ),
    ("a peer token again", "TOKEN_REPLAYED"): _replayed,
    ("a peer token for another node", "TOKEN_AUDIENCE"): _with_peer(
        lambda aim: peer_token(aim, audience="fn")
    ),
    ("a peer token without membership", "MEMBER_ONLY"): _with_peer(
        lambda aim: peer_token(aim, credential=False)
    ),
    ("a peer token unsigned", "TOKEN_ALGORITHM|TOKEN_MALFORMED"): _with_peer(
        lambda aim: _none(peer_token(aim))
    ),
    ("a peer token changed", "TOKEN_SIGNATURE"): _with_peer(
        lambda aim: _part(peer_token(aim), 1, lambda claims: claims.update(jti="other"))
    ),
    ("a peer token for ever", "TOKEN_SIGNATURE"): _with_peer(
        lambda aim: _part(peer_token(aim), 1, lambda claims: claims.update(exp=2**40))
    ),
    ("a peer token with another key named", "TOKEN_KEY_UNKNOWN|DID_KEY_UNKNOWN"): _with_peer(
        lambda aim: _part(peer_token(aim), 0, lambda header: header.update(kid="#other"))
    ),
    ("a peer token that brings its key", "TOKEN_SIGNATURE|TOKEN_MALFORMED"): _with_peer(
        lambda aim: _part(peer_token(aim), 0, lambda header: header.update(jwk={"kty": "OKP"}))
    ),
    ("a data token changed to another contract", "DATA_TOKEN_INVALID"): _with_data(_other_contract),
    ("a data token unsigned", "DATA_TOKEN_INVALID"): _with_data(lambda aim: _none(data_token(aim))),
    ("a data token of the consumer's own making", "DATA_TOKEN_INVALID"): _forged("r"),
    ("a data token expired", "DATA_TOKEN_EXPIRED"): _forged(exp=lambda aim: int(time.time()) - 1),
    ("a data token of no transfer", "DATA_TOKEN_INVALID"): _forged(transfer=lambda aim: "none"),
    ("a data token for somebody else", "DATA_TOKEN_FOREIGN"): _forged(
        sub=lambda aim: aim.world["fn"].did
    ),
    ("a data token of another issuer", "DATA_TOKEN_INVALID"): _forged(
        iss=lambda aim: aim.world["fn"].did
    ),
    ("a data token of another kind", "DATA_TOKEN_INVALID"): _forged(typ="JWT"),
    ("a contract in the token, a transfer of another", "DATA_TOKEN_INVALID"): _forged(
        contract=lambda aim: aim.contracts["groups"].id
    ),
    ("a contract that is not there", "CONTRACT_UNKNOWN|NOT_FOUND"): _forged(
        contract=lambda aim: "nobody"
    ),
    ("a peer token for a data token", "DATA_TOKEN_INVALID"): _with_data(peer_token),
    ("the tokens swapped", "TOKEN_MALFORMED|TOKEN_ISSUER|TOKEN_AUDIENCE|TOKEN_SIGNATURE"): _swapped,
    ("a person's token for a data token", "DATA_TOKEN_INVALID"): _admin_token,
    ("a token of 50 kB", "DATA_TOKEN_INVALID"): _with_data(lambda aim: "x" * 50_000),
    ("a groups contract asked for rows", "AGGREGATE_RAW_COLUMN"): _groups_token_asks_rows,
    ("one use twice", "USE_ALREADY_SPENT"): _use_twice,
    ("a use id of another contract", "USE_ID_TAKEN"): _use_of_another_contract,
    ("a data token at the management door", "TOKEN_UNKNOWN"): _api_with(data_token),
    ("a peer token at the management door", "TOKEN_UNKNOWN"): _api_with(peer_token),
    ("another node's admin at the management door", "TOKEN_UNKNOWN"): _api_with(
        lambda aim: aim.world["r"].token
    ),
}

# --- headers -----------------------------------------------------------------------------------


def _doubled(name: str, *values: Callable[[Target], str]) -> Callable[[Target], str]:
    """One header several times, in this order."""

    def act(aim: Target) -> str:
        rest = [pair for pair in head(aim) if pair[0] != name]
        return send(aim, [*((name, f"Bearer {make(aim)}") for make in values), *rest])

    return act


def _plus(*more: tuple[str, str]) -> Callable[[Target], str]:
    return lambda aim: send(aim, [*head(aim), *more])


_groups = functools.partial(data_token, mode="groups")
HEADERS: Final = {
    ("a groups token, then a rows token", "INVALID"): _doubled(
        "Authorization", _groups, data_token
    ),
    ("a bad data token, then a good one", "INVALID"): _doubled(
        "Authorization", lambda aim: "x.y.z", data_token
    ),
    ("a thief's peer token, then the owner's", "INVALID"): _doubled(
        PEER, lambda aim: peer_token(aim, "fn"), peer_token
    ),
    ("the owner's unmembered token, then a good one", "INVALID"): _doubled(
        PEER, lambda aim: peer_token(aim, credential=False), peer_token
    ),
    ("a peer header with underscores", "TOKEN_MISSING"): lambda aim: send(
        aim, [(n.replace("-", "_") if n == PEER else n, v) for n, v in head(aim)]
    ),
    ("a contract named in a header", "RUNS"): _plus(("X-Agreement-Id", "nobody")),
    ("a method in a header", "RUNS"): _plus(("X-HTTP-Method-Override", "DELETE")),
    ("a forwarded host", "RUNS"): _plus(("X-Forwarded-Host", "attacker.example")),
    ("a forwarded address", "RUNS"): _plus(("X-Forwarded-For", "127.0.0.1"), ("Via", "1.1 x")),
    ("an origin of elsewhere", "RUNS"): _plus(("Origin", "https://attacker.example")),
    ("a range", "RUNS"): _plus(("Range", "bytes=0-1")),
    ("a cached copy asked for", "RUNS"): _plus(
        ("If-None-Match", "*"), ("Cache-Control", "max-age=9")
    ),
    ("an upgrade", "RUNS|HTTP_400|CLOSED"): _plus(("Upgrade", "h2c"), ("HTTP2-Settings", "AAMA")),
    ("a header that folds", "HTTP_400|RUNS|TOKEN_MISSING"): _plus(("X-A", "b\r\n " + PEER + ": x")),
    ("a header with a line of its own", "INVALID|HTTP_400"): _plus(
        ("X-A", "b\r\nX-Yunhe-Peer: Bearer x")
    ),
    ("a name with a blank", "HTTP_400"): _plus(("Authorization ", "Bearer x")),
    ("a header of 200 kB", "HTTP_400|HTTP_431|CLOSED"): _plus(("X-A", "b" * 200_000)),
    ("ten thousand headers", "HTTP_400|HTTP_431|CLOSED|RUNS"): _plus(*[("X-A", "b")] * 10_000),
    ("another host", "RUNS"): _plus(("Host", "attacker.example")),
    ("a token with a tab", "TOKEN_MALFORMED|HTTP_400|DATA_TOKEN_INVALID"): with_head(
        Authorization="Bearer\tx"
    ),
    ("no content type", "RUNS"): with_head(**{"Content-Type": None}),
    ("a form's content type", "RUNS"): with_head(
        **{"Content-Type": "application/x-www-form-urlencoded"}
    ),
}

# --- framing -----------------------------------------------------------------------------------


def _chunked(content: bytes, *more: tuple[str, str], end: bool = False) -> Callable[[Target], str]:
    def act(aim: Target) -> str:
        headers = [*head(aim), ("Transfer-Encoding", "chunked"), *more]
        return send(aim, headers, content, length=False, end=end)

    return act


def _length(value: str, content: bytes | None = None) -> Callable[[Target], str]:
    def act(aim: Target) -> str:
        headers = [*head(aim), ("Content-Length", value)]
        return send(aim, headers, content or body(), length=False, end=True)

    return act


def _chunks(content: bytes) -> bytes:
    return f"{len(content):x}\r\n".encode() + content + b"\r\n0\r\n\r\n"


_NOT_FOUND: Final = "NOT_FOUND|HTTP_404|HTTP_405|METHOD_NOT_ALLOWED|HTTP_307|HTTP_400|INVALID"
FRAMING: Final = {
    ("chunks", "RUNS"): lambda aim: _chunked(_chunks(body()))(aim),
    ("a length too great", "CLOSED|HTTP_400|INVALID|BAD_JSON"): _length("99999"),
    ("a length too small", "BAD_JSON"): _length("10"),
    ("a negative length", "HTTP_400"): _length("-1"),
    ("a length in hex", "HTTP_400"): _length("0x40"),
    ("a length with a plus", "HTTP_400"): _length("+5"),
    ("a length beyond 64 bits", "HTTP_400"): _length("9" * 40),
    ("two lengths", "HTTP_400"): lambda aim: send(
        aim, [*head(aim), ("Content-Length", "5"), ("Content-Length", "500")], length=False
    ),
    ("a length and chunks", "HTTP_400|RUNS|CLOSED"): lambda aim: _chunked(
        _chunks(body()), ("Content-Length", "4")
    )(aim),
    ("a chunk size that is none", "HTTP_400|CLOSED"): _chunked(b"zz\r\nabc\r\n0\r\n\r\n", end=True),
    ("a chunk of 2^63 bytes", "HTTP_400|CLOSED|TOO_LARGE"): _chunked(
        b"7fffffffffffffff\r\nabc", end=True
    ),
    ("chunks without end", "TOO_LARGE|CLOSED"): _chunked(
        b"10000\r\n" + b"x" * 65536 + b"\r\n", end=True
    ),
    ("a bomb of chunks", "TOO_LARGE|CLOSED"): _chunked(
        (b"10000\r\n" + b" " * 65536 + b"\r\n") * 400, end=True
    ),
    ("a bomb of chunks, to its end", "TOO_LARGE|CLOSED"): _chunked(
        (b"10000\r\n" + b" " * 65536 + b"\r\n") * 400 + b"0\r\n\r\n"
    ),
    ("chunks coded twice", "HTTP_400|RUNS"): lambda aim: send(
        aim, [*head(aim), ("Transfer-Encoding", "gzip, chunked")], _chunks(body()), length=False
    ),
    ("chunks under another spelling", "HTTP_400|BAD_JSON|BAD_QUERY|INVALID"): lambda aim: send(
        aim,
        [*head(aim), ("Transfer-Encoding", "xchunked")],
        _chunks(body()),
        length=False,
        end=True,
    ),
    ("a get", _NOT_FOUND): with_line("GET /data/v1/query HTTP/1.1"),
    ("a put", _NOT_FOUND): with_line("PUT /data/v1/query HTTP/1.1"),
    ("a delete", _NOT_FOUND): with_line("DELETE /data/v1/query HTTP/1.1"),
    ("a trace", _NOT_FOUND): with_line("TRACE /data/v1/query HTTP/1.1"),
    ("a connect", f"{_NOT_FOUND}|CLOSED"): with_line("CONNECT 169.254.169.254:80 HTTP/1.1"),
    ("a method of nobody", _NOT_FOUND): with_line("QUERY /data/v1/query HTTP/1.1"),
    ("a slash more", _NOT_FOUND): with_line("POST /data/v1/query/ HTTP/1.1"),
    ("a slash doubled", _NOT_FOUND): with_line("POST /data//v1/query HTTP/1.1"),
    ("capitals", _NOT_FOUND): with_line("POST /DATA/V1/QUERY HTTP/1.1"),
    ("dots", _NOT_FOUND): with_line("POST /data/v1/../v1/query HTTP/1.1"),
    ("dots in percent", _NOT_FOUND): with_line("POST /data/v1/%2e%2e/v1/query HTTP/1.1"),
    ("a NUL", _NOT_FOUND): with_line("POST /data/v1/query%00 HTTP/1.1"),
    ("a parameter", _NOT_FOUND): with_line("POST /data/v1/query;a=b HTTP/1.1"),
    ("the path in percent", f"{_NOT_FOUND}|RUNS"): with_line("POST /data/v1/%71uery HTTP/1.1"),
    ("SQL in the address", "RUNS"): with_line("POST /data/v1/query?sql=SELECT+diag HTTP/1.1"),
    ("an address of elsewhere", "RUNS|HTTP_400|NOT_FOUND|HTTP_404"): with_line(
        "POST http://169.254.169.254/data/v1/query HTTP/1.1"
    ),
    ("HTTP 1.0", "RUNS"): with_line("POST /data/v1/query HTTP/1.0"),
    ("HTTP 9.9", "HTTP_400|CLOSED"): with_line("POST /data/v1/query HTTP/9.9"),
    ("no protocol", "HTTP_400|CLOSED|RUNS"): with_line("POST /data/v1/query"),
}

# --- bodies ------------------------------------------------------------------------------------

_OK: Final = b'"sql": "SELECT age FROM patients LIMIT 1", "purpose": "clinical-research"'
BODIES: Final = {
    ("an empty body", "BAD_JSON|BAD_QUERY"): with_body(b" "),
    ("half an object", "BAD_JSON"): with_body(b"{"),
    ("a list", "BAD_QUERY"): with_body(b"[]"),
    ("null", "BAD_QUERY"): with_body(b"null"),
    ("a list in a list, ten thousand deep", "BAD_JSON|TOO_LARGE"): with_body(b"[" * 10_000),
    ("ten million characters", "TOO_LARGE|CLOSED"): with_body(b'{"use_id": "' + b"x" * 10_000_000),
    ("a name twice", "BAD_JSON"): with_body(b'{"use_id": "a", "use_id": "b", ' + _OK + b"}"),
    ("SQL twice", "BAD_JSON"): with_body(b'{"use_id": "a", "sql": "SELECT 1", ' + _OK + b"}"),
    ("not a number", "BAD_JSON|BAD_QUERY"): with_body(b'{"use_id": NaN, ' + _OK + b"}"),
    ("a number for the use", "BAD_QUERY"): with_body(b'{"use_id": 7, ' + _OK + b"}"),
    ("a use of 81 characters", "BAD_QUERY"): lambda aim: send(
        aim, head(aim), body(use_id="u" * 81)
    ),
    ("a NUL in a text", "BAD_JSON|BAD_QUERY"): with_body(b'{"use_id": "a\\u0000", ' + _OK + b"}"),
    ("half a surrogate", "BAD_JSON|BAD_QUERY"): with_body(b'{"use_id": "\\ud800", ' + _OK + b"}"),
    ("bytes that are no text", "BAD_JSON"): with_body(b'{"use_id": "\xff", ' + _OK + b"}"),
    ("a mark of byte order", "BAD_JSON"): with_body(b'\xef\xbb\xbf{"use_id": "bom", ' + _OK + b"}"),
    ("UTF-16", "BAD_JSON"): lambda aim: send(aim, head(aim), body().decode().encode("utf-16")),
    ("a contract in the body", "BAD_QUERY"): lambda aim: send(
        aim, head(aim), body(contract_id="other")
    ),
    ("rows asked for in the body", "BAD_QUERY"): lambda aim: send(
        aim, head(aim), body(rows_max=10**9)
    ),
    ("terms in the body", "BAD_QUERY"): lambda aim: send(aim, head(aim), body(masks=[])),
    ("a list of queries", "BAD_QUERY"): lambda aim: send(aim, head(aim), body(sql=[SQL])),
    ("a gzip bomb", "BAD_JSON|CLOSED"): lambda aim: send(
        aim, [*head(aim), ("Content-Encoding", "gzip")], gzip.compress(b" " * 50_000_000)
    ),
    ("an honest body packed", "BAD_JSON"): lambda aim: send(
        aim, [*head(aim), ("Content-Encoding", "gzip")], gzip.compress(body())
    ),
    ("a form", "BAD_JSON"): with_body(b"sql=SELECT+diag+FROM+patients&use_id=1&purpose=x"),
    ("XML", "BAD_JSON"): with_body(
        b'<?xml version="1.0"?><!DOCTYPE a SYSTEM "file:///etc/passwd">'
    ),
    ("Arrow", "BAD_JSON"): with_body(b"ARROW1\x00\x00\xff\xff\xff\xff"),
}
