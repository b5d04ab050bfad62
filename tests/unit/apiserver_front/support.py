"""A registry of plain JSON objects, and a signing key, for the tests of the front."""

from typing import Any

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edgekube.apiserver.discovery import ServedResource, ServedSubresource, ServedVersion
from edgekube.apiserver.request import ApiRequest, ApiResponse
from edgekube.pki.sign import Signer
from edgekube.types.status import not_found

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


def pods_catalog() -> list[ServedVersion]:
    """A catalog of configmaps, pods and deployments."""
    log = ServedSubresource(name="log", kind="Pod", verbs=("get",))
    scale = ServedSubresource(name="scale", kind="Scale", group="autoscaling", version="v1", verbs=("get", "update"))
    return [
        ServedVersion(
            "",
            "v1",
            [
                ServedResource(
                    name="configmaps", singular="configmap", kind="ConfigMap", namespaced=True, verbs=VERBS,
                    short_names=("cm",),
                ),
                ServedResource(
                    name="pods", singular="pod", kind="Pod", namespaced=True, verbs=VERBS, short_names=("po",),
                    stored_as="/v1/Pod",
                    categories=("all",), subresources=(log,),
                ),
            ],
        ),
        ServedVersion(
            "apps",
            "v1",
            [
                ServedResource(
                    name="deployments", singular="deployment", kind="Deployment", namespaced=True, verbs=VERBS,
                    short_names=("deploy",), categories=("all",), subresources=(scale,),
                )
            ],
        ),
    ]  # fmt: skip


def new_signer() -> Signer:
    key = ec.generate_private_key(ec.SECP256R1())
    return Signer(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


class PlainRegistry:
    """Answers gets from `objects` by (resource, namespace, name), lists with all of a resource; keeps the requests."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.requests: list[ApiRequest] = []

    def put(self, resource: str, namespace: str, name: str, uid: str = "", **rest: Any) -> None:
        self.objects[resource, namespace, name] = {
            "metadata": {"name": name, "namespace": namespace, "uid": uid or f"uid-{name}"},
            **rest,
        }

    async def handle(self, request: ApiRequest) -> ApiResponse:
        self.requests.append(request)
        if request.verb == "list":
            items = [value for key, value in self.objects.items() if key[0] == request.resource]
            body = {"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}
            return ApiResponse(body=msgspec.json.encode(body))
        if request.verb == "create":
            return ApiResponse(status=201, body=request.body)
        found = self.objects.get((request.resource, request.namespace, request.name))
        if found is None:
            raise not_found(request.resource, request.name)
        return ApiResponse(body=msgspec.json.encode(found))
