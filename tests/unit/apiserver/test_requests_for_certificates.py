"""CertificateSigningRequests say who asked, and Services whose clusterIP a writer changes."""

import base64
import json
from typing import Any

import pytest

from edgekube.apiserver.request import User
from edgekube.types.status import ApiError

from .conftest import Api

PEM = b"-----BEGIN CERTIFICATE REQUEST-----\neA==\n-----END CERTIFICATE REQUEST-----\n"
REQUEST = base64.b64encode(PEM).decode()
ROBOT = User("robot", ("system:masters", "devs"), uid="u-1", extra={"team": ("a", "b")})


def body(response: Any) -> Any:
    return json.loads(response.body)


async def test_the_server_writes_down_who_asked(api: Api) -> None:
    spec = {"request": REQUEST, "signerName": "example.com/a", "usages": ["client auth"]}
    lies = {"username": "system:admin", "groups": ["system:masters"], "uid": "0", "extra": {"x": ["y"]}}
    obj = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": "r"},
        "spec": {**spec, **lies},
    }
    path = "certificates.k8s.io/v1/certificatesigningrequests"
    made = body(await api("create", path, json.dumps(obj).encode(), user=ROBOT))
    assert made["spec"] == {
        **spec,
        "username": "robot",
        "groups": ["system:masters", "devs"],
        "uid": "u-1",
        "extra": {"team": ["a", "b"]},
    }
    patched = await api(
        "patch", f"{path}/r", b'{"spec":{"username":"other"}}', content_type="application/merge-patch+json"
    )
    assert body(patched)["spec"]["username"] == "robot"


async def test_a_cluster_ip_stays(api: Api) -> None:
    obj = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
    await api("create", "default:core/v1/services", json.dumps(obj).encode())
    with pytest.raises(ApiError) as caught:
        await api(
            "patch",
            "default:core/v1/services/s",
            b'{"spec":{"clusterIP":"10.43.0.99"}}',
            content_type="application/merge-patch+json",
        )
    causes = caught.value.status.details.causes  # type: ignore[union-attr]
    assert [cause.message for cause in causes] == ['Invalid value: ["10.43.0.99"]: may not change once set']
