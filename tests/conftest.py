"""Fixtures that every slice's tests share: a database, a clock, PostgreSQL where it is."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

import postgres
from yunhe.kernel.clock import ManualClock
from yunhe.kernel.db import Database, create_all, open_database

# A worker of pytest-xdist has a main module without a file, which pyspark takes for a doctest.
if not hasattr(sys.modules["__main__"], "__file__"):
    vars(sys.modules["__main__"])["__file__"] = __file__


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def db(tmp_path: Path, clock: ManualClock) -> Iterator[Database]:
    database = open_database(f"sqlite:///{tmp_path / 'node.db'}", clock)
    create_all(database)
    yield database
    database.close()


@pytest.fixture(scope="session")
def pg_server() -> Iterator[str]:
    """A real PostgreSQL on a Unix socket, run by a non-root user; skipped where it is absent."""
    folder = postgres.binaries()
    if folder is None:
        pytest.skip("PostgreSQL is not installed; .ci/run installs it")
    server = postgres.Postgres(folder)
    server.start()
    yield server.url
    server.close()


@pytest.fixture
def pg_url(pg_server: str) -> Iterator[str]:
    """A fresh database on the test server."""
    name = f"t{uuid.uuid4().hex}"
    admin = sa.create_engine(
        sa.make_url(pg_server).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield sa.make_url(pg_server).set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    admin.dispose()


@pytest.fixture(scope="session")
def mysql_server() -> Iterator[Path]:
    """The socket of a real MariaDB, run by a non-root user; skipped where it is absent.

    User `yunhe` with password `pw` may do anything, `reader` with `r'"\\ü` only read.
    """
    server = shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    share = Path("/usr/share/mysql")
    tables = [share / f"mysql_system_tables{tail}.sql" for tail in ("", "_data")]
    if server is None or not all(file.exists() for file in tables):
        pytest.skip("MariaDB is not installed (apt: mariadb-server-core); .ci/run installs it")
    home = Path(tempfile.mkdtemp(prefix="yunhe-my-"))
    for folder in ("data", "tmp"):
        (home / folder).mkdir()
    as_user: list[str] = []
    if os.geteuid() == 0:
        as_user = ["runuser", "-u", "nobody", "--"]
        for each in (home, home / "data", home / "tmp"):
            shutil.chown(each, "nobody")
    run = [*as_user, server, "--no-defaults", f"--datadir={home}/data", f"--tmpdir={home}/tmp"]
    run += ["--innodb-log-file-size=8M", "--innodb-buffer-pool-size=32M"]
    system = ["CREATE DATABASE mysql;", "USE mysql;", *(file.read_text() for file in tables)]
    users = [
        "FLUSH PRIVILEGES;",
        "CREATE USER yunhe@localhost IDENTIFIED BY 'pw';",
        "GRANT ALL ON *.* TO yunhe@localhost;",
        "CREATE USER reader@localhost IDENTIFIED BY 'r''\"\\\\ü';",
        "GRANT SELECT ON *.* TO reader@localhost;",
        "CREATE DATABASE pushed CHARACTER SET gbk;",
    ]
    boot = "\n".join([*system, *users, ""]).encode()
    subprocess.run([*run, "--bootstrap"], input=boot, check=True, capture_output=True)
    listen = [f"--socket={home}/s", f"--pid-file={home}/pid", "--skip-networking", "--skip-log-bin"]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen([*run, *listen], stdout=log, stderr=log)
    while not (home / "s").exists() and process.poll() is None:
        time.sleep(0.05)
    assert process.poll() is None, (home / "log").read_text(errors="replace")[-2000:]
    yield home / "s"
    os.kill(int((home / "pid").read_text()), signal.SIGKILL)  # nothing of it is kept
    process.wait()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def pg_db(pg_url: str, clock: ManualClock) -> Iterator[Database]:
    database = open_database(pg_url, clock)
    create_all(database)
    yield database
    database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def any_db(request: pytest.FixtureRequest) -> Database:
    """The same behaviour on both engines: a test that takes this runs twice."""
    return request.getfixturevalue("db" if request.param == "sqlite" else "pg_db")
