"""All SQL of the slice: negotiations, agreements, contracts, transfers.

In: values of model.py. Out: the same, read back. Rows that a verb will change are read with
FOR UPDATE, so that on PostgreSQL two messages of one conversation pass one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from yunhe.contracts.columns import PolicyText
from yunhe.contracts.model import (
    Agreement,
    Contract,
    DataAddress,
    Negotiation,
    Offer,
    Side,
    State,
    Strategy,
    Transfer,
    TransferState,
    Why,
    waiting_for,
)
from yunhe.contracts.policy import Policy, Terms, policy_from_terms
from yunhe.kernel import limits
from yunhe.kernel.db import Json, Tx, UtcTime, metadata

_ID = sa.String(limits.PID_CHARS_MAX)
_DID = sa.String(512)
_URL = sa.String(1024)

# Counted for each peer that opens one more: little beside what has ended, and all of it in the
# index, by which SQLite prefers it to that of every talk with the peer.
TALKS: Final = sa.text("state NOT IN ('FINALIZED', 'TERMINATED')")
RUNS: Final = sa.text("state NOT IN ('COMPLETED', 'TERMINATED')")

negotiations = sa.Table(
    "contract_negotiations",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("role", sa.String(8), nullable=False),
    sa.Column("peer_did", _DID, nullable=False),
    sa.Column("peer_pid", _ID, nullable=False),
    sa.Column("address", _URL, nullable=False),
    sa.Column("product_code", _ID, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("offers", Json, nullable=False),
    sa.Column("strategy", Json),
    sa.Column("agreement_id", _ID, nullable=False),
    sa.Column("contract_id", _ID, nullable=False),
    sa.Column("error", Json),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("updated_at", UtcTime, nullable=False),
    sa.Index("contract_negotiations_peer", "peer_did", "peer_pid"),
    sa.Index("contract_talks", "peer_did", "state", sqlite_where=TALKS, postgresql_where=TALKS),
)

agreements = sa.Table(
    "contract_agreements",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("document", sa.LargeBinary, nullable=False),
    sa.Column("product_code", _ID, nullable=False),
    sa.Column("provider_did", _DID, nullable=False),
    sa.Column("consumer_did", _DID, nullable=False),
    sa.Column("policy", PolicyText, nullable=False),
    sa.Column("signed_at", UtcTime, nullable=False),
    sa.Column("provider_jws", sa.Text, nullable=False),
    sa.Column("consumer_jws", sa.Text, nullable=False),
)

contracts = sa.Table(
    "contracts",
    metadata,
    sa.Column("id", _ID, sa.ForeignKey("contract_agreements.id"), primary_key=True),
    sa.Column("role", sa.String(8), nullable=False),
    sa.Column("peer_did", _DID, nullable=False),
    sa.Column("address", _URL, nullable=False),
    sa.Column("product_code", _ID, nullable=False, index=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("negotiation_id", _ID, nullable=False),
    sa.Column("in_force_at", UtcTime, nullable=False),
    sa.Column("expires_at", UtcTime),
    sa.Column("ended_at", UtcTime),
    sa.Column("end_why", Json),
    sa.Column("entry_id", _ID, nullable=False),
    sa.Index("contracts_expiry", "state", "expires_at"),
)

transfers = sa.Table(
    "contract_transfers",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("role", sa.String(8), nullable=False),
    sa.Column("peer_did", _DID, nullable=False),
    sa.Column("peer_pid", _ID, nullable=False),
    sa.Column("address", _URL, nullable=False),
    sa.Column("contract_id", _ID, nullable=False, index=True),
    sa.Column("format", sa.String(80), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("endpoint", _URL, nullable=False),
    sa.Column("token", sa.Text, nullable=False),
    sa.Column("token_expires_at", UtcTime),
    sa.Column("error", Json),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("updated_at", UtcTime, nullable=False),
    sa.Index("contract_transfers_peer", "peer_did", "peer_pid"),
    sa.Index("contract_runs", "peer_did", "state", sqlite_where=RUNS, postgresql_where=RUNS),
)

_N, _A, _C, _T = negotiations.c, agreements.c, contracts.c, transfers.c
_KEY: Final[sa.BindParameter[str]] = sa.bindparam("key")


def _new(table: sa.Table, *names: str) -> dict[str, Any]:
    """`SET name = :new_name`, of every column but the id where none are named."""
    named = names or tuple(c.name for c in table.columns if c.name != "id")
    return {name: sa.bindparam(f"new_{name}") for name in named}


# Built once: the same statements run for every message (kernel.db.prepared).
_NEGOTIATION: Final = sa.select(negotiations).where(_N.id == _KEY)
_NEGOTIATION_LOCKED: Final = _NEGOTIATION.with_for_update()
_NEGOTIATION_OF_PEER: Final = sa.select(negotiations).where(
    _N.peer_did == sa.bindparam("did"), _N.peer_pid == sa.bindparam("pid"), _N.role == _KEY
)
_STANDING: Final = sa.select(_N.version, _N.state, _N.role).where(_N.id == _KEY)
_MOVED: Final = (
    "peer_pid",
    "state",
    "version",
    "agreement_id",
    "contract_id",
    "error",
    "updated_at",
)
_SAVE_MOVED: Final = (
    sa.update(negotiations).where(_N.id == _KEY).values(_new(negotiations, *_MOVED))
)
_SAVE_NEGOTIATION: Final = sa.update(negotiations).where(_N.id == _KEY).values(_new(negotiations))
_AGREEMENT: Final = sa.select(agreements).where(_A.id == _KEY)
_SIGN: Final = sa.update(agreements).where(_A.id == _KEY).values(_new(agreements, "consumer_jws"))
_CONTRACT: Final = sa.select(contracts).where(_C.id == _KEY)
_TRANSFER: Final = sa.select(transfers).where(_T.id == _KEY)
_TRANSFER_LOCKED: Final = _TRANSFER.with_for_update()
_TRANSFER_OF_PEER: Final = sa.select(transfers).where(
    _T.peer_did == sa.bindparam("did"), _T.peer_pid == sa.bindparam("pid"), _T.role == _KEY
)
_SAVE_TRANSFER: Final = sa.update(transfers).where(_T.id == _KEY).values(_new(transfers))
_TRANSFERS: Final = (
    sa.select(transfers)
    .where(_T.contract_id == _KEY)
    .order_by(_T.created_at.desc(), _T.id)
    .limit(limits.CONTRACT_LIST_MAX)
)
_TRANSFERS_OPEN: Final = _TRANSFERS.where(
    _T.state != TransferState.COMPLETED.value, _T.state != TransferState.TERMINATED.value
)
_LEARN: Final = {
    table: sa.update(table)
    .where(table.c.id == _KEY, table.c.peer_pid == "")
    .values(_new(table, "peer_pid"))
    for table in (negotiations, transfers)
}


def _changed(key: str, row: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {"key": key, **{f"new_{name}": row[name] for name in names}}


def _first(tx: Tx, statement: sa.Select[Any], **values: Any) -> Any:
    return next(iter(tx.rows(statement, values)), None)


def _why(data: dict[str, Any] | None) -> Why | None:
    return None if data is None else Why.from_json(data)


def _terms_json(terms: Terms | None) -> dict[str, Any] | None:
    return None if terms is None else policy_from_terms(terms).to_json()


def _terms(data: dict[str, Any] | None) -> Terms | None:
    return None if data is None else Policy.from_json(data).terms


# --- negotiations ---------------------------------------------------------------------------


def _negotiation_row(n: Negotiation) -> dict[str, Any]:
    strategy = n.strategy and {
        "accept": _terms_json(n.strategy.accept),
        "counter": _terms_json(n.strategy.counter),
        "counters_max": n.strategy.counters_max,
    }
    return {
        "role": n.role.value,
        "peer_did": n.peer_did,
        "peer_pid": n.peer_pid,
        "address": n.address,
        "product_code": n.product_code,
        "state": n.state.value,
        "version": n.version,
        "offers": [offer.to_json() for offer in n.offers],
        "strategy": strategy,
        "agreement_id": n.agreement.id if n.agreement else "",
        "contract_id": n.contract_id,
        "error": n.error and n.error.to_json(),
        "created_at": n.created_at,
        "updated_at": n.updated_at,
    }


def _negotiation(tx: Tx, row: Any) -> Negotiation:
    (id_, role, peer_did, peer_pid, address, product_code, state, version_, offers) = row[:9]
    (said, agreement_id, contract_id, error, created_at, updated_at) = row[9:]
    strategy = said and Strategy(
        _terms(said["accept"]), _terms(said["counter"]), said["counters_max"]
    )
    return Negotiation(
        id=id_,
        role=Side(role),
        peer_did=peer_did,
        peer_pid=peer_pid,
        address=address,
        product_code=product_code,
        state=State(state),
        version=version_,
        offers=tuple(Offer.from_json(offer) for offer in offers),
        strategy=strategy,
        agreement=agreement(tx, agreement_id) if agreement_id else None,
        contract_id=contract_id,
        error=_why(error),
        created_at=created_at,
        updated_at=updated_at,
    )


def insert_negotiation(tx: Tx, n: Negotiation) -> None:
    """Add a negotiation."""
    tx.insert(negotiations, {"id": n.id, **_negotiation_row(n)})


def save_negotiation(tx: Tx, n: Negotiation) -> None:
    """Write a negotiation back."""
    row = _negotiation_row(n)
    tx.change(_SAVE_NEGOTIATION, _changed(n.id, row, row))


def save_moved(tx: Tx, n: Negotiation) -> None:
    """Write a negotiation back of which neither offers nor strategy changed."""
    row = {
        "peer_pid": n.peer_pid,
        "state": n.state.value,
        "version": n.version,
        "agreement_id": n.agreement.id if n.agreement else "",
        "contract_id": n.contract_id,
        "error": n.error and n.error.to_json(),
        "updated_at": n.updated_at,
    }
    tx.change(_SAVE_MOVED, _changed(n.id, row, _MOVED))


def negotiation(tx: Tx, id_: str, lock: bool = False) -> Negotiation | None:
    """One negotiation by our pid."""
    row = _first(tx, _NEGOTIATION_LOCKED if lock else _NEGOTIATION, key=id_)
    return None if row is None else _negotiation(tx, row)


def standing(tx: Tx, id_: str) -> tuple[int, str] | None:
    """The version of a negotiation and whom it waits for, without the rest of it."""
    row = _first(tx, _STANDING, key=id_)
    return None if row is None else (row[0], waiting_for(State(row[1]), Side(row[2])))


def negotiation_of_peer(tx: Tx, role: Side, peer_did: str, peer_pid: str) -> Negotiation | None:
    """The negotiation that a peer knows by its pid."""
    row = _first(tx, _NEGOTIATION_OF_PEER, key=role.value, did=peer_did, pid=peer_pid)
    return None if row is None else _negotiation(tx, row)


def learn_peer_pid(tx: Tx, table: sa.Table, id_: str, peer_pid: str) -> None:
    """Keep the pid under which the peer knows our negotiation or transfer, once."""
    tx.change(_LEARN[table], {"key": id_, "new_peer_pid": peer_pid})


def list_negotiations(tx: Tx, limit: int) -> list[Negotiation]:
    """The latest negotiations first."""
    query = sa.select(negotiations).order_by(negotiations.c.created_at.desc(), negotiations.c.id)
    return [_negotiation(tx, row) for row in tx.all(query.limit(limit))]


# --- agreements and contracts ---------------------------------------------------------------


def agreement(tx: Tx, id_: str) -> Agreement | None:
    """One agreement with its signatures."""
    row = _first(tx, _AGREEMENT, key=id_)
    return None if row is None else _agreement(row)


def _agreement(row: Any) -> Agreement:
    id_, document, product_code, provider, consumer, policy, signed_at, *signatures = row
    return Agreement(
        id=id_,
        document=bytes(document),
        product_code=product_code,
        provider_did=provider,
        consumer_did=consumer,
        policy=policy,
        signed_at=signed_at,
        provider_jws=signatures[0],
        consumer_jws=signatures[1],
    )


def insert_agreement(tx: Tx, a: Agreement) -> bool:
    """Add an agreement; False if its id is taken."""
    row = {
        "id": a.id,
        "document": a.document,
        "product_code": a.product_code,
        "provider_did": a.provider_did,
        "consumer_did": a.consumer_did,
        "policy": a.policy,
        "signed_at": a.signed_at,
        "provider_jws": a.provider_jws,
        "consumer_jws": a.consumer_jws,
    }
    return tx.insert_once(agreements, row)


def set_consumer_signature(tx: Tx, agreement_id: str, signature: str) -> None:
    """Add the consumer's signature; the document itself never changes."""
    tx.change(_SIGN, {"key": agreement_id, "new_consumer_jws": signature})


def insert_contract(tx: Tx, c: Contract) -> None:
    """Add a contract."""
    row = {
        "id": c.id,
        "role": c.role.value,
        "peer_did": c.peer_did,
        "address": c.address,
        "product_code": c.product_code,
        "state": c.state,
        "version": c.version,
        "negotiation_id": c.negotiation_id,
        "in_force_at": c.in_force_at,
        "expires_at": c.expires_at,
        "entry_id": c.entry_id,
    }
    tx.insert(contracts, row)


def end_contract(tx: Tx, id_: str, state: str, why: Why) -> bool:
    """Leave `in_force`, once; True if this call did it."""
    done = tx.execute(
        sa.update(contracts)
        .where(contracts.c.id == id_, contracts.c.state == "in_force")
        .values(
            state=state,
            version=contracts.c.version + 1,
            ended_at=tx.now,
            end_why=why.to_json(),
        )
    )
    return done.rowcount == 1


def contract(tx: Tx, id_: str) -> Contract | None:
    """One contract with its agreement."""
    row = _first(tx, _CONTRACT, key=id_)
    return None if row is None else _contract(tx, row)


def _contract(tx: Tx, row: Any) -> Contract:
    (id_, role, peer_did, address, product_code, state, version_, negotiation_id) = row[:8]
    (in_force_at, expires_at, ended_at, end_why, entry_id) = row[8:]
    signed = agreement(tx, id_)
    if signed is None:  # the foreign key makes this impossible
        raise LookupError(id_)
    return Contract(
        id=id_,
        role=Side(role),
        peer_did=peer_did,
        address=address,
        product_code=product_code,
        policy=signed.policy,
        state=state,
        version=version_,
        agreement=signed,
        negotiation_id=negotiation_id,
        in_force_at=in_force_at,
        expires_at=expires_at,
        ended_at=ended_at,
        end=_why(end_why),
        entry_id=entry_id,
    )


def list_contracts(
    tx: Tx, limit: int, state: str | None = None, product_code: str | None = None
) -> list[Contract]:
    """The latest contracts first."""
    query = sa.select(contracts).order_by(contracts.c.in_force_at.desc(), contracts.c.id)
    if state is not None:
        query = query.where(contracts.c.state == state)
    if product_code is not None:
        query = query.where(contracts.c.product_code == product_code)
    return [_contract(tx, row) for row in tx.all(query.limit(limit))]


def due_contracts(tx: Tx, now: datetime, limit: int) -> list[Contract]:
    """Contracts in force whose end has come."""
    c = contracts.c
    query = sa.select(contracts).where(c.state == "in_force", c.expires_at <= now)
    return [_contract(tx, row) for row in tx.all(query.order_by(c.expires_at).limit(limit))]


# --- transfers ------------------------------------------------------------------------------


def _transfer_row(t: Transfer) -> dict[str, Any]:
    data = t.data_address
    return {
        "role": t.role.value,
        "peer_did": t.peer_did,
        "peer_pid": t.peer_pid,
        "address": t.address,
        "contract_id": t.contract_id,
        "format": t.format,
        "state": t.state.value,
        "endpoint": data.endpoint if data else "",
        "token": data.token if data else "",
        "token_expires_at": data.expires_at if data else None,
        "error": t.error and t.error.to_json(),
        "created_at": t.created_at,
        "updated_at": t.updated_at,
    }


def _transfer(row: Any) -> Transfer:
    (id_, role, peer_did, peer_pid, address, contract_id, format_, state) = row[:8]
    (endpoint, token, token_expires_at, error, created_at, updated_at) = row[8:]
    data = None
    if token_expires_at is not None:
        data = DataAddress(endpoint, token, token_expires_at)
    return Transfer(
        id=id_,
        role=Side(role),
        peer_did=peer_did,
        peer_pid=peer_pid,
        address=address,
        contract_id=contract_id,
        format=format_,
        state=TransferState(state),
        data_address=data,
        error=_why(error),
        created_at=created_at,
        updated_at=updated_at,
    )


def insert_transfer(tx: Tx, t: Transfer) -> None:
    """Add a transfer."""
    tx.insert(transfers, {"id": t.id, **_transfer_row(t)})


def save_transfer(tx: Tx, t: Transfer) -> None:
    """Write a transfer back."""
    row = _transfer_row(t)
    tx.change(_SAVE_TRANSFER, _changed(t.id, row, row))


def transfer(tx: Tx, id_: str, lock: bool = False) -> Transfer | None:
    """One transfer by our pid."""
    row = _first(tx, _TRANSFER_LOCKED if lock else _TRANSFER, key=id_)
    return None if row is None else _transfer(row)


def transfer_of_peer(tx: Tx, role: Side, peer_did: str, peer_pid: str) -> Transfer | None:
    """The transfer that a peer knows by its pid."""
    row = _first(tx, _TRANSFER_OF_PEER, key=role.value, did=peer_did, pid=peer_pid)
    return None if row is None else _transfer(row)


def transfers_of(tx: Tx, contract_id: str, open_only: bool = False) -> list[Transfer]:
    """The latest transfers of a contract first."""
    statement = _TRANSFERS_OPEN if open_only else _TRANSFERS
    return [_transfer(row) for row in tx.rows(statement, {"key": contract_id})]
