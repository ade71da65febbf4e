"""The market of a real node: contracts, receipts, the catalogue, and the relay to the providers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from yunhe.contracts import Contract, Contracts, ContractUnknown, Side
from yunhe.exchange import Exchange
from yunhe.fabric.errors import FabricNameUnknown
from yunhe.fabric.market import Passing
from yunhe.fabric.model import Known
from yunhe.federation import Federation
from yunhe.kernel.errors import YunheError

Describe = Callable[[str, str], Mapping[str, bytes]]
Ask = Callable[[str, str, str, str, str], Passing]


class Doors:
    """`market.Market` over the services of one node."""

    def __init__(
        self,
        contracts: Contracts,
        exchange: Exchange,
        federation: Federation,
        describe: Describe,
        ask: Ask,
    ) -> None:
        """`describe` and `ask` are the relay's: the providers' gates stand behind them."""
        self._contracts, self._exchange, self._federation = contracts, exchange, federation
        self.describe, self.ask = describe, ask

    def contract(self, key: str) -> Contract:
        """By id, or the newest in force for a product code; only where we are the consumer."""
        try:
            found = self._contracts.in_force(key)
        except ContractUnknown:
            held = [
                each
                for each in self._contracts.contracts("in_force", key)
                if each.role is Side.CONSUMER
            ]
            if not held:
                raise FabricNameUnknown(name=key, visible="-") from None
            found = held[0]
        if found.role is not Side.CONSUMER:
            raise ContractUnknown
        return found

    def uses_left(self, contract: Contract) -> int | None:
        """What the contract's number leaves after our own receipts."""
        most = contract.terms.uses_max
        if most is None:
            return None
        return max(0, most - len(self._exchange.receipts(contract.id)))

    def catalogue(self, code: str) -> Known:
        """Rows, freshness and quality; a catalogue that is away leaves no estimate."""
        try:
            found = self._federation.detail(code)
        except YunheError:
            return Known()
        said = (str(found.record.get(name, "")) for name in ("quality_level", "update_frequency"))
        rows = {table.name: table.rows for table in found.tables if table.rows}
        return Known(rows, found.hit.updated_at, *said)
