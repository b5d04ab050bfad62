"""Which groups, versions and resources are served: the documents at /api, /apis and below, classic and aggregated.

Sources: meta/v1 APIGroupList, APIResourceList, APIVersions; apidiscovery.k8s.io/v2 (KEP-3352).
"""

from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Any, Final

import msgspec

AGGREGATED_TYPE: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class ServedSubresource(msgspec.Struct, frozen=True, kw_only=True):
    """`group`, `version` and `kind` are of what it exchanges (autoscaling/v1 Scale), empty when the parent's."""

    name: str
    kind: str
    verbs: Sequence[str]
    group: str = ""
    version: str = ""


class ServedResource(msgspec.Struct, frozen=True, kw_only=True):
    name: str  # plural
    singular: str
    kind: str
    namespaced: bool
    verbs: Sequence[str]
    short_names: Sequence[str] = ()
    categories: Sequence[str] = ()
    subresources: Sequence[ServedSubresource] = ()
    stored_as: str = ""  # "GROUP/VERSION/KIND" in the store, empty for what is not stored


class ServedVersion(msgspec.Struct, frozen=True):
    """One group-version; the first version of a group in a catalog is its preferred one."""

    group: str
    version: str
    resources: Sequence[ServedResource]


Catalog = Callable[[], Sequence[ServedVersion]]


class Discovery:
    """Answers from a catalog, which is asked each time: CRDs come and go."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def api_versions(self, server_address: str) -> bytes:
        """/api, classic."""
        return msgspec.json.encode(
            {
                "kind": "APIVersions",
                "versions": [entry.version for entry in self._catalog() if not entry.group],
                "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}],
            }
        )

    def group_list(self) -> bytes:
        """/apis, classic."""
        groups = [_group(name, versions) for name, versions in self._groups() if name]
        return msgspec.json.encode({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})

    def group(self, name: str) -> bytes | None:
        """/apis/GROUP, or None."""
        for group, versions in self._groups():
            if group == name and group:
                return msgspec.json.encode({"kind": "APIGroup", "apiVersion": "v1", **_group(group, versions)})
        return None

    def resource_list(self, group: str, version: str) -> bytes | None:
        """/api/VERSION and /apis/GROUP/VERSION, or None."""
        for entry in self._catalog():
            if entry.group == group and entry.version == version:
                return msgspec.json.encode(
                    {
                        "kind": "APIResourceList",
                        "apiVersion": "v1",
                        "groupVersion": _group_version(group, version),
                        "resources": [item for resource in entry.resources for item in _classic(resource)],
                    }
                )
        return None

    def aggregated(self, *, core: bool) -> tuple[bytes, str]:
        """/api (`core`) or /apis as one APIGroupDiscoveryList, and its ETag."""
        items = []
        for name, versions in self._groups():
            if (name == "") is not core:
                continue
            items.append(
                {
                    "metadata": {"name": name} if name else {},
                    "versions": [
                        {
                            "version": entry.version,
                            "resources": [_aggregated(entry, resource) for resource in entry.resources],
                            "freshness": "Current",
                        }
                        for entry in versions
                    ],
                }
            )
        document = {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": "apidiscovery.k8s.io/v2",
            "metadata": {},
            "items": items,
        }
        body = msgspec.json.encode(document)
        return body, f'"{sha256(body).hexdigest().upper()}"'

    def paths(self) -> list[str]:
        """What /api and /apis lead to, for the root document."""
        out = ["/api", "/apis"]
        for name, versions in self._groups():
            if name:
                out.append(f"/apis/{name}")
            out.extend(f"/apis/{name}/{entry.version}" if name else f"/api/{entry.version}" for entry in versions)
        return sorted(out)

    def _groups(self) -> Iterable[tuple[str, list[ServedVersion]]]:
        groups: dict[str, list[ServedVersion]] = {}
        for entry in self._catalog():
            groups.setdefault(entry.group, []).append(entry)
        return groups.items()


def _group_version(group: str, version: str) -> str:
    return f"{group}/{version}" if group else version


def _group(name: str, versions: list[ServedVersion]) -> dict[str, Any]:
    listed = [{"groupVersion": _group_version(name, entry.version), "version": entry.version} for entry in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _classic(resource: ServedResource) -> Iterable[dict[str, Any]]:
    main: dict[str, Any] = {
        "name": resource.name,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        main["shortNames"] = list(resource.short_names)
    if resource.categories:
        main["categories"] = list(resource.categories)
    if resource.stored_as:
        main["storageVersionHash"] = b64encode(sha256(resource.stored_as.encode()).digest()[:8]).decode()
    yield main
    for sub in resource.subresources:
        entry: dict[str, Any] = {
            "name": f"{resource.name}/{sub.name}",
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": sub.kind,
            "verbs": list(sub.verbs),
        }
        if sub.version:
            entry["group"] = sub.group
            entry["version"] = sub.version
        yield entry


def _aggregated(version: ServedVersion, resource: ServedResource) -> dict[str, Any]:
    out: dict[str, Any] = {
        "resource": resource.name,
        "responseKind": {"group": version.group, "version": version.version, "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        out["shortNames"] = list(resource.short_names)
    if resource.categories:
        out["categories"] = list(resource.categories)
    if resource.subresources:
        out["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": {
                    "group": sub.group if sub.version else version.group,
                    "version": sub.version or version.version,
                    "kind": sub.kind,
                },
                "verbs": list(sub.verbs),
            }
            for sub in resource.subresources
        ]
    return out
