"""CPU of API requests in this process, without HTTP and disk: what the registry alone takes of `bench.api`'s figures.

The floor is decoding and encoding the same Pod once. Requests follow one another here, so they find code and data in
the processor's caches; a server that slept before a request takes two to three times as long for the same steps. What
no machine's load changes is the number of bytecodes a request executes.
"""

import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from types import FrameType
from typing import Any

import trio

from bench import Options, row
from edgekube.apiserver.registry import Registry, RegistryConfig
from edgekube.apiserver.request import GROUP_MASTERS, ApiRequest, ApiResponse, User
from edgekube.testing.store import FakeStore
from edgekube.types import codec
from edgekube.types.core_v1 import Pod, ServiceAccount
from edgekube.types.meta_v1 import ObjectMeta

ADMIN = User("admin", (GROUP_MASTERS,))
PODS = 1000
COUNTED = 20  # requests executed bytecode by bytecode


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


def request(verb: str, name: str = "", body: bytes = b"", query: Mapping[str, str] | None = None) -> ApiRequest:
    return ApiRequest(
        user=ADMIN, verb=verb, group="", version="v1", resource="pods", namespace="default", name=name, body=body,
        query=query or {}, user_agent="bench/1",
    )  # fmt: skip


async def measured(count: int, request: Callable[[int], Awaitable[object]]) -> float:
    """Milliseconds of CPU a request."""
    start = time.process_time()
    for index in range(count):
        await request(index)
    return (time.process_time() - start) / count * 1e3


async def bytecodes(count: int, request: Callable[[int], Awaitable[object]]) -> float:
    """How many a request executes, with what the loop and other tasks do for it."""
    executed = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal executed
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        executed += event == "opcode"
        return trace

    sys.settrace(trace)
    try:
        for index in range(count):
            await request(index)
    finally:
        sys.settrace(None)
    return executed / count


async def drained(answer: ApiResponse) -> int:
    """Bytes of the body, taken as the server takes them."""
    if isinstance(answer.body, bytes):
        return len(answer.body)
    return sum([len(piece) async for piece in answer.body])


async def main(pods: int, lists: int) -> None:
    registry = Registry(store=FakeStore(), events=FakeStore(), config=RegistryConfig())
    async with registry.run():
        await registry.bootstrap()
        client = registry.client(ADMIN)
        await client.create(ServiceAccount(metadata=ObjectMeta(name="default", namespace="default")))
        informer = client.informer(Pod)
        bodies = [pod(f"p{index}") for index in range(pods)]
        await registry.handle(request("create", body=pod("warm")))
        one = informer.get("default", "warm")
        assert one is not None
        value = codec.encode(one)

        async def decode_and_encode(_: int) -> object:
            return codec.encode(codec.decode(Pod, value))

        async def listed(**query: str) -> int:
            return await drained(await registry.handle(request("list", query=query)))

        async def status(index: int) -> object:
            patch = {"status": {"message": str(index)}}
            return await client.patch(Pod, "p1", "default", patch=patch, subresource="status")

        floor = ("decode, encode", await measured(pods, decode_and_encode))
        creates = await measured(pods, lambda i: registry.handle(request("create", body=bodies[i])))
        row("CREATE a pod", creates, "ms CPU", beside=floor, note=f"{len(value)} B stored")
        more = [pod(f"more{index}") for index in range(COUNTED)]
        executed = await bytecodes(COUNTED, lambda i: registry.handle(request("create", body=more[i])))
        row("CREATE a pod", executed, "bytecodes")
        gets = await measured(pods, lambda i: registry.handle(request("get", f"p{i}")))
        row("GET a pod", gets, "ms CPU", beside=floor)
        row(f"LIST {pods} pods", await measured(lists, lambda _: listed()), "ms CPU")
        by_label = await measured(lists, lambda _: listed(labelSelector="app=web"))
        row(f"LIST {pods} pods by label", by_label, "ms CPU")
        by_field = await measured(lists, lambda _: listed(fieldSelector="spec.nodeName=n"))
        row(f"LIST {pods} pods by spec.nodeName, none found", by_field, "ms CPU")
        row("PATCH status, as the kubelet does", await measured(pods, status), "ms CPU", beside=floor)


def run(options: Options) -> None:
    trio.run(main, PODS, 5 if options.quick else 20)
