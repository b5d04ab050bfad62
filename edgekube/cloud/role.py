"""The running cloud role: the service controller where it leads, the provider's own work on every node."""

from collections.abc import Callable
from datetime import UTC, datetime

import trio

from edgekube.client.api import Client
from edgekube.client.events import EventRecorder
from edgekube.cloud.cluster import Cluster
from edgekube.cloud.config import CloudConfig
from edgekube.cloud.controller import COMPONENT, ServiceController
from edgekube.cloud.edge_provider import EdgeProvider
from edgekube.cloud.provider import CloudProvider
from edgekube.network.vip import VipAnnouncer


async def run(
    *,
    client: Client,
    config: CloudConfig,
    make_provider: Callable[[Cluster, CloudConfig], CloudProvider] = EdgeProvider,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run until cancelled; started when the cluster's objects are known. `now` is cluster time, for Events.

    Announced addresses stay on their links when the task ends; `remove` takes them away. Raises PoolError for pools
    that cannot be understood.
    """
    cluster = Cluster(client)
    try:
        provider = make_provider(cluster, config)
        await cluster.wait_synced()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(provider.run)
            if config.controller:
                recorder = EventRecorder(client, COMPONENT, host=config.node_name, now=now)
                nursery.start_soon(recorder.run)
                nursery.start_soon(ServiceController(client, cluster, provider, recorder).run)
            task_status.started()
    finally:
        cluster.close()


def remove() -> None:
    """Take every announced address from this network namespace's links (`reset`)."""
    announcer = VipAnnouncer()
    try:
        announcer.remove_all()
    finally:
        announcer.close()
