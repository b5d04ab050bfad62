"""meta/v1: discovery.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Object, always


class GroupVersionForDiscovery(Object, frozen=True, kw_only=True):
    groupVersion: str = always("")
    version: str = always("")


class ServerAddressByClientCIDR(Object, frozen=True, kw_only=True):
    clientCIDR: str = always("")
    serverAddress: str = always("")


class APIResource(Object, frozen=True, kw_only=True):
    kind: str = always("")
    categories: tuple[str, ...] = ()
    group: str = ""
    name: str = always("")
    namespaced: bool = always(False)
    shortNames: tuple[str, ...] = ()
    singularName: str = always("")
    storageVersionHash: str = ""
    verbs: tuple[str, ...] = always(())
    version: str = ""


class GroupResource(Object, frozen=True, kw_only=True):
    group: str = always("")
    resource: str = always("")


class APIGroup(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    name: str = always("")
    preferredVersion: GroupVersionForDiscovery | None = None
    serverAddressByClientCIDRs: tuple[ServerAddressByClientCIDR, ...] = ()
    versions: tuple[GroupVersionForDiscovery, ...] = always(())


class APIVersions(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    serverAddressByClientCIDRs: tuple[ServerAddressByClientCIDR, ...] = always(())
    versions: tuple[str, ...] = always(())


class APIResourceList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    groupVersion: str = always("")
    resources: tuple[APIResource, ...] = always(())


class APIGroupList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    groups: tuple[APIGroup, ...] = always(())
