"""Canonical bytes, keys, money, clock, settings, crash points, errors."""

from __future__ import annotations

import base64
import json
import os
import re
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from yunhe.kernel import keys, limits
from yunhe.kernel.canonical import BadJson, dumps, loads_strict, sha256_hex
from yunhe.kernel.clock import ManualClock, SystemClock, iso, parse_iso, to_second
from yunhe.kernel.crash import POINTS, CrashPoints
from yunhe.kernel.errors import NotFound, TooLarge
from yunhe.kernel.keys import (
    BadSignature,
    KeyStore,
    KeyUnreadable,
    jws_detached,
    jwt,
    read_jwt,
    thumbprint,
    verify,
    verify_jws_detached,
)
from yunhe.kernel.money import charge, parse_yuan, yuan
from yunhe.kernel.settings import NOT_SETTINGS, BadSetting, build, load

VALUES = {
    "name": "n",
    "subject_code": "91330100MA00000665",
    "subject_name": "甲",
    "subject_name_en": "A",
    "address": "http://127.0.0.1:8100",
    "data_dir": "var",
    "development": True,
}


def test_canonical_is_rfc_8785() -> None:
    value = {"€": "Euro", "\r": 1, "a": [1e30, 4.5, 2e-3, 1.0], "b": "\u20ac$\u000f\nA'B\"\\"}
    assert dumps(value) == (
        '{"\\r":1,"a":[1e+30,4.5,0.002,1],"b":"€$\\u000f\\nA\'B\\"\\\\","€":"Euro"}'.encode()
    )
    assert sha256_hex({}) == sha256_hex(b"{}")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
)


@given(_JSON)
def test_the_fast_encoder_gives_the_bytes_of_rfc_8785(value: object) -> None:
    try:
        expected = rfc8785.dumps(value)  # type: ignore[arg-type]
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):
        with pytest.raises(BadJson):
            dumps(value)
    else:
        assert dumps(value) == expected


@pytest.mark.parametrize(
    "body", [b'{"a":1,"a":2}', b"NaN", b"[1,]", b"\xff", b'{"a":Infinity}', b"", b"{} {}"]
)
def test_strict_reading_refuses(body: bytes) -> None:
    with pytest.raises(BadJson):
        loads_strict(body)


def test_strict_reading_is_bounded() -> None:
    with pytest.raises(TooLarge):
        loads_strict(b"[" * 10_000 + b"]" * 10_000)
    with pytest.raises(TooLarge):
        loads_strict(b'"' + b"x" * (10 << 20) + b'"')
    assert loads_strict(b'"' + b"[" * 1000 + b'\\""') == "[" * 1000 + '"'
    # As many brackets as may nest need no counting of levels; one more does, and may lie flat.
    most = limits.JSON_DEPTH_MAX
    assert loads_strict(b"[" * most + b"]" * most) is not None
    assert loads_strict(b"[" + b"{}," * most + b"{}]") == [{}] * (most + 1)
    for opened, closed in ((b"[", b"]"), (b'{"a":', b"}")):
        with pytest.raises(TooLarge):
            loads_strict(opened * (most + 1) + b"1" + closed * (most + 1))


@pytest.mark.parametrize(
    "body",
    [
        b'"\\u0000"',
        b'"a\\\\\\u0000"',
        b'{"\\u0000": 1}',
        b'"\\ud800"',
        b'{"\\udfff": 1}',
        b'"\xed\xa0\x80"',
        b'"\xff"',
        '"a"'.encode("utf-16"),
        b"1e999",
    ],
)
def test_texts_and_numbers_no_database_could_keep_are_refused(body: bytes) -> None:
    with pytest.raises(BadJson):
        loads_strict(body)


def test_escapes_that_only_look_like_them_are_kept() -> None:
    assert loads_strict(b'"\\\\u0000"') == "\\u0000"
    assert loads_strict(b'"\\ud83d\\ude00"') == "\U0001f600"


@given(st.integers(0, 10**15))
def test_money_round_trips(fen: int) -> None:
    if fen < 10**15:
        assert parse_yuan(yuan(fen)) == fen
    assert charge(fen, 2, 3) == fen + 6


@pytest.mark.parametrize("text", ["1.234", "-1", "1e3", "", "1,000", "¥1", "1 USD", "NaN"])
def test_money_refuses_what_is_not_fen(text: str) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        parse_yuan(text)


def test_time_is_text_ordered_and_zoned() -> None:
    moment = datetime(2026, 11, 21, 9, tzinfo=UTC)
    assert iso(moment) == "2026-11-21T09:00:00.000000Z"
    assert parse_iso(iso(moment)) == moment
    assert to_second(moment) == f"{moment:%Y-%m-%dT%H:%M:%SZ}"
    with pytest.raises(ValueError, match="no time zone"):
        parse_iso("2026-11-21T09:00:00")
    for beyond in ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"):
        with pytest.raises(ValueError, match="years 1 to 9999"):
            parse_iso(beyond)


def test_the_clock_never_runs_backwards_and_says_how_long_it_would_stand() -> None:
    told = [datetime(2026, 1, 1, 9, tzinfo=UTC)]
    clock = SystemClock(lambda: told[0])
    assert clock.now() == told[0]
    assert clock.behind() == timedelta(0)
    told[0] += timedelta(hours=1)
    ahead = clock.now()
    assert ahead == told[0]
    told[0] -= timedelta(hours=1)
    assert clock.now() == ahead
    assert clock.behind() == timedelta(hours=1)
    told[0] += timedelta(hours=2)
    assert clock.behind() == timedelta(0)
    assert clock.now() == told[0]
    assert ManualClock().now().tzinfo is UTC


def test_keys_are_private_and_stable(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys")
    key = store.key("did")
    assert stat.S_IMODE(os.stat(tmp_path / "keys" / "did.pem").st_mode) == 0o600
    assert KeyStore(tmp_path / "keys").key("did").kid == key.kid == thumbprint(key.public_jwk())
    assert store.key("log").kid != key.kid
    assert verify(key.public_jwk(), b"m", key.sign(b"m"))
    assert not verify(key.public_jwk(), b"n", key.sign(b"m"))
    (tmp_path / "keys" / "did.pem").write_text("garbage")
    with pytest.raises(KeyUnreadable):
        store.key("did")
    with pytest.raises(KeyUnreadable):
        store.key("../did")


def test_detached_signatures_bind_the_bytes_and_the_key(tmp_path: Path) -> None:
    store = KeyStore(tmp_path)
    key, other = store.key("did"), store.key("seal")
    compact = jws_detached(key, b"agreement")
    assert verify_jws_detached(key.public_jwk(), compact, b"agreement")["kid"] == key.kid
    for jwk, text, payload in (
        (key.public_jwk(), compact, b"agreemenT"),
        (other.public_jwk(), compact, b"agreement"),
        (key.public_jwk(), compact[:-4] + "AAAA", b"agreement"),
        (key.public_jwk(), "..", b"agreement"),
        (key.public_jwk(), "x" * (limits.JWS_BYTES_MAX + 1), b"agreement"),
        ({"kty": "oct", "k": "AAAA"}, compact, b"agreement"),
        ({"kty": "OKP", "crv": "Ed25519", "x": "AA"}, compact, b"agreement"),
    ):
        with pytest.raises(BadSignature):
            verify_jws_detached(jwk, text, payload)


@pytest.mark.parametrize("alg", keys.ALGORITHMS)
def test_both_names_of_ed25519_are_written_and_read(tmp_path: Path, alg: str) -> None:
    store = KeyStore(tmp_path)
    key, other = store.key("did"), store.key("seal")
    compact = jws_detached(key, b"agreement", algorithm=alg)
    assert verify_jws_detached(key.public_jwk(), compact, b"agreement")["alg"] == alg
    token = jwt(key, {"iss": "a"}, algorithm=alg)
    assert read_jwt(token, lambda header, _: {"alg": header["alg"], **key.public_jwk()})
    with pytest.raises(BadSignature):
        verify_jws_detached(other.public_jwk(), compact, b"agreement")
    with pytest.raises(BadSignature):
        read_jwt(token, lambda h, c: other.public_jwk())


@pytest.mark.parametrize("alg", ["none", "HS256", "RS256", "ES256", "Ed448", "eddsa", "", None, 1])
def test_a_good_signature_under_another_name_is_refused(tmp_path: Path, alg: Any) -> None:
    key = KeyStore(tmp_path).key("did")
    head, body = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in ({"alg": alg, "kid": key.kid}, {"iss": "a"})
    )
    mark = base64.urlsafe_b64encode(key.sign(f"{head}.{body}".encode())).rstrip(b"=").decode()
    with pytest.raises(BadSignature):
        read_jwt(f"{head}.{body}.{mark}", lambda h, c: key.public_jwk())
    with pytest.raises(BadSignature):
        verify_jws_detached(key.public_jwk(), f"{head}..{mark}", b'{"iss": "a"}')


@pytest.mark.parametrize("alg", ["none", "HS256", "EdDSA", "RS256"])
def test_tokens_of_other_algorithms_are_refused(tmp_path: Path, alg: str) -> None:
    key = KeyStore(tmp_path).key("did")
    head, body, _ = jwt(key, {"iss": "a"}).split(".")
    bad = base64.urlsafe_b64encode(json.dumps({"alg": alg}).encode()).rstrip(b"=").decode()
    with pytest.raises(BadSignature):
        read_jwt(f"{bad}.{body}.", lambda h, c: key.public_jwk())
    with pytest.raises(BadSignature):
        read_jwt(f"{head}.{body}.", lambda h, c: key.public_jwk())


def test_settings_come_from_file_and_environment() -> None:
    config = build(VALUES, {"YUNHE_LISTEN_PORT": "9000", "YUNHE_ROLES": "connector"}, Path("/x"))
    assert config.listen_port == 9000
    assert config.did == "did:web:127.0.0.1%3A8100"
    assert config.database == "sqlite:////x/var/node.db"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"colour": "red"}, "colour"),
        ({"roles": ["king"]}, "roles"),
        ({"development": False}, "address"),
        ({"listen_port": "80"}, "listen_port"),
        ({"name": ""}, "name"),
        ({"review": "never"}, "review"),
        ({"address": "ftp://x"}, "address"),
        ({"listen_port": 0}, "listen_port"),
        ({"listen_port": 65536}, "listen_port"),
        ({"development": "false"}, "development"),
        ({"eddsa_peers": ["did:key:z6Mk"]}, "eddsa_peers"),
        ({"eddsa_peers": "did:web:a.example"}, "eddsa_peers"),
        ({"peer_networks": ["10.20.0.0/8"]}, "peer_networks"),
        ({"peer_networks": ["10.20.0.5/33"]}, "peer_networks"),
        ({"peer_networks": ["0.0.0.0/0"]}, "peer_networks"),
        ({"peer_networks": ["127.0.0.0/8"]}, "peer_networks"),
        ({"peer_networks": ["169.254.0.0/16"]}, "peer_networks"),
        ({"peer_networks": ["::/0"]}, "peer_networks"),
        ({"trust_roots": "did:web:a.example"}, "trust_roots"),
        ({"trust_roots": [{"jwk": {}}]}, "trust_roots"),
        ({"trust_roots": [{"did": "did:web:a.example", "jkw": {}}]}, "trust_roots"),
        ({"trust_roots": [{"did": "did:web:a.example", "workers": 4}]}, "trust_roots"),
    ],
)
def test_a_bad_setting_is_named(change: dict[str, object], named: str) -> None:
    with pytest.raises(BadSetting) as refused:
        build({**VALUES, **change}, {})
    assert refused.value.facts["name"] == named


@pytest.mark.parametrize(
    ("variable", "near"),
    [
        ("YUNHE_LISTENPORT", "YUNHE_LISTEN_PORT"),
        ("YUNHE_ROLE", "YUNHE_ROLES"),
        ("YUNHE_TRUST_ROOTS", ""),
        ("YUNHE_Name", "YUNHE_NAME"),
    ],
)
def test_an_unknown_name_in_the_environment_is_refused(variable: str, near: str) -> None:
    with pytest.raises(BadSetting) as refused:
        build(VALUES, {variable: "x"})
    assert refused.value.facts["name"] == variable
    assert near in refused.value.sentence("en")
    assert near in refused.value.sentence("zh")


def test_names_of_the_environment_that_are_no_settings_are_documented() -> None:
    build(VALUES, {**dict.fromkeys(NOT_SETTINGS, "x"), "YUNHE_CRASH": "", "PATH": "/bin"})
    page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")
    assert [name for name in NOT_SETTINGS if f"`{name}`" not in page] == []


def test_what_the_makefile_and_the_harnesses_set_does_not_keep_a_node_from_starting() -> None:
    root = Path(__file__).parents[2]
    files = [root / "Makefile"]
    for folder in ("tests/flow", "tests/interop", "interop", "benchmarks", "tck"):
        files += (root / folder).rglob("*.py")
    said = {
        name
        for file in files
        for name in re.findall(r"\bYUNHE_[A-Z_]*[A-Z]\b", file.read_text("utf-8"))
    }
    assert said >= {"YUNHE_CRASH", "YUNHE_CRASH_NEGOTIATIONS"}
    build(VALUES, dict.fromkeys(said - {"YUNHE_CRASH"}, "x"))


@pytest.mark.parametrize(
    ("content", "en", "zh"),
    [
        (None, "no such file; `yunhe init`", "文件不存在；请先运行 yunhe init"),
        (b"", "folder", "它是目录"),
        (b'name = "a"\ncolour red\n', "line 2", "第 2 行"),
        (b'name = "a"\nx = "\xff"\n', "line 2", "第 2 行"),
    ],
)
def test_unreadable_settings_say_which_file_and_where(
    tmp_path: Path, content: bytes | None, en: str, zh: str
) -> None:
    path = tmp_path / "node.toml"
    if content == b"":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(BadSetting) as refused:
        load(path, {})
    assert refused.value.facts["name"] == str(path)
    assert en in refused.value.sentence("en")
    assert zh in refused.value.sentence("zh")


def test_an_armed_crash_point_kills_and_an_unarmed_one_does_not() -> None:
    for point in POINTS:
        CrashPoints().at(point)
    code = "from yunhe.kernel.crash import CrashPoints as C; c = C('after_send:2');"
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            code + "c.at('after_send'); print('1', flush=True);"
            "c.at('before_send'); c.at('after_send'); print('2')",
        ],
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stdout) == (-9, "1\n")
    with pytest.raises(ValueError, match="no crash point"):
        CrashPoints("nowhere")


def test_errors_speak_both_languages_and_survive_missing_facts() -> None:
    body = NotFound(detail="secret", what="contract").problem()
    assert body["status"] == 404
    assert body["detail"] == "No such contract."
    assert body["zh"]["detail"] == "不存在：contract。"
    assert "secret" not in str(body)
    assert NotFound().sentence() == "No such ?."
    late = NotFound(what="use before 2026-11-21T09:00:00.123456Z")
    assert late.sentence() == "No such use before 2026-11-21T09:00:00Z."  # people read seconds
    assert "123456" in late.facts["what"]  # programs have all of it
