"""meta/v1: status.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Int32, Object, always
from edgekube.types.meta_v1.list_meta import ListMeta


class StatusCause(Object, frozen=True, kw_only=True):
    field: str = ""
    message: str = ""
    reason: str = ""


class StatusDetails(Object, frozen=True, kw_only=True):
    kind: str = ""
    causes: tuple[StatusCause, ...] = ()
    group: str = ""
    name: str = ""
    retryAfterSeconds: Int32 = 0
    uid: str = ""


class Status(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    status: str = ""
    code: Int32 = 0
    details: StatusDetails | None = None
    message: str = ""
    reason: str = ""
