"""A result streams through: neither worker nor node holds more of a large one than of a small."""

from __future__ import annotations

import os

from benchmarks.dataplane.bench_memory import rss_mb

from yunhe.dataplane import Job

GIGABYTE = 1_000_000_000
SQL = "SELECT a.range AS a, a.range + 1 AS b, a.range + 2 AS c, a.range + 3 AS d FROM range({}) a"
GROWTH_MB_MAX = 96


def test_a_gigabyte_passes_without_being_held(pool, hospital) -> None:
    running = pool.run(hospital.binding(), Job(SQL.format(GIGABYTE // 32)))
    worker, here = running._process.pid, os.getpid()
    passed, before, most = 0, None, (0.0, 0.0)
    for number, chunk in enumerate(running):
        passed += len(chunk)
        if number % 256 == 0:
            now = (rss_mb(worker), rss_mb(here))
            most = (max(most[0], now[0]), max(most[1], now[1]))
            if before is None and passed > GIGABYTE // 10:
                before = most
    assert passed > GIGABYTE
    assert before is not None
    assert most[0] - before[0] < GROWTH_MB_MAX
    assert most[1] - before[1] < GROWTH_MB_MAX
