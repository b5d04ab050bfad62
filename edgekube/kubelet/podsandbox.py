"""A pod's sandbox and its place on the network: made, found again, given up. Owned by the pod's worker."""

from collections.abc import Callable

from edgekube.kubelet import spec as build
from edgekube.kubelet.env import ConfigError
from edgekube.kubelet.failures import PASSING, one_failure
from edgekube.kubelet.services import Services
from edgekube.network.api import PortMapping
from edgekube.runtime.api import Resources, Sandbox
from edgekube.types.core_v1 import Pod
from edgekube.types.node_v1 import RuntimeClass
from edgekube.types.status import ApiError

HANDLERS = ("", "runc", "crun")  # RuntimeClass handlers that mean the node's own runtime

Say = Callable[[str, str, str], None]


class PodSandbox:
    """`say` records an event about the pod: type, reason, message."""

    def __init__(self, services: Services, pod: Pod, say: Say) -> None:
        self._services = services
        self._id = build.sandbox_spec(pod, services.config).id
        self._say = say
        self.ips: tuple[str, ...] = tuple(ip.ip for ip in pod.status.podIPs)
        self.ready = (found := self._find()) is not None and found.ready

    def _find(self) -> Sandbox | None:
        return next((s for s in self._services.runtime.sandboxes() if s.spec.id == self._id), None)

    @property
    def id(self) -> str:
        return self._id

    @property
    def broken(self) -> bool:
        """It is there, but its namespaces or its first process are gone."""
        sandbox = self._find()
        return sandbox is not None and not sandbox.ready

    async def ensure(self, pod: Pod) -> Sandbox:
        """Namespaces, cgroup and address; every call recognises what is there. Raises PASSING failures."""
        services = self._services
        try:
            with one_failure():
                sandbox = self._find()
                if sandbox is None:
                    _check_supported(pod)
                    await self._check_runtime_class(pod)
                    sandbox = await services.runtime.create_sandbox(build.sandbox_spec(pod, services.config))
                if pod.spec.hostNetwork:
                    self.ips = (services.config.node_ip,)
                else:
                    attachment = await services.network.attach(self._id, sandbox.netns_path, ports=_ports(pod))
                    self.ips = attachment.ips
        except PASSING as error:
            self.ready = False
            self._say("Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
            raise
        self.ready = True
        return sandbox

    async def _check_runtime_class(self, pod: Pod) -> None:
        name = pod.spec.runtimeClassName
        if not name:
            return
        try:
            found = await self._services.client.get(RuntimeClass, name)
        except ApiError as error:
            if error.code == 404:
                raise ConfigError(f'RuntimeClass "{name}" not found') from error
            raise
        if found.handler not in HANDLERS:
            raise ConfigError(f'no runtime for "{found.handler}" is configured: this node runs containers with runc')

    async def limit(self, resources: Resources) -> None:
        """Change the pod cgroup's limits."""
        await self._services.runtime.update_sandbox(self._id, resources)

    @property
    def limits(self) -> Resources:
        sandbox = self._find()
        return (sandbox.spec.resources if sandbox is not None else None) or Resources()

    async def remove(self) -> None:
        """Give address, namespaces and everything that runs in them back."""
        self.ready = False
        with one_failure():
            await self._services.network.detach(self._id)
            await self._services.runtime.remove_sandbox(self._id)


def _check_supported(pod: Pod) -> None:
    """What isolates or equips a pod is refused when it is not there, never passed over. Raises ConfigError."""
    if pod.spec.hostUsers is False:
        raise ConfigError("user namespaces (hostUsers: false) are not supported by this node")
    if pod.spec.resourceClaims:
        raise ConfigError("resource claims are not supported by this node")


def _ports(pod: Pod) -> tuple[PortMapping, ...]:
    return tuple(
        PortMapping(p.containerPort, p.hostPort, p.protocol or "TCP", p.hostIP)
        for c in (*pod.spec.initContainers, *pod.spec.containers)
        for p in c.ports
        if p.hostPort
    )
