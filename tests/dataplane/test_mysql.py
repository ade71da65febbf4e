"""A real MariaDB: what its collations, zero dates and wide types would otherwise do to a policy."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pyarrow.parquet as pq
import pymysql
import pytest

from dataplane.twins import CLEAR, Twin
from yunhe.dataplane import Pool, TableBinding, govern
from yunhe.dataplane.pushdown_fetch import Databases
from yunhe.sources import Bounds, Failed, SourceAway, Stop, parse
from yunhe.sources.connections import Connection
from yunhe.sources.database_mysql import MysqlTable

FILL = r"""
    CREATE TABLE people (id BIGINT, region VARCHAR(20), note TEXT, code CHAR(4), flag BIT(1),
        wide BIGINT UNSIGNED, money DECIMAL(12,2), huge DECIMAL(65,2), `Share` FLOAT, born DATE,
        raw VARBINARY(8), kind ENUM('x','y'), at TIMESTAMP NULL, took TIME, big MEDIUMTEXT)
        CHARACTER SET gbk;
    INSERT INTO people VALUES
        (1, 'east', 'a', 'ab', 1, 18446744073709551615, 1.10, 1.5, 0.1, '2020-01-01', X'00FF', 'x',
            '2020-01-01 08:00:00', '10:11:12', 'm'),
        (2, 'EAST', 'b', 'ab ', 0, 2, 2.20, 2.5, 0.2, '0044-03-15', X'27', 'y', NULL, NULL, 'm'),
        (3, 'east ', 'c', 'AB', 0, 3, 3.30, 3.5, 0.3, '2020-02-29', X'', NULL, NULL, NULL, 'n'),
        (4, '东\\''区', 'd', NULL, NULL, 4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
    CREATE TABLE odd (id BIGINT, born DATE, took TIME) ENGINE=Aria;
    INSERT INTO odd VALUES (1, '2020-01-01', '01:00:00'), (2, '0000-00-00', '01:00:00'),
        (3, '2020-02-00', '300:00:00');
    CREATE TABLE texts (id BIGINT, region VARCHAR(2000));
    INSERT INTO texts
        VALUES (1, CONCAT(REPEAT('a', 1500), 'x')), (2, CONCAT(REPEAT('a', 1500), 'y'));
"""


@pytest.fixture(scope="module")
def values(mysql_server: Path) -> dict[str, str]:
    con = pymysql.connect(unix_socket=str(mysql_server), user="yunhe", password="pw",
                          charset="utf8mb4", autocommit=True)  # fmt: skip
    with con, con.cursor() as cursor:
        cursor.execute("CREATE DATABASE strange")
        cursor.execute("USE strange")
        cursor.execute("SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'")
        for sql in FILL.split(";\n"):
            if sql.strip():
                cursor.execute(sql)
    return {"host": str(mysql_server), "database": "strange", "user": "reader"}


@pytest.fixture
def connection(values: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Connection:
    monkeypatch.setenv("MARIADB_TEST_PASSWORD", "r'\"\\ü")
    secret = MappingProxyType({"password": "env:MARIADB_TEST_PASSWORD"})
    return Connection("his", "mysql", MappingProxyType(values), secret)


def opened(connection: Connection, name: str) -> MysqlTable:
    return MysqlTable(connection, parse(f"mysql:his/{name}"))


@pytest.fixture
def twin(connection: Connection, tmp_path: Path, pool: Pool) -> Twin:
    stored = {}
    for name in ("people", "odd", "texts"):
        table = opened(connection, name)
        types = {column.name: column.type for column in table.shape()}
        stored[name] = TableBinding(types, (str(table.locator),), "id")
    databases = Databases(lambda at: opened(connection, parse(at).path), tmp_path / "pulled")
    return Twin({}, stored, databases, pool)


def ask(twin: Twin, sql: str, where: str = "") -> tuple[list[dict[str, object]], str]:
    columns = tuple(f"{t}.{c}" for t, binding in twin.stored.items() for c in binding.columns)
    filters = (("people", where),) if where else ()
    terms = replace(CLEAR, columns=columns, row_filters=filters)
    answer, shipped = twin.there(sql, terms)
    return answer.to_pylist(), shipped[0][0]


def test_every_type_comes_as_it_is_or_as_text(twin: Twin) -> None:
    rows, _ = ask(twin, "SELECT * FROM people WHERE id = 1")
    (row,) = rows
    assert str(row.pop("at")) == "2020-01-01 08:00:00+00:00"
    assert str(row.pop("took")) == "10:11:12"
    assert str(row.pop("born")) == "2020-01-01"
    assert str(row.pop("money")) == "1.10"
    assert row.pop("Share") == pytest.approx(0.1)
    assert row == {
        "id": 1, "region": "east", "note": "a", "code": "ab", "flag": True, "raw": "00FF",
        "wide": 18446744073709551615, "huge": 1.5, "kind": "x", "big": "m",
    }  # fmt: skip
    rows, _ = ask(twin, "SELECT region FROM people WHERE id = 4")
    assert rows == [{"region": "东\\'区"}]


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ("region = 'east'", [1]),
        ("region IN ('east', 'z')", [1]),
        ("region <> 'EAST'", [1, 3, 4]),
        ("region > 'east'", [3, 4]),
        ("region BETWEEN 'EAST' AND 'EASZ'", [2]),
        ("region = '东\\''区'", [4]),
        ("region = 'east' OR region = 'x\\'' OR 1=1 --'", [1]),
        ("code = 'ab'", [1, 2]),  # of CHAR the spaces at the end are no part of the value
        ("note >= 'c'", [3, 4]),
        ("kind = 'x'", [1]),
        ("raw = '27'", [2]),
        ("flag", [1]),
        ("NOT flag", [2, 3]),
        ("wide > 3", [1, 4]),
        ("money > 1.1", [2, 3]),
        ("born < '0100-01-01'", [2]),
    ],
)
def test_no_loose_collation_widens_a_filter(twin: Twin, where: str, ids: list[int]) -> None:
    terms = replace(CLEAR, columns=("people.id",), row_filters=(("people", where),))
    governed = govern("SELECT id FROM people", twin.stored, terms)
    plan = twin.databases.planned(governed, twin.stored)
    assert plan is not None
    with twin.databases.ship(plan, twin.stored, lambda: None, "salt") as shipped:
        left = pq.read_table(dict(shipped.tables)["__fetch0"][0])  # what has left the database
    assert sorted(left["id"].to_pylist()) == ids


def test_groups_and_extremes_are_by_bytes(twin: Twin) -> None:
    rows, sql = ask(twin, "SELECT region, count(*) n FROM people GROUP BY region ORDER BY region")
    assert "GROUP BY" in sql
    assert [row["region"] for row in rows] == ["EAST", "east", "east ", "东\\'区"]
    said = "SELECT min(region) a, max(region) b, count(DISTINCT region) n, sum(wide) s FROM people"
    rows, _ = ask(twin, said)
    assert rows == [{"a": "EAST", "b": "东\\'区", "n": 4, "s": 18446744073709551615 + 9}]
    rows, sql = ask(twin, "SELECT id, region FROM people ORDER BY region DESC NULLS FIRST LIMIT 2")
    assert [row["id"] for row in rows] == [4, 3]
    assert "LIMIT 2" in sql


def test_texts_of_which_the_server_groups_by_a_part_are_grouped_here(twin: Twin) -> None:
    rows, sql = ask(twin, "SELECT region, count(*) n FROM texts GROUP BY region")
    assert [row["n"] for row in rows] == [1, 1]
    assert "GROUP BY" not in sql
    _, sql = ask(twin, "SELECT note, count(*) FROM people GROUP BY note")
    assert "GROUP BY" not in sql
    _, sql = ask(twin, "SELECT id FROM people ORDER BY note LIMIT 1")
    assert "LIMIT" not in sql


def test_a_date_or_a_time_that_is_none_ends_the_use_and_hidden_it_is_not_noticed(
    twin: Twin,
) -> None:
    for column in ("born", "took"):
        with pytest.raises(Exception) as refused:
            ask(twin, f"SELECT {column} FROM odd")
        assert refused.value.code == "QUERY_FAILED"
    assert ask(twin, "SELECT born, took FROM odd WHERE id = 1")[0][0]["born"].year == 2020
    assert ask(twin, "SELECT count(*) n FROM odd WHERE year(born) > 1")[0] == [{"n": 2}]


def test_nothing_is_written_and_no_file_of_ours_is_read(
    connection: Connection, values: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARIADB_TEST_PASSWORD", "pw")
    mighty = Connection(
        "his", "mysql", MappingProxyType({**values, "user": "yunhe"}), connection.references
    )
    secret = tmp_path / "secret"
    secret.write_text("CANARY")
    for sql in (
        "DELETE FROM people",
        "INSERT INTO people (id) VALUES (9)",
        "CREATE TABLE x (a int)",
        f"LOAD DATA LOCAL INFILE '{secret}' INTO TABLE people",
        "SELECT 1 AS a; DELETE FROM people",
        "SELECT SLEEP(5) AS a",
        "SELECT nothing FROM people",
    ):
        begun = time.monotonic()
        with pytest.raises(Failed) as failed:
            opened(mighty, "people").fetch(
                sql, [("a", "BIGINT")], tmp_path / "x", Bounds(0.5), Stop()
            )
        assert "people" not in str(failed.value)
        assert time.monotonic() - begun < 3
    assert opened(mighty, "people").profile().rows == 4


def test_what_is_asked_to_stop_stops_at_the_server(connection: Connection, tmp_path: Path) -> None:
    table, stop = opened(connection, "people"), Stop()
    many = "SELECT COUNT(*) AS a FROM " + ", ".join(f"seq_1_to_3000 s{at}" for at in range(4))
    timer = threading.Timer(0.5, stop.now)
    timer.start()
    begun = time.monotonic()
    with pytest.raises(Failed):
        table.fetch(many, [("a", "BIGINT")], tmp_path / "x", Bounds(30), stop)
    timer.join()
    assert time.monotonic() - begun < 5
    running = table._ask("SELECT COUNT(*) FROM information_schema.processlist")
    assert running[0][0] == 1


def test_more_than_may_be_shipped_is_left_unread(connection: Connection, tmp_path: Path) -> None:
    many = "SELECT seq AS a FROM seq_1_to_100000"
    table = opened(connection, "people")
    with pytest.raises(Failed, match="rows"):
        table.fetch(many, [("a", "BIGINT")], tmp_path / "x", Bounds(60, rows=20_000), Stop())
    assert table.fetch(many, [("a", "BIGINT")], tmp_path / "y", Bounds(60), Stop()) == 100_000
    assert pq.read_metadata(tmp_path / "y").num_rows == 100_000


def test_the_session_means_what_we_say(connection: Connection) -> None:
    (found,) = opened(connection, "people")._ask(
        "SELECT @@sql_mode, @@time_zone, @@tx_read_only, @@max_statement_time, @@local_infile"
    )
    assert "NO_BACKSLASH_ESCAPES" in found[0]
    assert "STRICT_ALL_TABLES" in found[0]
    assert found[1:3] == ("+00:00", 1)
    assert 0 < found[3] <= 60


def test_who_is_not_let_in_is_told_nothing(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARIADB_TEST_PASSWORD", "CANARY")
    with pytest.raises(Failed) as failed:
        opened(connection, "people").shape()
    assert failed.value.why == "away"
    assert "CANARY" not in str(failed.value)
    assert "reader" not in str(failed.value)
    with pytest.raises(SourceAway):
        opened(connection, "people").profile()


def _packet(number: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "little") + bytes([number]) + body


def test_a_server_that_asks_for_the_password_itself_is_not_told_it(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever answers at the address may say that it knows no other way."""
    monkeypatch.setenv("MARIADB_TEST_PASSWORD", "CANARY-PASSWORD")
    heard: list[bytes] = []
    hello = b"\x0a8.0.30\0" + b"\1\0\0\0" + b"saltsalt\0" + b"\xff\xf7" + b"\x2d\2\0"
    hello += b"\x08\0" + b"\x15" + b"\0" * 10 + b"saltsaltsalt\0" + b"mysql_native_password\0"
    for plugin in (b"mysql_clear_password", b"dialog"):
        with socket.create_server(("127.0.0.1", 0)) as server:

            def answer(server: socket.socket = server, plugin: bytes = plugin) -> None:
                line, _ = server.accept()
                with line:
                    line.settimeout(5)
                    line.sendall(_packet(0, hello))
                    heard.append(line.recv(4096))
                    line.sendall(_packet(2, b"\xfe" + plugin + b"\0\x04Password: "))
                    heard.append(line.recv(4096))

            thread = threading.Thread(target=answer)
            thread.start()
            host, port = server.getsockname()
            values = {"host": host, "port": port, "database": "x", "user": "reader"}
            away = Connection("his", "mysql", MappingProxyType(values), connection.references)
            with pytest.raises(Failed) as failed:
                opened(away, "people").shape()
            thread.join()
        assert failed.value.why == "away"
        assert b"reader" in heard[-2]
        assert not any(b"CANARY" in each for each in heard)


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full", "disable", "no-such"])
def test_a_server_without_tls_is_not_told_who_asks(connection: Connection, mode: str) -> None:
    values = {"host": "127.0.0.1", "sslmode": mode, "database": "x", "user": "reader"}
    asked = MysqlTable(Connection("his", "mysql", MappingProxyType(values)), parse("mysql:his/x"))
    if mode == "no-such":
        with pytest.raises(Failed):
            asked.shape()
        return
    found = asked._tls()
    if mode == "disable":
        assert found == {"ssl_disabled": True}
        return
    context = found["ssl"]
    assert context.check_hostname is (mode == "verify-full")
    assert (context.verify_mode is ssl.CERT_REQUIRED) is (mode != "require")


def test_profile_and_sample(connection: Connection) -> None:
    profile = opened(connection, "strange.people").profile()
    assert profile.rows == 4
    found = {c.name: (c.type, c.null_fraction, c.distinct_approx) for c in profile.columns}
    assert found["money"] == ("DECIMAL(12,2)", 0.25, 3)
    assert found["flag"][0] == "BOOLEAN"
    assert found["wide"][0] == "DECIMAL(20,0)"
    assert opened(connection, "people").sample(2)[0]["region"] == "east"
    with pytest.raises(SourceAway):
        opened(connection, "nothing").profile()
