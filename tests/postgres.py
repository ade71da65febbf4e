"""A real PostgreSQL on a Unix socket, run by a non-root user, that a test may stop and start."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path


def binaries() -> Path | None:
    """The folder of its programs; None where it is not installed."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").exists():
            return folder
    return None


class Postgres:
    """One server with a folder of its own; `start` it, `close` it in the end."""

    def __init__(self, folder: Path) -> None:
        """`folder`: of its programs."""
        # Not under pytest's own folder: a session that runs beside this one may tidy that away.
        self.home = home = Path(tempfile.mkdtemp(prefix="yunhe-pg-"))
        as_user: list[str] = []
        if os.geteuid() == 0:
            as_user = ["runuser", "-u", "nobody", "--"]
            shutil.chown(home, "nobody")
        data = home / "data"
        made = [*as_user, str(folder / "initdb"), "-D", str(data), "-U", "yunhe", "-A", "trust"]
        subprocess.run(made, check=True, capture_output=True)
        self._ctl = [*as_user, str(folder / "pg_ctl"), "-D", str(data), "-w", "-l"]
        self._ctl.append(str(home / "log"))
        self.url = f"postgresql://yunhe@/postgres?host={home}"

    def start(self) -> None:
        """Have it answer."""
        own = f"-c listen_addresses='' -c unix_socket_directories={self.home}"
        started = [*self._ctl, "-o", f"{own} -c max_connections=200", "start"]
        subprocess.run(started, check=True, capture_output=True)

    def stop(self) -> None:
        """End it as a crash would: at once."""
        subprocess.run([*self._ctl, "-m", "immediate", "stop"], check=True, capture_output=True)

    def close(self) -> None:
        """End it, and remove its folder."""
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)
