"""`/resources` and `/products`: describe, mend, submit, list, withdraw (provider)."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import Annotated, Any

from fastapi import Query

from yunhe import catalog, contracts
from yunhe.api.deps import AnyCaller, Parts, Provider, face
from yunhe.api.forms import (
    TABLE,
    Empty,
    Form,
    ProductForm,
    ProductPatch,
    ResourceForm,
    ResourcePatch,
    TableForm,
    TermsForm,
    Text,
    terms_json,
)
from yunhe.kernel import limits
from yunhe.kernel.errors import Invalid

router = face("supply")

TableName = Annotated[str, Query(pattern=TABLE)]
SampleRows = Annotated[int, Query(ge=1, le=limits.SAMPLE_ROWS_MAX)]


@router.post("/resources", status_code=201)
def add_resource(form: ResourceForm, parts: Parts, who: Provider) -> dict[str, Any]:
    """Describe a data resource; its files are profiled now."""
    made = catalog.ResourceForm(
        title=catalog.Text(form.title_zh, form.title_en),
        description=catalog.Text(form.description_zh, form.description_en),
        tables=_tables(form.tables),
        keywords=tuple(form.keywords),
        metadata=_metadata(catalog.Metadata(), form.metadata),
    )
    return _shown(parts, parts.holder.add_resource(made, who.name))


@router.get("/resources")
def resources(parts: Parts, _who: AnyCaller) -> dict[str, Any]:
    """This node's resources."""
    return {"items": [_shown(parts, each) for each in parts.holder.resources()]}


@router.get("/resources/{key}")
def resource(key: str, parts: Parts, _who: AnyCaller) -> dict[str, Any]:
    """One resource, by id or code."""
    return _shown(parts, parts.holder.resource(key))


@router.get("/resources/{key}/profile")
def profile_resource(key: str, parts: Parts, _who: Provider) -> dict[str, Any]:
    """Its tables measured as their sources are now."""
    return {
        "items": [
            {
                "name": name,
                "rows": found.rows,
                "bytes": found.bytes,
                "columns": [asdict(column) for column in found.columns],
            }
            for name, found in parts.holder.profile(key).items()
        ]
    }


@router.get("/resources/{key}/sample")
def sample_resource(
    key: str, parts: Parts, _who: Provider, table: TableName, rows: SampleRows = 10
) -> dict[str, Any]:
    """The first rows of one of its tables, for the provider's own eyes."""
    found = parts.holder.sample(key, table, rows)
    columns = list(found[0]) if found else []
    return {"columns": columns, "rows": [list(row.values()) for row in found]}


@router.patch("/resources/{key}")
def edit_resource(key: str, form: ResourcePatch, parts: Parts, who: Provider) -> dict[str, Any]:
    """Change a draft or returned resource; members left out stay."""
    old = parts.holder.working_form(key)
    if not isinstance(old, catalog.ResourceForm):
        raise Invalid(why="it is not a resource")
    new = replace(
        old,
        title=_text(old.title, form.title_zh, form.title_en),
        description=_text(old.description, form.description_zh, form.description_en),
        tables=old.tables if form.tables is None else _tables(form.tables),
        keywords=old.keywords if form.keywords is None else tuple(form.keywords),
        metadata=_metadata(old.metadata, form.metadata or {}),
    )
    return _shown(parts, parts.holder.edit_resource(key, new, who.name))


@router.post("/resources/{key}/submit")
def submit_resource(
    key: str, parts: Parts, _who: Provider, _body: Empty | None = None
) -> dict[str, Any]:
    """Ask the functional node to register it."""
    return _shown(parts, parts.holder.submit_resource(key))


@router.post("/resources/{key}/withdraw")
def withdraw_resource(
    key: str, parts: Parts, _who: Provider, _body: Empty | None = None
) -> dict[str, Any]:
    """Take a resource back for good; refused while a product stands on it."""
    found = parts.holder.resource(key)
    taken = parts.holder.withdraw(found.id)
    if not isinstance(taken, catalog.Resource):
        raise Invalid(why="it is not a resource")
    return _shown(parts, taken)


@router.post("/products", status_code=201)
def add_product(form: ProductForm, parts: Parts, who: Provider) -> dict[str, Any]:
    """Describe a product over resources of this node."""
    made = catalog.ProductForm(
        title=catalog.Text(form.title_zh, form.title_en),
        description=catalog.Text(form.description_zh, form.description_en),
        resource_ids=tuple(form.resource_ids),
        policy=_policy(form.terms),
        bounds=None if form.negotiable is None else _policy(form.negotiable),
        keywords=tuple(form.keywords),
        metadata=_metadata(
            catalog.Metadata(usage_scenario=form.description_zh or form.description_en),
            form.metadata,
        ),
    )
    return product_json(parts.holder.add_product(made, who.name))


@router.get("/products")
def products(parts: Parts, _who: AnyCaller) -> dict[str, Any]:
    """This node's products."""
    return {"items": [product_json(each) for each in parts.holder.products()]}


@router.get("/products/{key}")
def product(key: str, parts: Parts, _who: AnyCaller) -> dict[str, Any]:
    """One product, by id or code."""
    return product_json(parts.holder.product(key))


@router.patch("/products/{key}")
def edit_product(key: str, form: ProductPatch, parts: Parts, who: Provider) -> dict[str, Any]:
    """Change a draft or returned product; members left out stay."""
    old = parts.holder.working_form(key)
    if not isinstance(old, catalog.ProductForm):
        raise Invalid(why="it is not a product")
    bounds = old.bounds
    if "negotiable" in form.model_fields_set:
        bounds = None if form.negotiable is None else _policy(form.negotiable)
    new = replace(
        old,
        title=_text(old.title, form.title_zh, form.title_en),
        description=_text(old.description, form.description_zh, form.description_en),
        resource_ids=old.resource_ids if form.resource_ids is None else tuple(form.resource_ids),
        policy=old.policy if form.terms is None else _policy(form.terms),
        bounds=bounds,
        keywords=old.keywords if form.keywords is None else tuple(form.keywords),
        metadata=_metadata(old.metadata, form.metadata or {}),
    )
    return product_json(parts.holder.edit_product(key, new, who.name))


@router.post("/products/{key}/submit")
def submit_product(
    key: str, parts: Parts, _who: Provider, _body: Empty | None = None
) -> dict[str, Any]:
    """Ask the functional node to register it."""
    return product_json(parts.holder.submit_product(key))


@router.post("/products/{key}/list")
def list_product(
    key: str, parts: Parts, _who: Provider, _body: Empty | None = None
) -> dict[str, Any]:
    """Ask the functional node to list it."""
    return product_json(parts.holder.list_product(key))


class WithdrawForm(Form):
    """Why it is withdrawn."""

    reason: Text = ""


@router.post("/products/{key}/withdraw")
def withdraw(
    key: str, parts: Parts, _who: Provider, form: WithdrawForm | None = None
) -> dict[str, Any]:
    """Take a product back; a listing is delisted first."""
    taken = parts.holder.withdraw(key, form.reason if form else "")
    if not isinstance(taken, catalog.Product):
        raise Invalid(why="it is not a product")
    return product_json(taken)


def _shown(parts: Parts, resource: catalog.Resource) -> dict[str, Any]:
    return resource_json(resource, parts.holder.drift_of(resource.id))


def resource_json(resource: catalog.Resource, drift: dict[str, Any]) -> dict[str, Any]:
    """A resource as the API shows it; no file path. `drift`: how its sources differ, by table."""
    return {
        "id": resource.id,
        "code": resource.code or None,
        "state": resource.state,
        "version": resource.version,
        "title_zh": resource.form.title.zh,
        "title_en": resource.form.title.en,
        "description_zh": resource.form.description.zh,
        "description_en": resource.form.description.en,
        "keywords": list(resource.form.keywords),
        "tables": [table_json(table) for table in resource.tables],
        "drift": drift,
        "reasons": list(resource.reasons),
    }


def product_json(product: catalog.Product) -> dict[str, Any]:
    """A product as the API shows it."""
    return {
        "id": product.id,
        "code": product.code or None,
        "state": product.shown_state,
        "version": product.version,
        "title_zh": product.title.zh,
        "title_en": product.title.en,
        "description_zh": product.form.description.zh,
        "description_en": product.form.description.en,
        "keywords": list(product.form.keywords),
        "resource_ids": list(product.form.resource_ids),
        "terms": _terms(product.policy),
        "negotiable": None if product.bounds is None else _terms(product.bounds),
        "reasons": list(product.reasons),
    }


def table_json(table: catalog.Table) -> dict[str, Any]:
    """A table: name, typed columns, whose rows they are."""
    return {
        "name": table.name,
        "rows": table.rows,
        "entity_key": table.entity_key,
        "columns": [{"name": column.name, "type": column.type} for column in table.columns],
    }


def _tables(tables: list[TableForm]) -> tuple[catalog.TableForm, ...]:
    return tuple(
        catalog.TableForm(table.name, tuple(table.paths), table.entity_key or "")
        for table in tables
    )


def _metadata(base: catalog.Metadata, changes: dict[str, Any]) -> catalog.Metadata:
    known = {field.name for field in fields(base)}
    for name, value in changes.items():
        if name not in known:
            raise Invalid(why=f"metadata.{name[:64]} is not known")
        if name == "delivery_methods" and isinstance(value, list):
            changes = {**changes, name: tuple(str(each) for each in value)}
        elif not isinstance(value, str):
            raise Invalid(why=f"metadata.{name} is not a text")
    return replace(base, **changes)


def _text(old: catalog.Text, zh: str | None, en: str | None) -> catalog.Text:
    return catalog.Text(old.zh if zh is None else zh, old.en if en is None else en)


def _policy(form: TermsForm) -> dict[str, Any]:
    return contracts.policy_from_terms(form.terms()).to_json()


def _terms(policy: dict[str, Any]) -> dict[str, Any]:
    return terms_json(contracts.terms_from_policy(contracts.Policy.from_json(policy)))
