"""Who may do what, until RBAC objects are enforced: masters everything, a node its own, accounts reviews of themselves.

The node rules follow kube-apiserver's node authorizer and NodeRestriction: a kubelet reads what its pods reference,
writes its own Node, its pods' status, its lease and events, and asks for tokens of its pods' accounts.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from edgekube.apiserver.backend import Backend
from edgekube.apiserver.leases import NODE_LEASE_NAMESPACE
from edgekube.apiserver.request import GROUP_MASTERS, GROUP_NODES, User
from edgekube.apiserver.requestinfo import RequestInfo
from edgekube.apiserver.resources import Resource, lookup
from edgekube.types import status
from edgekube.types.status import ApiError

NODE_PREFIX = "system:node:"

READ = frozenset({"get", "list", "watch"})
_PODS_BY_NODE = "spec.nodeName"

_NODE_READS = frozenset(
    {
        ("", "services"), ("", "endpoints"), ("", "nodes"), ("", "namespaces"), ("discovery.k8s.io", "endpointslices"),
        ("node.k8s.io", "runtimeclasses"), ("storage.k8s.io", "csidrivers"), ("networking.k8s.io", "networkpolicies"),
        ("scheduling.k8s.io", "priorityclasses"),
    }
)  # fmt: skip
_REVIEWS = frozenset(
    {
        ("authorization.k8s.io", "selfsubjectaccessreviews"),
        ("authorization.k8s.io", "selfsubjectrulesreviews"),
        ("authentication.k8s.io", "selfsubjectreviews"),
    }
)
_NODE_REVIEWS = frozenset({("authentication.k8s.io", "tokenreviews"), ("authorization.k8s.io", "subjectaccessreviews")})
_DISCOVERY_PATHS = (
    "/api", "/apis", "/openapi", "/version", "/healthz", "/livez", "/readyz", "/.well-known/openid-configuration",
    "/openid/v1/jwks",
)  # fmt: skip
_PUBLIC_PATHS = frozenset({"/healthz", "/livez", "/readyz", "/version"})


class Attributes(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is asked (authorizer.Attributes). A request for no resource has a `path`."""

    user: User
    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    field_selector: str = ""


class Decision(msgspec.Struct, frozen=True):
    allowed: bool
    reason: str = ""


ALLOWED = Decision(True)
NO_OPINION = Decision(False)


class Authorizer:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._indexed = False

    def decide(self, asked: Attributes) -> Decision:
        user = asked.user
        if GROUP_MASTERS in user.groups:
            return ALLOWED
        if asked.path:
            return self._path(asked)
        if (asked.group, asked.resource) in _REVIEWS and asked.verb == "create":
            return ALLOWED if "system:authenticated" in user.groups else NO_OPINION
        if GROUP_NODES in user.groups and user.name.startswith(NODE_PREFIX):
            return self._node(asked, user.name.removeprefix(NODE_PREFIX))
        return NO_OPINION

    def require(self, asked: Attributes) -> None:
        """Raise ApiError 403, worded as kubectl knows it, unless the answer is yes."""
        decision = self.decide(asked)
        if not decision.allowed:
            raise refusal(asked, decision.reason)

    async def permit(self, user: User, info: RequestInfo) -> str:
        """For the front (`edgekube.apiserver.permit.Authorizer`): why not, or "" when allowed."""
        asked = Attributes(
            user=user,
            verb=info.verb,
            group=info.group,
            resource=info.resource,
            subresource=info.subresource,
            namespace=info.namespace,
            name=info.name,
            path="" if info.resource else info.path,
        )
        decision = self.decide(asked)
        return "" if decision.allowed else decision.reason or "no rule allows it"

    def _path(self, asked: Attributes) -> Decision:
        path = asked.path.rstrip("/")
        if asked.verb not in ("get", "head", "options"):
            return NO_OPINION
        if path in _PUBLIC_PATHS:
            return ALLOWED
        if "system:authenticated" in asked.user.groups and any(
            path == known or path.startswith(known + "/") for known in _DISCOVERY_PATHS
        ):
            return ALLOWED
        return NO_OPINION

    # -- nodes

    def _node(self, asked: Attributes, node: str) -> Decision:
        what = (asked.group, asked.resource)
        verb, sub = asked.verb, asked.subresource
        if what in _NODE_READS and verb in READ and not sub:
            return ALLOWED
        if what in _NODE_REVIEWS and verb == "create":
            return ALLOWED
        match what:
            case ("", "nodes"):
                own = asked.name == node or (verb == "create" and asked.name in ("", node))
                if sub in ("", "status") and verb in ("create", "update", "patch") and own:
                    return ALLOWED
                return Decision(False, f"node {node!r} is not allowed to modify node {asked.name!r}")
            case ("", "pods"):
                return self._node_pods(asked, node)
            case ("", "events") | ("events.k8s.io", "events"):
                return ALLOWED if verb in ("create", "update", "patch") else NO_OPINION
            case ("coordination.k8s.io", "leases"):
                if asked.namespace == NODE_LEASE_NAMESPACE and asked.name in ("", node) and verb in (
                    "create", "get", "update", "patch", "delete",
                ):  # fmt: skip
                    return ALLOWED
                return Decision(False, "can only access node lease with the same name as the requesting node")
            case ("", "serviceaccounts") if sub == "token" and verb == "create":
                return self._referenced(asked, node, _account_names)
            case ("", "serviceaccounts") if verb == "get" and asked.name:
                return self._referenced(asked, node, _account_names)
            case ("", "secrets") if verb in READ and asked.name:
                return self._referenced(asked, node, _secret_names)
            case ("", "configmaps") if verb in READ and asked.name:
                return self._referenced(asked, node, _config_names)
            case ("", "persistentvolumeclaims") if verb == "get" and asked.name:
                return self._referenced(asked, node, _claim_names)
            case ("", "persistentvolumes") | ("storage.k8s.io", "volumeattachments") if verb == "get" and asked.name:
                return ALLOWED
            case ("storage.k8s.io", "csinodes"):
                return ALLOWED if asked.name in ("", node) else NO_OPINION
            case ("certificates.k8s.io", "certificatesigningrequests") if verb in ("create", "get", "list", "watch"):
                return ALLOWED
        return Decision(False, f"no relationship found between node '{node}' and this object")

    def _node_pods(self, asked: Attributes, node: str) -> Decision:
        verb, sub = asked.verb, asked.subresource
        if verb in ("list", "watch") and not sub:
            # Only its own pods: the whole list would give away every other node's.
            terms = asked.field_selector.replace("==", "=").split(",")
            return (
                ALLOWED
                if f"spec.nodeName={node}" in terms
                else Decision(False, "can only list/watch pods with spec.nodeName field selector")
            )
        if verb == "create" and not sub:
            return ALLOWED  # a mirror pod; the registry checks that it is one, and bound to this node
        pod = self._pods().get(asked.namespace, asked.name)
        if pod is None:
            return ALLOWED if verb == "get" else Decision(False, "the pod does not exist")
        if pod.spec.nodeName != node:
            return Decision(False, f"node {node!r} can only act on pods with spec.nodeName set to itself")
        if verb == "get" or (verb == "delete" and not sub):
            return ALLOWED
        if sub == "status" and verb in ("update", "patch"):
            return ALLOWED
        if sub == "eviction" and verb == "create":
            return ALLOWED
        return NO_OPINION

    def _pods(self) -> Any:
        pods = self._backend.kind(_resource("pods"))
        if not self._indexed:
            pods.add_index(_PODS_BY_NODE, lambda pod: [pod.spec.nodeName])
            self._indexed = True
        return pods

    def _referenced(self, asked: Attributes, node: str, names_of: Callable[[Any], Iterator[str]]) -> Decision:
        for pod in self._pods().by_index(_PODS_BY_NODE, node):
            if pod.metadata.namespace == asked.namespace and asked.name in names_of(pod):
                return ALLOWED
        return Decision(False, f"no relationship found between node '{node}' and this object")


def _resource(plural: str) -> Resource:
    found = lookup("", "v1", plural)
    assert found is not None
    return found


def _account_names(pod: Any) -> Iterator[str]:
    yield pod.spec.serviceAccountName


def _containers(pod: Any) -> Iterator[Any]:
    yield from pod.spec.initContainers
    yield from pod.spec.containers
    yield from pod.spec.ephemeralContainers


def _secret_names(pod: Any) -> Iterator[str]:
    for ref in pod.spec.imagePullSecrets:
        yield ref.name
    for volume in pod.spec.volumes:
        if volume.secret is not None:
            yield volume.secret.secretName
        for source in volume.projected.sources if volume.projected is not None else ():
            if source.secret is not None:
                yield source.secret.name
        if volume.csi is not None and volume.csi.nodePublishSecretRef is not None:
            yield volume.csi.nodePublishSecretRef.name
    for container in _containers(pod):
        for env in container.env:
            if env.valueFrom is not None and env.valueFrom.secretKeyRef is not None:
                yield env.valueFrom.secretKeyRef.name
        for env in container.envFrom:
            if env.secretRef is not None:
                yield env.secretRef.name


def _config_names(pod: Any) -> Iterator[str]:
    yield "kube-root-ca.crt"
    for volume in pod.spec.volumes:
        if volume.configMap is not None:
            yield volume.configMap.name
        for source in volume.projected.sources if volume.projected is not None else ():
            if source.configMap is not None:
                yield source.configMap.name
    for container in _containers(pod):
        for env in container.env:
            if env.valueFrom is not None and env.valueFrom.configMapKeyRef is not None:
                yield env.valueFrom.configMapKeyRef.name
        for env in container.envFrom:
            if env.configMapRef is not None:
                yield env.configMapRef.name


def _claim_names(pod: Any) -> Iterator[str]:
    for volume in pod.spec.volumes:
        if volume.persistentVolumeClaim is not None:
            yield volume.persistentVolumeClaim.claimName
        if volume.ephemeral is not None:
            yield f"{pod.metadata.name}-{volume.name}"


def refusal(asked: Attributes, reason: str = "") -> ApiError:
    """`pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "y"`."""
    user = asked.user.name
    if asked.path:
        return status.failure(
            403, "Forbidden", f'forbidden: User "{user}" cannot {asked.verb} path "{asked.path}"' + _because(reason)
        )
    resource = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
    scope = f' in the namespace "{asked.namespace}"' if asked.namespace else " at the cluster scope"
    return status.forbidden(
        status.qualified(asked.group, asked.resource),
        asked.name,
        f'User "{user}" cannot {asked.verb} resource "{resource}" in API group "{asked.group}"{scope}'
        + _because(reason),
    )


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""
