"""Namespace deletion: everything in it goes, pods last, then the namespace (namespace-controller)."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from edgekube.client.api import Key
from edgekube.controllers.framework import Context, Watch
from edgekube.controllers.garbage import watched
from edgekube.types.core_v1 import Namespace, NamespaceCondition, Pod
from edgekube.types.registry import class_of
from edgekube.types.resources import Resource
from edgekube.types.status import ApiError
from edgekube.types.time import format_time

FINALIZER = "kubernetes"
RETRY_SECONDS = 1.0  # what is left ends by itself (pods stop, finalizers run): its end is not watched here


class NamespaceController:
    """Keyed by name. Conditions say what is still there, as upstream words it."""

    name = "namespace-controller"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._namespaces = context.informer(Namespace)

    def watches(self) -> Sequence[Watch]:
        return (Watch(Namespace),)

    async def reconcile(self, key: Key) -> float | None:
        namespace = self._namespaces.get(*key)
        if namespace is None or not namespace.metadata.deletionTimestamp:
            return None
        if FINALIZER not in namespace.spec.finalizers:
            return None
        left, failures = await self._delete_content(key[1])
        await self._report(namespace, left, failures)
        if left or failures:
            return RETRY_SECONDS
        current = self._namespaces.get(*key)
        if current is None:
            return None
        finalizers = tuple(f for f in current.spec.finalizers if f != FINALIZER)
        spec = msgspec.structs.replace(current.spec, finalizers=finalizers)
        try:
            await self._context.client.update(msgspec.structs.replace(current, spec=spec), subresource="finalize")
        except ApiError as error:
            if error.code != 404:
                raise
        return None

    async def _delete_content(self, namespace: str) -> tuple[dict[str, tuple[int, Counter[str]]], list[str]]:
        """Delete all objects; returns per resource how many are left with which finalizers, and what went wrong."""
        left: dict[str, tuple[int, Counter[str]]] = {}
        failures: list[str] = []
        for resource in watched():
            if not resource.namespaced:
                continue
            informer = self._context.client.partial(resource.group, resource.version, resource.plural)
            for obj in informer.list(namespace):
                if not obj.metadata.deletionTimestamp:
                    try:
                        await self._delete(resource, namespace, obj.metadata.name)
                    except ApiError as error:
                        if error.code != 404:
                            failures.append(str(error))
            remaining = informer.list(namespace)
            if remaining:
                held = Counter(f for o in remaining for f in o.metadata.finalizers)
                left[f"{resource.plural}.{resource.group}"] = (len(remaining), held)
        return left, failures

    async def _delete(self, resource: Resource, namespace: str, name: str) -> None:
        cls: Any = Pod if resource.plural == "pods" else class_of(resource.group, resource.version, resource.kind)
        await self._context.client.delete(cls, name, namespace, propagation_policy="Background")

    async def _report(
        self, namespace: Namespace, left: dict[str, tuple[int, Counter[str]]], failures: Sequence[str]
    ) -> None:
        some = ", ".join(f"{name} has {count} resource instances" for name, (count, _) in sorted(left.items()))
        holding = sum((held for _, held in left.values()), Counter[str]())
        finalizers = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(holding.items()))
        rows = (
            (
                "NamespaceDeletionDiscoveryFailure",
                False,
                "ResourcesDiscovered",
                "All resources successfully discovered",
            ),
            (
                "NamespaceDeletionGroupVersionParsingFailure",
                False,
                "ParsedGroupVersions",
                "All legacy kube types successfully parsed",
            ),
            (
                "NamespaceDeletionContentFailure",
                bool(failures),
                "ContentDeletionFailed" if failures else "ContentDeleted",
                f"Failed to delete all resource types, {len(failures)} remaining: {'; '.join(failures)}"
                if failures
                else "All content successfully deleted, may be waiting on finalization",
            ),
            (
                "NamespaceContentRemaining",
                bool(left),
                "SomeResourcesRemain" if left else "ContentRemoved",
                f"Some resources are remaining: {some}" if left else "All content successfully removed",
            ),
            (
                "NamespaceFinalizersRemaining",
                bool(holding),
                "SomeFinalizersRemain" if holding else "ContentHasNoFinalizers",
                f"Some content in the namespace has finalizers remaining: {finalizers}"
                if holding
                else "All content-preserving finalizers finished",
            ),
        )
        now = format_time(self._context.now())
        old = {c.type: c for c in namespace.status.conditions}
        conditions = []
        for type_, status, reason, message in rows:
            before, text = old.get(type_), str(bool(status))
            since = before.lastTransitionTime if before is not None and before.status == text else now
            conditions.append(
                NamespaceCondition(type=type_, status=text, reason=reason, message=message, lastTransitionTime=since)
            )
        if tuple(conditions) == namespace.status.conditions or (not old and not left and not failures):
            return
        patch = {"status": {"conditions": [msgspec.to_builtins(c) for c in conditions]}}
        meta = namespace.metadata
        try:
            await self._context.client.patch(Namespace, meta.name, patch=patch, subresource="status")
        except ApiError as error:
            if error.code != 404:
                raise
