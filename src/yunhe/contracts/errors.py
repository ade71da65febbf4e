"""What can go wrong between two parties: policies, negotiation, contracts."""

from __future__ import annotations

from yunhe.kernel.errors import Denied


class TermNotUnderstood(Denied):
    code = "TERM_NOT_UNDERSTOOD"
    en = "The policy says {term} ({value}), which this node cannot enforce; so it denies."
    zh = "策略含有本节点无法执行的条款 {term}（{value}），因此拒绝。"
    mend_en = "Use a term of docs/policies.md, or agree without this one."
    mend_zh = "请改用 docs/policies.md 中的条款，或去掉该条款后再协商。"
