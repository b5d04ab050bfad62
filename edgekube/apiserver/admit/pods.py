"""Pods on create: priority, service account and its token volume, default tolerations. On update, what of this a
configuration leaves out stays as it is.
"""

from typing import Any

import msgspec

from edgekube.apiserver.backend import Backend
from edgekube.apiserver.call import Call
from edgekube.apiserver.resources import Resource, lookup
from edgekube.types import status
from edgekube.types.names import generate

Obj = dict[str, Any]

TOKEN_MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
TOKEN_LIFETIME_SECONDS = 3607  # kube-apiserver's value: an hour, told apart from one somebody wrote
NOT_READY_SECONDS = 300  # DefaultTolerationSeconds
MIRROR_ANNOTATION = "kubernetes.io/config.mirror"

SYSTEM_PRIORITIES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


def _resource(group: str, plural: str) -> Resource:
    found = lookup(group, "v1", plural)
    assert found is not None
    return found


def mutate(backend: Backend, call: Call, new: Obj, old: Obj | None) -> None:
    spec = new["spec"]
    if old is not None:
        for name in ("priority", "preemptionPolicy"):
            if name in old["spec"]:
                spec.setdefault(name, old["spec"][name])
        _tolerations(spec)
        return
    _priority(backend, call, spec)
    _runtime_class(backend, call, spec)
    mirror = MIRROR_ANNOTATION in (new["metadata"].get("annotations") or {})
    if not mirror:
        _service_account(backend, call, spec)
    _tolerations(spec)


def _priority(backend: Backend, call: Call, spec: Obj) -> None:
    """Priority: the class gives number and preemption policy; naming none takes the global default."""
    classes = backend.kind(_resource("scheduling.k8s.io", "priorityclasses"))
    name = spec.get("priorityClassName", "")
    value, policy = 0, ""
    if name:
        found = classes.get("", name)
        if found is not None:
            value, policy = found.value, found.preemptionPolicy
        elif name in SYSTEM_PRIORITIES:
            value = SYSTEM_PRIORITIES[name]
        else:
            raise status.forbidden("pods", call.name, f"no PriorityClass with name {name} was found")
    else:
        defaults = [c for c in classes.list() if c.globalDefault]
        if defaults:
            found = min(defaults, key=lambda c: c.value)
            name, value, policy = found.metadata.name, found.value, found.preemptionPolicy
            spec["priorityClassName"] = name
    given = spec.get("priority")
    if given is not None and given != value:
        raise status.forbidden(
            "pods",
            call.name,
            f"the integer value of priority ({given}) must not be provided in pod spec; priority admission controller "
            f"computed {value} from the given PriorityClass name",
        )
    spec["priority"] = value
    policy = policy or "PreemptLowerPriority"
    if spec.get("preemptionPolicy", policy) != policy:
        raise status.forbidden(
            "pods",
            call.name,
            f"the string value of PreemptionPolicy ({spec['preemptionPolicy']}) must not be provided in pod spec; "
            f"priority admission controller computed {policy} from the given PriorityClass name",
        )
    spec["preemptionPolicy"] = policy


def _runtime_class(backend: Backend, call: Call, spec: Obj) -> None:
    """RuntimeClass: the class must exist; what it costs and where it runs goes into the pod."""
    name = spec.get("runtimeClassName", "")
    if not name:
        return
    found = backend.kind(_resource("node.k8s.io", "runtimeclasses")).get("", name)
    if found is None:
        raise status.forbidden("pods", call.name, f'pod rejected: RuntimeClass "{name}" not found')
    cost = dict(found.overhead.podFixed) if found.overhead is not None else {}
    if cost:
        if spec.get("overhead", cost) != cost:
            why = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
            raise status.forbidden("pods", call.name, why)
        spec["overhead"] = cost
    if found.scheduling is None:
        return
    wanted = dict(spec.get("nodeSelector") or {})
    for key, value in found.scheduling.nodeSelector.items():
        if wanted.setdefault(key, value) != value:
            why = f"pod rejected: conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
            raise status.forbidden("pods", call.name, why + f"pod.spec.nodeSelector[{key}] = {wanted[key]}")
    if wanted:
        spec["nodeSelector"] = wanted
    held = list(spec.get("tolerations") or ())
    given = msgspec.to_builtins(found.scheduling.tolerations)
    spec["tolerations"] = [*held, *(t for t in given if t not in held)]


def _service_account(backend: Backend, call: Call, spec: Obj) -> None:
    name = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    spec["serviceAccountName"] = spec["serviceAccount"] = name
    account = backend.kind(_resource("", "serviceaccounts")).get(call.namespace, name)
    if account is None:
        why = f'error looking up service account {call.namespace}/{name}: serviceaccount "{name}" not found'
        raise status.forbidden("pods", call.name, why)
    automount = spec.get("automountServiceAccountToken")
    if automount is None:
        automount = account.automountServiceAccountToken
    if automount is not False:
        _mount_token(spec)
    if not spec.get("imagePullSecrets") and account.imagePullSecrets:
        spec["imagePullSecrets"] = [{"name": ref.name} for ref in account.imagePullSecrets]


def _mount_token(spec: Obj) -> None:
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    bare = [c for c in containers if all(m.get("mountPath") != TOKEN_MOUNT_PATH for m in c.get("volumeMounts") or ())]
    volumes = list(spec.get("volumes") or ())
    volume = next((v["name"] for v in volumes if _is_token_volume(v)), "")
    if not volume:
        if not bare:
            return
        volume = generate("kube-api-access-")
        volumes.append({"name": volume, "projected": _projection()})
        spec["volumes"] = volumes
    for container in bare:
        mount = {"name": volume, "readOnly": True, "mountPath": TOKEN_MOUNT_PATH}
        container["volumeMounts"] = [*(container.get("volumeMounts") or ()), mount]


def _is_token_volume(volume: Obj) -> bool:
    return volume.get("name", "").startswith("kube-api-access-") and "projected" in volume


def _projection() -> Obj:
    return {
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": TOKEN_LIFETIME_SECONDS, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {
                "downwardAPI": {
                    "items": [
                        {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
                    ]
                }
            },
        ],
        "defaultMode": 420,
    }


def _tolerations(spec: Obj) -> None:
    """DefaultTolerationSeconds and TaintNodesByCondition's memory-pressure toleration."""
    held = list(spec.get("tolerations") or ())
    before = len(held)
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(_tolerates(t, key) for t in held):
            held.append(
                {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": NOT_READY_SECONDS}
            )
    if len(held) > before:
        spec["tolerations"] = held


def _tolerates(toleration: Obj, key: str) -> bool:
    return toleration.get("key", "") in ("", key) and toleration.get("effect", "") in ("", "NoExecute")
