"""core/v1: env.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Object, Quantity, always


class ConfigMapEnvSource(Object, frozen=True, kw_only=True):
    name: str = ""
    optional: bool | None = None


class ConfigMapKeySelector(Object, frozen=True, kw_only=True):
    key: str = always("")
    name: str = ""
    optional: bool | None = None


class SecretEnvSource(Object, frozen=True, kw_only=True):
    name: str = ""
    optional: bool | None = None


class FileKeySelector(Object, frozen=True, kw_only=True):
    key: str = always("")
    optional: bool | None = None
    path: str = always("")
    volumeName: str = always("")


class ObjectFieldSelector(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    fieldPath: str = always("")


class ResourceFieldSelector(Object, frozen=True, kw_only=True):
    containerName: str = ""
    divisor: Quantity = always("0")
    resource: str = always("")


class SecretKeySelector(Object, frozen=True, kw_only=True):
    key: str = always("")
    name: str = ""
    optional: bool | None = None


class EnvFromSource(Object, frozen=True, kw_only=True):
    configMapRef: ConfigMapEnvSource | None = None
    prefix: str = ""
    secretRef: SecretEnvSource | None = None


class EnvVarSource(Object, frozen=True, kw_only=True):
    configMapKeyRef: ConfigMapKeySelector | None = None
    fieldRef: ObjectFieldSelector | None = None
    fileKeyRef: FileKeySelector | None = None
    resourceFieldRef: ResourceFieldSelector | None = None
    secretKeyRef: SecretKeySelector | None = None


class EnvVar(Object, frozen=True, kw_only=True):
    name: str = always("")
    value: str = ""
    valueFrom: EnvVarSource | None = None
