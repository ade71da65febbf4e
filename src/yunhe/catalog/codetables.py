"""The code tables of N06 7.1 and the classification of N06 8.2, every value.

In: a table's name and a code. Out: whether the code exists, and its names. They are data, not
rules, so that the official dictionary can replace them without touching a rule.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

Names = tuple[str, str]  # (zh, en as printed in the standard)


def _table(**rows: Names) -> Mapping[str, Names]:
    return MappingProxyType({code[1:]: names for code, names in rows.items()})


TABLES: Final[Mapping[str, Mapping[str, Names]]] = MappingProxyType(
    {
        "class": _table(  # N06 table 1
            c001=("主题", "Topic Category"),
            c002=("行业", "Industry Category"),
            c003=("机构", "Organization Category"),
            c004=("应用场景", "Application Category"),
        ),
        "source": _table(  # N06 table 2
            c001=("原始取得", "Original acquisition"),
            c002=("收集取得", "Collected acquisition"),
            c003=("交易取得", "Transaction-based acquisition"),
            c004=("其他", "other"),
        ),
        "form": _table(  # N06 table 3
            c001=("数据集", "Dataset"),
            c002=("API产品", "API product"),
            c003=("数据应用", "Data application"),
            c004=("数据报告", "Data report"),
            c005=("数据对象", "Data object"),
            c006=("其他", "Other"),
        ),
        "frequency": _table(  # N06 table 4 (004 is printed "mont hly")
            c001=("实时", "realTime"),
            c002=("每日", "daily"),
            c003=("每周", "weekly"),
            c004=("每月", "monthly"),
            c005=("每季度", "quarterly"),
            c006=("每半年", "semiannual"),
            c007=("每年", "annual"),
            c008=("不定期", "irregular"),
            c009=("历史", "historical"),
        ),
        "quality": _table(  # N06 table 5
            c001=("A级：完整、准确", "levelA"),
            c002=("B级：基本完整、准确", "levelB"),
            c003=("C级：部分完整、准确", "levelC"),
            c004=("D级：缺失或不准确", "levelD"),
        ),
        "security": _table(  # N06 table 6; 005 exists and may not circulate (K5)
            c001=("公开", "level1"),
            c002=("内部", "level2"),
            c003=("敏感", "level3"),
            c004=("机密", "level4"),
            c005=("绝密", "level5"),
        ),
        "service": _table(  # N06 table 7
            c001=("目录服务", "catalogService"),
            c002=("API服务", "apiService"),
            c003=("文件服务", "fileService"),
            c004=("数据库服务", "databaseService"),
            c005=("分析服务", "analyticsService"),
        ),
        # Named, not printed as tables: readings of catalogue.md 6.1.
        "data_type": _table(
            c01=("结构化", "structured"),
            c02=("半结构化", "semi-structured"),
            c03=("非结构化", "unstructured"),
        ),
        "delivery": _table(
            c01=("文件", "file"),
            c02=("数据流", "stream"),
            c03=("API", "API"),
            c04=("其他", "other"),
        ),
        "personal": _table(
            c0=("不含个人信息", "none"),
            c1=("已去标识化", "de-identified"),
            c2=("含个人信息", "personal"),
        ),
        "grade": _table(
            ccore=("核心", "core"), cimportant=("重要", "important"), cgeneral=("一般", "general")
        ),
        "price": _table(
            c01=("免费", "free"),
            c02=("一口价", "fixed"),
            c03=("按次", "per use"),
            c04=("按期", "period"),
            c05=("面议", "negotiated"),
        ),
        "topic": _table(  # N06 8.2: middle classes; large classes beside them
            cA0000=("基础资源", "basic"),
            cA0100=("人口", "population"),
            cA0200=("法人单位", "legal units"),
            cA0300=("自然资源和空间地理", "natural resources, geography"),
            cA0400=("宏观经济", "macro economy"),
            cA0500=("科技教育", "science, education"),
            cB0000=("行业资源", "industry"),
            cB0100=("农业", "agriculture"),
            cB0200=("工业和信息化", "industry, IT"),
            cB0300=("交通", "transport"),
            cB0400=("商贸", "commerce"),
            cB0500=("金融保险", "finance, insurance"),
            cC0000=("社会民生", "livelihood"),
            cC0100=("教育文化", "education, culture"),
            cC0200=("卫生健康", "health"),
            cC0300=("社会保障", "social security"),
            cC0400=("住房建设", "housing, construction"),
            cC0500=("环境", "environment"),
            cD0000=("政务服务", "government service"),
            cD0100=("行政审批", "approvals"),
            cD0200=("公共服务", "public service"),
            cD0300=("监管执法", "supervision, enforcement"),
            cD0400=("信用", "credit"),
            cD0500=("应急", "emergency"),
        ),
        "scenario": _table(
            cS0000=("政府治理", "government"),
            cS0100=("宏观决策", "macro decision"),
            cS0200=("执法", "enforcement"),
            cS0300=("公共管理", "public administration"),
            cS0400=("社会治理", "social governance"),
            cT0000=("民生服务", "people"),
            cT0100=("教育", "education"),
            cT0200=("医疗健康", "health"),
            cT0300=("社会保障", "social security"),
            cT0400=("文化旅游", "culture, tourism"),
            cU0000=("产业发展", "industry growth"),
            cU0100=("规划", "planning"),
            cU0200=("创新", "innovation"),
            cU0300=("市场监测", "market monitoring"),
            cU0400=("投资", "investment"),
            cV0000=("安全应急", "safety"),
            cV0100=("公共安全", "public safety"),
            cV0200=("自然灾害", "natural disaster"),
            cV0300=("事故", "accidents"),
            cV0400=("社会安全", "social safety"),
        ),
    }
)
_INDUSTRY = re.compile(r"^[A-T]?(?:\d{2,4})?$")  # GB/T 4754: section letter and/or 2-4 digits
_SMALL = re.compile(r"^[A-Z]\d{4}$")


def has_code(table: str, code: str) -> bool:
    """True if `code` stands in `table`. `industry` is checked by form (GB/T 4754).

    Small classes of topic and scenario are not printed (N06 8.2.6): one is accepted when its
    middle class is, e.g. `C0203` under `C0200`.
    """
    if table == "industry":
        return bool(code) and _INDUSTRY.match(code) is not None
    codes = TABLES[table]
    if code in codes:
        return True
    if table in ("topic", "scenario") and _SMALL.match(code):
        return code[:3] + "00" in codes and code[1:3] != "00"
    return False


def code_name(table: str, code: str, lang: str = "en") -> str:
    """The printed name of a code in `zh` or `en`; the code itself where none is printed."""
    names = TABLES.get(table, {}).get(code)
    return code if names is None else names[0 if lang == "zh" else 1]
