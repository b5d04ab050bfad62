"""Nodes, namespaces, configuration, accounts, roles, storage and the rest."""

from collections.abc import Sequence
from typing import Any

from edgekube.apiserver.tables.cells import NONE, UNKNOWN, UNSET, age
from edgekube.apiserver.tables.columns import Spec, spec

_ROLE_PREFIX = "node-role.kubernetes.io/"
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


def _age(obj: Any, now: float) -> str:
    return age(obj.metadata.creationTimestamp, now)


def _node(obj: Any, now: float) -> Sequence[Any]:
    ready = next((c for c in obj.status.conditions if c.type == "Ready"), None)
    states = ["Unknown" if ready is None else "Ready" if ready.status == "True" else "NotReady"]
    if obj.spec.unschedulable:
        states.append("SchedulingDisabled")
    roles = sorted(
        key.removeprefix(_ROLE_PREFIX) if key.startswith(_ROLE_PREFIX) else value
        for key, value in obj.metadata.labels.items()
        if (key.startswith(_ROLE_PREFIX) and key != _ROLE_PREFIX) or (key == "kubernetes.io/role" and value)
    )
    info = obj.status.nodeInfo
    addresses = {a.type: a.address for a in reversed(obj.status.addresses)}
    return (
        obj.metadata.name, ",".join(states), ",".join(roles) or NONE, _age(obj, now), info.kubeletVersion,
        addresses.get("InternalIP", NONE), addresses.get("ExternalIP", NONE), info.osImage or UNKNOWN,
        info.kernelVersion or UNKNOWN, info.containerRuntimeVersion or UNKNOWN,
    )  # fmt: skip


def _namespace(obj: Any, now: float) -> Sequence[Any]:
    return (obj.metadata.name, obj.status.phase, _age(obj, now))


def _config_map(obj: Any, now: float) -> Sequence[Any]:
    return (obj.metadata.name, len(obj.data) + len(obj.binaryData), _age(obj, now))


def _secret(obj: Any, now: float) -> Sequence[Any]:
    return (obj.metadata.name, obj.type, len(obj.data), _age(obj, now))


def _account(obj: Any, now: float) -> Sequence[Any]:
    return (obj.metadata.name, len(obj.secrets), _age(obj, now))


def _event(obj: Any, now: float) -> Sequence[Any]:
    if hasattr(obj, "involvedObject"):
        about, message, source, series = obj.involvedObject, obj.message, obj.source, obj.series
        first, last, count = obj.firstTimestamp, obj.lastTimestamp, obj.count
        component = source.component or obj.reportingComponent
    else:
        about, message, source, series = obj.regarding, obj.note, obj.deprecatedSource, obj.series
        first, last, count = obj.deprecatedFirstTimestamp, obj.deprecatedLastTimestamp, obj.deprecatedCount
        component = source.component or obj.reportingController
    first_seen = age(first or obj.eventTime, now)
    if series is not None:
        last_seen, count = age(series.lastObservedTime, now), series.count
    else:
        last_seen, count = (age(last, now) if last else first_seen), count or 1
    where = f"{component}, {source.host}" if source.host else component
    target = f"{about.kind.lower()}/{about.name}" if about.kind else about.name
    return (
        last_seen, obj.type, obj.reason, target, about.fieldPath, where, message.strip(), first_seen, count,
        obj.metadata.name,
    )  # fmt: skip


def _priority_class(obj: Any, now: float) -> Sequence[Any]:
    policy = obj.preemptionPolicy or "PreemptLowerPriority"
    return (obj.metadata.name, obj.value, "true" if obj.globalDefault else "false", _age(obj, now), policy)


def _lease(obj: Any, now: float) -> Sequence[Any]:
    holder = obj.spec.holderIdentity if obj.spec is not None else None
    return (obj.metadata.name, holder or "", _age(obj, now))


def _role(obj: Any, now: float) -> Sequence[Any]:
    return (obj.metadata.name, obj.metadata.creationTimestamp)


def _binding(obj: Any, now: float) -> Sequence[Any]:
    users = [s.name for s in obj.subjects if s.kind == "User"]
    groups = [s.name for s in obj.subjects if s.kind == "Group"]
    accounts = [f"{s.namespace}/{s.name}" for s in obj.subjects if s.kind == "ServiceAccount"]
    role = f"{obj.roleRef.kind}/{obj.roleRef.name}"
    return (obj.metadata.name, role, _age(obj, now), ", ".join(users), ", ".join(groups), ", ".join(accounts))


_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def _modes(modes: Sequence[str]) -> str:
    return ",".join(short for mode, short in _MODES.items() if mode in modes)


def _volume(obj: Any, now: float) -> Sequence[Any]:
    spec_, status = obj.spec, obj.status
    ref = spec_.claimRef
    phase = "Terminating" if obj.metadata.deletionTimestamp else status.phase
    return (
        obj.metadata.name, spec_.capacity.get("storage", ""), _modes(spec_.accessModes),
        spec_.persistentVolumeReclaimPolicy, phase, f"{ref.namespace}/{ref.name}" if ref is not None else "",
        spec_.storageClassName, spec_.volumeAttributesClassName or UNSET, status.reason, _age(obj, now),
        spec_.volumeMode or UNSET,
    )  # fmt: skip


def _claim(obj: Any, now: float) -> Sequence[Any]:
    spec_, status = obj.spec, obj.status
    phase = "Terminating" if obj.metadata.deletionTimestamp else status.phase
    capacity = modes = ""
    if spec_.volumeName:
        capacity, modes = status.capacity.get("storage", ""), _modes(status.accessModes)
    return (
        obj.metadata.name, phase, spec_.volumeName, capacity, modes, spec_.storageClassName or "",
        spec_.volumeAttributesClassName or UNSET, _age(obj, now), spec_.volumeMode or UNSET,
    )  # fmt: skip


def _storage_class(obj: Any, now: float) -> Sequence[Any]:
    name = obj.metadata.name
    if obj.metadata.annotations.get(_DEFAULT_CLASS) == "true":
        name += " (default)"
    return (
        name, obj.provisioner, obj.reclaimPolicy or "Delete", obj.volumeBindingMode or "Immediate",
        bool(obj.allowVolumeExpansion), _age(obj, now),
    )  # fmt: skip


def _request(obj: Any, now: float) -> Sequence[Any]:
    true = [c.type for c in obj.status.conditions]
    state = "Denied" if "Denied" in true else "Approved" if "Approved" in true else "Pending"
    if "Failed" in true:
        state += ",Failed"
    if obj.status.certificate:
        state += ",Issued"
    seconds = obj.spec.expirationSeconds
    duration = NONE if seconds is None else _go_duration(seconds)
    return (obj.metadata.name, _age(obj, now), obj.spec.signerName, obj.spec.username, duration, state)


def _go_duration(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    if hours:
        return f"{hours}h" if not rest else f"{hours}h{rest // 60}m"
    return f"{seconds // 60}m"


def _quota(obj: Any, now: float) -> Sequence[Any]:
    requests: list[str] = []
    limits: list[str] = []
    for name in sorted(obj.status.hard):
        shown = f"{name}: {obj.status.used.get(name, '0')}/{obj.status.hard[name]}"
        (limits if name.startswith("limits.") else requests).append(shown)
    return (obj.metadata.name, ", ".join(requests), ", ".join(limits), _age(obj, now))


def _limit_range(obj: Any, now: float) -> Sequence[Any]:
    return (obj.metadata.name, obj.metadata.creationTimestamp)


def _runtime_class(obj: Any, now: float) -> Sequence[Any]:
    return (obj.metadata.name, obj.handler, _age(obj, now))


def _webhooks(obj: Any, now: float) -> Sequence[Any]:
    return (obj.metadata.name, len(obj.webhooks), _age(obj, now))


def _definition(obj: Any, now: float) -> Sequence[Any]:
    return (obj.metadata.name, obj.metadata.creationTimestamp)


def _api_service(obj: Any, now: float) -> Sequence[Any]:
    service = obj.spec.service
    where = "Local" if service is None else f"{service.namespace}/{service.name}"
    found = next((c for c in obj.status.conditions if c.type == "Available"), None)
    state = "Unknown" if found is None else "True" if found.status == "True" else f"False ({found.reason})"
    return (obj.metadata.name, where, state, _age(obj, now))


_BINDINGS = spec("Role Age Users+ Groups+ ServiceAccounts+", _binding)
_CREATED = "Created_At"

TABLES: dict[str, Spec] = {
    "Node": spec(
        "Status Roles Age Version Internal-IP+ External-IP+ OS-Image+ Kernel-Version+ Container-Runtime+", _node
    ),
    "Namespace": spec("Status Age", _namespace),
    "ConfigMap": spec("Data Age", _config_map),
    "Secret": spec("Type Data Age", _secret),
    "ServiceAccount": spec("Secrets Age", _account),
    "Event": spec("-Name Last_Seen Type Reason Object Subobject+ Source+ Message First_Seen+ Count+ Name+", _event),
    "PriorityClass": spec("Value Global-Default Age PreemptionPolicy", _priority_class),
    "Lease": spec("Holder Age", _lease),
    "Role": spec(_CREATED, _role),
    "ClusterRole": spec(_CREATED, _role),
    "RoleBinding": _BINDINGS,
    "ClusterRoleBinding": _BINDINGS,
    "PersistentVolume": spec(
        "Capacity Access_Modes Reclaim_Policy Status Claim StorageClass VolumeAttributesClass Reason Age VolumeMode+",
        _volume,
    ),
    "PersistentVolumeClaim": spec(
        "Status Volume Capacity Access_Modes StorageClass VolumeAttributesClass Age VolumeMode+", _claim
    ),
    "StorageClass": spec(
        "Provisioner ReclaimPolicy VolumeBindingMode AllowVolumeExpansion:boolean Age", _storage_class
    ),
    "CertificateSigningRequest": spec("Age SignerName Requestor RequestedDuration Condition", _request),
    "ResourceQuota": spec("Request Limit Age", _quota),
    "LimitRange": spec(_CREATED, _limit_range),
    "RuntimeClass": spec("Handler Age", _runtime_class),
    "MutatingWebhookConfiguration": spec("Webhooks Age", _webhooks),
    "ValidatingWebhookConfiguration": spec("Webhooks Age", _webhooks),
    "CustomResourceDefinition": spec(_CREATED, _definition),
    "APIService": spec("Service Available Age", _api_service),
}
