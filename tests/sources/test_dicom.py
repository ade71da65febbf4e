"""A folder of DICOM is a table of headers and one of objects; a broken file is named."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import duckdb
import pytest

from yunhe.sources import Sources, SourceUnreadable, TableProfile

pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed: 'yunhe[dicom]'")


def image(file: Path, number: int, **more: Any) -> None:
    """One CT slice of 4 x 4 with a Chinese patient name."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset(str(file), {}, file_meta=meta, preamble=b"\0" * 128)
    values = {
        "SpecificCharacterSet": "GB18030",
        "PatientName": "张^三",
        "PatientID": "P-1",
        "SOPInstanceUID": f"1.2.3.{number}",
        "SOPClassUID": CTImageStorage,
        "Modality": "CT",
        "InstanceNumber": number,
        "SliceThickness": "1.25",
        "Rows": 4,
        "Columns": 4,
        "PixelData": bytes(32),
        **more,
    }
    for name, value in values.items():
        setattr(made, name, value)
    made.save_as(file, enforce_file_format=True)


def read(node: Sources, profile: TableProfile, what: str) -> list[Any]:
    files = list(node.fresh((profile.origin,), profile.types()).files)
    return duckdb.sql(f"SELECT {what} FROM read_parquet({files}) ORDER BY ALL").fetchall()


@pytest.fixture
def node(tmp_path: Path) -> Sources:
    (tmp_path / "data" / "ct").mkdir(parents=True)
    for number in (1, 2):
        image(tmp_path / "data" / "ct" / f"{number}.dcm", number)
    return Sources([tmp_path / "data"], tmp_path / "snapshots")


def test_headers_and_objects_meet_by_an_id_that_is_no_path(node: Sources, tmp_path: Path) -> None:
    headers = node.profile("dicom:ct")
    columns = "instance_number, patient_name, modality, slice_thickness_mm, pixel_rows, object_id"
    rows = read(node, headers, columns)
    assert [row[:5] for row in rows] == [(1, "张^三", "CT", 1.25, 4), (2, "张^三", "CT", 1.25, 4)]
    objects = read(
        node, node.profile("dicom:ct?table=objects"), "sop_uid, bytes, sha256, object_id"
    )
    for number, row in enumerate(objects, 1):
        content = (tmp_path / "data" / "ct" / f"{number}.dcm").read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        assert row == (f"1.2.3.{number}", len(content), digest, digest[:32])
    assert {row[-1] for row in rows} == {row[-1] for row in objects}
    assert node.profile("ct").origin.startswith("dicom:")


def test_types_stay_though_a_folder_lacks_a_tag(node: Sources, tmp_path: Path) -> None:
    assert node.profile("dicom:ct").types()["tube_kv"] == "DOUBLE"
    assert node.profile("dicom:ct").types()["institution"] == "VARCHAR"


def test_what_is_no_dicom_is_named(node: Sources, tmp_path: Path) -> None:
    whole = (tmp_path / "data" / "ct" / "1.dcm").read_bytes()
    for content in (b"", b"not dicom", whole[:140], whole[:132] + b"\xff" * 400):
        (tmp_path / "data" / "ct" / "3.dcm").write_bytes(content)
        with pytest.raises(SourceUnreadable, match=r"3\.dcm is no DICOM"):
            node.profile("dicom:ct")
    with pytest.raises(SourceUnreadable, match="headers and objects"):
        node.profile("dicom:ct?table=pixels")
