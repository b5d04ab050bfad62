"""The composition root: opens the store, starts every role of this node in one nursery, stops them in order.

Nothing else in EdgeKube knows more than one room. Containers, the pod network and the proxy's rules outlive this
process: stopping it stops no pod, and a kill -9 at any line is a normal event.
"""

import gc
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import msgspec
import trio

from edgekube import __version__, config, local, logline
from edgekube.apiserver.authn import Authenticator
from edgekube.apiserver.bound import BoundObjects
from edgekube.apiserver.catalog import served_versions
from edgekube.apiserver.kubeconfig import admin_kubeconfig
from edgekube.apiserver.openapi import OpenApi
from edgekube.apiserver.registry import Registry, RegistryConfig
from edgekube.apiserver.request import GROUP_MASTERS, GROUP_NODES, User
from edgekube.apiserver.resources import RESOURCES
from edgekube.apiserver.server import ApiFront
from edgekube.apiserver.tokens import ServiceAccountTokens
from edgekube.client.api import Client, NodeApi
from edgekube.clock import ClusterClock, LoopLag, floor_of
from edgekube.cloud import role as cloud
from edgekube.cloud.config import CloudConfig
from edgekube.config import ConfigFailure, NodeConfig
from edgekube.controllers import role as controllers
from edgekube.dns import role as dns
from edgekube.dns.config import DnsConfig
from edgekube.kubelet.config import KubeletConfig
from edgekube.kubelet.node_api import LocalNodeApi
from edgekube.kubelet.role import Kubelet
from edgekube.memory import MemoryKeeper
from edgekube.native.memory import give_back
from edgekube.network.api import NetworkFailure
from edgekube.network.bridge import BridgeNetwork
from edgekube.notify import notify
from edgekube.pki.authority import PkiFailure, ensure_pki, reload_server, server_context
from edgekube.pki.model import PkiPaths
from edgekube.pki.sign import Signer
from edgekube.proxy import role as proxy
from edgekube.proxy.config import ProxyConfig
from edgekube.runtime.api import RuntimeFailure
from edgekube.runtime.engine import Engine
from edgekube.runtime.images.hosts_file import load as load_registries
from edgekube.runtime.images.service import Images
from edgekube.scheduler import role as scheduler
from edgekube.store.api import StoreError
from edgekube.store.backup import finish_restore, stream
from edgekube.store.opening import open_store
from edgekube.store.volatile import open_volatile
from edgekube.types.status import not_found

log = logging.getLogger("edgekube.node")

KUBERNETES_VERSION = "v1.36.0"
GIT_VERSION = f"{KUBERNETES_VERSION}+edgekube{__version__}"
RENEW_SECONDS = 6 * 3600.0
SHUTDOWN_SECONDS = 10.0


def control_plane(name: str) -> User:
    """The identity of a role of this process; a master, as kube-controller-manager's kubeconfig is on k3s."""
    return User(f"system:{name}", (GROUP_MASTERS, "system:authenticated"))


def account(name: str) -> User:
    """A controller's own ServiceAccount identity (--use-service-account-credentials)."""
    groups = (GROUP_MASTERS, "system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated")
    return User(f"system:serviceaccount:kube-system:{name}", groups)


def kubelet_of(node: str) -> User:
    """A kubelet's identity: no master, so that the node's rules hold for this process's own, too."""
    return User(f"system:node:{node}", (GROUP_NODES, "system:authenticated"))


class Node:
    """One node from start to stop. `run` is everything; the rest are its parts in the order they start."""

    def __init__(self, settings: NodeConfig) -> None:
        self.settings = settings
        self.data_dir, self.run_dir = Path(settings.data_dir), Path(settings.run_dir)
        self.socket = self.run_dir / "edgekube.sock"
        pki_files = PkiPaths(self.data_dir / "pki")
        store_dir = self.data_dir / "store"
        stamps = (*(store_dir.iterdir() if store_dir.is_dir() else ()), pki_files.server_certificate)
        self.clock = ClusterClock(floor_of(stamps))
        self.lag = LoopLag()
        self.memory = MemoryKeeper()
        self.bound: list[tuple[str, int]] = []
        self.ready = False

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled. Raises what a person must act on (StoreError, NetworkFailure, RuntimeFailure, OSError)."""
        settings = self.settings
        service_cidr = IPv4Network(settings.service_cidr)
        cluster_cidr = IPv4Network(settings.cluster_cidr)
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o755)
        self.run_dir.mkdir(parents=True, exist_ok=True, mode=0o755)
        (self.run_dir / "node.json").write_bytes(msgspec.json.encode(settings))  # what `reset` must know
        async with AsyncExitStack() as stack:
            stack.enter_context(self.lag.measured())
            names = (settings.node_ip, str(service_cidr[1]), *settings.tls_san)
            finish_restore(self.data_dir)  # before the keys are read: they are restored with the store
            pki = await ensure_pki(self.data_dir, settings.node_name, names, self.clock.time())
            signer = Signer(pki.service_account_key.read_bytes())
            store = await stack.enter_async_context(open_store(self.data_dir, self.run_dir))
            await store.wait_leader()
            events = await stack.enter_async_context(open_volatile(term=store.term, cluster_id=store.cluster_id))
            tokens = ServiceAccountTokens(
                signer, now=self.clock.time, check_bound=lambda bound: bound_objects.check(bound)
            )
            registry = Registry(
                store=store,
                events=events,
                config=RegistryConfig(
                    service_cidr=settings.service_cidr,
                    node_port_range=settings.node_ports,
                    sign_token=tokens.sign,
                    now=self.clock.time,
                ),
            )
            bound_objects = BoundObjects(registry, now=self.clock.time, monotonic=trio.current_time)
            await stack.enter_async_context(registry.run())
            await registry.bootstrap()

            images = Images(
                str(self.data_dir / "runtime"),
                registries=load_registries(Path(settings.registries)),
                in_use=lambda: engine.images_in_use(),
            )
            await images.open()
            stack.callback(images.close)
            engine = Engine(
                images,
                run_dir=str(self.run_dir / "runtime"),
                data_dir=str(self.data_dir / "runtime"),
                cgroup_root=settings.cgroup_root,
            )
            network = BridgeNetwork(
                state_dir=self.run_dir / "network",
                bridge_name=settings.bridge,
                cluster_cidr=cluster_cidr,
                service_cidr=service_cidr,
                local_addresses=() if "dns" in settings.disable else (IPv4Address(settings.dns_address),),
                mtu=settings.mtu,
            )
            kubelet = Kubelet(
                client=registry.client(kubelet_of(settings.node_name)),
                runtime=engine,
                network=network,
                config=self._kubelet_config(),
                notes=network.problems,
            )
            local_node = LocalNodeApi(kubelet, engine)

            def node_api(name: str) -> NodeApi:
                if name != settings.node_name:
                    raise not_found("nodes", name)
                return local_node

            local_paths = local.LocalPaths(
                images,
                status=lambda: self._status(store, registry),
                kubeconfig=lambda server: self._kubeconfig(pki, server),
                images_in_use=lambda: tuple(engine.images_in_use()),
                backup=lambda: stream(store, pki.backed_up(self.data_dir)),
            )
            front = ApiFront(
                registry=registry,
                authenticator=Authenticator(now=self.clock.time, tokens=(tokens,)),
                catalog=lambda: served_versions(RESOURCES),
                version=GIT_VERSION,
                checks={
                    "ping": lambda: "",
                    "etcd": lambda: store.read_only,
                    "node": lambda: "" if self.ready else "starting",
                },
                statistics={
                    "store": store.statistics,
                    "loop_lag": self.lag.statistics,
                    "memory": self.memory.statistics,
                },
                node_api=node_api,
                schemas=OpenApi(
                    Path(__file__).with_name("data") / "openapi.zst",
                    catalog=lambda: served_versions(RESOURCES),
                    version=KUBERNETES_VERSION,
                ),
                identity=tokens,
                authorize=registry.authorizer.permit,
                extra_paths={"edgekube": local_paths.handle},
                on_close=self.memory.ended,
                server_address=lambda: f"{settings.node_ip}:{settings.listen_address[1]}",
            )
            tls = server_context(pki)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._renew_certificates, tls, names)
                self.bound = await nursery.start(self._serve, front, tls)
                await nursery.start(engine.run)
                await network.start(settings.pod_cidr)
                nursery.start_soon(network.watch)
                stack.push_async_callback(network.stop, remove=False)

                def client(name: str) -> Client:
                    return registry.client(account(name))

                await nursery.start(self._scheduler, registry)
                await nursery.start(self._controllers, client, pki, service_cidr)
                if "proxy" not in settings.disable:
                    await nursery.start(self._proxy, client, cluster_cidr, service_cidr)
                if "cloud" not in settings.disable:
                    await nursery.start(self._cloud, client)
                await nursery.start(kubelet.run)
                if "dns" not in settings.disable:
                    await nursery.start(self._dns, client, cluster_cidr, service_cidr)
                self.ready = True
                # What lives now lives as long as the process: the collector need not look at it again.
                gc.collect()
                gc.freeze()
                give_back()
                self.lag.reset()
                nursery.start_soon(self.memory.run)
                log.info("node=%s ready api=%s", settings.node_name, self.bound)
                notify("READY=1")
                task_status.started()
                try:
                    await trio.sleep_forever()
                finally:
                    # Watches end cleanly, so that clients come back with the revision they have.
                    with trio.CancelScope(shield=True):
                        await front.shutdown(SHUTDOWN_SECONDS)

    async def _serve(
        self, front: ApiFront, tls: Any, task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED
    ) -> None:
        await front.serve(
            unix_path=str(self.socket), tcp=[self.settings.listen_address], tls=tls, task_status=task_status
        )

    def _kubelet_config(self) -> KubeletConfig:
        settings = self.settings
        return KubeletConfig(
            node_name=settings.node_name,
            version=__version__,
            kubelet_version=GIT_VERSION,
            data_dir=self.data_dir / "kubelet",
            run_dir=self.run_dir / "kubelet",
            log_dir=Path(settings.log_dir),
            node_ip=settings.node_ip,
            cluster_domain=settings.cluster_domain,
            cluster_dns=() if "dns" in settings.disable else (settings.dns_address,),
            pod_cidr=str(settings.pod_cidr),
            resolv_conf=Path(settings.resolv_conf),
            cgroup_root=settings.cgroup_root,
            max_pods=settings.max_pods,
            labels=tuple((k, v) for k, _, v in (text.partition("=") for text in settings.node_label)),
            taints=settings.node_taint,
            now=self.clock.now,
        )

    async def _scheduler(
        self, registry: Registry, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        client = registry.client(control_plane("kube-scheduler"))
        await scheduler.run(client=client, now=self.clock.now, task_status=task_status)

    async def _controllers(
        self,
        client: Any,
        pki: PkiPaths,
        service_cidr: IPv4Network,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        made = controllers.ControllersConfig(
            now=self.clock.now,
            ca_bundle=pki.ca_certificate.read_text(),
            api_addresses=(self.settings.node_ip,),
            api_port=self.settings.listen_address[1],
            kubernetes_service_ip=str(service_cidr[1]),
            servers=(self.settings.node_name,),
            clock_plausible=lambda: self.clock.plausible,
        )
        await controllers.run(client_for=client, config=made, task_status=task_status)

    async def _proxy(
        self,
        client: Any,
        cluster_cidr: IPv4Network,
        service_cidr: IPv4Network,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        served = frozenset() if "dns" in self.settings.disable else frozenset({IPv4Address(self.settings.dns_address)})
        made = ProxyConfig(
            node_name=self.settings.node_name,
            pod_cidr=self.settings.pod_cidr,
            cluster_cidr=cluster_cidr,
            service_cidr=service_cidr,
            served_here=served,
        )
        await proxy.run(client=client("kube-proxy"), config=made, task_status=task_status)

    async def _cloud(self, client: Any, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        made = CloudConfig(
            node_name=self.settings.node_name,
            pools=self.settings.load_balancer_pool,
            reserved_ports=(("TCP", self.settings.listen_address[1]), ("TCP", 10250), ("TCP", 22)),
        )
        await cloud.run(
            client=client("cloud-controller-manager"), config=made, now=self.clock.now, task_status=task_status
        )

    async def _dns(
        self,
        client: Any,
        cluster_cidr: IPv4Network,
        service_cidr: IPv4Network,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        made = DnsConfig(
            listen=(IPv4Address(self.settings.dns_address),),
            networks=(cluster_cidr, service_cidr),
            domain=self.settings.cluster_domain,
            resolv_conf=Path(self.settings.resolv_conf),
        )
        await dns.run(client=client("cluster-dns"), config=made, task_status=task_status)

    async def _renew_certificates(self, tls: Any, names: Sequence[str]) -> None:
        """New certificates long before the old ones end, taken up without a restart."""
        while True:
            await trio.sleep(RENEW_SECONDS)
            try:
                pki = await ensure_pki(self.data_dir, self.settings.node_name, names, self.clock.time())
                reload_server(tls, pki)
            except (PkiFailure, OSError) as error:
                log.warning("certificates not renewed: %s", error)

    def _kubeconfig(self, pki: PkiPaths, server: str) -> str:
        port = self.settings.listen_address[1]
        return admin_kubeconfig(
            server=server or f"https://{self.settings.node_ip}:{port}",
            ca_certificate=pki.ca_certificate.read_bytes(),
            client_certificate=pki.admin_certificate.read_bytes(),
            client_key=pki.admin_key.read_bytes(),
        )

    def _status(self, store: Any, registry: Registry) -> Mapping[str, Any]:
        return {
            "version": __version__,
            "kubernetes": GIT_VERSION,
            "node": self.settings.node_name,
            "ready": self.ready,
            "pid": os.getpid(),
            "api": [f"{host}:{port}" for host, port in self.bound],
            "revision": store.revision,
            "clusterID": store.cluster_id,
            "loopLag": self.lag.statistics(),
        }


async def run_until_signal(settings: NodeConfig) -> int:
    """Run a node until SIGTERM or SIGINT; returns the exit code."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:

            async def stop() -> None:
                async for number in signals:
                    log.info("stopping signal=%s", signal.Signals(number).name)
                    notify("STOPPING=1")
                    nursery.cancel_scope.cancel()

            nursery.start_soon(stop)
            nursery.start_soon(Node(settings).run)
    return 0


def main(argv: Sequence[str]) -> int:
    """`edgekube run`: exit codes 0 stopped, 1 failed, 2 wrong usage."""
    try:
        settings = config.load(argv)
    except ConfigFailure as failure:
        print(f"edgekube run: {failure}", file=sys.stderr)
        return 2
    logline.set_up(verbose=settings.verbose)
    if os.geteuid() != 0:
        print("edgekube run: a node needs root for namespaces, mounts and nftables: run it with sudo", file=sys.stderr)
        return 1
    os.umask(0o022)
    try:
        return trio.run(run_until_signal, settings)
    except* (StoreError, NetworkFailure, RuntimeFailure, PkiFailure, OSError) as group:
        for error in leaves(group):
            print(f"edgekube run: {error}", file=sys.stderr)
    return 1


def leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    """The exceptions at the bottom of a group, which nurseries nest."""
    found: list[BaseException] = []
    for error in group.exceptions:
        found += leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
