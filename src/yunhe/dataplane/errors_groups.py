"""Refusals of aggregate-only queries that could pick out one entity, beside those of errors.py."""

from __future__ import annotations

from yunhe.dataplane.errors import AggregateOnly


class EntityKeysUnlike(AggregateOnly):
    code = "ENTITY_KEYS_UNLIKE"
    en = "The entity keys of {table} and {other} are of unlike types: {kind} and {other_kind}."
    zh = "{table} 与 {other} 的主体键类型不一致：{kind} 与 {other_kind}。"
    mend_en = "Ask the tables one by one, or ask the provider to give their keys one type."
    mend_zh = "请分别查询各表，或请提供方统一主体键的类型。"


class AggregatePicked(AggregateOnly):
    code = "AGGREGATE_VALUES_PICKED"
    en = "{column} is aggregated, and its values are picked: {got}."
    zh = "列 {column} 用于聚合，而其取值被挑选：{got}。"
    mend_en = (
        "Filter it by itself, a sum's by one range: AND v >= 10 AND v < 20; or by other columns."
    )
    mend_zh = "请以 AND 单独过滤该列，求和的列只用一个区间：AND v >= 10 AND v < 20；或改用其他列。"
