"""The data fabric: one SQL over products of several nodes, each part under its own contract.

In: SQL of a user of this node, aliases of our contracts. Out: plans, answers as Arrow bytes with
the policies they inherit, records with column lineage. Every part is a use like any other, asked
through the node's relay, so that the provider's one door stays the only one.
"""

from __future__ import annotations

from yunhe.fabric.doors import Doors
from yunhe.fabric.errors import (
    FabricAggregateOnly,
    FabricAnswerUnknown,
    FabricIdTaken,
    FabricLocalFailed,
    FabricNameUnknown,
    FabricPartFailed,
    FabricPartsDiffer,
    FabricPurposeNotShared,
    FabricSqlRefused,
    FabricTooLarge,
    FabricUsesShort,
)
from yunhe.fabric.market import Market, Passing
from yunhe.fabric.model import Answer, Member, Part, Plan, Shape, Slot
from yunhe.fabric.planner import make_plan
from yunhe.fabric.resolve import resolve
from yunhe.fabric.running import Run
from yunhe.fabric.service import Fabric, of_node

__all__ = [
    "Answer",
    "Doors",
    "Fabric",
    "FabricAggregateOnly",
    "FabricAnswerUnknown",
    "FabricIdTaken",
    "FabricLocalFailed",
    "FabricNameUnknown",
    "FabricPartFailed",
    "FabricPartsDiffer",
    "FabricPurposeNotShared",
    "FabricSqlRefused",
    "FabricTooLarge",
    "FabricUsesShort",
    "Market",
    "Member",
    "Part",
    "Passing",
    "Plan",
    "Run",
    "Shape",
    "Slot",
    "make_plan",
    "of_node",
    "resolve",
]
