"""EndpointSlice and Endpoints of Services with a selector (endpointslice-controller and endpoints-controller).

One controller keeps both: they say the same thing, the older one for clients that still read it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from edgekube.client.api import Change, Key
from edgekube.controllers.framework import Context, Watch
from edgekube.controllers.owners import is_ready
from edgekube.types.core_v1 import (
    EndpointAddress,
    Endpoints,
    EndpointSubset,
    Node,
    ObjectReference,
    Pod,
    Service,
)
from edgekube.types.core_v1 import EndpointPort as OldPort
from edgekube.types.discovery_v1 import Endpoint, EndpointConditions, EndpointPort, EndpointSlice
from edgekube.types.meta_v1 import ObjectMeta, OwnerReference
from edgekube.types.selectors import from_labels

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
HEADLESS = "service.kubernetes.io/headless"
ZONE = "topology.kubernetes.io/zone"
ENDPOINTS_PER_SLICE = 100
ADDRESSES_MAX = 1000  # in an Endpoints object; more are cut, as upstream does
SERVICE_INDEX = "service"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"

Ports = tuple[EndpointPort, ...]


class EndpointSliceController:
    name = "endpointslice-controller"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._services = context.informer(Service)
        self._pods = context.informer(Pod)
        self._nodes = context.informer(Node)
        self._slices = context.informer(EndpointSlice)
        self._endpoints = context.informer(Endpoints)
        self._slices.add_index(SERVICE_INDEX, _service_of_slice)

    def watches(self) -> Sequence[Watch]:
        return (
            Watch(Service),
            Watch(Pod, self._keys_of_pod),
            Watch(EndpointSlice, self._keys_of_slice),
            Watch(Endpoints),
        )

    def _keys_of_slice(self, change: Change[EndpointSlice]) -> set[Key]:
        return {
            (s.metadata.namespace, s.metadata.labels[SERVICE_NAME])
            for s in (change.old, change.new)
            if s is not None and SERVICE_NAME in s.metadata.labels and s.metadata.labels.get(MANAGED_BY) == MANAGER
        }

    def _keys_of_pod(self, change: Change[Pod]) -> set[Key]:
        """Services that select the pod, before or after; nothing when what an endpoint shows did not change."""
        if change.old is not None and change.new is not None and _shown(change.old) == _shown(change.new):
            return set()
        keys: set[Key] = set()
        for pod in (change.old, change.new):
            if pod is None:
                continue
            for service in self._services.list(pod.metadata.namespace):
                if service.spec.selector and from_labels(service.spec.selector).matches(pod.metadata.labels):
                    keys.add((service.metadata.namespace, service.metadata.name))
        return keys

    async def reconcile(self, key: Key) -> float | None:
        service = self._services.get(*key)
        if service is None or service.metadata.deletionTimestamp:
            await self._remove(key)
            return None
        if not service.spec.selector or service.spec.type == "ExternalName":
            return None
        selector = from_labels(service.spec.selector)
        pods = [
            p
            for p in self._pods.list(key[0])
            if selector.matches(p.metadata.labels) and p.status.podIP and p.status.phase not in ("Succeeded", "Failed")
        ]
        pods.sort(key=lambda p: (p.metadata.creationTimestamp, p.metadata.name))
        zones = {n.metadata.name: n.metadata.labels.get(ZONE, "") for n in self._nodes.list()}
        groups: dict[Ports, list[Endpoint]] = {}
        for pod in pods:
            ports = pod_ports(service, pod)
            groups.setdefault(ports, []).append(endpoint_of(service, pod, zones))
        await self._write_slices(service, groups)
        await self._write_endpoints(service, pods)
        return None

    async def _remove(self, key: Key) -> None:
        """Slices go with their owner by garbage collection; Endpoints of the same name go here, as upstream does."""
        if self._endpoints.get(*key) is not None:
            current = self._endpoints.get(*key)
            if current is not None and current.metadata.labels.get(MANAGED_BY_ENDPOINTS) == ENDPOINTS_MANAGER:
                await self._context.client.delete(Endpoints, key[1], key[0], uid=current.metadata.uid)

    async def _write_slices(self, service: Service, groups: Mapping[Ports, Sequence[Endpoint]]) -> None:
        """Reuse slices in place: addresses keep their slice, so that one change rewrites one slice."""
        meta = service.metadata
        key = f"{meta.namespace}/{meta.name}"
        existing = sorted(self._slices.by_index(SERVICE_INDEX, key), key=lambda s: s.metadata.name)
        labels = slice_labels(service)
        unused: list[EndpointSlice] = []
        by_ports: dict[Ports, list[EndpointSlice]] = {}
        for current in existing:
            if current.ports in groups and current.addressType == "IPv4":
                by_ports.setdefault(current.ports, []).append(current)
            else:
                unused.append(current)
        for ports, endpoints in groups.items():
            for current, wanted in plan_slices(endpoints, by_ports.get(ports, [])):
                if current is None:
                    await self._create_slice(service, labels, ports, wanted)
                elif not wanted:
                    unused.append(current)
                elif current.endpoints != wanted or current.metadata.labels != labels:
                    patch = {
                        "metadata": {"uid": current.metadata.uid, "labels": relabelled(current, labels)},
                        "endpoints": [msgspec.to_builtins(e) for e in wanted],
                    }
                    name = current.metadata.name
                    await self._context.client.patch(EndpointSlice, name, meta.namespace, patch=patch)
        if not groups and unused:
            # A Service without endpoints keeps one empty slice: its readers can tell "none" from "not yet".
            keep = unused.pop(0)
            if keep.endpoints or keep.metadata.labels != labels:
                patch = {"metadata": {"labels": relabelled(keep, labels)}, "endpoints": [], "ports": []}
                await self._context.client.patch(EndpointSlice, keep.metadata.name, meta.namespace, patch=patch)
        elif not groups:
            await self._create_slice(service, labels, (), ())
        for current in unused:
            name, uid = current.metadata.name, current.metadata.uid
            await self._context.client.delete(EndpointSlice, name, meta.namespace, uid=uid)

    async def _create_slice(
        self, service: Service, labels: Mapping[str, str], ports: Ports, endpoints: Sequence[Endpoint]
    ) -> None:
        meta = service.metadata
        owner = OwnerReference(
            apiVersion="v1", kind="Service", name=meta.name, uid=meta.uid, controller=True, blockOwnerDeletion=True
        )
        await self._context.client.create(
            EndpointSlice(
                apiVersion="discovery.k8s.io/v1",
                kind="EndpointSlice",
                metadata=ObjectMeta(
                    generateName=f"{meta.name[:57]}-",
                    namespace=meta.namespace,
                    labels=labels,
                    ownerReferences=(owner,),
                ),
                addressType="IPv4",
                endpoints=tuple(endpoints),
                ports=ports,
            )
        )

    async def _write_endpoints(self, service: Service, pods: Sequence[Pod]) -> None:
        meta = service.metadata
        subsets = endpoint_subsets(service, pods)
        labels = {**meta.labels, MANAGED_BY_ENDPOINTS: ENDPOINTS_MANAGER}
        if service.spec.clusterIP == "None":
            labels[HEADLESS] = ""
        annotations = {OVER_CAPACITY: "truncated"} if is_over_capacity(service, pods) else {}
        current = self._endpoints.get(meta.namespace, meta.name)
        if current is None:
            await self._context.client.create(
                Endpoints(
                    apiVersion="v1",
                    kind="Endpoints",
                    metadata=ObjectMeta(
                        name=meta.name, namespace=meta.namespace, labels=labels, annotations=annotations
                    ),
                    subsets=subsets,
                )
            )
        elif (
            current.subsets != subsets
            or current.metadata.labels != labels
            or current.metadata.annotations.get(OVER_CAPACITY) != annotations.get(OVER_CAPACITY)
        ):
            patch = {
                "metadata": {
                    "uid": current.metadata.uid,
                    "labels": relabelled(current, labels),
                    "annotations": {OVER_CAPACITY: annotations.get(OVER_CAPACITY)},
                },
                "subsets": [msgspec.to_builtins(s) for s in subsets],
            }
            await self._context.client.patch(Endpoints, meta.name, meta.namespace, patch=patch)


MANAGED_BY_ENDPOINTS = "endpoints.kubernetes.io/managed-by"
ENDPOINTS_MANAGER = "endpoint-controller"


def _service_of_slice(obj: EndpointSlice) -> Iterable[str]:
    labels = obj.metadata.labels
    if labels.get(MANAGED_BY) == MANAGER and SERVICE_NAME in labels:
        return (f"{obj.metadata.namespace}/{labels[SERVICE_NAME]}",)
    return ()


def _shown(pod: Pod) -> tuple[Any, ...]:
    """All of a pod that its endpoint depends on."""
    return (
        pod.status.podIP,
        is_ready(pod),
        pod.status.phase in ("Succeeded", "Failed"),
        bool(pod.metadata.deletionTimestamp),
        pod.metadata.labels,
        pod.spec.nodeName,
    )


def relabelled(obj: EndpointSlice | Endpoints, labels: Mapping[str, str]) -> dict[str, str | None]:
    """The labels as a merge patch: null for those that are to go."""
    return {**{name: None for name in obj.metadata.labels if name not in labels}, **labels}


def _listed(service: Service, pods: Sequence[Pod]) -> list[Pod]:
    """The pods an Endpoints object speaks of: those on their way out only where readiness does not matter."""
    return [p for p in pods if service.spec.publishNotReadyAddresses or not p.metadata.deletionTimestamp]


def is_over_capacity(service: Service, pods: Sequence[Pod]) -> bool:
    return len(_listed(service, pods)) > ADDRESSES_MAX


def slice_labels(service: Service) -> dict[str, str]:
    labels = {k: v for k, v in service.metadata.labels.items() if k not in (SERVICE_NAME, MANAGED_BY, HEADLESS)}
    labels[SERVICE_NAME] = service.metadata.name
    labels[MANAGED_BY] = MANAGER
    if service.spec.clusterIP == "None":
        labels[HEADLESS] = ""
    return labels


def pod_ports(service: Service, pod: Pod) -> Ports:
    """The service's ports as this pod has them: named target ports are looked up in its containers."""
    result = []
    for port in service.spec.ports:
        target = port.targetPort if port.targetPort else port.port
        number: int | None = None
        if isinstance(target, int):
            number = target
        else:
            protocol = port.protocol or "TCP"
            for container in (*pod.spec.containers, *(c for c in pod.spec.initContainers if c.restartPolicy)):
                for candidate in container.ports:
                    if candidate.name == target and (candidate.protocol or "TCP") == protocol:
                        number = candidate.containerPort
        if number is not None:
            result.append(
                EndpointPort(
                    name=port.name, port=number, protocol=port.protocol or "TCP", appProtocol=port.appProtocol or None
                )
            )
    return tuple(result)


def endpoint_of(service: Service, pod: Pod, zones: Mapping[str, str]) -> Endpoint:
    terminating = bool(pod.metadata.deletionTimestamp)
    serving = is_ready(pod)
    node = pod.spec.nodeName
    # A pod is known by its host name only in the headless service it names as its subdomain.
    named = pod.spec.hostname and pod.spec.subdomain == service.metadata.name
    return Endpoint(
        addresses=tuple(ip.ip for ip in pod.status.podIPs[:1]) or (pod.status.podIP,),
        conditions=EndpointConditions(
            ready=service.spec.publishNotReadyAddresses or (serving and not terminating),
            serving=serving,
            terminating=terminating,
        ),
        hostname=pod.spec.hostname if named else None,
        nodeName=node or None,
        targetRef=_reference(pod),
        zone=zones.get(node) or None,
    )


def _reference(pod: Pod) -> ObjectReference:
    return ObjectReference(kind="Pod", name=pod.metadata.name, namespace=pod.metadata.namespace, uid=pod.metadata.uid)


def plan_slices(
    endpoints: Sequence[Endpoint], existing: Sequence[EndpointSlice]
) -> list[tuple[EndpointSlice | None, tuple[Endpoint, ...]]]:
    """What each slice should hold: endpoints stay where they are, newcomers fill gaps, then new slices."""
    wanted = {e.addresses: e for e in endpoints}
    placed: set[tuple[str, ...]] = set()
    plan: list[tuple[EndpointSlice | None, list[Endpoint]]] = []
    for current in existing:
        kept = []
        for endpoint in current.endpoints:
            if endpoint.addresses in wanted and endpoint.addresses not in placed:
                kept.append(wanted[endpoint.addresses])
                placed.add(endpoint.addresses)
        plan.append((current, kept))
    rest = [e for e in wanted.values() if e.addresses not in placed]
    for _, held in plan:
        room = ENDPOINTS_PER_SLICE - len(held)
        held.extend(rest[:room])
        rest = rest[room:]
    while rest:
        plan.append((None, rest[:ENDPOINTS_PER_SLICE]))
        rest = rest[ENDPOINTS_PER_SLICE:]
    return [(current, tuple(held)) for current, held in plan]


def endpoint_subsets(service: Service, pods: Sequence[Pod]) -> tuple[EndpointSubset, ...]:
    """The older form: addresses grouped by their ports, ready and not ready apart, sorted."""
    groups: dict[tuple[OldPort, ...], tuple[list[EndpointAddress], list[EndpointAddress]]] = {}
    # When they are too many, those that serve are kept.
    for pod in sorted(_listed(service, pods), key=lambda p: not is_ready(p))[:ADDRESSES_MAX]:
        ports = tuple(
            OldPort(name=p.name or "", port=p.port or 0, protocol=p.protocol, appProtocol=p.appProtocol)
            for p in pod_ports(service, pod)
        )
        named = pod.spec.hostname and pod.spec.subdomain == service.metadata.name
        address = EndpointAddress(
            ip=pod.status.podIP,
            hostname=pod.spec.hostname if named else "",
            nodeName=pod.spec.nodeName or None,
            targetRef=_reference(pod),
        )
        usable = service.spec.publishNotReadyAddresses or (is_ready(pod) and not pod.metadata.deletionTimestamp)
        ready, unready = groups.setdefault(ports, ([], []))
        (ready if usable else unready).append(address)
    return tuple(
        EndpointSubset(
            addresses=tuple(sorted(ready, key=lambda a: a.ip)),
            notReadyAddresses=tuple(sorted(unready, key=lambda a: a.ip)),
            ports=ports,
        )
        for ports, (ready, unready) in sorted(groups.items(), key=lambda item: str(item[0]))
    )
