"""DaemonSet: one pod on each node that fits (daemonset-controller). The scheduler places them by node affinity."""

from collections.abc import Mapping, Sequence

import msgspec

from edgekube.client.api import Change, Key
from edgekube.client.patches import merge_patch
from edgekube.controllers.framework import Context, Watch
from edgekube.controllers.history import HASH_LABEL, History
from edgekube.controllers.owners import (
    claim,
    index_by_controller,
    is_available,
    is_ready,
    owned_by,
    owner_keys,
    pod_from_template,
    ready_since,
)
from edgekube.types.apps_v1 import ControllerRevision, DaemonSet, DaemonSetStatus
from edgekube.types.core_v1 import (
    Affinity,
    Node,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    Pod,
    Toleration,
)
from edgekube.types.intstr import scaled
from edgekube.types.placement import NO_EXECUTE, NO_SCHEDULE, node_fits_affinity, untolerated
from edgekube.types.status import ApiError

API_VERSION, KIND = "apps/v1", "DaemonSet"

# A daemon runs on nodes in trouble too (daemonset util.AddOrUpdateDaemonPodTolerations).
TOLERATIONS = (
    Toleration(key="node.kubernetes.io/not-ready", operator="Exists", effect=NO_EXECUTE),
    Toleration(key="node.kubernetes.io/unreachable", operator="Exists", effect=NO_EXECUTE),
    Toleration(key="node.kubernetes.io/disk-pressure", operator="Exists", effect=NO_SCHEDULE),
    Toleration(key="node.kubernetes.io/memory-pressure", operator="Exists", effect=NO_SCHEDULE),
    Toleration(key="node.kubernetes.io/pid-pressure", operator="Exists", effect=NO_SCHEDULE),
    Toleration(key="node.kubernetes.io/unschedulable", operator="Exists", effect=NO_SCHEDULE),
)
NETWORK_TOLERATION = Toleration(key="node.kubernetes.io/network-unavailable", operator="Exists", effect=NO_SCHEDULE)


class DaemonSetController:
    name = "daemonset-controller"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._sets = context.informer(DaemonSet)
        self._pods = context.informer(Pod)
        self._nodes = context.informer(Node)
        index_by_controller(self._pods)
        self._history = History(context.client, context.informer(ControllerRevision), API_VERSION, KIND)

    def watches(self) -> Sequence[Watch]:
        return (Watch(DaemonSet), Watch(Pod, owner_keys(KIND)), Watch(Node, self._keys_of_node))

    def _keys_of_node(self, change: Change[Node]) -> list[Key]:
        """All sets, when a node came, went, or changed in what decides who may run on it."""
        old, new = change.old, change.new
        if old is not None and new is not None:
            same = (old.spec.taints, old.spec.unschedulable, old.metadata.labels) == (
                new.spec.taints,
                new.spec.unschedulable,
                new.metadata.labels,
            )
            if same:
                return []
        return [(ds.metadata.namespace, ds.metadata.name) for ds in self._sets.list()]

    async def reconcile(self, key: Key) -> float | None:
        ds = self._sets.get(*key)
        if ds is None:
            return None
        client = self._context.client
        pods = await claim(client, Pod, self._pods, ds, API_VERSION, KIND, ds.spec.selector)
        if ds.metadata.deletionTimestamp:
            return None
        revisions = await self._history.of(ds, ds.spec.selector)
        update, collisions = await self._history.current(ds, ds.spec.template, revisions, ds.status.collisionCount)
        if update is None:
            await self._patch_status(ds, msgspec.structs.replace(ds.status, collisionCount=collisions))
            return 0.05
        digest = update.metadata.labels[HASH_LABEL]
        now = self._context.now().timestamp()
        by_node = group_by_node(pods)
        create, remove = self._plan(ds, by_node)
        if ds.spec.updateStrategy.type != "OnDelete":
            more_create, more_remove = roll(ds, by_node, self._wanted(ds), digest, now)
            create += [n for n in more_create if n not in create]
            remove += [p for p in more_remove if p not in remove]
        failure: ApiError | None = None
        try:
            await self._apply(ds, digest, create, remove)
        except ApiError as error:
            failure = error
        fresh = self._sets.get(*key)
        if fresh is None:
            return None
        held = group_by_node(owned_by(self._pods, ds.metadata.uid))
        status = set_status(
            fresh, held, self._wanted(fresh), {n.metadata.name for n in self._nodes.list()}, digest, now
        )
        if status != fresh.status:
            await self._patch_status(fresh, status)
        if failure is not None:
            raise failure
        in_use = {r.metadata.name for r in revisions if r.metadata.labels.get(HASH_LABEL) in _hashes(held)}
        await self._history.trim(revisions, in_use | {update.metadata.name}, ds.spec.revisionHistoryLimit)
        waits = [
            since + ds.spec.minReadySeconds - now
            for found in held.values()
            for p in found
            if ds.spec.minReadySeconds
            and (since := ready_since(p)) is not None
            and since + ds.spec.minReadySeconds > now
        ]
        return min(waits) + 0.01 if waits else None

    def _wanted(self, ds: DaemonSet) -> set[str]:
        """Names of the nodes that should run the daemon."""
        return {n.metadata.name for n in self._nodes.list() if verdict(ds, n)[0]}

    def _plan(self, ds: DaemonSet, by_node: Mapping[str, Sequence[Pod]]) -> tuple[list[str], list[Pod]]:
        """Nodes that lack their daemon; pods that are too many, finished, or where none should be."""
        create: list[str] = []
        remove: list[Pod] = []
        for node in self._nodes.list():
            should_run, should_continue = verdict(ds, node)
            pods = by_node.get(node.metadata.name, ())
            living = [p for p in pods if p.status.phase not in ("Failed", "Succeeded")]
            if should_run:
                remove += [p for p in pods if p not in living and not p.metadata.deletionTimestamp]
                if not pods:
                    create.append(node.metadata.name)
            elif not should_continue:
                remove += [p for p in pods if not p.metadata.deletionTimestamp]
        known = {n.metadata.name for n in self._nodes.list()}
        for name, pods in by_node.items():
            if name not in known:
                remove += [p for p in pods if not p.metadata.deletionTimestamp]
        return create, remove

    async def _apply(self, ds: DaemonSet, digest: str, create: Sequence[str], remove: Sequence[Pod]) -> None:
        client, events = self._context.client, self._context.events
        for pod in remove:
            meta = pod.metadata
            if pod.status.phase == "Failed":
                where = f"{meta.namespace}/{meta.name} on node {pod.spec.nodeName}"
                words = f"Found failed daemon pod {where}, will try to kill it"
                events.event(ds, "Warning", "FailedDaemonPod", words)
            await client.delete(Pod, meta.name, meta.namespace, uid=meta.uid)
            events.event(ds, "Normal", "SuccessfulDelete", f"Deleted pod: {meta.name}")
        for node in create:
            try:
                pod = await client.create(daemon_pod(ds, node, digest))
            except ApiError as error:
                events.event(ds, "Warning", "FailedCreate", f"Error creating: {error}")
                raise
            events.event(ds, "Normal", "SuccessfulCreate", f"Created pod: {pod.metadata.name}")

    async def _patch_status(self, ds: DaemonSet, status: DaemonSetStatus) -> None:
        meta = ds.metadata
        patch = {"metadata": {"uid": meta.uid}, "status": merge_patch(ds.status, status)}
        await self._context.client.patch(DaemonSet, meta.name, meta.namespace, patch=patch, subresource="status")


def target_node(pod: Pod) -> str:
    """The node a daemon pod runs on, or is meant for while it is not bound."""
    if pod.spec.nodeName:
        return pod.spec.nodeName
    affinity = pod.spec.affinity.nodeAffinity if pod.spec.affinity is not None else None
    required = affinity.requiredDuringSchedulingIgnoredDuringExecution if affinity is not None else None
    for term in required.nodeSelectorTerms if required is not None else ():
        for field in term.matchFields:
            if field.key == "metadata.name" and field.values:
                return field.values[0]
    return ""


def group_by_node(pods: Sequence[Pod]) -> dict[str, list[Pod]]:
    result: dict[str, list[Pod]] = {}
    for pod in sorted(pods, key=lambda p: (p.metadata.creationTimestamp, p.metadata.name)):
        result.setdefault(target_node(pod), []).append(pod)
    return result


def _hashes(by_node: Mapping[str, Sequence[Pod]]) -> set[str]:
    return {p.metadata.labels.get(HASH_LABEL, "") for pods in by_node.values() for p in pods}


def daemon_pod(ds: DaemonSet, node: str, digest: str) -> Pod:
    """The pod for one node: bound to it by a node affinity on its name, so that the scheduler still has its say."""
    pod = pod_from_template(ds, API_VERSION, KIND, ds.spec.template)
    requirement = NodeSelectorRequirement(key="metadata.name", operator="In", values=(node,))
    affinity = pod.spec.affinity or Affinity()
    node_affinity = affinity.nodeAffinity or NodeAffinity()
    required = node_affinity.requiredDuringSchedulingIgnoredDuringExecution
    terms = required.nodeSelectorTerms if required is not None else ()
    pinned = tuple(msgspec.structs.replace(t, matchFields=(requirement,)) for t in terms) or (
        NodeSelectorTerm(matchFields=(requirement,)),
    )
    node_affinity = msgspec.structs.replace(
        node_affinity, requiredDuringSchedulingIgnoredDuringExecution=NodeSelector(nodeSelectorTerms=pinned)
    )
    extra = (*TOLERATIONS, NETWORK_TOLERATION) if pod.spec.hostNetwork else TOLERATIONS
    tolerations = (*pod.spec.tolerations, *(t for t in extra if t not in pod.spec.tolerations))
    return msgspec.structs.replace(
        pod,
        metadata=msgspec.structs.replace(pod.metadata, labels={**pod.metadata.labels, HASH_LABEL: digest}),
        spec=msgspec.structs.replace(
            pod.spec,
            affinity=msgspec.structs.replace(affinity, nodeAffinity=node_affinity),
            tolerations=tolerations,
        ),
    )


def verdict(ds: DaemonSet, node: Node) -> tuple[bool, bool]:
    """(should run, should go on running) on a node: a new NoSchedule taint keeps what runs (NodeShouldRunDaemonPod)."""
    pod = daemon_pod(ds, node.metadata.name, "")
    if ds.spec.template.spec.nodeName and ds.spec.template.spec.nodeName != node.metadata.name:
        return False, False
    if not node_fits_affinity(pod, node):
        return False, False
    if untolerated(node.spec.taints, pod.spec.tolerations, (NO_EXECUTE,)) is not None:
        return False, False
    if untolerated(node.spec.taints, pod.spec.tolerations, (NO_SCHEDULE,)) is not None:
        return False, True
    return True, True


def roll(
    ds: DaemonSet, by_node: Mapping[str, Sequence[Pod]], wanted: set[str], digest: str, now: float
) -> tuple[list[str], list[Pod]]:
    """One step of a rolling update: with maxSurge new pods come first, else old ones go first."""
    rolling = ds.spec.updateStrategy.rollingUpdate
    surge_raw = rolling.maxSurge if rolling is not None else None
    unavailable_raw = rolling.maxUnavailable if rolling is not None else None
    surge = scaled(surge_raw, len(wanted), round_up=True) if surge_raw is not None else 0
    unavailable_max = scaled(unavailable_raw if unavailable_raw is not None else 1, len(wanted), round_up=True)
    if surge == 0 and unavailable_max == 0:
        unavailable_max = 1
    create: list[str] = []
    remove: list[Pod] = []
    unavailable = 0
    outdated: list[Pod] = []
    for node in sorted(wanted):
        pods = by_node.get(node, ())
        new = [p for p in pods if p.metadata.labels.get(HASH_LABEL) == digest]
        old = [p for p in pods if p.metadata.labels.get(HASH_LABEL) != digest]
        new_available = any(is_available(p, ds.spec.minReadySeconds, now) for p in new)
        old_living = [p for p in old if not p.metadata.deletionTimestamp]
        if surge:
            if not old:
                continue
            if new_available or not any(is_available(p, ds.spec.minReadySeconds, now) for p in old_living):
                remove += old_living
            if not new and len(create) < surge:
                create.append(node)
            continue
        if not any(is_available(p, ds.spec.minReadySeconds, now) and not p.metadata.deletionTimestamp for p in pods):
            unavailable += 1
            remove += old_living  # serves nobody: no reason to wait
        else:
            outdated += old_living
    room = unavailable_max - unavailable
    if not surge and room > 0:
        remove += outdated[:room]
    return create, remove


def set_status(
    ds: DaemonSet,
    by_node: Mapping[str, Sequence[Pod]],
    wanted: set[str],
    known: set[str],
    digest: str,
    now: float,
) -> DaemonSetStatus:
    """Counts by node: of several pods the oldest speaks, but an available or updated one counts."""
    scheduled = ready = available = updated = misscheduled = 0
    for node in known:
        pods = by_node.get(node, ())
        if node not in wanted:
            misscheduled += bool(pods)
            continue
        if not pods:
            continue
        scheduled += 1
        ready += any(is_ready(p) for p in pods)
        available += any(is_available(p, ds.spec.minReadySeconds, now) for p in pods)
        updated += any(p.metadata.labels.get(HASH_LABEL) == digest for p in pods)
    return msgspec.structs.replace(
        ds.status,
        currentNumberScheduled=scheduled,
        desiredNumberScheduled=len(wanted),
        numberMisscheduled=misscheduled,
        numberReady=ready,
        numberAvailable=available,
        numberUnavailable=len(wanted) - available,
        updatedNumberScheduled=updated,
        observedGeneration=ds.metadata.generation,
    )
