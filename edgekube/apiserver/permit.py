"""May this user do that: the hook for paths and streams, and the refusal in kube-apiserver's words."""

from collections.abc import Awaitable, Callable

from edgekube.apiserver.request import GROUP_MASTERS, User
from edgekube.apiserver.requestinfo import RequestInfo
from edgekube.types.status import ApiError, failure, qualified

#: Why not, or "" when allowed.
Authorizer = Callable[[User, RequestInfo], Awaitable[str]]


async def masters_only(user: User, _info: RequestInfo) -> str:
    """The authorizer of a cluster without RBAC."""
    return "" if GROUP_MASTERS in user.groups else "only members of system:masters may do this"


async def require(authorize: Authorizer, user: User, info: RequestInfo) -> None:
    """Raises ApiError 403 when `authorize` objects."""
    problem = await authorize(user, info)
    if problem:
        raise forbidden_request(user, info, problem)


def forbidden_request(user: User, info: RequestInfo, problem: str) -> ApiError:
    """403 in the words of kube-apiserver's RBAC."""
    if not info.resource:
        what = f'User "{user.name}" cannot {info.verb} path "{info.path}"'
        return failure(403, "Forbidden", f"forbidden: {what}: {problem}")
    resource = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
    scope = f'in the namespace "{info.namespace}"' if info.namespace else "at the cluster scope"
    target = qualified(info.group, info.resource)
    target = f'{target} "{info.name}"' if info.name else target
    return failure(
        403,
        "Forbidden",
        f'{target} is forbidden: User "{user.name}" cannot {info.verb} resource "{resource}" '
        f'in API group "{info.group}" {scope}: {problem}',
    )
