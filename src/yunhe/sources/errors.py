"""What can go wrong with a source. The sentences never name a path of the machine."""

from __future__ import annotations

from yunhe.kernel.errors import Denied, Invalid, TooLarge


class PathNotAllowed(Denied):
    code = "SOURCE_PATH_NOT_ALLOWED"
    en = "The path does not lie, all links followed, under a folder this node may read."
    zh = "该路径（解析所有链接后）不在本节点允许读取的目录内。"
    mend_en = "Move the data under an allowed root, or have the operator add the root."
    mend_zh = "请将数据移至允许的根目录，或由运营方添加该目录。"


class SourceEmpty(Invalid):
    code = "SOURCE_EMPTY"
    en = "There is no Parquet file at this path."
    zh = "该路径下没有 Parquet 文件。"
    mend_en = "Name a .parquet file, or a folder that holds some."
    mend_zh = "请指定 .parquet 文件或包含该类文件的目录。"


class SourceUnreadable(Invalid):
    code = "SOURCE_UNREADABLE"
    en = "The files cannot be read together as one Parquet table."
    zh = "这些文件无法作为同一张 Parquet 表读取。"
    mend_en = "Check that every file is valid Parquet and that all have the same columns."
    mend_zh = "请检查每个文件均为有效 Parquet 且列一致。"


class SourceTooLarge(TooLarge):
    code = "SOURCE_TOO_LARGE"
    mend_en = "Join the files, or split the table."
    mend_zh = "请合并文件或拆分数据表。"
