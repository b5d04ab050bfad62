"""What a kind does on the way to the store, beyond what every object does (registry strategies).

Hooks get plain dicts which they own and may change. A strategy has no state; `old` is never changed.
"""

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from edgekube.apiserver.request import User
from edgekube.types.pod_resources import PodAsks, qos_class

Obj = dict[str, Any]

POD_GRACE_SECONDS = 30


class Strategy:
    """The plain kind: status is not the writer's to set, everything else is."""

    #: a delete without propagationPolicy: "background" or "orphan" (finalizers of dependents)
    default_propagation = "background"
    #: a PUT of an absent object creates it
    create_on_update = False

    def prepare_create(self, obj: Obj) -> None:
        obj.pop("status", None)

    def record_creator(self, obj: Obj, user: User) -> None:
        """For kinds that say who made them; called on create."""

    def prepare_update(self, new: Obj, old: Obj) -> None:
        _keep(new, old, "status")

    def prepare_status(self, new: Obj, old: Obj) -> None:
        """Status and what metadata a status writer may touch; the rest stays."""
        for key in [key for key in new if key not in ("status", "metadata", "kind", "apiVersion")]:
            del new[key]
        for key, value in old.items():
            if key not in ("status", "metadata"):
                new[key] = value
        _keep(new["metadata"], old["metadata"], "labels", "ownerReferences", "finalizers")

    def prepare_sub(self, subresource: str, new: Obj, old: Obj) -> None:
        """A PUT or PATCH of another subresource; scale and binding are made by the server and right already."""

    def grace_seconds(self, obj: Obj, asked: int | None) -> int:
        """Seconds between a delete and the object's end; 0 removes it at once."""
        return 0

    def after_delete_mark(self, obj: Obj) -> None:
        """The object has just got its deletionTimestamp."""

    def may_remove(self, obj: Obj) -> bool:
        """Whether a marked object without finalizers and without grace left can go."""
        return True


def _keep(new: Obj, old: Obj, *names: str) -> None:
    for name in names:
        if name in old:
            new[name] = old[name]
        else:
            new.pop(name, None)


class Plain(Strategy):
    """Kinds without a status."""

    def prepare_create(self, obj: Obj) -> None:
        pass

    def prepare_update(self, new: Obj, old: Obj) -> None:
        pass


class Replication(Strategy):
    default_propagation = "orphan"


class Job(Strategy):
    """Generates the selector unless manualSelector is set (jobStrategy.generateSelector)."""

    def prepare_create(self, obj: Obj) -> None:
        super().prepare_create(obj)
        spec = obj["spec"]
        if spec.get("manualSelector"):
            return
        template = spec.setdefault("template", {})
        template["metadata"] = metadata = dict(template.get("metadata") or {})
        metadata["labels"] = labels = dict(metadata.get("labels") or {})
        uid, name = obj["metadata"]["uid"], obj["metadata"].get("name", "")
        generated = {"batch.kubernetes.io/controller-uid": uid, "controller-uid": uid}
        for key, value in generated.items():
            labels.setdefault(key, value)
        labels.setdefault("batch.kubernetes.io/job-name", name)
        labels.setdefault("job-name", name)
        selector = dict(spec.get("selector") or {})
        match = dict(selector.get("matchLabels") or {})
        match.setdefault("batch.kubernetes.io/controller-uid", uid)
        spec["selector"] = {**selector, "matchLabels": match}


class Pod(Strategy):
    def prepare_create(self, obj: Obj) -> None:
        obj["status"] = {"phase": "Pending", "qosClass": qos_class(msgspec.convert(obj["spec"], PodAsks))}
        if obj["spec"].get("schedulingGates"):
            condition = {
                "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates", "lastProbeTime": None,
                "lastTransitionTime": None, "observedGeneration": 1,
            }  # fmt: skip
            obj["status"]["conditions"] = [{k: v for k, v in condition.items() if v is not None}]

    def prepare_sub(self, subresource: str, new: Obj, old: Obj) -> None:
        if subresource == "ephemeralcontainers":
            added = (new.get("spec") or {}).get("ephemeralContainers")
            new["spec"] = {**old["spec"], **({"ephemeralContainers": added} if added else {})}
            _keep(new, old, "status")
            new["metadata"] = {**old["metadata"], "resourceVersion": new["metadata"].get("resourceVersion", "")}
        elif subresource == "resize":
            spec = dict(old["spec"])
            for part in ("containers", "initContainers"):
                wanted = {c["name"]: c for c in (new.get("spec") or {}).get(part) or ()}
                if part in spec:
                    spec[part] = [_resized(c, wanted.get(c["name"])) for c in spec[part]]
            new["spec"] = spec
            _keep(new, old, "status")

    def prepare_status(self, new: Obj, old: Obj) -> None:
        new["spec"] = old["spec"]
        _keep(new["metadata"], old["metadata"], "ownerReferences")
        status_ = new.get("status")
        if isinstance(status_, dict) and "qosClass" in old.get("status", {}):
            status_["qosClass"] = old["status"]["qosClass"]

    def grace_seconds(self, obj: Obj, asked: int | None) -> int:
        spec = obj.get("spec") or {}
        grace = asked if asked is not None else spec.get("terminationGracePeriodSeconds", POD_GRACE_SECONDS)
        if not spec.get("nodeName") or (obj.get("status") or {}).get("phase") in ("Failed", "Succeeded"):
            return 0
        return 1 if grace < 0 else int(grace)


def _resized(old: Obj, new: Obj | None) -> Obj:
    if new is None:
        return old
    return {**old, **{key: new[key] for key in ("resources", "resizePolicy") if key in new}}


class Namespace(Strategy):
    """Goes in two steps: deletion marks it Terminating, and it ends when `finalize` has emptied spec.finalizers."""

    def prepare_create(self, obj: Obj) -> None:
        spec = dict(obj.get("spec") or {})
        finalizers = list(spec.get("finalizers") or [])
        if "kubernetes" not in finalizers:
            finalizers.append("kubernetes")
        obj["spec"] = {**spec, "finalizers": finalizers}
        obj["status"] = {"phase": "Active"}
        labels = dict(obj["metadata"].get("labels") or {})
        labels["kubernetes.io/metadata.name"] = obj["metadata"].get("name", "")
        obj["metadata"]["labels"] = labels

    def prepare_sub(self, subresource: str, new: Obj, old: Obj) -> None:
        _keep(new, old, "status")

    def prepare_update(self, new: Obj, old: Obj) -> None:
        _keep(new, old, "status")
        new["spec"] = {**(new.get("spec") or {}), "finalizers": (old.get("spec") or {}).get("finalizers", [])}
        labels = dict(new["metadata"].get("labels") or {})
        labels["kubernetes.io/metadata.name"] = new["metadata"]["name"]
        new["metadata"]["labels"] = labels

    def after_delete_mark(self, obj: Obj) -> None:
        obj["status"] = {**(obj.get("status") or {}), "phase": "Terminating"}

    def may_remove(self, obj: Obj) -> bool:
        return not (obj.get("spec") or {}).get("finalizers")


class Node(Strategy):
    def prepare_create(self, obj: Obj) -> None:
        """A node registers itself with its status."""


class Secret(Plain):
    def prepare_create(self, obj: Obj) -> None:
        _fold_string_data(obj)

    def prepare_update(self, new: Obj, old: Obj) -> None:
        _fold_string_data(new)


def _fold_string_data(obj: Obj) -> None:
    """stringData is write-only: it goes into data (defaults do it where they run; this is for merged objects)."""
    text = obj.pop("stringData", None)
    if text:
        from base64 import b64encode

        obj["data"] = {**(obj.get("data") or {}), **{k: b64encode(v.encode()).decode() for k, v in text.items()}}


class Service(Strategy):
    create_on_update = True

    def prepare_update(self, new: Obj, old: Obj) -> None:
        _keep(new, old, "status")
        _follow_cluster_ip(new["spec"], old["spec"])
        _keep_allocated(new["spec"], old["spec"])
        _drop_with_type(new["spec"], old["spec"])


def _follow_cluster_ip(new: Obj, old: Obj) -> None:
    """A writer that changes only clusterIP means clusterIPs too (NormalizeClusterIPs)."""
    if new.get("clusterIP") == old.get("clusterIP") or new.get("clusterIPs") != old.get("clusterIPs"):
        return
    if new.get("clusterIP"):
        new["clusterIPs"] = [new["clusterIP"]]
    else:
        new.pop("clusterIPs", None)


def _wants_node_ports(spec: Obj) -> bool:
    kind = spec.get("type")
    return kind == "NodePort" or (kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False)


def _keep_allocated(new: Obj, old: Obj) -> None:
    """A writer that leaves out what the server gave keeps it (patchAllocatedValues)."""
    if "ExternalName" not in (new.get("type"), old.get("type")) and not new.get("clusterIP"):
        _keep(new, old, "clusterIP", "clusterIPs")
    if not (_wants_node_ports(new) and _wants_node_ports(old)):
        return
    held = {(p.get("protocol"), p["port"]): p["nodePort"] for p in old.get("ports") or () if p.get("nodePort")}
    used = {p.get("nodePort") for p in new.get("ports") or ()}
    for port in new.get("ports") or ():
        given = held.get((port.get("protocol"), port["port"]))
        if not port.get("nodePort") and given and given not in used:
            port["nodePort"] = given
    if "healthCheckNodePort" in old and not new.get("healthCheckNodePort"):
        new["healthCheckNodePort"] = old["healthCheckNodePort"]


def _drop_with_type(new: Obj, old: Obj) -> None:
    """Fields only the old type had go with it, unless the writer changed them (dropTypeDependentFields)."""
    if new.get("type") == old.get("type") and new.get("externalTrafficPolicy") == old.get("externalTrafficPolicy"):
        return
    if new.get("type") == "ExternalName":
        for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if new.get(name) == old.get(name):
                new.pop(name, None)
    if not _wants_node_ports(new) and _wants_node_ports(old):
        before = [p.get("nodePort") for p in old.get("ports") or ()]
        if all(p.get("nodePort") in (None, *before) for p in new.get("ports") or ()):
            for port in new.get("ports") or ():
                port.pop("nodePort", None)
    external = new.get("type") in ("NodePort", "LoadBalancer") or bool(new.get("externalIPs"))
    balanced = new.get("type") == "LoadBalancer"
    checked = balanced and new.get("externalTrafficPolicy") == "Local"
    for name, wanted in (
        ("externalTrafficPolicy", external),
        ("healthCheckNodePort", checked),
        ("allocateLoadBalancerNodePorts", balanced),
        ("loadBalancerClass", balanced),
    ):
        if not wanted and new.get(name) == old.get(name):
            new.pop(name, None)


class CreateOnUpdate(Plain):
    create_on_update = True


class Csr(Strategy):
    """The signer trusts who asked: the server writes it down (csrStrategy)."""

    def record_creator(self, obj: Obj, user: User) -> None:
        spec = obj["spec"]
        for name in ("username", "uid", "groups", "extra"):
            spec.pop(name, None)
        spec["username"] = user.name
        if user.uid:
            spec["uid"] = user.uid
        if user.groups:
            spec["groups"] = list(user.groups)
        if user.extra:
            spec["extra"] = {key: list(values) for key, values in user.extra.items()}

    def prepare_update(self, new: Obj, old: Obj) -> None:
        new["spec"] = old["spec"]
        _keep(new, old, "status")


class Claim(Strategy):
    def prepare_create(self, obj: Obj) -> None:
        obj["status"] = {"phase": "Pending"}


class Volume(Strategy):
    def prepare_create(self, obj: Obj) -> None:
        obj["status"] = {"phase": "Pending"}


PLAIN = Plain()
WITH_STATUS = Strategy()

STRATEGIES: Mapping[str, Strategy] = {
    "pod": Pod(),
    "namespace": Namespace(),
    "node": Node(),
    "secret": Secret(),
    "service": Service(),
    "orphaning": Replication(),
    "job": Job(),
    "createonupdate": CreateOnUpdate(),
    "csr": Csr(),
    "claim": Claim(),
    "volume": Volume(),
}


def new_uid() -> str:
    """A random UUID (RFC 9562, version 4); by hand, for `uuid` takes five times as long to make and print one."""
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
