"""A real PostgreSQL of the measuring process's own: durable as installed, gone at the end.

Out: `Server`, which makes fresh databases; raises Missing where PostgreSQL is not installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from yunhe.demo.nodes import free_ports

USER = "yunhe"
_CONNECTIONS_MAX = 300


class Missing(Exception):
    """PostgreSQL is not installed here."""


@dataclass(frozen=True)
class Server:
    """One server on a loopback port; whoever reaches the port is let in."""

    port: int

    def database(self, name: str) -> tuple[str, str]:
        """A fresh database: its URL for us, and for JDBC."""
        where = f"postgresql+psycopg://{USER}@127.0.0.1:{self.port}/postgres"
        engine = sa.create_engine(where, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(f'CREATE DATABASE "{name}"')
        engine.dispose()
        at = f"127.0.0.1:{self.port}/{name}"
        return f"postgresql://{USER}@{at}", f"jdbc:postgresql://{at}?user={USER}"


def binaries() -> Path:
    """Where its programs are; raises Missing."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").exists():
            return folder
    raise Missing("PostgreSQL is not installed here")


@contextmanager
def server() -> Iterator[Server]:
    """Started by a user other than root, as it demands; fsync on, all else as it comes."""
    programs = binaries()
    home = Path(tempfile.mkdtemp(prefix="yunhe-pg-"))
    as_user: list[str] = []
    if os.geteuid() == 0:
        as_user = ["runuser", "-u", "nobody", "--"]
        shutil.chown(home, "nobody")
    data, [port] = home / "data", free_ports(1)
    make = [*as_user, str(programs / "initdb"), "-D", str(data), "-U", USER, "-A", "trust"]
    ctl = [*as_user, str(programs / "pg_ctl"), "-D", str(data), "-w", "-l", str(home / "log")]
    said = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={home}"
    said += f" -c max_connections={_CONNECTIONS_MAX}"
    try:
        subprocess.run(make, check=True, capture_output=True, cwd=home)
        # Not captured: the server would inherit the pipe, and never close it.
        quiet = subprocess.DEVNULL
        subprocess.run([*ctl, "-o", said, "start"], check=True, stdout=quiet, cwd=home)
        try:
            yield Server(port)
        finally:
            subprocess.run([*ctl, "-m", "immediate", "stop"], check=True, stdout=quiet, cwd=home)
    finally:
        shutil.rmtree(home, ignore_errors=True)
