"""The help of every command in Chinese: shown where the environment's language is Chinese.

In: the English text of a command or an option. Out: the Chinese one; `pages` puts it in its place.
A test holds this list against the commands, so that none is left in English only.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from yunhe.cli.negotiate import ASK_HELP

_LIFE: Final = {
    "Yunhe (运河): an open trusted data space, spoken to at your own node.": (
        "运河（Yunhe）：开放的可信数据空间；经本方节点使用。"
    ),
    "Begin with `yunhe demo`: the whole life of a data product, on this machine. Every option: "
    "yunhe COMMAND --help. More, and exit codes: docs/cli.md.": (
        "请从 yunhe demo 开始：在本机演示数据产品的全过程。各命令的选项见 yunhe 命令 --help；"
        "更多说明与退出码见 docs/cli.md。"
    ),
    "For all commands": "各命令通用",
    "Show the version and exit.": "显示版本并退出。",
    "Install completion for the current shell.": "为当前 shell 安装命令补全。",
    "Show completion for the current shell, to copy it or customize the installation.": (
        "显示当前 shell 的补全脚本，便于复制或自行安装。"
    ),
    "Show this message and exit.": "显示本帮助并退出。",
    "Address of your node.": "本方节点地址。",
    "API token of your node.": "本方节点的 API 令牌。",
    "Allow a token over plain http.": "允许经明文 http 发送令牌。",
    "Write JSON for programs.": "输出 JSON，供程序读取。",
    "zh or en; default: YUNHE_LANG, else LANG.": "zh 或 en；默认取 YUNHE_LANG，其次 LANG。",
    "Its id, or how only that id begins.": "编号，或唯一匹配的编号开头。",
}
_NODE: Final = {
    "Write node.toml and the keys of a new node; asks for what is missing at a terminal.": (
        "生成新节点的 node.toml 与密钥；在终端中会询问缺少的项。"
    ),
    "Where the node lives.": "节点所在目录。",
    "Short name of the node.": "节点简称。",
    "Unified social credit code.": "统一社会信用代码。",
    "Chinese name of the subject.": "主体中文名称。",
    "English name of the subject.": "主体英文名称。",
    "Public base URL of the node.": "节点公开地址。",
    "connector, functional-node; repeatable.": "connector、functional-node；可重复。",
    "Four digits: region, or 00NN for an industry.": "四位数字：地区代码，行业节点为 00NN。",
    "Address to listen on; 0.0.0.0 for all.": "监听地址；0.0.0.0 表示全部。",
    "Port to listen on; default: that of an http address, else 8100.": (
        "监听端口；默认取 http 地址中的端口，否则为 8100。"
    ),
    "Default: SQLite in the folder.": "默认使用目录内的 SQLite。",
    "Address of the functional node above.": "上级功能节点地址。",
    "DID of the functional node above.": "上级功能节点的 DID。",
    "DID of a registrar to trust; repeatable.": "信任的登记机构 DID；可重复。",
    "Folders the node may read data from.": "允许节点读取数据的目录。",
    "manual or auto (functional node).": "manual（人工）或 auto（自动）审核（功能节点）。",
    "Allow plain http.": "允许明文 http。",
    "Replace an existing node.toml.": "替换已有的 node.toml。",
    "Run a node in the foreground.": "在前台运行节点。",
    "The node's settings.": "节点配置文件。",
    "Copy a node's database, keys and vault into a new folder, while it runs.": (
        "将节点的数据库、密钥与保险库复制到新目录；节点可照常运行。"
    ),
    "The folder to make; it holds the node's keys.": "要新建的目录；其中含节点密钥。",
    "Run the whole story on this machine; exits 0 only when every step held.": (
        "在本机演示全流程；每一步均达成时才以 0 退出。"
    ),
    "Leave the nodes up at the end.": "结束后保留各节点运行。",
    "Write each step to this file.": "将每一步写入该文件。",
    "Which one: life or fabric.": "演示内容：life 或 fabric。",
    "Register this node at its parent, or see how far that is.": "向上级登记本节点，或查看进度。",
    "Wait so many seconds for the review.": "等待审核的秒数。",
    "Only show how far it is.": "仅显示进度。",
    "Send it once more after it was returned.": "被退回后重新提交。",
}
_SUPPLY: Final = {
    "Register a resource and a product from a form, and list the product.": (
        "按表单登记资源与产品，并上架产品。"
    ),
    "The form: .toml or .json; see docs/cli.md.": "表单文件：.toml 或 .json，见 docs/cli.md。",
    "Seconds to wait for each review.": "每次审核最多等待的秒数。",
    "Use this resource, which says the same as the form.": "使用与表单一致的已有资源。",
    "The data resources of this node.": "本节点的数据资源。",
    "List the resources of this node.": "列出本节点的资源。",
    "Show one resource: its tables and columns, and why it was returned.": (
        "显示一个资源：表、列及退回原因。"
    ),
    "Measure the tables of a resource as their sources are now.": (
        "按数据源现状重新测量资源的各表。"
    ),
    "Show the first rows of a table as they are now, for the provider's own eyes.": (
        "显示某表当前的前若干行，仅供提供方查看。"
    ),
    "The table; the first one if left out.": "表名；省略时为第一张表。",
    "How many rows.": "行数。",
    "Take a resource back for good; refused while a product stands on it.": (
        "永久撤回资源；仍有产品使用时拒绝。"
    ),
    "The data products of this node.": "本节点的数据产品。",
    "List the products of this node.": "列出本节点的产品。",
    "Also what was withdrawn.": "包括已撤回的。",
    "Id of the product.": "产品编号。",
    "One SELECT; tables go by their names in the product.": "一条 SELECT；表名即产品中的表名。",
    "Take a listing back on every node; running contracts stay.": (
        "在所有节点下架；履行中的合约不受影响。"
    ),
    "Review what was submitted to this node.": "审核提交到本节点的申请。",
    "List subjects, connectors, resources, products and listings by state.": (
        "按状态列出主体、连接器、资源、产品与上架申请。"
    ),
    "Only this state; `all` for every one.": "仅列出该状态；all 表示全部。",
    "Show one of them with all that is known: who sent it, when, reasons, warnings.": (
        "显示其中一项的全部信息：提交方、时间、原因、提示。"
    ),
    "Decide about one of them.": "对其中一项作出决定。",
    "approve, return or reject": "approve（通过）、return（退回）或 reject（驳回）",
    "Why, as the applicant will read it; repeatable.": "原因，申请方可见；可重复。",
}
_USE: Final = {
    "Find data products of all nodes.": "检索所有节点的数据产品。",
    "Chinese or English words.": "中文或英文检索词。",
    "Products to show.": "显示的产品数。",
    "Products to skip.": "跳过的产品数。",
    "Negotiate a contract; --ask changes the offered terms, --accept says how far we go.": (
        "协商合约；--ask 修改要约条款，--accept 给出可自动接受的范围。"
    ),
    "Code of the product.": "产品代码。",
    ASK_HELP: (
        "希望的条款，可重复；名称见 docs/api.md。值为 JSON 或普通文字，"
        "例如 uses_max=20、frequency=10/P1D。"
    ),
    "The furthest we go without being asked, written as --ask; beyond it, you decide.": (
        "无需询问即可接受的最大让步，写法同 --ask；超出时由您决定。"
    ),
    "Only show the provider's terms.": "仅显示提供方条款。",
    "Seconds to wait for the contract.": "等待合约的秒数。",
    "Run SQL under a contract; the provider's node governs it.": (
        "按合约执行 SQL；由提供方节点管控。"
    ),
    "Repeat a use: the same id never charges twice.": "重复一次使用：同一编号不会重复计费。",
    "Write to a .csv, .arrow or .parquet file.": "写入 .csv、.arrow 或 .parquet 文件。",
    "One SQL over the products of several nodes.": "一条 SQL 查询多个节点的产品。",
    "An alias and its contract, or the contracts that each hold a part; repeatable.": (
        "别名及其合约，或各持有一部分的多份合约；可重复。"
    ),
    "The id of a query over the fabric.": "数据编织查询的编号。",
    "Show what each part of a query brought and cost, beside what was estimated.": (
        "显示查询各部分的实际结果与费用，并列出事前估计。"
    ),
    "Only those that stand on a product, by its code.": "仅列出取自该产品（按产品标识）的查询。",
    "Only those that stand on a column, as table.column.": "仅列出取自该字段（表名.字段）的查询。",
    "Show what a query would do: each node's part, who sees what, the price. Charges nothing.": (
        "显示查询计划：各节点的子查询、谁看到什么、费用；不产生费用。"
    ),
    "Run one SQL over several nodes; each part is a use under its own contract.": (
        "一条 SQL 查询多个节点；每个部分是其合约下的一次使用。"
    ),
    "List the queries over several nodes that this node made.": "列出本节点的跨节点查询。",
    "Show which columns of which nodes each column of an answer comes from.": (
        "显示结果各列来自哪些节点的哪些字段。"
    ),
    "Negotiations at this node, on either side.": "本节点作为任一方的协商。",
    "List negotiations and whom each waits for.": "列出协商及各自等待的一方。",
    "Show one negotiation: ask and offer side by side, who is next, how it ended.": (
        "显示一次协商：诉求与要约对照、下一步由谁、如何结束。"
    ),
    "Accept the other side's last offer, and wait for the contract.": (
        "接受对方最新要约并等待合约。"
    ),
    "Seconds to wait for the contract; 0: none.": "等待合约的秒数；0 表示不等待。",
    "Answer the other side's last offer with some terms changed, and wait for the contract.": (
        "修改部分条款回应对方最新要约，并等待合约。"
    ),
    "Leave a negotiation without a contract.": "结束协商，不签合约。",
    "Told to the other side.": "告知对方。",
    "The contracts of this node, on either side.": "本节点作为任一方的合约。",
    "List contracts with their state and uses left.": "列出合约、状态与剩余次数。",
    "What is left of a contract: uses, volume, privacy budget, and from when; costs nothing.": (
        "查看合约的剩余次数、数据量、隐私预算与最早使用时间；不计费。"
    ),
    "At the provider: what a query becomes under the contract, and what databases do of it.": (
        "提供方查看：查询在该合约下如何改写，数据库各做哪些部分。"
    ),
    "Show one contract with its uses and its running bill; before it is one, its negotiation.": (
        "显示一份合约及其使用与账目；尚未签成时显示其协商。"
    ),
    "End a contract; the next use is refused.": "终止合约；此后的使用将被拒绝。",
    "Told to the other side and recorded.": "告知对方并记录在案。",
}
_PROOF: Final = {
    "Write the evidence bundle of a contract, for `yunhe verify`.": (
        "导出合约的证据包，供 yunhe verify 验证。"
    ),
    "The file to write.": "要写入的文件。",
    "Only this settled statement, with its uses.": "仅导出该期已结清的账单及其各次使用。",
    "Check a bundle offline; exits 4 and names the field when it does not hold.": (
        "离线验证证据包；不成立时以 4 退出并指出字段。"
    ),
    "The bundle file.": "证据包文件。",
    "Keys you trust, from elsewhere.": "从其他渠道取得的可信密钥。",
    "Write a trust file: keys of trust roots, parties and logs, from their own addresses.": (
        "生成信任文件：从各自地址取得可信根、当事方与日志的密钥。"
    ),
    "Address of a trust root; repeatable.": "可信根地址；可重复。",
    "Address of a party's node; repeatable.": "当事方节点地址；可重复。",
    "The trust file to write.": "要写入的信任文件。",
    "Statements of account.": "账单。",
    "List statements, sent and received.": "列出已发出与收到的账单。",
    "Only this contract's.": "仅该合约的账单。",
    "Close the open period of a contract and send its statement (provider).": (
        "结束合约当前账期并发送账单（提供方）。"
    ),
    "API tokens of this node (admin).": "本节点的 API 令牌（管理员）。",
    "Make a token; its secret is written once, here.": "签发令牌；密钥仅在此显示一次。",
    "Who or what it is for.": "供谁或何用。",
    "admin, reviewer, provider, user, auditor, operator, application; repeatable.": (
        "admin、reviewer、provider、user、auditor、operator、application；可重复。"
    ),
    "Seconds until it expires.": "有效秒数。",
    "List tokens, without their secrets.": "列出令牌，不含密钥。",
    "End a token at once.": "立即撤销令牌。",
    "Members of this registrar (reviewer).": "本登记节点的成员（审核员）。",
    "List every connector ever registered here, with its standing.": (
        "列出所有登记过的连接器及其状态。"
    ),
    "Code of the connector, or how only that begins.": "连接器编号，或其唯一前缀。",
    "Why, as the member will read it; repeatable.": "原因，成员可见；可重复。",
    "Refuse a member everywhere until it is resumed.": "暂停成员资格，恢复前各处均拒绝。",
    "Take a suspended member back.": "恢复被暂停的成员。",
    "Put a member out for good; every node refuses it within five seconds.": (
        "永久撤销成员资格；五秒内所有节点拒绝。"
    ),
    "Check what the node lacks or soon will: walls, disk, expiry, clock, backup (operator).": (
        "检查节点现在或即将缺少什么：隔离、磁盘、有效期、时钟、备份（运维人员）。"
    ),
    "Exit 1 on a warning, too.": "有警告时也以退出码 1 结束。",
    "Keys of this node (admin).": "本节点的密钥（管理员）。",
    "Show the key that the next rotation takes, for those who pin this node's.": (
        "显示下次轮换将使用的密钥，供固定本节点密钥的各方提前加入。"
    ),
    "Which key.": "哪一把密钥。",
    "Which key to replace.": "要更换的密钥。",
    "Make a new key; it signs at once, the old one goes on verifying for 90 days.": (
        "更换密钥：新密钥立即签名，旧密钥 90 天内仍可验证。"
    ),
}
_TRANSFERS: Final = {
    "How data goes from a provider to a consumer.": "数据如何从提供方到使用方。",
    "List the transfers of a contract, latest first.": "列出合约的传输，最新在前。",
    "Show one transfer; of a push also how far it is, and why it waits.": (
        "显示一次传输；推送时还显示进度与等待原因。"
    ),
    "Its id, as `list` shows it.": "编号，见 list 的输出。",
    "Have the provider push to your node, and write what comes to a file; one use.": (
        "请提供方推送到本方节点并写入文件；计一次使用。"
    ),
    "A folder, or a file ending in .arrow, .arrows or .parquet.": (
        "目录，或以 .arrow、.arrows、.parquet 结尾的文件。"
    ),
    "SQL for what is sent; default: the whole product.": "要发送内容的 SQL；默认为整个产品。",
    "Seconds to wait until all has come.": "等待全部到达的秒数。",
    "Write what an earlier push brought to a file.": "将此前推送到达的内容写入文件。",
    "Halt a transfer; either side resumes it.": "暂停传输；任一方可恢复。",
    "Let a halted transfer go on.": "恢复已暂停的传输。",
    "End a transfer for good; the contract stays.": "永久结束传输；合约不变。",
}
_VAULT: Final = {
    "Marked copies of this node's products.": "本节点产品的带水印副本。",
    "List who was given marked copies of a product.": "列出获得某产品带水印副本的接收方。",
    "Say whose copy a file is; exit code 1 where nobody can be named.": (
        "判断文件是谁的副本；无法指认时退出码为 1。"
    ),
    "A .parquet, .arrow or .csv file.": ".parquet、.arrow 或 .csv 文件。",
    "The product whose copy it may be.": "可能泄露的产品。",
    "The table as it is here: finds rows whose key is gone or changed.": (
        "本地原表：用于找回键列被删去或改动的行。"
    ),
    "OURS=THEIRS, where a column was renamed; repeatable.": "列被改名时填 原名=现名；可重复。",
    "Sealed deliveries in this node's vault.": "本节点保险库中的密封交付。",
    "Ask for a sealed delivery; it comes in the background, and is one use.": (
        "请求密封交付；后台到达，计一次使用。"
    ),
    "List sealed deliveries, latest first.": "列出密封交付，最新在前。",
    "Show one sealed delivery, and the proof of its destruction where there is one.": (
        "显示一次密封交付及其销毁证明（如有）。"
    ),
    "Open a sealed delivery once more: a use as any, billed as any.": (
        "再次打开密封交付：与其他使用同样计次、计费。"
    ),
    "Run SQL over a sealed delivery in a worker's memory; one use.": (
        "在工作进程内存中对密封交付执行 SQL；计一次使用。"
    ),
    "SQL; its table is the product's, or `delivery`.": "SQL；表名为产品的表名，或 `delivery`。",
    "List the proofs that keys were destroyed: what is owed, has come, and verifies.": (
        "列出密钥销毁证明：应有的、已到的、验证通过的。"
    ),
    "Token of the program that reads, where the contract names one.": (
        "读取程序的令牌（合约约定应用时需要）。"
    ),
    "Write to an .arrow or .parquet file.": "写入 .arrow 或 .parquet 文件。",
    "Destroy the key of a delivery for good; the signed proof goes to the provider.": (
        "永久销毁该交付的密钥；签名证明发送给提供方。"
    ),
    "List the reads and destructions under a contract, as the receiver signed them.": (
        "列出合约下由接收方签名的读取与销毁记录。"
    ),
}
_SHARING: Final = {
    "Write a profile file for Delta Sharing clients; its token is written once, here.": (
        "生成 Delta Sharing 客户端的配置文件；令牌仅在此显示一次。"
    ),
    "Purpose; default: the only one the contract names.": "用途；默认为合约唯一的用途。",
    "Days it is valid.": "有效天数。",
    "List the sharing profiles of a contract, without their tokens.": (
        "列出合约的共享配置，不含令牌。"
    ),
    "End a sharing profile and every address it was given, at once.": (
        "立即撤销共享配置及其全部下载地址。"
    ),
    "Its id.": "编号。",
}
_APPS: Final = {
    "Signed programs that run beside the data.": "在数据所在地运行的签名应用。",
    "Its digest, or how only that begins.": "摘要，或唯一匹配的摘要开头。",
    "Of ours: its digest; as host: its id.": "本方应用的摘要；作为数据方时为部署编号。",
    "The manifest: .toml or .json; see docs/apps.md.": "清单：.toml 或 .json，见 docs/apps.md。",
    "Sign a version; `code` in its manifest names the file of the program.": (
        "签名并发布一个版本；清单中的 `code` 指明程序文件。"
    ),
    "List the versions this node knows, latest first.": "列出本节点已知的应用版本，最新在前。",
    "Have the functional node list a version, where others find and deploy it; see show.": (
        "申请功能节点上架一个版本，供其他方查找并部署；状态见 show。"
    ),
    "A word to find it by; repeatable.": "便于查找的关键词；可重复。",
    "Find the programs of all authors, listed last first.": "查找所有作者的应用，最新上架在前。",
    "Versions to show.": "显示的版本数。",
    "Show one version with its manifest and signature; of ours, its listing and who took it.": (
        "显示一个版本及其清单与签名；本方版本另显示上架状态与取用方。"
    ),
    "Deploy a version, ours or a listed one, at each contract's provider; again: how it stands.": (
        "按各合约将版本部署到数据方；重复执行则显示现状。"
    ),
    "List where versions are deployed: ours at hosts, and those of others here.": (
        "列出部署：本方应用在各数据方，以及他方应用在本方。"
    ),
    "As host: let a version that asked run here.": "作为数据方：同意申请的版本在此运行。",
    "As host: refuse a version that asked.": "作为数据方：拒绝申请的版本。",
    "Have a version run nowhere for now, or as host not here.": (
        "暂停版本在各处运行；作为数据方则暂停在此运行。"
    ),
    "Let a suspended version run again.": "恢复已暂停的版本。",
    "Deploy a version nowhere anew; where it is, it stays.": "不再新部署该版本；已部署的不受影响。",
    "Have a version run nowhere any more, or as host not here; what runs is ended.": (
        "永久撤销版本；作为数据方则不再在此运行。正在运行的随即结束。"
    ),
    "A parameter: name=value; repeatable.": "参数：名称=值；可重复。",
    "Write each result to a .arrow file in this folder.": "将各结果写入该目录下的 .arrow 文件。",
    "Run a deployed version at each host, and wait; each is one use.": (
        "在各数据方运行已部署的版本并等待；各计一次使用。"
    ),
    "Only under this contract.": "仅限该合约。",
    "List runs: ours at hosts, and those of others here, latest first.": (
        "列出运行：本方在各数据方的，以及他方在本方的，最新在前。"
    ),
    "As host: what waits for your word.": "作为数据方：查看待放行的结果。",
    "Show what a run gave, or write it to a file.": "显示运行结果，或写入文件。",
    "As host: show what the program of a run printed.": "作为数据方：显示程序运行时的输出。",
    "Do not let it go.": "不予放行。",
    "As host: let a held result go, or not; look at it first: result JOB --held.": (
        "作为数据方：放行或拒绝扣留的结果；请先用 result JOB --held 查看。"
    ),
}
TEXTS: Final[Mapping[str, str]] = MappingProxyType(
    {**_LIFE, **_NODE, **_SUPPLY, **_USE, **_PROOF, **_TRANSFERS, **_SHARING, **_VAULT, **_APPS}
)
