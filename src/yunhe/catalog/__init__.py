"""The catalogue: resources, products and listings, at their holder and at the node.

In: forms of a provider (`Holder`), records of members (`Register`). Out: registered products with
tables and files, codes, a bilingual search; listed programs. Events: ResourceSubmitted,
ProductSubmitted, ListingSubmitted, WithdrawalSubmitted, SourceDrifted (holder); Reviewed,
EntryChanged (node); ApplicationSubmitted, ApplicationReviewed (an author's).
"""

from __future__ import annotations

from yunhe.catalog.codetables import TABLES, code_name, has_code
from yunhe.catalog.errors import (
    EntryNotFound,
    FormNotValid,
    NotAMember,
    NotInThisState,
    NotTheOrigin,
    RecordMalformed,
    ResourceInUse,
    ReviewNotPossible,
    SearchTooWide,
    VersionConflict,
)
from yunhe.catalog.events import (
    ApplicationReviewed,
    ApplicationSubmitted,
    EntryChanged,
    ListingSubmitted,
    ProductSubmitted,
    ResourceSubmitted,
    Reviewed,
    SourceDrifted,
    WithdrawalSubmitted,
)
from yunhe.catalog.holder import Holder
from yunhe.catalog.model import (
    Column,
    Detail,
    Fault,
    Hit,
    Metadata,
    Page,
    Product,
    ProductForm,
    Program,
    ReadTerms,
    Registration,
    Resource,
    ResourceForm,
    Table,
    TableForm,
    Text,
    Version,
)
from yunhe.catalog.programs import PROGRAM
from yunhe.catalog.records import Holding
from yunhe.catalog.register import Register
from yunhe.catalog.supply import Supply

__all__ = [
    "PROGRAM",
    "TABLES",
    "ApplicationReviewed",
    "ApplicationSubmitted",
    "Column",
    "Detail",
    "EntryChanged",
    "EntryNotFound",
    "Fault",
    "FormNotValid",
    "Hit",
    "Holder",
    "Holding",
    "ListingSubmitted",
    "Metadata",
    "NotAMember",
    "NotInThisState",
    "NotTheOrigin",
    "Page",
    "Product",
    "ProductForm",
    "ProductSubmitted",
    "Program",
    "ReadTerms",
    "RecordMalformed",
    "Register",
    "Registration",
    "Resource",
    "ResourceForm",
    "ResourceInUse",
    "ResourceSubmitted",
    "ReviewNotPossible",
    "Reviewed",
    "SearchTooWide",
    "SourceDrifted",
    "Supply",
    "Table",
    "TableForm",
    "Text",
    "Version",
    "VersionConflict",
    "WithdrawalSubmitted",
    "code_name",
    "has_code",
]
