"""What can go wrong when somebody says who they are.

Each attack on a token has its own code, so that an operator reading a log or a meter knows what
was tried; the sentence never repeats the token.
"""

from __future__ import annotations

from yunhe.kernel.errors import (
    Conflict,
    Denied,
    Internal,
    Invalid,
    NotFound,
    Unauthenticated,
    Unavailable,
    YunheError,
)

_ADVICE_EN = "Ask for a new token and send it within its life."
_ADVICE_ZH = "请重新获取令牌，并在有效期内使用。"


class TokenMissing(Unauthenticated):
    code = "TOKEN_MISSING"
    en = "The request carries no token."
    zh = "请求未携带令牌。"
    mend_en = "Send `Authorization: Bearer <token>`."
    mend_zh = "请携带 `Authorization: Bearer <令牌>`。"


class TokenUnknown(Unauthenticated):
    code = "TOKEN_UNKNOWN"
    en = "This node never issued such a token."
    zh = "本节点从未签发该令牌。"
    mend_en = "Check that the whole token was copied, and that it is of this node."
    mend_zh = "请确认令牌完整且属于本节点。"


class TokenExpired(Unauthenticated):
    code = "TOKEN_EXPIRED"
    en = "The token has expired."
    zh = "令牌已过期。"
    mend_en, mend_zh = _ADVICE_EN, _ADVICE_ZH


class TokenRevoked(Unauthenticated):
    code = "TOKEN_REVOKED"
    en = "The token was revoked."
    zh = "令牌已被吊销。"
    mend_en = "Ask an administrator of the node for a new token."
    mend_zh = "请向节点管理员申请新令牌。"


class TokenMalformed(Unauthenticated):
    code = "TOKEN_MALFORMED"
    en = "The token cannot be read: {why}."
    zh = "令牌无法解析：{why}。"
    mend_en = "Send a compact JWT with every claim of docs/identity.md."
    mend_zh = "请发送紧凑格式 JWT，并包含 docs/identity.md 所列全部声明。"


class TokenAlgorithm(Unauthenticated):
    code = "TOKEN_ALGORITHM"
    en = "The token is signed with an algorithm that is never accepted."
    zh = "令牌使用了不被接受的签名算法。"
    mend_en = "Sign with Ed25519."
    mend_zh = "请使用 Ed25519 签名。"


class TokenIssuer(Unauthenticated):
    code = "TOKEN_ISSUER"
    en = "The token was not issued by the one it speaks for."
    zh = "令牌的签发者与持有者不一致。"
    mend_en = "A self-issued token has iss = sub = the DID of the sender."
    mend_zh = "自签令牌的 iss 与 sub 均须为发送方 DID。"


class TokenKeyUnknown(Unauthenticated):
    code = "TOKEN_KEY_UNKNOWN"
    en = "The token names a key that its sender does not have."
    zh = "令牌所指密钥不属于发送方。"
    mend_en = "Sign with a key of the DID document, or of the credential held."
    mend_zh = "请使用 DID 文档或所持凭证中的密钥签名。"


class TokenSignature(Unauthenticated):
    code = "TOKEN_SIGNATURE"
    en = "The signature of the token does not verify."
    zh = "令牌签名验证不通过。"
    mend_en = "Sign again with the registered key; change nothing afterwards."
    mend_zh = "请使用已登记密钥重新签名，签名后不得改动。"


class TokenAudience(Unauthenticated):
    code = "TOKEN_AUDIENCE"
    en = "The token is meant for another node."
    zh = "令牌的受众不是本节点。"
    mend_en = "Mint a token whose aud is the DID of the node you call."
    mend_zh = "请签发 aud 为被调用节点 DID 的令牌。"


class TokenNotYet(Unauthenticated):
    code = "TOKEN_NOT_YET"
    en = "The token is dated in the future."
    zh = "令牌尚未生效。"
    mend_en = "Set the clock of the sender; {skew_s} s of difference are tolerated."
    mend_zh = "请校准发送方时钟；最多容许 {skew_s} 秒偏差。"


class TokenLifetime(Unauthenticated):
    code = "TOKEN_LIFETIME"
    en = "The token would live longer than {limit_s} s."
    zh = "令牌有效期超过 {limit_s} 秒。"
    mend_en = "Mint a token for each request."
    mend_zh = "请为每次请求签发短期令牌。"


class TokenReplayed(Unauthenticated):
    code = "TOKEN_REPLAYED"
    en = "The token or sequence number was used before."
    zh = "令牌或序列号已被使用。"
    mend_en = "Mint a new token and a new sequence number for each request."
    mend_zh = "请为每次请求使用新的令牌和序列号。"


class CredentialRefused(Unauthenticated):
    code = "CREDENTIAL_REFUSED"
    en = "The membership credential does not verify: {why}."
    zh = "成员凭证验证不通过：{why}。"
    mend_en = "Present the credential as issued, or ask the registrar for a new one."
    mend_zh = "请出示签发时的凭证，或向登记节点重新申请。"


class CredentialExpired(Unauthenticated):
    code = "CREDENTIAL_EXPIRED"
    en = "The membership credential has expired."
    zh = "成员凭证已过期。"
    mend_en = "Ask the registrar for a new one with SubmitCredentialRequest."
    mend_zh = "请通过 SubmitCredentialRequest 向登记节点申请新凭证。"


class DidUnresolvable(Unauthenticated):
    code = "DID_UNRESOLVABLE"
    en = "The DID of the peer cannot be resolved: {why}."
    zh = "无法解析对方 DID：{why}。"
    mend_en = "Serve the DID document at the address the DID names."
    mend_zh = "请在 DID 所指地址提供 DID 文档。"


class DidUnreachable(DidUnresolvable):
    """Not a refusal: the peer's node may be starting, and the sender tries again."""

    code, status = "DID_UNREACHABLE", 503
    en = "The DID of the peer cannot be resolved at the moment: {why}."
    zh = "暂时无法解析对方 DID：{why}。"


class AddressForbidden(Denied):
    code = "ADDRESS_FORBIDDEN"
    en = "The address is not one this node may call."
    zh = "本节点不得访问该地址。"
    mend_en = "Use a public address, or name its private network in peer_networks of node.toml."
    mend_zh = "请使用公网地址，或在 node.toml 的 peer_networks 中写明其私有网段。"


class AddressForeign(Denied):
    code = "ADDRESS_FOREIGN"
    en = "The address is not one that {did} names as its own."
    zh = "该地址不属于 {did}。"
    mend_en = "Use the address of the catalogue's hit, or leave it out."
    mend_zh = "请使用目录检索结果中的地址，或不填地址。"


class TrustRootUnpinned(Internal):
    code = "TRUST_ROOT_UNPINNED"
    en = "The trust root {did} has no key in the configuration."
    zh = "配置中缺少信任根 {did} 的公钥。"
    mend_en = "Put the JWK of the registrar into trust_roots of node.toml."
    mend_zh = "请在 node.toml 的 trust_roots 中写入登记节点的 JWK。"


class PeerSuspended(Denied):
    code = "PEER_SUSPENDED"
    en = "The connector is {state} at this registrar."
    zh = "该接入连接器在本登记节点的状态为 {state}。"
    mend_en = "Ask the operator of the registrar; the reasons are in the record."
    mend_zh = "请联系登记节点运营方；原因见登记记录。"


class RoleMissing(Denied):
    code = "ROLE_MISSING"
    en = "This needs the role {role}."
    zh = "该操作需要角色 {role}。"
    mend_en = "Ask an administrator of the node for a token with that role."
    mend_zh = "请向节点管理员申请具备该角色的令牌。"


class MemberOnly(Denied):
    code = "MEMBER_ONLY"
    en = "This is for members: connectors with a credential of a trusted registrar."
    zh = "仅限持有可信登记节点所发凭证的成员使用。"
    mend_en = "Register the connector first: `yunhe register`."
    mend_zh = "请先登记接入连接器：`yunhe register`。"


class RoleUnknown(Invalid):
    code = "ROLE_UNKNOWN"
    en = "There is no role {role}."
    zh = "不存在角色 {role}。"
    mend_en = "The roles are admin, reviewer, provider, user, auditor, operator, application."
    mend_zh = "可用角色：admin、reviewer、provider、user、auditor、operator、application。"


class FormInvalid(Invalid):
    code = "FORM_INVALID"
    en = "The application is not complete: {field} {why}."
    zh = "申请不完整：{field} {why}。"
    mend_en = "Correct the named field and apply again."
    mend_zh = "请更正所指字段后重新申请。"


class ReasonsMissing(Invalid):
    code = "REASONS_MISSING"
    en = "A refusal states its reasons (T12 4.4k)."
    zh = "不予通过须说明理由（T12 4.4k）。"
    mend_en = "Give at least one reason."
    mend_zh = "请至少填写一条理由。"


class TokenNotFound(NotFound):
    code = "TOKEN_NOT_FOUND"
    en = "There is no such token to end, or it was ended already."
    zh = "不存在可吊销的令牌，或已被吊销。"


class ApplicationNotFound(NotFound):
    code = "APPLICATION_NOT_FOUND"
    en = "There is no such application."
    zh = "不存在该申请。"


class SubjectNotRegistered(NotFound):
    code = "SUBJECT_NOT_REGISTERED"
    en = "The subject {subject_code} is not registered here."
    zh = "主体 {subject_code} 未在本节点登记。"
    mend_en = "Register the organisation first and wait for its approval."
    mend_zh = "请先登记主体并等待审核通过。"


class ConnectorNotFound(NotFound):
    code = "CONNECTOR_NOT_FOUND"
    en = "There is no such connector."
    zh = "不存在该接入连接器。"


class AlreadyRegistered(Conflict):
    code = "ALREADY_REGISTERED"
    en = "{what} is registered already."
    zh = "{what} 已登记。"
    mend_en = "Use the registration that exists; a change is a new application."
    mend_zh = "请使用已有登记；变更须另行申请。"


class ApplicationPending(Conflict):
    code = "APPLICATION_PENDING"
    en = "An application of yours is under review already."
    zh = "已有申请正在审核。"
    mend_en = "Wait for the decision, then apply again."
    mend_zh = "请等待审核结果后再提交。"


class StepNotAllowed(Conflict):
    code = "STEP_NOT_ALLOWED"
    en = "A record that is {state} does not take the step {step}."
    zh = "状态为 {state} 的记录不能执行 {step}。"
    mend_en = "Read the record again and act on its present state."
    mend_zh = "请重新读取记录并按其当前状态操作。"


class NotRegistrar(Denied):
    code = "NOT_REGISTRAR"
    en = "This node does not register subjects or connectors."
    zh = "本节点不受理主体或接入连接器登记。"
    mend_en = "Apply at the functional node of your region."
    mend_zh = "请向所在区域功能节点申请。"


class CredentialNotHeld(NotFound):
    code = "CREDENTIAL_NOT_HELD"
    en = "This node holds no membership credential yet."
    zh = "本节点尚未持有成员凭证。"
    mend_en = "Register the connector at its functional node."
    mend_zh = "请向功能节点登记接入连接器。"


# -- decentralised claims: presentations, foreign credentials, issuance (DCP 1.0) ---------------


class DidMismatch(DidUnresolvable):
    code = "DID_MISMATCH"
    en = "The DID document is of another DID."
    zh = "DID 文档的标识与所请求的 DID 不一致。"


class AccessTokenMissing(Unauthenticated):
    code = "ACCESS_TOKEN_MISSING"
    en = "The token carries no access token for the credential service."
    zh = "令牌未携带凭证服务的访问令牌。"
    mend_en = "Send the access token of the holder in the claim `token`."
    mend_zh = "请在 `token` 声明中携带持有方的访问令牌。"


class AccessTokenRefused(Unauthenticated):
    code = "ACCESS_TOKEN_REFUSED"
    en = "The access token does not open this credential service: {why}."
    zh = "访问令牌无效：{why}。"
    mend_en = "Use the access token that the holder sent you, within its life."
    mend_zh = "请在有效期内使用持有方发给您的访问令牌。"


class PresentationRefused(Unauthenticated):
    code = "PRESENTATION_REFUSED"
    en = "The presentation does not verify: {why}."
    zh = "可验证表述验证不通过：{why}。"
    mend_en = "Present credentials in a JWT signed by the holder for this verifier."
    mend_zh = "请以持有方签名、面向本验证方的 JWT 出示凭证。"


class PresentationIncomplete(Unauthenticated):
    code = "PRESENTATION_INCOMPLETE"
    en = "The presentation lacks the credential {type}."
    zh = "可验证表述缺少凭证 {type}。"
    mend_en = "Hold that credential, and let the access token cover its scope."
    mend_zh = "请持有该凭证，并使访问令牌覆盖其范围。"


class CredentialUntrusted(Unauthenticated):
    code = "CREDENTIAL_UNTRUSTED"
    en = "The issuer of the credential is not trusted here."
    zh = "凭证签发方不受本节点信任。"
    mend_en = "Present a credential of a registrar that this node names as trust root."
    mend_zh = "请出示本节点信任根所签发的凭证。"


class CredentialSignature(Unauthenticated):
    code = "CREDENTIAL_SIGNATURE"
    en = "The signature of the credential is not of its issuer."
    zh = "凭证签名不属于其签发方。"


class CredentialHolder(Unauthenticated):
    code = "CREDENTIAL_HOLDER"
    en = "The credential is about another holder."
    zh = "凭证的主体不是出示方。"


class CredentialNotYet(Unauthenticated):
    code = "CREDENTIAL_NOT_YET"
    en = "The credential is not valid yet."
    zh = "凭证尚未生效。"


class CredentialRevoked(Unauthenticated):
    code = "CREDENTIAL_REVOKED"
    en = "The credential is revoked or suspended: {purpose}."
    zh = "凭证已被吊销或暂停：{purpose}。"
    mend_en = "Ask the registrar; the reasons are in its record."
    mend_zh = "请联系登记节点；原因见登记记录。"


class CredentialSchemaViolated(Unauthenticated):
    code = "CREDENTIAL_SCHEMA"
    en = "The credential does not fit its schema: {why}."
    zh = "凭证不符合其模式：{why}。"
    mend_en = "Ask its issuer for one that fits the schema it names."
    mend_zh = "请向签发方申请符合所列模式的凭证。"


class StatusUnavailable(Unavailable):
    code = "STATUS_UNAVAILABLE"
    en = "The status of the credential cannot be had: {why}."
    zh = "无法取得凭证状态：{why}。"
    mend_en = "Try again when the status list of its issuer answers."
    mend_zh = "请在签发方状态列表可用后重试。"


class StatusRefused(Unauthenticated):
    code = "STATUS_REFUSED"
    en = "The status list of the credential does not verify: {why}."
    zh = "凭证的状态列表验证不通过：{why}。"
    mend_en = "The issuer serves its list as a JWT signed by the key of its credentials."
    mend_zh = "签发方须以签发凭证的密钥签名并以 JWT 提供状态列表。"


class QueryInvalid(Invalid):
    code = "QUERY_INVALID"
    en = "The message is not one of DCP: {field} {why}."
    zh = "报文不符合 DCP：{field} {why}。"
    mend_en = "Send the message as DCP 1.0 describes it."
    mend_zh = "请按 DCP 1.0 构造报文。"


class DefinitionUnsupported(YunheError):
    code, status = "DEFINITION_UNSUPPORTED", 501
    en = "Presentation definitions are not supported here."
    zh = "本节点不支持 presentationDefinition。"
    mend_en = "Ask by scope."
    mend_zh = "请改用 scope 查询。"


class IssuerUntrusted(Denied):
    code = "ISSUER_UNTRUSTED"
    en = "Only registrars that this node trusts may write or offer credentials."
    zh = "仅受信任的登记节点可写入或提供凭证。"


class CredentialRequestUnknown(NotFound):
    code = "CREDENTIAL_REQUEST_UNKNOWN"
    en = "There is no such credential request of yours."
    zh = "不存在您的该凭证申请。"


class StatusListUnknown(NotFound):
    code = "STATUS_LIST_UNKNOWN"
    en = "There is no such status list."
    zh = "不存在该状态列表。"


class StatusListFull(Internal):
    code = "STATUS_LIST_FULL"
    en = "No free place was found in the status lists."
    zh = "状态列表已无可用位置。"
