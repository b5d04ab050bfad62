"""Keeps the policy table in step with NetworkPolicies, pods and namespaces. Without policies there is no table."""

import logging
from collections.abc import Callable
from typing import Any, Final

import trio

from edgekube.client.api import Change, Client, Informer
from edgekube.network.api import NetworkFailure
from edgekube.network.nft import Table
from edgekube.network.nft_batch import delta_between
from edgekube.network.nft_table import NftTable
from edgekube.proxy.config import ProxyConfig
from edgekube.proxy.policy import TABLE, PolicyPod, compile_policies, policy_pod
from edgekube.types.core_v1 import Namespace, Pod
from edgekube.types.networking_v1 import NetworkPolicy

logger = logging.getLogger(__name__)

GATHER_S: Final = 0.005
RETRY_FIRST_S: Final = 1.0
RETRY_MAX_S: Final = 30.0
EMPTY: Final = Table(name=TABLE, sets={}, chains={}, elements={})


class PolicyProxy:
    """The running half of `policy`."""

    def __init__(self, client: Client, config: ProxyConfig) -> None:
        self._config = config
        self._policies: Informer[NetworkPolicy] = client.informer(NetworkPolicy)
        self._pods: Informer[Pod] = client.informer(Pod)
        self._namespaces: Informer[Namespace] = client.informer(Namespace)
        self._wake = trio.Event()
        self._current = EMPTY
        self._unsubscribe: list[Callable[[], None]] = []

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled; started when the first table, if one is needed, is programmed."""
        self._unsubscribe = [
            self._policies.subscribe(self._changed),
            self._namespaces.subscribe(self._namespace_changed),
            self._pods.subscribe(self._pod_changed),
        ]
        table = NftTable(EMPTY)
        try:
            for informer in (self._policies, self._namespaces, self._pods):
                await informer.wait_synced()
            self._wake = trio.Event()
            await self._sync(table, first=True)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(table.watch)
                task_status.started()
                await self._follow(table)
        finally:
            for unsubscribe in self._unsubscribe:
                unsubscribe()
            table.close()

    async def _follow(self, table: NftTable) -> None:
        retry_s = RETRY_FIRST_S
        while True:
            await self._wake.wait()
            await trio.sleep(GATHER_S)
            self._wake = trio.Event()
            try:
                await self._sync(table)
                retry_s = RETRY_FIRST_S
            except (NetworkFailure, ValueError) as error:
                logger.error("network policies not programmed, trying again in %.0f s: %s", retry_s, error)
                await trio.sleep(retry_s)
                retry_s = min(retry_s * 2, RETRY_MAX_S)
                self._wake.set()

    async def _sync(self, table: NftTable, *, first: bool = False) -> None:
        wanted = self._compile()
        if wanted is None:
            if first or self._current is not EMPTY:
                self._current = EMPTY
                await table.apply(delta_between(table.table, EMPTY))
                await table.remove()
            return
        delta = delta_between(table.table, wanted)
        self._current = wanted
        await table.apply(delta)

    def _compile(self) -> Table | None:
        policies = self._policies.list()
        if not policies:
            return None
        pods: list[PolicyPod] = [found for pod in self._pods.list() if (found := policy_pod(pod)) is not None]
        namespaces = {one.metadata.name: one.metadata.labels for one in self._namespaces.list()}
        return compile_policies(policies, pods, namespaces, self._config)

    def _changed(self, _: Change[Any]) -> None:
        self._wake.set()

    def _namespace_changed(self, change: Change[Namespace]) -> None:
        old, new = change.old, change.new
        if old is None or new is None or old.metadata.labels != new.metadata.labels:
            self._wake_if_needed()

    def _pod_changed(self, change: Change[Pod]) -> None:
        sides = [policy_pod(side) if side is not None else None for side in (change.old, change.new)]
        if sides[0] != sides[1]:
            self._wake_if_needed()

    def _wake_if_needed(self) -> None:
        if self._current is not EMPTY or self._policies.list():
            self._wake.set()
