"""One weave of seven hospitals for the whole folder: nodes are dear to start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fabric.weave import Weave


@pytest.fixture(scope="session")
def weave(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weave]:
    world = Weave(tmp_path_factory.mktemp("weave"))
    try:
        yield world.open()
    finally:
        world.close()
