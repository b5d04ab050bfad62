"""Who may do what: RBAC bindings and token requests."""

from edgekube.types.authentication_v1 import TokenRequest
from edgekube.types.defaults.fill import each, fill, within
from edgekube.types.rbac_v1 import ClusterRoleBinding, RoleBinding, RoleRef, Subject

GROUP = "rbac.authorization.k8s.io"
TOKEN_SECONDS = 3600


def role_binding(obj: RoleBinding) -> RoleBinding:
    return within(obj, roleRef=_role, subjects=each(_subject))


def cluster_role_binding(obj: ClusterRoleBinding) -> ClusterRoleBinding:
    return within(obj, roleRef=_role, subjects=each(_subject))


def _role(ref: RoleRef) -> RoleRef:
    return fill(ref, apiGroup=GROUP)


def _subject(subject: Subject) -> Subject:
    return fill(subject, apiGroup=GROUP) if subject.kind in ("User", "Group") else subject


def token_request(obj: TokenRequest) -> TokenRequest:
    return within(obj, spec=lambda spec: fill(spec, expirationSeconds=TOKEN_SECONDS))
