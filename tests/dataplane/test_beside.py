"""The door of programs beside the data: their groups are audited as those of queries are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dataplane.hospital import ROWS, Hospital
from dataplane.test_service import PEER, Plane
from yunhe.contracts import Release
from yunhe.control import QueryOverlap
from yunhe.dataplane import FeedingPlane, Query, Wanted
from yunhe.kernel.crash import CrashPoints
from yunhe.kernel.db import Database

APP = "mean@1"
RULE = "aggregate;k=10;rows=100;digits=4;bytes=65536"
READ = Wanted({"patients": ("Age", "sex")}, ("patients.sex",), "patients")


def test_two_contracts_of_other_columns_do_not_show_one_person_to_a_program(
    db: Database, hospital: Hospital, tmp_path: Path
) -> None:
    """A program may sum whatever it reads: its answers over two sets of rows that differ in a few
    people are compared by their entities, where their columns are not the same, too."""
    node = Plane(db, hospital, tmp_path)
    plane = FeedingPlane(
        db=db,
        evidence=node.log,
        contracts=node.desk,
        control=node.control,
        tables=lambda contract: hospital.tables,
        pool=hospital.pool,
        mask_secret=b"secret",
        crash=CrashPoints(),
    )
    terms = replace(ROWS, applications=(APP,), release=Release.parse(RULE))
    few = replace(terms, masks=(), columns=("patients.id", "patients.Age", "patients.sex"))
    fewer = (("patients", "region = 'east' AND salary < 77000 AND id > 6"),)
    node.desk.open(terms, "c1")
    node.desk.open(replace(few, row_filters=fewer), "c2")
    counts = []
    for name in ("c1", "c2"):
        folder = tmp_path / name
        folder.mkdir()
        asked = Query(name, f"use-{name}", "", "research", application=APP)
        fed = plane.feed(PEER, asked, READ, folder)
        counts.append(fed.tables["patients"].rows)
        if name == "c1":
            node.control.release(fed.grant, fed.answered)
            continue
        assert 0 < counts[0] - counts[1] < 10
        with pytest.raises(QueryOverlap):
            node.control.release(fed.grant, fed.answered)
