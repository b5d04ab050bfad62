"""The streams of this node for the API server: logs, exec, attach, port-forward, stats (kubelet's server on 10250)."""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from edgekube.client.api import ExitStatus, LogOptions, Streams, TerminalSize
from edgekube.kubelet import spec as build
from edgekube.kubelet.logs import Formatter, read_log, stamp
from edgekube.kubelet.machine import meminfo
from edgekube.kubelet.role import Kubelet
from edgekube.kubelet.worker import PodWorker
from edgekube.runtime.api import ContainerRuntime, ContainerState, ContainerStatus, ExecSession, RuntimeFailure
from edgekube.types.core_v1 import Pod
from edgekube.types.status import bad_request, failure, internal, not_found
from edgekube.types.time import format_time, parse_time

CHUNK_BYTES = 32 * 1024
STREAMS = {"Stdout": ("stdout",), "Stderr": ("stderr",)}


class LocalNodeApi:
    """NodeApi of the kubelet in this process."""

    def __init__(self, kubelet: Kubelet, runtime: ContainerRuntime) -> None:
        self._kubelet = kubelet
        self._runtime = runtime

    def _worker(self, namespace: str, name: str) -> PodWorker:
        worker = self._kubelet.worker(namespace, name)
        if worker is None:
            raise not_found("pods", name)
        return worker

    def _container_name(self, pod: Pod, name: str) -> str:
        names = [c.name for c in build.all_containers(pod)]
        if not name:
            return pod.spec.containers[0].name
        if name not in names:
            raise bad_request(f"container {name} is not valid for pod {pod.metadata.name}")
        return name

    def _running(self, namespace: str, pod_name: str, container: str) -> ContainerStatus:
        worker = self._worker(namespace, pod_name)
        name = self._container_name(worker.pod, container)
        status = worker.containers.newest(name)
        if status is None or status.state is not ContainerState.RUNNING:
            raise internal(f'unable to upgrade connection: container not found ("{name}")')
        return status

    @asynccontextmanager
    async def logs(self, namespace: str, pod: str, options: LogOptions) -> AsyncIterator[AsyncIterator[bytes]]:
        worker = self._worker(namespace, pod)
        name = self._container_name(worker.pod, options.container)
        newest = worker.containers.newest(name)
        if options.previous:
            newest = worker.containers.previous(name)
            if newest is None:
                raise bad_request(f'previous terminated container "{name}" in pod "{pod}" not found')
        path = Path(newest.spec.log_path) if newest is not None else self._last_log(worker.pod, name)
        if path is None:
            raise bad_request(f'container "{name}" in pod "{pod}" is waiting to start: {_why(worker.pod, name)}')
        since = ""
        if options.since_time:
            since = stamp(parse_time(options.since_time))
        elif options.since_seconds is not None:
            since = stamp(self._kubelet.config.now().timestamp() - options.since_seconds)
        formatter = Formatter(
            since=since,
            streams=STREAMS.get(options.stream, ("stdout", "stderr")),
            timestamps=options.timestamps,
            limit=options.limit_bytes,
        )
        follow = options.follow and newest is not None

        def ended() -> bool:
            now = worker.containers.newest(name)
            return now is None or now.spec.log_path != str(path) or now.state is not ContainerState.RUNNING

        async def wait_end() -> None:
            assert newest is not None
            await self._runtime.wait_exit(newest.spec.id)

        source = read_log(
            path,
            formatter,
            tail=options.tail_lines,
            ended=ended if follow else None,
            wait_end=wait_end if follow else None,
        )
        try:
            yield source
        finally:
            await source.aclose()

    def _last_log(self, pod: Pod, name: str) -> Path | None:
        """The log of a container whose runtime state is gone (a finished pod keeps its logs)."""
        folder = build.log_dir(pod, self._kubelet.config) / name
        found = sorted(folder.glob("*.log"), key=lambda p: int(p.stem) if p.stem.isdigit() else -1)
        return found[-1] if found else None

    async def exec(
        self, namespace: str, pod: str, container: str, command: Sequence[str], *, tty: bool, streams: Streams
    ) -> ExitStatus:
        status = self._running(namespace, pod, container)
        try:
            async with self._runtime.exec(
                status.spec.id,
                command,
                tty=tty,
                stdin=streams.stdin is not None,
                stdout=streams.stdout is not None,
                stderr=streams.stderr is not None and not tty,
            ) as session:
                return ExitStatus(await _pump(session, streams))
        except RuntimeFailure as error:
            return ExitStatus(126, str(error))

    async def attach(self, namespace: str, pod: str, container: str, *, tty: bool, streams: Streams) -> None:
        status = self._running(namespace, pod, container)
        try:
            async with self._runtime.attach(status.spec.id, stdin=streams.stdin is not None) as session:
                await _pump(session, streams)
        except RuntimeFailure as error:
            raise internal(str(error)) from error

    @asynccontextmanager
    async def port_forward(self, namespace: str, pod: str, port: int) -> AsyncIterator[trio.abc.HalfCloseableStream]:
        worker = self._worker(namespace, pod)
        if worker.pod.status.phase != "Running":
            phase = worker.pod.status.phase
            raise bad_request(f"unable to forward port because pod is not running. Current status={phase}")
        sandbox_id = build.sandbox_spec(worker.pod, self._kubelet.config).id
        try:
            stream = await self._runtime.connect(sandbox_id, port)
        except (OSError, RuntimeFailure) as error:
            why = (
                f"connect: {os.strerror(error.errno).lower()}" if isinstance(error, OSError) and error.errno else error
            )
            words = f"failed to connect to localhost:{port} inside the pod: dial tcp4 127.0.0.1:{port}: {why}"
            raise failure(500, "InternalError", words) from error
        try:
            yield stream
        finally:
            await trio.aclose_forcefully(stream)

    async def stats(self) -> Mapping[str, Any]:
        now = format_time(self._kubelet.config.now())
        pods = []
        for worker in self._kubelet.workers():
            containers = []
            for name in worker.containers.running():
                status = worker.containers.newest(name)
                stats = self._runtime.stats(status.spec.id) if status is not None else None
                if stats is not None:
                    containers.append(
                        {
                            "name": name,
                            "cpu": {"time": now, "usageCoreNanoSeconds": stats.cpu_usage_ns},
                            "memory": {
                                "time": now,
                                "usageBytes": stats.memory_usage_bytes,
                                "workingSetBytes": stats.memory_working_set_bytes,
                                "rssBytes": stats.memory_rss_bytes,
                            },
                        }
                    )
            meta = worker.pod.metadata
            reference = {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid}
            pods.append({"podRef": reference, "containers": containers})
        memory = meminfo()
        used = memory.get("MemTotal", 0) - memory.get("MemAvailable", 0)
        node = {"nodeName": self._kubelet.config.node_name, "memory": {"time": now, "workingSetBytes": used}}
        return {"node": node, "pods": pods}


def _why(pod: Pod, name: str) -> str:
    """Why a container has no log yet, as kubectl shows it."""
    reported = (*pod.status.initContainerStatuses, *pod.status.containerStatuses)
    waiting = next((s.state.waiting for s in reported if s.name == name), None)
    reason = waiting.reason if waiting is not None and waiting.reason else "ContainerCreating"
    if reason in ("ErrImagePull", "ImagePullBackOff"):
        return "trying and failing to pull image"
    return "image can't be pulled" if reason == "ErrImageNeverPull" else reason


async def _pump(session: ExecSession, streams: Streams) -> int:
    """Copy in all directions until the process has ended and its output is through; returns the exit code."""

    async def copy_in(source: trio.abc.ReceiveStream, sink: trio.abc.SendStream) -> None:
        try:
            while data := await source.receive_some(CHUNK_BYTES):
                await sink.send_all(data)
            await sink.aclose()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the process closed its stdin, or the client went away: the other directions tell

    async def copy_out(source: trio.abc.ReceiveStream, sink: trio.abc.SendStream) -> None:
        try:
            while data := await source.receive_some(CHUNK_BYTES):
                await sink.send_all(data)
        except trio.BrokenResourceError:
            pass

    async def resize(sizes: trio.MemoryReceiveChannel[TerminalSize]) -> None:
        async for size in sizes:
            await session.resize(size.width, size.height)

    async with trio.open_nursery() as inputs:
        if streams.stdin is not None and session.stdin is not None:
            inputs.start_soon(copy_in, streams.stdin, session.stdin)
        if streams.resizes is not None:
            inputs.start_soon(resize, streams.resizes)
        async with trio.open_nursery() as outputs:
            if streams.stdout is not None and session.stdout is not None:
                outputs.start_soon(copy_out, session.stdout, streams.stdout)
            if streams.stderr is not None and session.stderr is not None:
                outputs.start_soon(copy_out, session.stderr, streams.stderr)
        code = await session.wait()
        inputs.cancel_scope.cancel()
    return code
