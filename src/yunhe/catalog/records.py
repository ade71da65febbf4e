"""From a holder's form to the record that travels: what the node may know, and no more.

In: forms, profiles, who holds. Out: records of `rules.FIELDS`. Only the columns a policy shows
are told; file paths and negotiation bounds are not in a record at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from yunhe.catalog.errors import FormNotValid
from yunhe.catalog.model import (
    POLICY_UNREADABLE,
    Column,
    Fault,
    Json,
    Metadata,
    ProductForm,
    ReadTerms,
    Resource,
    ResourceForm,
    Table,
    TableForm,
    Text,
)
from yunhe.kernel import limits
from yunhe.kernel.clock import iso
from yunhe.sources import Sources, TableProfile

_PARQUET = "application/vnd.apache.parquet"


@dataclass(frozen=True)
class Holding:
    """Who holds what this node describes: the one subject of this connector."""

    did: str
    subject_code: str
    subject_name: str
    address: str


def profile(sources: Sources, forms: Sequence[TableForm]) -> tuple[Table, ...]:
    """Profile every table: columns typed, rows and bytes counted, files resolved.

    Raises FormNotValid where the files of one table differ, or there are none.
    """
    if not 1 <= len(forms) <= limits.CATALOG_TABLES_MAX:
        _refuse("tables", f"1 to {limits.CATALOG_TABLES_MAX} tables", "表数不合规定")
    return tuple(_profile_one(sources, form) for form in forms)


def _parts(sources: Sources, form: TableForm) -> list[TableProfile]:
    where = f"tables.{form.name[:64]}"
    if not 1 <= len(form.paths) <= limits.CATALOG_PATHS_MAX:
        _refuse(where, f"1 to {limits.CATALOG_PATHS_MAX} paths", "路径数不合规定")
    parts = [sources.profile(path) for path in form.paths]
    if any(part.types() != parts[0].types() for part in parts):
        _refuse(where, "its files have different columns", "各文件的列不一致")
    return parts


def measured(sources: Sources, form: TableForm) -> TableProfile:
    """One table measured over all its paths; distinct values of several are a lower bound."""
    parts = _parts(sources, form)
    rows = sum(part.rows for part in parts)
    columns = []
    for at, column in enumerate(parts[0].columns):
        each = [(part.columns[at], part.rows) for part in parts]
        nulls = sum(of.null_fraction * count for of, count in each)
        share = round(nulls / rows, 6) if rows else 0.0
        distinct = max(of.distinct_approx for of, _ in each)
        columns.append(replace(column, null_fraction=share, distinct_approx=distinct))
    size = sum(part.bytes for part in parts)
    return TableProfile(tuple(columns), rows, size, ())


def _profile_one(sources: Sources, form: TableForm) -> Table:
    where = f"tables.{form.name[:64]}"
    parts = _parts(sources, form)
    columns = tuple(Column(column.name, column.type) for column in parts[0].columns)
    if form.entity_key and form.entity_key not in parts[0].types():
        _refuse(
            f"{where}.entity_key",
            f"{form.entity_key!r} is not a column of the table",
            f"{form.entity_key!r} 不是该表的列",
        )
    files = tuple(file for part in parts for file in part.files)
    rows, size = sum(part.rows for part in parts), sum(part.bytes for part in parts)
    origins = tuple(part.origin for part in parts)
    return Table(form.name, columns, form.entity_key, files, rows, size, origins)


def _refuse(field: str, en: str, zh: str) -> None:
    fault = Fault(field, "K1", f"{field}: {en}", f"{field}：{zh}")
    raise FormNotValid(kind="resource", fields=field, faults=[fault.to_json()])


def of_resource(
    holding: Holding, form: ResourceForm, tables: Sequence[Table], now: datetime
) -> Json:
    """The record of a resource (N06 A.1)."""
    record = _common(holding, form.title, form.description, form.keywords, form.metadata, now)
    for name in ("product_form", "service_type", "delivery_methods", "usage_scenario"):
        record.pop(name, None)
    return {**record, **_sizes(tables), "tables": [_public(table, None) for table in tables]}


def of_product(
    holding: Holding,
    form: ProductForm,
    resources: Sequence[Resource],
    read_terms: ReadTerms,
    now: datetime,
) -> Json:
    """The record of a product (N06 A.2): its visible columns, its policy, its price."""
    record = _common(holding, form.title, form.description, form.keywords, form.metadata, now)
    tables = [table for resource in resources for table in resource.tables]
    try:
        terms = read_terms(form.policy)
    except POLICY_UNREADABLE:
        # The check names the word that is not understood (K10); here nothing can be derived.
        shown: set[str] = set()
        price: Json = {"mode": "05"}
    else:
        shown = set(terms.columns)
        free = not (terms.price.per_use or terms.price.per_row)
        price = {
            "mode": "01" if free else "03",
            "per_use_fen": terms.price.per_use,
            "per_row_fen": terms.price.per_row,
        }
    public = [_public(table, shown) for table in tables]
    return {
        **record,
        **_sizes(tables),
        "tables": [table for table in public if table["columns"]],
        "resource_codes": [resource.code for resource in resources if resource.code],
        "usage_scenario": form.metadata.usage_scenario
        or (form.description.zh or form.description.en),
        "policy": form.policy,
        "price": price,
    }


def _common(
    holding: Holding,
    title: Text,
    description: Text,
    keywords: Sequence[str],
    metadata: Metadata,
    now: datetime,
) -> Json:
    record: Json = {
        "title_zh": title.zh,
        "title_en": title.en,
        "description_zh": description.zh,
        "description_en": description.en,
        "keywords": list(keywords),
        "provider_did": holding.did,
        "provider_subject": holding.subject_code,
        "provider_name": holding.subject_name,
        "connector_address": holding.address,
        "formats": [_PARQUET],
        "update_time": iso(now),
        **vars(metadata),
    }
    record["delivery_methods"] = list(metadata.delivery_methods)
    record["contact"] = metadata.contact or holding.subject_name
    return {name: value for name, value in record.items() if value not in ("", [], ())}


def _sizes(tables: Sequence[Table]) -> Json:
    return {
        "rows": sum(table.rows for table in tables),
        "bytes": sum(table.bytes for table in tables),
    }


def _public(table: Table, shown: set[str] | None) -> Json:
    columns = [
        {"name": column.name, "type": column.type}
        for column in table.columns
        if shown is None or f"{table.name}.{column.name}" in shown
    ]
    key = table.entity_key
    seen = any(column["name"] == key for column in columns)
    shared = {"name": table.name, "entity_key": key if seen else "", "columns": columns}
    return {**shared, "rows": _rough(table.rows)}


def _rough(rows: int) -> int:
    """Two digits of a count: enough to plan by, and too little to see one row more."""
    return int(float(f"{rows:.1e}"))


def table_json(table: Table) -> Json:
    """A profiled table as stored beside its form."""
    return {
        "name": table.name,
        "columns": [[column.name, column.type] for column in table.columns],
        "entity_key": table.entity_key,
        "paths": list(table.paths),
        "rows": table.rows,
        "bytes": table.bytes,
        "origins": list(table.origins),
    }


def table_from(data: Any, resource_id: str = "") -> Table:
    """The inverse of `table_json`."""
    return Table(
        data["name"],
        tuple(Column(name, kind) for name, kind in data["columns"]),
        data["entity_key"],
        tuple(data["paths"]),
        data["rows"],
        data["bytes"],
        tuple(data.get("origins", ())),
        resource_id,
    )
