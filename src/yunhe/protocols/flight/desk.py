"""The verbs behind Flight SQL's calls, without gRPC: prepare, bind, tickets, results, metadata.

In: an authenticated caller and the fields of a command. Out: schemas, handles, tables, results.
Asking for a query binds it at the provider and charges nothing; the use begins, and is charged,
when its ticket is redeemed, and a ticket is redeemed once.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from yunhe.contracts import Contract
from yunhe.dataplane import NameQualified, bind, unqualified, wanted
from yunhe.kernel import limits
from yunhe.kernel.errors import YunheError
from yunhe.protocols.arrow import Asked
from yunhe.protocols.flight import metadata, proto
from yunhe.protocols.flight.batches import Batches, Chunks
from yunhe.protocols.flight.callers import Caller
from yunhe.protocols.flight.errors import (
    AgreementNeeded,
    AgreementsDiffer,
    CallUnknown,
    HandleElsewhere,
    PurposeNeeded,
    SchemaChanged,
    StatementUnknown,
    TicketRefused,
)
from yunhe.protocols.flight.kept import Kept, Mint, Statement, Ticket
from yunhe.protocols.flight.reading import Context, Reading, Running, Watch

Told = tuple[Any, list[bytes], str]  # schema, tickets, use_id


class Desk:
    """One a node; thread-safe."""

    def __init__(self, watch: Watch, secret: bytes = b"") -> None:
        """`secret`: the node's, by which its processes know each other's handles."""
        self._watch = watch
        self._mint = Mint(secret)
        self._statements: Kept[Statement] = Kept(limits.FLIGHT_STATEMENT_S, self._mint)
        self._tickets: Kept[Ticket] = Kept(limits.FLIGHT_TICKET_S, self._mint)

    # -- queries --------------------------------------------------------------------------------

    def prepare(self, caller: Caller, sql: str) -> tuple[bytes, bytes, bytes]:
        """Handle, schema of the result (empty where the parameters decide), of the parameters."""
        statement = self._statement(caller, sql)
        statement = replace(statement, wanted=wanted(statement.sql))
        kinds = pa.schema([pa.field(str(n), pa.null()) for n in range(1, statement.wanted + 1)])
        if not statement.wanted:
            schema = caller.door.schema(statement.contract_id, statement.sql)
            statement = replace(statement, schema=schema)
        handle = self._statements.put(caller.key, statement)
        return handle, statement.schema, kinds.serialize().to_pybytes()

    def close(self, caller: Caller, handle: bytes) -> None:
        """Forget a statement; again is a no-op."""
        self._statements.take(caller.key, handle)

    def parameters(self, caller: Caller, handle: bytes, values: Sequence[object]) -> None:
        """Set what the parameters of a statement are; raises StatementUnknown, ParametersDiffer."""
        statement = self._prepared(caller, handle)
        bind(statement.sql, values)
        self._statements.change(caller.key, handle, replace(statement, values=tuple(values)))

    def ask(self, caller: Caller, sql: str) -> Told:
        """The schema of a query's result, the tickets for it and the id of its use."""
        # Only a prepared query has parameters: here the gate refuses their places.
        statement = self._statement(caller, sql)
        return self._ticket(caller, statement, statement.sql)

    def ask_prepared(self, caller: Caller, handle: bytes) -> Told:
        """As `ask`, of a prepared statement with its parameters."""
        statement = self._prepared(caller, handle)
        return self._ticket(caller, statement, bind(statement.sql, statement.values))

    def redeem(self, caller: Caller, handle: bytes, context: Context) -> Reading:
        """Run the query of a ticket: charged when this returns. Raises TicketRefused."""
        ticket = self._tickets.take(
            caller.key, handle, lambda found: caller.agreement in ("", found.contract_id)
        )
        if ticket is None:
            raise HandleElsewhere if self._mint.elsewhere(handle) else TicketRefused
        asked = Asked(ticket.use_id, ticket.sql, ticket.purpose, caller.name)
        self._watch.enter()
        try:
            parted = ticket.parted
            self._watch.parts(parted)
            chunks: Chunks = (
                caller.door.open(ticket.contract_id, asked)
                if parted is None
                else parted.open(ticket.at)
            )
            try:
                batches = Batches(chunks, trusted=caller.door.trusted)
                if not batches.schema.equals(_schema(ticket.schema)):
                    raise SchemaChanged
                running = Running(
                    chunks, context, handle, lambda: caller.door.stands(ticket.contract_id)
                )
                return Reading(batches, running, self._watch)
            except BaseException:
                chunks.close()
                raise
        finally:
            self._watch.leave()

    def cancel(self, caller: Caller, handles: Sequence[bytes]) -> bool:
        """Void tickets, cut the results read with them; whether there was any of either."""
        found = [self._tickets.take(caller.key, handle) for handle in handles]
        for ticket in found:
            if ticket is not None and ticket.parted is not None:
                ticket.parted.drop(ticket.at)
        dropped = [ticket is not None for ticket in found]
        # A running result was its owner's ticket, and its handle is a secret of 256 bits.
        return any([*dropped, *map(self._watch.cancel, handles)])

    def _statement(self, caller: Caller, sql: str) -> Statement:
        catalog, schema, sql = unqualified(sql)
        contract = self._contract(caller, catalog, schema)
        purpose = caller.purpose
        if not purpose:
            if len(contract.terms.purposes) != 1:
                raise PurposeNeeded(purposes=", ".join(contract.terms.purposes))
            purpose = contract.terms.purposes[0]
        return Statement(contract.id, sql, purpose)

    def _contract(self, caller: Caller, catalog: str, schema: str) -> Contract:
        """The one meant by header or token, by the names in the SQL, or both alike."""
        if not catalog and not schema:
            if not caller.agreement:
                raise AgreementNeeded
            return caller.door.agreement(caller.agreement)
        meant = [
            each
            for each in caller.door.agreements()
            if catalog in ("", each.id, each.product_code) and schema in ("", each.product_code)
        ]
        if not meant:
            raise NameQualified(name=".".join(part for part in (catalog, schema) if part))
        ours = [each for each in meant if caller.agreement in ("", each.id)]
        if len(ours) != 1:
            raise AgreementNeeded if ours else AgreementsDiffer
        return caller.door.agreement(ours[0].id)

    def _prepared(self, caller: Caller, handle: bytes) -> Statement:
        found = self._statements.get(caller.key, handle)
        if found is None:
            raise HandleElsewhere if self._mint.elsewhere(handle) else StatementUnknown
        if caller.agreement not in ("", found.contract_id):
            raise AgreementsDiffer
        return found

    def _ticket(self, caller: Caller, statement: Statement, sql: str) -> Told:
        contract_id = statement.contract_id
        schema = statement.schema or caller.door.schema(contract_id, sql)
        use_id = str(uuid.uuid4())
        told = _schema(schema)
        ticket = Ticket(contract_id, sql, statement.purpose, use_id, schema)
        asked = Asked(use_id, sql, statement.purpose, caller.name)
        parted = caller.door.parted(contract_id, asked)
        if parted is None:
            return told, [self._tickets.put(caller.key, ticket)], use_id
        parts = (replace(ticket, parted=parted, at=at) for at in range(parted.count))
        return told, [self._tickets.put(caller.key, part) for part in parts], use_id

    # -- metadata -------------------------------------------------------------------------------

    def shape(self, name: str, fields: proto.Fields) -> Any:
        """The schema of the answer to a metadata command; raises CallUnknown."""
        if name == "CommandGetTables":
            whole = proto.flag(fields, 5)
            return metadata.TABLES_WITH_SCHEMA if whole else metadata.TABLES
        found = _SHAPES.get(name)
        if found is None:
            raise CallUnknown(what=name[:80])
        return found

    def table(self, caller: Caller, name: str, fields: proto.Fields) -> Any:
        """The answer to a metadata command, as a table; raises CallUnknown."""
        schema = self.shape(name, fields)
        if name == "CommandGetSqlInfo":
            return metadata.sql_info(proto.numbers(fields, 1))
        if name == "CommandGetXdbcTypeInfo":
            kinds = proto.numbers(fields, 1)
            signed = [kind - (1 << 64) if kind >> 63 else kind for kind in kinds]
            return metadata.xdbc_types(signed[-1] if signed else None)
        if name == "CommandGetTableTypes":
            return metadata.rows(schema, [(metadata.TABLE,)])
        if name == "CommandGetTables":
            return self._tables(caller, fields)
        if name not in ("CommandGetCatalogs", "CommandGetDbSchemas"):
            return schema.empty_table()  # no keys are told
        found = sorted((each.id, each.product_code) for each in self._visible(caller))
        if name == "CommandGetCatalogs":
            return metadata.rows(schema, [each[:1] for each in found])
        catalog, pattern = proto.text(fields, 1, None), proto.text(fields, 2, None)
        fits = (e for e in found if catalog in (None, e[0]) and metadata.like(pattern, e[1]))
        return metadata.rows(schema, fits)

    def _visible(self, caller: Caller) -> Sequence[Contract]:
        if caller.agreement:
            return [caller.door.agreement(caller.agreement)]
        return caller.door.agreements()

    def _tables(self, caller: Caller, fields: proto.Fields) -> Any:
        kinds = proto.texts(fields, 4)
        whole = proto.flag(fields, 5)
        found = self._shown(caller, fields) if not kinds or metadata.TABLE in kinds else ()
        return metadata.tables(found, include_schema=whole)

    def _shown(self, caller: Caller, fields: proto.Fields) -> Iterator[metadata.Shown]:
        catalog, pattern = proto.text(fields, 1, None), proto.text(fields, 2, None)
        named = proto.text(fields, 3, None)
        for each in sorted(self._visible(caller), key=lambda contract: contract.id):
            code = each.product_code
            if catalog not in (None, each.id) or not metadata.like(pattern, code):
                continue
            try:
                shapes = caller.door.shapes(each.id)
            except YunheError:
                if caller.agreement:
                    raise
                continue  # one provider that is away does not hide the others
            for table, schema in sorted(shapes.items()):
                if metadata.like(named, table):
                    yield metadata.Shown(each.id, code, table, schema)


def _schema(data: bytes) -> Any:
    """A schema out of one IPC message, perhaps a stranger's; raises SchemaChanged."""
    try:
        return pa.ipc.read_schema(pa.py_buffer(data))
    except (pa.ArrowException, ValueError, OSError, EOFError) as error:
        raise SchemaChanged(str(error)) from error


_SHAPES = {
    "CommandGetCatalogs": metadata.CATALOGS,
    "CommandGetDbSchemas": metadata.SCHEMAS,
    "CommandGetTableTypes": metadata.TABLE_TYPES,
    "CommandGetSqlInfo": metadata.SQL_INFO,
    "CommandGetXdbcTypeInfo": metadata.XDBC_TYPES,
    "CommandGetPrimaryKeys": metadata.PRIMARY_KEYS,
    "CommandGetExportedKeys": metadata.FOREIGN_KEYS,
    "CommandGetImportedKeys": metadata.FOREIGN_KEYS,
    "CommandGetCrossReference": metadata.FOREIGN_KEYS,
}
