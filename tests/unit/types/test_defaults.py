"""Defaulting, a row a kind: what is given, and what defaulting adds to it."""

import json
from typing import Any

import pytest

from edgekube.types import codec, defaults, registry
from edgekube.types.core_v1 import Container, Pod
from edgekube.types.defaults.images import pull_policy
from edgekube.types.quantity import QuantityError

JSON = dict[str, Any]

CONTAINER: JSON = {
    "imagePullPolicy": "IfNotPresent",
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "resources": {},
}
SPEC: JSON = {
    "restartPolicy": "Always",
    "dnsPolicy": "ClusterFirst",
    "schedulerName": "default-scheduler",
    "terminationGracePeriodSeconds": 30,
    "securityContext": {},
}
GIVEN_TEMPLATE: JSON = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
TEMPLATE: JSON = {
    "metadata": {"labels": {"a": "b"}},
    "spec": {**SPEC, "containers": [{"name": "c", "image": "i:1", **CONTAINER}]},
}
RESOURCE_RULE: JSON = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}
MATCH: JSON = {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}}
WEBHOOK: JSON = {**MATCH, "failurePolicy": "Fail", "timeoutSeconds": 10, "admissionReviewVersions": [], "name": "h"}
CLIENT: JSON = {"service": {"name": "s", "namespace": "n"}}
RBAC = "rbac.authorization.k8s.io"

ROWS: list[tuple[str, JSON, JSON]] = [
    (
        "v1/Pod",
        {
            "spec": {
                "serviceAccount": "sa",
                "hostNetwork": True,
                "terminationGracePeriodSeconds": 0,
                "volumes": [
                    {"name": "a"},
                    {"name": "b", "secret": {}},
                    {"name": "c", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
                    {"name": "d", "downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "f"}}]}},
                    {"name": "e", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
                    {"name": "f", "image": {"reference": "i"}},
                    {"name": "g", "configMap": {"defaultMode": 0}},
                ],
                "containers": [
                    {
                        "name": "c",
                        "image": "i",
                        "ports": [{"containerPort": 80}],
                        "env": [{"name": "E", "valueFrom": {"fieldRef": {"fieldPath": "f"}}}],
                        "resources": {"limits": {"cpu": "0.5", "memory": "1024Mi"}, "requests": {"cpu": "100m"}},
                        "livenessProbe": {"httpGet": {"port": 80}, "periodSeconds": 3},
                        "lifecycle": {"preStop": {"httpGet": {"port": 1, "path": "/x"}}},
                    }
                ],
            }
        },
        {
            "metadata": {},
            "status": {},
            "spec": {
                **SPEC,
                "serviceAccount": "sa",
                "serviceAccountName": "sa",
                "hostNetwork": True,
                "terminationGracePeriodSeconds": 0,
                "enableServiceLinks": True,
                "volumes": [
                    {"name": "a", "emptyDir": {}},
                    {"name": "b", "secret": {"defaultMode": 420}},
                    {
                        "name": "c",
                        "projected": {
                            "defaultMode": 420,
                            "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}],
                        },
                    },
                    {
                        "name": "d",
                        "downwardAPI": {
                            "defaultMode": 420,
                            "items": [{"path": "p", "fieldRef": {"apiVersion": "v1", "fieldPath": "f"}}],
                        },
                    },
                    {
                        "name": "e",
                        "ephemeral": {
                            "volumeClaimTemplate": {
                                "metadata": {},
                                "spec": {"volumeMode": "Filesystem", "resources": {}},
                            }
                        },
                    },
                    {"name": "f", "image": {"reference": "i", "pullPolicy": "Always"}},
                    {"name": "g", "configMap": {"defaultMode": 0}},
                ],
                "containers": [
                    {
                        **CONTAINER,
                        "name": "c",
                        "image": "i",
                        "imagePullPolicy": "Always",
                        "ports": [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}],
                        "env": [{"name": "E", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "f"}}}],
                        "resources": {
                            "limits": {"cpu": "500m", "memory": "1Gi"},
                            "requests": {"cpu": "100m", "memory": "1Gi"},
                        },
                        "livenessProbe": {
                            "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
                            "periodSeconds": 3,
                            "timeoutSeconds": 1,
                            "successThreshold": 1,
                            "failureThreshold": 3,
                        },
                        "lifecycle": {"preStop": {"httpGet": {"port": 1, "path": "/x", "scheme": "HTTP"}}},
                    }
                ],
            },
        },
    ),
    ("v1/PodTemplate", {"template": GIVEN_TEMPLATE}, {"metadata": {}, "template": TEMPLATE}),
    (
        "v1/ReplicationController",
        {"spec": {"template": GIVEN_TEMPLATE}},
        {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"replicas": 1, "selector": {"a": "b"}, "template": TEMPLATE},
            "status": {"replicas": 0},
        },
    ),
    (
        "v1/Service",
        {
            "spec": {"type": "LoadBalancer", "sessionAffinity": "ClientIP", "ports": [{"port": 80}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}, {"hostname": "h"}]}},
        },
        {
            "metadata": {},
            "spec": {
                "type": "LoadBalancer",
                "sessionAffinity": "ClientIP",
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}},
                "ports": [{"port": 80, "targetPort": 80, "protocol": "TCP"}],
                "externalTrafficPolicy": "Cluster",
                "internalTrafficPolicy": "Cluster",
                "allocateLoadBalancerNodePorts": True,
            },
            "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4", "ipMode": "VIP"}, {"hostname": "h"}]}},
        },
    ),
    (
        "v1/Endpoints",
        {"subsets": [{"ports": [{"port": 1}]}]},
        {"metadata": {}, "subsets": [{"ports": [{"port": 1, "protocol": "TCP"}]}]},
    ),
    ("v1/Secret", {}, {"metadata": {}, "type": "Opaque"}),
    (
        "v1/Namespace",
        {"metadata": {"name": "n", "labels": {"a": "b"}}},
        {
            "metadata": {"name": "n", "labels": {"a": "b", "kubernetes.io/metadata.name": "n"}},
            "spec": {},
            "status": {"phase": "Active"},
        },
    ),
    (
        "v1/LimitRange",
        {
            "spec": {
                "limits": [
                    {
                        "type": "Container",
                        "max": {"cpu": "2"},
                        "min": {"cpu": "1", "memory": "1Mi"},
                        "default": {"gpu": "1"},
                    },
                    {"type": "Pod", "max": {"cpu": "2"}},
                ]
            }
        },
        {
            "metadata": {},
            "spec": {
                "limits": [
                    {
                        "type": "Container",
                        "max": {"cpu": "2"},
                        "min": {"cpu": "1", "memory": "1Mi"},
                        "default": {"gpu": "1", "cpu": "2"},
                        "defaultRequest": {"gpu": "1", "cpu": "2", "memory": "1Mi"},
                    },
                    {"type": "Pod", "max": {"cpu": "2"}},
                ]
            },
        },
    ),
    (
        "v1/PersistentVolume",
        {"spec": {"capacity": {"storage": "1024Mi"}, "iscsi": {"iqn": "i", "lun": 0, "targetPortal": "t"}}},
        {
            "metadata": {},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "iscsi": {"iqn": "i", "lun": 0, "targetPortal": "t", "iscsiInterface": "default"},
                "persistentVolumeReclaimPolicy": "Retain",
                "volumeMode": "Filesystem",
            },
            "status": {"phase": "Pending"},
        },
    ),
    (
        "v1/PersistentVolume",
        {"spec": {"capacity": {"storage": "1Gi"}, "hostPath": {"path": "/srv"}}},
        {
            "metadata": {},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "hostPath": {"path": "/srv", "type": ""},
                "persistentVolumeReclaimPolicy": "Retain",
                "volumeMode": "Filesystem",
            },
            "status": {"phase": "Pending"},
        },
    ),
    (
        "v1/PersistentVolumeClaim",
        {"spec": {"storageClassName": ""}},
        {
            "metadata": {},
            "spec": {"storageClassName": "", "volumeMode": "Filesystem", "resources": {}},
            "status": {"phase": "Pending"},
        },
    ),
    (
        "apps/v1/Deployment",
        {"spec": {"replicas": 0, "template": GIVEN_TEMPLATE}},
        {
            "metadata": {},
            "spec": {
                "replicas": 0,
                "revisionHistoryLimit": 10,
                "progressDeadlineSeconds": 600,
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
                "template": TEMPLATE,
            },
            "status": {},
        },
    ),
    (
        "apps/v1/ReplicaSet",
        {"spec": {"template": GIVEN_TEMPLATE}},
        {"metadata": {}, "spec": {"replicas": 1, "template": TEMPLATE}, "status": {"replicas": 0}},
    ),
    (
        "apps/v1/StatefulSet",
        {"spec": {"template": GIVEN_TEMPLATE, "volumeClaimTemplates": [{"metadata": {"name": "d"}}]}},
        {
            "metadata": {},
            "spec": {
                "podManagementPolicy": "OrderedReady",
                "replicas": 1,
                "revisionHistoryLimit": 10,
                "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
                "template": TEMPLATE,
                "volumeClaimTemplates": [
                    {
                        "apiVersion": "v1",
                        "kind": "PersistentVolumeClaim",
                        "metadata": {"name": "d"},
                        "spec": {"volumeMode": "Filesystem", "resources": {}},
                        "status": {"phase": "Pending"},
                    }
                ],
            },
            "status": {"replicas": 0},
        },
    ),
    (
        "apps/v1/DaemonSet",
        {"spec": {"template": GIVEN_TEMPLATE}},
        {
            "metadata": {},
            "spec": {
                "revisionHistoryLimit": 10,
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
                "template": TEMPLATE,
            },
            "status": {
                "currentNumberScheduled": 0,
                "desiredNumberScheduled": 0,
                "numberMisscheduled": 0,
                "numberReady": 0,
            },
        },
    ),
    (
        "batch/v1/Job",
        {
            "spec": {
                "template": GIVEN_TEMPLATE,
                "podFailurePolicy": {
                    "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]
                },
            }
        },
        {
            "metadata": {"labels": {"a": "b"}},
            "spec": {
                "completions": 1,
                "parallelism": 1,
                "backoffLimit": 6,
                "completionMode": "NonIndexed",
                "suspend": False,
                "podReplacementPolicy": "Failed",
                "template": TEMPLATE,
                "podFailurePolicy": {
                    "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
                },
            },
            "status": {},
        },
    ),
    (
        "batch/v1/CronJob",
        {"spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": GIVEN_TEMPLATE}}}},
        {
            "metadata": {},
            "spec": {
                "schedule": "@daily",
                "concurrencyPolicy": "Allow",
                "suspend": False,
                "successfulJobsHistoryLimit": 3,
                "failedJobsHistoryLimit": 1,
                "jobTemplate": {"metadata": {}, "spec": {"template": TEMPLATE}},
            },
            "status": {},
        },
    ),
    (
        "autoscaling/v1/HorizontalPodAutoscaler",
        {"spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "K", "name": "n"}}},
        {
            "metadata": {},
            "spec": {
                "maxReplicas": 3,
                "minReplicas": 1,
                "targetCPUUtilizationPercentage": 80,
                "scaleTargetRef": {"kind": "K", "name": "n"},
            },
            "status": {"currentReplicas": 0, "desiredReplicas": 0},
        },
    ),
    (
        "autoscaling/v2/HorizontalPodAutoscaler",
        {
            "spec": {
                "maxReplicas": 3,
                "scaleTargetRef": {"kind": "K", "name": "n"},
                "behavior": {"scaleDown": {"selectPolicy": "Min"}},
            }
        },
        {
            "metadata": {},
            "spec": {
                "maxReplicas": 3,
                "minReplicas": 1,
                "scaleTargetRef": {"kind": "K", "name": "n"},
                "metrics": [
                    {
                        "type": "Resource",
                        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
                    }
                ],
                "behavior": {
                    "scaleUp": {
                        "selectPolicy": "Max",
                        "stabilizationWindowSeconds": 0,
                        "policies": [
                            {"type": "Pods", "value": 4, "periodSeconds": 15},
                            {"type": "Percent", "value": 100, "periodSeconds": 15},
                        ],
                    },
                    "scaleDown": {
                        "selectPolicy": "Min",
                        "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
                    },
                },
            },
            "status": {"desiredReplicas": 0},
        },
    ),
    (
        "networking.k8s.io/v1/NetworkPolicy",
        {"spec": {"egress": [{"ports": [{"port": 53}]}]}},
        {
            "metadata": {},
            "spec": {
                "podSelector": {},
                "policyTypes": ["Ingress", "Egress"],
                "egress": [{"ports": [{"port": 53, "protocol": "TCP"}]}],
            },
        },
    ),
    (
        "networking.k8s.io/v1/IngressClass",
        {"spec": {"parameters": {"kind": "K", "name": "n"}}},
        {"metadata": {}, "spec": {"parameters": {"kind": "K", "name": "n", "scope": "Cluster"}}},
    ),
    (
        "discovery.k8s.io/v1/EndpointSlice",
        {"ports": [{"port": 1}]},
        {"metadata": {}, "addressType": "", "endpoints": [], "ports": [{"port": 1, "name": "", "protocol": "TCP"}]},
    ),
    (
        "rbac.authorization.k8s.io/v1/RoleBinding",
        {"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}]},
        {
            "metadata": {},
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "r"},
            "subjects": [{"apiGroup": RBAC, "kind": "User", "name": "u"}],
        },
    ),
    (
        "rbac.authorization.k8s.io/v1/ClusterRoleBinding",
        {"roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": [{"kind": "ServiceAccount", "name": "s"}]},
        {
            "metadata": {},
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "r"},
            "subjects": [{"kind": "ServiceAccount", "name": "s"}],
        },
    ),
    (
        "authentication.k8s.io/v1/TokenRequest",
        {},
        {
            "metadata": {},
            "spec": {"audiences": [], "expirationSeconds": 3600},
            "status": {"token": ""},
        },
    ),
    (
        "storage.k8s.io/v1/StorageClass",
        {"provisioner": "p"},
        {"metadata": {}, "provisioner": "p", "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"},
    ),
    (
        "storage.k8s.io/v1/CSIDriver",
        {"spec": {"attachRequired": False}},
        {
            "metadata": {},
            "spec": {
                "attachRequired": False,
                "podInfoOnMount": False,
                "storageCapacity": False,
                "fsGroupPolicy": "ReadWriteOnceWithFSType",
                "volumeLifecycleModes": ["Persistent"],
                "requiresRepublish": False,
                "seLinuxMount": False,
            },
        },
    ),
    (
        "storage.k8s.io/v1/VolumeAttachment",
        {"spec": {"attacher": "a", "nodeName": "n", "source": {"inlineVolumeSpec": {}}}},
        {
            "metadata": {},
            "spec": {
                "attacher": "a",
                "nodeName": "n",
                "source": {"inlineVolumeSpec": {"persistentVolumeReclaimPolicy": "Retain", "volumeMode": "Filesystem"}},
            },
            "status": {"attached": False},
        },
    ),
    (
        "scheduling.k8s.io/v1/PriorityClass",
        {"value": 5},
        {"metadata": {}, "value": 5, "preemptionPolicy": "PreemptLowerPriority"},
    ),
    (
        "flowcontrol.apiserver.k8s.io/v1/FlowSchema",
        {},
        {
            "metadata": {},
            "spec": {"matchingPrecedence": 1000, "priorityLevelConfiguration": {"name": ""}},
            "status": {},
        },
    ),
    (
        "flowcontrol.apiserver.k8s.io/v1/PriorityLevelConfiguration",
        {"spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": {"queues": 2}}}}},
        {
            "metadata": {},
            "spec": {
                "type": "Limited",
                "limited": {
                    "nominalConcurrencyShares": 30,
                    "lendablePercent": 0,
                    "limitResponse": {
                        "type": "Queue",
                        "queuing": {"queues": 2, "handSize": 8, "queueLengthLimit": 50},
                    },
                },
            },
            "status": {},
        },
    ),
    (
        "apiextensions.k8s.io/v1/CustomResourceDefinition",
        {"spec": {"group": "g", "scope": "Cluster", "names": {"kind": "MyKind", "plural": "mykinds"}}},
        {
            "metadata": {},
            "spec": {
                "group": "g",
                "scope": "Cluster",
                "names": {"kind": "MyKind", "plural": "mykinds", "singular": "mykind", "listKind": "MyKindList"},
                "conversion": {"strategy": "None"},
                "versions": [],
            },
            "status": {"acceptedNames": {"kind": "", "plural": ""}},
        },
    ),
    (
        "apiregistration.k8s.io/v1/APIService",
        {"spec": {"groupPriorityMinimum": 1, "versionPriority": 1, **CLIENT}},
        {
            "metadata": {},
            "spec": {
                "groupPriorityMinimum": 1,
                "versionPriority": 1,
                "service": {"name": "s", "namespace": "n", "port": 443},
            },
            "status": {},
        },
    ),
    (
        "admissionregistration.k8s.io/v1/MutatingWebhookConfiguration",
        {"webhooks": [{"name": "h", "sideEffects": "None", "clientConfig": CLIENT, "rules": [{"operations": ["*"]}]}]},
        {
            "metadata": {},
            "webhooks": [
                {
                    **WEBHOOK,
                    "sideEffects": "None",
                    "reinvocationPolicy": "Never",
                    "clientConfig": {"service": {"name": "s", "namespace": "n", "port": 443}},
                    "rules": [{"operations": ["*"], "scope": "*"}],
                }
            ],
        },
    ),
    (
        "admissionregistration.k8s.io/v1/ValidatingWebhookConfiguration",
        {"webhooks": [{"name": "h", "sideEffects": "None", "clientConfig": {"url": "u"}}]},
        {"metadata": {}, "webhooks": [{**WEBHOOK, "sideEffects": "None", "clientConfig": {"url": "u"}}]},
    ),
    (
        "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy",
        {"spec": {"matchConstraints": {"resourceRules": [RESOURCE_RULE]}}},
        {
            "metadata": {},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {**MATCH, "resourceRules": [{**RESOURCE_RULE, "scope": "*"}]},
            },
            "status": {},
        },
    ),
    (
        "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicyBinding",
        {"spec": {"policyName": "p", "validationActions": ["Deny"], "matchResources": {}}},
        {"metadata": {}, "spec": {"policyName": "p", "validationActions": ["Deny"], "matchResources": MATCH}},
    ),
    (
        "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy",
        {"spec": {"matchConstraints": {}}},
        {
            "metadata": {},
            "spec": {"failurePolicy": "Fail", "reinvocationPolicy": "Never", "matchConstraints": MATCH},
        },
    ),
    (
        "admissionregistration.k8s.io/v1/MutatingAdmissionPolicyBinding",
        {"spec": {"matchResources": {}}},
        {"metadata": {}, "spec": {"matchResources": MATCH}},
    ),
    (
        "resource.k8s.io/v1/ResourceClaim",
        {"spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "c"}}]}}},
        {
            "metadata": {},
            "spec": {
                "devices": {
                    "requests": [
                        {"name": "r", "exactly": {"deviceClassName": "c", "allocationMode": "ExactCount", "count": 1}}
                    ]
                }
            },
        },
    ),
    (
        "resource.k8s.io/v1/ResourceClaimTemplate",
        {
            "spec": {
                "spec": {
                    "devices": {
                        "requests": [
                            {
                                "name": "r",
                                "firstAvailable": [{"name": "s", "deviceClassName": "c", "allocationMode": "All"}],
                            }
                        ]
                    }
                }
            }
        },
        {
            "metadata": {},
            "spec": {
                "metadata": {},
                "spec": {
                    "devices": {
                        "requests": [
                            {
                                "name": "r",
                                "firstAvailable": [{"name": "s", "deviceClassName": "c", "allocationMode": "All"}],
                            }
                        ]
                    }
                },
            },
        },
    ),
]


@pytest.mark.parametrize(("kind", "given", "wanted"), ROWS, ids=[row[0] for row in ROWS])
def test_defaults(kind: str, given: JSON, wanted: JSON) -> None:
    api_version, _, name = kind.rpartition("/")
    cls = registry.class_of(*registry.split_api_version(api_version), name)
    obj = codec.decode(cls, json.dumps(given).encode())
    before = codec.encode(obj)
    done = defaults.apply(obj)
    assert json.loads(codec.encode(done)) == wanted
    assert codec.encode(obj) == before
    assert defaults.apply(done) is done


def test_node() -> None:
    node = codec.decode(registry.class_of("", "v1", "Node"), b'{"status":{"capacity":{"cpu":"2000m"}}}')
    assert json.loads(codec.encode(defaults.apply(node)))["status"]["allocatable"] == {"cpu": "2"}


def test_every_row_of_the_table_is_tested() -> None:
    tested = {(kind.rpartition("/")[0], kind.rpartition("/")[2]) for kind, _, _ in ROWS} | {("v1", "Node")}
    for key in defaults.TABLE:
        group, *version, kind = key.split("/")
        api_version = f"{group}/{(version or ['v1'])[0]}" if group else "v1"
        assert (api_version, kind) in tested


def test_kinds_without_defaults_come_back_as_they_are() -> None:
    for group, version in registry.group_versions():
        for kind in registry.kinds(group, version):
            if f"{group}/{kind}" not in defaults.TABLE and f"{group}/{version}/{kind}" not in defaults.TABLE:
                obj = registry.class_of(group, version, kind)()
                assert defaults.apply(obj) is obj
    part = Container()
    assert defaults.apply(part) is part


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("a", "Always"),
        ("a:latest", "Always"),
        ("a:1", "IfNotPresent"),
        ("h:5000/a", "Always"),
        ("h:5000/a:1", "IfNotPresent"),
        ("a@sha256:0", "IfNotPresent"),
        ("a:latest@sha256:0", "Always"),
        ("", "IfNotPresent"),
    ],
)
def test_pull_policy(image: str, policy: str) -> None:
    assert pull_policy(image) == policy


def test_pod_level_requests_follow_the_containers() -> None:
    body = {
        "spec": {
            "resources": {"limits": {"cpu": "4", "memory": "1Gi"}},
            "initContainers": [
                {"restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}},
                {"resources": {"requests": {"cpu": "3"}}},
            ],
            "containers": [{"resources": {"requests": {"cpu": "500m", "gpu": "1"}}}],
        }
    }
    pod = defaults.apply(codec.decode(Pod, json.dumps(body).encode()))
    assert pod.spec.resources is not None
    assert pod.spec.resources.requests == {"cpu": "4", "memory": "1Gi"}


def test_text_that_is_no_quantity_is_refused() -> None:
    pod = codec.decode(Pod, b'{"spec":{"containers":[{"resources":{"limits":{"cpu":"much"}}}]}}')
    with pytest.raises(QuantityError):
        defaults.apply(pod)
