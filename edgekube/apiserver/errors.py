"""What callers of the API are told of a store's refusal, and the refusals only the registry knows."""

from typing import TYPE_CHECKING

from edgekube.store.api import Compacted, Fenced, FutureRevision, NotLeader, ReadOnly, StoreError, TooLarge
from edgekube.types import status
from edgekube.types.meta_v1 import StatusCause, StatusDetails
from edgekube.types.status import ApiError

if TYPE_CHECKING:
    from edgekube.apiserver.resources import Resource


def from_store(error: StoreError) -> ApiError:
    match error:
        case Compacted():
            return status.expired(f"too old resource version: {error}")
        case FutureRevision():
            return status.timeout(f"Too large resource version: {error}", 1)
        case NotLeader():
            return status.service_unavailable(f"the store takes no writes now: {error}", 1)
        case Fenced():
            return status.failure(409, "Conflict", f"the leadership this write belongs to has ended: {error}")
        case ReadOnly():
            return status.service_unavailable(f"the store is read-only: {error}")
        case TooLarge():
            return status.too_large(str(error))
    return status.internal(str(error))


def version_too_large(wanted: int, current: int) -> ApiError:
    """A resourceVersion not reached yet: the caller may ask again (storage.NewTooLargeResourceVersionError)."""
    cause = StatusCause(reason="ResourceVersionTooLarge", message="Too large resource version")
    return status.failure(
        504,
        "Timeout",
        f"Timeout: Too large resource version: {wanted}, current: {current}",
        StatusDetails(causes=(cause,), retryAfterSeconds=1),
    )


def namespace_terminating(res: "Resource", name: str, namespace: str) -> ApiError:
    cause = StatusCause(
        reason="NamespaceTerminating", message=f"namespace {namespace} is being terminated", field="metadata.namespace"
    )
    why = f"unable to create new content in namespace {namespace} because it is being terminated"
    return status.failure(
        403,
        "Forbidden",
        f'{res.qualified} "{name}" is forbidden: {why}',
        StatusDetails(kind=res.plural, group=res.group, name=name, causes=(cause,)),
    )
