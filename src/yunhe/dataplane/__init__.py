"""Governed SQL: the gate, the worker processes, and the way from a contract to Arrow bytes.

In: SQL of authenticated peers under contracts in force, the tables of the provider's products.
Out: Arrow IPC streams, each under one Grant of control. Emits no events of its own; a refusal of
the gate is evidence (`use.denied`). The consumer's relay uses `IpcCount` and `count_ipc`.
"""

from __future__ import annotations

from yunhe.dataplane.beside import Laid, Wanted, computed
from yunhe.dataplane.errors import (
    AggregateOnly,
    BadLiteral,
    BytesOverLimit,
    ColumnNotAgreed,
    DataUnavailable,
    GroupTooSmall,
    InputTooLarge,
    NameQualified,
    ParameterRefused,
    ParametersDiffer,
    PushNeedsPurpose,
    PushNeedsSql,
    PushTooLarge,
    QueryFailed,
    QueryMemory,
    QueryTimeout,
    RowsOverLimit,
    SpoolFailed,
    StreamMalformed,
    WorkerLost,
    WorkersBusy,
)
from yunhe.dataplane.feed import Fed, FeedingPlane
from yunhe.dataplane.fresh import bindings
from yunhe.dataplane.gate import govern, name_outputs, read
from yunhe.dataplane.ipc import IpcCount, count_ipc, message_head
from yunhe.dataplane.model import Governed, TableBinding
from yunhe.dataplane.parameters import bind, bind_named, wanted
from yunhe.dataplane.parts import Parted, PartingPlane
from yunhe.dataplane.pool import Binding, Census, Job, Pool
from yunhe.dataplane.process import Running, WorkerLimits
from yunhe.dataplane.push import Spooled, count_file, one_purpose
from yunhe.dataplane.pushdown_fetch import Databases
from yunhe.dataplane.qualified import unqualified
from yunhe.dataplane.sealed import SealedSql
from yunhe.dataplane.service import Agreements, DataPlane, Query
from yunhe.dataplane.stream import Stream
from yunhe.dataplane.views import check_terms, term_faults

__all__ = [
    "AggregateOnly",
    "Agreements",
    "BadLiteral",
    "Binding",
    "BytesOverLimit",
    "Census",
    "ColumnNotAgreed",
    "DataPlane",
    "DataUnavailable",
    "Databases",
    "Fed",
    "FeedingPlane",
    "Governed",
    "GroupTooSmall",
    "InputTooLarge",
    "IpcCount",
    "Job",
    "Laid",
    "NameQualified",
    "ParameterRefused",
    "ParametersDiffer",
    "Parted",
    "PartingPlane",
    "Pool",
    "PushNeedsPurpose",
    "PushNeedsSql",
    "PushTooLarge",
    "Query",
    "QueryFailed",
    "QueryMemory",
    "QueryTimeout",
    "RowsOverLimit",
    "Running",
    "SealedSql",
    "SpoolFailed",
    "Spooled",
    "Stream",
    "StreamMalformed",
    "TableBinding",
    "Wanted",
    "WorkerLimits",
    "WorkerLost",
    "WorkersBusy",
    "bind",
    "bind_named",
    "bindings",
    "check_terms",
    "computed",
    "count_file",
    "count_ipc",
    "govern",
    "message_head",
    "name_outputs",
    "one_purpose",
    "read",
    "term_faults",
    "unqualified",
    "wanted",
]
