"""`make attack`: the corpus, the abuses of protocols and engine, the fuzzer and the inferences.

    python tests/attack [--face http] [--group files] [--queries 300]
    python tests/attack --sabotage | --defect NAME | --seeds

Prints the size of the corpus, what leaked (0), and the refusals by class; exit 1 where anything
leaked or was not refused as it must be. `--sabotage` breaks the code on purpose, defect by defect,
each in a child process, and fails where no case notices; `--seeds` only sees that each defect
still fits the code.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> int:
    """Put the tests' folder on the path, as pytest does, and run."""
    root = Path(__file__).parents[2]
    sys.path[:1] = [str(root / "tests"), str(root)]  # in place of this folder
    from attack import runner

    return runner.main()


if __name__ == "__main__":
    sys.exit(main())
