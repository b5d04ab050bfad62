"""The RuntimeClass of a pod: it must exist, and gives the pod its overhead and its place."""

import json
from typing import Any

import pytest

from edgekube.types.status import ApiError

from .conftest import Api


async def create(api: Api, path: str, **obj: Any) -> Any:
    return json.loads((await api("create", path, json.dumps(obj).encode())).body)


async def prepare(api: Api) -> None:
    await create(api, "default:core/v1/serviceaccounts", metadata={"name": "default"})
    await create(
        api,
        "node.k8s.io/v1/runtimeclasses",
        metadata={"name": "boxed"},
        handler="runc",
        overhead={"podFixed": {"memory": "8Mi"}},
        scheduling={"nodeSelector": {"boxes": "yes"}, "tolerations": [{"key": "boxes", "operator": "Exists"}]},
    )


async def test_a_class_gives_overhead_and_place(api: Api) -> None:
    await prepare(api)
    spec = {"runtimeClassName": "boxed", "containers": [{"name": "c", "image": "x"}], "nodeSelector": {"a": "b"}}
    pod = await create(api, "default:core/v1/pods", metadata={"name": "p"}, spec=spec)
    assert pod["spec"]["overhead"] == {"memory": "8Mi"}
    assert pod["spec"]["nodeSelector"] == {"a": "b", "boxes": "yes"}
    assert {"key": "boxes", "operator": "Exists"} in pod["spec"]["tolerations"]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"runtimeClassName": "nope"}, 'pod rejected: RuntimeClass "nope" not found'),
        ({"runtimeClassName": "boxed", "nodeSelector": {"boxes": "no"}}, "conflict"),
        ({"runtimeClassName": "boxed", "overhead": {"memory": "1Mi"}}, "doesn't match"),
    ],
)
async def test_what_does_not_fit_is_refused(api: Api, spec: dict[str, Any], words: str) -> None:
    await prepare(api)
    with pytest.raises(ApiError, match=words) as caught:
        await create(
            api,
            "default:core/v1/pods",
            metadata={"name": "p"},
            spec={**spec, "containers": [{"name": "c", "image": "x"}]},
        )
    assert caught.value.code == 403
