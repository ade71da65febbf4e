"""docs/operating.md: the service's unit, the proxy's server, the copies and keys, as they stand."""

from __future__ import annotations

import configparser
import datetime
import ipaddress
import json
import re
import shlex
import shutil
import ssl
import subprocess
import tomllib
from pathlib import Path

import pytest
import typer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner

from examples import blocks
from flow.world import BY_SEX, PURPOSE, free_port, three, until
from yunhe.cli import app
from yunhe.kernel.settings import build
from yunhe.protocols.tds import AnswerUntrusted
from yunhe.sdk import connect


def test_the_unit_of_the_service_starts_a_node(tmp_path: Path) -> None:
    (text,) = blocks("operating", "ini")
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(text)
    service = unit["Service"]
    words = shlex.split(service["ExecStart"])
    assert Path(words[0]).name == "yunhe"
    assert Path(words[2]).parent == Path(service["WorkingDirectory"])
    command = typer.main.get_command(app).commands[words[1]]  # type: ignore[attr-defined]
    command.make_context("serve", words[2:])
    assert service["RestartPreventExitStatus"] == "2"
    if shutil.which("systemd-analyze") is not None:
        file = tmp_path / "yunhe.service"
        file.write_text(text.replace(words[0], "/bin/true"))
        checked = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(file)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert "yunhe.service" not in checked.stderr, checked.stderr


def certificate(folder: Path) -> None:
    """`cert.pem` and `key.pem` of 127.0.0.1, by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "key.pem").write_bytes(private)


@pytest.mark.timeout(120)
@pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx")
def test_a_node_behind_the_proxy_of_the_page_is_used_over_tls(tmp_path: Path) -> None:
    certificate(tmp_path)
    world, port = three(tmp_path / "world"), free_port()
    (server,) = blocks("operating", "nginx")
    for old, new in {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/yunhe/a.example.pem": str(tmp_path / "cert.pem"),
        "/etc/yunhe/a.example.key": str(tmp_path / "key.pem"),
        "http://127.0.0.1:8100": world["r"].config.address,
    }.items():
        assert old in server
        server = server.replace(old, new)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {tmp_path / kind};\n" for kind in kinds)
    head = f"error_log {tmp_path}/error.log; pid {tmp_path}/pid; daemon off; events {{}}"
    conf = tmp_path / "nginx.conf"
    conf.write_text(f"{head}\nhttp {{ access_log off; {temporary}{server} }}")
    proxy = subprocess.Popen(["nginx", "-c", str(conf)], stderr=subprocess.PIPE)
    try:
        tls = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        contract = world.agree(world.product())
        url = f"https://127.0.0.1:{port}"
        with connect(url, world["r"].token, tls=tls) as space:
            until("the proxy", lambda: (tmp_path / "pid").exists())
            assert space.health()["status"] == "ok"
            assert space.sql(BY_SEX, contract, PURPOSE).num_rows == 2
            assert space.bundle(contract)["contract"]
    finally:
        proxy.terminate()
        proxy.communicate(timeout=20)
        world.close()


@pytest.mark.timeout(120)
def test_a_registrars_next_key_is_pinned_before_it_signs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with three(tmp_path) as world:
        root = world["fn"]
        given = ["--url", root.config.address, "--token", root.token]

        def run(*words: str) -> str:
            result = CliRunner().invoke(app, [*words, *given])
            assert result.exit_code == 0, result.output
            return result.stdout

        (block,) = [each for each in blocks("operating", "console") if "keys next" in each]
        commands = [line.split()[1:] for line in block.splitlines()]
        assert commands == [["keys", "next", "did"], ["keys", "rotate", "did"]]
        shown = run(*commands[0])
        assert shown == run(*commands[0])  # asked twice it is the same key
        own = json.loads(run("keys", "next", "did", "--json"))
        pinned = build_roots(shown)
        assert pinned == [(root.did, own["jwk"]["x"])]
        before = root.node.identity.key.public_jwk()["x"]
        ring = world["r"].node.identity.ring
        ring._roots[root.did] = (root.node.identity.key.public_jwk(),)
        monkeypatch.setattr(ring, "_pinned", frozenset({root.did}))
        run(*commands[1])
        assert root.node.identity.key.public_jwk()["x"] == own["jwk"]["x"] != before
        with pytest.raises(AnswerUntrusted):
            world["r"].node.federation.search("patients")
        ring._roots[root.did] = (*ring._roots[root.did], own["jwk"])
        assert world["r"].node.federation.search("patients").total == 0


def build_roots(table: str) -> list[tuple[str, str]]:
    """What a node reads out of the table that `keys next` shows."""
    base = tomllib.loads(
        'name = "a"\nsubject_code = "91330100MA00000665"\nsubject_name = "a"\n'
        'subject_name_en = "a"\naddress = "https://a.example"\ndata_dir = "d"\n' + table
    )
    found = build(base, {}).trust_roots
    return [(each.did, (each.jwk or {})["x"]) for each in found]


def test_every_code_of_the_page_is_one_that_there_is() -> None:
    docs = Path(__file__).parents[2] / "docs"
    text, known = ((docs / f"{name}.md").read_text("utf-8") for name in ("operating", "errors"))
    report = Path(__file__).parents[2] / "src" / "yunhe" / "evidence" / "report.py"
    codes = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", text)) - {"SSL_CERT_FILE"}
    assert len(codes) > 10
    for code in codes:
        assert f"| `{code}` |" in known or f'"{code}"' in report.read_text("utf-8"), code
