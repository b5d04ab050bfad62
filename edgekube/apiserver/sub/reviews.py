"""Reviews: questions that are answered and not stored."""

from typing import Any

import msgspec

from edgekube.apiserver.authz import Attributes, Authorizer, Decision
from edgekube.apiserver.call import Call
from edgekube.apiserver.request import GROUP_MASTERS, GROUP_NODES, User
from edgekube.types import status
from edgekube.types.authentication_v1 import SelfSubjectReviewStatus, UserInfo
from edgekube.types.authorization_v1 import (
    NonResourceRule,
    ResourceRule,
    SubjectAccessReviewStatus,
    SubjectRulesReviewStatus,
)

replace = msgspec.structs.replace


def answer(authorizer: Authorizer, call: Call, body: Any) -> Any:
    """The review with its status. Raises ApiError 422 for one that asks nothing."""
    match call.resource.kind:
        case "SelfSubjectReview":
            return replace(body, status=SelfSubjectReviewStatus(userInfo=_info(call.user)))
        case "SelfSubjectAccessReview":
            return replace(body, status=_access(authorizer, call.user, body.spec, call))
        case "SubjectAccessReview" | "LocalSubjectAccessReview":
            spec = body.spec
            if not spec.user and not spec.groups:
                raise status.failure(
                    422, "Invalid", 'SubjectAccessReview.authorization.k8s.io "" is invalid: spec.user: Required '
                    "value: at least one of user or group must be specified"
                )  # fmt: skip
            user = User(spec.user, tuple(spec.groups), spec.uid, {k: tuple(v) for k, v in spec.extra.items()})
            return replace(body, status=_access(authorizer, user, spec, call))
        case "SelfSubjectRulesReview":
            return replace(body, status=_rules(call.user))
    raise status.method_not_supported(call.resource.qualified, "create")


def _info(user: User) -> UserInfo:
    return UserInfo(
        username=user.name, uid=user.uid, groups=tuple(user.groups), extra={k: tuple(v) for k, v in user.extra.items()}
    )


def _access(authorizer: Authorizer, user: User, spec: Any, call: Call) -> SubjectAccessReviewStatus:
    resource, path = spec.resourceAttributes, spec.nonResourceAttributes
    if (resource is None) == (path is None):
        raise status.failure(
            422, "Invalid", f'{call.resource.kind}.authorization.k8s.io "" is invalid: spec.resourceAttributes: '
            "Invalid value: exactly one of nonResourceAttributes or resourceAttributes must be specified"
        )  # fmt: skip
    if resource is not None:
        asked = Attributes(
            user=user, verb=resource.verb, group=resource.group, resource=resource.resource,
            subresource=resource.subresource, namespace=resource.namespace, name=resource.name,
        )  # fmt: skip
    else:
        asked = Attributes(user=user, verb=path.verb, path=path.path)
    decision: Decision = authorizer.decide(asked)
    return SubjectAccessReviewStatus(allowed=decision.allowed, reason=decision.reason)


def _rules(user: User) -> SubjectRulesReviewStatus:
    """Until RBAC: all or the reviews of oneself. `incomplete` where rules cannot say it (nodes)."""
    if GROUP_MASTERS in user.groups:
        return SubjectRulesReviewStatus(
            resourceRules=(ResourceRule(verbs=("*",), apiGroups=("*",), resources=("*",)),),
            nonResourceRules=(NonResourceRule(verbs=("*",), nonResourceURLs=("*",)),),
            incomplete=False,
        )
    paths = ("/api", "/apis", "/openapi")
    urls = (*(url for path in paths for url in (path, f"{path}/*")), "/version", "/healthz", "/livez", "/readyz")
    reviews = ("selfsubjectaccessreviews", "selfsubjectrulesreviews")
    node = GROUP_NODES in user.groups
    return SubjectRulesReviewStatus(
        resourceRules=(
            ResourceRule(verbs=("create",), apiGroups=("authorization.k8s.io",), resources=reviews),
            ResourceRule(verbs=("create",), apiGroups=("authentication.k8s.io",), resources=("selfsubjectreviews",)),
        ),
        nonResourceRules=(NonResourceRule(verbs=("get",), nonResourceURLs=urls),),
        incomplete=node,
        evaluationError="what a node may do depends on its pods and is no list of rules" if node else "",
    )
