"""Lifecycle hooks: postStart and preStop (pkg/kubelet/lifecycle)."""

import trio

from edgekube.kubelet.checks import exec_check, port_number, tcp_check
from edgekube.kubelet.httpcheck import http_check
from edgekube.kubelet.services import Services
from edgekube.kubelet.spec import AnyContainer
from edgekube.runtime.api import ContainerStatus
from edgekube.types.core_v1 import LifecycleHandler, Pod

HOOK_SECONDS_MAX = 3600.0  # the pod's grace period bounds preStop long before; postStart has no limit of its own


async def run_hook(
    services: Services, pod: Pod, container: AnyContainer, status: ContainerStatus, hook: LifecycleHandler
) -> str:
    """Run one hook to its end; returns "" or what went wrong."""
    ports = {p.name: p.containerPort for p in container.ports if p.name}
    address = pod.status.podIP or services.config.node_ip
    if hook.exec is not None:
        outcome = await exec_check(services.runtime, status.spec.id, hook.exec.command, HOOK_SECONDS_MAX)
        return "" if outcome.ok else f"{' '.join(hook.exec.command)}: {outcome.message}".strip()
    if hook.sleep is not None:
        await trio.sleep(float(hook.sleep.seconds))
        return ""
    action = hook.httpGet or hook.tcpSocket
    if action is None:
        return ""
    port = port_number(action, ports)
    if port is None:
        return f"port {action.port} of the hook is not a port of container {container.name}"
    if hook.httpGet is not None:
        outcome = await http_check(hook.httpGet, hook.httpGet.host or address, port, 30.0)
    else:
        outcome = await tcp_check(action.host or address, port, 30.0)
    return "" if outcome.ok else outcome.message
