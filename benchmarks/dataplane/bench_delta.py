"""The stock Delta Sharing client on governed Parquet, against the same file from a static server.

Ours: `load_as_pandas` with a profile: the provider's gate and worker, the relay with its receipt,
Parquet laid down, then fetched in ranges. Baseline: the file that our node made,
fetched whole from a plain HTTP server and read by the same pyarrow and pandas: no contract, no
query, no receipt. The client runs in the environment that `make setup` makes for it.
"""

from __future__ import annotations

import functools
import json
import subprocess
import tempfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx

from benchmarks import world
from benchmarks.common import Result
from yunhe.sdk import Contract

ROWS = 2_000_000
RUNS = 5
_CLIENT = Path(__file__).parents[2] / ".venv" / "delta" / "bin" / "python"
_TIMED = """
import json, statistics, sys, time, warnings
warnings.simplefilter("ignore")
import io, delta_sharing, requests, pyarrow.parquet as pq
profile, url, runs = sys.argv[1], sys.argv[2], int(sys.argv[3])
rows = []
def governed():
    rows.append(len(delta_sharing.load_as_pandas(profile)))
def plain():
    body = requests.get(url).content
    rows.append(len(pq.read_table(io.BytesIO(body)).to_pandas()))
def seconds(work):
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
governed(), plain()
pairs = [(seconds(governed), seconds(plain)) for _ in range(runs)]
print(json.dumps({
    "ours": statistics.median(a for a, _ in pairs),
    "plain": statistics.median(b for _, b in pairs),
    "ratio": statistics.median(a / b for a, b in pairs),
    "rows": sorted(set(rows)),
}))
"""


class _Quiet(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base's name
        """Nothing: a benchmark prints its rows only."""


def _governed_file(home: world.World, contract: Contract, folder: Path) -> tuple[str, Path]:
    """The profile's address of the table, and a copy of the file that our node makes of it."""
    made = home.consumer.make_profile(contract)["file"]
    profile = folder / "config.share"
    profile.write_text(json.dumps(made), "utf-8")
    table = f"{contract.product_code}/schemas/governed/tables/readings"
    answer = httpx.post(
        f"{made['endpoint']}/shares/{table}/query",
        json={},
        headers={"Authorization": f"Bearer {made['bearerToken']}"},
        timeout=120,
    )
    url = json.loads(answer.text.splitlines()[-1])["file"]["url"]
    copy = folder / "plain.parquet"
    copy.write_bytes(httpx.get(url, timeout=120).content)
    return f"{profile}#{contract.product_code}.governed.readings", copy


def run() -> list[Result]:
    """One row: seconds of the stock client; no target, both figures are said."""
    if not _CLIENT.exists():
        return [Result("Delta Sharing", "–", "the stock client is not installed", None, "–", None)]
    with world.world(ROWS) as home, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _, contract = home.contract()
        table, copy = _governed_file(home, contract, folder)
        handler = functools.partial(_Quiet, directory=str(folder))
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/{copy.name}"
            done = subprocess.run(
                [str(_CLIENT), "-c", _TIMED, table, url, str(RUNS)],
                capture_output=True,
                text=True,
                check=True,
                timeout=600,
            )
        finally:
            server.shutdown()
            server.server_close()
    found = json.loads(done.stdout.splitlines()[-1])
    size = f"{ROWS // 1_000_000} M rows"
    return [
        Result(
            f"Delta Sharing client, governed, {size}",
            f"{found['ours']:.2f} s",
            f"the same file, static server: {found['plain']:.2f} s",
            found["ratio"],
            "reported",
            None,
        )
    ]
