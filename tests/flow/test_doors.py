"""Several processes serve a node's data behind one address: what is agreed holds over all."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from flow.world import BY_SEX, PURPOSE, TERMS, World, free_port, three, until
from yunhe import doors
from yunhe.kernel.settings import BadSetting, build
from yunhe.kernel.several import Several

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def world(tmp_path: Path, pg_url: str) -> Iterator[tuple[World, Several]]:
    """A provider on PostgreSQL with two processes for its data."""
    port = free_port()
    made = three(
        tmp_path,
        a={
            "database_url": pg_url,
            "dataplane_processes": 2,
            "dataplane_listen": f"127.0.0.1:{port}",
            "dataplane_address": f"http://127.0.0.1:{port}",
            "workers": 6,
        },
    )
    with contextlib.ExitStack() as stack:
        stack.callback(made.close)
        several = stack.enter_context(doors.opened(made["a"].config))
        until("the doors", lambda: _answers(port), seconds=60)
        yield made, several


def _answers(port: int) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"http://127.0.0.1:{port}/x", trust_env=False).status_code == 404
    return False


def asked(world: World, contract: Any, number: int, sql: str = BY_SEX) -> httpx.Request:
    ours = world["r"].node
    access = ours.contracts.access(contract.id)
    assert access.endpoint.startswith(world["a"].config.dataplane_address)
    return httpx.Request(
        "POST",
        access.endpoint,
        headers={
            "Authorization": f"Bearer {access.token}",
            "X-Yunhe-Peer": f"Bearer {ours.identity.mint(world['a'].did)}",
        },
        json={"use_id": f"door-use-{number}", "sql": sql, "purpose": PURPOSE},
    )


def holders(world: World) -> dict[str, str]:
    """Running uses, and which process has each."""
    asked = sa.text("SELECT use_id, holder FROM control_use WHERE state = 'released'")
    return {
        str(use): str(holder) for use, holder in world["a"].node.db.read(lambda t: t.all(asked))
    }


def test_the_life_of_a_contract_over_two_processes(world: tuple[World, Several]) -> None:
    made, several = world
    contract = made.agree(made.product(replace(TERMS, uses_max=10)))
    told: list[str] = []
    requests = [asked(made, contract, number) for number in range(40)]

    def ask(request: httpx.Request) -> None:
        with httpx.Client(timeout=120, trust_env=False) as client:
            answer = client.send(request)
        told.append("ok" if answer.status_code == 200 else answer.json()["code"])

    threads = [threading.Thread(target=ask, args=(each,)) for each in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = Counter(told)
    assert found["ok"] == 10
    assert set(found) <= {"ok", "USES_EXHAUSTED", "WORKERS_BUSY"}
    assert made["a"].space.contract(contract.id).uses_left == 0
    assert made["a"].space.bill(contract.id).uses == 10

    # A process dies: the other answers at once, and it is replaced, which ends the uses it held.
    rows = made.agree(made.product(replace(TERMS, minimum_group=0, rows_max=None, per_row_fen=0)))
    wide = "SELECT a.id FROM patients a, patients b, patients c, patients d"
    with contextlib.ExitStack() as stack:
        while len({*(held := holders(made)).values()}) < 2 and len(held) < 10:
            client = stack.enter_context(httpx.Client(timeout=60, trust_env=False))
            answer = client.send(asked(made, rows, 50 + len(held), wide), stream=True)
            stack.callback(answer.close)
            assert answer.status_code == 200
        homes = made["a"].config.data_dir / "doors"
        pids = {(homes / str(n) / "holder").read_text(): p for n, p in enumerate(several.pids())}
        assert {*held.values()} == {*pids}
        first, second = several.pids()
        os.kill(first, signal.SIGKILL)
        assert made.ask(rows).num_rows == 2
        until("the new one", lambda: len({*several.pids()} - {first}) == 2, seconds=60)
        assert second in several.pids()
        kept = {use for use, holder in held.items() if pids[holder] == second}
        until("its uses", lambda: {*holders(made)} == kept, seconds=60)

    # The contract ends: streams are cut, whichever process they come from.
    streams = [httpx.Client(timeout=60, trust_env=False) for _ in range(4)]
    with contextlib.ExitStack() as stack:
        open_ = []
        for number, client in enumerate(streams):
            stack.callback(client.close)
            answer = client.send(asked(made, rows, 100 + number, wide), stream=True)
            stack.callback(answer.close)
            assert answer.status_code == 200
            open_.append(answer.iter_raw())
            next(open_[-1])
        late = asked(made, rows, 200)
        made["a"].space.terminate(rows.id, "enough")
        ended = time.monotonic()
        for each in open_:
            with pytest.raises(httpx.HTTPError):
                for _ in each:
                    pass
        assert time.monotonic() - ended < 5  # a second, and a busy machine
        with httpx.Client(timeout=60, trust_env=False) as client:
            refused = client.send(late)
    assert refused.status_code in (401, 403, 409)
    made["a"].node.evidence.verify_all()


def test_the_settings_are_asked_for_together(tmp_path: Path) -> None:
    base = {
        "name": "a",
        "subject_code": "91330100MA00000665",
        "subject_name": "甲",
        "subject_name_en": "A",
        "address": "https://a.example",
        "data_dir": "var",
    }
    table = {"processes": 2, "listen": "0.0.0.0:8116", "address": "https://data.example/"}
    postgres = {"database_url": "postgresql://db/yunhe"}
    config = build({**base, **postgres, "dataplane": table}, {}, tmp_path)
    assert config.data_address == "https://data.example"
    assert build(base, {}, tmp_path).data_address == "https://a.example"
    for wrong in (
        {"dataplane": table},
        {**postgres, "dataplane": {**table, "processes": 100}},
        {**postgres, "dataplane": {**table, "listen": "8116"}},
        {**postgres, "dataplane": {**table, "address": "http://data.example"}},
    ):
        with pytest.raises(BadSetting):
            build({**base, **wrong}, {}, tmp_path)
