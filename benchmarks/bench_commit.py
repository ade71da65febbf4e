"""Durable verbs of 64 callers: groups and rate, against raw sqlite3 fed by the same callers."""

from __future__ import annotations

import queue
import sqlite3
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.common import Result
from yunhe.kernel.db import create_all, open_database
from yunhe.kernel.keys import KeyStore

CALLERS = 64
EACH = 120
BODY = {"use_id": "0" * 36, "contract_id": "urn:uuid:" + "0" * 36, "rows": 10, "fee_fen": 5000}


def _callers(work: object) -> float:
    def loop(number: int) -> None:
        for turn in range(EACH):
            work(number * EACH + turn)  # type: ignore[operator]

    threads = [threading.Thread(target=loop, args=(number,)) for number in range(CALLERS)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started


def ours(folder: Path) -> tuple[float, float]:
    """Evidence entries a second, and entries a commit."""
    from yunhe.evidence import EvidenceLog  # declares its tables

    db = open_database(f"sqlite:///{folder / 'ours.db'}")
    create_all(db)
    log = EvidenceLog(db, KeyStore(folder / "keys").key("log"), "bench.example/log")
    log.install()
    before = db.commits
    took = _callers(lambda n: db.write(lambda tx: log.record(tx, "use.posted", {**BODY, "n": n})))
    grouped = CALLERS * EACH / (db.commits - before)
    log.verify_all()
    db.close()
    return CALLERS * EACH / took, grouped


def raw(folder: Path, group: int) -> float:
    """The same rows by raw sqlite3: same tables and indices, same callers, same group size.

    A savepoint a verb; one commit, one checkpoint row and one state row a group. The values are
    made beforehand, so this is what the disk and the hand-over between threads cost.
    """
    import yunhe.evidence.store  # noqa: F401  declares the tables

    create_all(db := open_database(f"sqlite:///{folder / 'raw.db'}"))
    db.close()
    connection = sqlite3.connect(folder / "raw.db", isolation_level=None, check_same_thread=False)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
    jobs: queue.SimpleQueue[tuple[int, threading.Lock] | None] = queue.SimpleQueue()
    connection.execute("INSERT INTO evidence_state VALUES (1, 0, ?, ?)", (b"", b""))
    text, leaf, salt = str({**BODY, "k": "use.posted"}), b"l" * 220, b"s" * 32
    note = "n" * 220

    def verb(number: int) -> None:
        connection.execute("SAVEPOINT v")
        row = (f"{number:036d}", "use.posted", 1, leaf, number, salt, text)
        connection.execute(
            "INSERT INTO evidence_entry (entry_id, kind, at, leaf, log_index, salt, body)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            row,
        )
        connection.execute("RELEASE v")

    def writer() -> None:
        size = 0
        while (job := jobs.get()) is not None:
            connection.execute("BEGIN IMMEDIATE")
            batch = [job]
            verb(job[0])
            while len(batch) < group:
                try:
                    job = jobs.get(timeout=0.001)
                except queue.Empty:
                    break
                if job is None:
                    break
                batch.append(job)
                verb(job[0])
            size += len(batch)
            connection.execute(
                "INSERT INTO evidence_checkpoint VALUES (?, ?, ?, 1)", (size, salt, note)
            )
            connection.execute("UPDATE evidence_state SET size = ?, frontier = ?", (size, leaf))
            connection.execute("COMMIT")
            for _, done in batch:
                done.release()

    def call(number: int) -> None:
        done = threading.Lock()
        done.acquire()
        jobs.put((number, done))
        done.acquire()

    thread = threading.Thread(target=writer)
    thread.start()
    took = _callers(call)
    jobs.put(None)
    thread.join()
    connection.close()
    return CALLERS * EACH / took


def run() -> list[Result]:
    """Five paired runs; the median ratio counts."""
    rates: list[tuple[float, float, float]] = []
    for _ in range(5):
        with tempfile.TemporaryDirectory() as name:
            rate, group = ours(Path(name))
            rates.append((rate, raw(Path(name), round(group)), group))
    rates.sort(key=lambda each: each[0] / each[1])
    rate, base, group = rates[2]
    return [
        Result(
            "evidence verbs, 64 callers: entries a commit",
            f"{group:.0f}",
            "one commit a verb = 1",
            group,
            ">= 16",
            group >= 16,
        ),
        Result(
            "evidence verbs, 64 callers: rate",
            f"{rate:,.0f}/s",
            f"raw sqlite3, same groups: {base:,.0f}/s",
            rate / base,
            ">= 0.5",
            rate / base >= 0.5,
        ),
    ]


if __name__ == "__main__":
    for result in run():
        print(result.line())
