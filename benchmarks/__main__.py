"""Run every benchmark, print one table; exit 1 where a target is missed.

`--only NAME` runs one of: aggregate, policy, commit, query, agreement, stream, dsp. All data is
synthetic, generated from a seed (benchmarks/data.py).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator

from benchmarks import (
    bench_agreement,
    bench_commit,
    bench_dsp,
    bench_policy,
    bench_query,
    bench_stream,
    data,
    world,
)
from benchmarks.common import Result, show

ALONE: dict[str, Callable[[], list[Result]]] = {
    "aggregate": bench_query.aggregate,
    "policy": bench_policy.run,
    "commit": bench_commit.run,
}
BETWEEN_NODES: dict[str, Callable[[world.World], Iterable[Result]]] = {
    "query": bench_query.small,
    "agreement": bench_agreement.run,
    "stream": bench_stream.run,
    "dsp": bench_dsp.run,
}


def results(names: set[str]) -> Iterator[Result]:
    """The lines of the named benchmarks as they come; nodes are started only if needed."""
    for name, measure in ALONE.items():
        if name in names:
            yield from measure()
    if not names & set(BETWEEN_NODES):
        return
    with world.world(data.ROWS_STREAM if "stream" in names else 0) as home:
        for name, between in BETWEEN_NODES.items():
            if name in names:
                yield from between(home)


def main() -> int:
    """Print the table as it grows."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=[*ALONE, *BETWEEN_NODES])
    asked = set(parser.parse_args().only or [*ALONE, *BETWEEN_NODES])
    return show(results(asked))


if __name__ == "__main__":
    sys.exit(main())
