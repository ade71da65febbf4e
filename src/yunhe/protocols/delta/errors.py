"""Refusals of the Delta Sharing face."""

from __future__ import annotations

from yunhe.kernel.errors import Conflict, Denied, Invalid, NotFound, Unauthenticated, Unavailable


class ProfileUnknown(Unauthenticated):
    # Unknown, forged, revoked and expired look alike from outside.
    code = "PROFILE_UNKNOWN"
    en = "The bearer token of the sharing profile is unknown, revoked or expired."
    zh = "共享配置文件中的令牌无效、已撤销或已过期。"
    mend_en = "Make a new profile: yunhe contracts profile CONTRACT."
    mend_zh = "请重新生成配置文件：yunhe contracts profile CONTRACT。"


class ProfileNotFound(NotFound):
    code = "PROFILE_NOT_FOUND"
    en = "There is no such sharing profile, or it was revoked before."
    zh = "共享配置文件不存在或已撤销。"
    mend_en = "List them: yunhe contracts profiles CONTRACT."
    mend_zh = "请查看列表：yunhe contracts profiles CONTRACT。"


class ProfilesTooMany(Conflict):
    code = "PROFILES_TOO_MANY"
    en = "The contract has {limit} sharing profiles, which is the most it may have."
    zh = "该合约已有 {limit} 个共享配置文件，达到上限。"
    mend_en = "Revoke one that is not needed: yunhe contracts revoke-profile ID."
    mend_zh = "请撤销不再需要的：yunhe contracts revoke-profile ID。"


class SharingNeedsRows(Denied):
    code = "SHARING_NEEDS_ROWS"
    en = "The contract allows aggregates only, and Delta Sharing hands over rows."
    zh = "合约仅允许聚合统计，而 Delta Sharing 交付的是明细行。"
    mend_en = "Ask with SQL that groups: yunhe sql, the SDK, or Flight SQL."
    mend_zh = "请使用聚合 SQL：yunhe sql、SDK 或 Flight SQL。"


class SharingNeedsPurpose(Invalid):
    code = "SHARING_NEEDS_PURPOSE"
    en = "The profile needs one of the contract's purposes: {purposes}."
    zh = "配置文件须指明合约允许的用途之一：{purposes}。"
    mend_en = "Name one with --purpose."
    mend_zh = "请用 --purpose 指明。"


class SharingAsConsumer(Denied):
    code = "SHARING_AS_CONSUMER"
    en = "A sharing profile reads under a contract in which this node is the consumer."
    zh = "共享配置文件仅适用于本节点为使用方的合约。"
    mend_en = "Make it at the node that signed as consumer."
    mend_zh = "请在作为使用方签约的节点上生成。"


class ShareUnknown(NotFound):
    code = "SHARE_UNKNOWN"
    en = "The profile shows no such share, schema or table."
    zh = "该配置文件下没有此 share、schema 或表。"
    mend_en = "List what it shows: SharingClient(profile).list_all_tables()."
    mend_zh = "请先列出可见的表：SharingClient(profile).list_all_tables()。"


class ShareQueryInvalid(Invalid):
    code = "SHARE_QUERY_INVALID"
    en = "The query is not one this node answers: {why}."
    zh = "本节点不支持该查询：{why}。"
    mend_en = "Read the present version of the whole table; predicates and limits are hints."
    mend_zh = "请读取整表的当前版本；谓词与行数限制仅作为提示。"


class ShareTypeUnknown(Invalid):
    code = "SHARE_TYPE_UNKNOWN"
    en = "The column {column} has the type {type}, which Delta does not have."
    zh = "列 {column} 的类型 {type} 在 Delta 中不存在。"
    mend_en = "Read it with SQL and a CAST: yunhe sql, the SDK, or Flight SQL."
    mend_zh = "请使用带 CAST 的 SQL：yunhe sql、SDK 或 Flight SQL。"


class ShareFileGone(NotFound):
    # An unknown, a spent and an expired address look alike.
    code = "SHARE_FILE_GONE"
    en = "This address is unknown, used up or expired."
    zh = "该下载地址无效、已使用或已过期。"
    mend_en = "Query the table again; that is another use."
    mend_zh = "请重新查询该表；这将计为一次新的使用。"


class ShareFull(Unavailable):
    code = "SHARE_FULL"
    en = "No room for another shared file: {why}."
    zh = "无法再生成共享文件：{why}。"
    mend_en = "Try again in a minute, or have the operator free disk space."
    mend_zh = "请稍后重试，或由运营方清理磁盘。"
