"""The running proxy: follows Services and EndpointSlices and keeps the kernel's table equal to what they say.

Changes gather for a few milliseconds and become one atomic transaction; only the Services they touch are compiled.
"""

import logging
from collections.abc import Callable
from typing import Final

import trio

from edgekube.client.api import Change, Client, Informer, Key
from edgekube.network.api import NetworkFailure
from edgekube.network.conntrack import Conntrack, Flow
from edgekube.network.nft import Table
from edgekube.network.nft_batch import Delta
from edgekube.network.nft_table import NftTable
from edgekube.proxy.compiler import PROTOCOLS, SERVICE_NAME_LABEL, TABLE, base_table, compile_service
from edgekube.proxy.config import ProxyConfig
from edgekube.proxy.health import HealthCheck, HealthServer
from edgekube.proxy.policy import TABLE as POLICY_TABLE
from edgekube.proxy.policy_role import PolicyProxy
from edgekube.proxy.ruleset import EMPTY, Fragment, Frontend, Merger, merge_deltas
from edgekube.types.core_v1 import Node, Service
from edgekube.types.discovery_v1 import EndpointSlice

logger = logging.getLogger(__name__)

GATHER_S: Final = 0.005  # a rollout changes several objects at once
COMPILE_SLICE: Final = 32  # Services between two looks at the rest of the process
RETRY_FIRST_S: Final = 1.0
RETRY_MAX_S: Final = 30.0
SLICE_INDEX: Final = "proxy/service"
ZONE_LABEL: Final = "topology.kubernetes.io/zone"


async def run(
    *, client: Client, config: ProxyConfig, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Proxy until cancelled; started once the first full table is programmed.

    The table stays when the task ends: Services work on while the node restarts. `remove` takes it away. Raises
    NetworkFailure when the kernel has no nftables.
    """
    proxy = ServiceProxy(client, config)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(PolicyProxy(client, config).run)
            await proxy.serve(nursery, task_status)
    finally:
        proxy.close()


async def remove() -> None:
    """Take every rule of the proxy out of this network namespace (`reset`)."""
    for name in (TABLE, POLICY_TABLE):
        table = NftTable(Table(name=name, sets={}, chains={}, elements={}))
        try:
            await table.remove()
        finally:
            table.close()


class ServiceProxy:
    """State of the running proxy. `statistics` feeds the metrics."""

    def __init__(self, client: Client, config: ProxyConfig) -> None:
        self._config = config
        self._services: Informer[Service] = client.informer(Service)
        self._slices: Informer[EndpointSlice] = client.informer(EndpointSlice)
        self._nodes: Informer[Node] = client.informer(Node)
        self._zone = ""
        self._merger = Merger(base_table(config))
        self._table: NftTable | None = None
        self._conntrack: Conntrack | None = None
        self._ids: dict[Key, int] = {}
        self._free_ids: list[int] = []
        self._dirty: set[Key] = set()
        self._wake = trio.Event()
        self._unsubscribe: list[Callable[[], None]] = []

    def close(self) -> None:
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._unsubscribe.clear()
        if self._table is not None:
            self._table.close()
        if self._conntrack is not None:
            self._conntrack.close()

    def statistics(self) -> dict[str, int]:
        table = self._table
        return {
            "services": len(self._merger.fragments),
            "transactions": table.transactions if table is not None else 0,
            "rebuilds": table.rebuilds if table is not None else 0,
        }

    async def serve(self, nursery: trio.Nursery, task_status: trio.TaskStatus[None]) -> None:
        self._slices.add_index(SLICE_INDEX, _service_keys)
        self._unsubscribe = [
            self._services.subscribe(self._service_changed),
            self._slices.subscribe(self._slice_changed),
            self._nodes.subscribe(self._node_changed),
        ]
        for informer in (self._services, self._slices, self._nodes):
            await informer.wait_synced()
        health = HealthServer(nursery, self._config.health_address)
        dirty = self._take_dirty()
        await self._compile(dirty)
        self._table = NftTable(self._merger.table())
        try:
            self._conntrack = Conntrack()
        except NetworkFailure as error:
            logger.warning("%s: UDP clients may keep sending to endpoints that are gone", error)
        await self._table.rebuild()
        health.update(self._health_checks())
        nursery.start_soon(self._table.watch)
        task_status.started()
        while True:
            await self._wake.wait()
            await trio.sleep(GATHER_S)
            await self._sync(self._take_dirty())
            health.update(self._health_checks())

    async def _sync(self, dirty: set[Key]) -> None:
        """One transaction for all that changed; after a failure the whole table, again and again."""
        assert self._table is not None
        before = {key: self._merger.fragments.get(key, EMPTY) for key in dirty}
        delta = await self._compile(dirty)
        retry_s = RETRY_FIRST_S
        while True:
            try:
                await self._table.apply(delta)
                break
            except NetworkFailure as error:
                logger.error("service rules not programmed, trying again in %.0f s: %s", retry_s, error)
                await trio.sleep(retry_s)
                retry_s = min(retry_s * 2, RETRY_MAX_S)
        self._forget_udp(before)

    async def _compile(self, dirty: set[Key]) -> Delta:
        deltas = []
        for number, key in enumerate(sorted(dirty), start=1):
            deltas.append(self._merger.update(key, self._fragment(key)))
            if number % COMPILE_SLICE == 0:
                await trio.lowlevel.checkpoint()
        return merge_deltas(deltas)

    def _fragment(self, key: Key) -> Fragment | None:
        service = self._services.get(*key)
        if service is None:
            freed = self._ids.pop(key, None)
            if freed is not None:
                self._free_ids.append(freed)
            return None
        if key not in self._ids:
            self._ids[key] = self._free_ids.pop() if self._free_ids else len(self._ids) + 1
        slices = self._slices.by_index(SLICE_INDEX, "/".join(key))
        try:
            return compile_service(service, slices, self._config, service_id=self._ids[key], zone=self._zone)
        except ValueError as error:  # an address the API server should not have let through
            logger.error("service=%s/%s has no rules: %s", *key, error)
            return None

    def _health_checks(self) -> dict[int, HealthCheck]:
        return {
            fragment.health_port: HealthCheck(key, fragment.local_endpoints)
            for key, fragment in self._merger.fragments.items()
            if fragment.health_port
        }

    def _forget_udp(self, before: dict[Key, Fragment]) -> None:
        """Remove tracked UDP flows whose endpoint is gone, and those that began while there was none."""
        stale: dict[Frontend, frozenset[bytes]] = {}
        fresh: set[Frontend] = set()
        for key, old in before.items():
            new = self._merger.fragments.get(key, EMPTY)
            for frontend, addresses in old.udp.items():
                stale[frontend] = addresses - new.udp.get(frontend, frozenset())
            fresh |= {frontend for frontend, found in new.udp.items() if found and not old.udp.get(frontend)}
        if self._conntrack is None or (not fresh and not any(stale.values())):
            return

        def is_stale(flow: Flow) -> bool:
            if flow.protocol != PROTOCOLS["UDP"]:
                return False
            for frontend in ((flow.destination, flow.destination_port), (b"", flow.destination_port)):
                if flow.responder in stale.get(frontend, ()):
                    return True
                if frontend in fresh and flow.responder == flow.destination:
                    return True
            return False

        try:
            count = self._conntrack.remove(is_stale)
        except NetworkFailure as error:
            logger.warning("UDP flows to gone endpoints not removed: %s", error)
            return
        if count:
            logger.info("removed %d tracked UDP flows to gone endpoints", count)

    def _service_changed(self, change: Change[Service]) -> None:
        metadata = change.obj.metadata
        self._mark((metadata.namespace, metadata.name))

    def _slice_changed(self, change: Change[EndpointSlice]) -> None:
        for side in (change.old, change.new):
            if side is not None:
                for text in _service_keys(side):
                    namespace, _, name = text.partition("/")
                    self._mark((namespace, name))

    def _node_changed(self, change: Change[Node]) -> None:
        node = change.new
        if node is None or node.metadata.name != self._config.node_name:
            return
        zone = node.metadata.labels.get(ZONE_LABEL, "")
        if zone != self._zone:
            self._zone = zone
            for service in self._services.list():
                self._mark((service.metadata.namespace, service.metadata.name))

    def _mark(self, key: Key) -> None:
        self._dirty.add(key)
        self._wake.set()

    def _take_dirty(self) -> set[Key]:
        dirty, self._dirty = self._dirty, set()
        self._wake = trio.Event()
        return dirty


def _service_keys(piece: EndpointSlice) -> list[str]:
    name = piece.metadata.labels.get(SERVICE_NAME_LABEL)
    return [f"{piece.metadata.namespace}/{name}"] if name else []
