"""The messages we speak under their N02, N03 and N06 names; † marks names of ours.

In: a message name. Out: its business code BC of Annex C and whether strangers may send it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

VERSION: Final = "1.0.0"


@dataclass(frozen=True)
class Message:
    """`business`: BC of N03 Annex C. `open`: a peer without a credential may send it.

    `patient`: sent for days, where others are given up within the hour; money depends on it.
    """

    name: str
    business: str
    open: bool = False
    patient: bool = False


MESSAGES: Final = {
    message.name: message
    for message in (
        Message("RegisterSubject", "02", open=True),  # †
        Message("RegisterConnector", "05", open=True),  # †
        Message("GetApplication", "00", open=True),  # †
        Message("SubmitCredentialRequest", "05", open=True),
        Message("GetIdentityProviderList", "04", open=True),
        Message("RegisterDataResource", "06"),
        Message("RegisterDataProduct", "07"),
        Message("RevokeDataResource", "06"),
        Message("RevokeDataProduct", "07"),
        Message("RegisterApplication", "07"),  # †
        Message("ListDataProduct", "08"),
        Message("DelistDataProduct", "08"),
        Message("SearchDataCatalog", "08"),
        Message("GetDataCatalogDetail", "08"),
        Message("FindApplications", "08"),  # †
        Message("ReviewResult", "00"),  # †
        Message("SendStatement", "11", patient=True),  # †
        Message("AcknowledgeStatement", "11", patient=True),  # †
        Message("SendReceipt", "11", patient=True),  # †
        Message("EndVault", "11", patient=True),  # †
        Message("ReportVault", "11", patient=True),  # †
        Message("GetUseOutcome", "11", patient=True),  # †
        Message("GetProofs", "10"),  # †
        Message("DeployApp", "11"),  # †
        Message("TakeApp", "11"),  # †
        Message("GetApp", "11"),  # †
        Message("RunApp", "11"),  # †
        Message("GetAppJob", "11"),  # †
        Message("GetAppResult", "11"),  # †
        Message("RevokeApp", "11", patient=True),  # †
        Message("ReportApp", "11", patient=True),  # †
    )
}
