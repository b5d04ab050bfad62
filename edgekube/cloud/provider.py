"""The seam between the service controller and whoever makes load balancers real (CCM's cloud provider interface)."""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from edgekube.client.api import Key
from edgekube.types.core_v1 import LoadBalancerIngress


class Decision(msgspec.Struct, frozen=True):
    """What a Service of type LoadBalancer gets: addresses, or why it has to wait (`reason` for the Event)."""

    ingress: tuple[LoadBalancerIngress, ...] = ()
    reason: str = ""
    message: str = ""


class CloudProvider(Protocol):
    """Load balancers by whatever means."""

    @property
    def name(self) -> str: ...

    async def ensure(self) -> Mapping[Key, Decision]:
        """Make real what the cluster's Services want; the decision for each Service that is this provider's.

        Called after every change that may matter, with the same outcome for the same cluster.
        """
        ...

    async def remove(self, key: Key) -> None:
        """A Service wants no load balancer any more: give back what it had. Idempotent."""
        ...

    async def run(self) -> None:
        """Whatever must go on beside decisions, on every node, until cancelled."""
        ...
