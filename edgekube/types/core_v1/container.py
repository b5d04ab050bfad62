"""core/v1: container.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Int32, Object, always
from edgekube.types.core_v1.env import EnvFromSource, EnvVar
from edgekube.types.core_v1.probe import Lifecycle, Probe
from edgekube.types.core_v1.resources import ResourceRequirements
from edgekube.types.core_v1.security import SecurityContext


class ContainerPort(Object, frozen=True, kw_only=True):
    containerPort: Int32 = always(0)
    hostIP: str = ""
    hostPort: Int32 = 0
    name: str = ""
    protocol: str = ""


class ContainerResizePolicy(Object, frozen=True, kw_only=True):
    resourceName: str = always("")
    restartPolicy: str = always("")


class VolumeDevice(Object, frozen=True, kw_only=True):
    devicePath: str = always("")
    name: str = always("")


class VolumeMount(Object, frozen=True, kw_only=True):
    mountPath: str = always("")
    mountPropagation: str = ""
    name: str = always("")
    readOnly: bool = False
    recursiveReadOnly: str = ""
    subPath: str = ""
    subPathExpr: str = ""


class ContainerRestartRuleOnExitCodes(Object, frozen=True, kw_only=True):
    operator: str = always("")
    values: tuple[Int32, ...] = ()


class ContainerRestartRule(Object, frozen=True, kw_only=True):
    action: str = always("")
    exitCodes: ContainerRestartRuleOnExitCodes | None = None


class Container(Object, frozen=True, kw_only=True):
    args: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[EnvVar, ...] = ()
    envFrom: tuple[EnvFromSource, ...] = ()
    image: str = ""
    imagePullPolicy: str = ""
    lifecycle: Lifecycle | None = None
    livenessProbe: Probe | None = None
    name: str = always("")
    ports: tuple[ContainerPort, ...] = ()
    readinessProbe: Probe | None = None
    resizePolicy: tuple[ContainerResizePolicy, ...] = ()
    resources: ResourceRequirements = always(ResourceRequirements())
    restartPolicy: str = ""
    restartPolicyRules: tuple[ContainerRestartRule, ...] = ()
    securityContext: SecurityContext | None = None
    startupProbe: Probe | None = None
    stdin: bool = False
    stdinOnce: bool = False
    terminationMessagePath: str = ""
    terminationMessagePolicy: str = ""
    tty: bool = False
    volumeDevices: tuple[VolumeDevice, ...] = ()
    volumeMounts: tuple[VolumeMount, ...] = ()
    workingDir: str = ""


class EphemeralContainer(Object, frozen=True, kw_only=True):
    args: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[EnvVar, ...] = ()
    envFrom: tuple[EnvFromSource, ...] = ()
    image: str = ""
    imagePullPolicy: str = ""
    lifecycle: Lifecycle | None = None
    livenessProbe: Probe | None = None
    name: str = always("")
    ports: tuple[ContainerPort, ...] = ()
    readinessProbe: Probe | None = None
    resizePolicy: tuple[ContainerResizePolicy, ...] = ()
    resources: ResourceRequirements = always(ResourceRequirements())
    restartPolicy: str = ""
    restartPolicyRules: tuple[ContainerRestartRule, ...] = ()
    securityContext: SecurityContext | None = None
    startupProbe: Probe | None = None
    stdin: bool = False
    stdinOnce: bool = False
    targetContainerName: str = ""
    terminationMessagePath: str = ""
    terminationMessagePolicy: str = ""
    tty: bool = False
    volumeDevices: tuple[VolumeDevice, ...] = ()
    volumeMounts: tuple[VolumeMount, ...] = ()
    workingDir: str = ""
