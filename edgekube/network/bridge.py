"""The pod network of one node: a bridge, a veth pair a pod, addresses, egress and host ports.

Everything outlives the process. A new one finds the attachments in the state file (and, should that be damaged, on the
links themselves: the host end's alias carries address and sandbox) and changes only what differs.
"""

import logging
import os
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Final

import trio

from edgekube.network import host, pod_link
from edgekube.network.api import Attachment, NetworkFailure, PortMapping
from edgekube.network.bridge_link import BridgeLink
from edgekube.network.forwarding import ForwardGuard, legacy_filter_in_use
from edgekube.network.ipam import AddressPool
from edgekube.network.links import RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_LINK, Link, Rtnl
from edgekube.network.names import HOST_LINK_PREFIX, LINK_NAME_MAX, host_link_name, mac_of
from edgekube.network.netlink import NETLINK_ROUTE, MessagesLost, Netlink
from edgekube.network.netns import run_in_netns
from edgekube.network.nft import Data
from edgekube.network.nft_batch import Delta
from edgekube.network.nft_table import NftTable
from edgekube.network.rules import TABLE, attachment_elements, forward_rules, network_table
from edgekube.network.state import NetworkState, load_state, remove_state, save_state, set_aside
from edgekube.network.sysctl import read_sysctl, restore_sysctls, write_sysctl

logger = logging.getLogger(__name__)

PROXY_TABLE: Final = "edgekube-proxy"
REPAIR_PAUSE_S: Final = 0.2  # whoever flushes a link does so in several steps


class BridgeNetwork:
    """`PodNetwork` on a Linux bridge, in the network namespace of the thread that calls `start`.

    state_dir: folder for the state file; a tmpfs (the run dir) serves best, see `state`.
    cluster_cidr: all pods of the cluster; traffic to anything else leaves with the node's address.
    service_cidr: routed to the bridge, so that a node without default route reaches Services, with the gateway as its
        source address; None makes no route.
    local_addresses: further addresses this node answers on, as /32 on the bridge: the cluster DNS address.
    mtu: of pods and bridge; 0 takes the way out's less `overlay_overhead` bytes.
    """

    def __init__(
        self,
        *,
        state_dir: Path,
        cluster_cidr: IPv4Network,
        bridge_name: str = "ek0",
        service_cidr: IPv4Network | None = None,
        local_addresses: Sequence[IPv4Address] = (),
        mtu: int = 0,
        overlay_overhead: int = 0,
    ) -> None:
        if not 0 < len(bridge_name) <= LINK_NAME_MAX:
            raise NetworkFailure(f"the bridge name {bridge_name!r} must have 1 to {LINK_NAME_MAX} characters")
        self._state_dir = state_dir
        self._cluster_cidr = cluster_cidr
        self._bridge_name = bridge_name
        self._service_cidr = service_cidr
        self._local_addresses = tuple(local_addresses)
        self._wanted_mtu = mtu
        self._overhead = overlay_overhead
        self._lock = trio.Lock()
        self._mtu = mtu
        self._bridge = BridgeLink(bridge_name, IPv4Interface(0), (), None)
        self._pod_cidr: IPv4Network | None = None
        self._rtnl: Rtnl | None = None
        self._table: NftTable | None = None
        self._guard: ForwardGuard | None = None
        self._state = NetworkState()
        self._pool = AddressPool(IPv4Network("10.0.0.0/24"))
        self._notes: list[str] = []

    @property
    def mtu(self) -> int:
        return self._mtu

    @property
    def gateway(self) -> IPv4Interface:
        if self._pod_cidr is None:
            raise NetworkFailure("the pod network is not started; call start() first")
        return IPv4Interface((self._pod_cidr.network_address + 1, self._pod_cidr.prefixlen))

    def attachments(self) -> Sequence[Attachment]:
        return list(self._state.attachments.values())

    async def start(self, pod_cidr: IPv4Network) -> None:
        if not pod_cidr.subnet_of(self._cluster_cidr):
            raise NetworkFailure(f"the node's pod CIDR {pod_cidr} is not part of the cluster CIDR {self._cluster_cidr}")
        async with self._lock:
            self._close()
            self._pod_cidr = pod_cidr
            self._notes = []
            self._rtnl = rtnl = Rtnl()
            self._load()
            links = rtnl.links()
            self._mtu = self._wanted_mtu or host.pod_mtu(links, rtnl.routes(), self._overhead)
            self._bridge = BridgeLink(self._bridge_name, self.gateway, self._local_addresses, self._service_cidr)
            self._bridge.ensure(rtnl, self._mtu)
            self._start_sysctls()
            await self._adopt(rtnl, links)
            self._bring_back_ports(rtnl, rtnl.links())
            self._save()
            self._table = NftTable(
                network_table(
                    bridge=self._bridge_name,
                    pod_cidr=pod_cidr,
                    cluster_cidr=self._cluster_cidr,
                    attachments=self._state.attachments.values(),
                )
            )
            await self._table.rebuild()
            self._guard = ForwardGuard(forward_rules(self._bridge_name), (TABLE, PROXY_TABLE))
            await self._guard.ensure()

    async def watch(self) -> None:
        """Until cancelled: repair bridge and firewall when other programs change them. One task, after `start`."""
        _, table = self._running()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(table.watch, self._ensure_forwarding)
            nursery.start_soon(self._watch_bridge)

    async def _watch_bridge(self) -> None:
        """Network managers take down, flush or remove what they think is theirs."""
        events = Netlink(NETLINK_ROUTE, (RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE))
        try:
            while True:
                try:
                    damaged = any(self._bridge.is_damage(message) for message in await events.receive())
                except MessagesLost:
                    damaged = True
                if not damaged:
                    continue
                await trio.sleep(REPAIR_PAUSE_S)
                async with self._lock:
                    self._repair()
        finally:
            events.close()

    def _repair(self) -> None:
        """Bring back whatever of the bridge is missing; costs little when nothing is."""
        rtnl, _ = self._running()
        try:
            if not self._bridge.is_whole(rtnl):
                logger.warning("link=%s was changed by another program; repairing it", self._bridge_name)
                self._bridge.ensure(rtnl, self._mtu)
                self._bring_back_ports(rtnl, rtnl.links())
        except NetworkFailure as error:
            logger.error("repairing %s: %s", self._bridge_name, error)

    def _bring_back_ports(self, rtnl: Rtnl, links: Sequence[Link]) -> None:
        """Pods' links that lost their bridge."""
        by_name = {link.name: link for link in links}
        for attachment in self._state.attachments.values():
            link = by_name.get(attachment.host_link)
            if link is not None and link.master != self._bridge.index:
                rtnl.set_master(link.index, self._bridge.index)
                rtnl.configure_port(link.index, f"{attachment.ips[0]} {attachment.sandbox_id}")
                rtnl.set_up(link.index)

    def problems(self) -> list[str]:
        """What of this host stands in the way, each with what to do; empty on a good host."""
        found = list(self._notes)
        if self._rtnl is None or self._pod_cidr is None:
            return found
        links = self._rtnl.links()
        own = frozenset(link.index for link in links if self._is_ours(link) or link.index == self._bridge.index)
        ranges = [self._cluster_cidr] + ([self._service_cidr] if self._service_cidr else [])
        found += host.overlaps(ranges, self._rtnl.routes(), own)
        found += host.grabbed(links, self._rtnl.addresses(), own)
        if legacy_filter_in_use():
            found.append(
                "iptables-legacy rules are loaded; if its FORWARD chain drops, pods are cut off: run "
                f"`iptables-legacy -I FORWARD -i {self._bridge_name} -j ACCEPT` and the same with -o, "
                "or use iptables-nft"
            )
        return found

    async def attach(
        self,
        sandbox_id: str,
        netns_path: str,
        *,
        ports: Sequence[PortMapping] = (),
        ingress_bps: int = 0,
        egress_bps: int = 0,
    ) -> Attachment:
        if ingress_bps or egress_bps:
            logger.warning("sandbox=%s bandwidth limits are not enforced by this network", sandbox_id)
        async with self._lock:
            rtnl, table = self._running()
            attachment = self._state.attachments.get(sandbox_id)
            if attachment is None:
                self._check_ports(sandbox_id, ports)
                address = self._pool.allocate()
                attachment = Attachment(
                    sandbox_id=sandbox_id,
                    ips=(str(address),),
                    host_link=host_link_name(sandbox_id),
                    ports=tuple(ports),
                )
                elements = attachment_elements(attachment)
                self._state.attachments[sandbox_id] = attachment
                self._state.last_address = str(address)
                self._save()
            else:
                elements = attachment_elements(attachment)
            address = IPv4Address(attachment.ips[0])
            link = rtnl.link(attachment.host_link)
            if link is None or not run_in_netns(netns_path, lambda: pod_link.is_configured(address)):
                await self._connect(rtnl, attachment, address, netns_path, present=link is not None)
            await table.apply(Delta(elements=elements))
            return attachment

    async def detach(self, sandbox_id: str) -> None:
        rtnl, _ = self._running()
        if sandbox_id in self._state.attachments:
            # The kernel takes some 20 ms to remove a link; others need not wait for it.
            await rtnl.delete_link(host_link_name(sandbox_id))
            async with self._lock:
                await self._forget(sandbox_id)

    async def retain(self, sandbox_ids: Sequence[str]) -> None:
        async with self._lock:
            keep = set(sandbox_ids)
            rtnl, _ = self._running()
            for sandbox_id in [known for known in self._state.attachments if known not in keep]:
                await rtnl.delete_link(host_link_name(sandbox_id))
                await self._forget(sandbox_id)
            kept = {attachment.host_link for attachment in self._state.attachments.values()}
            for link in rtnl.links():
                if self._is_ours(link) and link.name not in kept:
                    await rtnl.delete_link(link.name)

    async def stop(self, *, remove: bool) -> None:
        async with self._lock:
            if remove:
                await self._remove()
            self._close()

    async def _remove(self) -> None:
        rtnl = self._rtnl or Rtnl()
        if self._rtnl is None:
            self._rtnl = rtnl
            self._load()
        await rtnl.delete_link(self._bridge_name)  # first: links without a bridge are then known to be ours
        for link in rtnl.links():
            if self._is_ours(link) or link.name in {a.host_link for a in self._state.attachments.values()}:
                await rtnl.delete_link(link.name)
        if self._guard is None:
            self._guard = ForwardGuard(forward_rules(self._bridge_name), (TABLE, PROXY_TABLE))
        await self._guard.remove()
        if self._table is None:
            cidr = self._pod_cidr or self._cluster_cidr
            self._table = NftTable(
                network_table(bridge=self._bridge_name, pod_cidr=cidr, cluster_cidr=self._cluster_cidr, attachments=())
            )
        await self._table.remove()
        for failure in restore_sysctls(self._state.sysctls):
            logger.warning("%s", failure)
        remove_state(self._state_dir)
        self._state = NetworkState()

    def _close(self) -> None:
        for held in (self._rtnl, self._table, self._guard):
            if held is not None:
                held.close()
        self._rtnl = self._table = self._guard = None

    def _running(self) -> tuple[Rtnl, NftTable]:
        if self._rtnl is None or self._table is None:
            raise NetworkFailure("the pod network is not started; call start() first")
        return self._rtnl, self._table

    def _load(self) -> None:
        self._state_dir.mkdir(parents=True, exist_ok=True)
        try:
            self._state = load_state(self._state_dir)
        except NetworkFailure as error:
            logger.error("%s; going on with what the links themselves tell", error)
            set_aside(self._state_dir)
            self._state = NetworkState()

    def _save(self) -> None:
        save_state(self._state_dir, self._state)

    def _start_sysctls(self) -> None:
        """What pods need of the host; the values found first are kept for `stop(remove=True)`."""
        wanted_values = {
            "net/ipv4/ip_forward": "1",
            # Pods talk to each other through the node, in and out of one link, for which the kernel suggests a shorter
            # way; there is none, and each suggestion uses up the allowance of ICMP errors the pod should get. The
            # value of "all" is or-ed with each link's own: other links go on as they were.
            "net/ipv4/conf/all/send_redirects": "0",
        }
        for name, wanted in wanted_values.items():
            try:
                found = write_sysctl(name, wanted)
            except NetworkFailure as error:
                self._notes.append(str(error))
                continue
            if found is not None:
                self._state.sysctls.setdefault(name, found)
        if read_sysctl("net/ipv4/ip_forward") != "1":
            self._notes.append("net.ipv4.ip_forward is 0: pods reach nothing outside this node; set it to 1")

    async def _adopt(self, rtnl: Rtnl, links: Sequence[Link]) -> None:
        """Take over what an earlier process left: records whose address still fits, links that tell who they are."""
        assert self._pod_cidr is not None
        for sandbox_id, attachment in list(self._state.attachments.items()):
            if IPv4Address(attachment.ips[0]) not in self._pod_cidr:
                await rtnl.delete_link(attachment.host_link)
                del self._state.attachments[sandbox_id]
        known = {attachment.host_link for attachment in self._state.attachments.values()}
        used = {attachment.ips[0] for attachment in self._state.attachments.values()}
        for link in links:
            if not link.name.startswith(HOST_LINK_PREFIX) or link.master != self._bridge.index or link.name in known:
                continue
            address, _, sandbox_id = link.alias.partition(" ")
            if host_link_name(sandbox_id) != link.name or address in used or not _is_inside(address, self._pod_cidr):
                await rtnl.delete_link(link.name)
                continue
            logger.warning("link=%s adopted without a record: host ports of its pod are lost", link.name)
            self._state.attachments[sandbox_id] = Attachment(sandbox_id=sandbox_id, ips=(address,), host_link=link.name)
            used.add(address)
        self._state.pod_cidr = str(self._pod_cidr)
        last = IPv4Address(self._state.last_address) if self._state.last_address else None
        self._pool = AddressPool(self._pod_cidr, (IPv4Address(text) for text in used), last)

    async def _connect(
        self, rtnl: Rtnl, attachment: Attachment, address: IPv4Address, netns_path: str, *, present: bool
    ) -> None:
        if present:
            await rtnl.delete_link(attachment.host_link)
            run_in_netns(netns_path, pod_link.remove)
        try:
            netns_fd = os.open(netns_path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise NetworkFailure(f"open the network namespace {netns_path}: {error.strerror}") from error
        try:
            rtnl.add_veth(
                attachment.host_link,
                peer=pod_link.POD_LINK,
                peer_netns_fd=netns_fd,
                peer_mac=mac_of(address),
                mtu=self._mtu,
                master=self._bridge.index,
            )
        finally:
            os.close(netns_fd)
        link = rtnl.link(attachment.host_link)
        if link is None:
            raise NetworkFailure(f"the link {attachment.host_link} vanished right after it was made")
        # With bridge-nf-call-iptables on, a pod that reaches itself through a Service goes out of its own port.
        rtnl.configure_port(link.index, f"{address} {attachment.sandbox_id}")
        rtnl.no_link_local(link.index)
        rtnl.set_up(link.index)
        gateway = self.gateway.ip
        run_in_netns(netns_path, lambda: pod_link.configure(address, gateway))

    async def _forget(self, sandbox_id: str) -> None:
        """Give back everything but the link, which is gone."""
        _, table = self._running()
        attachment = self._state.attachments.get(sandbox_id)
        if attachment is None:
            return
        gone: dict[str, dict[bytes, Data | None]] = {
            name: dict.fromkeys(held) for name, held in attachment_elements(attachment).items()
        }
        await table.apply(Delta(elements=gone))
        del self._state.attachments[sandbox_id]
        self._save()
        for text in attachment.ips:
            self._pool.release(IPv4Address(text))

    def _check_ports(self, sandbox_id: str, ports: Sequence[PortMapping]) -> None:
        wildcard = ("", "0.0.0.0", "::")
        for mapping in ports:
            for other in self._state.attachments.values():
                for taken in other.ports:
                    same = (taken.host_port, taken.protocol) == (mapping.host_port, mapping.protocol)
                    where = {taken.host_ip, mapping.host_ip}
                    if same and (len(where) == 1 or any(ip in wildcard for ip in where)):
                        raise NetworkFailure(
                            f"host port {mapping.host_port}/{mapping.protocol} of sandbox {sandbox_id} "
                            f"is taken by sandbox {other.sandbox_id}"
                        )

    async def _ensure_forwarding(self) -> None:
        assert self._guard is not None
        try:
            for chain in await self._guard.ensure():
                logger.info(
                    "nft table=%s chain=%s drops by policy; pod traffic accepted there", chain.table, chain.name
                )
        except NetworkFailure as error:
            logger.error("accept rules for pod traffic: %s", error)

    def _is_ours(self, link: Link) -> bool:
        return link.name.startswith(HOST_LINK_PREFIX) and link.kind == "veth" and link.master in (0, self._bridge.index)


def _is_inside(address: str, cidr: IPv4Network) -> bool:
    try:
        return IPv4Address(address) in cidr
    except ValueError:
        return False
