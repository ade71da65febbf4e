"""Run the data plane's benchmarks, print one table; exit 1 where a target is missed.

`--only NAME` runs `bench_NAME.py` alone and may be repeated; `--list` names them. All data is
synthetic, generated from a seed.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from benchmarks.common import Result, show

_PREFIX = "bench_"


def names() -> list[str]:
    """The benchmarks that lie beside this file."""
    found = Path(__file__).parent.glob(f"{_PREFIX}*.py")
    return sorted(file.stem.removeprefix(_PREFIX) for file in found)


def results(asked: Iterable[str]) -> Iterator[Result]:
    """The rows of each named benchmark, as they come."""
    for name in asked:
        module = importlib.import_module(f"benchmarks.dataplane.{_PREFIX}{name}")
        run: Callable[[], list[Result]] = module.run
        yield from run()


def main() -> int:
    """Print the table as it grows."""
    known = names()
    parser = argparse.ArgumentParser(prog="make bench-dataplane", description=__doc__)
    parser.add_argument("--only", action="append", choices=known, metavar="NAME")
    parser.add_argument("--list", action="store_true", help="name the benchmarks and end")
    given = parser.parse_args()
    if given.list:
        print("\n".join(known))
        return 0
    return show(results(given.only or known))


if __name__ == "__main__":
    sys.exit(main())
