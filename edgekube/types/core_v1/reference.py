"""core/v1: reference.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Object, always


class LocalObjectReference(Object, frozen=True, kw_only=True):
    name: str = ""


class ObjectReference(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    fieldPath: str = ""
    name: str = ""
    namespace: str = ""
    resourceVersion: str = ""
    uid: str = ""


class SecretReference(Object, frozen=True, kw_only=True):
    name: str = ""
    namespace: str = ""


class TypedLocalObjectReference(Object, frozen=True, kw_only=True):
    kind: str = always("")
    apiGroup: str | None = None
    name: str = always("")


class TypedObjectReference(Object, frozen=True, kw_only=True):
    kind: str = always("")
    apiGroup: str | None = None
    name: str = always("")
    namespace: str | None = None
