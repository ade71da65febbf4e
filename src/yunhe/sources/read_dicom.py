"""DICOM files as two tables: what their headers say, and the objects themselves without a path.

In: files. Out: one typed Parquet `Part`. Pixels are not read into the tables; identifiers of the
patient are ordinary columns, which terms may hide or mask. Runs in the ingest process only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from yunhe.kernel import limits
from yunhe.sources.look import Fault
from yunhe.sources.read_text import Part

# Keyword of DICOM PS3.6 -> column and type; a value that is not of the type is NULL in no silence:
# the object's row says so in `unread`.
_TEXT, _WHOLE, _NUMBER = pa.string(), pa.int64(), pa.float64()
HEADERS: Final = {
    "PatientID": ("patient_id", _TEXT),
    "PatientName": ("patient_name", _TEXT),
    "PatientBirthDate": ("patient_birth_date", _TEXT),
    "PatientSex": ("patient_sex", _TEXT),
    "PatientAge": ("patient_age", _TEXT),
    "AccessionNumber": ("accession_number", _TEXT),
    "StudyInstanceUID": ("study_uid", _TEXT),
    "SeriesInstanceUID": ("series_uid", _TEXT),
    "SOPInstanceUID": ("sop_uid", _TEXT),
    "SOPClassUID": ("sop_class_uid", _TEXT),
    "StudyDate": ("study_date", _TEXT),
    "StudyTime": ("study_time", _TEXT),
    "StudyDescription": ("study_description", _TEXT),
    "SeriesDescription": ("series_description", _TEXT),
    "SeriesNumber": ("series_number", _WHOLE),
    "InstanceNumber": ("instance_number", _WHOLE),
    "Modality": ("modality", _TEXT),
    "BodyPartExamined": ("body_part", _TEXT),
    "Manufacturer": ("manufacturer", _TEXT),
    "ManufacturerModelName": ("model_name", _TEXT),
    "InstitutionName": ("institution", _TEXT),
    "Rows": ("pixel_rows", _WHOLE),
    "Columns": ("pixel_columns", _WHOLE),
    "NumberOfFrames": ("frames", _WHOLE),
    "BitsStored": ("bits_stored", _WHOLE),
    "SliceThickness": ("slice_thickness_mm", _NUMBER),
    "KVP": ("tube_kv", _NUMBER),
}
_HEADER_SCHEMA: Final = pa.schema(
    [("object_id", _TEXT), *HEADERS.values(), ("transfer_syntax_uid", _TEXT), ("unread", _TEXT)]
)
_OBJECT_SCHEMA: Final = pa.schema(
    [("object_id", _TEXT), ("bytes", _WHOLE), ("sha256", _TEXT), ("sop_uid", _TEXT)]
)
_BATCH: Final = 5_000


def dicom_part(files: Sequence[tuple[Path, str]], out: Path, table: str) -> Part:
    """The table `headers` or `objects` of DICOM files; a file that is none is named in the Fault.

    An object is named by the first half of its SHA-256: no path, and the same in both tables.
    """
    if table not in ("headers", "objects"):
        raise Fault(
            "the tables of dicom: are headers and objects", "dicom: 的表为 headers 与 objects"
        )
    schema = _HEADER_SCHEMA if table == "headers" else _OBJECT_SCHEMA
    read = _header if table == "headers" else _object
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        for at in range(0, len(files), _BATCH):
            rows = [read(file, name) for file, name in files[at : at + _BATCH]]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    return Part(out, f"{len(files)} DICOM files")


def _object(file: Path, name: str) -> dict[str, Any]:
    digest = _digest(file)
    held = _read(file, name, ("SOPInstanceUID",))
    size = file.stat().st_size
    sop = str(held.get("SOPInstanceUID", "")) or None
    return {"object_id": digest[:32], "bytes": size, "sha256": digest, "sop_uid": sop}


def _header(file: Path, name: str) -> dict[str, Any]:
    held = _read(file, name, tuple(HEADERS))
    syntax = getattr(held.file_meta, "TransferSyntaxUID", None)
    row: dict[str, Any] = {
        "object_id": _digest(file)[:32],
        "transfer_syntax_uid": str(syntax) if syntax else None,
    }
    unread = []
    for keyword, (column, kind) in HEADERS.items():
        try:
            row[column] = _value(held.get(keyword), kind)
        except (ValueError, TypeError, OverflowError):
            row[column] = None
            unread.append(keyword)
    row["unread"] = ", ".join(unread) or None
    return row


def _value(value: Any, kind: pa.DataType) -> Any:
    if value is None or value == "":
        return None
    if kind == _TEXT:
        text = "\\".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
        return text[: limits.FACT_CHARS_MAX]
    return int(value) if kind == _WHOLE else float(value)


def _read(file: Path, name: str, keywords: tuple[str, ...]) -> Any:
    try:
        import pydicom
    except ImportError as error:
        raise Fault(
            "the extra is not installed: pip install 'yunhe[dicom]'",
            "未安装扩展：pip install 'yunhe[dicom]'",
        ) from error
    try:
        held = pydicom.dcmread(
            file, stop_before_pixels=True, specific_tags=["SpecificCharacterSet", *keywords]
        )
        if not held.get("SOPInstanceUID"):  # a cut file is read as one with fewer elements
            raise ValueError("no instance")
    except MemoryError:
        raise
    except Exception as error:
        raise Fault(f"{name} is no DICOM", f"{name} 不是 DICOM") from error
    return held


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
