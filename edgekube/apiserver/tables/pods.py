"""Pods and their templates."""

from collections.abc import Sequence
from typing import Any

from edgekube.apiserver.tables.cells import NONE, age, duration
from edgekube.apiserver.tables.columns import Spec, spec
from edgekube.types.time import TimeError, parse_time


def _since(text: str, now: float) -> str:
    try:
        return duration(now - parse_time(text))
    except TimeError:
        return ""


def _restartable(spec_: Any) -> set[str]:
    return {c.name for c in spec_.initContainers if c.restartPolicy == "Always"}


def _condition(pod: Any, kind: str) -> Any:
    return next((c for c in pod.status.conditions if c.type == kind), None)


def _state_reason(state: Any) -> str:
    """What a container that is not running says of itself."""
    if state.waiting is not None and state.waiting.reason:
        return str(state.waiting.reason)
    end = state.terminated
    if end is not None:
        if end.reason:
            return str(end.reason)
        return f"Signal:{end.signal}" if end.signal else f"ExitCode:{end.exitCode}"
    return ""


def _init_status(pod: Any, sidecars: set[str]) -> str:
    """`Init:1/3`, `Init:CrashLoopBackOff`, ... while init containers keep the pod from starting; else ""."""
    for index, status in enumerate(pod.status.initContainerStatuses):
        state = status.state
        if state.terminated is not None and state.terminated.exitCode == 0:
            continue
        if status.name in sidecars and status.started:
            continue
        if state.terminated is not None:
            return "Init:" + _state_reason(state)
        if state.waiting is not None and state.waiting.reason not in ("", "PodInitializing"):
            return f"Init:{state.waiting.reason}"
        return f"Init:{index}/{len(pod.spec.initContainers)}"
    return ""


def _pod(pod: Any, now: float) -> Sequence[Any]:
    status = pod.status
    sidecars = _restartable(pod.spec)
    total = len(pod.spec.containers) + len(sidecars)
    reason = status.reason or status.phase
    gated = _condition(pod, "PodScheduled")
    if gated is not None and gated.reason == "SchedulingGated":
        reason = "SchedulingGated"
    ready = restarts = sidecar_restarts = 0
    last_restart = ""
    for state in status.initContainerStatuses:
        restarts += state.restartCount
        last_restart = max(last_restart, _finished(state))
        if state.name in sidecars:
            sidecar_restarts += state.restartCount
            ready += state.ready
    initializing = _init_status(pod, sidecars)
    if initializing:
        reason = initializing
    initialized = _condition(pod, "Initialized")
    if not initializing or (initialized is not None and initialized.status == "True"):
        restarts = sidecar_restarts
        running = False
        for state in reversed(status.containerStatuses):
            restarts += state.restartCount
            last_restart = max(last_restart, _finished(state))
            said = _state_reason(state.state)
            if said:
                reason = said
            elif state.ready and state.state.running is not None:
                running = True
                ready += 1
        if reason == "Completed" and running:
            condition = _condition(pod, "Ready")
            reason = "Running" if condition is not None and condition.status == "True" else "NotReady"
    if pod.metadata.deletionTimestamp:
        if status.reason == "NodeLost":
            reason = "Unknown"
        elif status.phase not in ("Succeeded", "Failed"):
            reason = "Terminating"
    shown = f"{restarts} ({_since(last_restart, now)} ago)" if restarts and last_restart else str(restarts)
    ip = status.podIPs[0].ip if status.podIPs else status.podIP
    gates = NONE
    if pod.spec.readinessGates:
        true = {c.type for c in status.conditions if c.status == "True"}
        passed = sum(1 for gate in pod.spec.readinessGates if gate.conditionType in true)
        gates = f"{passed}/{len(pod.spec.readinessGates)}"
    return (
        pod.metadata.name, f"{ready}/{total}", reason, shown, age(pod.metadata.creationTimestamp, now), ip or NONE,
        pod.spec.nodeName or NONE, status.nominatedNodeName or NONE, gates,
    )  # fmt: skip


def _finished(state: Any) -> str:
    last = state.lastState.terminated if state.lastState is not None else None
    return last.finishedAt if last is not None else ""


TABLES: dict[str, Spec] = {
    "Pod": spec("Ready Status Restarts Age IP+ Node+ Nominated_Node+ Readiness_Gates+", _pod),
}
