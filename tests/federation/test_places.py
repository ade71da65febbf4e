"""Where a product was found is kept for a moment, bounded; what is offered there never is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from yunhe.federation import places
from yunhe.federation.places import Places
from yunhe.kernel import limits
from yunhe.kernel.errors import NotFound


class Catalogue:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.address = "https://a.example"

    def __call__(self, code: str) -> Any:
        self.asked.append(code)
        if code == "gone":
            raise NotFound(what=code)
        return SimpleNamespace(provider_did="did:web:a.example", address=self.address)


def test_a_place_is_kept_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(places, "monotonic", lambda: now)
    catalogue = Catalogue()
    known = Places(catalogue)
    assert known.kept("p") is None
    assert known.find("p") == ("did:web:a.example", "https://a.example")
    assert known.kept("p") == ("did:web:a.example", "https://a.example")
    catalogue.address = "https://b.example"
    assert known.find("p")[1] == "https://b.example"
    assert known.kept("p") == ("did:web:a.example", "https://b.example")
    now += limits.PLACE_KEPT_S
    assert known.kept("p") is None
    assert catalogue.asked == ["p", "p"]


def test_what_is_not_found_is_not_kept_and_the_rest_is_bounded() -> None:
    known = Places(Catalogue())
    with pytest.raises(NotFound):
        known.find("gone")
    assert known.kept("gone") is None
    for number in range(limits.PLACES_KEPT_MAX + 1):
        known.find(f"p{number}")
    assert known.kept("p0") is None
    assert known.kept("p1") is not None
