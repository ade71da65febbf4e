"""A suspected file as people have it: GB18030, no key, a product nobody has a marked copy of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sdk.fake_node import FakeNode, fake_node
from yunhe.cli import app

GIVEN = {"did": "did:web:r", "mark": "m", "watermark": "key=people.号;share=2;people.体重=0.5"}
FOUND = {"did": "did:web:r", "named": True, "values": 2, "z": 9.0, "p": 1e-9}


@pytest.fixture
def node() -> Iterator[FakeNode]:
    with fake_node() as found:
        found.answers["GET /products/P1/watermark"] = (200, {"items": [GIVEN]})
        found.answers["POST /products/P1/watermark"] = (200, {"recipients": [FOUND]})
        yield found


def run(node: FakeNode, file: Path, *more: str) -> Any:
    environ = {"YUNHE_URL": node.url, "YUNHE_TOKEN": "t", "LC_ALL": "C", "COLUMNS": "200"}
    return CliRunner().invoke(
        app, ["watermark", "detect", str(file), "--product", "P1", *more], env=environ
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_a_csv_of_a_spreadsheet_is_read(node: FakeNode, tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "leaked.csv"
    file.write_text("号,姓名,体重\nA1,王,60.5\nA2,李,71.0\n", encoding=encoding)
    done = run(node, file)
    assert done.exit_code == 0, done.output
    assert "yes" in done.stdout
    body = node.seen[-1][2]
    assert body == {"keys": ["A1", "A2"], "columns": {"people.体重": [60.5, 71.0]}}


def test_what_cannot_be_read_or_looked_for_is_said(node: FakeNode, tmp_path: Path) -> None:
    file = tmp_path / "leaked.csv"
    file.write_bytes(b"a\xff\xff,b\n1,2\n")
    done = run(node, file)
    assert done.exit_code == 2
    assert "neither UTF-8 nor GB18030" in done.stderr
    file.write_text("id,kg\n1,2\n", encoding="utf-8")
    done = run(node, file)
    assert done.exit_code == 2
    assert "columns 号 and one of 体重 are looked for" in done.stderr
    node.answers["GET /products/P1/watermark"] = (200, {"items": []})
    assert "nobody was given a marked copy of it" in run(node, file).stderr
