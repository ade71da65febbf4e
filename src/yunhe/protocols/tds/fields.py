"""The wire names of N03, N05 Annex A and the catalogue dictionary, beside ours.

In: domain JSON or a message body. Out: the other of the two. Writing is strict: the standard's
spelling, misprints included. Reading is liberal: any case, known aliases, numbers as text,
unknown members ignored (UNCLEAR-D-8); one thing said twice is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from yunhe.protocols.tds.errors import UnreadableMessage

Body = dict[str, Any]
Convert = Callable[[Any], Any]


@dataclass(frozen=True)
class Name:
    """One member: ours, the wire's, other spellings met on the wire, how the value converts."""

    ours: str
    wire: str
    aliases: tuple[str, ...] = ()
    write: Convert | None = None
    read: Convert | None = None


class Names:
    """A table of names, read in both directions."""

    def __init__(self, *names: Name) -> None:
        self._names = names
        self._by_wire: dict[str, Name] = {}
        for name in names:
            for spelling in (name.wire, *name.aliases):
                self._by_wire[spelling.casefold()] = name

    def to_wire(self, ours: Mapping[str, Any]) -> Body:
        """Our members under their wire names; None is left out."""
        body: Body = {}
        for name in self._names:
            value = ours.get(name.ours)
            if value is not None:
                body[name.wire] = name.write(value) if name.write else value
        return body

    def from_wire(self, body: object) -> Body:
        """What we know of a body under our names; raises UnreadableMessage."""
        if not isinstance(body, dict):
            raise UnreadableMessage(detail="not an object")
        ours: Body = {}
        for spelling, value in body.items():
            name = self._by_wire.get(str(spelling).casefold())
            if name is None or value is None:
                continue
            if name.ours in ours:
                raise UnreadableMessage(detail=f"{name.ours} is said twice")
            ours[name.ours] = name.read(value) if name.read else value
        return ours


def number(value: Any) -> Any:
    """A whole number that came as text (N05 A.1: strings holding integers)."""
    short = isinstance(value, str) and len(value) <= 15
    return int(value) if short and value.isascii() and value.isdigit() else value


def _listed(names: Names) -> tuple[Convert, Convert]:
    def write(items: Any) -> Any:
        return [names.to_wire(item) for item in items]

    def read(items: Any) -> Any:
        # UNCLEAR-D-4: a lone object may stand where an array is meant.
        items = [items] if isinstance(items, dict) else items
        if not isinstance(items, list):
            raise UnreadableMessage(detail="not an array")
        return [names.from_wire(item) for item in items]

    return write, read


def _one(names: Names) -> tuple[Convert, Convert]:
    return names.to_wire, names.from_wire


TABLE: Final = Names(
    Name("name", "name"),
    Name("entity_key", "entityKey"),
    Name("columns", "columns"),
    Name("rows", "rows", read=number),
)
PRICE: Final = Names(
    Name("mode", "mode"),
    Name("per_use_fen", "perUseFen", read=number),
    Name("per_row_fen", "perRowFen", read=number),
)


def _record(title: str) -> Names:
    """The dictionary `ndi-dict/0.1` (catalogue.md 6.1); `title`: the wire name of the title."""
    others = {"name", "productName", "resourceName", "dataProductName"} - {title}
    return Names(
        Name("local_id", "localId"),
        Name("version", "version", read=number),
        Name("title_zh", title, tuple(sorted(others))),
        Name("title_en", f"{title}En", ("nameEn", "productNameEn")),
        Name("description_zh", "dscription", ("description", "dataProductAbstract")),
        Name("description_en", "dscriptionEn", ("descriptionEn",)),
        Name("keywords", "keywords"),
        Name("provider_did", "providerDid"),
        Name("provider_subject", "providerId", ("dataProductEntityId",)),
        Name("provider_name", "providerName"),
        Name("contact", "contact"),
        Name("source_type", "sourceType"),
        Name("source_proof", "sourceProof"),
        Name("legal_basis", "legalBasis"),
        Name("masking_plan", "maskingPlan"),
        Name("topic_category", "topicCategory"),
        Name("scenario_category", "applicationCategory", ("scenarioCategory",)),
        Name("industry_category", "industryCategory"),
        Name("data_type", "dataType"),
        Name("formats", "format"),
        Name("rows", "rows", read=number),
        Name("bytes", "bytes", read=number),
        Name("update_frequency", "updateFrequency"),
        Name("update_time", "updateTime"),
        Name("quality_level", "qualityLevel"),
        Name("security_level", "securityLevel"),
        Name("data_grade", "dataGrade"),
        Name("grade_assessment", "gradeAssessment"),
        Name("personal_info", "personalInfo"),
        Name("tables", "fields", ("tables",), *_listed(TABLE)),
        Name("connector_address", "connectorAddress"),
        Name("product_form", "productForm"),
        Name("service_type", "serviceType"),
        Name("delivery_methods", "deliveryMethod"),
        Name("resource_codes", "resourceIds"),
        Name("no_resource_reason", "noResourceReason"),
        Name("usage_scenario", "usageScenario"),
        Name("policy", "usagePolicy"),
        Name("price", "price", (), *_one(PRICE)),
    )


RESOURCE: Final = _record("name")
PRODUCT: Final = _record("productName")
PROGRAM: Final = Names(
    Name("local_id", "localId"),
    Name("version", "version", read=number),
    Name("title_zh", "applicationName"),
    Name("title_en", "applicationNameEn"),
    Name("keywords", "keywords"),
    Name("provider_did", "providerDid"),
    Name("provider_subject", "providerId"),
    Name("provider_name", "providerName"),
    Name("connector_address", "connectorAddress"),
    Name("manifest", "manifest"),
    Name("jws", "jws"),
)
LISTING: Final = Names(
    Name("local_id", "localId"),
    Name("version", "version", read=number),
    Name("code", "productId"),
    Name("visible_to", "visibleScope"),
    Name("valid_to", "validTo"),
)
WITHDRAWAL: Final = Names(
    Name("local_id", "localId"),
    Name("version", "version", read=number),
    Name("code", "productId", ("resourceId",)),
    Name("reason", "reason"),
)
SUBJECT: Final = Names(  # N03 2.2
    Name("subject_code", "enterpriseCode", ("identityCode",)),
    Name("name", "enterpriseName"),
    Name("name_en", "enterpriseNameEn"),
    Name("address", "enterpriseAddress"),
)
CONNECTOR: Final = Names(  # N03 2.5
    Name("subject_code", "enterpriseCode"),
    Name("name", "connectorName"),
    Name("name_en", "connectorNameEn"),
    Name("address", "connectorAddress"),
)
APPLICATION: Final = Names(
    Name("application_id", "applicationId"),
    Name("kind", "kind"),
    Name("local_id", "localId"),
    Name("version", "version", read=number),
    Name("state", "state"),
    Name("code", "identityCode", ("productId", "resourceId")),
    Name("reasons", "reasons"),
)
SEARCH: Final = Names(  # N05 A.1
    Name("text", "keywords"),
    Name("order", "order"),
    Name("offset", "offset", read=number),
    Name("limit", "limit", read=number),
    Name("filters", "filter"),
)
HIT: Final = Names(  # N05 A.2
    Name("code", "productId"),
    Name("title_zh", "productName"),
    Name("title_en", "productNameEn"),
    Name("description_zh", "dscription", ("description",)),
    Name("description_en", "dscriptionEn", ("descriptionEn",)),
    Name("keywords", "keywords"),
    Name("provider_did", "providerDid"),
    Name("provider_name", "providerName"),
    Name("connector_code", "connectorId"),
    Name("address", "connectorAddress"),
    Name("price", "price", (), *_one(PRICE)),
    Name("version", "version", read=number),
    Name("updated_at", "updateTime"),
    Name("language", "language"),
    Name("score", "score"),
)
PAGE: Final = Names(
    Name("total", "total", read=number), Name("hits", "resultData", (), *_listed(HIT))
)
DETAIL: Final = Names(
    Name("hit", "summary", (), *_one(HIT)),
    Name("tables", "fields", (), *_listed(TABLE)),
    Name("policy", "usagePolicy"),
    Name("record", "product", (), *_one(PRODUCT)),
)
