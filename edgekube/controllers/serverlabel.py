"""The role label of nodes that hold a control plane: not a kubelet's own to set (NodeRestriction), so set from here."""

from collections.abc import Collection, Sequence

from edgekube.client.api import Key
from edgekube.controllers.framework import Context, Watch
from edgekube.types.core_v1 import Node

LABEL = "node-role.kubernetes.io/control-plane"


class ServerLabelController:
    """`servers` are the names of nodes that run the control plane."""

    name = "server-label-controller"

    def __init__(self, context: Context, servers: Collection[str]) -> None:
        self._client = context.client
        self._servers = servers
        self._nodes = context.informer(Node)

    def watches(self) -> Sequence[Watch]:
        return (Watch(Node),)

    async def reconcile(self, key: Key) -> float | None:
        node = self._nodes.get(*key)
        if node is not None and key[1] in self._servers and node.metadata.labels.get(LABEL) != "true":
            await self._client.patch(Node, key[1], patch={"metadata": {"labels": {LABEL: "true"}}})
        return None
