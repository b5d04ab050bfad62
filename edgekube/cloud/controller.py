"""The service controller, after Kubernetes' own: finalizer, `status.loadBalancer`, Events. The provider decides."""

import logging
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import trio

from edgekube.client.api import Client, Key
from edgekube.client.events import EventRecorder
from edgekube.cloud.cluster import FINALIZER, Cluster, key_of
from edgekube.cloud.provider import CloudProvider, Decision
from edgekube.types.core_v1 import Service
from edgekube.types.status import ApiError

logger = logging.getLogger(__name__)

COMPONENT: Final = "service-controller"
GATHER_S: Final = 0.02
RETRY_FIRST_S: Final = 0.5
RETRY_MAX_S: Final = 60.0


class ServiceController:
    """Brings every Service's finalizer and status in line with the provider's decisions."""

    def __init__(self, client: Client, cluster: Cluster, provider: CloudProvider, recorder: EventRecorder) -> None:
        self._client = client
        self._cluster = cluster
        self._provider = provider
        self._recorder = recorder
        self._told: dict[Key, str] = {}

    async def run(self) -> None:
        retry_s = RETRY_FIRST_S
        while True:
            wake = self._cluster.wake_up()
            if await self.sync():
                retry_s = RETRY_FIRST_S
                await wake.wait()
                await trio.sleep(GATHER_S)
            else:
                with trio.move_on_after(retry_s):
                    await wake.wait()
                retry_s = min(retry_s * 2, RETRY_MAX_S)

    async def sync(self) -> bool:
        """One pass over all Services; False when one of them must be tried again."""
        services = self._cluster.services.list()
        decisions = await self._provider.ensure()
        done = True
        for service in services:
            key = key_of(service)
            try:
                if key in decisions:
                    await self._ensure(service, decisions[key])
                elif FINALIZER in service.metadata.finalizers:
                    await self._clean_up(service)
            except ApiError as error:
                if error.code not in (404, 409):  # gone or changed: its next change comes by itself
                    logger.warning("service=%s/%s load balancer: %s", *key, error)
                done = done and error.code == 404
        for key in self._told.keys() - decisions.keys():
            del self._told[key]
        return done

    async def _ensure(self, service: Service, decision: Decision) -> None:
        metadata = service.metadata
        if FINALIZER not in metadata.finalizers:
            self._recorder.event(service, "Normal", "EnsuringLoadBalancer", "Ensuring load balancer")
            await self._patch(service, {"metadata": {"finalizers": [*metadata.finalizers, FINALIZER]}})
        if decision.ingress != service.status.loadBalancer.ingress:
            await self._set_ingress(service, msgspec.to_builtins(decision.ingress))
            if decision.ingress:
                self._recorder.event(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")
        if decision.reason:
            if self._told.get(key_of(service)) != decision.message:
                text = f"Error syncing load balancer: {decision.message}"
                self._recorder.event(service, "Warning", "SyncLoadBalancerFailed", text)
                self._told[key_of(service)] = decision.message
        else:
            self._told.pop(key_of(service), None)

    async def _clean_up(self, service: Service) -> None:
        """No load balancer (any more): empty status first, then the finalizer goes."""
        self._recorder.event(service, "Normal", "DeletingLoadBalancer", "Deleting load balancer")
        if service.status.loadBalancer.ingress:
            await self._set_ingress(service, None)
        await self._provider.remove(key_of(service))
        finalizers = [name for name in service.metadata.finalizers if name != FINALIZER]
        await self._patch(service, {"metadata": {"finalizers": finalizers or None}})
        self._recorder.event(service, "Normal", "DeletedLoadBalancer", "Deleted load balancer")

    async def _set_ingress(self, service: Service, ingress: Any) -> None:
        await self._client.patch(
            Service,
            service.metadata.name,
            service.metadata.namespace,
            patch={"status": {"loadBalancer": {"ingress": ingress or None}}},
            subresource="status",
            field_manager=COMPONENT,
        )

    async def _patch(self, service: Service, patch: Mapping[str, Any]) -> None:
        """Finalizers are a list: replaced as a whole, hence only over the version they were read from."""
        current = self._cluster.services.get(service.metadata.namespace, service.metadata.name) or service
        version = current.metadata.resourceVersion
        merged = {**patch, "metadata": {**patch["metadata"], **({"resourceVersion": version} if version else {})}}
        await self._client.patch(
            Service, service.metadata.name, service.metadata.namespace, patch=merged, field_manager=COMPONENT
        )
