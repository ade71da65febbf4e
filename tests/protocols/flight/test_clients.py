"""Stock clients over real sockets: ADBC, pandas, Polars; users, certificates, other nodes."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import adbc_driver_flightsql as driver
import adbc_driver_manager as manager
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from examples import blocks, example
from flow.world import BY_SEX, PURPOSE, TERMS, World, three, until
from protocols.flight.client import HEADER, Raw, connect, table
from yunhe.kernel.settings import BadSetting, build
from yunhe.sdk import Contract

ROWWISE = replace(TERMS, minimum_group=0, uses_max=None, rows_max=None)
OLD = "SELECT id, age, sex FROM patients WHERE age >= 80 ORDER BY id"
CLIENT = "ana.research.example"
README = Path(__file__).parents[3] / "README.md"


class Office:
    """A certificate authority, and files of what it signs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "office")])
        self.root = self._signed(self.name, self.key.public_key(), (), ca=True)
        self.ca = self._file("ca.pem", self.root.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *alternative: x509.GeneralName) -> tuple[Path, Path]:
        """Certificate and key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = self._signed(subject, key.public_key(), alternative, ca=False)
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        public = made.public_bytes(serialization.Encoding.PEM)
        return self._file(f"{name}.pem", public), self._file(f"{name}.key", private)

    def _signed(self, subject: Any, key: Any, alternative: Any, *, ca: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca, None), critical=True)
        )
        if alternative:
            made = made.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
        return made.sign(self.key, hashes.SHA256())

    def _file(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    return Office(tmp_path_factory.mktemp("office"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, office: Office) -> Iterator[World]:
    """The provider's face is plain; the consumer's is behind mutual TLS at a second node `s`."""
    listen = {"flight_listen": "127.0.0.1:0"}
    with three(tmp_path_factory.mktemp("flight"), a=listen, r=listen) as made:
        yield made


@pytest.fixture(scope="module")
def contract(world: World) -> Contract:
    return world.agree(world.product(ROWWISE))


@pytest.fixture
def connection(world: World, contract: Contract) -> Iterator[Any]:
    with connect(world["r"], contract.id) as made:
        yield made


def test_a_query_is_one_use_with_a_receipt(world: World, contract: Contract) -> None:
    before = {use.use_id for use in world["a"].node.control.uses(contract.id)}
    found = table(world["r"], contract.id, OLD)
    assert found.equals(world.ask(contract, OLD))
    new = [u for u in world["a"].node.control.uses(contract.id) if u.use_id not in before]
    until(
        "the posts",
        lambda: {u.state for u in world["a"].node.control.uses(contract.id)} == {"posted"},
    )
    assert len(new) == 2
    receipts = {each.use_id for each in world["r"].node.exchange.receipts(contract.id)}
    assert {use.use_id for use in new} <= receipts


def test_cursor_parameters(connection: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM patients WHERE sex = ? AND age > ?", ("f", 50))
        assert cursor.fetchone() == (90,)
        cursor.execute("SELECT count(*) FROM patients WHERE sex = $1 OR sex = $1", ("m",))
        assert cursor.fetchall() == [(180,)]
        cursor.execute("SELECT count(*) FROM patients WHERE sex = ?", ("f' OR 'x'='x",))
        assert cursor.fetchall() == [(0,)]
        cursor.execute("SELECT count(*) FROM patients WHERE age * ? > ?", (1.5, Decimal("134.9")))
        assert len(cursor.fetchall()) == 1
        for bad, code in (((), "PARAMETERS_DIFFER"), (("a", "b"), "PARAMETERS_DIFFER")):
            with pytest.raises(manager.Error, match=code):
                cursor.execute("SELECT id FROM patients WHERE sex = ?", bad)
        two = pa.record_batch({"0": ["m", "f"]})
        with pytest.raises(manager.Error, match="PARAMETER_REFUSED"):
            cursor.execute("SELECT id FROM patients WHERE sex = ?", two)
        with pytest.raises(manager.Error, match="SQL_NOT_ONE_QUERY"):
            cursor.executemany("UPDATE patients SET sex = ?", [("a",), ("b",)])


def test_a_prepared_statement_runs_again(connection: Any) -> None:
    with connection.cursor() as cursor:
        found = []
        for sex in ("m", "f", "x"):
            cursor.execute("SELECT count(*) FROM patients WHERE sex = ?", (sex,))
            found.append(cursor.fetchone()[0])
        assert found == [180, 180, 0]
        assert cursor.adbc_prepare("SELECT id FROM patients WHERE id = ?").names == ["1"]


def test_pandas_and_polars(world: World, contract: Contract, connection: Any) -> None:
    expected = world.ask(contract, OLD)
    assert pl.read_database(OLD, connection).to_arrow().equals(pl.from_arrow(expected).to_arrow())
    assert pd.read_sql(OLD, connection).equals(expected.to_pandas())


def test_the_examples_of_the_readme_and_of_the_page_run(
    world: World, contract: Contract, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = (each for each in blocks(README, "python") if "flightsql" in each)
    face = world["r"].node.flight
    assert face is not None
    page = example("flight", "flightsql").replace("grpc://127.0.0.1:8115", face.address)
    known: dict[str, Any] = {"token": world["r"].token, "contract_id": contract.id}
    exec(page, known)  # noqa: S102  that is the test
    with known["connection"] as made, made.cursor() as cursor:
        cursor.execute(OLD)
        assert cursor.fetch_arrow_table().num_rows > 0
    names = {"FLIGHT": face.address, "TOKEN": world["r"].token, "CONTRACT": contract.id}
    exec(block, names)  # noqa: S102  that is the test
    told = capsys.readouterr().out
    assert "sex: string" in told
    assert "180" in told


def test_the_low_level_statement(world: World, contract: Contract) -> None:
    """No prepare: GetFlightInfo of the statement itself."""
    face = world["r"].node.flight
    assert face is not None
    options = {
        "adbc.flight.sql.authorization_header": f"Bearer {world['r'].token}",
        f"{HEADER}x-agreement-id": contract.id,
    }
    with (
        driver.connect(face.address.replace("grpc", "grpc+tcp"), options) as database,
        manager.AdbcConnection(database) as connection,
        manager.AdbcStatement(connection) as statement,
    ):
        statement.set_sql_query(OLD)
        handle, rows = statement.execute_query()
        assert rows == -1
        found = pa.RecordBatchReader.from_stream(handle).read_all()
    assert found.equals(world.ask(contract, OLD))


def test_catalogues(world: World, contract: Contract, connection: Any) -> None:
    assert connection.adbc_get_table_types() == ["TABLE"]
    (found,) = connection.adbc_get_objects(depth="all").read_all().to_pylist()
    assert found["catalog_name"] == contract.id
    (schema,) = found["catalog_db_schemas"]
    (tab,) = schema["db_schema_tables"]
    assert tab["table_name"] == "patients"
    assert [each["column_name"] for each in tab["table_columns"]] == ["id", "age", "sex"]
    shown = connection.adbc_get_table_schema("patients")
    assert shown.equals(world.ask(contract, "SELECT * FROM patients LIMIT 1").schema)
    info = connection.adbc_get_info()
    assert info["vendor_name"] == "Yunhe"
    filtered = connection.adbc_get_objects(depth="tables", table_name_filter="no%").read_all()
    tables = [s["db_schema_tables"] for c in filtered.to_pylist() for s in c["catalog_db_schemas"]]
    assert not any(tables)
    with connect(world["r"]) as bare:  # every contract of this node
        names = [
            each["catalog_name"]
            for each in bare.adbc_get_objects(depth="catalogs").read_all().to_pylist()
        ]
    assert contract.id in names


def test_qualified_names_say_the_contract(world: World, contract: Contract) -> None:
    with connect(world["r"]) as bare, bare.cursor() as cursor:
        cursor.execute(
            f'SELECT p.sex FROM "{contract.id}"."{contract.product_code}".patients p GROUP BY 1'
        )
        assert len(cursor.fetchall()) == 2
        with pytest.raises(manager.Error, match="AGREEMENT_NEEDED"):
            cursor.execute("SELECT id FROM patients")


def test_wide_rows_fit_the_messages_of_stock_clients(connection: Any) -> None:
    """A stock client takes 16 MiB a message; one batch of these is larger."""
    wide = "repeat(sex, 2000)"
    many = "SELECT a.id, b.id AS o, a.sex FROM patients a JOIN patients b ON a.sex = b.sex"
    with connection.cursor() as cursor:
        cursor.execute(many)
        assert cursor.fetch_arrow_table().num_rows == 2 * 180 * 180
        with pytest.raises(manager.Error, match="FUNCTION_REFUSED"):
            cursor.execute(f"SELECT {wide} FROM patients")


def peer_headers(world: World, contract: Contract) -> dict[str, str]:
    """What a consumer's connector shows at the provider."""
    node = world["r"].node
    return {
        "token": node.contracts.access(contract.id).token,
        "x_yunhe_peer": f"Bearer {node.identity.mint(world['a'].did)}",
        "x_principal": "ana",
    }


def test_a_peer_asks_the_provider_itself(world: World, contract: Contract) -> None:
    headers = peer_headers(world, contract)
    with connect(world["a"], **headers) as connection, connection.cursor() as cursor:
        for _ in range(3):  # the token is spent, and holds for this connection
            cursor.execute(OLD)
            assert cursor.fetch_arrow_table().equals(world.ask(contract, OLD))
    with pytest.raises(manager.Error, match="TOKEN_REPLAYED"):
        table(world["a"], "", OLD, **headers)


def test_a_peer_stays_in_its_contract(world: World, contract: Contract) -> None:
    with pytest.raises(manager.Error, match="AGREEMENTS_DIFFER"):
        table(world["a"], "urn:uuid:other", OLD, **peer_headers(world, contract))
    fresh = peer_headers(world, contract)
    with pytest.raises(manager.Error, match="DATA_TOKEN_INVALID"):
        table(world["a"], "", OLD, **(fresh | {"token": "x.y.z"}))
    fresh = peer_headers(world, contract)
    stolen = fresh | {"x_yunhe_peer": f"Bearer {world['fn'].node.identity.mint(world['a'].did)}"}
    with pytest.raises(manager.Error, match="DATA_TOKEN_FOREIGN"):
        table(world["a"], "", OLD, **stolen)


def test_certificates(
    world: World, contract: Contract, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = world["r"].node
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    cert, key = office.issue("node", address, x509.DNSName("localhost"))
    config = replace(
        world["r"].config,
        flight_tls_cert=str(cert),
        flight_tls_key=str(key),
        flight_client_ca=str(office.ca),
        flight_clients=(f"{CLIENT}=ana",),
    )
    monkeypatch.setattr(node, "config", config)
    face = node._flight()
    face.start()
    try:
        assert face.address.startswith("grpc+tls://")
        ana, other = office.issue(CLIENT), office.issue("eve.example")
        assert _by_certificate(face.address, office, ana, contract).num_rows > 0
        with pytest.raises(manager.Error, match="TOKEN_MISSING"):
            _by_certificate(face.address, office, other, contract)
        stranger = Office(office.folder / "..")
        with pytest.raises(manager.Error):
            _by_certificate(face.address, office, stranger.issue(CLIENT), contract)
        with pytest.raises(manager.Error):
            _by_certificate(face.address, office, None, contract)
    finally:
        face.stop()
    named = {u.principal for u in world["a"].node.control.uses(contract.id)}
    assert "ana" in named


def _by_certificate(
    address: str, office: Office, pair: tuple[Path, Path] | None, contract: Contract
) -> pa.Table:
    import adbc_driver_flightsql.dbapi as flightsql

    options = {
        "adbc.flight.sql.client_option.tls_root_certs": office.ca.read_text(),
        f"{HEADER}x-agreement-id": contract.id,
        f"{HEADER}x-purpose": PURPOSE,
    }
    if pair is not None:
        options["adbc.flight.sql.client_option.mtls_cert_chain"] = pair[0].read_text()
        options["adbc.flight.sql.client_option.mtls_private_key"] = pair[1].read_text()
    with (
        flightsql.connect(address, db_kwargs=options, autocommit=True) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(BY_SEX)
        return cursor.fetch_arrow_table()


BASE = {
    "name": "n",
    "subject_code": "91330100MA00000665",
    "subject_name": "甲",
    "subject_name_en": "A",
    "address": "https://node.example",
    "data_dir": "var",
}


@pytest.mark.parametrize(
    "flight",
    [
        {"listen": "8115"},
        {"listen": "127.0.0.1:port"},
        {"listen": "127.0.0.1:99999"},
        {"listen": "127.0.0.1:0", "tls_cert": "a.pem"},
        {"listen": "127.0.0.1:0", "client_ca": "a.pem"},
        {"listen": "127.0.0.1:0", "clients": ["ana=ana"]},
        {"listens": "127.0.0.1:0"},
    ],
)
def test_settings_that_make_no_sense(flight: dict[str, Any]) -> None:
    with pytest.raises(BadSetting):
        build({**BASE, "flight": flight}, {})


def test_settings_as_a_table_or_flat() -> None:
    config = build({**BASE, "flight": {"listen": "[::1]:8115"}}, {})
    assert config.flight_listen == "[::1]:8115"
    assert build(BASE, {"YUNHE_FLIGHT_LISTEN": "127.0.0.1:1"}).flight_listen == "127.0.0.1:1"
    with pytest.raises(BadSetting):
        build({**BASE, "flight_listen": "127.0.0.1:1", "flight": {"listen": "127.0.0.1:2"}}, {})


def test_it_stays_on_this_machine_without_tls(world: World) -> None:
    node = world["r"].node
    config = replace(world["r"].config, flight_listen="0.0.0.0:0", development=False)
    from yunhe.protocols.flight import Face, TlsNeeded

    with pytest.raises(TlsNeeded):
        Face(
            config,
            node.identity,
            node.contracts,
            node.plane,
            node.relay,
            node.verifier.authenticate,
        )
    assert Raw(world["r"]).client is not None
