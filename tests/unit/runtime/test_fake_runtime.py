import pytest
import trio
from trio.testing import MockClock

from edgekube.runtime.api import (
    ContainerRuntime,
    ContainerSpec,
    ContainerState,
    ImageFailure,
    ImageService,
    RuntimeFailure,
    SandboxSpec,
)
from edgekube.testing.runtime import Behaviour, FakeRuntime


def container(runtime: FakeRuntime, name: str, container_id: str = "c1") -> ContainerSpec:
    image = runtime.images.add("docker.io/library/busybox:1")
    return ContainerSpec(
        id=container_id, name=name, sandbox_id="s", attempt=0, image_id=image.id, args=("sh",), env=(), log_path="/l"
    )


async def ready() -> FakeRuntime:
    runtime = FakeRuntime()
    await runtime.create_sandbox(SandboxSpec(id="s", name="default/p", uid="u", hostname="p"))
    return runtime


async def test_it_keeps_the_protocol() -> None:
    runtime: ContainerRuntime = FakeRuntime()
    images: ImageService = runtime.images
    assert images.list() == ()


async def test_a_container_ends_when_its_behaviour_says_so(autojump_clock: MockClock) -> None:
    runtime = await ready()
    runtime.behave("job", Behaviour(exit_after=5, exit_code=3))
    async with trio.open_nursery() as nursery:
        await nursery.start(runtime.run)
        started = await runtime.start_container(container(runtime, "job"))
        assert started.state is ContainerState.RUNNING
        ended = await runtime.wait_exit("c1")
        assert (ended.exit_code, ended.reason) == (3, "Error")
        assert ended.finished_at == "2026-01-01T00:00:05.000000000Z"
        nursery.cancel_scope.cancel()


async def test_stop_uses_the_whole_grace_on_a_deaf_container(autojump_clock: MockClock) -> None:
    runtime = await ready()
    runtime.behave("deaf", Behaviour(ignores_stop=True))
    await runtime.start_container(container(runtime, "deaf"))
    before = trio.current_time()
    await runtime.stop_container("c1", 7)
    assert trio.current_time() - before == 7
    status = runtime.status("c1")
    assert status is not None
    assert (status.exit_code, status.signal) == (137, 9)


async def test_stop_ends_a_polite_container_with_its_signal() -> None:
    runtime = await ready()
    await runtime.start_container(container(runtime, "polite"))
    await runtime.stop_container("c1", 30)
    status = runtime.status("c1")
    assert status is not None
    assert (status.exit_code, status.signal) == (143, 15)


async def test_scripted_failures_are_used_up() -> None:
    runtime = await ready()
    runtime.fail("start_container", RuntimeFailure("RunContainerError", "no"))
    with pytest.raises(RuntimeFailure):
        await runtime.start_container(container(runtime, "x"))
    await runtime.start_container(container(runtime, "x"))
    assert runtime.running() == ["x"]


async def test_a_running_container_is_not_removed_and_a_missing_image_not_started() -> None:
    runtime = await ready()
    await runtime.start_container(container(runtime, "x"))
    with pytest.raises(RuntimeFailure):
        await runtime.remove_container("c1")
    spec = container(runtime, "x", "c2")
    await runtime.images.remove(spec.image_id)
    with pytest.raises(RuntimeFailure):
        await runtime.start_container(spec)


async def test_pulls_fail_as_told() -> None:
    runtime = FakeRuntime()
    with pytest.raises(ImageFailure):
        await runtime.images.pull("docker.io/library/none:1")
    runtime.images.publish("docker.io/library/some:1")
    image = await runtime.images.pull("docker.io/library/some:1")
    assert runtime.images.get(image.id) == image


async def test_exec_session_ends_with_the_code_of_the_test() -> None:
    runtime = await ready()
    await runtime.start_container(container(runtime, "x"))
    async with runtime.exec("c1", ["sh"], tty=False, stdin=True) as session:
        assert session.stdin is not None
        await session.stdin.send_all(b"hello")
        other = runtime.sessions[0]
        assert other.remote_stdin is not None
        assert await other.remote_stdin.receive_some() == b"hello"
        await other.end(4)
        assert await session.wait() == 4
