"""A pod that serves leaves its Services before it is told to stop.

Kubernetes sends the stop signal and the news that an endpoint is going side by side, so that new connections still
reach a server that has ended already; people put `preStop: sleep` into their pods for it. The kubelet can wait
instead: every EndpointSlice that names the pod says within milliseconds that it terminates.
"""

from collections.abc import Callable, Iterable

import trio

from edgekube.client.api import Change, Informer
from edgekube.types.discovery_v1 import Endpoint, EndpointSlice

WITHDRAW_SECONDS_MAX = 1.0  # a slice that no controller keeps never says it
# After that: for the proxies of all nodes to have it from the slice, and for requests under way to be answered. A
# connection that a busy server had no room for is tried again by the client's kernel after a second, at the same pod.
SETTLE_SECONDS = 1.25
POD_INDEX = "kubelet/pod"


class Withdrawals:
    """Follows the EndpointSlices of all pods; one per kubelet."""

    def __init__(self, slices: Informer[EndpointSlice]) -> None:
        self._slices = slices
        self._slices.add_index(POD_INDEX, _pods_named)
        self._changed = trio.Event()

    def follow(self) -> Callable[[], None]:
        """Begin; returns what ends it."""
        return self._slices.subscribe(self._on_change)

    async def wait(self, uid: str, grace_seconds: float) -> None:
        """Return when the pod may be told to stop: at once unless a Service sends it connections.

        It has half of its grace period left then, whatever happens.
        """
        if not any(_serves(endpoint) for endpoint in self._endpoints(uid)):
            return
        with trio.move_on_after(grace_seconds / 2):
            with trio.move_on_after(WITHDRAW_SECONDS_MAX):
                while any(_is_offered(endpoint) for endpoint in self._endpoints(uid)):
                    await self._changed.wait()
            await trio.sleep(SETTLE_SECONDS)

    def _endpoints(self, uid: str) -> list[Endpoint]:
        found = self._slices.by_index(POD_INDEX, uid)
        return [e for piece in found for e in piece.endpoints if e.targetRef is not None and e.targetRef.uid == uid]

    def _on_change(self, _change: Change[EndpointSlice]) -> None:
        self._changed.set()
        self._changed = trio.Event()


def _pods_named(piece: EndpointSlice) -> Iterable[str]:
    return {e.targetRef.uid for e in piece.endpoints if e.targetRef is not None and e.targetRef.kind == "Pod"}


def _serves(endpoint: Endpoint) -> bool:
    """Unknown counts as true, as for every reader of a slice."""
    return endpoint.conditions is None or endpoint.conditions.serving is not False


def _is_offered(endpoint: Endpoint) -> bool:
    """The slice does not say yet that the pod is going."""
    conditions = endpoint.conditions
    return conditions is None or not (conditions.terminating or conditions.ready is False)
