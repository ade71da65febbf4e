"""`python -m interop.edc`: run the interop tests against a fresh EDC, exit 0 only if all passed.

`--only-where-possible` (for CI) says plainly where EDC cannot be resolved, and exits 0 there.
"""

from __future__ import annotations

import os
import subprocess
import sys

from tck.kit import CannotResolve

from interop.edc import runtime


def main(arguments: list[str]) -> int:
    """Run them; returns the exit code."""
    try:
        runtime.assemble()
    except CannotResolve as why:
        print(f"The interop tests with Eclipse EDC did not run: {why}.")
        return 0 if "--only-where-possible" in arguments else 2
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-m", "interop"]
    done = subprocess.run(
        [*command, "tests/interop"], check=False, env={**os.environ, "YUNHE_INTEROP": "1"}
    )
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
