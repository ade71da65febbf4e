from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from identity.test_registrar import admitted
from protocols.dcp.office import Town, identities, town
from yunhe.identity import Identity
from yunhe.kernel.clock import ManualClock


@pytest.fixture
def here(tmp_path: Path, clock: ManualClock) -> Iterator[Town]:
    made = town(tmp_path, clock)
    yield made
    made.close()
    made.world.close()


@pytest.fixture
def office(here: Town) -> Identity:
    return identities(here)[0]


@pytest.fixture
def hospital(here: Town) -> Identity:
    office, hospital, _ = identities(here)
    here.world.keep(hospital, admitted(office, hospital).credential)
    return hospital


@pytest.fixture
def research(here: Town) -> Identity:
    return identities(here)[2]
