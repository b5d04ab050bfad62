"""The `edge` provider at work: `edge`'s decisions, and the announcing of pool addresses on this node's LAN."""

import logging
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final

import trio

from edgekube.client.api import Key
from edgekube.cloud.cluster import Cluster
from edgekube.cloud.config import CloudConfig
from edgekube.cloud.edge import announcer_of, decide, wants_balancer
from edgekube.cloud.pool import Address, Pool
from edgekube.cloud.provider import Decision
from edgekube.network.api import NetworkFailure
from edgekube.network.vip import VipAnnouncer

logger = logging.getLogger(__name__)

RETRY_FIRST_S: Final = 0.5
RETRY_MAX_S: Final = 60.0


class EdgeProvider:
    """`CloudProvider` for machines without a cloud. Raises PoolError for pools that cannot be understood."""

    name = "edge"

    def __init__(self, cluster: Cluster, config: CloudConfig) -> None:
        self._cluster = cluster
        self._config = config
        self._pool = Pool(config.pools)

    async def ensure(self) -> Mapping[Key, Decision]:
        await trio.lowlevel.checkpoint()
        return decide(
            self._cluster.services.list(),
            self._cluster.nodes.list(),
            self._cluster.local_slices(),
            self._pool,
            self._config.reserved_ports,
        )

    async def remove(self, key: Key) -> None:
        """Nothing to give back: an address is free, and announced no more, once no status names it."""

    async def run(self) -> None:
        """Hold the pool addresses that are this node's to announce, and tell the LAN about them.

        A node without a pool only takes away what an earlier configuration left on its links.
        """
        announcer = VipAnnouncer()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(announcer.watch)
                await self._follow(announcer)
        finally:
            announcer.close()

    async def _follow(self, announcer: VipAnnouncer) -> None:
        retry_s = RETRY_FIRST_S
        while True:
            wake = self._cluster.wake_up()
            wanted = announced_here(self._cluster, self._pool, self._config.node_name)
            try:
                await announcer.hold(wanted)
            except NetworkFailure as error:
                logger.error("announcing addresses of LoadBalancer Services: %s", error)
                with trio.move_on_after(retry_s):
                    await wake.wait()
                retry_s = min(retry_s * 2, RETRY_MAX_S)
            else:
                retry_s = RETRY_FIRST_S
                await wake.wait()


def announced_here(cluster: Cluster, pool: Pool, node_name: str) -> frozenset[Address]:
    """The pool addresses in Services' status that this node is to answer for."""
    nodes = cluster.nodes.list()
    slices = cluster.local_slices()
    found = set()
    for service in cluster.services.list():
        if not wants_balancer(service):
            continue
        for entry in service.status.loadBalancer.ingress:
            if not entry.ip or ip_address(entry.ip) not in pool:
                continue
            if announcer_of(entry.ip, service, nodes, slices) == node_name:
                found.add(ip_address(entry.ip))
    return frozenset(found)
