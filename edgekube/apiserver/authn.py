"""Who asks: unix credentials, client certificates, bearer tokens, and impersonation on top.

On the unix socket root, the server's own user and the group `edgekube` are cluster admins, which equals root on the
node; everyone else is refused. Over TLS a client certificate names the user (CN) and groups (O); its dates are checked
here, against cluster time, because the machine's clock may be years off at boot.
"""

import grp
import os
import pwd
import ssl
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, Protocol

from edgekube.apiserver.request import ANONYMOUS, GROUP_MASTERS, User
from edgekube.http.messages import Headers, Peer, UnixCredentials, header, header_all
from edgekube.types.status import bad_request, failure, unauthorized

GROUP_AUTHENTICATED: Final = "system:authenticated"
GROUP_UNAUTHENTICATED: Final = "system:unauthenticated"
SERVICE_ACCOUNT_PREFIX: Final = "system:serviceaccount:"
#: Names of the in-process roles: nobody from outside may bear them.
INTERNAL_USERS: Final = frozenset(
    {"system:apiserver", "system:kube-scheduler", "system:kube-controller-manager", "system:cloud-controller-manager"}
)
CERTIFICATES_KEPT: Final = 128  # read client certificates remembered
Subject = tuple[tuple[tuple[str, str], ...], ...]  # as `SSLSocket.getpeercert()` gives it
_EXTRA_PREFIX: Final = "impersonate-extra-"


class TokenAuthenticator(Protocol):
    """Verifies one kind of bearer token (ServiceAccount, bootstrap)."""

    async def authenticate(self, token: str) -> User | None:
        """The bearer, None when the token is not of this kind. Raises ApiError 401 for a bad one."""
        ...


class Authenticator:
    def __init__(
        self, *, now: Callable[[], float], tokens: tuple[TokenAuthenticator, ...] = (), socket_group: str = "edgekube"
    ) -> None:
        self._now = now
        self._tokens = tokens
        self._unix = lru_cache(64)(lambda credentials: unix_user(credentials, socket_group))

    async def authenticate(self, peer: Peer, headers: Headers) -> User:
        """The user of a request, ANONYMOUS without credentials. Raises ApiError 401 or 403."""
        user = await self._identify(peer, headers)
        for name, _ in headers:
            if name.startswith("impersonate-"):
                user = impersonate(user, headers)
                break
        if user.name in INTERNAL_USERS:
            raise unauthorized(f"{user.name} is a role of the server itself and cannot log in")
        return user

    async def _identify(self, peer: Peer, headers: Headers) -> User:
        local = None
        if peer.unix is not None:
            local = self._unix(peer.unix)
            if local is None:
                raise failure(403, "Forbidden", "only root and members of the group edgekube may use this socket")
        authorization = header(headers, "authorization")
        if authorization:
            return await self._bearer(authorization)
        if local is not None:
            return local
        if peer.certificate is not None:
            return certificate_user(peer.certificate, self._now())
        return ANONYMOUS

    async def _bearer(self, authorization: str) -> User:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            for authenticator in self._tokens:
                user = await authenticator.authenticate(token.strip())
                if user is not None:
                    return user
        raise unauthorized()


def unix_user(credentials: UnixCredentials, group: str) -> User | None:
    """The local user as a cluster admin, or None for one who may not use the socket."""
    if credentials.uid not in (0, os.geteuid()):
        try:
            gid = grp.getgrnam(group).gr_gid
        except KeyError:
            return None
        if gid != credentials.gid and gid not in credentials.groups:
            return None
    try:
        name = pwd.getpwuid(credentials.uid).pw_name
    except KeyError:
        name = f"uid:{credentials.uid}"
    return User(name, (GROUP_MASTERS, GROUP_AUTHENTICATED), uid=str(credentials.uid))


def certificate_user(certificate: Mapping[str, Any], now: float) -> User:
    """The user a verified client certificate names. Raises ApiError 401 outside its dates or without a name."""
    user, not_before, not_after = _named(
        certificate.get("subject", ()), certificate.get("notBefore", ""), certificate.get("notAfter", "")
    )
    if now > not_after:
        raise unauthorized(f"the client certificate of {user.name} expired at {certificate['notAfter']}: renew it")
    if now < not_before:
        raise unauthorized(f"the client certificate of {user.name} is not valid before {certificate['notBefore']}")
    return user


@lru_cache(CERTIFICATES_KEPT)
def _named(subject: Subject, not_before: str, not_after: str) -> tuple[User, int, int]:
    """Reading dates costs more than the rest of a GET, and a connection shows the same certificate each time."""
    fields = [pair for rdn in subject for pair in rdn]
    name = next((value for key, value in fields if key == "commonName"), "")
    if not name:
        raise unauthorized("the client certificate names no user (CN)")
    try:
        dates = ssl.cert_time_to_seconds(not_before), ssl.cert_time_to_seconds(not_after)
    except ValueError:
        raise unauthorized("the client certificate's dates cannot be read") from None
    groups = tuple(value for key, value in fields if key == "organizationName")
    return User(name, (*groups, GROUP_AUTHENTICATED)), *dates


def impersonate(user: User, headers: Headers) -> User:
    """The user asked for by Impersonate-* headers (`kubectl --as`). Raises ApiError 403 unless `user` is a master."""
    name = header(headers, "impersonate-user")
    if not name:
        raise bad_request("impersonating a group, uid or extra needs Impersonate-User as well")
    if GROUP_MASTERS not in user.groups:
        raise failure(
            403,
            "Forbidden",
            f'users "{name}" is forbidden: User "{user.name}" cannot impersonate resource "users" in API group "" '
            "at the cluster scope",
        )
    groups = header_all(headers, "impersonate-group")
    if not groups and name.startswith(SERVICE_ACCOUNT_PREFIX):
        groups = list(service_account_groups(name.removeprefix(SERVICE_ACCOUNT_PREFIX).partition(":")[0]))
    if name == ANONYMOUS.name:
        groups = groups or [GROUP_UNAUTHENTICATED]
    elif GROUP_AUTHENTICATED not in groups and GROUP_UNAUTHENTICATED not in groups:
        groups.append(GROUP_AUTHENTICATED)
    extra: dict[str, tuple[str, ...]] = {}
    for key, value in headers:
        if key.startswith(_EXTRA_PREFIX):
            extra[key[len(_EXTRA_PREFIX) :]] = (*extra.get(key[len(_EXTRA_PREFIX) :], ()), value)
    return User(name, tuple(groups), uid=header(headers, "impersonate-uid"), extra=extra)


def service_account_groups(namespace: str) -> tuple[str, ...]:
    return ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
