"""core/v1: node.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from collections.abc import Mapping

from edgekube.types._base import EMPTY, Int32, Int64, Object, Quantity, Time, always
from edgekube.types.core_v1.scheduling import Taint
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class AttachedVolume(Object, frozen=True, kw_only=True):
    devicePath: str = always("")
    name: str = always("")


class ConfigMapNodeConfigSource(Object, frozen=True, kw_only=True):
    kubeletConfigKey: str = always("")
    name: str = always("")
    namespace: str = always("")
    resourceVersion: str = ""
    uid: str = ""


class ContainerImage(Object, frozen=True, kw_only=True):
    names: tuple[str, ...] = ()
    sizeBytes: Int64 = 0


class DaemonEndpoint(Object, frozen=True, kw_only=True):
    Port: Int32 = always(0)


class NodeAddress(Object, frozen=True, kw_only=True):
    address: str = always("")
    type: str = always("")


class NodeCondition(Object, frozen=True, kw_only=True):
    status: str = always("")
    lastHeartbeatTime: Time = ""
    lastTransitionTime: Time = ""
    message: str = ""
    reason: str = ""
    type: str = always("")


class NodeFeatures(Object, frozen=True, kw_only=True):
    supplementalGroupsPolicy: bool | None = None


class NodeRuntimeHandlerFeatures(Object, frozen=True, kw_only=True):
    recursiveReadOnlyMounts: bool | None = None
    userNamespaces: bool | None = None


class NodeSwapStatus(Object, frozen=True, kw_only=True):
    capacity: Int64 | None = None


class NodeConfigSource(Object, frozen=True, kw_only=True):
    configMap: ConfigMapNodeConfigSource | None = None


class NodeDaemonEndpoints(Object, frozen=True, kw_only=True):
    kubeletEndpoint: DaemonEndpoint = always(DaemonEndpoint())


class NodeRuntimeHandler(Object, frozen=True, kw_only=True):
    features: NodeRuntimeHandlerFeatures | None = None
    name: str = ""


class NodeSystemInfo(Object, frozen=True, kw_only=True):
    architecture: str = always("")
    bootID: str = always("")
    containerRuntimeVersion: str = always("")
    kernelVersion: str = always("")
    kubeProxyVersion: str = always("")
    kubeletVersion: str = always("")
    machineID: str = always("")
    operatingSystem: str = always("")
    osImage: str = always("")
    swap: NodeSwapStatus | None = None
    systemUUID: str = always("")


class NodeConfigStatus(Object, frozen=True, kw_only=True):
    active: NodeConfigSource | None = None
    assigned: NodeConfigSource | None = None
    error: str = ""
    lastKnownGood: NodeConfigSource | None = None


class NodeSpec(Object, frozen=True, kw_only=True):
    configSource: NodeConfigSource | None = None
    externalID: str = ""
    podCIDR: str = ""
    podCIDRs: tuple[str, ...] = ()
    providerID: str = ""
    taints: tuple[Taint, ...] = ()
    unschedulable: bool = False


class NodeStatus(Object, frozen=True, kw_only=True):
    addresses: tuple[NodeAddress, ...] = ()
    allocatable: Mapping[str, Quantity] = EMPTY
    capacity: Mapping[str, Quantity] = EMPTY
    conditions: tuple[NodeCondition, ...] = ()
    config: NodeConfigStatus | None = None
    daemonEndpoints: NodeDaemonEndpoints = always(NodeDaemonEndpoints())
    declaredFeatures: tuple[str, ...] = ()
    features: NodeFeatures | None = None
    images: tuple[ContainerImage, ...] = ()
    nodeInfo: NodeSystemInfo = always(NodeSystemInfo())
    phase: str = ""
    runtimeHandlers: tuple[NodeRuntimeHandler, ...] = ()
    volumesAttached: tuple[AttachedVolume, ...] = ()
    volumesInUse: tuple[str, ...] = ()


class Node(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: NodeSpec = always(NodeSpec())
    status: NodeStatus = always(NodeStatus())


class NodeList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[Node, ...] = always(())
