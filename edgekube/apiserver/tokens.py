"""ServiceAccount tokens (KEP-1205): JSON Web Tokens bound to an audience, a time and objects, as kube-apiserver's.

Algorithm: ES256 (ECDSA P-256), signed in the node by libcrypto in 30 us; the public key is published as a JWKS for
OIDC clients. A signature is checked once a token and remembered by the token's hash; dates and bound objects are
checked at every use.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final
from uuid import uuid4

import msgspec

from edgekube.apiserver.authn import GROUP_AUTHENTICATED, SERVICE_ACCOUNT_PREFIX, service_account_groups
from edgekube.apiserver.request import User
from edgekube.pki.sign import Signer
from edgekube.types.status import unauthorized

DEFAULT_ISSUER: Final = "https://kubernetes.default.svc.cluster.local"
_TOKEN_BYTES_MAX: Final = 16 * 1024
_CACHE_MAX: Final = 512


class ObjectRef(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    uid: str = ""


class BoundTo(msgspec.Struct, frozen=True, omit_defaults=True):
    """The private claim `kubernetes.io`."""

    namespace: str
    serviceaccount: ObjectRef
    pod: ObjectRef | None = None
    secret: ObjectRef | None = None
    node: ObjectRef | None = None
    warnafter: int | None = None


class Claims(msgspec.Struct, frozen=True, omit_defaults=True):
    aud: tuple[str, ...]
    exp: int
    iat: int
    iss: str
    kubernetes: BoundTo = msgspec.field(name="kubernetes.io")
    nbf: int
    sub: str
    jti: str = ""


class _Header(msgspec.Struct, frozen=True):
    alg: str
    kid: str = ""


#: Why the objects a token is bound to make it void (deleted, or another of the same name), or "".
BoundCheck = Callable[[BoundTo], Awaitable[str]]


async def _unbound(_bound: BoundTo) -> str:
    return ""


class ServiceAccountTokens:
    """Signs and verifies the tokens of one cluster; what is in them is the registry's affair (TokenRequest).

    `signer` signs; `also` are keys of old whose tokens still count. `audiences` are the API server's own names (the
    issuer when there are none).
    """

    def __init__(
        self,
        signer: Signer,
        *,
        now: Callable[[], float],
        issuer: str = DEFAULT_ISSUER,
        audiences: Sequence[str] = (),
        also: Sequence[Signer] = (),
        check_bound: BoundCheck = _unbound,
    ) -> None:
        self.issuer = issuer
        self.audiences = tuple(audiences) or (issuer,)
        self._signer = signer
        self._keys = {key.key_id: key for key in (signer, *also)}
        self._now = now
        self._check_bound = check_bound
        self._verified: OrderedDict[bytes, Claims] = OrderedDict()
        header = msgspec.json.encode({"alg": "ES256", "kid": signer.key_id})
        self._header = _encode(header)

    def sign(self, claims: Mapping[str, Any]) -> str:
        """The compact form of a token with these claims (RFC 7515) and a `jti` of its own."""
        payload = f"{self._header}.{_encode(msgspec.json.encode({**claims, 'jti': str(uuid4())}))}"
        return f"{payload}.{_encode(self._signer.sign(payload.encode()))}"

    async def authenticate(self, token: str) -> User | None:
        """The ServiceAccount of a bearer token for this API server; None when it is not a token of this issuer.

        Raises ApiError 401 when it is, and is no good.
        """
        found = await self.review(token, self.audiences)
        return None if found is None else found[0]

    async def review(self, token: str, audiences: Sequence[str]) -> tuple[User, tuple[str, ...]] | None:
        """The bearer and which of `audiences` the token is for. None and errors as for `authenticate`."""
        claims = self._claims(token)
        if claims is None:
            return None
        now = self._now()
        if now >= claims.exp:
            raise unauthorized("the service account token has expired")
        # A minute's grace for clocks of other servers, as kube-apiserver's jwt library allows.
        if now < claims.nbf - 60:
            raise unauthorized("the service account token is not valid yet")
        matching = tuple(name for name in audiences if name in claims.aud)
        if not matching:
            raise unauthorized(f"the token is for {', '.join(claims.aud)}, not for {', '.join(audiences)}")
        problem = await self._check_bound(claims.kubernetes)
        if problem:
            raise unauthorized(problem)
        return user_of(claims), matching

    def configuration(self) -> bytes:
        """/.well-known/openid-configuration."""
        return msgspec.json.encode(
            {
                "issuer": self.issuer,
                "jwks_uri": f"{self.issuer}/openid/v1/jwks",
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
            }
        )

    def jwks(self) -> bytes:
        """/openid/v1/jwks."""
        return msgspec.json.encode({"keys": [key.jwk for key in self._keys.values()]})

    def _claims(self, token: str) -> Claims | None:
        if len(token) > _TOKEN_BYTES_MAX:
            return None
        digest = sha256(token.encode()).digest()
        known = self._verified.get(digest)
        if known is not None:
            self._verified.move_to_end(digest)
            return known
        claims = self._verify(token)
        if claims is not None:
            self._verified[digest] = claims
            if len(self._verified) > _CACHE_MAX:
                self._verified.popitem(last=False)
        return claims

    def _verify(self, token: str) -> Claims | None:
        parts = token.split(".")
        if len(parts) != 3:
            return None
        try:
            header = msgspec.json.decode(_decode(parts[0]), type=_Header)
            signature = _decode(parts[2])
            claims = msgspec.json.decode(_decode(parts[1]), type=Claims)
        except (msgspec.MsgspecError, ValueError):
            return None
        # The key decides the algorithm, never the token (RFC 8725 section 3.1).
        if header.alg != "ES256" or claims.iss != self.issuer:
            return None
        key = self._keys.get(header.kid)
        if key is None or not key.verify(f"{parts[0]}.{parts[1]}".encode(), signature):
            raise unauthorized("the service account token is not signed by this cluster")
        if (
            claims.sub
            != f"{SERVICE_ACCOUNT_PREFIX}{claims.kubernetes.namespace}:{claims.kubernetes.serviceaccount.name}"
        ):
            raise unauthorized("the service account token's subject and claims differ")
        return claims


def user_of(claims: Claims) -> User:
    """The user a token stands for, with the extras kube-apiserver adds."""
    bound = claims.kubernetes
    extra: dict[str, tuple[str, ...]] = {}
    if claims.jti:
        extra["authentication.kubernetes.io/credential-id"] = (f"JTI={claims.jti}",)
    for kind, ref in (("pod", bound.pod), ("node", bound.node)):
        if ref is not None:
            extra[f"authentication.kubernetes.io/{kind}-name"] = (ref.name,)
            extra[f"authentication.kubernetes.io/{kind}-uid"] = (ref.uid,)
    groups = (*service_account_groups(bound.namespace), GROUP_AUTHENTICATED)
    return User(claims.sub, groups, uid=bound.serviceaccount.uid, extra=extra)


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
