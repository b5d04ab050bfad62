"""Startup, readiness and liveness probes of one running container (pkg/kubelet/prober)."""

import random
from collections.abc import Callable

import trio

from edgekube.kubelet.checks import Outcome, exec_check, grpc_check, port_number, tcp_check
from edgekube.kubelet.httpcheck import http_check
from edgekube.kubelet.services import Services
from edgekube.kubelet.spec import AnyContainer
from edgekube.runtime.api import ContainerStatus
from edgekube.types.core_v1 import Pod, Probe


class Prober:
    """Runs the probes of one start of a container; `started` and `ready` are its verdicts so far.

    `changed` is called when a verdict turns, `unhealthy(name, message)` once when the container must be restarted.
    """

    def __init__(
        self,
        services: Services,
        pod: Pod,
        container: AnyContainer,
        status: ContainerStatus,
        *,
        field_path: str,
        changed: Callable[[], None],
        unhealthy: Callable[[str, str], None],
        was_started: bool,
        was_ready: bool,
    ) -> None:
        self._services = services
        self._pod = pod
        self._container = container
        self._status = status
        self._field_path = field_path
        self._changed = changed
        self._unhealthy = unhealthy
        self.started = container.startupProbe is None or was_started
        self.ready = self.started and (container.readinessProbe is None or was_ready)

    async def run(self) -> None:
        """Until cancelled, when the container ends."""
        container = self._container
        self._changed()
        if container.startupProbe is not None and not self.started:
            if not await self._startup(container.startupProbe):
                return
            self.started = True
            self.ready = container.readinessProbe is None
            self._changed()
        async with trio.open_nursery() as nursery:
            if container.readinessProbe is not None:
                nursery.start_soon(self._readiness, container.readinessProbe)
            if container.livenessProbe is not None:
                nursery.start_soon(self._liveness, container.livenessProbe)

    async def _delay(self, probe: Probe) -> None:
        """initialDelaySeconds counts from the container's start; a random part of the period spreads the load."""
        await trio.sleep(probe.initialDelaySeconds)
        if probe.initialDelaySeconds == 0 and self.started and self._container.startupProbe is None:
            await trio.sleep(random.random() * 0.1)

    async def _startup(self, probe: Probe) -> bool:
        await self._delay(probe)
        failures = 0
        while True:
            outcome = await self._once(probe)
            self._tell("Startup", outcome)
            if outcome.ok:
                return True
            failures += 1
            if failures >= max(probe.failureThreshold, 1):
                name = self._container.name
                self._unhealthy(name, f"Container {name} failed startup probe, will be restarted")
                return False
            await trio.sleep(max(probe.periodSeconds, 1))

    async def _readiness(self, probe: Probe) -> None:
        await self._delay(probe)
        run, last = 0, self.ready
        while True:
            outcome = await self._once(probe)
            run = run + 1 if outcome.ok == last else 1
            last = outcome.ok
            self._tell("Readiness", outcome)
            threshold = max(probe.successThreshold if outcome.ok else probe.failureThreshold, 1)
            if outcome.ok != self.ready and run >= threshold:
                self.ready = outcome.ok
                self._changed()
            await trio.sleep(max(probe.periodSeconds, 1))

    async def _liveness(self, probe: Probe) -> None:
        await self._delay(probe)
        failures = 0
        while True:
            outcome = await self._once(probe)
            failures = 0 if outcome.ok else failures + 1
            self._tell("Liveness", outcome)
            if failures >= max(probe.failureThreshold, 1):
                name = self._container.name
                self._unhealthy(name, f"Container {name} failed liveness probe, will be restarted")
                return
            await trio.sleep(max(probe.periodSeconds, 1))

    def _tell(self, kind: str, outcome: Outcome) -> None:
        if outcome.ok and not outcome.warning:
            return
        reason, what = ("ProbeWarning", "warning") if outcome.ok else ("Unhealthy", "failed")
        words = f"{kind} probe {what}: {outcome.message}"
        self._services.events.event(self._pod, "Warning", reason, words, field_path=self._field_path)

    async def _once(self, probe: Probe) -> Outcome:
        timeout = float(max(probe.timeoutSeconds, 1))
        if probe.exec is not None:
            return await exec_check(self._services.runtime, self._status.spec.id, probe.exec.command, timeout)
        if probe.grpc is not None:
            return await grpc_check(self._address(), probe.grpc.port, probe.grpc.service or "", timeout)
        action = probe.httpGet or probe.tcpSocket
        if action is None:
            return Outcome(True)
        ports = {p.name: p.containerPort for p in self._container.ports if p.name}
        port = port_number(action, ports)
        if port is None:
            return Outcome(False, f"couldn't find port: {action.port}")
        host = action.host or self._address()
        if probe.httpGet is not None:
            return await http_check(probe.httpGet, host, port, timeout)
        return await tcp_check(host, port, timeout)

    def _address(self) -> str:
        if self._pod.spec.hostNetwork:
            return self._services.config.node_ip
        attached = {a.sandbox_id: a for a in self._services.network.attachments()}
        found = attached.get(self._status.spec.sandbox_id)
        return found.ips[0] if found is not None and found.ips else self._pod.status.podIP
