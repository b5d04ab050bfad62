"""A pod network in memory: addresses and attachments as a real node hands them out, no links."""

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import trio

from edgekube.network.api import Attachment, NetworkFailure, PortMapping
from edgekube.network.names import host_link_name


class FakePodNetwork:
    """`PodNetwork` for tests of what stands on it.

    `fail_next_attach` makes the next attach raise; `attached_to` remembers the namespace path a sandbox came with.
    """

    def __init__(self, *, mtu: int = 1500) -> None:
        self._mtu = mtu
        self._cidr: IPv4Network | None = None
        self._attachments: dict[str, Attachment] = {}
        self._addresses: Iterator[IPv4Address] = iter(())
        self.attached_to: dict[str, str] = {}
        self.fail_next_attach: str = ""
        self.removed = False

    async def start(self, pod_cidr: IPv4Network) -> None:
        await trio.lowlevel.checkpoint()
        if self._cidr != pod_cidr:
            self._cidr = pod_cidr
            hosts = pod_cidr.hosts()
            next(hosts)
            self._addresses = iter(hosts)
        self.removed = False

    @property
    def mtu(self) -> int:
        return self._mtu

    @property
    def gateway(self) -> IPv4Interface:
        cidr = self._started()
        return IPv4Interface((cidr.network_address + 1, cidr.prefixlen))

    async def attach(
        self,
        sandbox_id: str,
        netns_path: str,
        *,
        ports: Sequence[PortMapping] = (),
        ingress_bps: int = 0,
        egress_bps: int = 0,
    ) -> Attachment:
        self._started()
        await trio.lowlevel.checkpoint()
        if self.fail_next_attach:
            message, self.fail_next_attach = self.fail_next_attach, ""
            raise NetworkFailure(message)
        known = self._attachments.get(sandbox_id)
        if known is not None:
            return known
        for mapping in ports:
            for other in self._attachments.values():
                if any((p.host_port, p.protocol) == (mapping.host_port, mapping.protocol) for p in other.ports):
                    raise NetworkFailure(f"host port {mapping.host_port} is taken by sandbox {other.sandbox_id}")
        address = next(self._addresses, None)
        if address is None:
            raise NetworkFailure(f"no address left in {self._cidr}; the node runs as many pods as it can")
        attachment = Attachment(
            sandbox_id=sandbox_id, ips=(str(address),), host_link=host_link_name(sandbox_id), ports=tuple(ports)
        )
        self._attachments[sandbox_id] = attachment
        self.attached_to[sandbox_id] = netns_path
        return attachment

    async def detach(self, sandbox_id: str) -> None:
        await trio.lowlevel.checkpoint()
        self._attachments.pop(sandbox_id, None)
        self.attached_to.pop(sandbox_id, None)

    def attachments(self) -> Sequence[Attachment]:
        return list(self._attachments.values())

    async def retain(self, sandbox_ids: Sequence[str]) -> None:
        for sandbox_id in set(self._attachments) - set(sandbox_ids):
            await self.detach(sandbox_id)

    async def stop(self, *, remove: bool) -> None:
        await trio.lowlevel.checkpoint()
        if remove:
            self._attachments.clear()
            self.attached_to.clear()
            self.removed = True

    def _started(self) -> IPv4Network:
        if self._cidr is None:
            raise NetworkFailure("the pod network is not started; call start() first")
        return self._cidr
