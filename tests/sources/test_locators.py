"""What a provider writes is read one way or refused; no credential stands in clear anywhere."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from yunhe.kernel.settings import BadSetting
from yunhe.sources import (
    Connections,
    ConnectionUnknown,
    CredentialNotRead,
    Locator,
    LocatorNotValid,
    SourceAway,
    open_live,
    parse,
)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("labs.csv", Locator("", "labs.csv")),
        ("a?b=c.parquet", Locator("", "a?b=c.parquet")),
        ("C:\\x.csv", Locator("", "C:\\x.csv")),
        ("csv:labs.txt", Locator("csv", "labs.txt")),
        (
            "csv:a b.txt?delimiter=;&encoding=gb18030",
            Locator("csv", "a b.txt", "", {"encoding": "gb18030", "delimiter": ";"}),
        ),
        ("s3://lake/2026/labs/", Locator("s3", "2026/labs/", "lake")),
        ("http-json:reg/v1?x=1&y", Locator("http-json", "v1?x=1&y", "reg")),
        ("postgresql:his/public.labs", Locator("postgresql", "public.labs", "his")),
    ],
)
def test_a_locator_is_read_and_written(text: str, made: Locator) -> None:
    assert parse(text) == made
    assert parse(str(made)) == made


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x" * 3000,
        "csv:",
        "csv:a?colour=red",
        "csv:a?encoding=",
        "csv:a?encoding=a&encoding=b",
        "s3://Lake/x",
        "s3://lake",
        "postgresql:labs",
        "postgresql://user:pw@host/db",
        "https://169.254.169.254/latest",
        "file:///etc/passwd",
    ],
)
def test_what_is_no_locator_is_refused(text: str) -> None:
    with pytest.raises(LocatorNotValid):
        parse(text)


def test_a_credential_in_clear_is_refused_and_not_told() -> None:
    for table in (
        {"kind": "s3", "bucket": "b", "secret_key": "CANARY-9"},
        {"kind": "s3", "bucket": "b", "endpoint": "https://me:CANARY-9@s3.example"},
        {"kind": "postgresql", "host": "h", "database": "d", "user": "u", "password": "CANARY-9"},
        {"kind": "s3", "bucket": "b", "passwort": "CANARY-9"},
    ):
        with pytest.raises(BadSetting) as refusal:
            Connections({"lake": table})
        assert "CANARY-9" not in repr(refusal.value.problem()) + str(refusal.value)
        assert "connections.lake" in refusal.value.sentence()


@pytest.mark.parametrize(
    "tables",
    [
        {"Lake": {"kind": "s3", "bucket": "b"}},
        {"lake": {"kind": "ftp"}},
        {"lake": {"bucket": "b"}},
        {"lake": {"kind": "s3"}},
        {"lake": {"kind": "s3", "bucket": 1.5}},
        {f"c{i}": {"kind": "s3", "bucket": "b"} for i in range(65)},
    ],
)
def test_a_connection_of_another_shape_is_refused(tables: dict[str, dict[str, object]]) -> None:
    with pytest.raises(BadSetting):
        Connections(tables)


def test_a_credential_is_read_at_its_use_from_where_the_reference_leads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    file.write_text("CANARY-1\n")
    file.chmod(0o600)
    table = {
        "kind": "s3",
        "bucket": "b",
        "access_key": f"file:{file}",
        "secret_key": "env:LAKE_SECRET",
    }
    lake = Connections({"lake": table}).get("lake", "s3")
    assert lake.secret("access_key") == "CANARY-1"
    assert lake.secret("session_token") is None
    with pytest.raises(CredentialNotRead):
        lake.secret("secret_key")
    monkeypatch.setenv("LAKE_SECRET", "CANARY-2")
    assert lake.secret("secret_key") == "CANARY-2"
    assert "CANARY" not in repr(lake)
    assert "LAKE_SECRET" not in repr(lake)


def test_a_credential_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    good = tmp_path / "good"
    good.write_text("CANARY-3")
    good.chmod(0o600)
    (tmp_path / "link").symlink_to(good)
    (tmp_path / "open").write_text("CANARY-3")
    (tmp_path / "open").chmod(0o640)
    (tmp_path / "empty").write_text("")
    (tmp_path / "empty").chmod(0o600)
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("link", "open", "empty", "pipe", "absent", "."):
        table = {"kind": "s3", "bucket": "b", "access_key": f"file:{tmp_path / name}"}
        with pytest.raises(CredentialNotRead) as refusal:
            Connections({"lake": table}).get("lake", "s3").secret("access_key")
        assert "CANARY" not in str(refusal.value)


def test_a_locator_cannot_take_a_connection_of_another_kind() -> None:
    made = Connections({"lake": {"kind": "s3", "bucket": "b"}})
    for name, kind in (("lake", "postgresql"), ("sea", "s3")):
        with pytest.raises(ConnectionUnknown):
            made.get(name, kind)


def test_a_table_that_is_not_there_is_a_likely_reason(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "register.db").close()
    told = {"kind": "sqlite", "file": str(tmp_path / "register.db")}
    live = open_live(parse("sqlite:register/none"), Connections({"register": told}))
    with pytest.raises(SourceAway, match="may not be there"):
        live.profile()
