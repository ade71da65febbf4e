"""Refusals of the vault and of sealed delivery."""

from __future__ import annotations

from yunhe.kernel.errors import Conflict, Denied, Invalid, NotFound


class SealKeyInvalid(Invalid):
    code = "SEAL_KEY_INVALID"
    en = "The key that the delivery is to be sealed for is no X25519 public key."
    zh = "用于密封交付的密钥不是 X25519 公钥。"
    mend_en = "Send 32 bytes in base64url, without padding."
    mend_zh = "请以无填充的 base64url 提供 32 字节公钥。"


class VaultItemUnknown(NotFound):
    code = "VAULT_ITEM_UNKNOWN"
    en = "The vault has no such delivery, or it has not come yet."
    zh = "保险库中没有该交付，或尚未到达。"
    mend_en = "See yunhe vault list."
    mend_zh = "请查看 yunhe vault list。"


class VaultDestroyed(Conflict):
    code = "VAULT_DESTROYED"
    en = "The key of this delivery was destroyed at {at}: {why}. Nobody can open it any more."
    zh = "该交付的密钥已于 {at} 销毁：{why}。任何人都无法再打开。"
    mend_en = "Ask for a new delivery under a contract in force."
    mend_zh = "请在有效合约下重新请求交付。"


class VaultBroken(Conflict):
    code = "VAULT_BROKEN"
    en = "The sealed delivery is not what the provider signed: {why}."
    zh = "密封交付与提供方签名的内容不一致：{why_zh}。"
    mend_en = "Destroy it and ask for a new delivery."
    mend_zh = "请销毁后重新请求交付。"


class VaultPurposeRefused(Denied):
    code = "VAULT_PURPOSE_REFUSED"
    en = "The contract does not allow this purpose: {purpose}. Agreed: {purposes}."
    zh = "合约不允许该用途：{purpose}。约定用途：{purposes}。"
    mend_en = "Name an agreed purpose with --purpose."
    mend_zh = "请用 --purpose 指明约定的用途。"


class VaultUsesExhausted(Denied):
    code = "VAULT_USES_EXHAUSTED"
    en = "All {uses_max} uses of the contract are spent, reads of the vault among them."
    zh = "合约的 {uses_max} 次使用（含保险库读取）已用尽。"
    mend_en = "Negotiate a new contract."
    mend_zh = "请重新协商合约。"


class VaultTermUnknown(Denied):
    code = "VAULT_TERM_UNKNOWN"
    en = "The contract has a term that a vault does not enforce: {term}."
    zh = "合约包含保险库无法执行的条款：{term}。"
    mend_en = "Use the data by query: yunhe sql."
    mend_zh = "请通过查询使用数据：yunhe sql。"
