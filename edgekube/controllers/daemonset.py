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
    member_keys,
    namespace_terminating,
    next_available,
    owned_by,
    pod_from_template,
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


FAILURE_BACKOFF_SECONDS, FAILURE_BACKOFF_MAX_SECONDS = 1.0, 900.0
FAILURES_MAX = 10_000  # places remembered


class Step(msgspec.Struct, frozen=True):
    """What to do next: node names that get a pod, and pods that go."""

    create: list[str] = []
    remove: list[Pod] = []

    def joined(self, other: "Step") -> "Step":
        uids = {p.metadata.uid for p in self.remove}
        return Step(
            self.create + [n for n in other.create if n not in self.create],
            self.remove + [p for p in other.remove if p.metadata.uid not in uids],
        )


class DaemonSetController:
    name = "daemonset-controller"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._sets = context.informer(DaemonSet)
        self._pods = context.informer(Pod)
        self._nodes = context.informer(Node)
        self._failures: dict[tuple[str, str], tuple[float, float]] = {}  # (set, node) -> (delay, until)
        index_by_controller(self._pods)
        self._history = History(context.client, context.informer(ControllerRevision), API_VERSION, KIND, HASH_LABEL)

    def watches(self) -> Sequence[Watch]:
        return (Watch(DaemonSet), Watch(Pod, member_keys(KIND, self._sets)), Watch(Node, self._keys_of_node))

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
        verdicts = {n.metadata.name: verdict(ds, n) for n in self._nodes.list()}
        wanted = {name for name, (should_run, _) in verdicts.items() if should_run}
        by_node = group_by_node(pods)
        step = plan(ds, by_node, verdicts, digest, now)
        if ds.spec.updateStrategy.type != "OnDelete":
            step = step.joined(roll(ds, by_node, wanted, digest, now))
        step, again = self._hold_back(ds, step, now)
        failure: ApiError | None = None
        try:
            await self._apply(ds, digest, step)
        except ApiError as error:
            failure = error
        fresh = self._sets.get(*key)
        if fresh is None or fresh.metadata.uid != ds.metadata.uid:
            return None
        held = group_by_node(owned_by(self._pods, ds.metadata.uid))
        status = set_status(fresh, ds.metadata.generation, held, wanted, set(verdicts), digest, now)
        if status != fresh.status:
            await self._patch_status(fresh, status)
        if failure is not None:
            raise failure
        in_use = {r.metadata.name for r in revisions if r.metadata.labels.get(HASH_LABEL) in _hashes(held)}
        await self._history.trim(revisions, in_use | {update.metadata.name}, ds.spec.revisionHistoryLimit)
        ready = next_available((p for found in held.values() for p in found), ds.spec.minReadySeconds, now)
        return min((t for t in (ready, again) if t is not None), default=None)

    def _hold_back(self, ds: DaemonSet, step: "Step", now: float) -> tuple["Step", float | None]:
        """Failed pods are replaced at a growing distance: one that fails at once must not make a hot loop."""
        remove: list[Pod] = []
        again: float | None = None
        for pod in step.remove:
            place = (ds.metadata.uid, target_node(pod))
            delay, until = self._failures.get(place, (0.0, 0.0))
            if pod.status.phase != "Failed":
                remove.append(pod)
            elif now < until:
                again = min(again or until - now, until - now)
            else:
                calm = now > until + 2 * FAILURE_BACKOFF_MAX_SECONDS
                delay = FAILURE_BACKOFF_SECONDS if calm or not delay else min(2 * delay, FAILURE_BACKOFF_MAX_SECONDS)
                if len(self._failures) >= FAILURES_MAX:
                    self._failures.clear()
                self._failures[place] = (delay, now + delay)
                remove.append(pod)
        return msgspec.structs.replace(step, remove=remove), again

    async def _apply(self, ds: DaemonSet, digest: str, step: "Step") -> None:
        client, events = self._context.client, self._context.events
        for pod in step.remove:
            meta = pod.metadata
            where = f"{meta.namespace}/{meta.name} on node {target_node(pod)}"
            if pod.status.phase == "Failed":
                words = f"Found failed daemon pod {where}, will try to kill it"
                events.event(ds, "Warning", "FailedDaemonPod", words)
            elif pod.status.phase == "Succeeded":
                words = f"Found succeeded daemon pod {where}, will try to delete it"
                events.event(ds, "Normal", "SucceededDaemonPod", words)
            await client.delete(Pod, meta.name, meta.namespace, uid=meta.uid)
            events.event(ds, "Normal", "SuccessfulDelete", f"Deleted pod: {meta.name}")
        for node in step.create:
            try:
                pod = await client.create(daemon_pod(ds, node, digest))
            except ApiError as error:
                if namespace_terminating(error):
                    return
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
    """Oldest first; those that have ended and are being deleted are not there any more."""
    result: dict[str, list[Pod]] = {}
    pods = [p for p in pods if not (p.metadata.deletionTimestamp and p.status.phase in ("Succeeded", "Failed"))]
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


def limits(ds: DaemonSet, wanted: int) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) as numbers; both zero would never move, so one may then be unavailable."""
    rolling = ds.spec.updateStrategy.rollingUpdate
    surge_raw = rolling.maxSurge if rolling is not None else None
    unavailable_raw = rolling.maxUnavailable if rolling is not None else None
    surge = scaled(surge_raw, wanted, round_up=True) if surge_raw is not None else 0
    unavailable = scaled(unavailable_raw if unavailable_raw is not None else 1, wanted, round_up=True)
    return surge, unavailable if surge or unavailable else 1


def _surges(ds: DaemonSet) -> bool:
    return ds.spec.updateStrategy.type != "OnDelete" and limits(ds, 100)[0] > 0


def plan(
    ds: DaemonSet, by_node: Mapping[str, Sequence[Pod]], verdicts: Mapping[str, tuple[bool, bool]], digest: str,
    now: float,
) -> Step:  # fmt: skip
    """Nodes that lack their daemon; pods that are too many, finished, or where none should be (podsShouldBeOnNode)."""
    create: list[str] = []
    remove: list[Pod] = []
    for node in sorted(verdicts.keys() | by_node.keys()):
        should_run, should_continue = verdicts.get(node, (False, False))
        pods = by_node.get(node, ())
        if should_run and not pods:
            create.append(node)
        elif not should_continue:
            remove += [p for p in pods if not p.metadata.deletionTimestamp]
        else:
            standing = [p for p in pods if not p.metadata.deletionTimestamp]
            remove += [p for p in standing if p.status.phase in ("Failed", "Succeeded")]
            running = [p for p in standing if p.status.phase not in ("Failed", "Succeeded")]
            remove += _surplus(ds, running, digest, now)
    return Step(create, remove)


def _surplus(ds: DaemonSet, running: Sequence[Pod], digest: str, now: float) -> list[Pod]:
    """All but the oldest; while surging, one new pod beside an old one that still serves."""
    if len(running) <= 1:
        return []
    if not _surges(ds):
        return list(running[1:])
    new = next((p for p in running if p.metadata.labels.get(HASH_LABEL) == digest), None)
    old = next((p for p in running if p.metadata.labels.get(HASH_LABEL) != digest), None)
    keep = {p.metadata.uid for p in (new, old) if p is not None}
    if new is not None and old is not None:
        new_serves = is_available(new, ds.spec.minReadySeconds, now)
        if new_serves or not is_available(old, ds.spec.minReadySeconds, now):
            keep.discard(old.metadata.uid)
    return [p for p in running if p.metadata.uid not in keep]


def roll(ds: DaemonSet, by_node: Mapping[str, Sequence[Pod]], wanted: set[str], digest: str, now: float) -> Step:
    """One step of a rolling update: with maxSurge new pods come first, else old ones go first."""
    surge, unavailable_max = limits(ds, len(wanted))
    useless: list[Pod] = []  # old pods that serve nobody
    serving: list[Pod] = []  # old pods that do
    unavailable = surged = 0
    for node in sorted(wanted):
        standing = [p for p in by_node.get(node, ()) if not p.metadata.deletionTimestamp]
        old = [p for p in standing if p.metadata.labels.get(HASH_LABEL) != digest]
        if len(old) == 1 == len(standing):
            (useless, serving)[is_available(old[0], ds.spec.minReadySeconds, now)].append(old[0])
        elif old and surge:
            surged += 1
        elif not any(is_available(p, ds.spec.minReadySeconds, now) for p in standing):
            unavailable += 1
    if surge:
        return Step(create=[target_node(p) for p in (*useless, *serving[: max(0, surge - surged)])])
    room = max(0, unavailable_max - unavailable - len(useless))
    return Step(remove=[*useless, *serving[:room]])


def set_status(
    ds: DaemonSet,
    observed: int,
    by_node: Mapping[str, Sequence[Pod]],
    wanted: set[str],
    known: set[str],
    digest: str,
    now: float,
) -> DaemonSetStatus:
    """Counts by node; of several pods the oldest speaks. `observed` is the generation that was acted on."""
    scheduled = ready = available = updated = misscheduled = 0
    for node in known:
        pods = by_node.get(node, ())
        if node not in wanted:
            misscheduled += bool(pods)
        elif pods:
            scheduled += 1
            ready += is_ready(pods[0])
            available += is_available(pods[0], ds.spec.minReadySeconds, now)
            updated += pods[0].metadata.labels.get(HASH_LABEL) == digest
    return msgspec.structs.replace(
        ds.status,
        currentNumberScheduled=scheduled,
        desiredNumberScheduled=len(wanted),
        numberMisscheduled=misscheduled,
        numberReady=ready,
        numberAvailable=available,
        numberUnavailable=len(wanted) - available,
        updatedNumberScheduled=updated,
        observedGeneration=max(ds.status.observedGeneration, observed),
    )
