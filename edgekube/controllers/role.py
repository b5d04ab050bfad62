"""The controller manager as a role: makes every controller and runs them in one nursery."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime

import msgspec
import trio

from edgekube.client.api import Client
from edgekube.client.events import EventRecorder
from edgekube.controllers.cronjob import CronJobController
from edgekube.controllers.daemonset import DaemonSetController
from edgekube.controllers.deployment import DeploymentController
from edgekube.controllers.endpointslice import EndpointSliceController
from edgekube.controllers.framework import Context, Controller, run_controller
from edgekube.controllers.garbage import GarbageCollector
from edgekube.controllers.job import JobController
from edgekube.controllers.kubernetes_service import KubernetesServiceController
from edgekube.controllers.namespace import NamespaceController
from edgekube.controllers.nodelifecycle import NodeLifecycleController
from edgekube.controllers.podgc import PodGarbageController
from edgekube.controllers.replicaset import REPLICATION_CONTROLLER, ReplicaSetController
from edgekube.controllers.serverlabel import ServerLabelController
from edgekube.controllers.serviceaccount import ServiceAccountController
from edgekube.controllers.statefulset import StatefulSetController
from edgekube.controllers.tainteviction import TaintEvictionController
from edgekube.controllers.ttl import TTLController


class ControllersConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What controllers are told. `now` is cluster time, aware UTC; `ca_bundle` is PEM text; `servers` name nodes."""

    now: Callable[[], datetime]
    ca_bundle: str
    api_addresses: Sequence[str]
    api_port: int
    kubernetes_service_ip: str
    servers: Collection[str]
    clock_plausible: Callable[[], bool]


async def run(
    *,
    client_for: Callable[[str], Client],
    config: ControllersConfig,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run every controller until cancelled. `client_for` gives each its own identity, as kube-controller-manager's
    --use-service-account-credentials does.
    """
    async with trio.open_nursery() as nursery:

        def context(name: str) -> Context:
            client = client_for(name)
            events = EventRecorder(client, name, now=config.now)
            nursery.start_soon(events.run)
            return Context(client, events, config.now)

        kubernetes = KubernetesServiceController(
            context("kubernetes-service"),
            addresses=config.api_addresses,
            port=config.api_port,
            service_ip=config.kubernetes_service_ip,
        )
        contexts: list[tuple[Controller, Context]] = []

        def add(make: Callable[[Context], Controller], name: str) -> None:
            made = context(name)
            contexts.append((make(made), made))

        add(DeploymentController, "deployment-controller")
        add(ReplicaSetController, "replicaset-controller")
        add(lambda c: ReplicaSetController(c, REPLICATION_CONTROLLER), REPLICATION_CONTROLLER.name)
        add(EndpointSliceController, "endpointslice-controller")
        add(lambda c: ServiceAccountController(c, config.ca_bundle), "serviceaccount-controller")
        add(lambda _: kubernetes, "kubernetes-service")
        add(StatefulSetController, "statefulset-controller")
        add(DaemonSetController, "daemonset-controller")
        add(JobController, "job-controller")
        add(lambda c: CronJobController(c, config.clock_plausible), "cronjob-controller")
        add(PodGarbageController, "pod-garbage-collector")
        add(TTLController, "ttl-after-finished-controller")
        add(NodeLifecycleController, "node-controller")
        add(lambda c: ServerLabelController(c, config.servers), ServerLabelController.name)
        add(TaintEvictionController, "taint-eviction-controller")
        add(NamespaceController, "namespace-controller")
        nursery.start_soon(GarbageCollector(client_for(GarbageCollector.name)).run)
        await kubernetes.ensure()
        for controller, made in contexts:
            nursery.start_soon(run_controller, controller, made)
        task_status.started()
