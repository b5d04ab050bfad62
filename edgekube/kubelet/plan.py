"""What to do next for a pod: a pure function of its spec and of what its containers are doing.

Follows the kubelet's computePodActions: init containers one after another, sidecars (init containers that restart
always) as soon as they have started, then the main containers; restarts by policy with back-off.
"""

from collections.abc import Mapping, Sequence

import msgspec

from edgekube.kubelet.config import (
    CRASH_BACKOFF_BASE_SECONDS,
    CRASH_BACKOFF_MAX_SECONDS,
)
from edgekube.kubelet.spec import AnyContainer, spec_hash
from edgekube.types.core_v1 import Container, Pod


class Seen(msgspec.Struct, frozen=True, gc=False):
    """What is known of one container: its newest start, and what probes say of it."""

    state: str = ""  # "" (never started here), created, running, exited
    attempt: int = -1
    exit_code: int = 0
    started: bool = False  # startup probe passed, or there is none and it runs
    ready: bool = False
    hash: str = ""
    restart_at: float = 0.0  # monotonic; a start before it is held back
    killed_for_restart: bool = False  # a failed liveness probe: restarted although its exit code may be 0


class Start(msgspec.Struct, frozen=True):
    """Start `name` with this attempt number."""

    name: str
    attempt: int
    kind: str


class Kill(msgspec.Struct, frozen=True):
    name: str
    reason: str
    message: str


class Plan(msgspec.Struct, frozen=True):
    """`starts` in order; `wake_at` is when a back-off ends; `finished`: nothing will ever run again (phase set)."""

    starts: tuple[Start, ...] = ()
    kills: tuple[Kill, ...] = ()
    wake_at: float = float("inf")
    finished: str = ""  # "", Succeeded or Failed
    waiting: Mapping[str, str] = {}  # container -> reason it waits


def is_sidecar(container: Container) -> bool:
    return container.restartPolicy == "Always"


def backoff_seconds(crashes: int) -> float:
    """Delay before a restart after `crashes` quick deaths in a row: none, then 10 s doubling to 5 min."""
    if crashes <= 1:
        return 0.0
    return min(CRASH_BACKOFF_MAX_SECONDS, CRASH_BACKOFF_BASE_SECONDS * 2.0 ** min(crashes - 2, 16))


def should_restart(policy: str, container: AnyContainer, exit_code: int) -> bool:
    """By the pod's restartPolicy, the container's own, and its exit code rules (KEP-5307)."""
    for rule in container.restartPolicyRules:
        if rule.exitCodes is not None and rule.action == "Restart":
            listed = exit_code in rule.exitCodes.values
            if listed == (rule.exitCodes.operator == "In"):
                return True
    policy = container.restartPolicy or policy
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def decide(pod: Pod, seen: Mapping[str, Seen], now: float) -> Plan:
    """The next actions; `seen` holds every container that was ever started here, `now` is monotonic."""
    policy = pod.spec.restartPolicy or "Always"
    starts: list[Start] = []
    kills: list[Kill] = []
    waiting: dict[str, str] = {}
    wake_at = float("inf")

    def consider(container: AnyContainer, kind: str, restart: bool) -> None:
        """Start it, hold it back, or leave it."""
        nonlocal wake_at
        state = seen.get(container.name, Seen())
        if state.state in ("running", "created"):
            if state.hash and state.hash != spec_hash(container):
                words = f"Container {container.name} definition changed, will be restarted"
                kills.append(Kill(container.name, "Killing", words))
            return
        if state.state == "exited" and not restart:
            return
        if state.state == "exited" and state.restart_at > now:
            waiting[container.name] = "CrashLoopBackOff"
            wake_at = min(wake_at, state.restart_at)
            return
        starts.append(Start(container.name, state.attempt + 1, kind))

    main_started = any(c.name in seen for c in pod.spec.containers)
    initialized = True
    for container in pod.spec.initContainers:
        state = seen.get(container.name, Seen())
        if is_sidecar(container):
            consider(container, "init", True)
            if not state.started and not main_started:
                initialized = False
                break
            continue
        if main_started or (state.state == "exited" and state.exit_code == 0):
            continue
        initialized = False
        if state.state == "exited" and not should_restart("Never" if policy == "Never" else "OnFailure", container, 1):
            return Plan(finished="Failed", kills=_stop_all(pod, seen, "init container failed"))
        consider(container, "init", True)
        break
    if not initialized:
        return Plan(tuple(starts), tuple(kills), wake_at, "", waiting)

    finished = True
    failed = False
    for container in pod.spec.containers:
        state = seen.get(container.name, Seen())
        again = state.killed_for_restart and policy != "Never"
        restart = again or should_restart(policy, container, state.exit_code)
        if state.state != "exited" or restart:
            finished = False
        elif state.exit_code != 0:
            failed = True
        consider(container, "container", restart)
    for ephemeral in pod.spec.ephemeralContainers:
        consider(ephemeral, "ephemeral", False)
    if finished:
        # Sidecars end when the main containers have: the pod is done although they would restart for ever.
        return Plan(
            kills=_stop_all(pod, seen, "main containers finished"), finished="Failed" if failed else "Succeeded"
        )
    return Plan(tuple(starts), tuple(kills), wake_at, "", waiting)


def _stop_all(pod: Pod, seen: Mapping[str, Seen], why: str) -> tuple[Kill, ...]:
    """Running sidecars, last started first stopped (KEP-753)."""
    running = [c.name for c in pod.spec.initContainers if seen.get(c.name, Seen()).state in ("running", "created")]
    return tuple(Kill(name, "Killing", f"Stopping container {name}: {why}") for name in reversed(running))


def termination_order(pod: Pod, running: Sequence[str]) -> list[list[str]]:
    """Groups of containers to stop, in order: all main ones together, then sidecars one by one in reverse."""
    sidecars = [c.name for c in pod.spec.initContainers if is_sidecar(c) and c.name in running]
    main = [name for name in running if name not in sidecars]
    return ([main] if main else []) + [[name] for name in reversed(sidecars)]
