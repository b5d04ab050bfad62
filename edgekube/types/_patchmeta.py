"""How fields merge, for strategic merge patch and server-side apply.

A row is `field strategy key listType listMapKeys mapType`, `-` where there is nothing; a row whose field is `.`
speaks of the class itself. Lists without a row are atomic.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from typing import Final

ROWS: Final[dict[str, tuple[str, ...]]] = {
    "admissionregistration_v1.MatchResources": (
        ". - - - - atomic",
    ),
    "admissionregistration_v1.MutatingAdmissionPolicySpec": (
        "matchConditions merge name map name -",
    ),
    "admissionregistration_v1.MutatingWebhook": (
        "matchConditions merge name map name -",
    ),
    "admissionregistration_v1.MutatingWebhookConfiguration": (
        "webhooks merge name map name -",
    ),
    "admissionregistration_v1.NamedRuleWithOperations": (
        ". - - - - atomic",
    ),
    "admissionregistration_v1.ParamKind": (
        ". - - - - atomic",
    ),
    "admissionregistration_v1.ParamRef": (
        ". - - - - atomic",
    ),
    "admissionregistration_v1.ValidatingAdmissionPolicyBindingSpec": (
        "validationActions - - set - -",
    ),
    "admissionregistration_v1.ValidatingAdmissionPolicySpec": (
        "matchConditions merge name map name -",
        "variables merge name map name -",
    ),
    "admissionregistration_v1.ValidatingAdmissionPolicyStatus": (
        "conditions - - map type -",
    ),
    "admissionregistration_v1.ValidatingWebhook": (
        "matchConditions merge name map name -",
    ),
    "admissionregistration_v1.ValidatingWebhookConfiguration": (
        "webhooks merge name map name -",
    ),
    "admissionregistration_v1.Variable": (
        ". - - - - atomic",
    ),
    "apps_v1.DaemonSetStatus": (
        "conditions merge type map type -",
    ),
    "apps_v1.DeploymentSpec": (
        "strategy retainKeys - - - -",
    ),
    "apps_v1.DeploymentStatus": (
        "conditions merge type map type -",
    ),
    "apps_v1.ReplicaSetStatus": (
        "conditions merge type map type -",
    ),
    "apps_v1.StatefulSetStatus": (
        "conditions merge type map type -",
    ),
    "autoscaling_v1.CrossVersionObjectReference": (
        ". - - - - atomic",
    ),
    "autoscaling_v2.HorizontalPodAutoscalerStatus": (
        "conditions merge type map type -",
    ),
    "batch_v1.JobStatus": (
        "conditions merge type - - -",
    ),
    "batch_v1.PodFailurePolicyOnExitCodesRequirement": (
        "values - - set - -",
    ),
    "batch_v1.UncountedTerminatedPods": (
        "failed - - set - -",
        "succeeded - - set - -",
    ),
    "certificates_v1.CertificateSigningRequestStatus": (
        "conditions - - map type -",
    ),
    "core_v1.ComponentStatus": (
        "conditions merge type map type -",
    ),
    "core_v1.ConfigMapKeySelector": (
        ". - - - - atomic",
    ),
    "core_v1.Container": (
        "env merge name map name -",
        "ports merge containerPort map containerPort,protocol -",
        "volumeDevices merge devicePath map devicePath -",
        "volumeMounts merge mountPath map mountPath -",
    ),
    "core_v1.ContainerRestartRuleOnExitCodes": (
        "values - - set - -",
    ),
    "core_v1.ContainerStatus": (
        "allocatedResourcesStatus merge name map name -",
        "volumeMounts merge mountPath map mountPath -",
    ),
    "core_v1.EndpointAddress": (
        ". - - - - atomic",
    ),
    "core_v1.EndpointPort": (
        ". - - - - atomic",
    ),
    "core_v1.EphemeralContainer": (
        "env merge name map name -",
        "ports merge containerPort map containerPort,protocol -",
        "volumeDevices merge devicePath map devicePath -",
        "volumeMounts merge mountPath map mountPath -",
    ),
    "core_v1.FileKeySelector": (
        ". - - - - atomic",
    ),
    "core_v1.LocalObjectReference": (
        ". - - - - atomic",
    ),
    "core_v1.NamespaceStatus": (
        "conditions merge type map type -",
    ),
    "core_v1.NodeAllocatableResourceClaimStatus": (
        "containers - - set - -",
    ),
    "core_v1.NodeSelector": (
        ". - - - - atomic",
    ),
    "core_v1.NodeSelectorTerm": (
        ". - - - - atomic",
    ),
    "core_v1.NodeSpec": (
        "podCIDRs merge - set - -",
    ),
    "core_v1.NodeStatus": (
        "addresses merge type map type -",
        "conditions merge type map type -",
    ),
    "core_v1.ObjectFieldSelector": (
        ". - - - - atomic",
    ),
    "core_v1.ObjectReference": (
        ". - - - - atomic",
    ),
    "core_v1.PersistentVolumeClaimStatus": (
        "allocatedResourceStatuses - - - - granular",
        "conditions merge type map type -",
    ),
    "core_v1.PersistentVolumeSpec": (
        "claimRef - - - - granular",
    ),
    "core_v1.PodSpec": (
        "containers merge name map name -",
        "ephemeralContainers merge name map name -",
        "hostAliases merge ip map ip -",
        "imagePullSecrets merge name map name -",
        "initContainers merge name map name -",
        "nodeSelector - - - - atomic",
        "resourceClaims merge,retainKeys name map name -",
        "schedulingGates merge name map name -",
        "topologySpreadConstraints merge topologyKey map topologyKey,whenUnsatisfiable -",
        "volumes merge,retainKeys name map name -",
    ),
    "core_v1.PodStatus": (
        "conditions merge type map type -",
        "hostIPs merge ip - - -",
        "podIPs merge ip map ip -",
        "resourceClaimStatuses merge,retainKeys name map name -",
    ),
    "core_v1.ReplicationControllerSpec": (
        "selector - - - - atomic",
    ),
    "core_v1.ReplicationControllerStatus": (
        "conditions merge type map type -",
    ),
    "core_v1.ResourceFieldSelector": (
        ". - - - - atomic",
    ),
    "core_v1.ResourceRequirements": (
        "claims - - map name -",
    ),
    "core_v1.ResourceStatus": (
        "resources - - map resourceID -",
    ),
    "core_v1.ScopeSelector": (
        ". - - - - atomic",
    ),
    "core_v1.SecretKeySelector": (
        ". - - - - atomic",
    ),
    "core_v1.SecretReference": (
        ". - - - - atomic",
    ),
    "core_v1.ServiceAccount": (
        "secrets merge name map name -",
    ),
    "core_v1.ServiceSpec": (
        "ports merge port map port,protocol -",
        "selector - - - - atomic",
    ),
    "core_v1.ServiceStatus": (
        "conditions merge type map type -",
    ),
    "core_v1.TopologySelectorTerm": (
        ". - - - - atomic",
    ),
    "core_v1.TypedLocalObjectReference": (
        ". - - - - atomic",
    ),
    "discovery_v1.Endpoint": (
        "addresses - - set - -",
    ),
    "discovery_v1.EndpointPort": (
        ". - - - - atomic",
    ),
    "flowcontrol_v1.FlowSchemaStatus": (
        "conditions merge type map type -",
    ),
    "flowcontrol_v1.NonResourcePolicyRule": (
        "nonResourceURLs - - set - -",
        "verbs - - set - -",
    ),
    "flowcontrol_v1.PriorityLevelConfigurationStatus": (
        "conditions merge type map type -",
    ),
    "flowcontrol_v1.ResourcePolicyRule": (
        "apiGroups - - set - -",
        "namespaces - - set - -",
        "resources - - set - -",
        "verbs - - set - -",
    ),
    "networking_v1.ServiceBackendPort": (
        ". - - - - atomic",
    ),
    "networking_v1.ServiceCIDRStatus": (
        "conditions merge type map type -",
    ),
    "node_v1.Scheduling": (
        "nodeSelector - - - - atomic",
    ),
    "policy_v1.PodDisruptionBudgetSpec": (
        "selector replace - - - -",
    ),
    "policy_v1.PodDisruptionBudgetStatus": (
        "conditions merge type map type -",
    ),
    "rbac_v1.RoleRef": (
        ". - - - - atomic",
    ),
    "rbac_v1.Subject": (
        ". - - - - atomic",
    ),
    "resource_v1.AllocatedDeviceStatus": (
        "conditions - - map type -",
    ),
    "resource_v1.ResourceClaimStatus": (
        "devices - - map driver,device,pool,shareID -",
        "reservedFor merge uid map uid -",
    ),
    "storage_v1.CSIDriverSpec": (
        "volumeLifecycleModes - - set - -",
    ),
    "storage_v1.CSINodeSpec": (
        "drivers merge name map name -",
    ),
    "apiextensions_v1.CustomResourceDefinitionStatus": (
        "conditions - - map type -",
    ),
    "apiextensions_v1.JSONSchemaProps": (
        "x-kubernetes-validations merge rule map rule -",
    ),
    "meta_v1.LabelSelector": (
        ". - - - - atomic",
    ),
    "meta_v1.ObjectMeta": (
        "finalizers merge - set - -",
        "ownerReferences merge uid map uid -",
    ),
    "meta_v1.OwnerReference": (
        ". - - - - atomic",
    ),
    "apiregistration_v1.APIServiceStatus": (
        "conditions merge type map type -",
    ),
}
