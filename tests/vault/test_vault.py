"""Sealed delivery between whole nodes: what arrives stays sealed, and ends with its contract."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from examples import example
from flow.test_postgres import trust
from flow.test_push import PLAIN
from flow.world import BY_SEX, PURPOSE, TERMS, World, three, until
from yunhe import evidence
from yunhe.cli import app
from yunhe.contracts import Contracts
from yunhe.dataplane import IpcCount
from yunhe.kernel import limits
from yunhe.kernel.canonical import dumps
from yunhe.kernel.db import DatabaseBusy
from yunhe.kernel.keys import jws_detached
from yunhe.sdk import Contract, Terms, YunheRefused, connect, connect_async
from yunhe.vault import Due, seal, store
from yunhe.vault.errors import SealKeyInvalid, VaultBroken

FACTS = ("urn:uuid:contract", "use-1", "did:web:a", "did:web:r")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with three(tmp_path_factory.mktemp("vault")) as found:
        yield found


@pytest.fixture(scope="module")
def code(world: World) -> str:
    return world.product(PLAIN)


def delivered(world: World, contract: Contract, **more: Any) -> dict[str, Any]:
    """A sealed delivery that has come."""
    space = world["r"].space
    item = space.seal(contract, **more)
    until("the delivery", lambda: space.vault_item(item["id"])["state"] == "sealed")
    return space.vault_item(item["id"])


def test_the_example_of_the_page_runs(world: World) -> None:
    terms = replace(PLAIN, purposes=("medical-research",))
    space, contract = world["r"].space, world.agree(world.product(terms))
    known: dict[str, Any] = {"space": space, "contract": contract}
    first, _, rest = example("vault", "space.seal").partition("\n")
    exec(first, known)  # noqa: S102  that is the test
    until("sealed", lambda: space.vault_item(known["item"]["id"])["state"] == "sealed")
    exec(rest, known)  # noqa: S102
    assert known["table"].num_rows == sum(known["counts"]["n"].to_pylist()) == 360
    assert space.vault_item(known["item"]["id"])["state"] == "destroyed"


def test_a_delivery_stays_sealed_is_read_and_destroyed(world: World, code: str) -> None:
    a, r = world["a"].space, world["r"].space
    contract = world.agree(code)
    item = delivered(world, contract)
    assert item["rows"] == 360
    path = world["r"].node.inbox.file(item["id"])
    plain = path.read_bytes()
    count = IpcCount()
    count.feed(plain)
    assert (count.rows, count.complete) == (360, True)
    outer = pa.ipc.open_stream(plain).schema.names
    table = r.vault_read(item["id"], PURPOSE)
    assert table.schema.names == ["id", "age", "sex"]
    assert table.num_rows == 360
    # Not even the names of columns; three letters alone turn up in random bytes.
    assert not set(outer) & set(table.schema.names)
    for column in table.columns:
        values = column.combine_chunks().buffers()[-1].to_pybytes()
        assert len(values) > 64
        assert values[:64] not in plain
    (note,) = until("the provider's note", lambda: a.vault_notes(contract))
    assert (note["kind"], note["body"]["purpose"], note["body"]["rows"]) == ("read", PURPOSE, 360)
    # A read is a use: counted and billed as the delivery was, and signed for by its reader.
    assert [(use.rows, use.fee_fen) for use in a.uses(contract)] == [(360, 2620), (360, 2620)]
    assert a.uses(contract)[1].use_id == note["id"]
    provider = world["a"].node
    until("both receipts", lambda: len(provider.exchange.receipts(contract.id)) == 2)
    quotas = [world[key].node.control.quota(contract.id) for key in ("a", "r")]
    assert [quota and quota.uses_left for quota in quotas] == [18, 18]
    a.issue_statement(contract)
    until("settled", lambda: [s.state for s in a.statements(contract)] == ["settled"])
    assert a.statements(contract)[0].total_fen == 2 * 2620

    keys = [*(world["r"].config.data_dir / "vault").glob("*.key")]
    done = r.vault_destroy(item["id"], "no longer needed")
    assert done["state"] == "destroyed"
    assert not path.exists()
    assert len([*(world["r"].config.data_dir / "vault").glob("*.key")]) == len(keys) - 1
    assert r.vault_destroy(item["id"], "again")["destroyed"] == done["destroyed"]
    with pytest.raises(YunheRefused, match=r"VAULT_DESTROYED|NOTHING_RECEIVED"):
        r.vault_read(item["id"], PURPOSE)
    proof = until(
        "the proof", lambda: [n for n in a.vault_notes(contract) if n["kind"] == "destroyed"]
    )[0]
    assert proof["body"] == done["destroyed"]["body"]
    assert proof["jws"] == done["destroyed"]["jws"]


def test_a_client_to_await_reads_and_is_refused_alike(world: World, code: str) -> None:
    item = delivered(world, world.agree(code))["id"]

    async def asked() -> list[int]:
        async with connect_async(world["r"].config.address, world["r"].token) as space:
            with pytest.raises(YunheRefused, match="PURPOSE_NOT_AGREED"):
                await space.vault_read(item, "marketing")
            whole = await space.vault_read(item, PURPOSE)
            counted = await space.vault_sql(item, "SELECT count(*) AS n FROM patients", PURPOSE)
        return [whole.num_rows, counted.to_pydict()["n"][0]]

    assert asyncio.run(asked()) == [360, 360]


def test_the_end_of_the_contract_destroys_the_key_and_nothing_else(
    world: World, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = world.agree(code)
    item = delivered(world, contract)
    kept = world["r"].node.inbox.file(item["id"]).read_bytes()
    with monkeypatch.context() as away:  # a database that is away says nothing of the contract
        away.setattr(Contracts, "in_force", Mock(side_effect=DatabaseBusy))
        with pytest.raises(DatabaseBusy):
            world["r"].node.vault.sweep()
    assert world["r"].space.vault_item(item["id"])["state"] == "sealed"
    world["a"].space.terminate(contract, "breach")
    r = world["r"].space
    until("its end", lambda: r.vault_item(item["id"])["state"] == "destroyed", 15)
    assert r.vault_item(item["id"])["destroyed"]["body"]["why"] == "CONTRACT_TERMINATED"
    # The provider is owed a proof from that moment on, and verifies it as it comes.
    a = world["a"].space
    until("the proof", lambda: [p["state"] for p in a.vault_proofs(contract)] == ["proved"])
    (proof,) = a.vault_proofs(contract)
    assert proof["verified"]
    until("its taking", lambda: r.vault_proofs(contract)[0]["verified"])
    (mine,) = r.vault_proofs(contract)
    assert (mine["state"], mine["key"]) == ("proved", proof["key"])
    with pytest.raises(YunheRefused, match="VAULT_DESTROYED"):
        r.vault_sql(item["id"], "SELECT id FROM patients")
    # Whoever has kept a copy of the file has nothing to open it with.
    folder = world["r"].config.data_dir / "vault"
    for key in folder.glob("*.key"):
        file = folder / "copy"
        file.write_bytes(kept)
        manifest = seal.examine(file, lambda *_: None)
        with pytest.raises(VaultBroken):
            b"".join(seal.unseal(file, manifest, key.read_bytes()))
        file.unlink()


def test_reads_are_counted_against_the_contract(world: World) -> None:
    terms = Terms.from_json(PLAIN.to_json() | {"uses_max": 3})
    contract = world.agree(world.product(terms))
    item = delivered(world, contract)  # the first use
    r = world["r"].space
    for _ in range(2):
        assert r.vault_read(item["id"]).num_rows == 360
    with pytest.raises(YunheRefused, match="USES_EXHAUSTED"):
        r.vault_read(item["id"])
    until("the notes", lambda: len(world["a"].space.vault_notes(contract)) == 2)
    with pytest.raises(YunheRefused, match="USES_EXHAUSTED"):  # the same answer at the data door
        world.ask(contract, "SELECT id FROM patients")
    assert r.vault_item(item["id"])["reads"] == 2


def test_every_term_holds_in_the_vault_as_at_the_door(world: World) -> None:
    terms = Terms.from_json(PLAIN.to_json() | {"frequency": "2/P1D", "regions": ["3301"]})
    contract = world.agree(world.product(terms))
    item = delivered(world, contract)
    r = world["r"].space
    assert r.vault_read(item["id"]).num_rows == 360
    for use in (lambda: r.vault_read(item["id"]), lambda: r.vault_sql(item["id"], BY_SEX)):
        with pytest.raises(YunheRefused, match="FREQUENCY_EXCEEDED"):
            use()
    once = Terms.from_json(PLAIN.to_json() | {"rows_total": 700})
    item = delivered(world, world.agree(world.product(once)))
    with pytest.raises(YunheRefused, match="TOTAL_ROWS_SPENT"):
        r.vault_read(item["id"])
    assert r.vault_sql(item["id"], BY_SEX).num_rows == 2


def test_sql_over_a_sealed_table_is_governed_and_leaves_nothing(world: World, code: str) -> None:
    contract = world.agree(code)
    item = delivered(world, contract)
    r, node = world["r"].space, world["r"].node
    found = r.vault_sql(item["id"], BY_SEX, PURPOSE)
    whole = world.ask(contract)
    assert found.to_pydict() == whole.to_pydict()  # the same question at the data door
    for query in (
        "SELECT name FROM patients",
        "SELECT * FROM read_parquet('/etc/passwd')",
        "SELECT 1; DROP TABLE patients",
        "SELECT getvariable('mask_key') FROM patients",
        "CREATE TABLE x AS SELECT * FROM patients",
        "SELECT * FROM data.patients",
        "COPY patients TO 'x.csv'",
        "SELECT * FROM loaded",
    ):
        with pytest.raises(YunheRefused) as refused:
            r.vault_sql(item["id"], query, PURPOSE)
        assert refused.value.status in (400, 403, 422), query
    quota = node.control.quota(contract.id)
    assert quota is not None
    assert quota.uses_spent == 3  # the delivery, one read, one query at the door: refusals are free
    # Nothing in plain lies anywhere below the node's folder: neither names nor values.
    plain = r.vault_read(item["id"])["id"].combine_chunks().buffers()[-1].to_pybytes()[:64]
    for path in world["r"].config.data_dir.rglob("*"):
        if path.is_file():
            assert plain not in path.read_bytes()


def test_what_came_by_sql_is_queried_as_a_delivery(world: World) -> None:
    item = delivered(world, world.agree(world.product(TERMS)), sql=BY_SEX)
    r = world["r"].space
    table = r.vault_sql(item["id"], "SELECT max(n) AS most FROM delivery")
    assert table.to_pydict() == {"most": [180]}


def test_an_application_is_known_by_its_token(world: World) -> None:
    terms = Terms.from_json(PLAIN.to_json() | {"applications": ["notebook@1", "report"]})
    contract = world.agree(world.product(terms))
    with pytest.raises(YunheRefused, match="APPLICATION_NOT_AGREED"):
        world.ask(contract, "SELECT id FROM patients")
    item = delivered(world, contract)
    r, where = world["r"].space, world["r"].config.address
    tokens = {
        name: r.create_token(name, ["user", "application"]).token
        for name in ("notebook@1", "notebook@2", "other")
    }
    plain = r.create_token("report", ["user"]).token  # its name alone is no application
    with pytest.raises(YunheRefused, match="APPLICATION_NOT_AGREED"):
        r.vault_read(item["id"])
    for token in (tokens["notebook@2"], tokens["other"]):
        with pytest.raises(YunheRefused, match="APPLICATION_NOT_AGREED"):
            r.vault_sql(item["id"], BY_SEX, application_token=token)
    for token in (plain, "yh_00_forged"):
        with pytest.raises(YunheRefused, match="APPLICATION_UNPROVEN"):
            r.vault_read(item["id"], application_token=token)
    assert r.vault_read(item["id"], application_token=tokens["notebook@1"]).num_rows == 360
    with connect(where, tokens["notebook@1"]) as itself:
        assert itself.vault_sql(item["id"], BY_SEX).num_rows == 2
    notes = until(
        "the notes",
        lambda: found if len(found := world["a"].space.vault_notes(contract)) == 2 else None,
    )
    assert {note["body"]["application"] for note in notes} == {"notebook@1"}


def test_copies_are_marked_at_every_door_and_traced(world: World, tmp_path: Path) -> None:
    text = "key=patients.id;share=1;patients.age=1"
    terms = Terms.from_json(PLAIN.to_json() | {"masks": [], "watermark": text})
    code = world.product(terms)
    a, r = world["a"].space, world["r"].space
    with pytest.raises(YunheRefused, match="NOTHING_MARKED"):
        a.whose_copy(code, [1], {"patients.age": [30]})
    contract = world.agree(code)
    assert contract.terms.watermark == text
    table = world.ask(contract, "SELECT id, age FROM patients ORDER BY id")
    assert (table.schema.metadata or {})[b"yunhe.watermark"].decode() == text
    ages, plain = table["age"].to_pylist(), [10 + i % 80 for i in table["id"].to_pylist()]
    assert {x - y for x, y in zip(ages, plain, strict=True)} == {-1, 0, 1}
    item = delivered(world, contract)
    came = r.vault_read(item["id"]).sort_by("id")
    assert came["age"].to_pylist() == ages  # the same mark, however it is asked for
    receipts = world["r"].node.exchange.receipts(contract.id)
    assert [receipt.body["watermark"] for receipt in receipts] == [text] * 3
    until("they came", lambda: len(world["a"].node.exchange.receipts(contract.id)) == 3)
    (given,) = a.marked_for(code)
    assert (given["did"], given["watermark"]) == (world["r"].did, text)
    log = world["a"].node.evidence
    bodies = [log.entry(e["entry_id"]).body for e in a.entries("use.marked")]
    assert {body["mark"] for body in bodies} == {given["mark"]}
    # Both that came from here; what the vault opened is the copy that came.
    assert len(bodies) == 2
    assert {use.use_id for use in a.uses(contract)} > {body["use_id"] for body in bodies}
    file = tmp_path / "leaked.parquet"
    pq.write_table(came.slice(0, 300), file)
    env = {"YUNHE_URL": world["a"].config.address, "YUNHE_TOKEN": world["a"].token}
    run = CliRunner().invoke(app, ["watermark", "detect", str(file), "--product", code], env=env)
    assert run.exit_code == 0, run.output
    assert world["r"].did in run.output
    found = a.whose_copy(code, came["id"].to_pylist(), {"patients.age": plain})
    assert [each["named"] for each in found["recipients"]] == [False]
    # Reads of the vault and marked receipts stand in the bundle, and verify offline.
    a.issue_statement(contract.id)
    until("settled", lambda: [s.state for s in r.statements(contract.id)] == ["settled"])
    report = evidence.verify_bundle(r.bundle(contract.id), trust(world))
    assert report.ok, report.findings
    who = a.create_token("user", ["user"]).token
    refused = pytest.raises(YunheRefused, match="ROLE_MISSING")
    with connect(world["a"].config.address, who) as user, refused:
        user.marked_for(code)


def test_another_purpose_is_refused_and_free(world: World, code: str) -> None:
    item = delivered(world, world.agree(code))
    r = world["r"].space
    with pytest.raises(YunheRefused, match="PURPOSE_NOT_AGREED"):
        r.vault_read(item["id"], "marketing")
    with pytest.raises(YunheRefused, match="PURPOSE_NOT_AGREED"):
        r.vault_sql(item["id"], "SELECT id FROM patients", "marketing")
    assert r.vault_item(item["id"])["reads"] == 0


def test_a_refused_request_leaves_no_key(world: World, code: str) -> None:
    contract = world.agree(code)
    folder = world["r"].config.data_dir / "vault"
    before = {*folder.iterdir()}
    space = world["r"].space
    item = space.seal(contract, use_id="use-of-the-test")
    until("it", lambda: space.vault_item(item["id"])["state"] == "sealed")
    with pytest.raises(YunheRefused):
        space.seal(contract, use_id="use-of-the-test")
    assert len({*folder.iterdir()} - before) == 1


def test_aggregates_come_sealed_too(world: World) -> None:
    contract = world.agree(world.product(TERMS))
    item = delivered(world, contract, sql=BY_SEX)
    assert world["r"].space.vault_read(item["id"]).num_rows == 2


def test_a_provider_takes_no_note_of_another_hand(world: World, code: str) -> None:
    contract = world.agree(code)
    node, did = world["a"].node, world["r"].did
    note = {
        "id": "vault-read-forged",
        "kind": "read",
        "contract_id": contract.id,
        "use_id": "use-1",
        "receiver": did,
        "provider": world["a"].did,
        "at": "2026-01-01T00:00:00Z",
    }
    for body in ({}, {"note": note}, {"note": note | {"kind": "x"}, "jws": "a..b"}):
        with pytest.raises(Exception, match=r"INVALID|BAD_SIGNATURE"):
            node.vault.provider.reported(did, body)
    with pytest.raises(Exception, match="BAD_SIGNATURE"):
        node.vault.provider.reported(did, {"note": note, "jws": "a..b"})
    with pytest.raises(Exception, match="INVALID"):
        node.vault.provider.reported("did:web:other", {"note": note, "jws": "a..b"})
    assert not world["a"].space.vault_notes(contract)


def told(world: World, contract: Contract, **more: Any) -> dict[str, Any]:
    """A note under the receiver's own signature, whatever it says."""
    note = {
        "id": "vault-00000001",
        "kind": "read",
        "contract_id": contract.id,
        "use_id": "use-1",
        "receiver": world["r"].did,
        "provider": world["a"].did,
        "at": "2026-01-01T00:00:00Z",
        **more,
    }
    key = world["r"].node.keys.key("did")
    name = world["r"].node.identity.jose_name(world["a"].did)
    return {"note": note, "jws": jws_detached(key, dumps(note), algorithm=name)}


def test_a_signed_note_moves_no_use_that_is_known(world: World, code: str) -> None:
    contract = world.agree(code)
    world.ask(contract, "SELECT id FROM patients", use_id="vault-of-another-kind")
    until("the use", lambda: [u.state for u in world["a"].space.uses(contract)] == ["posted"])
    read = {"principal": "x", "purpose": PURPOSE, "rows": 0, "bytes": 0}
    reported, did = world["a"].node.vault.provider.reported, world["r"].did
    known = {"id": "vault-of-another-kind", "read_id": "vault-of-another-kind"}
    with pytest.raises(Exception, match="USE_ID_TAKEN"):
        reported(did, told(world, contract, **read, **known))
    for bad in (
        {"rows": -1},
        {"rows": 1.5},
        {"rows": 10**12},
        {"read_id": "vault-2"},
        {"bytes": ""},
    ):
        ours = {"read_id": "vault-00000001"}
        with pytest.raises(Exception, match="INVALID"):
            reported(did, told(world, contract, **{**read, **ours, **bad}))
    body = told(world, contract, **read, read_id="vault-00000001")
    assert reported(did, body) == reported(did, body)
    assert [use.fee_fen for use in world["a"].space.uses(contract)] == [100 + 7 * 360, 100]


def test_a_proof_is_of_a_key_and_one_that_is_missing_is_told(world: World, code: str) -> None:
    contract = world.agree(code)
    item = delivered(world, contract)
    node, did = world["a"].node, world["r"].did
    lie = told(world, contract, id="vault-destroyed-x", kind="destroyed", key="another")
    with pytest.raises(Exception, match="INVALID"):
        node.vault.provider.reported(did, lie)
    now = node.clock.now()
    late = Due("use-of-a-silent-one", contract.id, did, "k" * 43, "awaited", now)
    node.db.write(lambda tx: store.add_due(tx, late))
    node.vault.provider.sweep()  # as the node's timer does
    assert [owed["state"] for owed in world["a"].space.vault_proofs(contract)] == ["overdue"]
    (entry,) = world["a"].space.entries("vault.proof_overdue")
    body = node.evidence.entry(entry["entry_id"]).body
    assert (body["use_id"], body["key"]) == ("use-of-a-silent-one", "k" * 43)
    assert world["r"].space.vault_item(item["id"])["state"] == "sealed"


# -- the format ----------------------------------------------------------------------------------


def stream(rows: int, width: int = 100) -> bytes:
    table = pa.table({"text": [f"{i:0{width}d}" for i in range(rows)]})
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=1000)
    return bytes(out.getvalue())


def sealed(path: Path, plain: bytes) -> bytes:
    private, public = seal.new_key()
    count = IpcCount()

    def counted(chunk: bytes) -> int:
        count.feed(chunk)
        return count.rows

    chunks = (plain[at : at + 5000] for at in range(0, len(plain), 5000))
    facts = seal.Facts(*FACTS, public)
    path.write_bytes(b"".join(seal.seal(chunks, facts, counted, lambda _text: "jws")))
    return private


@pytest.mark.parametrize("rows", [0, 1, 999, 5000])
def test_what_is_opened_is_what_was_sealed(
    tmp_path: Path, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "VAULT_SHARD_BYTES", 50_000)
    plain = stream(rows)
    private = sealed(tmp_path / "s", plain)
    manifest = seal.examine(tmp_path / "s", lambda *_: None)
    assert manifest.rows == rows
    assert len(manifest.shards) > 3 or rows < 5000
    assert b"".join(seal.unseal(tmp_path / "s", manifest, private)) == plain
    with pytest.raises(VaultBroken):
        b"".join(seal.unseal(tmp_path / "s", manifest, seal.new_key()[0]))


def test_no_byte_of_a_sealed_file_can_be_changed(tmp_path: Path) -> None:
    file = tmp_path / "s"
    sealed(file, stream(50))
    whole = file.read_bytes()
    for at in range(0, len(whole), 101):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        try:
            manifest = seal.examine(file, _signed)
        except VaultBroken:
            continue
        # Padding and framing carry nothing: what was signed is read as it was.
        assert (manifest.rows, manifest.facts.contract_id) == (50, FACTS[0])
    for size in range(0, len(whole) - 8, 211):
        file.write_bytes(whole[:size])
        with pytest.raises(VaultBroken):
            seal.examine(file, _signed)


def _signed(_provider: str, payload: bytes, jws: str) -> None:
    """Stands for a signature over the manifest: it must read as JSON of ours."""
    if jws != "jws" or set(json.loads(payload)) != {"core", "shards", "rows", "tail", "sha256"}:
        raise VaultBroken(why="the signature", why_zh="签名不符")


@pytest.mark.parametrize("key", ["", "x", "A" * 44, "A" * 42 + "=", "é" * 43, "A" * 42 + "B"])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(SealKeyInvalid):
        seal.check_key(key)


def test_only_the_provider_ends_a_delivery(world: World, code: str) -> None:
    contract = world.agree(code)
    item = delivered(world, contract)
    vault = world["r"].node.vault
    for peer, body in (
        ("did:web:other", {"contract_id": contract.id, "code": "X"}),
        (world["a"].did, {"contract_id": 7, "code": "X"}),
        (world["a"].did, {}),
    ):
        with pytest.raises(Exception, match="INVALID"):
            vault.told_ended(peer, body)
    assert world["r"].space.vault_item(item["id"])["state"] == "sealed"
