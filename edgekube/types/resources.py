"""Every built-in resource: its names, scope and categories. The API server and the command line both read this.

Subresources and verbs are the API server's. Rows are in the order in which `kubectl api-resources` lists groups.
"""

from functools import cache
from typing import Final, NamedTuple


class Resource(NamedTuple):
    """One row. `plural` is the name in URLs."""

    group: str
    version: str
    plural: str
    singular: str
    kind: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    @property
    def qualified(self) -> str:
        """`deployments.apps`; plain `pods` for the core group."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        """`apps/v1`; plain `v1` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version


def _rows(group: str, version: str, table: str) -> tuple[Resource, ...]:
    """Lines of `plural Kind scope [short,names] [categories]`; `-` stands for none."""
    out = []
    for line in table.strip().splitlines():
        plural, kind, scope, short, categories = [*line.split(), "-", "-"][:5]
        names, groups = (() if text == "-" else tuple(text.split(",")) for text in (short, categories))
        out.append(Resource(group, version, plural, kind.lower(), kind, scope == "ns", names, groups))
    return tuple(out)


RESOURCES: Final[tuple[Resource, ...]] = (
    *_rows(
        "",
        "v1",
        """
        bindings Binding ns
        componentstatuses ComponentStatus cluster cs
        configmaps ConfigMap ns cm
        endpoints Endpoints ns ep
        events Event ns ev
        limitranges LimitRange ns limits
        namespaces Namespace cluster ns
        nodes Node cluster no
        persistentvolumeclaims PersistentVolumeClaim ns pvc
        persistentvolumes PersistentVolume cluster pv
        pods Pod ns po all
        podtemplates PodTemplate ns
        replicationcontrollers ReplicationController ns rc all
        resourcequotas ResourceQuota ns quota
        secrets Secret ns
        serviceaccounts ServiceAccount ns sa
        services Service ns svc all
        """,
    ),
    *_rows(
        "admissionregistration.k8s.io",
        "v1",
        """
        mutatingadmissionpolicies MutatingAdmissionPolicy cluster - api-extensions
        mutatingadmissionpolicybindings MutatingAdmissionPolicyBinding cluster - api-extensions
        mutatingwebhookconfigurations MutatingWebhookConfiguration cluster - api-extensions
        validatingadmissionpolicies ValidatingAdmissionPolicy cluster - api-extensions
        validatingadmissionpolicybindings ValidatingAdmissionPolicyBinding cluster - api-extensions
        validatingwebhookconfigurations ValidatingWebhookConfiguration cluster - api-extensions
        """,
    ),
    *_rows(
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions CustomResourceDefinition cluster crd,crds api-extensions",
    ),
    *_rows("apiregistration.k8s.io", "v1", "apiservices APIService cluster - api-extensions"),
    *_rows(
        "apps",
        "v1",
        """
        controllerrevisions ControllerRevision ns
        daemonsets DaemonSet ns ds all
        deployments Deployment ns deploy all
        replicasets ReplicaSet ns rs all
        statefulsets StatefulSet ns sts all
        """,
    ),
    *_rows(
        "authentication.k8s.io",
        "v1",
        """
        selfsubjectreviews SelfSubjectReview cluster
        tokenreviews TokenReview cluster
        """,
    ),
    *_rows(
        "authorization.k8s.io",
        "v1",
        """
        localsubjectaccessreviews LocalSubjectAccessReview ns
        selfsubjectaccessreviews SelfSubjectAccessReview cluster
        selfsubjectrulesreviews SelfSubjectRulesReview cluster
        subjectaccessreviews SubjectAccessReview cluster
        """,
    ),
    *_rows("autoscaling", "v2", "horizontalpodautoscalers HorizontalPodAutoscaler ns hpa all"),
    *_rows("autoscaling", "v1", "horizontalpodautoscalers HorizontalPodAutoscaler ns hpa all"),
    *_rows(
        "batch",
        "v1",
        """
        cronjobs CronJob ns cj all
        jobs Job ns - all
        """,
    ),
    *_rows("certificates.k8s.io", "v1", "certificatesigningrequests CertificateSigningRequest cluster csr"),
    *_rows("coordination.k8s.io", "v1", "leases Lease ns"),
    *_rows("discovery.k8s.io", "v1", "endpointslices EndpointSlice ns"),
    *_rows("events.k8s.io", "v1", "events Event ns ev"),
    *_rows(
        "flowcontrol.apiserver.k8s.io",
        "v1",
        """
        flowschemas FlowSchema cluster
        prioritylevelconfigurations PriorityLevelConfiguration cluster
        """,
    ),
    *_rows(
        "networking.k8s.io",
        "v1",
        """
        ingressclasses IngressClass cluster
        ingresses Ingress ns ing
        ipaddresses IPAddress cluster ip
        networkpolicies NetworkPolicy ns netpol
        servicecidrs ServiceCIDR cluster
        """,
    ),
    *_rows("node.k8s.io", "v1", "runtimeclasses RuntimeClass cluster"),
    *_rows("policy", "v1", "poddisruptionbudgets PodDisruptionBudget ns pdb"),
    *_rows(
        "rbac.authorization.k8s.io",
        "v1",
        """
        clusterrolebindings ClusterRoleBinding cluster
        clusterroles ClusterRole cluster
        rolebindings RoleBinding ns
        roles Role ns
        """,
    ),
    *_rows(
        "resource.k8s.io",
        "v1",
        """
        deviceclasses DeviceClass cluster
        resourceclaims ResourceClaim ns
        resourceclaimtemplates ResourceClaimTemplate ns
        resourceslices ResourceSlice cluster
        """,
    ),
    *_rows("scheduling.k8s.io", "v1", "priorityclasses PriorityClass cluster pc"),
    *_rows(
        "storage.k8s.io",
        "v1",
        """
        csidrivers CSIDriver cluster
        csinodes CSINode cluster
        csistoragecapacities CSIStorageCapacity ns
        storageclasses StorageClass cluster sc
        volumeattachments VolumeAttachment cluster
        volumeattributesclasses VolumeAttributesClass cluster vac
        """,
    ),
)


@cache
def by_plural(group: str, version: str, plural: str) -> Resource | None:
    """The row of a URL's group, version and resource; None when there is none."""
    return next((row for row in RESOURCES if (row.group, row.version, row.plural) == (group, version, plural)), None)


@cache
def by_kind(group: str, version: str, kind: str) -> Resource | None:
    """The row of a kind; None when it is no resource of its own (a list, a subresource's body)."""
    return next((row for row in RESOURCES if (row.group, row.version, row.kind) == (group, version, kind)), None)


def find(word: str) -> list[Resource]:
    """What a person means by `po`, `pod`, `pods`, `Pod`, `deployments.apps`, `deploy.v1.apps` or `all`, in table order.

    Empty when nothing is meant.
    """
    name, _, rest = word.lower().partition(".")
    version, _, group = rest.partition(".")
    out = []
    for row in RESOURCES:
        named = name in (row.plural, row.singular, *row.short_names)
        placed = not rest or rest == row.group or (version, group) == (row.version, row.group)
        if (named and placed) or (not rest and name in row.categories):
            out.append(row)
    return out
