"""What every cluster has from its first start: four namespaces and the two system priority classes."""

from typing import TYPE_CHECKING

from edgekube.apiserver.admit.pods import SYSTEM_PRIORITIES
from edgekube.apiserver.request import GROUP_MASTERS, User
from edgekube.apiserver.resources import of_class
from edgekube.types.core_v1 import Namespace
from edgekube.types.meta_v1 import ObjectMeta
from edgekube.types.scheduling_v1 import PriorityClass

if TYPE_CHECKING:
    from edgekube.apiserver.registry import Registry

NAMESPACES = ("kube-system", "kube-public", "kube-node-lease", "default")
_SYSTEM = User("system:apiserver", (GROUP_MASTERS,))
_DESCRIPTIONS = {
    "system-cluster-critical": "Used for system critical pods that must run in the cluster, but can be moved to another"
    " node if necessary.",
    "system-node-critical": "Used for system critical pods that must not be moved from their current node.",
}


async def bootstrap(registry: "Registry") -> None:
    """Create what is missing. Raises ApiError when the store takes no writes."""
    client = registry.client(_SYSTEM)
    for name in NAMESPACES:
        if registry.backend.read(of_class(Namespace), "", name) is None:
            await client.create(Namespace(metadata=ObjectMeta(name=name)))
    for name, value in SYSTEM_PRIORITIES.items():
        if registry.backend.read(of_class(PriorityClass), "", name) is None:
            text = _DESCRIPTIONS[name]
            await client.create(PriorityClass(metadata=ObjectMeta(name=name), value=value, description=text))
