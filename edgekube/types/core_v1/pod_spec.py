"""core/v1: pod spec.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from collections.abc import Mapping

from edgekube.types._base import EMPTY, Int32, Int64, Object, Quantity, always
from edgekube.types.core_v1.affinity import Affinity
from edgekube.types.core_v1.container import Container, EphemeralContainer
from edgekube.types.core_v1.reference import LocalObjectReference
from edgekube.types.core_v1.resources import ResourceRequirements
from edgekube.types.core_v1.scheduling import (
    PodSchedulingGate,
    PodSchedulingGroup,
    Toleration,
    TopologySpreadConstraint,
)
from edgekube.types.core_v1.security import PodSecurityContext
from edgekube.types.core_v1.volume import Volume
from edgekube.types.meta_v1.object_meta import ObjectMeta


class HostAlias(Object, frozen=True, kw_only=True):
    hostnames: tuple[str, ...] = ()
    ip: str = always("")


class PodDNSConfigOption(Object, frozen=True, kw_only=True):
    name: str = ""
    value: str | None = None


class PodOS(Object, frozen=True, kw_only=True):
    name: str = always("")


class PodReadinessGate(Object, frozen=True, kw_only=True):
    conditionType: str = always("")


class PodResourceClaim(Object, frozen=True, kw_only=True):
    name: str = always("")
    resourceClaimName: str | None = None
    resourceClaimTemplateName: str | None = None


class PodDNSConfig(Object, frozen=True, kw_only=True):
    nameservers: tuple[str, ...] = ()
    options: tuple[PodDNSConfigOption, ...] = ()
    searches: tuple[str, ...] = ()


class PodSpec(Object, frozen=True, kw_only=True):
    activeDeadlineSeconds: Int64 | None = None
    affinity: Affinity | None = None
    automountServiceAccountToken: bool | None = None
    containers: tuple[Container, ...] = always(())
    dnsConfig: PodDNSConfig | None = None
    dnsPolicy: str = ""
    enableServiceLinks: bool | None = None
    ephemeralContainers: tuple[EphemeralContainer, ...] = ()
    hostAliases: tuple[HostAlias, ...] = ()
    hostIPC: bool = False
    hostNetwork: bool = False
    hostPID: bool = False
    hostUsers: bool | None = None
    hostname: str = ""
    hostnameOverride: str | None = None
    imagePullSecrets: tuple[LocalObjectReference, ...] = ()
    initContainers: tuple[Container, ...] = ()
    nodeName: str = ""
    nodeSelector: Mapping[str, str] = EMPTY
    os: PodOS | None = None
    overhead: Mapping[str, Quantity] = EMPTY
    preemptionPolicy: str = ""
    priority: Int32 | None = None
    priorityClassName: str = ""
    readinessGates: tuple[PodReadinessGate, ...] = ()
    resourceClaims: tuple[PodResourceClaim, ...] = ()
    resources: ResourceRequirements | None = None
    restartPolicy: str = ""
    runtimeClassName: str | None = None
    schedulerName: str = ""
    schedulingGates: tuple[PodSchedulingGate, ...] = ()
    schedulingGroup: PodSchedulingGroup | None = None
    securityContext: PodSecurityContext | None = None
    serviceAccount: str = ""
    serviceAccountName: str = ""
    setHostnameAsFQDN: bool | None = None
    shareProcessNamespace: bool | None = None
    subdomain: str = ""
    terminationGracePeriodSeconds: Int64 | None = None
    tolerations: tuple[Toleration, ...] = ()
    topologySpreadConstraints: tuple[TopologySpreadConstraint, ...] = ()
    volumes: tuple[Volume, ...] = ()


class PodTemplateSpec(Object, frozen=True, kw_only=True):
    metadata: ObjectMeta = always(ObjectMeta())
    spec: PodSpec = always(PodSpec())
