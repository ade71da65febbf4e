"""A product that has moved is found again; a place kept from before is only tried first."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from yunhe.api.finding import _offered_where_listed
from yunhe.federation.places import Places
from yunhe.kernel.errors import NotFound, Unavailable


class Parts:
    """A parent that lists `address`, and providers that offer at `offering` alone."""

    def __init__(self) -> None:
        self.address = self.offering = "https://a.example"
        self.log: list[str] = []
        self.federation = SimpleNamespace(places=Places(self._find))
        self.identity = SimpleNamespace(check_address=lambda did, address: None)

    def _find(self, code: str) -> Any:
        self.log.append("catalogue")
        return SimpleNamespace(provider_did="did:web:p", address=self.address)

    def offers(self, code: str, provider: str, address: str) -> list[str]:
        self.log.append(address)
        if address == "https://down.example":
            raise Unavailable(what="the provider")
        return [f"{code}@{address}"] if address == self.offering else []


@pytest.mark.parametrize("now", ["https://b.example", "https://a.example"])
def test_where_it_was_is_tried_first(now: str) -> None:
    parts: Any = Parts()
    assert _offered_where_listed(parts, "P") == ["P@https://a.example"]
    parts.address = parts.offering = now
    parts.log.clear()
    assert _offered_where_listed(parts, "P") == [f"P@{now}"]
    moved = ["https://a.example", "catalogue", "https://b.example"]
    assert parts.log == (["https://a.example"] if now == "https://a.example" else moved)


def test_a_place_that_fails_is_no_last_word() -> None:
    parts: Any = Parts()
    parts.address = parts.offering = "https://down.example"
    with pytest.raises(Unavailable):
        _offered_where_listed(parts, "P")
    parts.address = parts.offering = "https://a.example"
    assert _offered_where_listed(parts, "P") == ["P@https://a.example"]
    parts.offering = ""
    assert _offered_where_listed(parts, "P") == []


def test_what_the_catalogue_does_not_know_stays_unknown() -> None:
    parts: Any = Parts()

    def unknown(code: str) -> Any:
        raise NotFound(what=code)

    parts.federation.places = Places(unknown)
    with pytest.raises(NotFound):
        _offered_where_listed(parts, "P")
    assert parts.log == []
