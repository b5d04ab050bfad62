"""CPU of API requests in this process, without HTTP: GET, LIST of 1,000, CREATE, status update. `python -m bench.api`.

Prints microseconds of CPU a request, and a floor from the same run: decoding and encoding the same Pod once.
"""

import json
import time
from collections.abc import Awaitable, Callable

import trio

from edgekube.apiserver.registry import Registry, RegistryConfig
from edgekube.apiserver.request import GROUP_MASTERS, ApiRequest, ApiResponse, User
from edgekube.testing.store import FakeStore
from edgekube.types import codec
from edgekube.types.core_v1 import Pod, ServiceAccount
from edgekube.types.meta_v1 import ObjectMeta

ADMIN = User("admin", (GROUP_MASTERS,))
PODS = 1000


def pod(name: str) -> bytes:
    container = {
        "name": "web",
        "image": "nginx:1.27",
        "ports": [{"containerPort": 80, "name": "http"}],
        "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        "livenessProbe": {"httpGet": {"path": "/", "port": "http"}},
    }
    spec = {"containers": [container], "volumes": [{"name": "tmp", "emptyDir": {}}]}
    obj = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "web"}}, "spec": spec}
    return json.dumps(obj).encode()


def request(verb: str, name: str = "", body: bytes = b"", sub: str = "", **query: str) -> ApiRequest:
    return ApiRequest(
        user=ADMIN, verb=verb, group="", version="v1", resource="pods", namespace="default", name=name, body=body,
        subresource=sub, query=query, user_agent="bench/1",
    )  # fmt: skip


async def measure(what: str, count: int, run: Callable[[int], Awaitable[object]]) -> None:
    start = time.process_time()
    for index in range(count):
        await run(index)
    print(f"{what:32} {(time.process_time() - start) / count * 1e6:9.1f} us")


async def drained(answer: ApiResponse) -> int:
    """Bytes of the body, taken as the server takes them."""
    if isinstance(answer.body, bytes):
        return len(answer.body)
    return sum([len(piece) async for piece in answer.body])


async def main() -> None:
    registry = Registry(store=FakeStore(), events=FakeStore(), config=RegistryConfig())
    async with registry.run():
        await registry.bootstrap()
        client = registry.client(ADMIN)
        await client.create(ServiceAccount(metadata=ObjectMeta(name="default", namespace="default")))
        informer = client.informer(Pod)
        bodies = [pod(f"p{index}") for index in range(PODS)]
        await registry.handle(request("create", body=pod("warm")))
        await measure("CREATE pod, strict", PODS, lambda i: registry.handle(request("create", body=bodies[i])))
        await measure("GET pod", PODS, lambda i: registry.handle(request("get", f"p{i}")))

        async def listed(**query: str) -> int:
            return await drained(await registry.handle(request("list", **query)))

        await measure("LIST 1000 pods", 10, lambda i: listed())
        await measure("LIST 1000 by label", 10, lambda i: listed(labelSelector="app=web"))
        await measure("LIST 1000 by spec.nodeName", 5, lambda i: listed(fieldSelector="spec.nodeName=n"))
        one = informer.get("default", "p1")
        assert one is not None
        value = codec.encode(one)

        async def floor(_: int) -> object:
            return codec.encode(codec.decode(Pod, value))

        await measure("floor: decode, encode one pod", PODS, floor)

        async def status(index: int) -> object:
            patch = {"status": {"message": str(index)}}
            return await client.patch(Pod, "p1", "default", patch=patch, subresource="status")

        await measure("PATCH status, in process", PODS, status)
        size = len(value)
        print(f"a stored pod is {size} bytes")


if __name__ == "__main__":
    trio.run(main)
