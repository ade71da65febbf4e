"""All SQL of the slice: negotiations, agreements, contracts, transfers.

In: values of model.py. Out: the same, read back. Rows that a verb will change are read with
FOR UPDATE, so that on PostgreSQL two messages of one conversation pass one after the other.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

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
)
from yunhe.contracts.policy import Policy, Terms, policy_from_terms, terms_from_policy
from yunhe.kernel import limits
from yunhe.kernel.db import Json, Tx, UtcTime, metadata

_ID = sa.String(limits.PID_CHARS_MAX)
_DID = sa.String(512)
_URL = sa.String(1024)

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
)

agreements = sa.Table(
    "contract_agreements",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("document", sa.LargeBinary, nullable=False),
    sa.Column("product_code", _ID, nullable=False),
    sa.Column("provider_did", _DID, nullable=False),
    sa.Column("consumer_did", _DID, nullable=False),
    sa.Column("policy", Json, nullable=False),
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
)


def _why(data: dict[str, Any] | None) -> Why | None:
    return None if data is None else Why.from_json(data)


def _terms_json(terms: Terms | None) -> dict[str, Any] | None:
    return None if terms is None else policy_from_terms(terms).to_json()


def _terms(data: dict[str, Any] | None) -> Terms | None:
    return None if data is None else terms_from_policy(Policy.from_json(data))


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
    strategy = row.strategy and Strategy(
        _terms(row.strategy["accept"]),
        _terms(row.strategy["counter"]),
        row.strategy["counters_max"],
    )
    return Negotiation(
        id=row.id,
        role=Side(row.role),
        peer_did=row.peer_did,
        peer_pid=row.peer_pid,
        address=row.address,
        product_code=row.product_code,
        state=State(row.state),
        version=row.version,
        offers=tuple(Offer.from_json(offer) for offer in row.offers),
        strategy=strategy,
        agreement=agreement(tx, row.agreement_id) if row.agreement_id else None,
        contract_id=row.contract_id,
        error=_why(row.error),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def insert_negotiation(tx: Tx, n: Negotiation) -> None:
    """Add a negotiation."""
    tx.execute(sa.insert(negotiations), {"id": n.id, **_negotiation_row(n)})


def save_negotiation(tx: Tx, n: Negotiation) -> None:
    """Write a negotiation back."""
    tx.execute(sa.update(negotiations).where(negotiations.c.id == n.id), _negotiation_row(n))


def negotiation(tx: Tx, id_: str, lock: bool = False) -> Negotiation | None:
    """One negotiation by our pid."""
    query = sa.select(negotiations).where(negotiations.c.id == id_)
    row = tx.one(query.with_for_update() if lock else query)
    return None if row is None else _negotiation(tx, row)


def version(tx: Tx, id_: str) -> int | None:
    """The version of a negotiation, without the rest of it."""
    c = negotiations.c
    found: int | None = tx.scalar(sa.select(c.version).where(c.id == id_))
    return found


def negotiation_of_peer(tx: Tx, role: Side, peer_did: str, peer_pid: str) -> Negotiation | None:
    """The negotiation that a peer knows by its pid."""
    c = negotiations.c
    row = tx.one(
        sa.select(negotiations).where(
            c.peer_did == peer_did, c.peer_pid == peer_pid, c.role == role.value
        )
    )
    return None if row is None else _negotiation(tx, row)


def list_negotiations(tx: Tx, limit: int) -> list[Negotiation]:
    """The latest negotiations first."""
    query = sa.select(negotiations).order_by(negotiations.c.created_at.desc(), negotiations.c.id)
    return [_negotiation(tx, row) for row in tx.all(query.limit(limit))]


# --- agreements and contracts ---------------------------------------------------------------


def agreement(tx: Tx, id_: str) -> Agreement | None:
    """One agreement with its signatures."""
    row = tx.one(sa.select(agreements).where(agreements.c.id == id_))
    return None if row is None else _agreement(row)


def _agreement(row: Any) -> Agreement:
    return Agreement(
        id=row.id,
        document=bytes(row.document),
        product_code=row.product_code,
        provider_did=row.provider_did,
        consumer_did=row.consumer_did,
        policy=Policy.from_json(row.policy),
        signed_at=row.signed_at,
        provider_jws=row.provider_jws,
        consumer_jws=row.consumer_jws,
    )


def insert_agreement(tx: Tx, a: Agreement) -> bool:
    """Add an agreement; False if its id is taken."""
    row = {
        "id": a.id,
        "document": a.document,
        "product_code": a.product_code,
        "provider_did": a.provider_did,
        "consumer_did": a.consumer_did,
        "policy": a.policy.to_json(),
        "signed_at": a.signed_at,
        "provider_jws": a.provider_jws,
        "consumer_jws": a.consumer_jws,
    }
    return tx.insert_once(agreements, row)


def set_consumer_signature(tx: Tx, agreement_id: str, signature: str) -> None:
    """Add the consumer's signature; the document itself never changes."""
    key = agreements.c.id == agreement_id
    tx.execute(sa.update(agreements).where(key).values(consumer_jws=signature))


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
    tx.execute(sa.insert(contracts), row)


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
    row = tx.one(sa.select(contracts).where(contracts.c.id == id_))
    return None if row is None else _contract(tx, row)


def _contract(tx: Tx, row: Any) -> Contract:
    signed = agreement(tx, row.id)
    if signed is None:  # the foreign key makes this impossible
        raise LookupError(row.id)
    return Contract(
        id=row.id,
        role=Side(row.role),
        peer_did=row.peer_did,
        address=row.address,
        product_code=row.product_code,
        policy=signed.policy,
        state=row.state,
        version=row.version,
        agreement=signed,
        negotiation_id=row.negotiation_id,
        in_force_at=row.in_force_at,
        expires_at=row.expires_at,
        ended_at=row.ended_at,
        end=_why(row.end_why),
        entry_id=row.entry_id,
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
    data = None
    if row.token_expires_at is not None:
        data = DataAddress(row.endpoint, row.token, row.token_expires_at)
    return Transfer(
        id=row.id,
        role=Side(row.role),
        peer_did=row.peer_did,
        peer_pid=row.peer_pid,
        address=row.address,
        contract_id=row.contract_id,
        format=row.format,
        state=TransferState(row.state),
        data_address=data,
        error=_why(row.error),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def insert_transfer(tx: Tx, t: Transfer) -> None:
    """Add a transfer."""
    tx.execute(sa.insert(transfers), {"id": t.id, **_transfer_row(t)})


def save_transfer(tx: Tx, t: Transfer) -> None:
    """Write a transfer back."""
    tx.execute(sa.update(transfers).where(transfers.c.id == t.id), _transfer_row(t))


def transfer(tx: Tx, id_: str, lock: bool = False) -> Transfer | None:
    """One transfer by our pid."""
    query = sa.select(transfers).where(transfers.c.id == id_)
    row = tx.one(query.with_for_update() if lock else query)
    return None if row is None else _transfer(row)


def transfer_of_peer(tx: Tx, role: Side, peer_did: str, peer_pid: str) -> Transfer | None:
    """The transfer that a peer knows by its pid."""
    c = transfers.c
    row = tx.one(
        sa.select(transfers).where(
            c.peer_did == peer_did, c.peer_pid == peer_pid, c.role == role.value
        )
    )
    return None if row is None else _transfer(row)


def transfers_of(tx: Tx, contract_id: str, open_only: bool = False) -> list[Transfer]:
    """The latest transfers of a contract first."""
    c = transfers.c
    query = sa.select(transfers).where(c.contract_id == contract_id)
    if open_only:
        final = (TransferState.COMPLETED.value, TransferState.TERMINATED.value)
        query = query.where(c.state.not_in(final))
    query = query.order_by(c.created_at.desc(), c.id).limit(limits.CONTRACT_LIST_MAX)
    return [_transfer(row) for row in tx.all(query)]
