"""What the published schema does not say and the generator must know.

The schema tells required from optional, not which Go fields are pointers. Pointers matter where "absent" and "zero"
differ, and for whether Go writes an empty struct. Entries are `Class.field`; a bare `.field` means every class.
"""

SCHEMA_VERSION = "1.36"

# module name -> definition prefix
PACKAGES: dict[str, str] = {
    "meta_v1": "io.k8s.apimachinery.pkg.apis.meta.v1.",
    "core_v1": "io.k8s.api.core.v1.",
    "apps_v1": "io.k8s.api.apps.v1.",
    "batch_v1": "io.k8s.api.batch.v1.",
    "autoscaling_v1": "io.k8s.api.autoscaling.v1.",
    "autoscaling_v2": "io.k8s.api.autoscaling.v2.",
    "networking_v1": "io.k8s.api.networking.v1.",
    "discovery_v1": "io.k8s.api.discovery.v1.",
    "policy_v1": "io.k8s.api.policy.v1.",
    "rbac_v1": "io.k8s.api.rbac.v1.",
    "storage_v1": "io.k8s.api.storage.v1.",
    "scheduling_v1": "io.k8s.api.scheduling.v1.",
    "node_v1": "io.k8s.api.node.v1.",
    "coordination_v1": "io.k8s.api.coordination.v1.",
    "events_v1": "io.k8s.api.events.v1.",
    "authentication_v1": "io.k8s.api.authentication.v1.",
    "authorization_v1": "io.k8s.api.authorization.v1.",
    "certificates_v1": "io.k8s.api.certificates.v1.",
    "admissionregistration_v1": "io.k8s.api.admissionregistration.v1.",
    "apiextensions_v1": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.",
    "apiregistration_v1": "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.",
    "flowcontrol_v1": "io.k8s.api.flowcontrol.v1.",
    "resource_v1": "io.k8s.api.resource.v1.",
}

# Groups with more classes than this become packages, so that one unused kind is not made because another is used.
ONE_MODULE_MAX = 16

# Definitions that are JSON scalars or unions, not objects: their Python spelling.
SCALARS: dict[str, str] = {
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": "Time",
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": "MicroTime",
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": "Raw",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Patch": "Raw",
    "io.k8s.apimachinery.pkg.runtime.RawExtension": "Raw",
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "Quantity",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "IntOrString",
    PACKAGES["apiextensions_v1"] + "JSON": "Any",
    PACKAGES["apiextensions_v1"] + "JSONSchemaPropsOrArray": "JSONSchemaProps | tuple[JSONSchemaProps, ...]",
    PACKAGES["apiextensions_v1"] + "JSONSchemaPropsOrBool": "JSONSchemaProps | bool",
    PACKAGES["apiextensions_v1"] + "JSONSchemaPropsOrStringArray": "JSONSchemaProps | tuple[str, ...]",
}


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


POINTER_BOOLS = _names(
    """
    .optional .immutable .suspend .started .runAsNonRoot .adminAccess
    JobSpec.manualSelector AzureDiskVolumeSource.readOnly CSIVolumeSource.readOnly
    NodeFeatures.supplementalGroupsPolicy NodeRuntimeHandlerFeatures.recursiveReadOnlyMounts
    NodeRuntimeHandlerFeatures.userNamespaces
    .automountServiceAccountToken PodSpec.enableServiceLinks PodSpec.hostUsers PodSpec.setHostnameAsFQDN
    PodSpec.shareProcessNamespace
    SecurityContext.allowPrivilegeEscalation SecurityContext.privileged SecurityContext.readOnlyRootFilesystem
    ServiceSpec.allocateLoadBalancerNodePorts WindowsSecurityContextOptions.hostProcess
    EndpointConditions.ready EndpointConditions.serving EndpointConditions.terminating
    Device.allNodes Device.allowMultipleAllocations Device.bindsToNode DeviceAttribute.bool
    ResourceSliceSpec.allNodes ResourceSliceSpec.perDeviceNodeSelection
    CSIDriverSpec.attachRequired CSIDriverSpec.podInfoOnMount CSIDriverSpec.preventPodSchedulingIfMissing
    CSIDriverSpec.requiresRepublish CSIDriverSpec.seLinuxMount CSIDriverSpec.serviceAccountTokenInSecrets
    CSIDriverSpec.storageCapacity StorageClass.allowVolumeExpansion
    JSONSchemaProps.x-kubernetes-preserve-unknown-fields ValidationRule.optionalOldSelf
    DeleteOptions.ignoreStoreReadErrorWithClusterBreakingPotential DeleteOptions.orphanDependents
    OwnerReference.blockOwnerDeletion OwnerReference.controller
    """
)

# Optional integers are pointers unless named here.
VALUE_INTS = _names(
    """
    .minReadySeconds .readyReplicas .availableReplicas .fullyLabeledReplicas .updatedReplicas .unavailableReplicas
    DaemonSetStatus.numberAvailable DaemonSetStatus.numberUnavailable DaemonSetStatus.updatedNumberScheduled
    DaemonSetStatus.observedGeneration DeploymentStatus.observedGeneration DeploymentStatus.replicas
    ReplicaSetStatus.observedGeneration StatefulSetStatus.observedGeneration StatefulSetStatus.currentReplicas
    StatefulSetOrdinals.start ReplicationControllerStatus.observedGeneration
    PodDisruptionBudgetStatus.observedGeneration
    ValidatingAdmissionPolicyStatus.observedGeneration Condition.observedGeneration PodCondition.observedGeneration
    PodStatus.observedGeneration CustomResourceDefinitionCondition.observedGeneration
    CustomResourceDefinitionStatus.observedGeneration HorizontalPodAutoscalerStatus.currentReplicas ScaleSpec.replicas
    JobStatus.active JobStatus.failed JobStatus.succeeded AWSElasticBlockStoreVolumeSource.partition
    GCEPersistentDiskVolumeSource.partition ContainerImage.sizeBytes ContainerPort.hostPort
    ContainerStateTerminated.signal Event.count EventSeries.count Event.deprecatedCount
    Probe.failureThreshold Probe.initialDelaySeconds Probe.periodSeconds Probe.successThreshold Probe.timeoutSeconds
    ServicePort.nodePort ServiceSpec.healthCheckNodePort FlowSchemaSpec.matchingPrecedence
    QueuingConfiguration.handSize QueuingConfiguration.queueLengthLimit QueuingConfiguration.queues
    ServiceBackendPort.number DeviceSubRequest.count ExactDeviceRequest.count CustomResourceColumnDefinition.priority
    ObjectMeta.generation Status.code StatusDetails.retryAfterSeconds
    """
)

# Pointer strings for which "" means something other than absent. Pointers to enumerations are plain: "" is never valid.
POINTER_STRINGS = _names(
    """
    WebhookClientConfig.url ServiceReference.path CronJobSpec.timeZone JobSpec.managedBy
    PodFailurePolicyOnExitCodesRequirement.containerName JobStatus.failedIndexes SuccessPolicyRule.succeededIndexes
    LeaseSpec.holderIdentity LeaseSpec.preferredHolder AzureFilePersistentVolumeSource.secretNamespace
    ClusterTrustBundleProjection.name ClusterTrustBundleProjection.signerName EndpointAddress.nodeName
    HostPathVolumeSource.type
    .appProtocol GRPCAction.service GlusterfsPersistentVolumeSource.endpointsNamespace
    ISCSIPersistentVolumeSource.initiatorName ISCSIVolumeSource.initiatorName LocalVolumeSource.fsType
    PersistentVolumeClaimSpec.storageClassName .volumeAttributesClassName
    PersistentVolumeClaimStatus.currentVolumeAttributesClassName PodDNSConfigOption.value
    PodResourceClaim.resourceClaimName PodResourceClaim.resourceClaimTemplateName
    PodResourceClaimStatus.resourceClaimName PodSpec.hostnameOverride PodSpec.runtimeClassName
    PodSchedulingGroup.podGroupName ServiceSpec.loadBalancerClass ServiceSpec.trafficDistribution
    TypedLocalObjectReference.apiGroup TypedObjectReference.apiGroup TypedObjectReference.namespace
    AppArmorProfile.localhostProfile SeccompProfile.localhostProfile
    WindowsSecurityContextOptions.gmsaCredentialSpec WindowsSecurityContextOptions.gmsaCredentialSpecName
    WindowsSecurityContextOptions.runAsUserName PortStatus.error IngressPortStatus.error
    Endpoint.hostname Endpoint.nodeName Endpoint.zone
    IngressClassParametersReference.apiGroup IngressClassParametersReference.namespace
    IngressClassParametersReference.scope IngressSpec.ingressClassName
    Device.nodeName DeviceAttribute.string DeviceAttribute.version DeviceClassSpec.extendedResourceName
    DeviceConstraint.distinctAttribute DeviceConstraint.matchAttribute .shareID
    NodeAllocatableResourceMapping.capacityKey
    ResourceSliceSpec.nodeName VolumeAttachmentSource.persistentVolumeName
    CustomResourceDefinitionVersion.deprecationWarning CustomResourceSubresourceScale.labelSelectorPath
    JSONSchemaProps.$ref JSONSchemaProps.x-kubernetes-list-type JSONSchemaProps.x-kubernetes-map-type
    Preconditions.resourceVersion Preconditions.uid
    """
)

# The discovery EndpointPort's name is a pointer, the core one is not: keyed by package.
POINTER_STRINGS_IN = {"discovery_v1": frozenset({"EndpointPort.name"})}

# Optional objects that Go holds by value: always written, `{}` when empty.
VALUE_STRUCTS = _names(
    """
    .metadata .spec .status Container.resources EphemeralContainer.resources PersistentVolumeClaimSpec.resources
    ContainerStatus.state ContainerStatus.lastState DaemonSetSpec.updateStrategy DeploymentSpec.strategy
    StatefulSetSpec.updateStrategy NodeStatus.daemonEndpoints NodeStatus.nodeInfo NodeDaemonEndpoints.kubeletEndpoint
    ServiceStatus.loadBalancer IngressStatus.loadBalancer Event.source Event.deprecatedSource Event.regarding
    IngressServiceBackend.port ReplicaSetSpec.template PodTemplate.template NetworkPolicySpec.podSelector
    CustomResourceDefinitionStatus.acceptedNames ResourceClaimSpec.devices AllocationResult.devices
    SelfSubjectReviewStatus.userInfo TokenReviewStatus.user
    """
)
# ... and of these, the ones whose zero value Go leaves out (`omitzero`).
OMITTED_STRUCTS = frozenset({"ResourceClaim.status"})
# ... and pointers that a bare name above would catch.
POINTER_OPTIONAL = frozenset({"CustomResourceSubresources.status"})

# Required objects that Go holds by pointer.
POINTER_STRUCTS = _names(
    """
    DaemonSetSpec.selector DeploymentSpec.selector ReplicaSetSpec.selector StatefulSetSpec.selector
    ScaleIOPersistentVolumeSource.secretRef ScaleIOVolumeSource.secretRef IPAddressSpec.parentRef
    """
)

# Optional in the schema, but written by Go whatever their value.
ALWAYS = _names(
    """
    PodDisruptionBudgetStatus.currentHealthy PodDisruptionBudgetStatus.desiredHealthy
    PodDisruptionBudgetStatus.disruptionsAllowed PodDisruptionBudgetStatus.expectedPods PriorityClass.value
    EndpointSlice.endpoints TokenRequestSpec.audiences TokenRequestStatus.token
    """
)

# By-value scalars that are optional in the schema.
VALUE_SCALARS = {"ResourceFieldSelector.divisor": '"0"', "ServicePort.targetPort": "0"}

CORE_MODULES: dict[str, str] = {
    "reference": "LocalObjectReference ObjectReference TypedLocalObjectReference TypedObjectReference SecretReference",
    "node_selector": "NodeSelector NodeSelectorTerm NodeSelectorRequirement TopologySelectorTerm"
    " TopologySelectorLabelRequirement",
    "affinity": "Affinity NodeAffinity PodAffinity PodAntiAffinity PodAffinityTerm WeightedPodAffinityTerm"
    " PreferredSchedulingTerm",
    "scheduling": "Taint Toleration TopologySpreadConstraint PodSchedulingGate PodSchedulingGroup",
    "security": "PodSecurityContext SecurityContext Capabilities SELinuxOptions SeccompProfile AppArmorProfile"
    " WindowsSecurityContextOptions Sysctl",
    "env": "EnvVar EnvVarSource EnvFromSource ConfigMapEnvSource ConfigMapKeySelector SecretEnvSource SecretKeySelector"
    " FileKeySelector ObjectFieldSelector ResourceFieldSelector",
    "probe": "Probe Lifecycle LifecycleHandler ExecAction GRPCAction HTTPGetAction HTTPHeader TCPSocketAction"
    " SleepAction",
    "resources": "ResourceRequirements ResourceClaim VolumeResourceRequirements",
    "container": "Container ContainerPort ContainerResizePolicy ContainerRestartRule ContainerRestartRuleOnExitCodes"
    " EphemeralContainer VolumeDevice VolumeMount",
    "container_status": "ContainerState ContainerStateRunning ContainerStateTerminated ContainerStateWaiting"
    " ContainerStatus ContainerUser LinuxContainerUser VolumeMountStatus VolumeStatus ImageVolumeStatus ResourceStatus"
    " ResourceHealth",
    "volume": "Volume EmptyDirVolumeSource ConfigMapVolumeSource SecretVolumeSource DownwardAPIVolumeSource"
    " DownwardAPIVolumeFile DownwardAPIProjection ProjectedVolumeSource VolumeProjection ConfigMapProjection"
    " SecretProjection ServiceAccountTokenProjection ClusterTrustBundleProjection PodCertificateProjection KeyToPath"
    " PersistentVolumeClaimVolumeSource EphemeralVolumeSource ImageVolumeSource",
    "volume_source": "AWSElasticBlockStoreVolumeSource AzureDiskVolumeSource AzureFileVolumeSource CephFSVolumeSource"
    " CinderVolumeSource CSIVolumeSource FCVolumeSource FlexVolumeSource FlockerVolumeSource"
    " GCEPersistentDiskVolumeSource GitRepoVolumeSource GlusterfsVolumeSource HostPathVolumeSource ISCSIVolumeSource"
    " NFSVolumeSource PhotonPersistentDiskVolumeSource PortworxVolumeSource QuobyteVolumeSource RBDVolumeSource"
    " ScaleIOVolumeSource StorageOSVolumeSource VsphereVirtualDiskVolumeSource",
    "persistent_volume": "PersistentVolume PersistentVolumeList PersistentVolumeSpec PersistentVolumeStatus"
    " AzureFilePersistentVolumeSource CephFSPersistentVolumeSource CinderPersistentVolumeSource"
    " CSIPersistentVolumeSource FlexPersistentVolumeSource GlusterfsPersistentVolumeSource ISCSIPersistentVolumeSource"
    " LocalVolumeSource RBDPersistentVolumeSource ScaleIOPersistentVolumeSource StorageOSPersistentVolumeSource"
    " VolumeNodeAffinity",
    "persistent_volume_claim": "PersistentVolumeClaim PersistentVolumeClaimCondition PersistentVolumeClaimList"
    " PersistentVolumeClaimSpec PersistentVolumeClaimStatus PersistentVolumeClaimTemplate ModifyVolumeStatus",
    "pod_spec": "PodSpec PodTemplateSpec HostAlias PodDNSConfig PodDNSConfigOption PodOS PodReadinessGate"
    " PodResourceClaim",
    "pod_status": "PodStatus PodCondition PodIP HostIP PodResourceClaimStatus PodExtendedResourceClaimStatus"
    " ContainerExtendedResourceRequest NodeAllocatableResourceClaimStatus",
    "pod": "Pod PodList",
    "pod_template": "PodTemplate PodTemplateList",
    "replication_controller": "ReplicationController ReplicationControllerCondition ReplicationControllerList"
    " ReplicationControllerSpec ReplicationControllerStatus",
    "node": "Node NodeAddress NodeCondition NodeConfigSource NodeConfigStatus NodeDaemonEndpoints NodeFeatures NodeList"
    " NodeRuntimeHandler NodeRuntimeHandlerFeatures NodeSpec NodeStatus NodeSwapStatus NodeSystemInfo AttachedVolume"
    " ContainerImage DaemonEndpoint ConfigMapNodeConfigSource",
    "service": "Service ServiceList ServicePort ServiceSpec ServiceStatus SessionAffinityConfig ClientIPConfig"
    " LoadBalancerIngress LoadBalancerStatus PortStatus",
    "endpoints": "Endpoints EndpointsList EndpointSubset EndpointAddress EndpointPort",
    "namespace": "Namespace NamespaceCondition NamespaceList NamespaceSpec NamespaceStatus",
    "config_map": "ConfigMap ConfigMapList",
    "secret": "Secret SecretList",
    "service_account": "ServiceAccount ServiceAccountList",
    "event": "Event EventList EventSeries EventSource",
    "limit_range": "LimitRange LimitRangeItem LimitRangeList LimitRangeSpec",
    "resource_quota": "ResourceQuota ResourceQuotaList ResourceQuotaSpec ResourceQuotaStatus ScopeSelector"
    " ScopedResourceSelectorRequirement",
    "component_status": "ComponentCondition ComponentStatus ComponentStatusList",
    "binding": "Binding",
}

META_MODULES: dict[str, str] = {
    "object_meta": "ObjectMeta OwnerReference ManagedFieldsEntry",
    "list_meta": "ListMeta ShardInfo",
    "label_selector": "LabelSelector LabelSelectorRequirement FieldSelectorRequirement",
    "condition": "Condition",
    "status": "Status StatusCause StatusDetails",
    "delete_options": "DeleteOptions Preconditions",
    "watch_event": "WatchEvent",
    "discovery": "APIGroup APIGroupList APIResource APIResourceList APIVersions GroupVersionForDiscovery"
    " ServerAddressByClientCIDR GroupResource",
}

# Hand-written modules beside generated ones, offered through the same package.
HAND_WRITTEN: dict[str, dict[str, str]] = {
    "meta_v1": {
        "table": "Table TableColumnDefinition TableRow TableRowCondition TableOptions PartialObjectMetadata"
        " PartialObjectMetadataList"
    },
}

MODULES: dict[str, dict[str, str]] = {"core_v1": CORE_MODULES, "meta_v1": META_MODULES}
