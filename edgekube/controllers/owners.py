"""What controllers that own objects share: owner references, adoption, pods from templates, pod states."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from edgekube.client.api import Change, Client, Informer, Key, KubeObject
from edgekube.types.core_v1 import Pod, PodTemplateSpec
from edgekube.types.integers import integer
from edgekube.types.meta_v1 import LabelSelector, ObjectMeta, OwnerReference
from edgekube.types.selectors import from_label_selector
from edgekube.types.status import ApiError
from edgekube.types.time import parse_time

T = TypeVar("T", bound=KubeObject)

CONTROLLER_INDEX = "controller-uid"
NAME_PREFIX_MAX = 58  # generateName leaves room for its five random characters below 63


def controller_of(obj: KubeObject) -> OwnerReference | None:
    """The owner that manages an object, if any."""
    return next((ref for ref in obj.metadata.ownerReferences if ref.controller), None)


def owner_reference(owner: KubeObject, api_version: str, kind: str) -> OwnerReference:
    meta = owner.metadata
    return OwnerReference(
        apiVersion=api_version, kind=kind, name=meta.name, uid=meta.uid, controller=True, blockOwnerDeletion=True
    )


def index_by_controller(informer: Informer[Any]) -> None:
    """Make `owned_by` quick."""

    def keys(obj: KubeObject) -> Iterable[str]:
        ref = controller_of(obj)
        return (ref.uid,) if ref is not None else (f"orphan/{obj.metadata.namespace}",)

    informer.add_index(CONTROLLER_INDEX, keys)


def owned_by(informer: Informer[T], uid: str) -> Sequence[T]:
    return informer.by_index(CONTROLLER_INDEX, uid)


def orphans(informer: Informer[T], namespace: str) -> Sequence[T]:
    return informer.by_index(CONTROLLER_INDEX, f"orphan/{namespace}")


def owner_keys(kind: str) -> Callable[[Change[Any]], Iterable[Key]]:
    """For a Watch on owned objects: the keys of owners of `kind`, before and after the change."""

    def keys(change: Change[Any]) -> Iterable[Key]:
        found = set()
        for obj in (change.old, change.new):
            if obj is None:
                continue
            ref = controller_of(obj)
            if ref is not None and ref.kind == kind:
                found.add((obj.metadata.namespace, ref.name))
        return found

    return keys


def member_keys(
    kind: str, owners: Informer[Any], selector_of: Callable[[Any], LabelSelector | None] = lambda o: o.spec.selector
) -> Callable[[Change[Any]], Iterable[Key]]:
    """As `owner_keys`; and for an orphan the keys of all owners that might adopt it."""
    of_owner = owner_keys(kind)

    def keys(change: Change[Any]) -> Iterable[Key]:
        found = set(of_owner(change))
        orphan = change.new
        if orphan is not None and orphan.metadata.labels and controller_of(orphan) is None:
            namespace = orphan.metadata.namespace
            for owner in owners.list(namespace):
                if from_label_selector(selector_of(owner)).matches(orphan.metadata.labels):
                    found.add((namespace, owner.metadata.name))
        return found

    return keys


async def claim(
    client: Client,
    cls: type[T],
    informer: Informer[T],
    owner: KubeObject,
    api_version: str,
    kind: str,
    selector: LabelSelector | None,
    *,
    adoptable: Callable[[T], bool] = lambda _obj: True,
) -> list[T]:
    """The objects an owner manages: adopts matching orphans, releases its own that no longer match.

    ControllerRefManager's rules: an owner being deleted adopts and releases nothing, and nothing that is being deleted
    is adopted. `adoptable` may ask for more than the labels.
    """
    matches = from_label_selector(selector).matches
    result: list[T] = []
    meta = owner.metadata
    for obj in owned_by(informer, meta.uid):
        if matches(obj.metadata.labels):
            result.append(obj)
        elif not meta.deletionTimestamp:
            refs = [msgspec.to_builtins(r) for r in obj.metadata.ownerReferences if r.uid != meta.uid]
            await _patch_quietly(client, cls, obj, {"ownerReferences": refs or None})
    if meta.deletionTimestamp:
        return result
    for obj in orphans(informer, meta.namespace):
        labels = obj.metadata.labels
        if not labels or obj.metadata.deletionTimestamp or not matches(labels) or not adoptable(obj):
            continue
        ref = msgspec.to_builtins(owner_reference(owner, api_version, kind))
        refs = [*(msgspec.to_builtins(r) for r in obj.metadata.ownerReferences), ref]
        # The version guards against another owner that adopts it at the same time.
        version = obj.metadata.resourceVersion
        adopted = await _patch_quietly(client, cls, obj, {"ownerReferences": refs, "resourceVersion": version})
        if adopted is not None:
            result.append(adopted)
    return result


async def _patch_quietly(client: Client, cls: type[T], obj: T, metadata: dict[str, Any]) -> T | None:
    meta = obj.metadata
    try:
        return await client.patch(cls, meta.name, meta.namespace, patch={"metadata": {"uid": meta.uid, **metadata}})
    except ApiError as error:
        if error.code in (404, 409, 422):
            return None  # gone, or another of the same name: nothing to claim
        raise


def pod_from_template(
    owner: KubeObject, api_version: str, kind: str, template: PodTemplateSpec, *, name: str = ""
) -> Pod:
    """A pod as its owner's template describes it, not yet created. Without `name` the server makes one."""
    meta = owner.metadata
    return Pod(
        apiVersion="v1",
        kind="Pod",
        metadata=ObjectMeta(
            name=name,
            generateName="" if name else f"{meta.name[:NAME_PREFIX_MAX]}-",
            namespace=meta.namespace,
            labels=template.metadata.labels,
            annotations=template.metadata.annotations,
            finalizers=template.metadata.finalizers,
            ownerReferences=(owner_reference(owner, api_version, kind),),
        ),
        spec=template.spec,
    )


def namespace_terminating(error: ApiError) -> bool:
    """Whether nothing can be created because the namespace is going: no failure of anybody's, and no event's worth."""
    details = error.status.details
    return details is not None and any(cause.reason == "NamespaceTerminating" for cause in details.causes)


def is_terminating(pod: Pod) -> bool:
    """On its way out, and not ended yet."""
    return bool(pod.metadata.deletionTimestamp) and pod.status.phase not in ("Succeeded", "Failed")


def is_active(pod: Pod) -> bool:
    """Neither finished nor being deleted."""
    return pod.status.phase not in ("Succeeded", "Failed") and not pod.metadata.deletionTimestamp


def is_ready(pod: Pod) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions)


def ready_since(pod: Pod) -> float | None:
    """When the pod last became ready (epoch seconds)."""
    for condition in pod.status.conditions:
        if condition.type == "Ready" and condition.status == "True":
            return parse_time(condition.lastTransitionTime)
    return None


def is_available(pod: Pod, min_ready_seconds: int, now: float) -> bool:
    """Ready for at least `min_ready_seconds`."""
    since = ready_since(pod)
    return since is not None and (min_ready_seconds == 0 or since + min_ready_seconds <= now)


def next_available(pods: Iterable[Pod], min_ready_seconds: int, now: float) -> float | None:
    """Seconds until the next ready pod counts as available; None when none is on its way."""
    if not min_ready_seconds:
        return None
    times = (since + min_ready_seconds for pod in pods if (since := ready_since(pod)) is not None)
    return min((at - now + 0.01 for at in times if at > now), default=None)


PHASE_ORDER = {"Pending": 0, "": 0, "Unknown": 1, "Running": 2}


def deletion_rank(pod: Pod, on_same_node: int) -> tuple[Any, ...]:
    """Sort key of who goes first when scaling down (client-go ActivePodsWithRanks).

    Unassigned before assigned, pending before running, unready before ready, lower deletion cost, more doubled up on a
    node, ready for less time, restarted more often, created later.
    """
    cost = integer(pod.metadata.annotations.get("controller.kubernetes.io/pod-deletion-cost", "")) or 0
    restarts = max((s.restartCount for s in pod.status.containerStatuses), default=0)
    return (
        bool(pod.spec.nodeName),
        PHASE_ORDER.get(pod.status.phase, 2),
        is_ready(pod),
        cost,
        -on_same_node,
        -(ready_since(pod) or 0.0),
        -restarts,
        -parse_time(pod.metadata.creationTimestamp),
    )
