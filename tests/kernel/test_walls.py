"""A machine without walls runs nothing of strangers, unless its operator says so."""

from __future__ import annotations

import pytest

from yunhe.dataplane import Pool, WorkerLimits
from yunhe.kernel import sandbox, walls
from yunhe.kernel.settings import BadSetting, build


def test_a_machine_without_walls_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "available", lambda: sandbox.Report(seccomp=True))
    with pytest.raises(walls.SandboxMissing) as refused:
        walls.stand(walls.REQUIRE)
    assert refused.value.facts == {"missing": "landlock, network namespace"}
    assert "worker_sandbox" in refused.value.remedy("zh")
    report = walls.stand(walls.BEST)
    assert walls.told(walls.BEST, report) == {
        "mode": "best",
        "whole": False,
        "confined": [*walls.CONFINED],
        "landlock": 0,
        "seccomp": True,
        "network_namespace": False,
    }


def test_without_a_network_namespace_the_two_walls_that_must_stand_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sandbox, "available", lambda: sandbox.Report(3, True, False))
    assert walls.stand(walls.REQUIRE).missing() == ("network namespace",)


def test_a_trial_that_fails_is_no_wall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "__file__", "/nowhere/sandbox.py")
    assert sandbox.available() == sandbox.Report()


def test_production_asks_for_walls_and_development_takes_what_there_is() -> None:
    base = {
        "name": "a",
        "subject_code": "91330100MA00000665",
        "subject_name": "甲",
        "subject_name_en": "A",
        "address": "https://a.example",
        "data_dir": "var",
    }
    assert build(base, {}).sandbox == walls.REQUIRE
    assert build({**base, "development": True}, {}).sandbox == walls.BEST
    assert build(base, {"YUNHE_WORKER_SANDBOX": "best"}).sandbox == walls.BEST
    with pytest.raises(BadSetting):
        build({**base, "worker_sandbox": "off"}, {})


def test_a_pool_starts_nothing_where_walls_are_asked_for_and_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sandbox, "available", sandbox.Report)
    pool = Pool(1, 1, WorkerLimits(sandbox=walls.REQUIRE))
    with pytest.raises(walls.SandboxMissing):
        pool.start()
    assert pool._idle == []
