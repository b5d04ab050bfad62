"""EndpointSlices and Endpoints: planning, ports, and the flow over the real registry."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.controllers.endpointslice import (
    ADDRESSES_MAX,
    ENDPOINTS_PER_SLICE,
    endpoint_subsets,
    is_over_capacity,
    plan_slices,
    relabelled,
)
from edgekube.testing.cluster import FakeCluster
from edgekube.testing.fakekubelet import Script
from edgekube.testing.workloads import meta, pod, service
from edgekube.types.core_v1 import (
    Container,
    ContainerPort,
    Endpoints,
    Pod,
    PodCondition,
    PodStatus,
    Service,
    ServicePort,
)
from edgekube.types.discovery_v1 import Endpoint, EndpointConditions, EndpointSlice


def ep(number: int, ready: bool = True) -> Endpoint:
    address = f"10.0.{number >> 8}.{number & 255}"
    return Endpoint(addresses=(address,), conditions=EndpointConditions(ready=ready))


def held(name: str, numbers: list[int]) -> EndpointSlice:
    return EndpointSlice(metadata=meta(name), addressType="IPv4", endpoints=tuple(ep(n) for n in numbers))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sets(st.integers(0, 400), max_size=100), max_size=4), st.sets(st.integers(0, 400)))
def test_slices_are_small_complete_and_stable(existing: list[set[int]], wanted: set[int]) -> None:
    slices = [held(f"s{n}", sorted(numbers)) for n, numbers in enumerate(existing)]
    plan = plan_slices([ep(n) for n in sorted(wanted)], slices)
    planned = [e.addresses for _, endpoints in plan for e in endpoints]
    assert len(planned) == len(set(planned))
    assert set(planned) == {ep(n).addresses for n in wanted}
    assert all(len(endpoints) <= ENDPOINTS_PER_SLICE for _, endpoints in plan)
    # Planned once more, nothing moves.
    again = [
        EndpointSlice(metadata=meta(f"t{i}"), addressType="IPv4", endpoints=e) for i, (_, e) in enumerate(plan) if e
    ]
    steady = plan_slices([ep(n) for n in sorted(wanted)], again)
    assert [e for _, e in steady] == [s.endpoints for s in again]


def test_one_change_rewrites_one_slice() -> None:
    slices = [held("a", list(range(100))), held("b", list(range(100, 150)))]
    plan = plan_slices([ep(n, ready=n != 120) for n in range(150)], slices)
    assert [current.endpoints == endpoints for current, endpoints in plan if current is not None] == [True, False]


def slices(cluster: FakeCluster) -> list[EndpointSlice]:
    return cluster.all(EndpointSlice, **{"kubernetes.io/service-name": "web"})


def ready(cluster: FakeCluster) -> int:
    return sum(bool(e.conditions.ready) for s in slices(cluster) for e in s.endpoints)


async def test_follow_pods_and_go_with_the_service(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        cluster.kubelet.script = lambda p: Script(ready_after=None if p.metadata.name == "slow" else 0)
        await cluster.client.create(service("web", {"app": "web"}))
        await cluster.until(lambda: len(slices(cluster)) == 1)
        for name in ("one", "two", "slow"):
            await cluster.client.create(pod(name, {"app": "web"}))
        await cluster.until(lambda: ready(cluster) == 2 and len(slices(cluster)[0].endpoints) == 3)
        await cluster.settle(1)
        (subset,) = cluster.get(Endpoints, "web").subsets
        assert (len(subset.addresses), len(subset.notReadyAddresses)) == (2, 1)
        await cluster.client.delete(Pod, "one", "default")
        await cluster.until(lambda: any(e.conditions.terminating for e in slices(cluster)[0].endpoints))
        await cluster.until(lambda: ready(cluster) == 1 and len(slices(cluster)[0].endpoints) == 2)
        await cluster.client.patch(Service, "web", "default", patch={"spec": {"publishNotReadyAddresses": True}})
        await cluster.until(lambda: ready(cluster) == 2)
        await cluster.client.delete(Service, "web", "default")
        await cluster.until(lambda: not slices(cluster) and cluster.find(Endpoints, "web") is None)


async def test_named_ports_that_differ_make_slices_of_their_own(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        for number in (8080, 9090):
            port = ContainerPort(name="http", containerPort=number)
            box = Container(name="c", image="app:1", ports=(port,))
            await cluster.client.create(pod(f"p{number}", {"app": "web"}, containers=(box,)))
        await cluster.client.create(service("web", {"app": "web"}, ServicePort(port=80, targetPort="http")))
        await cluster.until(lambda: ready(cluster) == 2)
        await cluster.settle(1)
        assert sorted(s.ports[0].port or 0 for s in slices(cluster)) == [8080, 9090]
        assert len(cluster.get(Endpoints, "web").subsets) == 2


async def test_service_without_selector_is_left_to_its_owner(autojump_clock: object) -> None:
    async with FakeCluster() as cluster:
        await cluster.client.create(service("web"))
        mine = Endpoints(metadata=meta("web"))
        await cluster.client.create(mine)
        await cluster.settle(10)
        assert not slices(cluster)
        await cluster.client.delete(Service, "web", "default")
        await cluster.settle(10)
        # Whoever made them by hand has to take them away by hand.
        assert cluster.find(Endpoints, "web") is not None


@pytest.mark.parametrize("strange", ["deleted", "emptied"])
async def test_what_somebody_else_spoils_is_set_right(autojump_clock: object, strange: str) -> None:
    async with FakeCluster() as cluster:
        await cluster.client.create(service("web", {"app": "web"}))
        await cluster.client.create(pod("one", {"app": "web"}))
        await cluster.until(lambda: ready(cluster) == 1)
        await cluster.settle(1)
        name = slices(cluster)[0].metadata.name
        if strange == "deleted":
            await cluster.client.delete(EndpointSlice, name, "default")
            await cluster.client.delete(Endpoints, "web", "default")
        else:
            await cluster.client.patch(EndpointSlice, name, "default", patch={"endpoints": []})
            await cluster.client.patch(Endpoints, "web", "default", patch={"subsets": []})

        def right() -> bool:
            endpoints = cluster.find(Endpoints, "web")
            return ready(cluster) == 1 and endpoints is not None and bool(endpoints.subsets)

        await cluster.until(right)


def test_labels_that_go_are_named_in_the_patch() -> None:
    current = EndpointSlice(metadata=meta("s", labels={"old": "1", "kept": "1"}))
    assert relabelled(current, {"kept": "2", "new": "3"}) == {"old": None, "kept": "2", "new": "3"}


def test_too_many_addresses_are_cut_and_said_so() -> None:
    many = [
        msgspec.structs.replace(
            pod(f"p{n}"), status=PodStatus(podIP=f"10.{n >> 8}.{n & 255}.1", conditions=(
                PodCondition(type="Ready", status=str(n % 2 == 0)),))
        )
        for n in range(ADDRESSES_MAX + 100)
    ]  # fmt: skip
    web = service("web", {"app": "web"})
    (subset,) = endpoint_subsets(web, many)
    assert is_over_capacity(web, many)
    assert not is_over_capacity(web, many[:ADDRESSES_MAX])
    assert (len(subset.addresses), len(subset.notReadyAddresses)) == (550, 450)
