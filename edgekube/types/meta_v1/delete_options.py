"""meta/v1: delete options.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Int64, Object


class Preconditions(Object, frozen=True, kw_only=True):
    resourceVersion: str | None = None
    uid: str | None = None


class DeleteOptions(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    dryRun: tuple[str, ...] = ()
    gracePeriodSeconds: Int64 | None = None
    ignoreStoreReadErrorWithClusterBreakingPotential: bool | None = None
    orphanDependents: bool | None = None
    preconditions: Preconditions | None = None
    propagationPolicy: str = ""
