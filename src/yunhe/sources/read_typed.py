"""Arrow files and DICOM headers to Parquet: what brings its own types.

In: one file, or for DICOM all of them. Out: a typed Parquet `Part`. Runs in the ingest only.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from yunhe.sources.look import Fault
from yunhe.sources.read_text import Part, checked_names


def arrow_part(file: Path, name: str, out: Path) -> Part:
    """An Arrow IPC file (Feather 2) or stream; every batch is validated before it is used."""
    try:
        with pa.memory_map(str(file)) as source:
            magic = source.read(6)
            source.seek(0)
            reader = pa.ipc.open_file(source) if magic == b"ARROW1" else pa.ipc.open_stream(source)
            schema = _flat(reader.schema)
            checked_names(list(schema.names), name)
            with pq.ParquetWriter(out, schema, compression="zstd") as writer:
                for batch in _batches(reader):
                    batch.validate(full=True)
                    writer.write_table(pa.Table.from_batches([batch]).cast(schema))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Fault(f"{name} is no sound Arrow file", f"{name} 不是完好的 Arrow 文件") from error
    return Part(out, name)


def _flat(schema: pa.Schema) -> pa.Schema:
    """Without dictionaries and the metadata of whoever wrote it."""
    return pa.schema(
        [
            (each.name, each.type.value_type if pa.types.is_dictionary(each.type) else each.type)
            for each in schema
        ]
    )


def _batches(
    reader: pa.RecordBatchFileReader | pa.RecordBatchStreamReader,
) -> Iterator[pa.RecordBatch]:
    if isinstance(reader, pa.RecordBatchStreamReader):
        yield from reader
        return
    for at in range(reader.num_record_batches):
        yield reader.get_batch(at)
