"""serviceaccounts/token: a bound token for an account (TokenRequest, KEP-1205)."""

from typing import TYPE_CHECKING, Any

import msgspec

from edgekube.apiserver.call import Call
from edgekube.apiserver.resources import lookup
from edgekube.types import status
from edgekube.types.authentication_v1 import TokenRequest, TokenRequestStatus
from edgekube.types.fieldpath import FieldError, Path, invalid
from edgekube.types.time import format_time

if TYPE_CHECKING:
    from edgekube.apiserver.registry import Registry

LIFETIME_SECONDS = 3600
LIFETIME_SECONDS_MIN = 600
LIFETIME_SECONDS_MAX = 1 << 32
# A pod that asks for exactly this gets a year and a claim that says when to warn, because old clients read a token once
# (kube-apiserver's --service-account-extend-token-expiration).
_WARN_ONLY_SECONDS = 3607
_EXTENDED_SECONDS = 365 * 24 * 3600
_BINDABLE = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}


async def create(registry: "Registry", call: Call, request: TokenRequest) -> Any:
    """The request with its status filled in. Raises ApiError."""
    config = registry.config
    if config.sign_token is None:
        raise status.service_unavailable("this node cannot sign service account tokens yet")
    account = registry.backend.read_object(call.resource, call.namespace, call.name)
    if account is None:
        raise status.not_found("serviceaccounts", call.name)
    spec = request.spec
    lifetime = spec.expirationSeconds if spec.expirationSeconds is not None else LIFETIME_SECONDS
    problems: list[FieldError] = []
    if lifetime < LIFETIME_SECONDS_MIN:
        problems.append(
            invalid(Path("spec", "expirationSeconds"), lifetime, "may not specify a duration less than 10 minutes")
        )
    if lifetime > LIFETIME_SECONDS_MAX:
        problems.append(
            invalid(Path("spec", "expirationSeconds"), lifetime, "may not specify a duration larger than 2^32 seconds")
        )
    if problems:
        raise status.invalid("authentication.k8s.io", "TokenRequest", call.name, problems)
    now = int(config.now())
    private: dict[str, Any] = {
        "namespace": call.namespace,
        "serviceaccount": {"name": call.name, "uid": account["metadata"]["uid"]},
    }
    bound = spec.boundObjectRef
    if bound is not None:
        private.update(_bound(registry, call, bound))
    audiences = list(spec.audiences) or list(config.token_audiences)
    valid = lifetime
    if lifetime == _WARN_ONLY_SECONDS and "pod" in private and set(audiences) <= set(config.token_audiences):
        private["warnafter"] = now + lifetime
        valid = _EXTENDED_SECONDS
    claims = {
        "iss": config.token_issuer,
        "sub": f"system:serviceaccount:{call.namespace}:{call.name}",
        "aud": audiences,
        "iat": now,
        "nbf": now,
        "exp": now + valid,
        "kubernetes.io": private,
    }
    expires = format_time(now + lifetime)
    return msgspec.structs.replace(
        request,
        apiVersion="authentication.k8s.io/v1",
        kind="TokenRequest",
        metadata=msgspec.structs.replace(
            request.metadata, name=call.name, namespace=call.namespace, creationTimestamp=format_time(now)
        ),
        spec=msgspec.structs.replace(spec, audiences=tuple(audiences), expirationSeconds=lifetime),
        status=TokenRequestStatus(token=config.sign_token(claims), expirationTimestamp=expires),
    )


def _bound(registry: "Registry", call: Call, ref: Any) -> dict[str, Any]:
    """The claim for the object the token lives and dies with."""
    plural = _BINDABLE.get(ref.kind)
    res = lookup("", "v1", plural) if plural else None
    if res is None or ref.apiVersion not in ("", "v1"):
        problem = invalid(
            Path("spec", "boundObjectRef"),
            f"{ref.apiVersion}, Kind={ref.kind}",
            "token can only be bound to Pod, Secret or Node objects",
        )
        raise status.invalid("authentication.k8s.io", "TokenRequest", call.name, [problem])
    obj = registry.backend.read_object(res, call.namespace if res.namespaced else "", ref.name)
    if obj is None:
        raise status.not_found(res.qualified, ref.name)
    uid = obj["metadata"]["uid"]
    if ref.uid and ref.uid != uid:
        raise status.conflict(
            res.qualified, ref.name, f"the UID in the bound object reference ({ref.uid}) does not match the UID in "
            "record. The object might have been deleted and then recreated"
        )  # fmt: skip
    claims: dict[str, Any] = {ref.kind.lower(): {"name": ref.name, "uid": uid}}
    if ref.kind == "Pod":
        if (obj["spec"].get("serviceAccountName") or "default") != call.name:
            raise status.bad_request(
                f'cannot bind token for serviceaccount "{call.name}" to pod running with different serviceaccount name.'
            )
        node_name = obj["spec"].get("nodeName")
        nodes = lookup("", "v1", "nodes")
        assert nodes is not None
        node = registry.backend.read_object(nodes, "", node_name) if node_name else None
        if node is not None:
            claims["node"] = {"name": node_name, "uid": node["metadata"]["uid"]}
    return claims
