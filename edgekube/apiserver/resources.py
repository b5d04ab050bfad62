"""The resource table: what is served, as rows. A new kind is a row here and, where it behaves, a strategy.

Discovery, the registry and the in-process client all read this table.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import msgspec

from edgekube.apiserver.schema import Node, schema_of
from edgekube.apiserver.strategies import PLAIN, STRATEGIES, WITH_STATUS, Strategy
from edgekube.types import resources as names
from edgekube.types.registry import class_of, gvk_of

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_VERBS = {
    "review": ("create",),
    "readonly": ("get", "list"),
    "onebyone": tuple(verb for verb in ALL_VERBS if verb != "deletecollection"),
}


class Subresource(msgspec.Struct, frozen=True, gc=False):
    """`name`, the kind it speaks, and the verbs it knows. `served`: by the registry, else by the front's streams."""

    name: str
    kind: str
    group: str
    version: str
    verbs: tuple[str, ...]
    served: bool = True


class Resource(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One row. `stored_as` names the resource whose keys and schema it shares ("" and its own plural, mostly)."""

    group: str
    version: str
    plural: str
    singular: str
    kind: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    subresources: Mapping[str, Subresource] = {}
    strategy: str = ""  # name in edgekube.apiserver.strategies
    validation: str = ""  # module in edgekube.apiserver.validation
    generation: bool = False  # metadata.generation counts changes of the desired state
    fields: tuple[str, ...] = ()  # selectable fields beyond metadata.name and metadata.namespace
    versioned: bool = False  # an update must name the resourceVersion it replaces (AllowUnconditionalUpdate is false)
    volatile: bool = False  # lives in the store of events
    stored_as: tuple[str, str, str] | None = None  # (group, version, plural) of the storage resource

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """`deployments.apps`, or the bare plural of the core group."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def list_kind(self) -> str:
        return self.kind + "List"

    @property
    def stored_name(self) -> str:
        """`GROUP/VERSION/KIND` of what lies in the store, empty for a kind that is never stored."""
        if "update" not in self.verbs:
            return ""
        at = storage_of(self)
        return f"{at.group}/{at.version}/{at.kind}"

    @property
    def cls(self) -> type[Any]:
        """The Struct of the kind; its module is imported on first use."""
        return class_of(self.group, self.version, self.kind)

    @property
    def behaviour(self) -> Strategy:
        """The strategy of the kind."""
        return STRATEGIES.get(self.strategy) or (WITH_STATUS if self.has_status else PLAIN)

    @property
    def schema(self) -> Node:
        return schema_of(self.cls)  # type: ignore[arg-type]

    @property
    def has_status(self) -> bool:
        return "status" in self.subresources


# What a row adds to its names (edgekube.types.resources): `plural[.group[/version]] word...`. Words: `review` (create
# only), `readonly`, `onebyone` (no deletecollection), `generation`, `versioned`, `volatile`, sub=, strategy=, val=,
# fields=, as=. Without a row: plain.
_BEHAVIOUR = """
bindings review
componentstatuses readonly
configmaps val=config
endpoints strategy=createonupdate val=endpoints
events volatile strategy=createonupdate val=event fields=involvedObject.kind,involvedObject.namespace,\
involvedObject.name,involvedObject.uid,\
involvedObject.apiVersion,involvedObject.resourceVersion,involvedObject.fieldPath,reason,reportingComponent,source,type
namespaces onebyone sub=status,finalize strategy=namespace val=namespace fields=status.phase
nodes sub=status strategy=node val=node fields=spec.unschedulable
persistentvolumeclaims sub=status strategy=claim
persistentvolumes sub=status strategy=volume
pods generation sub=status,binding,eviction,ephemeralcontainers,resize,log,exec,attach,portforward strategy=pod \
val=pod fields=spec.nodeName,spec.restartPolicy,spec.schedulerName,spec.serviceAccountName,spec.hostNetwork,\
status.phase,status.podIP,status.podIPs,status.nominatedNodeName
podtemplates val=podtemplate
replicationcontrollers generation sub=status,scale strategy=orphaning val=replicationcontroller fields=status.replicas
resourcequotas sub=status
secrets strategy=secret val=secret fields=type
serviceaccounts sub=token val=serviceaccount
services sub=status strategy=service val=service fields=spec.clusterIP,spec.type
mutatingadmissionpolicies.admissionregistration.k8s.io versioned generation
mutatingadmissionpolicybindings.admissionregistration.k8s.io versioned generation
mutatingwebhookconfigurations.admissionregistration.k8s.io versioned generation
validatingadmissionpolicies.admissionregistration.k8s.io versioned generation sub=status
validatingadmissionpolicybindings.admissionregistration.k8s.io versioned generation
validatingwebhookconfigurations.admissionregistration.k8s.io versioned generation
customresourcedefinitions.apiextensions.k8s.io versioned generation sub=status
apiservices.apiregistration.k8s.io versioned sub=status
controllerrevisions.apps val=controllerrevision
daemonsets.apps generation sub=status val=daemonset
deployments.apps generation sub=status,scale val=deployment
replicasets.apps generation sub=status,scale val=replicaset fields=status.replicas
statefulsets.apps generation sub=status,scale val=statefulset
selfsubjectreviews.authentication.k8s.io review
tokenreviews.authentication.k8s.io review
localsubjectaccessreviews.authorization.k8s.io review
selfsubjectaccessreviews.authorization.k8s.io review
selfsubjectrulesreviews.authorization.k8s.io review
subjectaccessreviews.authorization.k8s.io review
horizontalpodautoscalers.autoscaling/v1 sub=status as=autoscaling/v2/horizontalpodautoscalers
horizontalpodautoscalers.autoscaling/v2 sub=status
cronjobs.batch generation sub=status val=cronjob
jobs.batch generation sub=status strategy=job val=job fields=status.successful
certificatesigningrequests.certificates.k8s.io sub=status,approval strategy=csr \
val=certificatesigningrequest fields=spec.signerName
leases.coordination.k8s.io versioned strategy=createonupdate val=lease
endpointslices.discovery.k8s.io generation val=endpointslice
events.events.k8s.io volatile as=/v1/events fields=regarding.kind,regarding.namespace,regarding.name,regarding.uid,\
regarding.apiVersion,regarding.resourceVersion,regarding.fieldPath,reason,reportingController,type
flowschemas.flowcontrol.apiserver.k8s.io generation sub=status
prioritylevelconfigurations.flowcontrol.apiserver.k8s.io generation sub=status
ingressclasses.networking.k8s.io generation
ingresses.networking.k8s.io generation sub=status val=ingress
networkpolicies.networking.k8s.io generation val=networkpolicy
servicecidrs.networking.k8s.io sub=status
poddisruptionbudgets.policy versioned generation sub=status val=poddisruptionbudget
clusterrolebindings.rbac.authorization.k8s.io val=rbac
clusterroles.rbac.authorization.k8s.io val=rbac
rolebindings.rbac.authorization.k8s.io val=rbac
roles.rbac.authorization.k8s.io val=rbac
deviceclasses.resource.k8s.io generation
resourceclaims.resource.k8s.io sub=status
resourceslices.resource.k8s.io generation fields=spec.driver,spec.nodeName
priorityclasses.scheduling.k8s.io generation val=priorityclass
runtimeclasses.node.k8s.io versioned
csidrivers.storage.k8s.io versioned generation
csinodes.storage.k8s.io versioned
csistoragecapacities.storage.k8s.io versioned
volumeattachments.storage.k8s.io versioned sub=status
"""

_STATUS_VERBS = ("get", "patch", "update")
_STREAM_VERBS = ("create", "get")


def _subresource(name: str, kind: str, group: str, version: str) -> Subresource:
    match name:
        case "scale":
            return Subresource("scale", "Scale", "autoscaling", "v1", _STATUS_VERBS)
        case "binding":
            return Subresource("binding", "Binding", "", "v1", ("create",))
        case "eviction":
            return Subresource("eviction", "Eviction", "policy", "v1", ("create",))
        case "token":
            return Subresource("token", "TokenRequest", "authentication.k8s.io", "v1", ("create",))
        case "finalize":
            return Subresource("finalize", kind, group, version, ("update",))
        case "log":
            return Subresource("log", kind, group, version, ("get",), served=False)
        case "exec" | "attach" | "portforward":
            options = {"exec": "PodExecOptions", "attach": "PodAttachOptions", "portforward": "PodPortForwardOptions"}
            return Subresource(name, options[name], group, version, _STREAM_VERBS, served=False)
    return Subresource(name, kind, group, version, _STATUS_VERBS)


def _behaviours() -> dict[str, list[str]]:
    lines = _BEHAVIOUR.replace("\\\n", "").strip().splitlines()
    return {words[0]: words[1:] for words in map(str.split, lines)}


def _parse() -> Iterator[Resource]:
    behaviours = _behaviours()
    for row in names.RESOURCES:
        words = behaviours.get(row.qualified) or behaviours.get(f"{row.qualified}/{row.version}") or []
        options = dict(word.split("=", 1) for word in words if "=" in word)
        verbs = next((_VERBS[word] for word in words if word in _VERBS), ALL_VERBS)
        stored_as = None
        if "as" in options:
            g, v, p = options["as"].split("/")
            stored_as = (g, v, p)
        subs = [s for s in options.get("sub", "").split(",") if s]
        yield Resource(
            group=row.group,
            version=row.version,
            plural=row.plural,
            singular=row.singular,
            kind=row.kind,
            namespaced=row.namespaced,
            short_names=row.short_names,
            categories=row.categories,
            verbs=verbs,
            subresources={s: _subresource(s, row.kind, row.group, row.version) for s in subs},
            strategy=options.get("strategy", ""),
            validation=options.get("val", ""),
            generation="generation" in words,
            fields=tuple(f for f in options.get("fields", "").split(",") if f),
            versioned="versioned" in words,
            volatile="volatile" in words,
            stored_as=stored_as,
        )


RESOURCES: tuple[Resource, ...] = tuple(_parse())
_BY_PATH = {(r.group, r.version, r.plural): r for r in RESOURCES}
_BY_KIND = {(r.api_version, r.kind): r for r in RESOURCES}


def lookup(group: str, version: str, plural: str) -> Resource | None:
    return _BY_PATH.get((group, version, plural))


@cache
def of_class(cls: type[Any]) -> Resource:
    """The row of a kind's Struct. Raises UnknownKindError for a Struct that is no kind, KeyError for one not served."""
    gvk = gvk_of(cls)  # type: ignore[arg-type]
    return _BY_KIND[gvk.api_version, gvk.kind]


def storage_of(res: Resource) -> Resource:
    """The row under whose key and schema the object is stored."""
    return res if res.stored_as is None else _BY_PATH[res.stored_as]
