"""`yunhe serve` as a process: it says when it is up, and refuses what it cannot hold alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx

from flow.world import free_port

SETTINGS = """
name = "a"
subject_code = "91330100MA00000665"
subject_name = "甲医院"
subject_name_en = "Hospital A"
address = "http://127.0.0.1:{port}"
data_dir = "var"
listen_port = {port}
development = true
workers = 1
parent_address = "http://127.0.0.1:9"
parent_did = "did:web:127.0.0.1%3A9"
trust_roots = [{{ did = "did:web:127.0.0.1%3A9" }}]
"""


def _home(folder: Path, port: int) -> Path:
    folder.mkdir()
    (folder / "node.toml").write_text(SETTINGS.format(port=port), encoding="utf-8")
    return folder / "node.toml"


def _command(path: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "yunhe", "serve", str(path), *more]


def _serving(path: Path, *more: str) -> AbstractContextManager[subprocess.Popen[str]]:
    return _running(_command(path, *more), path)


@contextmanager
def _running(command: list[str], path: Path) -> Iterator[subprocess.Popen[str]]:
    with (path.parent / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


def _block(process: subprocess.Popen[str], last: str) -> str:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith(last):
            break
    return "".join(lines)


def test_serve_says_that_it_is_up_and_what_to_paste(tmp_path: Path) -> None:
    port = free_port()
    path = _home(tmp_path / "n o", port)
    with _serving(path, "--lang", "en") as process:
        said = _block(process, "  export ")
        url = f"http://127.0.0.1:{port}"
        for part in (url, f"did:web:127.0.0.1%3A{port}", "connector", "did:web:127.0.0.1%3A9"):
            assert part in said
        assert "not yet; next: yunhe register" in said
        assert httpx.get(f"{url}/api/v1/health", trust_env=False).status_code == 200
        pasted = said.splitlines()[-1] + '; printf "%s %s" "$YUNHE_URL" "$YUNHE_TOKEN"'
        shell = subprocess.run(["sh", "-c", pasted], capture_output=True, text=True, check=True)
        token = (path.parent / "var" / "admin.token").read_text(encoding="utf-8").strip()
        assert shell.stdout == f"{url} {token}"
        _refused(path, "DATA_DIR_IN_USE", str(process.pid))
        _refused(_home(tmp_path / "other", port), "ADDRESS_IN_USE", str(port))
        assert not (tmp_path / "other" / "var" / "node.db").exists()
    log = (path.parent / "log").read_text(encoding="utf-8")
    assert "told to stop" in log
    assert "alembic" not in log
    assert "leaked" not in log


def _refused(path: Path, code: str, named: str) -> None:
    result = subprocess.run(_command(path), capture_output=True, text=True, timeout=60)
    assert result.returncode == 2, result.stderr
    assert code in result.stderr
    assert named in result.stderr


def test_serve_tells_programs_as_json(tmp_path: Path) -> None:
    path = _home(tmp_path / "n", free_port())
    with _serving(path, "--json") as process:
        facts = json.loads(_block(process, "}"))
    assert facts["registration"] == "none"
    assert Path(facts["token_file"]).is_file()
    assert facts["roles"] == ["connector"]


def test_serve_refuses_a_folder_or_a_name_it_does_not_know(tmp_path: Path) -> None:
    path = _home(tmp_path / "n", free_port())
    (path.parent / "var").touch()
    _refused(path, "BAD_SETTING", "data_dir")
    environ = {**os.environ, "YUNHE_LISTENPORT": "1"}
    result = subprocess.run(_command(path), capture_output=True, text=True, env=environ)
    assert result.returncode == 2
    assert "YUNHE_LISTEN_PORT" in result.stderr


CLOCK = """
import sys
from datetime import timedelta
from pathlib import Path
from yunhe.kernel import clock, limits
real, ahead = clock.machine, Path(sys.argv.pop(1))
clock.machine = lambda: real() + timedelta(seconds=float(ahead.read_text() or 0))
limits.NODE_TICK_S = 0.2
from yunhe.cli import main
main()
"""


def test_a_clock_that_was_set_back_by_an_hour_does_not_stand_for_one(tmp_path: Path) -> None:
    path, ahead = _home(tmp_path / "n", port := free_port()), tmp_path / "ahead"
    ahead.write_text("3600")
    command = [sys.executable, "-c", CLOCK, str(ahead), "serve", str(path), "--json"]
    url = f"http://127.0.0.1:{port}/api/v1/tokens"

    def minutes_ahead() -> float:
        """By how much its time is ahead of ours, as what it issues for a minute says."""
        secret = (path.parent / "var" / "admin.token").read_text().strip()
        form = {"name": "t", "roles": ["user"], "ttl_s": 60}
        answer = httpx.post(url, json=form, headers={"Authorization": f"Bearer {secret}"})
        ends = datetime.fromisoformat(answer.json()["expires_at"])
        return (ends - datetime.now(UTC)).total_seconds() / 60 - 1

    with _running(command, path) as process:
        assert json.loads(_block(process, "}"))["did"]
        assert 59 <= minutes_ahead() <= 61
        ahead.write_text("3580")  # by less than what peers bear: it stands, and serves on
        time.sleep(1)
        assert 59 <= minutes_ahead() <= 61
        ahead.write_text("0")
        assert json.loads(_block(process, "}"))["did"], "it is up once more"
        assert -1 <= minutes_ahead() <= 1
        assert process.poll() is None
    assert "CLOCK_JUMPED" in (path.parent / "log").read_text()
