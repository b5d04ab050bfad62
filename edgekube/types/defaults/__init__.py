"""Kubernetes' defaulting, written by hand: the published schema does not carry it.

`apply` is a pure function from value to value and gives back the very same object when nothing is to be filled in. A
module a family of groups; TABLE names the function of each kind. What needs a clock, a name generator or other objects
(uid, creationTimestamp, spec.finalizers of a Namespace, clusterIP, generated selectors) is the API server's strategy,
not defaulting, and is not done here.
"""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any, Final, TypeVar

from edgekube.types._base import Object
from edgekube.types.defaults import quantities
from edgekube.types.registry import UnknownKindError, gvk_of

T = TypeVar("T", bound=Object)

# group/kind -> module:function; kinds without a row have no defaults of their own.
TABLE: Final[dict[str, str]] = {
    "/Pod": "pod:pod",
    "/PodTemplate": "pod:pod_template",
    "/ReplicationController": "core:replication_controller",
    "/Service": "core:service",
    "/Endpoints": "core:endpoints",
    "/Secret": "core:secret",
    "/Namespace": "core:namespace",
    "/Node": "core:node",
    "/LimitRange": "core:limit_range",
    "/PersistentVolume": "volume:persistent_volume",
    "/PersistentVolumeClaim": "volume:persistent_volume_claim",
    "apps/Deployment": "apps:deployment",
    "apps/ReplicaSet": "apps:replica_set",
    "apps/StatefulSet": "apps:stateful_set",
    "apps/DaemonSet": "apps:daemon_set",
    "batch/Job": "batch:job",
    "batch/CronJob": "batch:cron_job",
    "autoscaling/v1/HorizontalPodAutoscaler": "autoscaling:v1",
    "autoscaling/v2/HorizontalPodAutoscaler": "autoscaling:v2",
    "networking.k8s.io/NetworkPolicy": "networking:network_policy",
    "networking.k8s.io/IngressClass": "networking:ingress_class",
    "discovery.k8s.io/EndpointSlice": "networking:endpoint_slice",
    "rbac.authorization.k8s.io/RoleBinding": "access:role_binding",
    "rbac.authorization.k8s.io/ClusterRoleBinding": "access:cluster_role_binding",
    "authentication.k8s.io/TokenRequest": "access:token_request",
    "storage.k8s.io/StorageClass": "volume:storage_class",
    "storage.k8s.io/CSIDriver": "volume:csi_driver",
    "storage.k8s.io/VolumeAttachment": "volume:volume_attachment",
    "scheduling.k8s.io/PriorityClass": "cluster:priority_class",
    "flowcontrol.apiserver.k8s.io/FlowSchema": "cluster:flow_schema",
    "flowcontrol.apiserver.k8s.io/PriorityLevelConfiguration": "cluster:priority_level",
    "apiextensions.k8s.io/CustomResourceDefinition": "cluster:custom_resource_definition",
    "apiregistration.k8s.io/APIService": "cluster:api_service",
    "admissionregistration.k8s.io/MutatingWebhookConfiguration": "admission:mutating_webhooks",
    "admissionregistration.k8s.io/ValidatingWebhookConfiguration": "admission:validating_webhooks",
    "admissionregistration.k8s.io/ValidatingAdmissionPolicy": "admission:validating_policy",
    "admissionregistration.k8s.io/ValidatingAdmissionPolicyBinding": "admission:validating_binding",
    "admissionregistration.k8s.io/MutatingAdmissionPolicy": "admission:mutating_policy",
    "admissionregistration.k8s.io/MutatingAdmissionPolicyBinding": "admission:mutating_binding",
    "resource.k8s.io/ResourceClaim": "device:resource_claim",
    "resource.k8s.io/ResourceClaimTemplate": "device:resource_claim_template",
}


def apply(obj: T) -> T:
    """`obj` with every default filled in and its quantities in canonical spelling; itself when nothing changes.

    Raises QuantityError for text that is no quantity (a decoding error in Kubernetes).
    """
    function = _function(type(obj))
    return quantities.canonical(function(obj) if function else obj)


@cache
def _function(cls: type) -> Callable[[Any], Any] | None:
    try:
        group, version, kind = gvk_of(cls)
    except UnknownKindError:
        return None
    place = TABLE.get(f"{group}/{kind}") or TABLE.get(f"{group}/{version}/{kind}")
    if place is None:
        return None
    module, _, name = place.partition(":")
    found: Callable[[Any], Any] = getattr(import_module(f"{__name__}.{module}"), name)
    return found
