"""The life of an entry: recorded in a verb, sequenced with its group, proven, audited, erased."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from yunhe import evidence
from yunhe.evidence import merkle, store, tiles
from yunhe.evidence.errors import LogKeyChanged, NotErasable
from yunhe.evidence.note import VerifierKey, open_checkpoint
from yunhe.kernel.canonical import BadJson
from yunhe.kernel.clock import ManualClock, iso
from yunhe.kernel.db import Database, DatabaseFailed, Tx, create_all, open_database
from yunhe.kernel.errors import TooLarge
from yunhe.kernel.keys import SigningKey

ORIGIN = "hospital-a.example/log"


@pytest.fixture
def log(any_db: Database, log_key: SigningKey) -> Iterator[evidence.EvidenceLog]:
    service = evidence.EvidenceLog(any_db, log_key, ORIGIN)
    service.install()
    service.start()
    yield service
    service.stop()


@pytest.fixture
def sqlite_log(db: Database, log_key: SigningKey) -> evidence.EvidenceLog:
    service = evidence.EvidenceLog(db, log_key, ORIGIN)
    service.install()
    return service


def _record(log: evidence.EvidenceLog, db: Database, count: int) -> list[evidence.Receipt]:
    def verb(tx):
        return [log.record(tx, "use.posted", {"rows": i, "who": "李雷"}) for i in range(count)]

    return db.write(verb)


def _check(log: evidence.EvidenceLog, receipt: evidence.Receipt) -> evidence.Proof:
    proof = log.proof(receipt.entry_id, wait_s=5)
    key = VerifierKey.parse(log.vkey)
    checkpoint = evidence.TlogProof.parse(proof.text()).verify(proof.entry, key)
    assert merkle.leaf_hash(proof.entry).hex() == receipt.leaf
    assert checkpoint.size == proof.size
    return proof


def test_an_entry_is_recorded_sequenced_proven_and_audited(
    any_db: Database, log: evidence.EvidenceLog
) -> None:
    (receipt,) = _record(log, any_db, 1)
    proof = _check(log, receipt)
    assert (proof.index, log.verify_all()) == (0, 1)
    entry = log.entry(receipt.entry_id)
    assert entry.body == {"rows": 0, "who": "李雷"}
    assert "李雷".encode() not in entry.leaf
    assert [e.entry_id for e in log.find("use.posted")] == [receipt.entry_id]
    assert log.find("use.denied") == []


def test_a_verb_that_fails_leaves_no_entry(any_db: Database, log: evidence.EvidenceLog) -> None:
    def verb(tx):
        log.record(tx, "use.posted", {})
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        any_db.write(verb)
    (kept,) = _record(log, any_db, 1)
    assert _check(log, kept).index == 0
    assert log.verify_all() == 1


def test_sixteen_threads_get_dense_indices_and_proofs_that_hold(
    any_db: Database, log: evidence.EvidenceLog
) -> None:
    receipts: list[evidence.Receipt] = []

    def work() -> None:
        for _ in range(25):
            receipts.extend(_record(log, any_db, 1))

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(receipts) == 400
    indices = sorted(_check(log, receipt).index for receipt in receipts)
    assert indices == list(range(400))
    assert log.verify_all() == 400


def test_every_size_is_consistent_with_every_later_one(
    any_db: Database, log: evidence.EvidenceLog
) -> None:
    key = VerifierKey.parse(log.vkey)
    heads = [open_checkpoint(log.checkpoint(), key)]
    for count in (1, 2, 252, 1, 1, 300):
        last = _record(log, any_db, count)[-1]
        log.proof(last.entry_id, wait_s=5)
        heads.append(open_checkpoint(log.checkpoint(), key))
    assert [heads[0].size, heads[-1].size] == [0, 557]
    for i, old in enumerate(heads):
        for new in heads[i:]:
            path = log.consistency(old.size, new.size)
            merkle.verify_consistency(old.size, new.size, path, old.root, new.root)
    with pytest.raises(evidence.TileNotFound):
        log.consistency(0, 558)


def test_a_group_has_one_checkpoint(db: Database, sqlite_log: evidence.EvidenceLog) -> None:
    before = db.commits
    gate = threading.Event()
    first = threading.Thread(target=lambda: db.write(lambda tx: gate.wait(5)))
    first.start()
    others = [
        threading.Thread(target=_record, args=(sqlite_log, db, 1), daemon=True) for _ in range(32)
    ]
    for thread in others:
        thread.start()
    gate.set()
    for thread in [first, *others]:
        thread.join()
    count = "SELECT count(*) FROM evidence_checkpoint WHERE size > 0"
    with db.engine.connect() as connection:
        checkpoints = connection.exec_driver_sql(count).scalar_one()
    assert checkpoints <= db.commits - before <= 32
    assert sqlite_log.verify_all() == 32


def test_a_verb_without_evidence_signs_nothing(
    db: Database, sqlite_log: evidence.EvidenceLog
) -> None:
    note = sqlite_log.checkpoint()
    db.write(lambda tx: None)
    assert sqlite_log.checkpoint() == note


def test_two_checkpoints_of_one_size_are_impossible(
    any_db: Database, log: evidence.EvidenceLog
) -> None:
    from yunhe.evidence import sequencer
    from yunhe.evidence.note import Checkpoint

    (receipt,) = _record(log, any_db, 1)
    log.proof(receipt.entry_id, wait_s=5)
    with pytest.raises(DatabaseFailed):
        any_db.write(
            lambda tx: sequencer.sign_head(tx, Checkpoint(ORIGIN, 1, b"x" * 32), log._signer)
        )


def test_tiles_serve_the_whole_log_and_nothing_beyond_it(
    db: Database, sqlite_log: evidence.EvidenceLog
) -> None:
    receipts = _record(sqlite_log, db, 600)
    leaves = [bytes.fromhex(receipt.leaf) for receipt in receipts]
    for level, index, width in tiles.tiles_of(600):
        served = sqlite_log.resource(tiles.tile_path(level, index, width))
        assert len(served.content) == width * 32
        if level == 0:
            assert served.content == b"".join(leaves[index * 256 : index * 256 + width])
            bundle = sqlite_log.resource(tiles.tile_path("entries", index, width)).content
            hashed = map(merkle.leaf_hash, tiles.unpack_entries(bundle))
            assert b"".join(hashed) == served.content
    assert sqlite_log.tile(0, 0, 10) == b"".join(leaves[:10])
    assert sqlite_log.resource("checkpoint").content.decode() == sqlite_log.checkpoint()
    for path in ("tile/0/002.p/89", "tile/0/003", "tile/2/000.p/1", "tile/x", "../etc/passwd"):
        with pytest.raises(evidence.TileNotFound):
            sqlite_log.resource(path)


def test_levels_above_fill_when_their_row_is_full(
    db: Database, sqlite_log: evidence.EvidenceLog
) -> None:
    for _ in range(33):
        last = _record(sqlite_log, db, 2000)[-1]
    size = 66_000
    assert sqlite_log.verify_all() == size
    assert len(sqlite_log.tile(1, 0)) == 8192
    assert len(sqlite_log.tile(2, 0, 1)) == 32
    assert _check(sqlite_log, last).index == size - 1


def test_the_export_is_the_log_as_static_files(
    db: Database, sqlite_log: evidence.EvidenceLog, tmp_path: Path
) -> None:
    _record(sqlite_log, db, 300)
    assert sqlite_log.export(tmp_path / "static") == 300
    found = {
        str(p.relative_to(tmp_path / "static"))
        for p in (tmp_path / "static").rglob("*")
        if p.is_file()
    }
    assert found == {
        "checkpoint", "tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1",
        "tile/entries/000", "tile/entries/001.p/44",
    }  # fmt: skip


def test_erasure_destroys_the_body_and_leaves_the_tree(
    any_db: Database, log: evidence.EvidenceLog
) -> None:
    receipt, _ = _record(log, any_db, 2)
    erased = any_db.write(lambda tx: log.erase(tx, receipt.entry_id, "asked by the person"))
    _check(log, erased)
    _check(log, receipt)
    entry = log.entry(receipt.entry_id)
    assert (entry.body, entry.salt) == (None, None)
    assert log.verify_all() == 3
    for entry_id in (receipt.entry_id, erased.entry_id):
        with pytest.raises(NotErasable):
            any_db.write(lambda tx, e=entry_id: log.erase(tx, e, "again"))
    with pytest.raises(evidence.EntryNotFound):
        any_db.write(lambda tx: log.erase(tx, "nobody", ""))


TAMPERING: list[tuple[str, int]] = [
    ("DELETE FROM evidence_entry WHERE log_index = 280", 280),
    ("DELETE FROM evidence_entry WHERE log_index = 3", 3),
    ("DELETE FROM evidence_entry WHERE log_index = 299", 299),
    ("UPDATE evidence_entry SET body = '{\"rows\":9}' WHERE log_index = 7", 7),
    ("UPDATE evidence_entry SET salt = zeroblob(32) WHERE log_index = 8", 8),
    ("UPDATE evidence_entry SET kind = 'use.denied' WHERE log_index = 9", 9),
    ("UPDATE evidence_entry SET at = at + 1 WHERE log_index = 290", 290),
    ("UPDATE evidence_entry SET leaf = CAST('{}' AS BLOB) WHERE log_index = 11", 11),
    ("UPDATE evidence_entry SET body = NULL, salt = NULL WHERE log_index = 12", 12),
    ("UPDATE evidence_entry SET log_index = log_index + 900 WHERE log_index = 5", 905),
    ("UPDATE evidence_tile SET hashes = zeroblob(8192) WHERE level = 0", 0),
    ("UPDATE evidence_tile SET root = zeroblob(32) WHERE level = 0", 255),
    ("DELETE FROM evidence_tile", 0),
    ("UPDATE evidence_state SET tail = zeroblob(1408)", 256),
    ("UPDATE evidence_state SET frontier = zeroblob(128)", 299),
    ("DELETE FROM evidence_checkpoint WHERE size = 300", 300),
    ("DELETE FROM evidence_checkpoint", 300),
    ("UPDATE evidence_tile SET hashes = substr(hashes, 1, 8160) WHERE level = 0", 0),
    ("DELETE FROM evidence_state", 0),
    ("UPDATE evidence_state SET size = 299", 299),
    ("UPDATE evidence_state SET size = 301", 301),
    ("UPDATE evidence_checkpoint SET root = zeroblob(32) WHERE size = 1", 0),
    ("UPDATE evidence_checkpoint SET note = replace(note, '1', '2') WHERE size = 1", 0),
]


@pytest.mark.parametrize(("attack", "index"), TAMPERING)
def test_every_deleted_or_edited_row_is_named(
    db: Database, sqlite_log: evidence.EvidenceLog, attack: str, index: int
) -> None:
    _record(sqlite_log, db, 1)
    _record(sqlite_log, db, 299)
    assert sqlite_log.verify_all() == 300
    db.write(lambda tx: tx.connection.exec_driver_sql(attack))
    with pytest.raises(evidence.LogCorrupt) as found:
        sqlite_log.verify_all()
    assert found.value.facts["index"] == index


def test_a_forged_row_with_all_its_hashes_still_meets_the_signature(
    db: Database, sqlite_log: evidence.EvidenceLog
) -> None:
    """The attacker owns the database, rewrites entry, commitment and tail; not the key."""
    import hashlib

    from yunhe.evidence.model import leaf_bytes

    (receipt,) = _record(sqlite_log, db, 1)
    entry = sqlite_log.entry(receipt.entry_id)
    body = '{"rows":1}'
    digest = hashlib.sha256((entry.salt or b"") + body.encode()).hexdigest()
    leaf = leaf_bytes(entry.entry_id, entry.kind, iso(entry.at), digest)
    hash_ = merkle.leaf_hash(leaf)

    def attack(tx):
        change = sa.text("UPDATE evidence_entry SET leaf = :leaf, body = :body")
        tx.execute(change, {"leaf": leaf, "body": body})
        tx.execute(sa.text("UPDATE evidence_state SET tail = :h, frontier = :h"), {"h": hash_})
        tx.execute(sa.text("UPDATE evidence_checkpoint SET root = :h WHERE size = 1"), {"h": hash_})

    db.write(attack)
    with pytest.raises(evidence.LogCorrupt, match="root"):
        sqlite_log.verify_all()
    with pytest.raises(evidence.LogCorrupt):
        sqlite_log.proof(receipt.entry_id)  # none is handed out that a judge would refuse


def test_a_restart_goes_on_where_it_stopped(
    tmp_path: Path, clock: ManualClock, log_key: SigningKey, make_key: Callable[[str], SigningKey]
) -> None:
    url = f"sqlite:///{tmp_path / 'again.db'}"
    for turn in (1, 2, 3):
        database = open_database(url, clock)
        create_all(database)
        service = evidence.EvidenceLog(database, log_key, ORIGIN)
        service.install()
        _record(service, database, 200)
        assert service.verify_all() == 200 * turn
        database.close()
    database = open_database(url, clock)
    with pytest.raises(LogKeyChanged):
        evidence.EvidenceLog(database, make_key("another"), ORIGIN).install()
    database.close()


def test_entries_that_wait_are_taken_by_the_next_sequencer(
    pg_db: Database, log_key: SigningKey
) -> None:
    """PostgreSQL: the replica that recorded died; another one signs."""
    service = evidence.EvidenceLog(pg_db, log_key, ORIGIN)
    service.install()
    receipt, *_ = _record(service, pg_db, 5)
    with pytest.raises(evidence.ProofPending):
        service.proof(receipt.entry_id)
    replicas = [evidence.EvidenceLog(pg_db, log_key, ORIGIN) for _ in range(3)]
    for replica in replicas:
        replica.start()
    _check(service, receipt)
    for replica in replicas:
        replica.stop()
    assert service.verify_all() == 5


def test_the_sequencer_outlives_a_round_that_failed(
    pg_db: Database, log_key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = evidence.EvidenceLog(pg_db, log_key, ORIGIN)
    service.install()
    failures, real = iter([ZeroDivisionError("unforeseen")]), store.lock_sequencer

    def failing(tx: Tx) -> bool:
        if (error := next(failures, None)) is not None:
            raise error
        return real(tx)

    monkeypatch.setattr(store, "lock_sequencer", failing)
    receipt, *_ = _record(service, pg_db, 5)
    service.start()
    _check(service, receipt)
    service.stop()
    assert next(failures, None) is None


def test_what_cannot_be_committed_to_is_refused(
    db: Database, sqlite_log: evidence.EvidenceLog
) -> None:
    with pytest.raises(ValueError, match="dotted"):
        db.write(lambda tx: sqlite_log.record(tx, "Use Posted", {}))
    with pytest.raises(BadJson):
        db.write(lambda tx: sqlite_log.record(tx, "use.posted", {"x": float("nan")}))
    with pytest.raises(TooLarge):
        db.write(lambda tx: sqlite_log.record(tx, "use.posted", {"x": "a" * (1 << 20)}))
    with pytest.raises(evidence.EntryNotFound):
        sqlite_log.entry("nobody")
    with pytest.raises(evidence.EntryNotFound):
        sqlite_log.proof("nobody")
    assert sqlite_log.verify_all() == 0


def test_own_leaf_is_the_canonical_leaf(any_db: Database) -> None:
    from yunhe.evidence.model import leaf_bytes, own_leaf

    made = any_db.read(lambda tx: (tx.new_id(), "use.posted", iso(tx.now), "0f" * 32))
    assert own_leaf(*made) == leaf_bytes(*made)
