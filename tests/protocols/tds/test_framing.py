"""Golden messages of N03 8.2: the bytes signed, the headers, the envelope, the result codes."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from yunhe import identity
from yunhe.kernel.canonical import BadJson
from yunhe.kernel.errors import (
    Conflict,
    Denied,
    Internal,
    Invalid,
    NotFound,
    RateLimited,
    TooLarge,
    Unavailable,
    YunheError,
)
from yunhe.kernel.keys import SigningKey
from yunhe.protocols.tds import MESSAGES, PeerRefused, PeerUnavailable, errors, framing

SEQUENCE = "0123456789abcdef0123456789abcdef"
NOW = datetime(2025, 9, 1, 3, 20, tzinfo=UTC)
# RFC 8032 §7.1 test 1.
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
KEY = SigningKey("did", Ed25519PrivateKey.from_private_bytes(SEED), "k")


def test_the_golden_string_to_sign() -> None:
    made = framing.string_to_sign(
        {"identityCode": "91330100MA00000665/ZE8NEG1Q5RHAPVS2GZ"},
        "GetOperatorStatus",
        "1.0.0",
        SEQUENCE,
        "1756699200000",
    )
    assert made == (
        b'{"body":{"identityCode":"91330100MA00000665/ZE8NEG1Q5RHAPVS2GZ"},'
        b'"msgcode":"GetOperatorStatus","msgversion":"1.0.0",'
        b'"sequenceNum":"0123456789abcdef0123456789abcdef","timestamp":"1756699200000"}'
    )
    assert hashlib.sha256(made).hexdigest() == (
        "a2d289cac69f1e4bc149304c76ce3285f516beae9cb25ed026c56c5c70bdbfe8"
    )


def test_the_golden_headers() -> None:
    frame = framing.sign(KEY, {"keyword": "肝"}, "SearchDataCatalog", SEQUENCE, NOW)
    headers = frame.headers()
    assert list(headers) == ["msgcode", "msgversion", "timestamp", "sequenceNum", "signValue"]
    assert headers["msgcode"] == "SearchDataCatalog"
    assert headers["msgversion"] == "1.0.0"
    assert headers["timestamp"] == "1756696800000"
    assert len(headers["signValue"]) == 128
    message = (
        '{"body":{"keyword":"肝"},"msgcode":"SearchDataCatalog","msgversion":"1.0.0",'
        f'"sequenceNum":"{SEQUENCE}","timestamp":"1756696800000"}}'
    ).encode()
    assert headers["signValue"] == KEY.private.sign(message).hex()
    framing.check_signature(framing.read(headers, NOW), {"keyword": "肝"}, [KEY.public_jwk()])


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"msgcode": ""}, errors.HeaderMissing),
        ({"msgversion": ""}, errors.HeaderMissing),
        ({"timestamp": ""}, errors.HeaderMissing),
        ({"sequenceNum": ""}, errors.HeaderMissing),
        ({"signValue": ""}, errors.HeaderMissing),
        ({"msgcode": "A" * 33}, errors.HeaderTooLong),
        ({"msgversion": "1" * 21}, errors.HeaderTooLong),
        ({"timestamp": "1" * 14}, errors.HeaderTooLong),
        ({"sequenceNum": "s" * 65}, errors.HeaderTooLong),
        ({"signValue": "a" * 129}, errors.HeaderTooLong),
        ({"msgversion": "2.0.0"}, errors.VersionUnknown),
        ({"timestamp": "today"}, errors.HeaderInvalid),
        ({"timestamp": "１２３"}, errors.HeaderInvalid),
        ({"sequenceNum": "a b"}, errors.HeaderInvalid),
        ({"msgcode": "a\n"}, errors.HeaderInvalid),
    ],
)
def test_headers_are_checked(change: dict[str, str], error: type[YunheError]) -> None:
    headers = {**framing.sign(KEY, {}, "GetApplication", SEQUENCE, NOW).headers(), **change}
    with pytest.raises(error) as refused:
        framing.read(headers, NOW)
    if error is not errors.VersionUnknown:
        assert refused.value.facts["name"] == next(iter(change))


@pytest.mark.parametrize(
    ("seconds", "fine"), [(300, True), (301, False), (-300, True), (-301, False)]
)
def test_the_window_of_the_timestamp(seconds: int, fine: bool) -> None:
    headers = framing.sign(KEY, {}, "GetApplication", SEQUENCE, NOW).headers()
    then = NOW + timedelta(seconds=seconds)
    if fine:
        framing.read(headers, then)
    else:
        with pytest.raises(errors.StaleTimestamp):
            framing.read(headers, then)


@pytest.mark.parametrize(
    "field", ["name", "version", "timestamp", "sequence", "body", "key", "hex"]
)
def test_everything_is_signed(field: str) -> None:
    from dataclasses import replace

    body, jwk = {"a": 1}, KEY.public_jwk()
    frame = framing.sign(KEY, body, "GetApplication", SEQUENCE, NOW)
    if field == "body":
        body = {"a": 2}
    elif field == "key":
        jwk = SigningKey("did", Ed25519PrivateKey.generate(), "x").public_jwk()
    elif field == "hex":
        frame = replace(frame, signature=frame.signature.upper())
    else:
        frame = replace(frame, **{field: "1756696800001"})
    with pytest.raises(errors.BadSignValue):
        framing.check_signature(frame, body, [jwk])


@pytest.mark.parametrize(
    "raw",
    [b"{", b"[]", b'"x"', b"7", b"null", b'{"a":1,"a":2}', b'{"a":NaN}', b"\xff\xfe", b"{}x",
     b'{"a":' * 40 + b"1" + b"}" * 40, b"[" * 100_000, b"{" + b" " * 2_000_000 + b"}"],
)  # fmt: skip
def test_unreadable_bodies(raw: bytes) -> None:
    with pytest.raises(errors.UnreadableMessage):
        framing.read_body(raw, 1 << 20)


@pytest.mark.parametrize("value", [2**60, float("inf"), "\ud800", {"\udfff": 1}])
def test_bodies_that_json_cannot_say(value: object) -> None:
    with pytest.raises(errors.UnreadableMessage):
        framing.string_to_sign({"a": value}, "GetApplication", "1.0.0", SEQUENCE, "1")


def test_no_body_is_the_empty_object() -> None:
    assert framing.read_body(b"", 10) == {}


@pytest.mark.parametrize(
    ("error", "name", "code"),
    [
        (None, "RegisterSubject", "002000"),
        (None, "RegisterConnector", "005000"),
        (None, "RegisterDataProduct", "007000"),
        (errors.HeaderMissing(name="x"), "RegisterSubject", "202001"),
        (errors.HeaderInvalid(name="x"), "RegisterSubject", "202002"),
        (errors.HeaderTooLong(name="x"), "RegisterSubject", "202003"),
        (errors.VersionUnknown(version="1"), "RegisterSubject", "202005"),
        (errors.StaleTimestamp(window_s=300), "RegisterSubject", "202006"),
        (errors.UnknownMessage(name="x"), "x", "200007"),
        (errors.UnreadableMessage(), "ListDataProduct", "208008"),
        (BadJson(why="x"), "ListDataProduct", "208008"),
        (errors.BadSignValue(), "SendReceipt", "111006"),
        (identity.TokenExpired(), "RegisterConnector", "105005"),
        (identity.DidUnreachable(why="x"), "SendReceipt", "111001"),
        (identity.DidUnresolvable(why="x"), "SendReceipt", "111004"),
        (identity.TokenSignature(), "RegisterConnector", "105006"),
        (identity.TokenAudience(), "RegisterConnector", "105004"),
        (identity.TokenReplayed(), "RegisterConnector", "105004"),
        (identity.MemberOnly(), "ListDataProduct", "108004"),
        (identity.SubjectNotRegistered(subject_code="x"), "RegisterConnector", "305001"),
        (identity.PeerSuspended(state="suspended"), "RegisterConnector", "305002"),
        (identity.AlreadyRegistered(what="x"), "RegisterConnector", "305003"),
        (NotFound(what="x"), "GetDataCatalogDetail", "308001"),
        (Conflict(why="x"), "ListDataProduct", "308000"),
        (Denied(), "ListDataProduct", "108004"),
        (Invalid(why="x"), "ListDataProduct", "208002"),
        (TooLarge(what="x", limit=1), "ListDataProduct", "208003"),
        (RateLimited(), "ListDataProduct", "108001"),
        (Unavailable(what="x"), "ListDataProduct", "108001"),
        (Internal(), "ListDataProduct", "108000"),
    ],
)
def test_result_codes(error: YunheError | None, name: str, code: str) -> None:
    assert errors.result_code(error, name) == code


def test_the_golden_envelopes() -> None:
    assert framing.success("RegisterSubject", {"applicationId": "1"}) == {
        "code": "002000",
        "message": "ok",
        "data": {"applicationId": "1"},
    }
    said = framing.failure("GetApplication", identity.ApplicationNotFound())
    assert (said["code"], said["message"]) == ("300001", "There is no such application.")
    assert said["data"]["problem"]["code"] == "APPLICATION_NOT_FOUND"


def test_errors_come_back_as_they_went() -> None:
    sent = framing.failure("RegisterConnector", identity.SubjectNotRegistered(subject_code="S"))
    with pytest.raises(PeerRefused) as refused:
        errors.raise_for("did:web:a", sent["code"], sent["message"], sent["data"])
    assert refused.value.peer_code == "SUBJECT_NOT_REGISTERED"
    assert refused.value.result == "305001"
    assert "S" in refused.value.sentence("en")
    assert refused.value.remedy("en").startswith("Register the organisation")


@pytest.mark.parametrize("code", ["100000", "108001", "108002", "108003"])
def test_what_may_pass_is_tried_again(code: str) -> None:
    with pytest.raises(PeerUnavailable):
        errors.raise_for("did:web:a", code, "busy", {})


@pytest.mark.parametrize("code", ["", "0", "009999", "000000000", "xyz", "400000"])
def test_odd_codes_are_refusals(code: str) -> None:
    with pytest.raises(PeerRefused):
        errors.raise_for("did:web:a", code, "?", {"problem": "?"})


def test_names_fit_the_header() -> None:
    assert all(framing.well_formed(name) for name in MESSAGES)
