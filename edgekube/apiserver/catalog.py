"""The registry's resource table as discovery shows it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from edgekube.apiserver.discovery import ServedResource, ServedSubresource, ServedVersion


class SubresourceRow(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def group(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def verbs(self) -> Sequence[str]: ...


class ResourceRow(Protocol):
    """What this needs of `edgekube.apiserver.resources.Resource`."""

    @property
    def group(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def plural(self) -> str: ...
    @property
    def singular(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def namespaced(self) -> bool: ...
    @property
    def short_names(self) -> Sequence[str]: ...
    @property
    def categories(self) -> Sequence[str]: ...
    @property
    def verbs(self) -> Sequence[str]: ...
    @property
    def stored_name(self) -> str: ...
    @property
    def subresources(self) -> Mapping[str, SubresourceRow]: ...


def served_versions(rows: Iterable[ResourceRow]) -> list[ServedVersion]:
    """Group-versions in the order in which the rows name them first."""
    grouped: dict[tuple[str, str], list[ServedResource]] = {}
    for row in rows:
        subresources = []
        for sub in row.subresources.values():
            foreign = (sub.group, sub.version) != (row.group, row.version)
            subresources.append(
                ServedSubresource(
                    name=sub.name,
                    kind=sub.kind,
                    verbs=sub.verbs,
                    group=sub.group if foreign else "",
                    version=sub.version if foreign else "",
                )
            )
        grouped.setdefault((row.group, row.version), []).append(
            ServedResource(
                name=row.plural,
                singular=row.singular,
                kind=row.kind,
                namespaced=row.namespaced,
                verbs=row.verbs,
                short_names=row.short_names,
                categories=row.categories,
                subresources=subresources,
                stored_as=row.stored_name,
            )
        )
    return [ServedVersion(group, version, resources) for (group, version), resources in grouped.items()]
