"""Applications that tests publish, and the terms they run under."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flow.world import PURPOSE
from yunhe.sdk import Terms

AGGREGATE = "aggregate;k=10;rows=100;digits=4;bytes=65536"
METRICS = "model-metrics;rows=8;digits=4;bytes=4096"
REVIEW = "review;rows=1000;bytes=65536"
PREDICTIONS = "predictions-to-host;rows=1000;bytes=1000000"

MEAN_AGE = """
import numpy as np

def run(inputs, parameters):
    table = inputs["patients"]
    ages = table["age"].to_numpy()
    sexes = table["sex"].to_pylist()
    print("rows:", len(ages))
    rows = {"sex": [], "mean_age": []}
    for sex in sorted(set(sexes)):
        mine = np.array([age for age, of in zip(ages, sexes) if of == sex])
        rows["sex"].append(sex)
        rows["mean_age"].append(float(np.mean(mine[mine >= parameters["least"]])))
    return rows
"""

COUNT = """
def run(inputs, parameters):
    return {"n": inputs["patients"].num_rows}
"""

BY_SEX = (
    "SELECT sex, count(*) AS n, avg(age) AS mean_age FROM patients WHERE age >= $least "
    "GROUP BY sex ORDER BY sex"
)


def terms(release: str, *applications: str, **more: Any) -> Terms:
    """Rows of patients for named applications, out by `release`."""
    made = Terms(
        purposes=(PURPOSE,),
        columns=("patients.id", "patients.age", "patients.sex"),
        uses_max=40,
        row_filters=(("patients", "age >= 18"),),
        per_use_fen=100,
        per_row_fen=7,
        applications=applications,
        release=release,
    )
    return replace(made, **more)


def manifest(name: str, kind: str = "python", **more: Any) -> dict[str, Any]:
    """What an author writes; the members given replace these."""
    made: dict[str, Any] = {
        "name": name,
        "version": "1.0",
        "kind": kind,
        "title_zh": "平均年龄",
        "title_en": "Mean age",
        "parameters": {"least": {"type": "integer", "minimum": 0, "maximum": 120, "default": 0}},
        "output": {"groups": {"sex": "patients.sex"}, "numbers": ["mean_age"]},
        "needs": {"memory_mb": 512, "seconds": 20},
    }
    if kind == "python":
        made["inputs"] = {"patients": {"age": "BIGINT", "sex": "VARCHAR"}}
        made["libraries"] = ["numpy"]
    return made | more
