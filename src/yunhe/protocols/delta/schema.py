"""Arrow types as Delta says them, and as they are stored in the shared Parquet file.

In: an Arrow schema. Out: the Delta `schemaString` and the Arrow schema of the file. Unsigned
integers widen, instants are microseconds in UTC, what Delta lacks is refused by name
(Delta protocol, "Schema Serialization Format").
"""

from __future__ import annotations

import json
from typing import Any, Final

import pyarrow as pa

from yunhe.protocols.delta.errors import ShareTypeUnknown

_PLAIN: Final = (
    (pa.types.is_boolean, pa.bool_(), "boolean"),
    (pa.types.is_int8, pa.int8(), "byte"),
    (pa.types.is_int16, pa.int16(), "short"),
    (pa.types.is_uint8, pa.int16(), "short"),
    (pa.types.is_int32, pa.int32(), "integer"),
    (pa.types.is_uint16, pa.int32(), "integer"),
    (pa.types.is_int64, pa.int64(), "long"),
    (pa.types.is_uint32, pa.int64(), "long"),
    (pa.types.is_uint64, pa.decimal128(20, 0), "decimal(20,0)"),
    (pa.types.is_float16, pa.float32(), "float"),
    (pa.types.is_float32, pa.float32(), "float"),
    (pa.types.is_float64, pa.float64(), "double"),
    (pa.types.is_date, pa.date32(), "date"),
    (pa.types.is_timestamp, pa.timestamp("us", "UTC"), "timestamp"),
    (pa.types.is_string, pa.string(), "string"),
    (pa.types.is_large_string, pa.string(), "string"),
    (pa.types.is_string_view, pa.string(), "string"),
    (pa.types.is_null, pa.string(), "string"),
    (pa.types.is_time, pa.string(), "string"),
    (pa.types.is_binary, pa.binary(), "binary"),
    (pa.types.is_large_binary, pa.binary(), "binary"),
    (pa.types.is_binary_view, pa.binary(), "binary"),
)


def stored(schema: Any) -> Any:
    """The Arrow schema of the file; raises ShareTypeUnknown."""
    fields = [pa.field(each.name, _both(each.name, each.type)[0]) for each in schema]
    return pa.schema(fields)


def schema_string(schema: Any) -> str:
    """The Delta schema as JSON text; raises ShareTypeUnknown."""
    return json.dumps(_struct(schema), ensure_ascii=False)


def _struct(fields: Any) -> dict[str, Any]:
    return {
        "type": "struct",
        "fields": [
            {
                "name": each.name,
                "type": _both(each.name, each.type)[1],
                "nullable": True,
                "metadata": {},
            }
            for each in fields
        ],
    }


def _both(column: str, kind: Any) -> tuple[Any, Any]:
    """How a type is stored, and what Delta calls it."""
    for fits, arrow, delta in _PLAIN:
        if fits(kind):
            return arrow, delta
    if pa.types.is_dictionary(kind):
        return _both(column, kind.value_type)
    if pa.types.is_decimal128(kind) and kind.scale >= 0:
        return kind, f"decimal({kind.precision},{kind.scale})"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        arrow, delta = _both(column, kind.value_type)
        return pa.list_(arrow), {"type": "array", "elementType": delta, "containsNull": True}
    if pa.types.is_struct(kind):
        inner = [kind.field(at) for at in range(kind.num_fields)]
        parts = [pa.field(each.name, _both(column, each.type)[0]) for each in inner]
        return pa.struct(parts), _struct(inner)
    if pa.types.is_map(kind):
        key, value = _both(column, kind.key_type), _both(column, kind.item_type)
        said = {"type": "map", "keyType": key[1], "valueType": value[1], "valueContainsNull": True}
        return pa.map_(key[0], value[0]), said
    raise ShareTypeUnknown(column=column, type=str(kind))
