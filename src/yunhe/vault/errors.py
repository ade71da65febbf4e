"""Refusals of the vault and of sealed delivery."""

from __future__ import annotations

from yunhe.kernel.errors import Conflict, Denied, Invalid, NotFound, TooLarge


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


class ApplicationUnproven(Denied):
    code = "APPLICATION_UNPROVEN"
    en = "The caller says it is the application '{name}', and no token of this node says so."
    zh = "调用方自称应用“{name}”，但没有本节点签发的令牌证明。"
    mend_en = "Show its token: yunhe tokens create {name} --role user --role application."
    mend_zh = "请出示应用令牌：yunhe tokens create {name} --role user --role application。"


class VaultTooLarge(TooLarge):
    code = "VAULT_TOO_LARGE"
    en = "The sealed delivery has {bytes} bytes; a query holds at most {limit} in memory."
    zh = "密封交付共 {bytes} 字节；查询最多可在内存中打开 {limit} 字节。"
    mend_en = "Ask for a delivery of what you need: yunhe vault fetch --sql."
    mend_zh = "请只交付所需数据：yunhe vault fetch --sql。"


class NothingMarked(NotFound):
    code = "NOTHING_MARKED"
    en = "No marked copy of this product was ever given to anybody."
    zh = "该产品从未交付过带水印的副本。"
    mend_en = "Name a product whose contracts state a watermark: yunhe contracts list."
    mend_zh = "请指定合约含水印条款的产品：yunhe contracts list。"
