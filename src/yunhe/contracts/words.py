"""The words of a policy: actions, operators and terms of T14 (Tables 4, 5.1, 5.2), and ours."""

from __future__ import annotations

from enum import StrEnum


class Action(StrEnum):
    """Operating behaviours, T14 Table 4; the wire code is the name (misprint included).

    The last three are ODRL 2.2's: kinds of `process` and `jointDevelop`, narrower than those, so
    that reading one as the other would widen what was agreed.
    """

    TRANSFORM = "transform"
    ANONYMIZE = "anonymize"
    DESENSITIZE = "desensitize"
    ACCESS = "access"
    READ = "read"
    REPRODUCE = "reproduce"
    STORAGE = "storage"
    DOWNLOAD = "download"
    PROCESS = "process"
    JOINT_DEVELOP = "jointDevelop"
    DISTRIBUTE = "distribute"
    COMPUTE = "compute"
    GRANT_USE = "grantUse"
    POLICY_TRANSMIT = "plicyTransmit"
    DELIVERY = "delivery"
    SELL = "sell"
    LOG_RECORD_SEND = "logRecordSend"
    DELETE = "delete"
    ALERT = "alert"
    COMPENSATE = "compensate"
    MODIFY = "modify"
    DERIVE = "derive"
    AGGREGATE = "aggregate"


class Operator(StrEnum):
    """Constraint operators, T14 Table 5.2 (= ODRL 2.2 names)."""

    EQ = "eq"
    GT = "gt"
    GTEQ = "gteq"
    HAS_PART = "hasPart"
    IS_A = "isA"
    IS_ALL_OF = "isAllOf"
    IS_ANY_OF = "isAnyOf"
    IS_NONE_OF = "isNoneOf"
    IS_PART_OF = "isPartOf"
    LT = "lt"
    LTEQ = "lteq"
    NEQ = "neq"


class Term(StrEnum):
    """Left operands: T14 Table 5.1, then our own (T14 `expansionItem`)."""

    TIME = "time"
    TIME_WINDOW = "timeWindow"
    REGION = "region"
    NETWORK_ADDRESS = "networkAddress"
    PHYSICAL_ADDRESS = "physicalAddress"
    COUNT = "count"
    FREQUENCY = "frequency"
    DATA_SIZE = "dataSize"
    DATE_RECORD = "dateRecord"
    DATA_FIELD = "dataField"
    VALUE_EXPRESSION = "valueExpression"
    APPLICATION = "application"
    ALGORITHM = "algorithm"
    MODELS = "machineLearningModels"
    EXECUTION_ENV = "executionEnv"
    ENCRYPT_MODE = "encryptMode"
    DELIVERY_METHOD = "deliveryMethod"
    PAY_AMOUNT = "payAmount"
    PURPOSE = "purpose"
    RECIPIENT = "recipient"
    MINIMUM_GROUP = "minimumGroup"
    MASK_METHOD = "maskMethod"
    PAY_PER = "payPer"
    PRIVACY_BUDGET = "privacyBudget"
    RELEASE_RULE = "releaseRule"  # what leaves an application that runs beside the data
    WATERMARK = "watermark"
    AGGREGATES = "aggregates"  # which of which column, where groups only may leave
    KEYS_TO = "keysTo"  # nodes that may be shown single values as the keys of a join
    TIME_INTERVAL = "timeInterval"  # ODRL: the least time between two uses
    RECORD_TOTAL = "recordTotal"  # rows of all uses together
    SIZE_TOTAL = "sizeTotal"  # bytes of all uses together
    HOURS = "hours"  # weekdays and times of day in a zone (T14 U-07)
