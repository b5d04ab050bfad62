"""authentication/v1: every kind of the group.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from collections.abc import Mapping

from edgekube.types._base import EMPTY, Int64, Object, Time, always
from edgekube.types.meta_v1.object_meta import ObjectMeta


class BoundObjectReference(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""


class UserInfo(Object, frozen=True, kw_only=True):
    extra: Mapping[str, tuple[str, ...]] = EMPTY
    groups: tuple[str, ...] = ()
    uid: str = ""
    username: str = ""


class TokenRequestStatus(Object, frozen=True, kw_only=True):
    expirationTimestamp: Time = ""
    token: str = always("")


class TokenReviewSpec(Object, frozen=True, kw_only=True):
    audiences: tuple[str, ...] = ()
    token: str = always("")


class TokenRequestSpec(Object, frozen=True, kw_only=True):
    audiences: tuple[str, ...] = always(())
    boundObjectRef: BoundObjectReference | None = None
    expirationSeconds: Int64 | None = None


class SelfSubjectReviewStatus(Object, frozen=True, kw_only=True):
    userInfo: UserInfo = always(UserInfo())


class TokenReviewStatus(Object, frozen=True, kw_only=True):
    audiences: tuple[str, ...] = ()
    authenticated: bool = False
    error: str = ""
    user: UserInfo = always(UserInfo())


class TokenRequest(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: TokenRequestSpec = always(TokenRequestSpec())
    status: TokenRequestStatus = always(TokenRequestStatus())


class SelfSubjectReview(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    status: SelfSubjectReviewStatus = always(SelfSubjectReviewStatus())


class TokenReview(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: TokenReviewSpec = always(TokenReviewSpec())
    status: TokenReviewStatus = always(TokenReviewStatus())
