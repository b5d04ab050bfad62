"""The one error that crosses the API: an exception that carries a meta/v1 Status.

Reasons, codes and wording are those clients match on; `resource` is the plural with its group (`deployments.apps`).
"""

from collections.abc import Iterable, Sequence
from typing import Final

from edgekube.types.fieldpath import FieldError
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.status import Status, StatusCause, StatusDetails

CONFLICT_HINT: Final = "the object has been modified; please apply your changes to the latest version and try again"


class ApiError(Exception):
    """A refused or failed request. `status` is what the client gets."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.message)
        self.status = status

    @property
    def code(self) -> int:
        """The HTTP status code."""
        return self.status.code

    @property
    def reason(self) -> str:
        """The machine-readable reason, such as `NotFound`; "" when there is none."""
        return self.status.reason

    @property
    def message(self) -> str:
        return self.status.message

    @property
    def retry_after_seconds(self) -> int | None:
        """When to try again, if the server said so."""
        details = self.status.details
        return details.retryAfterSeconds or None if details else None


def failure(code: int, reason: str, message: str, details: StatusDetails | None = None) -> ApiError:
    """Any other error."""
    return ApiError(
        Status(
            apiVersion="v1",
            kind="Status",
            metadata=ListMeta(),
            status="Failure",
            message=message,
            reason=reason,
            details=details,
            code=code,
        )
    )


def success(details: StatusDetails | None = None) -> Status:
    """What a delete answers."""
    return Status(apiVersion="v1", kind="Status", status="Success", details=details)


def qualified(group: str, resource: str) -> str:
    """`deployments.apps`; plain `pods` for the core group."""
    return f"{resource}.{group}" if group else resource


def _details(resource: str, name: str, causes: Sequence[StatusCause] = (), retry_seconds: int = 0) -> StatusDetails:
    kind, _, group = resource.partition(".")
    return StatusDetails(name=name, group=group, kind=kind, causes=tuple(causes), retryAfterSeconds=retry_seconds)


def not_found(resource: str, name: str) -> ApiError:
    """404: no such object."""
    return failure(404, "NotFound", f'{resource} "{name}" not found', _details(resource, name))


def unknown_resource() -> ApiError:
    """404: no such path or resource."""
    return failure(404, "NotFound", "the server could not find the requested resource")


def already_exists(resource: str, name: str) -> ApiError:
    """409 to a create."""
    return failure(409, "AlreadyExists", f'{resource} "{name}" already exists', _details(resource, name))


def generate_name_conflict(resource: str, name: str) -> ApiError:
    """409: generateName drew names that were taken."""
    message = f'{resource} "{name}" already exists, the server was not able to generate a unique name for the object'
    return failure(409, "AlreadyExists", message, _details(resource, name, retry_seconds=1))


def conflict(resource: str, name: str, detail: str = CONFLICT_HINT) -> ApiError:
    """409: optimistic concurrency, or a precondition that no longer holds."""
    message = f'Operation cannot be fulfilled on {resource} "{name}": {detail}'
    return failure(409, "Conflict", message, _details(resource, name))


def apply_conflict(conflicts: Sequence[tuple[str, str]]) -> ApiError:
    """409 to server-side apply; `conflicts` are (manager as shown to the user, field path)."""
    causes = tuple(
        StatusCause(reason="FieldManagerConflict", message=f"conflict with {manager}", field=path)
        for manager, path in conflicts
    )
    noun = "conflict" if len(causes) == 1 else "conflicts"
    by_manager: dict[str, list[str]] = {}
    for cause in causes:
        by_manager.setdefault(cause.message, []).append(cause.field)
    if len(causes) == 1:
        told = f"{causes[0].message}: {causes[0].field}"
    else:
        told = "\n".join(
            f"{manager}:\n" + "\n".join(f"- {path}" for path in paths) for manager, paths in sorted(by_manager.items())
        )
    message = f"Apply failed with {len(causes)} {noun}: {told}"
    return failure(409, "Conflict", message, StatusDetails(causes=causes))


def invalid(group: str, kind: str, name: str, errors: Iterable[FieldError]) -> ApiError:
    """422: the object breaks rules; every one is a cause."""
    found = tuple(errors)
    texts = list(dict.fromkeys(str(error) for error in found))
    told = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    full = f"{kind}.{group}" if group else kind
    causes = tuple(error.cause() for error in found)
    return failure(
        422,
        "Invalid",
        f'{full} "{name}" is invalid: {told}',
        StatusDetails(name=name, group=group, kind=kind, causes=causes),
    )


def unauthorized(message: str = "Unauthorized") -> ApiError:
    """401: who are you?"""
    return failure(401, "Unauthorized", message)


def forbidden(resource: str, name: str, detail: str) -> ApiError:
    """403: authorization or admission refused. `name` is "" for collections."""
    if not resource:
        return failure(403, "Forbidden", f"forbidden: {detail}")
    what = f'{resource} "{name}" is forbidden' if name else f"{resource} is forbidden"
    return failure(403, "Forbidden", f"{what}: {detail}", _details(resource, name))


def bad_request(message: str) -> ApiError:
    """400: the request itself makes no sense."""
    return failure(400, "BadRequest", message)


def gone(message: str) -> ApiError:
    """410: no longer there and will not come back."""
    return failure(410, "Gone", message)


def expired(message: str) -> ApiError:
    """410: the resourceVersion or continue token is too old; list again."""
    return failure(410, "Expired", message)


def too_large(detail: str) -> ApiError:
    """413: the body passes the limit."""
    return failure(413, "RequestEntityTooLarge", f"Request entity too large: {detail}")


def unsupported_media_type(accepted: Sequence[str]) -> ApiError:
    """415: a body in a format that is not spoken."""
    listed = ", ".join(accepted)
    message = f"the body of the request was in an unknown format - accepted media types include: {listed}"
    return failure(415, "UnsupportedMediaType", message)


def not_acceptable(accepted: Sequence[str]) -> ApiError:
    """406: the client accepts nothing that is spoken."""
    return failure(406, "NotAcceptable", f"only the following media types are accepted: {', '.join(accepted)}")


def method_not_supported(resource: str, action: str) -> ApiError:
    """405: this resource has no such verb."""
    message = f'{action} is not supported on resources of kind "{resource}"'
    return failure(405, "MethodNotAllowed", message, _details(resource, ""))


def too_many_requests(message: str, retry_seconds: int = 1, causes: Sequence[StatusCause] = ()) -> ApiError:
    """429: later; also how an eviction is told that a disruption budget forbids it."""
    details = StatusDetails(causes=tuple(causes), retryAfterSeconds=retry_seconds)
    return failure(429, "TooManyRequests", message, details)


def timeout(message: str, retry_seconds: int = 0) -> ApiError:
    """504: not done in time; it may still happen."""
    return failure(504, "Timeout", f"Timeout: {message}", StatusDetails(retryAfterSeconds=retry_seconds))


def service_unavailable(message: str, retry_seconds: int = 0) -> ApiError:
    """503: no quorum, or still starting."""
    details = StatusDetails(retryAfterSeconds=retry_seconds) if retry_seconds else None
    return failure(503, "ServiceUnavailable", message, details)


def internal(message: str) -> ApiError:
    """500: our fault."""
    details = StatusDetails(causes=(StatusCause(message=message),))
    return failure(500, "InternalError", f"Internal error occurred: {message}", details)
