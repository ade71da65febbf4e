"""What can go wrong with a source. Sentences name the path as it was given, never another."""

from __future__ import annotations

from yunhe.kernel.errors import Denied, Invalid, TooLarge


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
    en = "There is no Parquet file in {path}."
    zh = "{path} 中没有 Parquet 文件。"
    mend_en = "Name a .parquet file, or a folder that holds some."
    mend_zh = "请指定 .parquet 文件或包含该类文件的目录。"


class SourceNotParquet(SourceEmpty):
    code = "SOURCE_NOT_PARQUET"
    en = "{path} is not a .parquet file, and only Parquet is read."
    zh = "{path} 不是 .parquet 文件，本节点只读取 Parquet。"
    mend_en = "Convert it first, e.g. in DuckDB: COPY (FROM 'x.csv') TO 'x.parquet'."
    mend_zh = "请先转换，例如在 DuckDB 中执行：COPY (FROM 'x.csv') TO 'x.parquet'。"


class SourceUnreadable(Invalid):
    code = "SOURCE_UNREADABLE"
    en = "What lies at {path} cannot be read as one Parquet table."
    zh = "{path} 处的文件无法作为同一张 Parquet 表读取。"
    mend_en = "Check that every file is valid Parquet and that all have the same columns."
    mend_zh = "请检查每个文件均为有效 Parquet 且列一致。"


class SourceTooLarge(TooLarge):
    code = "SOURCE_TOO_LARGE"
    mend_en = "Join the files, or split the table."
    mend_zh = "请合并文件或拆分数据表。"
