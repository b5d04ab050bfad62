"""Revisions of a pod template as ControllerRevision objects (controller/history), for StatefulSet and DaemonSet."""

from collections.abc import Sequence
from typing import Any

import msgspec

from edgekube.client.api import Client, Informer, KubeObject
from edgekube.controllers.owners import claim, index_by_controller, owner_reference
from edgekube.types.apps_v1 import ControllerRevision
from edgekube.types.core_v1 import PodTemplateSpec
from edgekube.types.hashing import hash_of
from edgekube.types.meta_v1 import LabelSelector, ObjectMeta
from edgekube.types.status import ApiError

HASH_LABEL = "controller-revision-hash"  # on pods; on revisions too, where DaemonSets are concerned
REVISION_HASH_LABEL = "controller.kubernetes.io/hash"
HISTORY_LIMIT_DEFAULT = 10


class _Data(msgspec.Struct, frozen=True):
    """What a revision holds: the patch that brings its template back, as kubectl rollout undo applies it."""

    spec: dict[str, Any]


def data_of(template: PodTemplateSpec) -> bytes:
    return msgspec.json.encode(
        _Data(spec={"template": {**msgspec.to_builtins(template), "$patch": "replace"}}), order="sorted"
    )


def template_of(revision: ControllerRevision) -> PodTemplateSpec:
    """The template a revision describes."""
    held = msgspec.json.decode(revision.data, type=_Data).spec["template"]
    return msgspec.convert({k: v for k, v in held.items() if k != "$patch"}, PodTemplateSpec)


class History:
    """The revisions of one controller's objects."""

    def __init__(
        self,
        client: Client,
        informer: Informer[ControllerRevision],
        api_version: str,
        kind: str,
        hash_label: str = REVISION_HASH_LABEL,
    ) -> None:
        self._client = client
        self._informer = informer
        self._api_version = api_version
        self._kind = kind
        self._hash_label = hash_label
        index_by_controller(informer)

    async def of(self, owner: KubeObject, selector: LabelSelector | None) -> list[ControllerRevision]:
        """All revisions of an owner, oldest first."""
        found = await claim(
            self._client, ControllerRevision, self._informer, owner, self._api_version, self._kind, selector
        )
        return sorted(found, key=lambda r: (r.revision, r.metadata.creationTimestamp, r.metadata.name))

    async def current(
        self,
        owner: KubeObject,
        template: PodTemplateSpec,
        revisions: list[ControllerRevision],
        collision_count: int | None,
    ) -> tuple[ControllerRevision | None, int | None]:
        """The newest revision, which is the template's; made, or renumbered after a rollback, when need be.

        Returns (None, next collision count) when its name is taken by other data: store the count and call again.
        `revisions` is kept up to date.
        """
        data = data_of(template)
        equal = [r for r in revisions if bytes(r.data) == data or template_of(r) == template]
        newest = revisions[-1] if revisions else None
        if equal:
            same = equal[-1]
            if newest is not None and same.metadata.uid != newest.metadata.uid:
                meta = same.metadata
                patch = {"revision": newest.revision + 1}
                renumbered = await self._client.patch(ControllerRevision, meta.name, meta.namespace, patch=patch)
                revisions.remove(same)
                revisions.append(renumbered)
                same = renumbered
            return same, collision_count
        digest = hash_of(template, collision_count)
        meta = owner.metadata
        revision = ControllerRevision(
            apiVersion="apps/v1",
            kind="ControllerRevision",
            metadata=ObjectMeta(
                name=f"{meta.name}-{digest}",
                namespace=meta.namespace,
                labels={**template.metadata.labels, self._hash_label: digest},
                annotations=meta.annotations,  # kubernetes.io/change-cause is what `rollout history` shows
                ownerReferences=(owner_reference(owner, self._api_version, self._kind),),
            ),
            data=msgspec.Raw(data),
            revision=newest.revision + 1 if newest is not None else 1,
        )
        try:
            created = await self._client.create(revision)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            return None, (collision_count or 0) + 1
        revisions.append(created)
        return created, collision_count

    async def trim(self, revisions: Sequence[ControllerRevision], in_use: set[str], limit: int | None) -> None:
        """Delete the oldest revisions that nothing uses, beyond the limit."""
        unused = [r for r in revisions if r.metadata.name not in in_use]
        keep = HISTORY_LIMIT_DEFAULT if limit is None else limit
        for revision in unused[: max(0, len(unused) - keep)]:
            meta = revision.metadata
            try:
                await self._client.delete(ControllerRevision, meta.name, meta.namespace, uid=meta.uid)
            except ApiError as error:
                if error.code != 404:
                    raise
