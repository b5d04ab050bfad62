"""core/v1, a module for each family of kinds; a class is made when first asked for.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .affinity import Affinity as Affinity
    from .affinity import NodeAffinity as NodeAffinity
    from .affinity import PodAffinity as PodAffinity
    from .affinity import PodAffinityTerm as PodAffinityTerm
    from .affinity import PodAntiAffinity as PodAntiAffinity
    from .affinity import PreferredSchedulingTerm as PreferredSchedulingTerm
    from .affinity import WeightedPodAffinityTerm as WeightedPodAffinityTerm
    from .binding import Binding as Binding
    from .component_status import ComponentCondition as ComponentCondition
    from .component_status import ComponentStatus as ComponentStatus
    from .component_status import ComponentStatusList as ComponentStatusList
    from .config_map import ConfigMap as ConfigMap
    from .config_map import ConfigMapList as ConfigMapList
    from .container import Container as Container
    from .container import ContainerPort as ContainerPort
    from .container import ContainerResizePolicy as ContainerResizePolicy
    from .container import ContainerRestartRule as ContainerRestartRule
    from .container import ContainerRestartRuleOnExitCodes as ContainerRestartRuleOnExitCodes
    from .container import EphemeralContainer as EphemeralContainer
    from .container import VolumeDevice as VolumeDevice
    from .container import VolumeMount as VolumeMount
    from .container_status import ContainerState as ContainerState
    from .container_status import ContainerStateRunning as ContainerStateRunning
    from .container_status import ContainerStateTerminated as ContainerStateTerminated
    from .container_status import ContainerStateWaiting as ContainerStateWaiting
    from .container_status import ContainerStatus as ContainerStatus
    from .container_status import ContainerUser as ContainerUser
    from .container_status import ImageVolumeStatus as ImageVolumeStatus
    from .container_status import LinuxContainerUser as LinuxContainerUser
    from .container_status import ResourceHealth as ResourceHealth
    from .container_status import ResourceStatus as ResourceStatus
    from .container_status import VolumeMountStatus as VolumeMountStatus
    from .container_status import VolumeStatus as VolumeStatus
    from .endpoints import EndpointAddress as EndpointAddress
    from .endpoints import EndpointPort as EndpointPort
    from .endpoints import Endpoints as Endpoints
    from .endpoints import EndpointsList as EndpointsList
    from .endpoints import EndpointSubset as EndpointSubset
    from .env import ConfigMapEnvSource as ConfigMapEnvSource
    from .env import ConfigMapKeySelector as ConfigMapKeySelector
    from .env import EnvFromSource as EnvFromSource
    from .env import EnvVar as EnvVar
    from .env import EnvVarSource as EnvVarSource
    from .env import FileKeySelector as FileKeySelector
    from .env import ObjectFieldSelector as ObjectFieldSelector
    from .env import ResourceFieldSelector as ResourceFieldSelector
    from .env import SecretEnvSource as SecretEnvSource
    from .env import SecretKeySelector as SecretKeySelector
    from .event import Event as Event
    from .event import EventList as EventList
    from .event import EventSeries as EventSeries
    from .event import EventSource as EventSource
    from .limit_range import LimitRange as LimitRange
    from .limit_range import LimitRangeItem as LimitRangeItem
    from .limit_range import LimitRangeList as LimitRangeList
    from .limit_range import LimitRangeSpec as LimitRangeSpec
    from .namespace import Namespace as Namespace
    from .namespace import NamespaceCondition as NamespaceCondition
    from .namespace import NamespaceList as NamespaceList
    from .namespace import NamespaceSpec as NamespaceSpec
    from .namespace import NamespaceStatus as NamespaceStatus
    from .node import AttachedVolume as AttachedVolume
    from .node import ConfigMapNodeConfigSource as ConfigMapNodeConfigSource
    from .node import ContainerImage as ContainerImage
    from .node import DaemonEndpoint as DaemonEndpoint
    from .node import Node as Node
    from .node import NodeAddress as NodeAddress
    from .node import NodeCondition as NodeCondition
    from .node import NodeConfigSource as NodeConfigSource
    from .node import NodeConfigStatus as NodeConfigStatus
    from .node import NodeDaemonEndpoints as NodeDaemonEndpoints
    from .node import NodeFeatures as NodeFeatures
    from .node import NodeList as NodeList
    from .node import NodeRuntimeHandler as NodeRuntimeHandler
    from .node import NodeRuntimeHandlerFeatures as NodeRuntimeHandlerFeatures
    from .node import NodeSpec as NodeSpec
    from .node import NodeStatus as NodeStatus
    from .node import NodeSwapStatus as NodeSwapStatus
    from .node import NodeSystemInfo as NodeSystemInfo
    from .node_selector import NodeSelector as NodeSelector
    from .node_selector import NodeSelectorRequirement as NodeSelectorRequirement
    from .node_selector import NodeSelectorTerm as NodeSelectorTerm
    from .node_selector import TopologySelectorLabelRequirement as TopologySelectorLabelRequirement
    from .node_selector import TopologySelectorTerm as TopologySelectorTerm
    from .persistent_volume import AzureFilePersistentVolumeSource as AzureFilePersistentVolumeSource
    from .persistent_volume import CephFSPersistentVolumeSource as CephFSPersistentVolumeSource
    from .persistent_volume import CinderPersistentVolumeSource as CinderPersistentVolumeSource
    from .persistent_volume import CSIPersistentVolumeSource as CSIPersistentVolumeSource
    from .persistent_volume import FlexPersistentVolumeSource as FlexPersistentVolumeSource
    from .persistent_volume import GlusterfsPersistentVolumeSource as GlusterfsPersistentVolumeSource
    from .persistent_volume import ISCSIPersistentVolumeSource as ISCSIPersistentVolumeSource
    from .persistent_volume import LocalVolumeSource as LocalVolumeSource
    from .persistent_volume import PersistentVolume as PersistentVolume
    from .persistent_volume import PersistentVolumeList as PersistentVolumeList
    from .persistent_volume import PersistentVolumeSpec as PersistentVolumeSpec
    from .persistent_volume import PersistentVolumeStatus as PersistentVolumeStatus
    from .persistent_volume import RBDPersistentVolumeSource as RBDPersistentVolumeSource
    from .persistent_volume import ScaleIOPersistentVolumeSource as ScaleIOPersistentVolumeSource
    from .persistent_volume import StorageOSPersistentVolumeSource as StorageOSPersistentVolumeSource
    from .persistent_volume import VolumeNodeAffinity as VolumeNodeAffinity
    from .persistent_volume_claim import ModifyVolumeStatus as ModifyVolumeStatus
    from .persistent_volume_claim import PersistentVolumeClaim as PersistentVolumeClaim
    from .persistent_volume_claim import PersistentVolumeClaimCondition as PersistentVolumeClaimCondition
    from .persistent_volume_claim import PersistentVolumeClaimList as PersistentVolumeClaimList
    from .persistent_volume_claim import PersistentVolumeClaimSpec as PersistentVolumeClaimSpec
    from .persistent_volume_claim import PersistentVolumeClaimStatus as PersistentVolumeClaimStatus
    from .persistent_volume_claim import PersistentVolumeClaimTemplate as PersistentVolumeClaimTemplate
    from .pod import Pod as Pod
    from .pod import PodList as PodList
    from .pod_spec import HostAlias as HostAlias
    from .pod_spec import PodDNSConfig as PodDNSConfig
    from .pod_spec import PodDNSConfigOption as PodDNSConfigOption
    from .pod_spec import PodOS as PodOS
    from .pod_spec import PodReadinessGate as PodReadinessGate
    from .pod_spec import PodResourceClaim as PodResourceClaim
    from .pod_spec import PodSpec as PodSpec
    from .pod_spec import PodTemplateSpec as PodTemplateSpec
    from .pod_status import ContainerExtendedResourceRequest as ContainerExtendedResourceRequest
    from .pod_status import HostIP as HostIP
    from .pod_status import NodeAllocatableResourceClaimStatus as NodeAllocatableResourceClaimStatus
    from .pod_status import PodCondition as PodCondition
    from .pod_status import PodExtendedResourceClaimStatus as PodExtendedResourceClaimStatus
    from .pod_status import PodIP as PodIP
    from .pod_status import PodResourceClaimStatus as PodResourceClaimStatus
    from .pod_status import PodStatus as PodStatus
    from .pod_template import PodTemplate as PodTemplate
    from .pod_template import PodTemplateList as PodTemplateList
    from .probe import ExecAction as ExecAction
    from .probe import GRPCAction as GRPCAction
    from .probe import HTTPGetAction as HTTPGetAction
    from .probe import HTTPHeader as HTTPHeader
    from .probe import Lifecycle as Lifecycle
    from .probe import LifecycleHandler as LifecycleHandler
    from .probe import Probe as Probe
    from .probe import SleepAction as SleepAction
    from .probe import TCPSocketAction as TCPSocketAction
    from .reference import LocalObjectReference as LocalObjectReference
    from .reference import ObjectReference as ObjectReference
    from .reference import SecretReference as SecretReference
    from .reference import TypedLocalObjectReference as TypedLocalObjectReference
    from .reference import TypedObjectReference as TypedObjectReference
    from .replication_controller import ReplicationController as ReplicationController
    from .replication_controller import ReplicationControllerCondition as ReplicationControllerCondition
    from .replication_controller import ReplicationControllerList as ReplicationControllerList
    from .replication_controller import ReplicationControllerSpec as ReplicationControllerSpec
    from .replication_controller import ReplicationControllerStatus as ReplicationControllerStatus
    from .resource_quota import ResourceQuota as ResourceQuota
    from .resource_quota import ResourceQuotaList as ResourceQuotaList
    from .resource_quota import ResourceQuotaSpec as ResourceQuotaSpec
    from .resource_quota import ResourceQuotaStatus as ResourceQuotaStatus
    from .resource_quota import ScopedResourceSelectorRequirement as ScopedResourceSelectorRequirement
    from .resource_quota import ScopeSelector as ScopeSelector
    from .resources import ResourceClaim as ResourceClaim
    from .resources import ResourceRequirements as ResourceRequirements
    from .resources import VolumeResourceRequirements as VolumeResourceRequirements
    from .scheduling import PodSchedulingGate as PodSchedulingGate
    from .scheduling import PodSchedulingGroup as PodSchedulingGroup
    from .scheduling import Taint as Taint
    from .scheduling import Toleration as Toleration
    from .scheduling import TopologySpreadConstraint as TopologySpreadConstraint
    from .secret import Secret as Secret
    from .secret import SecretList as SecretList
    from .security import AppArmorProfile as AppArmorProfile
    from .security import Capabilities as Capabilities
    from .security import PodSecurityContext as PodSecurityContext
    from .security import SeccompProfile as SeccompProfile
    from .security import SecurityContext as SecurityContext
    from .security import SELinuxOptions as SELinuxOptions
    from .security import Sysctl as Sysctl
    from .security import WindowsSecurityContextOptions as WindowsSecurityContextOptions
    from .service import ClientIPConfig as ClientIPConfig
    from .service import LoadBalancerIngress as LoadBalancerIngress
    from .service import LoadBalancerStatus as LoadBalancerStatus
    from .service import PortStatus as PortStatus
    from .service import Service as Service
    from .service import ServiceList as ServiceList
    from .service import ServicePort as ServicePort
    from .service import ServiceSpec as ServiceSpec
    from .service import ServiceStatus as ServiceStatus
    from .service import SessionAffinityConfig as SessionAffinityConfig
    from .service_account import ServiceAccount as ServiceAccount
    from .service_account import ServiceAccountList as ServiceAccountList
    from .volume import ClusterTrustBundleProjection as ClusterTrustBundleProjection
    from .volume import ConfigMapProjection as ConfigMapProjection
    from .volume import ConfigMapVolumeSource as ConfigMapVolumeSource
    from .volume import DownwardAPIProjection as DownwardAPIProjection
    from .volume import DownwardAPIVolumeFile as DownwardAPIVolumeFile
    from .volume import DownwardAPIVolumeSource as DownwardAPIVolumeSource
    from .volume import EmptyDirVolumeSource as EmptyDirVolumeSource
    from .volume import EphemeralVolumeSource as EphemeralVolumeSource
    from .volume import ImageVolumeSource as ImageVolumeSource
    from .volume import KeyToPath as KeyToPath
    from .volume import PersistentVolumeClaimVolumeSource as PersistentVolumeClaimVolumeSource
    from .volume import PodCertificateProjection as PodCertificateProjection
    from .volume import ProjectedVolumeSource as ProjectedVolumeSource
    from .volume import SecretProjection as SecretProjection
    from .volume import SecretVolumeSource as SecretVolumeSource
    from .volume import ServiceAccountTokenProjection as ServiceAccountTokenProjection
    from .volume import Volume as Volume
    from .volume import VolumeProjection as VolumeProjection
    from .volume_source import AWSElasticBlockStoreVolumeSource as AWSElasticBlockStoreVolumeSource
    from .volume_source import AzureDiskVolumeSource as AzureDiskVolumeSource
    from .volume_source import AzureFileVolumeSource as AzureFileVolumeSource
    from .volume_source import CephFSVolumeSource as CephFSVolumeSource
    from .volume_source import CinderVolumeSource as CinderVolumeSource
    from .volume_source import CSIVolumeSource as CSIVolumeSource
    from .volume_source import FCVolumeSource as FCVolumeSource
    from .volume_source import FlexVolumeSource as FlexVolumeSource
    from .volume_source import FlockerVolumeSource as FlockerVolumeSource
    from .volume_source import GCEPersistentDiskVolumeSource as GCEPersistentDiskVolumeSource
    from .volume_source import GitRepoVolumeSource as GitRepoVolumeSource
    from .volume_source import GlusterfsVolumeSource as GlusterfsVolumeSource
    from .volume_source import HostPathVolumeSource as HostPathVolumeSource
    from .volume_source import ISCSIVolumeSource as ISCSIVolumeSource
    from .volume_source import NFSVolumeSource as NFSVolumeSource
    from .volume_source import PhotonPersistentDiskVolumeSource as PhotonPersistentDiskVolumeSource
    from .volume_source import PortworxVolumeSource as PortworxVolumeSource
    from .volume_source import QuobyteVolumeSource as QuobyteVolumeSource
    from .volume_source import RBDVolumeSource as RBDVolumeSource
    from .volume_source import ScaleIOVolumeSource as ScaleIOVolumeSource
    from .volume_source import StorageOSVolumeSource as StorageOSVolumeSource
    from .volume_source import VsphereVirtualDiskVolumeSource as VsphereVirtualDiskVolumeSource
else:
    from edgekube.types._lazy import lazy

    __getattr__ = lazy(
        __name__,
        {
            "affinity": (
                "Affinity NodeAffinity PodAffinity PodAffinityTerm PodAntiAffinity PreferredSchedulingTerm"
                " WeightedPodAffinityTerm"
            ),
            "binding": "Binding",
            "component_status": "ComponentCondition ComponentStatus ComponentStatusList",
            "config_map": "ConfigMap ConfigMapList",
            "container": (
                "Container ContainerPort ContainerResizePolicy ContainerRestartRule ContainerRestartRuleOnExitCodes"
                " EphemeralContainer VolumeDevice VolumeMount"
            ),
            "container_status": (
                "ContainerState ContainerStateRunning ContainerStateTerminated ContainerStateWaiting"
                " ContainerStatus ContainerUser ImageVolumeStatus LinuxContainerUser ResourceHealth ResourceStatus"
                " VolumeMountStatus VolumeStatus"
            ),
            "endpoints": "EndpointAddress EndpointPort EndpointSubset Endpoints EndpointsList",
            "env": (
                "ConfigMapEnvSource ConfigMapKeySelector EnvFromSource EnvVar EnvVarSource FileKeySelector"
                " ObjectFieldSelector ResourceFieldSelector SecretEnvSource SecretKeySelector"
            ),
            "event": "Event EventList EventSeries EventSource",
            "limit_range": "LimitRange LimitRangeItem LimitRangeList LimitRangeSpec",
            "namespace": "Namespace NamespaceCondition NamespaceList NamespaceSpec NamespaceStatus",
            "node": (
                "AttachedVolume ConfigMapNodeConfigSource ContainerImage DaemonEndpoint Node NodeAddress"
                " NodeCondition NodeConfigSource NodeConfigStatus NodeDaemonEndpoints NodeFeatures NodeList"
                " NodeRuntimeHandler NodeRuntimeHandlerFeatures NodeSpec NodeStatus NodeSwapStatus NodeSystemInfo"
            ),
            "node_selector": (
                "NodeSelector NodeSelectorRequirement NodeSelectorTerm TopologySelectorLabelRequirement"
                " TopologySelectorTerm"
            ),
            "persistent_volume": (
                "AzureFilePersistentVolumeSource CSIPersistentVolumeSource CephFSPersistentVolumeSource"
                " CinderPersistentVolumeSource FlexPersistentVolumeSource GlusterfsPersistentVolumeSource"
                " ISCSIPersistentVolumeSource LocalVolumeSource PersistentVolume PersistentVolumeList"
                " PersistentVolumeSpec PersistentVolumeStatus RBDPersistentVolumeSource"
                " ScaleIOPersistentVolumeSource StorageOSPersistentVolumeSource VolumeNodeAffinity"
            ),
            "persistent_volume_claim": (
                "ModifyVolumeStatus PersistentVolumeClaim PersistentVolumeClaimCondition PersistentVolumeClaimList"
                " PersistentVolumeClaimSpec PersistentVolumeClaimStatus PersistentVolumeClaimTemplate"
            ),
            "pod": "Pod PodList",
            "pod_spec": (
                "HostAlias PodDNSConfig PodDNSConfigOption PodOS PodReadinessGate PodResourceClaim PodSpec"
                " PodTemplateSpec"
            ),
            "pod_status": (
                "ContainerExtendedResourceRequest HostIP NodeAllocatableResourceClaimStatus PodCondition"
                " PodExtendedResourceClaimStatus PodIP PodResourceClaimStatus PodStatus"
            ),
            "pod_template": "PodTemplate PodTemplateList",
            "probe": (
                "ExecAction GRPCAction HTTPGetAction HTTPHeader Lifecycle LifecycleHandler Probe SleepAction"
                " TCPSocketAction"
            ),
            "reference": (
                "LocalObjectReference ObjectReference SecretReference TypedLocalObjectReference"
                " TypedObjectReference"
            ),
            "replication_controller": (
                "ReplicationController ReplicationControllerCondition ReplicationControllerList"
                " ReplicationControllerSpec ReplicationControllerStatus"
            ),
            "resource_quota": (
                "ResourceQuota ResourceQuotaList ResourceQuotaSpec ResourceQuotaStatus ScopeSelector"
                " ScopedResourceSelectorRequirement"
            ),
            "resources": "ResourceClaim ResourceRequirements VolumeResourceRequirements",
            "scheduling": "PodSchedulingGate PodSchedulingGroup Taint Toleration TopologySpreadConstraint",
            "secret": "Secret SecretList",
            "security": (
                "AppArmorProfile Capabilities PodSecurityContext SELinuxOptions SeccompProfile SecurityContext"
                " Sysctl WindowsSecurityContextOptions"
            ),
            "service": (
                "ClientIPConfig LoadBalancerIngress LoadBalancerStatus PortStatus Service ServiceList ServicePort"
                " ServiceSpec ServiceStatus SessionAffinityConfig"
            ),
            "service_account": "ServiceAccount ServiceAccountList",
            "volume": (
                "ClusterTrustBundleProjection ConfigMapProjection ConfigMapVolumeSource DownwardAPIProjection"
                " DownwardAPIVolumeFile DownwardAPIVolumeSource EmptyDirVolumeSource EphemeralVolumeSource"
                " ImageVolumeSource KeyToPath PersistentVolumeClaimVolumeSource PodCertificateProjection"
                " ProjectedVolumeSource SecretProjection SecretVolumeSource ServiceAccountTokenProjection Volume"
                " VolumeProjection"
            ),
            "volume_source": (
                "AWSElasticBlockStoreVolumeSource AzureDiskVolumeSource AzureFileVolumeSource CSIVolumeSource"
                " CephFSVolumeSource CinderVolumeSource FCVolumeSource FlexVolumeSource FlockerVolumeSource"
                " GCEPersistentDiskVolumeSource GitRepoVolumeSource GlusterfsVolumeSource HostPathVolumeSource"
                " ISCSIVolumeSource NFSVolumeSource PhotonPersistentDiskVolumeSource PortworxVolumeSource"
                " QuobyteVolumeSource RBDVolumeSource ScaleIOVolumeSource StorageOSVolumeSource"
                " VsphereVirtualDiskVolumeSource"
            ),
        },
    )
