"""Column definitions and the cells below them, by kind."""

from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from typing import Any

import msgspec

from edgekube.apiserver.tables.cells import age

Cells = Callable[[Any, float], Sequence[Any]]


class Column(msgspec.Struct, frozen=True):
    """`wide`: shown by `-o wide` only (priority 1)."""

    name: str
    type: str = "string"
    wide: bool = False
    format: str = ""
    description: str = ""

    def definition(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description or self.name,
            "priority": 1 if self.wide else 0,
        }


class Spec(msgspec.Struct, frozen=True):
    columns: tuple[Column, ...]
    cells: Cells

    @property
    def definitions(self) -> list[dict[str, Any]]:
        return [column.definition() for column in self.columns]


NAME = Column("Name", format="name", description="Name must be unique within a namespace.")
AGE = Column("Age", description="Time since the object was created.")

# Families, by module; each has TABLES: kind -> Spec. Kinds of no family show name and age.
_FAMILIES = {
    "pods": "Pod",
    "workloads": "Deployment ReplicaSet ReplicationController StatefulSet DaemonSet Job CronJob HorizontalPodAutoscaler"
    " PodDisruptionBudget ControllerRevision Scale",
    "network": "Service Endpoints EndpointSlice Ingress IngressClass NetworkPolicy IPAddress ServiceCIDR",
    "cluster": "Node Namespace ConfigMap Secret ServiceAccount Event PriorityClass Lease Role ClusterRole RoleBinding"
    " ClusterRoleBinding PersistentVolume PersistentVolumeClaim StorageClass CertificateSigningRequest ResourceQuota"
    " LimitRange RuntimeClass MutatingWebhookConfiguration ValidatingWebhookConfiguration CustomResourceDefinition"
    " APIService",
}
_MODULES = {kind: module for module, kinds in _FAMILIES.items() for kind in kinds.split()}


def spec(text: str, cells: Cells) -> Spec:
    """Column words: `+` behind one is wide, `_` a space, `:type` a type other than string.

    Name comes first by itself, unless the text begins with `-Name`.
    """
    words = text.split()
    found = [] if words[0] == "-Name" else [NAME]
    for word in words:
        if word == "-Name":
            continue
        name, _, kind = word.partition(":")
        wide = name.endswith("+")
        name = name.removesuffix("+").replace("_", " ")
        if name == "Name":
            found.append(Column("Name", wide=wide, format="name"))
        elif name == "Created At":
            found.append(Column(name, "date"))
        else:
            found.append(AGE if name == "Age" else Column(name, kind or "string", wide))
    return Spec(tuple(found), cells)


@cache
def spec_of(kind: str) -> Spec:
    module = _MODULES.get(kind)
    if module is not None:
        tables: dict[str, Spec] = import_module(f"edgekube.apiserver.tables.{module}").TABLES
        return tables[kind]
    return Spec((NAME, AGE), lambda obj, now: (obj.metadata.name, age(obj.metadata.creationTimestamp, now)))
