"""What a Flight SQL client may ask about the server: catalogues, tables, types, abilities.

In: the contracts a caller has, the tables each shows. Out: small Arrow tables in the exact
schemas of the Flight SQL specification. A catalogue is a contract, a schema its product.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from yunhe import __version__

CATALOGS: Final = pa.schema([pa.field("catalog_name", pa.utf8(), nullable=False)])
SCHEMAS: Final = pa.schema(
    [
        pa.field("catalog_name", pa.utf8()),
        pa.field("db_schema_name", pa.utf8(), nullable=False),
    ]
)
TABLES: Final = pa.schema(
    [
        pa.field("catalog_name", pa.utf8()),
        pa.field("db_schema_name", pa.utf8()),
        pa.field("table_name", pa.utf8(), nullable=False),
        pa.field("table_type", pa.utf8(), nullable=False),
    ]
)
TABLES_WITH_SCHEMA: Final = TABLES.append(pa.field("table_schema", pa.binary(), nullable=False))
TABLE_TYPES: Final = pa.schema([pa.field("table_type", pa.utf8(), nullable=False)])
TABLE: Final = "TABLE"
PRIMARY_KEYS: Final = pa.schema(
    [
        pa.field("catalog_name", pa.utf8()),
        pa.field("db_schema_name", pa.utf8()),
        pa.field("table_name", pa.utf8(), nullable=False),
        pa.field("column_name", pa.utf8(), nullable=False),
        pa.field("key_name", pa.utf8()),
        pa.field("key_sequence", pa.int32(), nullable=False),
    ]
)
FOREIGN_KEYS: Final = pa.schema(
    [
        field
        for side in ("pk", "fk")
        for field in (
            pa.field(f"{side}_catalog_name", pa.utf8()),
            pa.field(f"{side}_db_schema_name", pa.utf8()),
            pa.field(f"{side}_table_name", pa.utf8(), nullable=False),
            pa.field(f"{side}_column_name", pa.utf8(), nullable=False),
        )
    ]
    + [
        pa.field("key_sequence", pa.int32(), nullable=False),
        pa.field("fk_key_name", pa.utf8()),
        pa.field("pk_key_name", pa.utf8()),
        pa.field("update_rule", pa.uint8(), nullable=False),
        pa.field("delete_rule", pa.uint8(), nullable=False),
    ]
)
_VALUE: Final = pa.dense_union(
    [
        pa.field("string_value", pa.utf8()),
        pa.field("bool_value", pa.bool_()),
        pa.field("bigint_value", pa.int64()),
        pa.field("int32_bitmask", pa.int32()),
        pa.field("string_list", pa.list_(pa.utf8())),
        pa.field("int32_to_int32_list_map", pa.map_(pa.int32(), pa.list_(pa.int32()))),
    ],
    [0, 1, 2, 3, 4, 5],
)
SQL_INFO: Final = pa.schema(
    [
        pa.field("info_name", pa.uint32(), nullable=False),
        pa.field("value", _VALUE, nullable=False),
    ]
)
_ARROW: Final = str(pa.__version__)
# FlightSql.proto, enum SqlInfo: number -> value. What is read-only here is so by contract.
_INFOS: Final[Mapping[int, str | bool | int | tuple[str, ...]]] = {
    0: "Yunhe",  # FLIGHT_SQL_SERVER_NAME
    1: __version__,
    2: _ARROW,
    3: True,  # read only
    4: True,  # SQL
    5: False,  # Substrait
    8: 0,  # no transactions
    9: True,  # cancels
    100: 0,  # statement timeout: by node, not by statement
    101: 0,
    500: False,  # no DDL of catalogues, schemas, tables
    501: False,
    502: False,
    503: 1,  # names: case insensitive
    504: '"',
    505: 1,
    506: True,  # all tables listed may be selected from
    507: 2,  # NULLs last
}
XDBC_TYPES: Final = pa.schema(
    [
        pa.field("type_name", pa.utf8(), nullable=False),
        pa.field("data_type", pa.int32(), nullable=False),
        pa.field("column_size", pa.int32()),
        pa.field("literal_prefix", pa.utf8()),
        pa.field("literal_suffix", pa.utf8()),
        pa.field("create_params", pa.list_(pa.field("item", pa.utf8(), nullable=False))),
        pa.field("nullable", pa.int32(), nullable=False),
        pa.field("case_sensitive", pa.bool_(), nullable=False),
        pa.field("searchable", pa.int32(), nullable=False),
        pa.field("unsigned_attribute", pa.bool_()),
        pa.field("fixed_prec_scale", pa.bool_(), nullable=False),
        pa.field("auto_increment", pa.bool_()),
        pa.field("local_type_name", pa.utf8()),
        pa.field("minimum_scale", pa.int32()),
        pa.field("maximum_scale", pa.int32()),
        pa.field("sql_data_type", pa.int32(), nullable=False),
        pa.field("datetime_subcode", pa.int32()),
        pa.field("num_prec_radix", pa.int32()),
        pa.field("interval_precision", pa.int32()),
    ]
)
# name, XDBC type, size, literal prefix and suffix, radix
_XDBC: Final = (
    ("BIGINT", -5, 19, None, 10),
    ("BLOB", -4, None, "'", None),
    ("BOOLEAN", -7, 1, None, None),
    ("DATE", 91, 10, "'", None),
    ("DECIMAL", 3, 38, None, 10),
    ("DOUBLE", 8, 15, None, 2),
    ("FLOAT", 6, 7, None, 2),
    ("INTEGER", 4, 10, None, 10),
    ("SMALLINT", 5, 5, None, 10),
    ("TIME", 92, 15, "'", None),
    ("TIMESTAMP", 93, 26, "'", None),
    ("TINYINT", -6, 3, None, 10),
    ("VARCHAR", 12, None, "'", None),
)


@dataclass(frozen=True)
class Shown:
    """One table of one contract."""

    catalog: str
    schema: str
    table: str
    arrow_schema: bytes


def rows(schema: Any, found: Iterable[Sequence[object]]) -> Any:
    """A table of `schema` from rows of plain values."""
    columns = list(zip(*found, strict=True)) or [()] * len(schema)
    arrays = [pa.array(c, type=f.type) for c, f in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def tables(found: Iterable[Shown], *, include_schema: bool) -> Any:
    """The answer to GetTables."""
    plain = ((each.catalog, each.schema, each.table, TABLE, each.arrow_schema) for each in found)
    if include_schema:
        return rows(TABLES_WITH_SCHEMA, plain)
    return rows(TABLES, (each[:4] for each in plain))


def sql_info(asked: Sequence[int]) -> Any:
    """The answer to GetSqlInfo: those asked for, or all; unknown ones have no row."""
    names = sorted(_INFOS) if not asked else sorted(set(asked) & set(_INFOS))
    values = [_INFOS[name] for name in names]
    kinds, offsets = [], []
    held: list[list[Any]] = [[] for _ in range(_VALUE.num_fields)]
    for value in values:
        kind = 0 if isinstance(value, str) else 1 if isinstance(value, bool) else 2
        kinds.append(kind)
        offsets.append(len(held[kind]))
        held[kind].append(value)
    union = pa.UnionArray.from_dense(
        pa.array(kinds, pa.int8()),
        pa.array(offsets, pa.int32()),
        [pa.array(of, type=_VALUE.field(at).type) for at, of in enumerate(held)],
        [_VALUE.field(at).name for at in range(_VALUE.num_fields)],
        [0, 1, 2, 3, 4, 5],
    )
    return pa.Table.from_arrays([pa.array(names, pa.uint32()), union], schema=SQL_INFO)


def xdbc_types(asked: int | None) -> Any:
    """The answer to GetXdbcTypeInfo: one type, or all."""
    made: list[tuple[Any, ...]] = []
    for name, kind, size, quote, radix in sorted(_XDBC, key=lambda each: each[1]):
        if asked is None or asked == kind:
            least, most = (0, 38) if name == "DECIMAL" else (None, None)
            head = (name, kind, size, quote, quote, None, 1, name == "VARCHAR", 3)
            sign = (False if radix else None, name == "DECIMAL", False, name)
            made.append((*head, *sign, least, most, kind, None, radix, None))
    return rows(XDBC_TYPES, made)


def like(pattern: str | None, name: str) -> bool:
    """Whether a name fits an SQL pattern of % and _; no pattern fits all.

    At most len(pattern) * len(name) steps: a regular expression could be made to take for ever.
    """
    if pattern is None:
        return True
    at = here = 0
    star, resume = -1, 0  # the last % and where in the name it was tried up to
    while here < len(name):
        if at < len(pattern) and pattern[at] == "%":
            star, resume, at = at, here, at + 1
        elif at < len(pattern) and pattern[at] in ("_", name[here]):
            at, here = at + 1, here + 1
        elif star >= 0:
            resume += 1
            at, here = star + 1, resume
        else:
            return False
    return not pattern[at:].strip("%")
