"""Tables in an object store, over real sockets: listed, fetched, refreshed; keys never told."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from yunhe.kernel import limits
from yunhe.sources import (
    Connections,
    CredentialNotRead,
    SourceAway,
    SourceEmpty,
    SourceKindUnknown,
    SourceMissing,
    Sources,
)

moto = pytest.importorskip("moto.server", reason="moto is not installed: the dev extra brings it")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(address: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    import boto3

    monkeypatch.setenv("LAKE_KEY", "CANARY-KEY")
    monkeypatch.setenv("LAKE_SECRET", "CANARY-SECRET")
    monkeypatch.setattr(limits, "SOURCE_REMOTE_CHECK_S", 0.0)
    keys = {"aws_access_key_id": "CANARY-KEY", "aws_secret_access_key": "CANARY-SECRET"}
    made = boto3.resource("s3", endpoint_url=address, region_name="us-east-1", **keys)
    found = made.Bucket("hospital")
    found.create()
    yield found
    found.objects.all().delete()
    found.delete()


def sources(folder: Path, address: str, **more: Any) -> Sources:
    table = {
        "kind": "s3",
        "bucket": "hospital",
        "endpoint": address,
        "allow_http": True,
        "access_key": "env:LAKE_KEY",
        "secret_key": "env:LAKE_SECRET",
        **more,
    }
    return Sources([], folder / "snapshots", Connections({"lake": table}))


def rows(node: Sources, origin: str, pinned: dict[str, str]) -> list[Any]:
    return duckdb.sql(f"FROM read_parquet({list(node.fresh((origin,), pinned).files)})").fetchall()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_prefix_is_one_table_and_refreshed_when_an_object_comes(
    bucket: Any, address: str, tmp_path: Path
) -> None:
    bucket.put_object(Key="labs/a.csv", Body="id,v\n1,甲\n".encode("gb18030"))
    bucket.put_object(Key="labs/notes.txt", Body=b"x")
    node = sources(tmp_path, address)
    profile = node.profile("s3://lake/labs/")
    assert profile.types() == {"id": "BIGINT", "v": "VARCHAR"}
    assert rows(node, profile.origin, profile.types()) == [(1, "甲")]
    bucket.put_object(Key="labs/2026/b.csv", Body="v,id,w\n乙,2,9\n".encode("gb18030"))
    found = node.fresh((profile.origin,), profile.types())
    assert found.drift.extra == ("w",)
    assert sorted(rows(node, profile.origin, profile.types())) == [(1, "甲"), (2, "乙")]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_one_object_of_each_kind(bucket: Any, address: str, tmp_path: Path) -> None:
    duckdb.execute(f"COPY (SELECT 7 AS id) TO '{tmp_path}/x.parquet'")
    bucket.put_object(Key="x.parquet", Body=(tmp_path / "x.parquet").read_bytes())
    bucket.put_object(Key="odd name?.json", Body=b'[{"id": 8}]')
    bucket.put_object(Key="raw", Body=b"id\n9\n")
    node = sources(tmp_path, address)
    for place, value in (
        ("s3://lake/x.parquet", 7),
        ("s3://lake/odd name%3F.json", 8),
        ("s3://lake/raw?format=csv", 9),
    ):
        profile = node.profile(place)
        assert rows(node, profile.origin, profile.types()) == [(value,)]
    with pytest.raises(SourceKindUnknown):
        node.profile("s3://lake/raw")
    with pytest.raises(SourceMissing):
        node.profile("s3://lake/absent.csv")
    with pytest.raises(SourceEmpty):
        node.profile("s3://lake/none/?format=csv")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_no_key_stands_in_a_refusal_and_none_is_used_without_its_reference(
    bucket: Any, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put_object(Key="x.csv", Body=b"id\n1\n")
    for more, kind in (
        ({"bucket": "other"}, SourceMissing),
        ({"endpoint": "http://127.0.0.1:1"}, SourceAway),
        ({"allow_http": False}, SourceAway),
    ):
        monkeypatch.setattr(limits, "SOURCE_CONNECT_S_MAX", 1)
        with pytest.raises(kind) as refusal:
            sources(tmp_path, address, **more).profile("s3://lake/x.csv")
        assert "CANARY" not in repr(refusal.value.problem())
        assert address not in repr(refusal.value.problem())
    monkeypatch.delenv("LAKE_SECRET")
    with pytest.raises(CredentialNotRead):
        sources(tmp_path, address).profile("s3://lake/x.csv")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_changed_object_is_fetched_anew_and_an_unchanged_one_is_not(
    bucket: Any, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from yunhe.sources.s3 import S3Source

    bucket.put_object(Key="x.csv", Body=b"id\n1\n")
    node = sources(tmp_path, address)
    profile = node.profile("s3://lake/x.csv")
    assert rows(node, profile.origin, profile.types()) == [(1,)]
    fetched: list[int] = []
    real = S3Source.stage
    monkeypatch.setattr(S3Source, "stage", lambda self, to: (fetched.append(1), real(self, to))[1])
    assert rows(node, profile.origin, profile.types()) == [(1,)]
    assert fetched == []
    bucket.put_object(Key="x.csv", Body=b"id\n22\n")
    assert rows(node, profile.origin, profile.types()) == [(22,)]
    assert fetched == [1]
