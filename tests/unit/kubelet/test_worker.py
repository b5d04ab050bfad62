"""Flows of one pod from binding to deletion."""

import pytest
import trio
from trio.testing import MockClock

from edgekube.client.api import PatchType
from edgekube.runtime.api import RuntimeFailure
from edgekube.testing.runtime import Behaviour
from edgekube.testing.store import FakeStore
from edgekube.types.core_v1 import ConfigMap, Pod, Secret
from edgekube.types.meta_v1 import ObjectMeta
from edgekube.types.node_v1 import RuntimeClass
from tests.unit.kubelet.conftest import IMAGE, World, condition, main_status, pod_of


async def test_a_pod_runs_and_says_so(world: World, autojump_clock: MockClock) -> None:
    pod = await world.run(pod_of())
    status = main_status(pod)
    assert status.ready
    assert status.started
    assert status.restartCount == 0
    assert pod.status.podIP == "10.42.0.2"
    assert condition(pod, "Ready") == ("True", "")
    assert condition(pod, "PodReadyToStartContainers") == ("True", "")
    assert [r for r, _ in await world.events() if r != "Starting"] == ["Pulled", "Created", "Started"]


@pytest.mark.parametrize(("env", "name"), [([], "web"), ([{"name": "HOSTNAME", "value": "mine"}], "mine")])
async def test_the_host_name_is_in_the_environment(
    world: World, env: list[dict[str, str]], name: str, autojump_clock: MockClock
) -> None:
    await world.run(pod_of(containers=[{"name": "main", "env": env}]))
    [container] = world.runtime.containers()
    assert [item for item in container.spec.env if item.startswith("HOSTNAME=")] == [f"HOSTNAME={name}"]


async def test_deletion_stops_cleans_and_takes_it_out_of_the_api(world: World, autojump_clock: MockClock) -> None:
    await world.run(pod_of())
    await world.delete()
    await world.until_gone()
    assert world.runtime.sandboxes() == ()
    assert world.network.attachments() == []
    assert [entry for place in ("run", "data") for entry in (world.folder / place / "pods").glob("*")] == []
    assert list((world.folder / "log" / "pods").glob("*")) == []
    assert [method for method, _ in world.runtime.calls].count("stop_container") == 1


async def test_volumes_are_closed_to_other_users_of_the_machine(world: World, autojump_clock: MockClock) -> None:
    await world.client.create(Secret(metadata=ObjectMeta(name="key", namespace="default"), data={"a": b"hunter2"}))
    volumes = [{"name": "key", "secret": {"secretName": "key"}}, {"name": "scratch", "emptyDir": {}}]
    await world.run(pod_of(volumes=volumes))
    assert list((world.folder / "run").rglob("..data/a")), "the Secret is there"
    assert list((world.folder / "data").rglob("scratch")), "and the emptyDir"
    for name in ("run", "data"):
        assert (world.folder / name).stat().st_mode & 0o007 == 0
    (world.folder / "run").chmod(0o755)  # as an earlier version left it
    await world.restart()
    assert (world.folder / "run").stat().st_mode & 0o007 == 0


async def test_a_restarted_kubelet_adopts(world: World, autojump_clock: MockClock) -> None:
    before = await world.run(pod_of())
    version = before.metadata.resourceVersion
    await world.restart()
    assert world.runtime.running() == ["main"]
    after = await world.pod()
    assert after.metadata.resourceVersion == version
    assert main_status(after).restartCount == 0


async def test_a_finished_pod_keeps_its_report_and_gives_the_rest_back(world: World, autojump_clock: MockClock) -> None:
    world.runtime.behave("main", Behaviour(exit_after=5, exit_code=3, message="bye"))
    await world.client.create(pod_of(restartPolicy="Never"))
    pod = await world.until(lambda p: p.status.phase == "Failed")
    ended = main_status(pod).state.terminated
    assert ended is not None
    assert (ended.exitCode, ended.reason, ended.message, ended.signal) == (3, "Error", "bye", 0)
    assert condition(pod, "Ready") == ("False", "PodFailed")
    assert world.runtime.sandboxes() == ()
    await world.restart()
    assert (await world.pod()).status == pod.status
    assert world.runtime.sandboxes() == ()


def restarts(pod: Pod) -> int:
    return main_status(pod).restartCount


async def test_a_crashing_container_backs_off(world: World, autojump_clock: MockClock) -> None:
    world.runtime.behave("main", Behaviour(exit_after=1, exit_code=1))
    await world.client.create(pod_of())
    pod = await world.until(lambda p: main_status(p).state.waiting and restarts(p) == 1)
    waiting, last = main_status(pod).state.waiting, main_status(pod).lastState.terminated
    assert waiting is not None
    assert last is not None
    assert waiting.reason == "CrashLoopBackOff"
    assert waiting.message.startswith("back-off 10s restarting failed container=main pod=web_default(")
    assert last.exitCode == 1
    assert pod.status.phase == "Running"
    await world.until(lambda p: restarts(p) == 4, seconds=120)


async def test_an_executable_that_is_not_there_is_a_start_error(world: World, autojump_clock: MockClock) -> None:
    failure = RuntimeFailure("RunContainerError", 'exec: "nosuch": executable file not found in $PATH')
    world.runtime.fail("start_container", failure, times=3)
    await world.client.create(pod_of())
    pod = await world.until(lambda p: main_status(p).state.waiting and restarts(p) == 1)
    waiting, last = main_status(pod).state.waiting, main_status(pod).lastState.terminated
    assert waiting is not None
    assert last is not None
    assert waiting.reason == "CrashLoopBackOff"
    assert (last.exitCode, last.reason, last.startedAt) == (128, "StartError", "1970-01-01T00:00:00Z")
    assert "executable file not found" in last.message
    pod = await world.until(lambda p: main_status(p).state.running, seconds=60)
    assert restarts(pod) == 3


async def test_a_start_error_fails_a_pod_that_never_restarts(world: World, autojump_clock: MockClock) -> None:
    world.runtime.fail("start_container", RuntimeFailure("RunContainerError", "no such file"))
    await world.client.create(pod_of(restartPolicy="Never"))
    pod = await world.until(lambda p: p.status.phase == "Failed")
    ended = main_status(pod).state.terminated
    assert ended is not None
    assert (ended.exitCode, ended.reason) == (128, "StartError")
    assert restarts(pod) == 0


async def test_a_container_that_cannot_be_made_waits_and_is_tried_again(
    world: World, autojump_clock: MockClock
) -> None:
    world.runtime.fail("start_container", RuntimeFailure("CreateContainerError", "unknown user web"), times=2)
    await world.client.create(pod_of(restartPolicy="Never"))
    pod = await world.until(lambda p: main_status(p).state.waiting and main_status(p).state.waiting.message)
    waiting = main_status(pod).state.waiting
    assert waiting is not None
    assert (waiting.reason, waiting.message) == ("CreateContainerError", "unknown user web")
    assert pod.status.phase == "Pending"
    pod = await world.until(lambda p: main_status(p).state.running, seconds=30)
    assert restarts(pod) == 0


async def test_a_pull_that_fails_is_named_and_backs_off(world: World, autojump_clock: MockClock) -> None:
    missing = "registry.test/missing:1"
    await world.client.create(pod_of(containers=[{"name": "main", "image": missing}]))

    def reason(pod: Pod) -> str:
        waiting = main_status(pod).state.waiting
        return waiting.reason if waiting is not None else ""

    await world.until(lambda p: reason(p) == "ErrImagePull")
    await world.until(lambda p: reason(p) == "ImagePullBackOff", seconds=15)
    world.runtime.images.publish(missing)
    await world.until(lambda p: p.status.phase == "Running", seconds=15)
    assert len(world.runtime.images.pulled) == 2


async def test_a_pod_deleted_while_its_image_is_pulled_goes_at_once(world: World, autojump_clock: MockClock) -> None:
    world.runtime.images.pull_seconds = 600
    world.runtime.images.publish("registry.test/slow:1")
    await world.client.create(pod_of(containers=[{"name": "main", "image": "registry.test/slow:1"}]))
    await world.until(lambda p: p.status.podIP)
    await world.delete()
    await world.until_gone(seconds=5)
    assert world.runtime.sandboxes() == ()


async def test_a_pod_deleted_while_its_container_starts_goes_at_once(world: World, autojump_clock: MockClock) -> None:
    world.runtime.start_seconds = 100
    await world.client.create(pod_of())
    await world.until(lambda p: p.status.podIP)
    await world.delete()
    await world.until_gone(seconds=5)


async def test_after_a_reboot_pods_begin_again(world: World, autojump_clock: MockClock) -> None:
    world.runtime.behave("init", Behaviour(exit_after=1))
    await world.run(pod_of(initContainers=[{"name": "init"}]))
    await world.reboot()
    world.runtime.behave("init", Behaviour(exit_after=5))
    pod = await world.until(lambda p: main_status(p).state.running and restarts(p) == 1, seconds=30)
    last = main_status(pod).lastState.terminated
    assert last is not None
    assert (last.exitCode, last.reason) == (137, "ContainerStatusUnknown")
    assert main_status(pod, "init").restartCount == 1
    assert world.runtime.by_name("init").exit_code == 0
    assert pod.status.phase == "Running"


async def test_after_a_reboot_what_was_to_run_once_has_failed(world: World, autojump_clock: MockClock) -> None:
    await world.run(pod_of(restartPolicy="Never"))
    await world.reboot()
    pod = await world.until(lambda p: p.status.phase == "Failed", seconds=10)
    ended = main_status(pod).state.terminated
    assert ended is not None
    assert (ended.exitCode, ended.reason) == (137, "ContainerStatusUnknown")
    assert [m for m, _ in world.runtime.calls if m == "start_container"] == []


async def test_after_a_reboot_what_had_succeeded_is_not_done_again(world: World, autojump_clock: MockClock) -> None:
    world.runtime.behave("done", Behaviour(exit_after=1))
    await world.client.create(pod_of(restartPolicy="OnFailure", containers=[{"name": "main"}, {"name": "done"}]))
    await world.until(lambda p: main_status(p, "done").state.terminated)
    await world.reboot()
    pod = await world.until(lambda p: restarts(p) == 1 and main_status(p).state.running, seconds=10)
    ended = main_status(pod, "done").state.terminated
    assert ended is not None
    assert ended.exitCode == 0
    assert world.runtime.running() == ["main"]


async def test_a_lost_sandbox_is_built_again(world: World, autojump_clock: MockClock) -> None:
    await world.run(pod_of())
    world.runtime.lose_sandbox(world.runtime.sandboxes()[0].spec.id)
    world.runtime.finish(world.runtime.by_name("main").spec.id, 137)
    await world.until(lambda p: restarts(p) == 1 and main_status(p).state.running, seconds=30)
    assert ("SandboxChanged", "Pod sandbox changed, it will be killed and re-created.") in await world.events()


async def test_force_deletion_does_not_wait_out_the_grace_period(world: World, autojump_clock: MockClock) -> None:
    world.runtime.behave("main", Behaviour(ignores_stop=True))
    await world.run(pod_of(terminationGracePeriodSeconds=600))
    await world.delete()
    await trio.sleep(1)
    assert world.runtime.running() == ["main"]
    await world.delete(grace=0)
    await world.until_empty(seconds=10)


async def test_a_second_deletion_may_shorten_the_grace(world: World, autojump_clock: MockClock) -> None:
    world.runtime.behave("main", Behaviour(ignores_stop=True))
    await world.run(pod_of(terminationGracePeriodSeconds=600))
    await world.delete()
    await trio.sleep(1)
    await world.delete(grace=5)
    await world.until_gone(seconds=10)


async def test_a_deletion_survives_a_restart_of_the_kubelet(world: World, autojump_clock: MockClock) -> None:
    world.runtime.behave("main", Behaviour(ignores_stop=True))
    await world.run(pod_of(terminationGracePeriodSeconds=100))
    await world.delete()
    await trio.sleep(60)
    await world.restart()
    await world.until_gone(seconds=60)  # the 60 seconds that had passed count


async def test_a_deletion_while_the_kubelet_is_away_is_made_up_for(world: World, autojump_clock: MockClock) -> None:
    await world.run(pod_of())
    await world.stop()
    await world.delete(grace=0)
    assert world.runtime.running() == ["main"]
    await world.restart()
    assert world.runtime.sandboxes() == ()
    assert world.network.attachments() == []


async def test_a_deadline_fails_the_pod(world: World, autojump_clock: MockClock) -> None:
    await world.run(pod_of(activeDeadlineSeconds=30))
    pod = await world.until(lambda p: p.status.phase == "Failed", seconds=40)
    assert pod.status.reason == "DeadlineExceeded"
    assert world.runtime.sandboxes() == ()


async def test_sidecars_start_first_and_end_last(world: World, autojump_clock: MockClock) -> None:
    world.runtime.behave("main", Behaviour(exit_after=10))
    sidecars = [{"name": "one", "restartPolicy": "Always"}, {"name": "two", "restartPolicy": "Always"}]
    await world.client.create(pod_of(restartPolicy="Never", initContainers=sidecars))
    await world.until(lambda p: main_status(p).state.running)
    assert world.runtime.running() == ["one", "two", "main"]
    ids = {s.spec.id: s.spec.name for s in world.runtime.containers()}
    pod = await world.until(lambda p: p.status.phase == "Succeeded")
    stops = [ids[key] for method, key in world.runtime.calls if method == "stop_container"]
    assert stops == ["two", "one"]
    ended = main_status(pod, "one").state.terminated
    assert ended is not None


async def test_a_failing_stop_is_tried_again(world: World, autojump_clock: MockClock) -> None:
    await world.run(pod_of())
    world.runtime.fail("stop_container", RuntimeFailure("KillContainerError", "does not end"))
    world.runtime.fail("remove_sandbox", OSError(16, "busy"))
    await world.delete()
    await world.until_gone(seconds=30)
    assert world.runtime.sandboxes() == ()


async def test_a_failing_sandbox_is_told_and_tried_again(world: World, autojump_clock: MockClock) -> None:
    world.network.fail_next_attach = "no address left"
    await world.run(pod_of())
    assert ("FailedCreatePodSandBox", "Failed to create pod sandbox: no address left") in await world.events()


async def test_pods_that_do_not_fit_are_refused(world: World, autojump_clock: MockClock) -> None:
    cases = {
        "cpu": ({"containers": [{"name": "main", "resources": {"requests": {"cpu": "9000"}}}]}, "OutOfcpu"),
        "arch": ({"nodeSelector": {"kubernetes.io/arch": "s390x"}}, "NodeAffinity"),
    }
    for name, (spec, reason) in cases.items():
        await world.client.create(pod_of(name, **spec))
        pod = await world.until(lambda p: p.status.phase == "Failed", name)
        assert pod.status.reason == reason
        assert pod.status.message.startswith("Pod was rejected: ")


async def test_of_two_pods_with_one_host_port_the_second_is_refused(world: World, autojump_clock: MockClock) -> None:
    ports = [{"name": "main", "ports": [{"containerPort": 80, "hostPort": 8080}]}]
    await world.run(pod_of("one", containers=ports))
    await world.client.create(pod_of("two", containers=ports))
    pod = await world.until(lambda p: p.status.phase == "Failed", "two")
    assert pod.status.reason == "NodePorts"


async def test_a_resize_changes_limits_in_place(world: World, autojump_clock: MockClock) -> None:
    limits = {"limits": {"cpu": "500m", "memory": "64Mi"}, "requests": {"cpu": "500m", "memory": "64Mi"}}
    await world.run(pod_of(containers=[{"name": "main", "resources": limits}]))
    wanted = {"limits": {"cpu": "1", "memory": "128Mi"}, "requests": {"cpu": "1", "memory": "128Mi"}}
    patch = {"spec": {"containers": [{"name": "main", "resources": wanted}]}}
    await world.client.patch(Pod, "web", "default", patch=patch, type=PatchType.STRATEGIC, subresource="resize")
    pod = await world.until(
        lambda p: main_status(p).resources and main_status(p).resources.limits["memory"] == "128Mi", seconds=5
    )
    given = world.runtime.by_name("main").spec.resources
    assert (given.cpu_quota_us, given.memory_limit_bytes) == (100_000, 128 * 1024 * 1024)
    assert restarts(pod) == 0
    group = world.runtime.sandboxes()[0].spec.resources
    assert group is not None
    assert group.memory_limit_bytes == 128 * 1024 * 1024
    assert [c.type for c in pod.status.conditions if c.type.startswith("PodResize")] == []


async def test_a_resize_the_node_cannot_give_is_infeasible(world: World, autojump_clock: MockClock) -> None:
    limits = {"limits": {"cpu": "500m", "memory": "64Mi"}, "requests": {"cpu": "500m", "memory": "64Mi"}}
    await world.run(pod_of(containers=[{"name": "main", "resources": limits}]))
    wanted = {"limits": {"cpu": "5000", "memory": "64Mi"}, "requests": {"cpu": "5000", "memory": "64Mi"}}
    patch = {"spec": {"containers": [{"name": "main", "resources": wanted}]}}
    await world.client.patch(Pod, "web", "default", patch=patch, type=PatchType.STRATEGIC, subresource="resize")
    pod = await world.until(lambda p: any(c.type == "PodResizePending" for c in p.status.conditions), seconds=5)
    assert condition(pod, "PodResizePending") == ("True", "Infeasible")


async def test_an_ephemeral_container_joins_its_target(world: World, autojump_clock: MockClock) -> None:
    await world.run(pod_of())
    debugger = {"name": "debug", "image": IMAGE, "targetContainerName": "main"}
    await world.client.patch(
        Pod,
        "web",
        "default",
        patch={"spec": {"ephemeralContainers": [debugger]}},
        type=PatchType.STRATEGIC,
        subresource="ephemeralcontainers",
    )
    await world.until(lambda p: main_status(p, "debug").state.running, seconds=5)
    assert world.runtime.by_name("debug").spec.pid_of == world.runtime.by_name("main").spec.id
    world.runtime.finish(world.runtime.by_name("debug").spec.id, 1)
    pod = await world.until(lambda p: main_status(p, "debug").state.terminated, seconds=5)
    assert pod.status.phase == "Running"
    await trio.sleep(60)
    assert world.runtime.running() == ["main"]


async def test_after_a_reboot_init_containers_run_again_under_on_failure(
    world: World, autojump_clock: MockClock
) -> None:
    world.runtime.behave("init", Behaviour(exit_after=1))
    await world.run(pod_of(restartPolicy="OnFailure", initContainers=[{"name": "init"}]))
    await world.reboot()
    world.runtime.behave("init", Behaviour(exit_after=5))
    pod = await world.until(lambda p: restarts(p) == 1 and main_status(p).ready, seconds=20)
    ended = main_status(pod, "init").state.terminated
    assert ended is not None
    assert main_status(pod, "init").restartCount == 1


async def test_a_bug_met_by_one_pod_is_not_the_end_of_the_others(
    world: World, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    await world.run(pod_of("other"))
    world.runtime.fail("create_sandbox", ValueError("a bug"))
    await world.client.create(pod_of())
    await world.until(lambda p: p.status.phase == "Running", seconds=20)
    assert world.runtime.running() == ["main", "main"]
    assert "worker failed, begins anew" in caplog.text


async def test_a_pod_of_the_same_name_may_follow_at_once(world: World, autojump_clock: MockClock) -> None:
    world.runtime.behave("main", Behaviour(ignores_stop=True))
    first = await world.run(pod_of())
    await world.delete(grace=0)
    second = await world.run(pod_of())
    assert second.metadata.uid != first.metadata.uid
    kubelet = world.kubelet
    assert kubelet is not None
    found = kubelet.worker("default", "web")
    assert found is not None
    assert found.uid == second.metadata.uid
    await trio.sleep(30)
    assert len(world.runtime.sandboxes()) == 1


async def test_a_missing_config_map_is_named_and_waited_for(world: World, autojump_clock: MockClock) -> None:
    volumes = [{"name": "v", "configMap": {"name": "cm"}}]
    await world.client.create(pod_of(volumes=volumes))
    await trio.sleep(5)
    pod = await world.pod()
    waiting = main_status(pod).state.waiting
    assert waiting is not None
    assert waiting.reason == "ContainerCreating"
    expected = ("FailedMount", 'MountVolume.SetUp failed for volume "v" : configmap "cm" not found')
    assert expected in await world.events()
    await world.client.create(ConfigMap(metadata=ObjectMeta(name="cm", namespace="default"), data={"k": "v"}))
    await world.until(lambda p: p.status.phase == "Running", seconds=1)
    folder = world.folder / "run" / "pods" / pod.metadata.uid / "volumes" / "v"
    assert (folder / "k").read_text() == "v"
    await world.client.patch(ConfigMap, "cm", "default", patch={"data": {"k": "w", "l": "x"}})
    await trio.sleep(1)
    assert ((folder / "k").read_text(), (folder / "l").read_text()) == ("w", "x")
    assert restarts(await world.pod()) == 0


async def test_a_missing_secret_in_the_environment_is_a_config_error(world: World, autojump_clock: MockClock) -> None:
    env = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]
    await world.client.create(pod_of(containers=[{"name": "main", "env": env}]))
    pod = await world.until(lambda p: main_status(p).state.waiting and main_status(p).state.waiting.message)
    waiting = main_status(pod).state.waiting
    assert waiting is not None
    assert (waiting.reason, waiting.message) == ("CreateContainerConfigError", 'secret "s" not found')
    await world.client.create(Secret(metadata=ObjectMeta(name="s", namespace="default"), data={"k": b"v"}))
    await world.until(lambda p: p.status.phase == "Running", seconds=1)
    assert "A=v" in world.runtime.by_name("main").spec.env


async def test_an_unknown_runtime_class_is_named(world: World, autojump_clock: MockClock) -> None:
    await world.client.create(RuntimeClass(metadata=ObjectMeta(name="kata"), handler="kata"))
    await world.client.create(pod_of(runtimeClassName="kata"))
    await trio.sleep(1)
    words = 'no runtime for "kata" is configured: this node runs containers with runc'
    assert ("FailedCreatePodSandBox", f"Failed to create pod sandbox: {words}") in await world.events()
    assert (await world.pod()).status.phase == "Pending"


async def test_tokens_are_written_and_renewed(world: World, autojump_clock: MockClock) -> None:
    projection = {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}
    pod = await world.run(pod_of(volumes=[{"name": "t", "projected": {"sources": [projection]}}]))
    token = world.folder / "run" / "pods" / pod.metadata.uid / "volumes" / "t" / "token"
    assert token.read_text() == "token-system:serviceaccount:default:default"
    before = token.stat().st_ino
    asked = world.tokens
    await trio.sleep(3000)
    assert world.tokens == asked + 1
    assert token.stat().st_ino == before  # our pretended token is always the same: nothing to write


async def test_a_status_that_cannot_be_written_is_written_later(world: World, autojump_clock: MockClock) -> None:
    store = world.registry.backend.store
    await world.client.create(pod_of())
    await world.until(lambda p: p.status.phase == "Running")
    assert isinstance(store, FakeStore)
    store.read_only = True
    world.runtime.finish(world.runtime.by_name("main").spec.id, 1)
    await trio.sleep(20)
    assert restarts(await world.pod()) == 0
    store.read_only = False
    await world.until(lambda p: restarts(p) == 1 and main_status(p).ready, seconds=61)


async def test_isolation_that_is_not_there_is_refused(world: World, autojump_clock: MockClock) -> None:
    await world.client.create(pod_of(hostUsers=False))
    await trio.sleep(1)
    words = "user namespaces (hostUsers: false) are not supported by this node"
    assert ("FailedCreatePodSandBox", f"Failed to create pod sandbox: {words}") in await world.events()
    assert world.runtime.sandboxes() == ()
