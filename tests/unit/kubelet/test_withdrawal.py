"""A pod that serves is told to stop only when its Services have let go of it."""

import pytest
import trio
from trio.testing import MockClock

from edgekube.kubelet.withdrawal import SETTLE_SECONDS, WITHDRAW_SECONDS_MAX
from edgekube.testing.runtime import Behaviour
from edgekube.types.core_v1 import ObjectReference, Pod
from edgekube.types.discovery_v1 import Endpoint, EndpointConditions, EndpointSlice
from edgekube.types.meta_v1 import ObjectMeta
from tests.unit.kubelet.conftest import World, pod_of

READY = EndpointConditions(ready=True, serving=True, terminating=False)
LEAVING = EndpointConditions(ready=False, serving=True, terminating=True)
PATIENT = 30


async def publish(world: World, pod: Pod, conditions: EndpointConditions | None, name: str = "web") -> None:
    """An EndpointSlice that names the pod."""
    meta = pod.metadata
    reference = ObjectReference(kind="Pod", name=meta.name, namespace=meta.namespace, uid=meta.uid)
    endpoint = Endpoint(addresses=(pod.status.podIP,), conditions=conditions, targetRef=reference)
    metadata = ObjectMeta(name=name, namespace="default")
    await world.client.create(EndpointSlice(metadata=metadata, addressType="IPv4", endpoints=(endpoint,)))


async def withdraw(world: World, name: str = "web") -> None:
    slices = await world.client.get(EndpointSlice, name, "default")
    conditions = {"ready": False, "serving": True, "terminating": True}
    endpoint = {"addresses": slices.endpoints[0].addresses, "conditions": conditions}
    reference = slices.endpoints[0].targetRef
    assert reference is not None
    endpoint["targetRef"] = {"kind": "Pod", "name": reference.name, "namespace": "default", "uid": reference.uid}
    await world.client.patch(EndpointSlice, name, "default", patch={"endpoints": [endpoint]})


async def stopped_after(world: World, grace: int = PATIENT) -> float:
    """Delete the pod; seconds until its container is told to stop."""
    began = trio.current_time()
    await world.delete(grace=grace)
    with trio.fail_after(PATIENT):
        while "stop_container" not in [method for method, _ in world.runtime.calls]:  # noqa: ASYNC110
            await trio.sleep(0.01)
    return trio.current_time() - began


async def test_the_signal_follows_the_withdrawal(world: World, autojump_clock: MockClock) -> None:
    pod = await world.run(pod_of())
    await publish(world, pod, READY)
    await publish(world, pod, None, "other")  # of a second Service; unknown conditions count as ready

    async def leave() -> None:
        await trio.sleep(0.2)
        await withdraw(world)
        await trio.sleep(0.2)
        await withdraw(world, "other")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leave)
        assert 0.4 + SETTLE_SECONDS <= await stopped_after(world) < 0.5 + SETTLE_SECONDS
    await world.until_gone()


async def test_a_slice_that_goes_counts_as_well(world: World, autojump_clock: MockClock) -> None:
    await publish(world, await world.run(pod_of()), READY)

    async def leave() -> None:
        await trio.sleep(0.3)
        await world.client.delete(EndpointSlice, "web", "default")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leave)
        assert 0.3 + SETTLE_SECONDS <= await stopped_after(world) < 0.4 + SETTLE_SECONDS


async def test_a_slice_that_nobody_keeps_does_not_hold_it(world: World, autojump_clock: MockClock) -> None:
    await publish(world, await world.run(pod_of()), READY)
    longest = WITHDRAW_SECONDS_MAX + SETTLE_SECONDS
    assert longest <= await stopped_after(world) < longest + 0.1


async def test_half_of_the_grace_is_the_containers(world: World, autojump_clock: MockClock) -> None:
    world.runtime.behave("main", Behaviour(ignores_stop=True))
    await publish(world, await world.run(pod_of()), READY)
    assert 0.5 <= await stopped_after(world, grace=1) < 0.6
    await world.until_gone(seconds=1)  # killed when the second was over


@pytest.mark.parametrize("conditions", [None, EndpointConditions(ready=False, serving=False, terminating=False)])
async def test_who_serves_nobody_is_stopped_at_once(
    world: World, autojump_clock: MockClock, conditions: EndpointConditions | None
) -> None:
    pod = await world.run(pod_of())
    if conditions is not None:
        await publish(world, pod, conditions)
    assert await stopped_after(world) < 0.1


async def test_what_left_before_still_settles(world: World, autojump_clock: MockClock) -> None:
    await publish(world, await world.run(pod_of()), LEAVING)
    assert SETTLE_SECONDS <= await stopped_after(world) < SETTLE_SECONDS + 0.1


async def test_force_does_not_wait(world: World, autojump_clock: MockClock) -> None:
    await publish(world, await world.run(pod_of()), READY)
    assert await stopped_after(world, grace=0) < 0.1


async def test_a_hook_runs_meanwhile(world: World, autojump_clock: MockClock) -> None:
    hook = {"preStop": {"sleep": {"seconds": 5}}}
    pod = await world.run(pod_of(containers=[{"name": "main", "lifecycle": hook}]))
    await publish(world, pod, READY)
    assert 5 <= await stopped_after(world) < 5.1


async def test_a_container_that_ends_by_itself_is_not_waited_for(world: World, autojump_clock: MockClock) -> None:
    await publish(world, await world.run(pod_of()), READY)
    began = trio.current_time()
    await world.delete()
    world.runtime.finish(world.runtime.by_name("main").spec.id, 0)
    await world.until_gone()
    assert trio.current_time() - began < 0.3
