"""The stock Delta Sharing client, in the virtual environment of its own that `make setup` makes.

It pins older pandas and pyarrow than ours, so it runs as a program beside the test.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / ".venv" / "delta" / "bin" / "python"

_READ = """
import io, json, sys, warnings
warnings.simplefilter("ignore")
import delta_sharing
profile, more = sys.argv[1], json.loads(sys.argv[2])
client = delta_sharing.SharingClient(profile)
tables = client.list_all_tables()
shares = [s.name for s in client.list_shares()]
schemas = [s.name for s in client.list_schemas(client.list_shares()[0])]
t = tables[0]
frame = delta_sharing.load_as_pandas(f"{profile}#{t.share}.{t.schema}.{t.name}", **more)
print(json.dumps({
    "shares": shares, "schemas": schemas, "tables": [t.name for t in tables],
    "columns": list(frame.columns), "types": [str(t) for t in frame.dtypes],
    "rows": json.loads(frame.to_json(orient="values", date_format="iso")),
}))
"""


def run(code: str, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A program of the stock client's environment; the test is skipped where it is absent."""
    if not PYTHON.exists():
        pytest.skip("the stock Delta Sharing client is not installed; make setup installs it")
    return subprocess.run(
        [str(PYTHON), "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
    )


def read(profile: Path, **more: Any) -> dict[str, Any]:
    """Everything that the client lists, and its first table through `load_as_pandas`."""
    done = run(_READ, str(profile), json.dumps(more))
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def refused(profile: Path, **more: Any) -> str:
    """As `read`, but it must fail; what the client says."""
    done = run(_READ, str(profile), json.dumps(more))
    assert done.returncode != 0, done.stdout
    return done.stderr
