"""What can go wrong with a source. Sentences name the path as it was given, never another."""

from __future__ import annotations

from yunhe.kernel.errors import Conflict, Denied, Invalid, TooLarge, Unavailable


class PathNotAllowed(Denied):
    """Also where nothing exists there: outside the roots nobody learns what there is."""

    code = "SOURCE_PATH_NOT_ALLOWED"
    en = "{path} does not lie, all links followed, under a folder this node may read ({roots})."
    zh = "{path}（解析所有链接后）不在本节点允许读取的目录（{roots}）内。"
    mend_en = (
        "Move the data under one of these folders, or have the operator add its folder to "
        "data_roots; relative paths start from there."
    )
    mend_zh = "请将数据移至上述目录，或由运营方将其目录加入 data_roots；相对路径以这些目录为起点。"


class SourceMissing(Invalid):
    code = "SOURCE_MISSING"
    en = "There is nothing at {path} in the folders this node may read ({roots})."
    zh = "本节点允许读取的目录（{roots}）中没有 {path}。"
    mend_en = "Check the spelling; a relative path starts from a folder of data_roots."
    mend_zh = "请核对拼写；相对路径以 data_roots 中的目录为起点。"


class SourceEmpty(Invalid):
    code = "SOURCE_EMPTY"
    en = "There is no data file in {path}."
    zh = "{path} 中没有数据文件。"
    mend_en = (
        "Name a file, or a folder of files, of one kind: .parquet, .csv, .tsv, .json, .ndjson, "
        ".arrow, .feather; .csv and .json also as .gz or .zst."
    )
    mend_zh = (
        "请指定同一类型的文件或目录：.parquet、.csv、.tsv、.json、.ndjson、.arrow、.feather；"
        "其中 .csv 与 .json 可为 .gz 或 .zst 压缩。"
    )


class SourceKindUnknown(SourceEmpty):
    code = "SOURCE_KIND_UNKNOWN"
    en = "What kind of data {path} is cannot be seen from its name."
    zh = "无法从名称判断 {path} 的数据类型。"
    mend_en = "Write the kind before it: parquet:, csv:, json:, arrow: or dicom:."
    mend_zh = "请在其前写明类型：parquet:、csv:、json:、arrow: 或 dicom:。"


class SourceUnreadable(Invalid):
    code = "SOURCE_UNREADABLE"
    en = "What lies at {path} cannot be read as one table: {why}."
    zh = "{path} 处的数据无法作为同一张表读取：{why}。"
    mend_en = "Correct the file and row named, or declare the kind and options before the path."
    mend_zh = "请更正所指文件与行，或在路径前声明类型与选项。"


class SourceTooLarge(TooLarge):
    code = "SOURCE_TOO_LARGE"
    mend_en = "Join the files, or split the table."
    mend_zh = "请合并文件或拆分数据表。"


class SourceOverBound(TooLarge):
    code = "SOURCE_OVER_BOUND"
    en = "What lies at {path} is over a bound: {why}."
    zh = "{path} 处的数据超出限制：{why}。"
    mend_en = "Split the file, or unpack it first."
    mend_zh = "请拆分文件，或先行解压。"


class LocatorNotValid(Invalid):
    code = "SOURCE_LOCATOR_NOT_VALID"
    en = "{locator} does not say where a table lies: {why}."
    zh = "{locator} 未能说明数据表的位置：{why}。"
    mend_en = "See docs/sources.md for how each kind of place is written."
    mend_zh = "各类位置的写法见 docs/sources.md。"


class ConnectionUnknown(Invalid):
    """Also for one of another kind: a locator cannot send a credential where it is not for."""

    code = "SOURCE_CONNECTION_UNKNOWN"
    en = "node.toml has no connection {connection} of kind {kind}."
    zh = "node.toml 中没有类型为 {kind} 的连接 {connection}。"
    mend_en = "Have the operator add [connections.{connection}], or correct the name."
    mend_zh = "请由运营方添加 [connections.{connection}]，或更正名称。"


class CredentialNotRead(Unavailable):
    """The reference is told, what it leads to never."""

    code = "SOURCE_CREDENTIAL_NOT_READ"
    en = "The credential {reference} of connection {connection} cannot be read: {why}."
    zh = "无法读取连接 {connection} 的凭据 {reference}：{why}。"
    mend_en = "Set the variable, or give the file the mode 0600 and this node's owner."
    mend_zh = "请设置该环境变量，或将文件权限设为 0600 且属主为本节点用户。"


class SourceAway(Unavailable):
    code = "SOURCE_AWAY"
    en = "The source {path} does not answer as it should: {why}."
    zh = "数据源 {path} 未正常应答：{why}。"
    mend_en = "Check the connection in node.toml and that the source is up; then try again."
    mend_zh = "请检查 node.toml 中的连接及数据源是否可用，然后重试。"


class SourceExtraMissing(Unavailable):
    code = "SOURCE_EXTRA_MISSING"
    en = "This node cannot read {what}: the extra {extra} is not installed."
    zh = "本节点未安装扩展 {extra}，无法读取 {what}。"
    mend_en = "Have the operator run: pip install 'yunhe[{extra}]'"
    mend_zh = "请由运营方执行：pip install 'yunhe[{extra}]'"


class SourceDrifted(Conflict):
    """To the consumer of a product: names of columns it may see, no path and no value."""

    code = "SOURCE_DRIFTED"
    en = "The data behind table {table} is no longer what was agreed: {why}."
    zh = "数据表 {table} 的数据已与约定不符：{why}。"
    mend_en = "Nothing was charged. Tell the provider, who restores the columns or updates it."
    mend_zh = "本次未计费。请告知提供方恢复相应列或更新产品。"


class SnapshotNotMade(Unavailable):
    """To the consumer of a product: the source is away or unreadable, the reason is not theirs."""

    code = "SOURCE_NOT_READY"
    en = "The data behind table {table} cannot be had at the moment."
    zh = "数据表 {table} 的数据暂时不可用。"
    mend_en = "Nothing was charged. Try again later, or tell the provider."
    mend_zh = "本次未计费。请稍后重试或告知提供方。"


class PullTooLarge(TooLarge):
    """To the consumer: what a database cannot do itself would ship too much to this node."""

    code = "SOURCE_PULL_TOO_LARGE"
    en = "More than {rows} rows, or too many bytes, would have to leave the database first."
    zh = "须先从数据库取出的数据超过 {rows} 行或字节上限。"
    mend_en = "Filter by columns compared with values, or ask for groups: both are done there."
    mend_zh = "请按列与值比较进行过滤，或查询分组统计：二者均在数据库内完成。"
