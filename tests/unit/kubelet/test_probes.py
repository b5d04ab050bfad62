"""Probes and hooks over a runtime in memory."""

from collections.abc import Sequence
from typing import Any

import trio
from trio.testing import MockClock

from edgekube.runtime.api import ContainerStatus, ExecResult, RuntimeFailure
from edgekube.testing.runtime import Behaviour
from tests.unit.kubelet.conftest import World, main_status, pod_of


class Answers:
    """exec_sync by the first word of the command; 1 for what is not listed."""

    def __init__(self, world: World, **codes: int) -> None:
        self.codes = codes
        self.asked: list[str] = []
        world.runtime.on_exec = self

    def __call__(self, status: ContainerStatus, command: Sequence[str]) -> ExecResult:
        self.asked.append(command[0])
        return ExecResult(exit_code=self.codes.get(command[0], 1), stdout=b"said so", stderr=b"")


def probe(word: str, **more: Any) -> dict[str, Any]:
    return {"exec": {"command": [word]}, "periodSeconds": 5, "failureThreshold": 2} | more


async def test_readiness_comes_and_goes(world: World, autojump_clock: MockClock) -> None:
    answers = Answers(world, ready=1)
    await world.run(pod_of(containers=[{"name": "main", "readinessProbe": probe("ready")}]))
    await trio.sleep(30)
    assert not main_status(await world.pod()).ready
    answers.codes["ready"] = 0
    await world.until(lambda p: main_status(p).ready, seconds=10)
    answers.codes["ready"] = 1
    await trio.sleep(4)
    assert main_status(await world.pod()).ready  # one failure is not two
    await world.until(lambda p: not main_status(p).ready, seconds=15)
    assert ("Unhealthy", "Readiness probe failed: said so") in await world.events()
    assert main_status(await world.pod()).restartCount == 0


async def test_a_dead_container_is_restarted_even_when_it_ends_well(world: World, autojump_clock: MockClock) -> None:
    Answers(world, live=1)
    world.runtime.behave("main", Behaviour(stop_exit_code=0))
    await world.run(pod_of(restartPolicy="OnFailure", containers=[{"name": "main", "livenessProbe": probe("live")}]))
    await world.until(lambda p: main_status(p).restartCount == 1, seconds=30)
    assert ("Killing", "Container main failed liveness probe, will be restarted") in await world.events()


async def test_nothing_is_probed_before_the_startup_probe_passes(world: World, autojump_clock: MockClock) -> None:
    answers = Answers(world, up=1, live=1)
    startup = probe("up", failureThreshold=10)
    await world.run(pod_of(containers=[{"name": "main", "startupProbe": startup, "livenessProbe": probe("live")}]))
    await trio.sleep(20)
    assert set(answers.asked) == {"up"}
    assert main_status(await world.pod()).started is False
    answers.codes.update(up=0, live=0)
    await world.until(lambda p: main_status(p).started and main_status(p).ready, seconds=10)
    await trio.sleep(20)
    assert "live" in answers.asked


async def test_a_startup_that_fails_for_good_restarts(world: World, autojump_clock: MockClock) -> None:
    Answers(world)
    await world.run(pod_of(containers=[{"name": "main", "startupProbe": probe("up")}]))
    await world.until(lambda p: main_status(p).restartCount == 1, seconds=30)


async def test_probes_that_hang_time_out(world: World, autojump_clock: MockClock) -> None:
    Answers(world, live=0)
    world.runtime.exec_seconds = 100
    await world.run(pod_of(containers=[{"name": "main", "livenessProbe": probe("live", timeoutSeconds=2)}]))
    await world.until(lambda p: main_status(p).restartCount == 1, seconds=30)
    assert any("timed out" in text for reason, text in await world.events() if reason == "Unhealthy")


async def test_a_probe_may_shorten_the_grace(world: World, autojump_clock: MockClock) -> None:
    Answers(world)
    world.runtime.behave("main", Behaviour(ignores_stop=True))
    live = probe("live", terminationGracePeriodSeconds=3)
    await world.run(pod_of(terminationGracePeriodSeconds=600, containers=[{"name": "main", "livenessProbe": live}]))
    await world.until(lambda p: main_status(p).restartCount == 1, seconds=30)


async def test_a_pod_stays_ready_when_the_kubelet_restarts(world: World, autojump_clock: MockClock) -> None:
    Answers(world, ready=0)
    await world.run(pod_of(containers=[{"name": "main", "readinessProbe": probe("ready", initialDelaySeconds=20)}]))
    pod = await world.until(lambda p: main_status(p).ready, seconds=40)
    await world.restart()
    await trio.sleep(10)
    assert (await world.pod()).metadata.resourceVersion == pod.metadata.resourceVersion


async def test_a_failing_post_start_hook_restarts(world: World, autojump_clock: MockClock) -> None:
    answers = Answers(world)
    hook = {"postStart": {"exec": {"command": ["greet"]}}}
    await world.client.create(pod_of(containers=[{"name": "main", "lifecycle": hook}]))
    await world.until(lambda p: main_status(p).restartCount == 1, seconds=30)
    answers.codes["greet"] = 0
    await world.until(lambda p: main_status(p).ready, seconds=60)
    events = await world.events()
    assert ("FailedPostStartHook", "PostStartHook failed") in events
    assert ("Killing", "FailedPostStartHook") in events


async def test_a_pre_stop_hook_uses_up_the_grace(world: World, autojump_clock: MockClock) -> None:
    world.runtime.behave("main", Behaviour(ignores_stop=True))
    hook = {"preStop": {"sleep": {"seconds": 8}}}
    await world.run(pod_of(terminationGracePeriodSeconds=20, containers=[{"name": "main", "lifecycle": hook}]))
    began = trio.current_time()
    await world.delete()
    await world.until_gone()
    assert 19 < trio.current_time() - began < 22


async def test_a_hook_ends_with_its_container(world: World, autojump_clock: MockClock) -> None:
    hook = {"preStop": {"sleep": {"seconds": 1000}}}
    await world.run(pod_of(terminationGracePeriodSeconds=2000, containers=[{"name": "main", "lifecycle": hook}]))
    await world.delete()
    await trio.sleep(5)
    world.runtime.finish(world.runtime.by_name("main").spec.id, 0)
    await world.until_gone(seconds=5)


async def test_an_exec_that_breaks_is_a_failed_probe(world: World, autojump_clock: MockClock) -> None:
    Answers(world, live=0)
    await world.run(pod_of(containers=[{"name": "main", "livenessProbe": probe("live")}]))
    world.runtime.fail("exec_sync", ExceptionGroup("", [RuntimeFailure("ExecFailed", "shim died")]), times=1)
    await trio.sleep(30)
    assert main_status(await world.pod()).restartCount == 0
    assert ("Unhealthy", "Liveness probe failed: shim died") in await world.events()
