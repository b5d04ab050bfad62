"""Routes between the pods of nodes (the route controller): Nodes become the peers of the overlay, on every node."""

import logging
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from typing import Final

import msgspec
import trio

from edgekube.client.api import Change, Client, Informer
from edgekube.network.api import NetworkFailure
from edgekube.network.overlay import Peer, VxlanOverlay
from edgekube.types.core_v1 import Node

logger = logging.getLogger(__name__)

GATHER_S: Final = 0.05
RETRY_FIRST_S: Final = 0.5
RETRY_MAX_S: Final = 60.0


class RoutesConfig(msgspec.Struct, frozen=True, kw_only=True):
    """node_name: this node; mtu: of pods, which the bridge was made with (`overlay_overhead` taken off)."""

    node_name: str
    mtu: int


async def run(
    *, client: Client, config: RoutesConfig, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Run until cancelled; started at once, for a node may have no pod CIDR yet. The tunnel stays when the task ends.

    Raises NetworkFailure where the kernel knows no vxlan.
    """
    nodes: Informer[Node] = client.informer(Node)
    follower = _Follower()
    unsubscribe = nodes.subscribe(follower.changed)
    overlay = VxlanOverlay()
    try:
        task_status.started()
        await nodes.wait_synced()
        retry_s = RETRY_FIRST_S
        started: tuple[IPv4Network, IPv4Address] | None = None
        while True:
            wake = follower.wake
            try:
                own = own_end(nodes.get("", config.node_name))
                if own is not None:
                    if own != started:
                        await overlay.start(pod_cidr=own[0], address=own[1], mtu=config.mtu)
                        started = own
                    overlay.set_peers(peers_of(nodes.list(), config.node_name))
                retry_s = RETRY_FIRST_S
                await wake.wait()
                await trio.sleep(GATHER_S)
            except NetworkFailure as error:
                logger.error("pod routes to other nodes: %s", error)
                started = None
                with trio.move_on_after(retry_s):
                    await wake.wait()
                retry_s = min(retry_s * 2, RETRY_MAX_S)
    finally:
        unsubscribe()
        overlay.close()


async def remove() -> None:
    """Take the tunnel out of this network namespace (`reset`)."""
    overlay = VxlanOverlay()
    try:
        await overlay.remove()
    finally:
        overlay.close()


class _Follower:
    """Wakes the loop when a node comes, goes, moves or gets its pod CIDR; not for heartbeats."""

    def __init__(self) -> None:
        self.wake = trio.Event()

    def changed(self, change: Change[Node]) -> None:
        before = own_end(change.old) if change.old is not None else None
        after = own_end(change.new) if change.new is not None else None
        if before != after:
            self.wake.set()
            self.wake = trio.Event()


def own_end(node: Node | None) -> tuple[IPv4Network, IPv4Address] | None:
    """(pod CIDR, address) of a node that has both."""
    if node is None:
        return None
    cidrs = node.spec.podCIDRs or (node.spec.podCIDR,)
    cidr = next((text for text in cidrs if text and ":" not in text), "")
    address = next(
        (found.address for found in node.status.addresses if found.type == "InternalIP" and ":" not in found.address),
        "",
    )
    if not cidr or not address:
        return None
    try:
        return IPv4Network(cidr), IPv4Address(address)
    except ValueError:
        return None


def peers_of(nodes: Iterable[Node], node_name: str) -> list[Peer]:
    """All other nodes that can be reached."""
    ends = (own_end(node) for node in nodes if node.metadata.name != node_name)
    return [Peer(pod_cidr=end[0], address=end[1]) for end in ends if end is not None]
