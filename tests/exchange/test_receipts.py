"""What a receipt costs the provider."""

from __future__ import annotations


def test_a_receipt_is_kept_without_a_look_at_the_contracts_other_uses(pair, monkeypatch) -> None:
    pair.use()

    def all_of_them(*_: object) -> None:
        raise AssertionError("a receipt must not cost more the more uses there were")

    monkeypatch.setattr(pair.hospital.control, "uses", all_of_them)
    grant = pair.admit()
    pair.receive(grant.use_id, 40)
    pair.hospital.control.post(grant, 50, 400, complete=False)
    pair.deliver()
    assert pair.hospital.exchange.running_bill("c1").total_fen == 180 + 120
