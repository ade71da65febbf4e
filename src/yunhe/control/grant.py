"""The Grant: what an engine needs before it touches data, and cannot make for itself.

In: an admitted use. Out: an immutable `Grant`; engines accept nothing else (DESIGN §4.9).
"""

from __future__ import annotations

from typing import Final, NoReturn

from yunhe.contracts import Terms
from yunhe.control.errors import GrantForged

_SEAL: Final = object()


class Grant:
    """The right to one use, minted by `Control.admit` alone.

    `terms` are what the engine must enforce: row filters, masks, minimum group, at most
    `rows_max` rows and `bytes_max` bytes (None: no bound), no column outside of `fields`. Not a
    dataclass, so `replace` has no hold on it; it can be neither constructed, changed, copied nor
    unpickled. The database is asked again at every further step, so that even an object made by
    force opens nothing.
    """

    __slots__ = (
        "action",
        "bytes_max",
        "contract_id",
        "fields",
        "peer_did",
        "purpose",
        "rows_max",
        "terms",
        "use_id",
        "version",
    )

    use_id: str
    contract_id: str
    peer_did: str
    action: str
    purpose: str
    fields: frozenset[str]
    rows_max: int
    bytes_max: int | None
    terms: Terms
    version: int

    def __init__(self, seal: object = None, **values: object) -> None:
        if seal is not _SEAL:
            raise GrantForged
        for name in self.__slots__:
            object.__setattr__(self, name, values[name])

    def __init_subclass__(cls) -> NoReturn:
        raise GrantForged

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise GrantForged

    def __delattr__(self, name: str) -> NoReturn:
        raise GrantForged

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise GrantForged

    def __repr__(self) -> str:
        return f"Grant({self.use_id}, contract={self.contract_id}, rows_max={self.rows_max})"


def mint(**values: object) -> Grant:
    """The one maker; called in one place, `Control._reserve` (a test counts the calls)."""
    return Grant(_SEAL, **values)
