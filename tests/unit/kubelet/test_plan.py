"""What a pod does next, as a table of values."""

from typing import Any

import pytest

from edgekube.kubelet.plan import Plan, Seen, backoff_seconds, decide, should_restart, termination_order
from edgekube.kubelet.spec import spec_hash
from edgekube.types.core_v1 import Container, ContainerRestartRule, ContainerRestartRuleOnExitCodes, Pod
from tests.unit.kubelet.conftest import pod_of

RUNS = Seen(state="running", attempt=0, started=True, ready=True)
DONE = Seen(state="exited", attempt=0, exit_code=0)
BROKE = Seen(state="exited", attempt=0, exit_code=1)
LOST = Seen(state="lost", attempt=2, exit_code=137)
TWO = {"containers": [{"name": "a"}, {"name": "b"}]}
INIT = {"initContainers": [{"name": "i"}, {"name": "j"}]}
SIDE = {"initContainers": [{"name": "s", "restartPolicy": "Always"}, {"name": "i"}]}


def starts(plan: Plan) -> list[tuple[str, int]]:
    return [(s.name, s.attempt) for s in plan.starts]


def pod(policy: str = "Always", **spec: Any) -> Pod:
    return pod_of(restartPolicy=policy, **spec)


@pytest.mark.parametrize(
    ("spec", "seen", "expected", "finished"),
    [
        ({}, {}, [("main", 0)], ""),
        (TWO, {}, [("a", 0), ("b", 0)], ""),
        (TWO, {"a": RUNS}, [("b", 0)], ""),
        ({}, {"main": RUNS}, [], ""),
        ({}, {"main": BROKE}, [("main", 1)], ""),
        ({}, {"main": DONE}, [("main", 1)], ""),
        ({"restartPolicy": "OnFailure"}, {"main": BROKE}, [("main", 1)], ""),
        ({"restartPolicy": "OnFailure"}, {"main": DONE}, [], "Succeeded"),
        ({"restartPolicy": "Never"}, {"main": DONE}, [], "Succeeded"),
        ({"restartPolicy": "Never"}, {"main": BROKE}, [], "Failed"),
        ({"restartPolicy": "Never", **TWO}, {"a": BROKE, "b": RUNS}, [], ""),
        ({"restartPolicy": "Never", **TWO}, {"a": BROKE, "b": DONE}, [], "Failed"),
        # init containers, one after another
        (INIT, {}, [("i", 0)], ""),
        (INIT, {"i": RUNS}, [], ""),
        (INIT, {"i": DONE}, [("j", 0)], ""),
        (INIT, {"i": BROKE}, [("i", 1)], ""),
        (INIT, {"i": DONE, "j": DONE}, [("main", 0)], ""),
        (INIT | {"restartPolicy": "Never"}, {"i": BROKE}, [], "Failed"),
        # sidecars: the next begins once it has started
        (SIDE, {}, [("s", 0)], ""),
        (SIDE, {"s": Seen(state="running", attempt=0)}, [], ""),
        (SIDE, {"s": RUNS}, [("i", 0)], ""),
        (SIDE, {"s": RUNS, "i": DONE}, [("main", 0)], ""),
        (SIDE, {"s": BROKE, "i": DONE, "main": RUNS}, [("s", 1)], ""),
        (SIDE | {"restartPolicy": "Never"}, {"s": RUNS, "i": DONE, "main": DONE}, [], "Succeeded"),
        # a liveness probe asked for the restart
        ({"restartPolicy": "OnFailure"}, {"main": Seen("exited", 0, 0, killed_for_restart=True)}, [("main", 1)], ""),
        ({"restartPolicy": "Never"}, {"main": Seen("exited", 0, 0, killed_for_restart=True)}, [], "Succeeded"),
        # lost with its sandbox
        ({}, {"main": LOST}, [("main", 3)], ""),
        (INIT, {"i": Seen("lost", 0, 0), "j": Seen("lost", 0, 0), "main": LOST}, [("i", 1)], ""),
        (INIT, {"i": DONE, "j": DONE, "main": LOST}, [("main", 3)], ""),
        ({"restartPolicy": "Never"}, {"main": LOST}, [], "Failed"),
        (INIT | {"restartPolicy": "Never"}, {"i": Seen("lost", 0, 137)}, [], "Failed"),
        (TWO | {"restartPolicy": "OnFailure"}, {"a": Seen("lost", 0, 0), "b": LOST}, [("b", 3)], ""),
        # ephemeral ones once
        ({"ephemeralContainers": [{"name": "d"}]}, {"main": RUNS}, [("d", 0)], ""),
        ({"ephemeralContainers": [{"name": "d"}]}, {"main": RUNS, "d": BROKE}, [], ""),
    ],
)
def test_decisions(spec: dict[str, Any], seen: dict[str, Seen], expected: list[tuple[str, int]], finished: str) -> None:
    plan = decide(pod_of(**spec), seen, now=100.0)
    assert starts(plan) == expected
    assert plan.finished == finished


def test_a_start_waits_for_its_back_off() -> None:
    plan = decide(pod(), {"main": Seen("exited", 3, 1, restart_at=130.0)}, now=100.0)
    assert plan.starts == ()
    assert plan.wake_at == 130.0
    assert plan.waiting == {"main": "CrashLoopBackOff"}


def test_sidecars_are_stopped_when_the_work_is_done() -> None:
    sidecars = {"initContainers": [{"name": "s", "restartPolicy": "Always"}, {"name": "t", "restartPolicy": "Always"}]}
    plan = decide(pod("Never", **sidecars), {"s": RUNS, "t": RUNS, "main": BROKE}, now=0.0)
    assert plan.finished == "Failed"
    assert [k.name for k in plan.kills] == ["t", "s"]


def test_another_image_replaces_the_container() -> None:
    wanted = pod()
    same, other = spec_hash(wanted.spec.containers[0]), spec_hash(Container(name="main", image="other"))
    assert decide(wanted, {"main": Seen("running", 0, hash=same)}, 0.0).kills == ()
    assert [k.name for k in decide(wanted, {"main": Seen("running", 0, hash=other)}, 0.0).kills] == ["main"]


def test_back_off_doubles_to_five_minutes() -> None:
    assert [backoff_seconds(n) for n in (0, 1, 2, 3, 4, 7, 50)] == [0, 0, 10, 20, 40, 300, 300]


@pytest.mark.parametrize(
    ("operator", "values", "code", "expected"),
    [("In", (42,), 42, True), ("In", (42,), 1, False), ("NotIn", (42,), 1, True), ("NotIn", (42,), 42, False)],
)
def test_exit_code_rules_come_first(operator: str, values: tuple[int, ...], code: int, expected: bool) -> None:
    rule = ContainerRestartRule(
        action="Restart", exitCodes=ContainerRestartRuleOnExitCodes(operator=operator, values=values)
    )
    container = Container(name="c", restartPolicy="Never", restartPolicyRules=(rule,))
    assert should_restart("Always", container, code) is expected


def test_a_containers_own_policy_wins() -> None:
    assert not should_restart("Always", Container(name="c", restartPolicy="Never"), 1)
    assert should_restart("Never", Container(name="c", restartPolicy="OnFailure"), 1)


def test_termination_takes_main_containers_first_and_sidecars_in_reverse() -> None:
    sidecars = [{"name": "s", "restartPolicy": "Always"}, {"name": "t", "restartPolicy": "Always"}]
    wanted = pod(initContainers=sidecars, **TWO)
    assert termination_order(wanted, ["s", "t", "a", "b"]) == [["a", "b"], ["t"], ["s"]]
    assert termination_order(wanted, ["s"]) == [["s"]]
