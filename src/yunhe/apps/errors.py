"""Refusals of applications; what a program did wrong is told by code alone, never in its words."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from yunhe.kernel.errors import (
    Conflict,
    Denied,
    Invalid,
    NotFound,
    RateLimited,
    Unavailable,
    YunheError,
)

_STATES_ZH: Final[Mapping[str, str]] = MappingProxyType(
    {
        "draft": "草稿",
        "published": "已发布",
        "withdrawn": "已撤回",
        "asked": "待准入",
        "deployed": "已部署",
        "suspended": "已暂停",
        "refused": "已拒绝",
        "revoked": "已撤销",
        "queued": "排队中",
        "running": "运行中",
        "held": "保留中",
        "released": "已放行",
        "failed": "失败",
    }
)


def stated(state: str) -> dict[str, str]:
    """The fact `state` of a refusal, and what it is called in Chinese."""
    return {"state": state, "state_zh": _STATES_ZH.get(state, state)}


class AppManifestInvalid(Invalid):
    code = "APP_MANIFEST_INVALID"
    en = "The application's manifest is not valid: {field} {why}."
    zh = "应用清单不合法：{field} {why_zh}。"
    mend_en = "Correct the named member; see docs/apps.md."
    mend_zh = "请更正所指成员；参见 docs/apps.md。"


class AppParameterInvalid(Invalid):
    code = "APP_PARAMETER_INVALID"
    en = "The parameter {name} {why}."
    zh = "参数 {name} {why_zh}。"
    mend_en = "See the parameters in the application's manifest: yunhe apps show."
    mend_zh = "请查看应用清单中的参数：yunhe apps show。"


class AppUnknown(NotFound):
    code = "APP_UNKNOWN"
    en = "There is no such application, deployment or run here."
    zh = "此处没有该应用、部署或运行。"
    mend_en = "See yunhe apps list, deployments and jobs."
    mend_zh = "请查看 yunhe apps list、deployments 与 jobs。"


class AppSignatureInvalid(Denied):
    code = "APP_SIGNATURE_INVALID"
    en = "The manifest is not signed by the author it names."
    zh = "应用清单未由其所列作者签名。"
    mend_en = "Have the author publish the application again and deploy that."
    mend_zh = "请由作者重新发布应用后再部署。"


class AppChanged(Denied):
    code = "APP_CHANGED"
    en = "The program is not the one that was signed: its bytes have another digest."
    zh = "程序与签名时不一致：内容摘要不同。"
    mend_en = "Have the author deploy the application again."
    mend_zh = "请由作者重新部署该应用。"


class AppNotAgreed(Denied):
    code = "APP_NOT_AGREED"
    en = "The contract does not name the application {given}; it says {expected}."
    zh = "合约未约定应用 {given}；约定为 {expected}。"
    mend_en = "Negotiate a contract that names it."
    mend_zh = "请协商包含该应用的合约。"


class AppRuleMisfit(Denied):
    code = "APP_RULE_MISFIT"
    en = "The application does not fit the contract: {why}."
    zh = "应用与合约不相符：{why_zh}。"
    mend_en = "Publish a version that fits, or negotiate another release rule."
    mend_zh = "请发布相符的版本，或另行协商放行规则。"


class AppStateRefused(Conflict):
    code = "APP_STATE_REFUSED"
    en = "This is {state}, so it cannot be {verb}."
    zh = "当前状态为 {state}，不能执行 {verb}。"
    mend_en = "Look at its state; a revoked digest never runs again, publish a new version."
    mend_zh = "请查看其状态；已撤销的摘要不会再运行，请发布新版本。"


class AppNotDeployed(Denied):
    code = "APP_NOT_DEPLOYED"
    en = "The application is not deployed here: {state}."
    zh = "该应用未在此部署：{state}。"
    mend_en = "Wait for the host's consent, or ask it why: yunhe apps deployments."
    mend_zh = "请等待数据方同意，或查询原因：yunhe apps deployments。"


class AppRevoked(Denied):
    code = "APP_REVOKED"
    en = "This version of the application was revoked and runs nowhere."
    zh = "该应用版本已被撤销，任何节点均不再运行。"
    mend_en = "Deploy a new version."
    mend_zh = "请部署新版本。"


class AppJobsTooMany(RateLimited):
    code = "APP_JOBS_TOO_MANY"
    en = "{limit} runs or versions are here already; no more are taken now."
    zh = "已有 {limit} 个运行或版本，暂不接受更多。"
    mend_en = "Wait until some runs have ended, or negotiate another contract."
    mend_zh = "请等待部分运行结束，或另行协商合约。"


class AppNotReleased(Conflict):
    code = "APP_NOT_RELEASED"
    en = "There is no result to fetch: the run is {state}."
    zh = "没有可取的结果：该运行状态为 {state}。"
    mend_en = "Wait for it; what is held, a person at the host releases."
    mend_zh = "请等待；被扣留的结果需由数据方人员放行。"


class AppSandboxMissing(Unavailable):
    code = "APP_SANDBOX_MISSING"
    en = "This machine cannot wall a program in ({walls}), so none is run."
    zh = "本机无法隔离程序（{walls}），因此不予运行。"
    mend_en = "Run the node on Linux 5.13 or later with Landlock and seccomp."
    mend_zh = "请在启用 Landlock 与 seccomp 的 Linux 5.13 或更高版本上运行节点。"


class AppEngineMissing(Unavailable):
    code = "APP_ENGINE_MISSING"
    en = "The host has not installed what the application needs: {library}."
    zh = "数据方未安装该应用所需的组件：{library}。"
    mend_en = "Its operator installs it, for ONNX with pip install 'yunhe[onnx]'."
    mend_zh = "请数据方运维安装；ONNX 请执行 pip install 'yunhe[onnx]'。"


class AppFailed(Denied):
    code = "APP_FAILED"
    en = "The program ended with an error. Its host has the log."
    zh = "程序异常结束，日志保存在数据方。"
    mend_en = "Try it on data of your own; ask the host for what the log says."
    mend_zh = "请用自有数据排查；可请数据方查看日志。"


class AppTimeout(Denied):
    code = "APP_TIMEOUT"
    en = "The program took longer than its manifest says and was ended."
    zh = "程序超过清单所列时间，已被终止。"
    mend_en = "Publish a version that needs less, or states more seconds."
    mend_zh = "请发布耗时更少或声明更多秒数的版本。"


class AppMemory(Denied):
    code = "APP_MEMORY"
    en = "The program needed more memory than its manifest says."
    zh = "程序所需内存超过清单所列。"
    mend_en = "Publish a version that needs less, or states more memory_mb."
    mend_zh = "请发布占用更少或声明更多 memory_mb 的版本。"


class AppCut(Denied):
    code = "APP_CUT"
    en = "The run was ended because the contract or the deployment ended."
    zh = "合约或部署已终止，运行随之结束。"
    mend_en = "Look at the state of the contract and of the deployment."
    mend_zh = "请查看合约与部署的状态。"


class AppOutputRefused(Denied):
    code = "APP_OUTPUT_REFUSED"
    en = "The output does not pass the release rule, so nothing leaves."
    zh = "输出不符合放行规则，任何内容均不放行。"
    mend_en = "Have the program give what its manifest declares, within the rule."
    mend_zh = "请让程序在规则范围内输出清单所声明的内容。"


class AppBitsSpent(Denied):
    code = "APP_BITS_SPENT"
    en = "The contract lets its programs say {limit} bits in all; {spent} are said, so none leaves."
    zh = "合约限定应用累计输出 {limit} 比特，已用 {spent} 比特，不再放行。"
    mend_en = "Ask for fewer numbers or digits, or negotiate another contract."
    mend_zh = "请减少输出的数值或位数，或另行协商合约。"


class AppInterrupted(Unavailable):
    code = "APP_INTERRUPTED"
    en = "The host's node stopped while the program ran; the use was given back."
    zh = "运行期间数据方节点停止，本次使用已退还。"
    mend_en = "Run it again under a new use_id."
    mend_zh = "请使用新的 use_id 重新运行。"


class AppAnswerInvalid(Unavailable):
    code = "APP_ANSWER_INVALID"
    en = "The other node's answer about an application cannot be believed: {why}."
    zh = "对方节点关于应用的应答不可信：{why_zh}。"
    mend_en = "Try again; if it persists, tell the other node's operator."
    mend_zh = "请重试；若仍如此，请告知对方节点运维。"


class RefusedByHost(YunheError):
    """The host's own refusal, passed on word for word."""

    code, status = "REFUSED_BY_HOST", 403
    en = "The host refused."
    zh = "数据方拒绝了该请求。"

    def __init__(self, problem: Mapping[str, Any]) -> None:
        texts = ("type", "title", "code", "detail", "remedy")
        shown = {n: problem[n][:2000] for n in texts if isinstance(problem.get(n), str)}
        shown |= {n: problem[n] for n in ("zh", "facts") if isinstance(problem.get(n), dict)}
        status = problem.get("status")
        known = isinstance(status, int) and 400 <= status < 500 and status != 401
        code = str(problem.get("code", self.code))[:64]
        self._problem = shown | {"status": status if known else 403, "code": code}
        vars(self).update(code=code, status=self._problem["status"])
        super().__init__()

    def problem(self) -> dict[str, Any]:
        """The host's problem body."""
        return self._problem
