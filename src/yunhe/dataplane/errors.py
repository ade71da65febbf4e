"""Every way a governed query is refused or fails; never with a text of the engine.

Denied            the contract does not allow it     (…_NOT_AGREED, GROUP_TOO_SMALL, AGGREGATE_…)
Invalid           the SQL is outside the language    (SQL_…, FUNCTION_REFUSED, …)
TooLarge          a bound was met                    (SQL_TOO_…, QUERY_…, ROWS_OVER_LIMIT)
Unavailable       the engine is away                 (WORKER_LOST, WORKERS_BUSY)
"""

from __future__ import annotations

from yunhe.kernel.errors import Conflict, Denied, Invalid, NotFound, TooLarge, Unavailable


class SqlTooLong(TooLarge):
    code = "SQL_TOO_LONG"
    mend_en = "Shorten the query."
    mend_zh = "请缩短查询语句。"


class SqlTooDeep(TooLarge):
    code = "SQL_TOO_DEEP"
    en = "The query is nested or chained too deeply."
    zh = "查询嵌套或级联过深。"
    mend_en = "Write it flatter; use IN (...) in place of long OR chains."
    mend_zh = "请简化嵌套；用 IN (...) 代替过长的 OR。"


class NotOneQuery(Invalid):
    code = "SQL_NOT_ONE_QUERY"
    en = "Exactly one SELECT query is accepted, not {got}."
    zh = "仅接受一个 SELECT 查询，而不是 {got}。"
    mend_en = "Send one SELECT."
    mend_zh = "请只提交一个 SELECT。"


class ConstructRefused(Invalid):
    code = "SQL_CONSTRUCT_REFUSED"
    en = "The SQL construct {construct} is not part of the governed language."
    zh = "受控查询语言不含 SQL 结构 {construct}。"
    mend_en = "Use only what docs/sql.md lists."
    mend_zh = "请仅使用 docs/sql.md 所列结构。"


class FunctionRefused(Invalid):
    code = "FUNCTION_REFUSED"
    en = "The function {function} is not on the list of functions that may run here."
    zh = "函数 {function} 不在允许执行的函数清单内。"
    mend_en = "Use a function of docs/sql.md, or compute it on the result."
    mend_zh = "请使用 docs/sql.md 中的函数，或在结果上自行计算。"


class TableFunctionRefused(Invalid):
    code = "TABLE_FUNCTION_REFUSED"
    en = "Only tables of the contract may be read, no table function or file ({name})."
    zh = "只能读取合约内的表，不能使用表函数或文件（{name}）。"
    mend_en = "Name a table of the contract."
    mend_zh = "请使用合约内的表名。"


class NameQualified(Invalid):
    code = "NAME_QUALIFIED"
    en = "Tables are named without schema or catalogue: {name}."
    zh = "表名不得带模式或目录前缀：{name}。"
    mend_en = "Write the bare table name."
    mend_zh = "请只写表名。"


class NameReserved(Invalid):
    code = "NAME_RESERVED"
    en = "The name {name} is reserved or already that of a table."
    zh = "名称 {name} 已保留或与表重名。"
    mend_en = "Choose another alias."
    mend_zh = "请换用其他别名。"


class TableNotAgreed(Denied):
    code = "TABLE_NOT_AGREED"
    en = "The contract holds no table {table}."
    zh = "合约不含表 {table}。"
    mend_en = "Query a table of this contract (nearest: {near}; all: {visible}), or negotiate."
    mend_zh = "请查询本合约内的表（最接近：{near}；全部：{visible}），或另行签约。"


class ColumnNotAgreed(Denied):
    code = "COLUMN_NOT_AGREED"
    en = "The contract does not show a column {column} here."
    zh = "合约未约定可见的列 {column}。"
    mend_en = "Use a visible column (nearest: {near}; all: {visible}), or negotiate for it."
    mend_zh = "请使用可见的列（最接近：{near}；全部：{visible}），或就该列重新协商。"


class TypesDiffer(Invalid):
    code = "SQL_TYPES_DIFFER"
    en = "{what} compares or combines values of different kinds."
    zh = "{what} 比较或组合了不同类型的值。"
    mend_en = "Cast one side explicitly."
    mend_zh = "请显式转换其中一方的类型。"


class BadLiteral(Invalid):
    code = "BAD_LITERAL"
    en = "The literal '{literal}' is not a value of type {type}."
    zh = "常量 '{literal}' 不是类型 {type} 的值。"
    mend_en = "Write dates as 'YYYY-MM-DD'; a masked column has the type its mask gives."
    mend_zh = "日期请写作 'YYYY-MM-DD'；脱敏列的类型以脱敏结果为准。"


class FilterNotEnforceable(Invalid):
    code = "ROW_FILTER_NOT_ENFORCEABLE"
    en = "The row filter of table {table} cannot be enforced: {why}."
    zh = "表 {table} 的行过滤条件无法执行：{why}。"
    mend_en = "Use comparisons of columns with literals, IN, BETWEEN, IS NULL, AND, OR, NOT."
    mend_zh = "请仅用列与常量的比较、IN、BETWEEN、IS NULL 及 AND、OR、NOT。"


class MaskNotEnforceable(Invalid):
    code = "MASK_NOT_ENFORCEABLE"
    en = "The mask {method} of column {column} cannot be enforced: {why}."
    zh = "列 {column} 的脱敏方式 {method} 无法执行：{why}。"
    mend_en = "Use null, hash, year (dates), round:N (numbers) or left:N on a column of the table."
    mend_zh = "请对表内的列使用 null、hash、year（日期）、round:N（数值）或 left:N。"


class AggregateOnly(Denied):
    """The contract says minimum group: only group results may leave. Subclasses say what broke."""

    code = "AGGREGATE_ONLY"
    en = "The contract allows statistics over groups only."
    zh = "合约仅允许分组统计。"
    mend_en = "Write one SELECT with COUNT, SUM or AVG, and GROUP BY where needed."
    mend_zh = "请写单个 SELECT，使用 COUNT、SUM、AVG，并按需 GROUP BY。"


class AggregateRawColumn(AggregateOnly):
    code = "AGGREGATE_RAW_COLUMN"
    en = "Column {column} would leave as single values: it is neither grouped by nor aggregated."
    zh = "列 {column} 既未分组也未聚合，将以单个值输出。"


class AggregateNeeded(AggregateOnly):
    code = "AGGREGATE_NEEDED"
    en = "The query neither groups nor aggregates."
    zh = "查询既无分组也无聚合。"


class AggregateFunction(AggregateOnly):
    code = "AGGREGATE_FUNCTION_REFUSED"
    en = "{function} can show one entity's value; COUNT, SUM and AVG are allowed, or as listed."
    zh = "{function} 可能暴露单个主体的值；仅允许 COUNT、SUM、AVG，或合约清单所列的聚合。"
    mend_en = "Use COUNT, SUM or AVG; the contract's `aggregates` may list more for a column."
    mend_zh = "请使用 COUNT、SUM、AVG；合约的 aggregates 条款可为某列列出更多聚合。"


class AggregateNotAgreed(AggregateOnly):
    code = "AGGREGATE_NOT_AGREED"
    en = "The contract does not allow {function} of {column}; of it are allowed: {allowed}."
    zh = "合约不允许对 {column} 使用 {function}；该列允许的聚合：{allowed}。"
    mend_en = "Ask for an allowed one, or negotiate a contract whose `aggregates` has this."
    mend_zh = "请使用允许的聚合，或另行协商在 aggregates 条款中包含该聚合的合约。"


class AggregateNotEnforceable(Invalid):
    code = "AGGREGATE_NOT_ENFORCEABLE"
    en = "The aggregates of column {column} cannot be told as the terms say: {why}."
    zh = "列 {column} 的聚合无法按条款给出：{why}。"
    mend_en = "min, max, median and quantile are of numbers and dates, dates in whole days."
    mend_zh = "min、max、median、quantile 仅用于数值和日期，日期的步长须为整数天。"


class QuantileShare(AggregateOnly):
    code = "QUANTILE_SHARE_REFUSED"
    en = "A quantile takes one column and one share, 0 to 1 with at most four digits: {got}."
    zh = "分位数的参数为单列和一个 0 到 1 之间、至多四位小数的分位：{got}。"
    mend_en = "Write quantile(column, 0.25)."
    mend_zh = "请写 quantile(列, 0.25)。"


class AggregateArgument(AggregateOnly):
    code = "AGGREGATE_ARGUMENT_REFUSED"
    en = "An aggregate takes one plain column (or COUNT(*)): {got} could single out one entity."
    zh = "聚合函数的参数只能是单列（或 COUNT(*)）：{got} 可能指向单个主体。"
    mend_en = "Aggregate the column as it is; filter in WHERE, derive in GROUP BY."
    mend_zh = "请直接聚合该列；在 WHERE 中过滤、在 GROUP BY 中派生。"


class AggregateSifted(AggregateOnly):
    code = "AGGREGATE_COLUMN_FILTERED"
    en = "{column} is told by rank or spread, and the query filters, joins or groups by it too."
    zh = "列 {column} 既按次序或离散度给出，又用于过滤、连接或分组。"
    mend_en = "Filter and group by other columns: who picks values picks whose value is told."
    mend_zh = "请按其他列过滤或分组：能挑选取值者，便能挑选所给出的是谁的值。"


class AggregateWindow(AggregateOnly):
    code = "AGGREGATE_WINDOW_REFUSED"
    en = "Window functions keep single rows, and the contract allows groups only."
    zh = "窗口函数保留单行，而合约仅允许分组结果。"


class AggregateDistinct(AggregateOnly):
    code = "AGGREGATE_DISTINCT_REFUSED"
    en = "SELECT DISTINCT lists single values, and the contract allows groups only."
    zh = "SELECT DISTINCT 列出单个值，而合约仅允许分组结果。"
    mend_en = "Use GROUP BY; groups below the minimum are dropped."
    mend_zh = "请使用 GROUP BY；低于最小分组数的组会被去除。"


class AggregateGroupingSets(AggregateOnly):
    code = "AGGREGATE_GROUPING_SETS_REFUSED"
    en = "ROLLUP, CUBE and GROUPING SETS would reveal a withheld group by subtraction."
    zh = "ROLLUP、CUBE 与 GROUPING SETS 可经相减还原被隐去的组。"
    mend_en = "Use a plain GROUP BY."
    mend_zh = "请使用普通 GROUP BY。"


class AggregateSetOperation(AggregateOnly):
    code = "AGGREGATE_SET_OPERATION_REFUSED"
    en = "UNION, INTERSECT and EXCEPT are not allowed where groups only may leave."
    zh = "仅允许分组结果时不得使用 UNION、INTERSECT、EXCEPT。"
    mend_en = "Send the queries one by one."
    mend_zh = "请分别提交各查询。"


class AggregateSubquery(AggregateOnly):
    code = "AGGREGATE_SUBQUERY_REFUSED"
    en = "Subqueries and WITH are not allowed where groups only may leave."
    zh = "仅允许分组结果时不得使用子查询与 WITH。"
    mend_en = "Join the tables directly."
    mend_zh = "请直接连接各表。"


class AggregateJoin(AggregateOnly):
    code = "AGGREGATE_JOIN_REFUSED"
    en = "A join must equate the entity keys ({keys}) and plain columns only, all by AND."
    zh = "连接条件须以 AND 相连，且为主体键（{keys}）及普通列的等值比较。"
    mend_en = "Write JOIN ... ON a.key = b.key (or USING the key)."
    mend_zh = "请写 JOIN ... ON a.键 = b.键（或 USING 键）。"


class AggregateSelfJoin(AggregateOnly):
    code = "AGGREGATE_SELF_JOIN_REFUSED"
    en = "Table {table} is joined with itself: its rows multiply, and one entity can outweigh all."
    zh = "表 {table} 与自身连接：其行数成倍增长，单个主体可压过其余主体。"
    mend_en = "Use each table once, and compare parts of it by GROUP BY."
    mend_zh = "每张表只使用一次，各部分的比较请用 GROUP BY。"


class EntityKeyMissing(AggregateOnly):
    code = "ENTITY_KEY_MISSING"
    en = "Table {table} declares no entity key, so the size of a group cannot be known."
    zh = "表 {table} 未声明主体键，无法确定分组大小。"
    mend_en = "Leave the table out, or ask the provider to declare its entity key."
    mend_zh = "请去掉该表，或请提供方声明主体键。"


class EntityKeyUsed(AggregateOnly):
    code = "ENTITY_KEY_REFUSED"
    en = "The entity key {column} may only be joined on and counted: it singles out one entity."
    zh = "主体键 {column} 只能用于连接和计数，因为它可指向单个主体。"
    mend_en = "Filter and group by other columns."
    mend_zh = "请按其他列过滤和分组。"


class GroupTooSmall(Denied):
    code = "GROUP_TOO_SMALL"
    en = "No group of at least {minimum_group} entities remains, so there is nothing to show."
    zh = "没有达到 {minimum_group} 个主体的分组，因此无结果可出。"
    mend_en = "Widen the filter or group more coarsely."
    mend_zh = "请放宽过滤条件或使用更粗的分组。"


class GroupsTooMany(TooLarge):
    code = "GROUPS_TOO_MANY"
    en = "The answer has more groups than one aggregate-only answer may have."
    zh = "结果的分组数超过仅限聚合查询单次允许的上限。"
    mend_en = "Group more coarsely, or ask in parts."
    mend_zh = "请使用更粗的分组，或分多次查询。"


class PrivacyNotCountable(AggregateOnly):
    code = "PRIVACY_NOT_COUNTABLE"
    en = "Under a privacy budget only rows and entities are counted, not {column}."
    zh = "在隐私预算下只能统计行数和主体数，不能统计 {column}。"


class PrivacyNoBounds(AggregateOnly):
    code = "PRIVACY_NO_BOUNDS"
    en = "The contract states no bounds for {column}, so that no noise would hide a single value."
    zh = "合约未约定 {column} 的取值范围，无法确定掩盖单个取值所需的噪声。"
    mend_en = "Sum other columns, or negotiate a budget that states its bounds."
    mend_zh = "请对其他列求和，或另行协商含取值范围的隐私预算。"


class NoiseMissing(Unavailable):
    code = "NOISE_MISSING"
    en = "The provider's node has no engine for noise, so a privacy budget cannot be kept."
    zh = "提供方节点未安装加噪引擎，无法执行隐私预算。"
    mend_en = "Its operator installs it: pip install 'yunhe[dp]'."
    mend_zh = "请提供方运维安装：pip install 'yunhe[dp]'。"


class RowsOverLimit(TooLarge):
    code = "ROWS_OVER_LIMIT"
    en = "The result has more rows than one use may deliver ({rows_max})."
    zh = "结果行数超过单次使用的上限（{rows_max} 行）。"
    mend_en = "Add a LIMIT or a filter, or aggregate."
    mend_zh = "请增加 LIMIT 或过滤条件，或改用聚合。"


class BytesOverLimit(TooLarge):
    code = "BYTES_OVER_LIMIT"
    en = "The result is larger than this use may deliver ({bytes_max} bytes)."
    zh = "结果数据量超过本次使用的上限（{bytes_max} 字节）。"
    mend_en = "Ask for fewer columns or rows, or aggregate."
    mend_zh = "请减少列或行，或改用聚合。"


class PartUnknown(NotFound):
    code = "PART_UNKNOWN"
    en = "This part of a result was read, or given up, before."
    zh = "该结果分片已被读取或已放弃。"
    mend_en = "Ask the query again; its parts are new."
    mend_zh = "请重新提交查询以获得新的分片。"


class PartsChanged(Conflict):
    code = "PARTS_CHANGED"
    en = "The data changed since the result was parted for several readers."
    zh = "结果分片之后数据已发生变化。"
    mend_en = "Ask the query again; where no part was opened yet, nothing was charged."
    mend_zh = "请重新提交查询；尚未打开任何分片时未计费。"


class QueryTimeout(TooLarge):
    code = "QUERY_TIMEOUT"
    en = "The query took longer than it may and was stopped."
    zh = "查询超过允许时间，已被终止。"
    mend_en = "Filter earlier, join on equal columns, or ask for less."
    mend_zh = "请尽早过滤、使用等值连接或减少数据量。"


class QueryMemory(TooLarge):
    code = "QUERY_MEMORY"
    en = "The query needed more memory than it may and was stopped."
    zh = "查询超过允许内存，已被终止。"
    mend_en = "Filter earlier, group by fewer values, or ask for less."
    mend_zh = "请尽早过滤、减少分组数或减少数据量。"


class QueryFailed(Invalid):
    code = "QUERY_FAILED"
    en = "The engine could not run the query."
    zh = "引擎无法执行该查询。"
    mend_en = "Check that functions and operators fit the types of the columns; cast explicitly."
    mend_zh = "请检查函数与运算是否符合列的类型，并显式转换。"


class DataUnavailable(Unavailable):
    code = "DATA_UNAVAILABLE"
    en = "The provider's node cannot read the files of this product at the moment."
    zh = "提供方节点暂时无法读取该产品的数据文件。"
    mend_en = (
        "Tell the provider: its operator sees whether the files are gone, moved or unreadable."
    )
    mend_zh = "请告知提供方，由其核查数据文件是否被移走、删除或不可读。"


class EngineCannot(Invalid):
    """To the consumer: what of the query, in words of the language; nothing of the engine."""

    code = "ENGINE_CANNOT"
    en = "The engine that holds {table} cannot do this query as its contract wants it: {why}."
    zh = "存放 {table} 的引擎无法按合约要求执行该查询：{why}。"
    mend_en = "Nothing was charged. docs/spark.md lists what is done there; write it so."
    mend_zh = "本次未计费。可在引擎中执行的写法见 docs/spark.md，请据此改写。"


class StreamMalformed(Unavailable):
    code = "STREAM_MALFORMED"
    en = "The bytes are not an Arrow IPC stream."
    zh = "字节流不是 Arrow IPC 流。"
    mend_en = "Ask the provider; nothing of this stream is to be trusted."
    mend_zh = "请联系提供方；该数据流不可信。"


class WorkerLost(Unavailable):
    code = "WORKER_LOST"
    en = "The process that ran the query ended unexpectedly."
    zh = "执行查询的进程意外终止。"
    mend_en = "Try again; if it persists, ask for less at a time."
    mend_zh = "请重试；若仍失败，请减少单次数据量。"


class EngineUntested(Unavailable):
    code = "ENGINE_UNTESTED"
    en = "DuckDB {version} has not been tested against leaks; tested: {tested}."
    zh = "DuckDB {version} 未经防泄露测试；已测试版本：{tested}。"
    mend_en = "Install a tested version (pip install -c constraints.txt 'yunhe[node]')."
    mend_zh = "请安装已测试的版本（pip install -c constraints.txt 'yunhe[node]'）。"


class ParsersDisagree(Invalid):
    code = "PARSERS_DISAGREE"
    en = "The query is not run: the engine reads it otherwise than the gate does."
    zh = "查询未执行：引擎与网关对其解读不一致。"
    mend_en = "Write it more plainly; if it is plain, tell the operator of the provider's node."
    mend_zh = "请改用更直白的写法；若写法已直白，请告知提供方节点运营方。"


class WorkersBusy(Unavailable):
    code = "WORKERS_BUSY"
    en = "All query processes are busy."
    zh = "查询进程均忙。"


class ParametersDiffer(Invalid):
    code = "PARAMETERS_DIFFER"
    en = "The query takes {wanted} parameters, and {given} were given."
    zh = "该查询需要 {wanted} 个参数，实际提供 {given} 个。"
    mend_en = "Give one value for each ? or $1 of the query."
    mend_zh = "请为查询中的每个 ? 或 $1 提供一个值。"


class ParameterRefused(Invalid):
    code = "PARAMETER_REFUSED"
    en = "Parameter {at} cannot be used: {why}."
    zh = "参数 {at} 无法使用：{why}。"
    mend_en = "Use numbers, texts, booleans, dates and times, or NULL; one row of them."
    mend_zh = "请使用数值、文本、布尔值、日期时间或 NULL，且仅提供一行。"


class PushNeedsSql(Invalid):
    code = "PUSH_NEEDS_SQL"
    en = "There is no whole product to push: {why}."
    zh = "无法推送整个产品：{why_zh}。"
    mend_en = "Say with SQL what is to be pushed."
    mend_zh = "请用 SQL 说明要推送的内容。"


class PushNeedsPurpose(Invalid):
    code = "PUSH_NEEDS_PURPOSE"
    en = "The contract names several purposes, and the push says none."
    zh = "合约约定了多个用途，而推送请求未说明用途。"
    mend_en = "Say which of the contract's purposes the push serves."
    mend_zh = "请说明推送用于合约约定的哪个用途。"


class PushTooLarge(TooLarge):
    code = "PUSH_TOO_LARGE"
    en = "The result is larger than one push may be: {limit} bytes."
    zh = "结果超过一次推送的上限：{limit} 字节。"
    mend_en = "Push it in parts, with SQL that selects each."
    mend_zh = "请用 SQL 分批推送。"


class InputTooLarge(TooLarge):
    code = "INPUT_TOO_LARGE"
    en = "A table is larger than an application may be given: {limit} bytes or rows."
    zh = "数据表超过可提供给应用的上限：{limit}（字节或行）。"
    mend_en = "Have the application declare fewer columns, or agree on a narrower row filter."
    mend_zh = "请让应用声明更少的列，或约定更窄的行过滤条件。"


class SpoolFailed(Unavailable):
    code = "SPOOL_FAILED"
    en = "The node could not lay the result of a push on its disk."
    zh = "节点无法将推送结果写入磁盘。"
    mend_en = "The provider's operator makes room; the push is tried again."
    mend_zh = "请提供方运维释放磁盘空间；推送将自动重试。"


_SAID = (
    GroupsTooMany,
    NoiseMissing,
    BytesOverLimit,
    RowsOverLimit,
    QueryTimeout,
    QueryMemory,
    QueryFailed,
    DataUnavailable,
)
BY_CODE = {error.code: error for error in _SAID}


class MarkNotEnforceable(Invalid):
    code = "MARK_NOT_ENFORCEABLE"
    en = "The watermark on {column} cannot be embedded: {why}."
    zh = "无法在 {column} 上嵌入水印：{why}。"
    mend_en = "Mark a numeric column that is shown unmasked, rows known by a shown key (watermark)."
    mend_zh = "请选择未脱敏展示的数值列，并以可见的键列标识行。"
