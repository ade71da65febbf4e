"""What the operator of a node watches: is it ready, what does it do, what will it soon lack.

In: the services of the node, asked and never changed. Out: `Readiness` (nothing, or what is wrong),
`Figures` (text for Prometheus), `Checks` (each with a remedy). No member's data, no secret.
"""

from yunhe.monitor.checks import Checks
from yunhe.monitor.errors import NotReady
from yunhe.monitor.figures import MEDIA_TYPE, Figures
from yunhe.monitor.model import Check, Watched
from yunhe.monitor.ready import Readiness

__all__ = ["MEDIA_TYPE", "Check", "Checks", "Figures", "NotReady", "Readiness", "Watched"]
