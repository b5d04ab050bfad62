"""The kubelet as a role: registers the node, runs one worker a pod bound to it, ends what belongs to no pod."""

import logging
import os
from collections.abc import Callable, Sequence
from functools import partial

import trio

from edgekube.client.api import Change, Client
from edgekube.client.events import EventRecorder
from edgekube.client.names import key_of, pretty
from edgekube.kubelet.admission import Refusal, admit
from edgekube.kubelet.config import STARTS_AT_ONCE_PER_CORE, KubeletConfig
from edgekube.kubelet.failures import PASSING, all_of
from edgekube.kubelet.images import ImageManager
from edgekube.kubelet.machine import allocatable, look
from edgekube.kubelet.noderecord import NodeRecord
from edgekube.kubelet.pressure import Housekeeper
from edgekube.kubelet.services import Services
from edgekube.kubelet.spec import LABEL_GRACE, LABEL_POD_UID
from edgekube.kubelet.volumes import unmount_below
from edgekube.kubelet.withdrawal import Withdrawals
from edgekube.kubelet.worker import ENDED, PodWorker
from edgekube.network.api import PodNetwork
from edgekube.runtime.api import ContainerRuntime, Sandbox
from edgekube.runtime.trees import remove_tree
from edgekube.types.core_v1 import ConfigMap, Node, Pod, Secret, Service, ServiceAccount
from edgekube.types.discovery_v1 import EndpointSlice

log = logging.getLogger(__name__)

WORKER_RESTART_SECONDS = 10.0
PRIVATE = (
    0o750  # of what holds volumes: files in a Secret's are readable for every user of a container, not of the host
)


class Kubelet:
    """Owns the pods of this node. `run` is its task; `worker` is how NodeApi finds a pod.

    `problems` says what keeps the node from being ready, `notes` what merely works less well than it could (told in a
    condition of its own).
    """

    def __init__(
        self,
        *,
        client: Client,
        runtime: ContainerRuntime,
        network: PodNetwork,
        config: KubeletConfig,
        problems: Callable[[], Sequence[str]] = tuple,
        notes: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._client = client
        self._runtime = runtime
        self._network = network
        self._config = config
        self._problems = problems
        self._notes = notes
        self._pods = client.informer(Pod)
        self._nodes = client.informer(Node)
        self._workers: dict[str, PodWorker] = {}
        self.events = EventRecorder(client, "kubelet", host=config.node_name, now=config.now)

    @property
    def config(self) -> KubeletConfig:
        return self._config

    def worker(self, namespace: str, name: str) -> PodWorker | None:
        """The worker of a pod by its name; of several (one still ending, force-deleted) the newest."""
        found = None
        for worker in self._workers.values():
            meta = worker.pod.metadata
            if (meta.namespace, meta.name) == (namespace, name):
                found = worker
        return found

    def workers(self) -> Sequence[PodWorker]:
        return tuple(self._workers.values())

    def _neighbours(self, uid: str) -> Sequence[Pod]:
        return [w.pod for w in self._workers.values() if w.uid != uid and not w.ended]

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled; started once what an earlier process left has been adopted and the Node is registered."""
        config, client = self._config, self._client
        for folder in (config.data_dir, config.run_dir):
            folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE)
            folder.chmod(PRIVATE)
        config.log_dir.mkdir(parents=True, exist_ok=True)
        machine = look(config.data_dir)
        pods = self._pods
        config_maps, secrets = client.informer(ConfigMap), client.informer(Secret)
        slices = client.informer(EndpointSlice)
        services = Services(
            config=config,
            client=client,
            runtime=self._runtime,
            network=self._network,
            events=self.events,
            images=ImageManager(self._runtime.images, secrets, client.informer(ServiceAccount), self.events),
            config_maps=config_maps,
            secrets=secrets,
            services=client.informer(Service),
            withdrawals=Withdrawals(slices),
            node_allocatable=allocatable(machine, config.system_reserved_memory_bytes),
            node_memory_bytes=machine.memory,
            starts=trio.CapacityLimiter(STARTS_AT_ONCE_PER_CORE * (os.cpu_count() or 1)),
            neighbours=self._neighbours,
        )
        await self._runtime.recover()
        for informer in (pods, config_maps, secrets, services.services, slices, self._nodes):
            await informer.wait_synced()
        mine = [p for p in pods.list() if p.spec.nodeName == config.node_name]
        await self._remove_orphans({p.metadata.uid for p in mine})
        record = NodeRecord(client, self._runtime, machine, config, problems=self._problems, notes=self._notes)
        node = await record.register()
        self.events.event(node, "Normal", "Starting", "Starting kubelet.")
        keeper = Housekeeper(services, self.workers, lambda: self._nodes.get("", config.node_name))
        async with trio.open_nursery() as nursery:
            unsubscribe: list[Callable[[], None]] = []

            def on_pod(change: Change[Pod]) -> None:
                if change.obj.spec.nodeName == config.node_name:
                    self._on_pod(change, services, nursery)

            def on_config(change: Change[ConfigMap] | Change[Secret]) -> None:
                obj = change.obj
                self._wake_users(obj.kind, obj.metadata.namespace, obj.metadata.name)

            nursery.start_soon(self.events.run)
            nursery.start_soon(record.run)
            nursery.start_soon(keeper.run)
            # What ran here before is taken in first, and never turned away; then by age.
            for pod in sorted(mine, key=lambda p: (not p.status.startTime, p.metadata.creationTimestamp)):
                self._on_pod(Change(None, pod), services, nursery)
            unsubscribe.append(services.withdrawals.follow())
            unsubscribe.append(pods.subscribe(on_pod))
            unsubscribe.append(config_maps.subscribe(on_config))
            unsubscribe.append(secrets.subscribe(on_config))
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                for stop in unsubscribe:
                    stop()

    def _on_pod(self, change: Change[Pod], services: Services, nursery: trio.Nursery) -> None:
        uid = change.obj.metadata.uid
        worker = self._workers.get(uid)
        if change.new is None:
            if worker is not None:
                worker.forget()
        elif worker is not None:
            worker.update(change.new)
        else:
            worker = PodWorker(services, change.new, self._admit(change.new))
            self._workers[uid] = worker
            nursery.start_soon(self._run_worker, services, worker)

    def _admit(self, pod: Pod) -> Refusal | None:
        node = self._nodes.get("", self._config.node_name)
        if pod.status.startTime or pod.status.phase in ENDED or pod.metadata.deletionTimestamp or node is None:
            return None
        return admit(pod, node, self._neighbours(pod.metadata.uid))

    async def _run_worker(self, services: Services, worker: PodWorker) -> None:
        """Until the pod is gone. A bug that one pod meets must not end the others: said loudly, begun anew."""
        while True:
            try:
                await worker.run()
            except Exception:
                pod = worker.pod
                log.exception("pod=%s worker failed, begins anew", pretty(key_of(pod)))
                await trio.sleep(WORKER_RESTART_SECONDS)
                current = self._pods.get(pod.metadata.namespace, pod.metadata.name)
                gone = current is None or current.metadata.uid != worker.uid
                worker = PodWorker(services, pod if gone or current is None else current)
                if gone:
                    worker.forget()
                self._workers[worker.uid] = worker
            else:
                self._workers.pop(worker.uid, None)
                return

    def _wake_users(self, kind: str, namespace: str, name: str) -> None:
        for worker in self._workers.values():
            if worker.pod.metadata.namespace == namespace and worker.uses(kind, name):
                worker.wake()

    async def _remove_orphans(self, uids: set[str]) -> None:
        """Sandboxes, attachments and folders of pods that were deleted while this process was not there."""
        sandboxes = [s for s in self._runtime.sandboxes() if s.spec.labels.get(LABEL_POD_UID) not in uids]
        async with trio.open_nursery() as nursery:
            for sandbox in sandboxes:
                nursery.start_soon(self._remove_orphan, sandbox)
        await self._network.retain([s.spec.id for s in self._runtime.sandboxes()])
        for base in (self._config.data_dir / "pods", self._config.run_dir / "pods"):
            if base.is_dir():
                for folder in base.iterdir():
                    if folder.name not in uids:
                        log.info("orphan_folder=%s removed", folder)
                        unmount_below(folder)
                        await remove_tree(str(folder))
        logs = self._config.log_dir / "pods"
        if logs.is_dir():
            for folder in logs.iterdir():
                if folder.name.rpartition("_")[2] not in uids:
                    await remove_tree(str(folder))

    async def _remove_orphan(self, sandbox: Sandbox) -> None:
        grace = float(sandbox.spec.labels.get(LABEL_GRACE, "30"))
        log.info("orphan_sandbox=%s pod=%s removed", sandbox.spec.id, sandbox.spec.name)
        stop = self._runtime.stop_container
        try:
            await all_of(partial(stop, c.spec.id, grace) for c in self._runtime.containers(sandbox.spec.id))
            await all_of([partial(self._network.detach, sandbox.spec.id)])
            await all_of([partial(self._runtime.remove_sandbox, sandbox.spec.id)])
        except PASSING as error:
            log.warning("orphan_sandbox=%s error=%s", sandbox.spec.id, error)
