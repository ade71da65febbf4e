"""Applications beside the data: signed once, deployed to many, run where the data is.

In: what authors publish, contracts that name a program and a release rule, a person's consent.
Out: runs inside walls, and of their results what the rule lets out. Evidence: `app.*`. Messages
leave as `tds.RevokeApp` and `tds.ReportApp`; every run is one use under `control.admit`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from yunhe.apps.author import Author
from yunhe.apps.desk import (
    DEPLOY,
    JOB,
    PIECE,
    REPORT,
    RESULT,
    REVOKE,
    RUN,
    TAKE,
    Body,
    Books,
    Desk,
    Keys,
    Recorder,
)
from yunhe.apps.host import Host
from yunhe.apps.model import (
    App,
    AppState,
    Deployment,
    DeploymentState,
    Holder,
    Job,
    JobState,
    Listing,
    Side,
)
from yunhe.apps.runner import Runner
from yunhe.apps.runs import Runs, new_use
from yunhe.apps.shelf import Shelf
from yunhe.apps.store import bits_spent
from yunhe.kernel.errors import Invalid, YunheError
from yunhe.kernel.keys import SigningKey, jws_detached

__all__ = [
    "App",
    "AppState",
    "Apps",
    "Author",
    "Books",
    "Deployment",
    "DeploymentState",
    "Desk",
    "Holder",
    "Host",
    "Job",
    "JobState",
    "Keys",
    "Listing",
    "Recorder",
    "Runs",
    "Shelf",
    "Side",
    "keys",
    "new_use",
]


def keys(
    did: str,
    key: SigningKey,
    signer_of: Callable[[str, str], Mapping[str, Any]],
) -> Keys:
    """How a node signs its manifests, which are for everybody, and whom it believes."""
    return Keys(did, lambda text: jws_detached(key, text), signer_of)


@dataclass(frozen=True)
class Apps:
    """Both sides of one node; `start` and `stop` are the host's runs."""

    author: Author
    runs: Runs
    host: Host
    runner: Runner
    shelf: Shelf

    @classmethod
    def of(cls, desk: Desk) -> Apps:
        """The applications of a node; whoever asks what is left of a contract hears of them."""
        desk.control.bits_said = bits_spent
        runner, shelf = Runner(desk), Shelf(desk)
        host = Host(desk, shelf, runner.wake)
        return cls(Author(desk, shelf), Runs(desk), host, runner, shelf)

    def messages(self) -> dict[str, Callable[[str, Body], Body]]:
        """Message name -> what answers it: (peer, body) -> body. A refusal is an answer, too."""
        told: dict[str, Callable[[str, Body], Body]] = {
            DEPLOY: self.host.asked,
            RUN: self.host.run,
            JOB: self.host.stands,
            RESULT: self.host.give,
            TAKE: self.shelf.taken,
        }
        plain: dict[str, Callable[[str, Body], Body]] = {
            PIECE: self.shelf.give,
            REVOKE: self.host.told,
            REPORT: self._reported,
        }
        return plain | {name: _answering(verb) for name, verb in told.items()}

    def _reported(self, peer_did: str, body: Body) -> Body:
        if isinstance(said := body.get("deployment"), dict):
            return self.author.reported(peer_did, said)
        if isinstance(said := body.get("job"), dict):
            return self.runs.reported(peer_did, said)
        raise Invalid(why="the report is of neither a deployment nor a run")

    def start(self) -> None:
        """Take up what waits, on either side."""
        self.runner.start()
        self.runs.start()

    def stop(self) -> None:
        """End what runs here, follow no more."""
        self.runs.stop()
        self.runner.stop()


def _answering(verb: Callable[[str, Body], Body]) -> Callable[[str, Body], Body]:
    """Refusals whole, in both languages, where a person at the other node waits for them."""

    def answer(peer_did: str, body: Body) -> Body:
        try:
            return verb(peer_did, body)
        except YunheError as refused:
            if refused.status >= 500:
                raise
            said: dict[str, Any] = {"refused": refused.problem()}
            return said

    return answer
