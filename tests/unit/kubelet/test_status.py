"""A pod's status from what its containers are doing, as values."""

from typing import Any

import msgspec
import pytest

from edgekube.kubelet.plan import Seen
from edgekube.kubelet.status import ContainerView, Surroundings, container_status, phase_of, pod_status
from edgekube.runtime.api import ContainerSpec, ContainerState, ContainerStatus
from edgekube.types.core_v1 import ContainerStatus as Reported
from edgekube.types.core_v1 import Pod, PodCondition
from tests.unit.kubelet.conftest import pod_of

NOW = "2026-01-02T03:04:05Z"
RUNNING: dict[str, Any] = {"running": {"startedAt": NOW}}
OK: dict[str, Any] = {"terminated": {"exitCode": 0}}
BAD: dict[str, Any] = {"terminated": {"exitCode": 1}}
WAITS: dict[str, Any] = {"waiting": {"reason": "X"}}


def start(code: int | None = None, attempt: int = 0, name: str = "main") -> ContainerStatus:
    spec = ContainerSpec(
        id=f"{name}-{attempt}", name=name, sandbox_id="s", attempt=attempt, image_id="i", args=(), env=(), log_path="/l"
    )
    running = ContainerStatus(spec=spec, state=ContainerState.RUNNING, created_at=NOW, started_at=NOW)
    if code is None:
        return running
    return msgspec.structs.replace(running, state=ContainerState.EXITED, exit_code=code, signal=9, finished_at=NOW)


def reported(name: str = "main", state: Any = None, last: Any = None, **more: Any) -> Reported:
    return msgspec.convert({"name": name, "state": state or {}, "lastState": last or {}, **more}, Reported)


def view(*starts: ContainerStatus, **more: Any) -> ContainerView:
    state = "running" if starts and starts[0].state is ContainerState.RUNNING else "exited"
    seen = (
        Seen(state, starts[0].spec.attempt, started=state == "running", ready=state == "running") if starts else Seen()
    )
    return ContainerView(**{"starts": starts, "seen": seen} | more)


MAIN = pod_of().spec.containers[0]


def test_a_running_container() -> None:
    status = container_status(MAIN, view(start(attempt=2), start(code=3, attempt=1)), "ContainerCreating")
    assert status.state.running is not None
    assert (status.ready, status.started, status.restartCount) == (True, True, 2)
    last = status.lastState.terminated
    assert last is not None
    assert (last.exitCode, last.reason, last.signal, last.containerID) == (3, "Error", 0, "edgekube://main-1")


def test_an_ended_container_has_its_message() -> None:
    status = container_status(MAIN, view(start(code=0), messages={"main-0": "bye"}), "ContainerCreating")
    ended = status.state.terminated
    assert ended is not None
    assert (ended.exitCode, ended.reason, ended.message) == (0, "Completed", "bye")


def test_a_container_that_waits_shows_its_end_as_last_state() -> None:
    status = container_status(MAIN, view(start(code=1), waiting=("CrashLoopBackOff", "back-off")), "ContainerCreating")
    assert status.state.waiting is not None
    assert status.state.waiting.reason == "CrashLoopBackOff"
    assert status.lastState.terminated is not None
    assert status.lastState.terminated.exitCode == 1


def test_a_lost_container_is_unknown() -> None:
    before = reported(state=RUNNING, containerID="edgekube://x", restartCount=4)
    lost = ContainerView(seen=Seen("lost", 4, 137), before=before)
    again = container_status(MAIN, lost, "ContainerCreating", again=True)
    assert again.state.waiting is not None
    assert again.restartCount == 4
    for ended in (again.lastState.terminated, container_status(MAIN, lost, "", again=False).state.terminated):
        assert ended is not None
        assert (ended.exitCode, ended.reason) == (137, "ContainerStatusUnknown")


def test_after_a_rebuild_the_old_end_is_the_last_state() -> None:
    before = reported(state=BAD, containerID="edgekube://older")
    status = container_status(MAIN, view(start(attempt=1), before=before), "")
    assert status.lastState.terminated is not None
    assert status.lastState.terminated.exitCode == 1


SIDE = [{"name": "s", "restartPolicy": "Always"}]
INIT = [{"name": "i"}]


@pytest.mark.parametrize(
    ("policy", "inits", "init_states", "mains", "expected"),
    [
        ("Always", [], {}, [RUNNING], "Running"),
        ("Always", [], {}, [WAITS], "Pending"),
        ("Always", [], {}, [RUNNING, WAITS], "Pending"),
        ("Always", [], {}, [OK], "Running"),
        ("OnFailure", [], {}, [OK], "Succeeded"),
        ("OnFailure", [], {}, [BAD], "Running"),
        ("Never", [], {}, [BAD], "Failed"),
        ("Never", [], {}, [OK, BAD], "Failed"),
        ("Never", [], {}, [OK, RUNNING], "Running"),
        ("Never", INIT, {"i": BAD}, [WAITS], "Failed"),
        ("Always", INIT, {"i": BAD}, [WAITS], "Pending"),
        ("Always", INIT, {"i": OK}, [RUNNING], "Running"),
        ("Never", SIDE, {"s": RUNNING}, [OK], "Running"),
        ("Never", SIDE, {"s": OK}, [OK], "Succeeded"),
    ],
)
def test_phases(policy: str, inits: Any, init_states: dict[str, Any], mains: list[Any], expected: str) -> None:
    containers = [{"name": f"c{i}"} for i in range(len(mains))]
    pod = pod_of(restartPolicy=policy, initContainers=inits, containers=containers)
    of_init = [reported(name, state, started=True) for name, state in init_states.items()]
    of_main = [reported(f"c{i}", state) for i, state in enumerate(mains)]
    assert phase_of(pod, of_init, of_main) == expected


def test_a_deleted_pod_ends_in_a_terminal_phase() -> None:
    assert phase_of(pod_of(), [], [reported(state=OK)], terminal=True) == "Succeeded"
    assert phase_of(pod_of(), [], [reported(state=BAD)], terminal=True) == "Failed"


def test_a_container_killed_to_be_restarted_is_not_the_end() -> None:
    pod = pod_of(restartPolicy="OnFailure")
    ended = view(start(code=0))
    killed = msgspec.structs.replace(ended, seen=Seen("exited", 0, 0, killed_for_restart=True))
    assert pod_status(pod, {"main": ended}, Surroundings(), NOW).phase == "Succeeded"
    status = pod_status(pod, {"main": killed}, Surroundings(), NOW)
    assert status.phase == "Running"
    assert status.containerStatuses[0].state.waiting is not None
    assert status.containerStatuses[0].lastState.terminated is not None


def conditions(pod: Pod, views: dict[str, ContainerView], **around: Any) -> dict[str, tuple[str, str]]:
    status = pod_status(pod, views, Surroundings(**around), NOW)
    return {c.type: (c.status, c.reason) for c in status.conditions}


def test_conditions_of_a_pod_that_starts() -> None:
    pod = pod_of(initContainers=INIT)
    assert conditions(pod, {}) == {
        "PodReadyToStartContainers": ("False", ""),
        "Initialized": ("False", "ContainersNotInitialized"),
        "ContainersReady": ("False", "ContainersNotReady"),
        "Ready": ("False", "ContainersNotReady"),
    }
    views = {"i": view(start(code=0, name="i")), "main": view(start())}
    assert set(conditions(pod, views, sandbox_ready=True).values()) == {("True", "")}


@pytest.mark.parametrize(
    ("inits", "views", "reason"),
    [
        ([], {}, "ContainerCreating"),
        (INIT, {}, "PodInitializing"),
        (INIT, {"i": view(start(code=0, name="i"))}, "PodInitializing"),
    ],
)
def test_what_main_containers_wait_for(inits: Any, views: dict[str, ContainerView], reason: str) -> None:
    status = pod_status(pod_of(initContainers=inits), views, Surroundings(), NOW)
    assert status.containerStatuses[0].state.waiting is not None
    assert status.containerStatuses[0].state.waiting.reason == reason


def test_readiness_gates_hold_a_pod_back() -> None:
    pod = pod_of(readinessGates=[{"conditionType": "lb"}])
    views = {"main": view(start())}
    assert conditions(pod, views)["Ready"] == ("False", "ReadinessGatesNotReady")
    gate = PodCondition(type="lb", status="True")
    open_pod = msgspec.structs.replace(pod, status=msgspec.structs.replace(pod.status, conditions=(gate,)))
    found = conditions(open_pod, views)
    assert found["Ready"] == ("True", "")
    assert found["lb"] == ("True", "")


def test_conditions_keep_their_time_while_they_do_not_change() -> None:
    pod = pod_of()
    first = pod_status(pod, {"main": view(start())}, Surroundings(), "2020-01-01T00:00:00Z")
    pod = msgspec.structs.replace(pod, status=first)
    second = pod_status(pod, {"main": view(start())}, Surroundings(start_time=first.startTime), NOW)
    assert second == first


def test_a_verdict_overrides() -> None:
    around = Surroundings(phase="Failed", reason="Evicted", message="gone")
    status = pod_status(pod_of(), {"main": view(start(code=137))}, around, NOW)
    assert (status.phase, status.reason, status.message) == ("Failed", "Evicted", "gone")
    assert {c.reason for c in status.conditions if c.type in ("Ready", "ContainersReady")} == {"PodFailed"}
