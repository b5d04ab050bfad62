"""Which package holds the kinds of a group-version.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from typing import Final

KINDS: Final[dict[tuple[str, str], tuple[str, str]]] = {
    ("", "v1"): (
        "core_v1",
        "APIGroup=meta_v1 APIGroupList=meta_v1 APIResourceList=meta_v1 APIVersions=meta_v1 Binding ComponentStatus"
        " ComponentStatusList ConfigMap ConfigMapList DeleteOptions=meta_v1 Endpoints EndpointsList Event EventList"
        " LimitRange LimitRangeList Namespace NamespaceList Node NodeList PersistentVolume PersistentVolumeClaim"
        " PersistentVolumeClaimList PersistentVolumeList Pod PodList PodTemplate PodTemplateList ReplicationController"
        " ReplicationControllerList ResourceQuota ResourceQuotaList Secret SecretList Service ServiceAccount"
        " ServiceAccountList ServiceList Status=meta_v1 WatchEvent=meta_v1",
    ),
    ("admissionregistration.k8s.io", "v1"): (
        "admissionregistration_v1",
        "MutatingAdmissionPolicy MutatingAdmissionPolicyBinding MutatingAdmissionPolicyBindingList"
        " MutatingAdmissionPolicyList MutatingWebhookConfiguration MutatingWebhookConfigurationList"
        " ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding ValidatingAdmissionPolicyBindingList"
        " ValidatingAdmissionPolicyList ValidatingWebhookConfiguration ValidatingWebhookConfigurationList",
    ),
    ("apiextensions.k8s.io", "v1"): (
        "apiextensions_v1",
        "CustomResourceDefinition CustomResourceDefinitionList",
    ),
    ("apiregistration.k8s.io", "v1"): (
        "apiregistration_v1",
        "APIService APIServiceList",
    ),
    ("apps", "v1"): (
        "apps_v1",
        "ControllerRevision ControllerRevisionList DaemonSet DaemonSetList Deployment DeploymentList ReplicaSet"
        " ReplicaSetList StatefulSet StatefulSetList",
    ),
    ("authentication.k8s.io", "v1"): (
        "authentication_v1",
        "SelfSubjectReview TokenRequest TokenReview",
    ),
    ("authorization.k8s.io", "v1"): (
        "authorization_v1",
        "LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview",
    ),
    ("autoscaling", "v1"): (
        "autoscaling_v1",
        "HorizontalPodAutoscaler HorizontalPodAutoscalerList Scale",
    ),
    ("autoscaling", "v2"): (
        "autoscaling_v2",
        "HorizontalPodAutoscaler HorizontalPodAutoscalerList",
    ),
    ("batch", "v1"): (
        "batch_v1",
        "CronJob CronJobList Job JobList",
    ),
    ("certificates.k8s.io", "v1"): (
        "certificates_v1",
        "CertificateSigningRequest CertificateSigningRequestList",
    ),
    ("coordination.k8s.io", "v1"): (
        "coordination_v1",
        "Lease LeaseList",
    ),
    ("discovery.k8s.io", "v1"): (
        "discovery_v1",
        "EndpointSlice EndpointSliceList",
    ),
    ("events.k8s.io", "v1"): (
        "events_v1",
        "Event EventList",
    ),
    ("flowcontrol.apiserver.k8s.io", "v1"): (
        "flowcontrol_v1",
        "FlowSchema FlowSchemaList PriorityLevelConfiguration PriorityLevelConfigurationList",
    ),
    ("networking.k8s.io", "v1"): (
        "networking_v1",
        "IPAddress IPAddressList Ingress IngressClass IngressClassList IngressList NetworkPolicy NetworkPolicyList"
        " ServiceCIDR ServiceCIDRList",
    ),
    ("node.k8s.io", "v1"): (
        "node_v1",
        "RuntimeClass RuntimeClassList",
    ),
    ("policy", "v1"): (
        "policy_v1",
        "Eviction PodDisruptionBudget PodDisruptionBudgetList",
    ),
    ("rbac.authorization.k8s.io", "v1"): (
        "rbac_v1",
        "ClusterRole ClusterRoleBinding ClusterRoleBindingList ClusterRoleList Role RoleBinding RoleBindingList"
        " RoleList",
    ),
    ("resource.k8s.io", "v1"): (
        "resource_v1",
        "DeviceClass DeviceClassList ResourceClaim ResourceClaimList ResourceClaimTemplate ResourceClaimTemplateList"
        " ResourceSlice ResourceSliceList",
    ),
    ("scheduling.k8s.io", "v1"): (
        "scheduling_v1",
        "PriorityClass PriorityClassList",
    ),
    ("storage.k8s.io", "v1"): (
        "storage_v1",
        "CSIDriver CSIDriverList CSINode CSINodeList CSIStorageCapacity CSIStorageCapacityList StorageClass"
        " StorageClassList VolumeAttachment VolumeAttachmentList VolumeAttributesClass VolumeAttributesClassList",
    ),
}
