"""A machine without walls runs nothing of strangers, unless its operator says so."""

from __future__ import annotations

import pytest

from yunhe.kernel import sandbox, walls


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
