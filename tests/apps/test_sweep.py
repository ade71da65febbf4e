"""What runs leave at their host is removed a week after their end, however many come after them."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from yunhe.apps import store
from yunhe.apps.desk import Desk
from yunhe.apps.host import Host
from yunhe.apps.model import Deployment, DeploymentState, Job, JobState, Side
from yunhe.apps.runs import fresh
from yunhe.kernel import limits
from yunhe.kernel.db import Database, Tx
from yunhe.kernel.settings import NodeConfig

OLD = timedelta(seconds=limits.APP_RESULT_KEEP_S + 60)


@pytest.fixture
def desk(db: Database, tmp_path: Path) -> Desk:
    """A host's desk with nothing at hand but its database and its folder."""
    config = NodeConfig(
        name="h",
        subject_code="91330100MA00000665",
        subject_name="H",
        subject_name_en="H",
        address="http://localhost:1",
        data_dir=tmp_path,
        roles=("connector",),
        development=True,
    )
    unused: dict[str, Any] = {field.name: None for field in fields(Desk)}
    return Desk(**unused | {"db": db, "config": config})


def ran(desk: Desk, key: str, state: JobState, ago: timedelta) -> Path:
    """A run that came to `state` so long ago, and its folder, as old as that."""

    def verb(tx: Tx) -> Job:
        of = Deployment(
            *("dep", Side.HOST, "d" * 64, "c", "did:web:r", DeploymentState.DEPLOYED),
            *("", "", tx.now, tx.now, ""),
        )
        made = fresh(tx, key, Side.HOST, of, "study", "", {}, "aggregate")
        over = None if state is JobState.HELD else tx.now - ago
        job = replace(made, state=state, created_at=tx.now - ago, ended_at=over)
        store.add_job(tx, job)
        return job

    desk.db.write(verb)
    folder = desk.job(key)
    folder.mkdir(parents=True)
    (folder / "output.arrow").write_bytes(b"")
    then = (desk.db.clock.now() - ago).timestamp()
    os.utime(folder, (then, then))
    return folder


def test_folders_of_runs_that_ended_long_ago_are_removed_however_many_ran_since(desk: Desk) -> None:
    ended = (JobState.RELEASED, JobState.FAILED)
    gone = [ran(desk, f"old-{state}", state, OLD) for state in ended]
    for n in range(limits.APP_LISTED_MAX + 1):
        ran(desk, f"new-{n}", JobState.RELEASED, timedelta(seconds=n))
    Host(desk, None, lambda: None).sweep()  # type: ignore[arg-type]
    assert not [folder for folder in gone if folder.exists()]
    assert len(desk.jobs()) == limits.APP_LISTED_MAX + 1


def test_a_result_that_waits_or_was_let_go_since_is_kept(desk: Desk) -> None:
    held = ran(desk, "held", JobState.HELD, OLD)
    late = ran(desk, "late", JobState.RELEASED, timedelta(hours=1))
    then = (desk.db.clock.now() - OLD).timestamp()
    os.utime(late, (then, then))  # it had waited long for the word of a person
    Host(desk, None, lambda: None).sweep()  # type: ignore[arg-type]
    assert held.is_dir()
    assert late.is_dir()
