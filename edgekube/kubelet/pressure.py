"""Keeps the node usable: ends pods when memory or disk run out, and deletes images nobody uses (eviction manager).

A look every ten seconds costs two small reads of /proc and one statfs. Disk use of single pods is counted only for pods
that have a limit on it, once a minute.
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import trio

from edgekube.kubelet import spec as build
from edgekube.kubelet.config import (
    DISK_AVAILABLE_MIN,
    IMAGE_GC_HIGH,
    IMAGE_GC_LOW,
    INODES_AVAILABLE_MIN,
    MEMORY_AVAILABLE_MIN_BYTES,
)
from edgekube.kubelet.machine import meminfo
from edgekube.kubelet.services import Services
from edgekube.kubelet.worker import PodWorker
from edgekube.runtime.api import RuntimeFailure
from edgekube.types.core_v1 import Node, Pod
from edgekube.types.pod_resources import NANO, pod_totals
from edgekube.types.quantity import format_value, nano

log = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
SIZES_SECONDS = 60.0
IMAGES_SECONDS = 300.0
# After an eviction the figures need a while to move: the next pod is ended only if they have not by then.
SETTLE_SECONDS = 30.0
EVICTED = "Evicted"
SYSTEM_CRITICAL = 2_000_000_000
ENTRIES_PER_SLICE = 2000  # of a walk through a volume, before others get a turn


class Usage(msgspec.Struct, frozen=True):
    """One pod's part in a shortage: bytes used and bytes asked for."""

    uid: str
    priority: int
    used: int
    requested: int


def eviction_order(pods: Sequence[Usage]) -> list[Usage]:
    """Who goes first: those above their request, then the less important, then those furthest above (kubelet)."""
    return sorted(pods, key=lambda p: (p.used <= p.requested, p.priority, p.requested - p.used))


class Shortage(msgspec.Struct, frozen=True):
    """Of a resource; amounts in its own unit."""

    resource: str  # as kubelet names it: memory, ephemeral-storage, inodes
    threshold: str
    available: str


def shortages(memory: Mapping[str, int], disk: os.statvfs_result) -> list[Shortage]:
    """What the node has too little of, by the kubelet's default hard eviction thresholds."""
    found = []
    available = memory.get("MemAvailable", MEMORY_AVAILABLE_MIN_BYTES)
    if available < MEMORY_AVAILABLE_MIN_BYTES:
        found.append(Shortage("memory", _size(MEMORY_AVAILABLE_MIN_BYTES), _size(available)))
    total = disk.f_blocks * disk.f_frsize
    if disk.f_bavail < disk.f_blocks * DISK_AVAILABLE_MIN:
        found.append(
            Shortage("ephemeral-storage", _size(int(total * DISK_AVAILABLE_MIN)), _size(disk.f_bavail * disk.f_frsize))
        )
    if disk.f_files and disk.f_favail < disk.f_files * INODES_AVAILABLE_MIN:
        found.append(Shortage("inodes", str(int(disk.f_files * INODES_AVAILABLE_MIN)), str(disk.f_favail)))
    return found


def _size(amount: int) -> str:
    return format_value(amount // 1024 * 1024, binary=True)


class Housekeeper:
    """`run` is its task; `workers` gives the node's pods, `node` the Node object for events."""

    def __init__(
        self,
        services: Services,
        workers: Callable[[], Sequence[PodWorker]],
        node: Callable[[], Node | None],
        *,
        memory: Callable[[], Mapping[str, int]] = meminfo,
        disk: Callable[[Path], os.statvfs_result] = os.statvfs,
    ) -> None:
        self._services = services
        self._workers = workers
        self._node = node
        self._memory = memory
        self._disk = disk
        self._settled_at = 0.0
        self._sizes_at = 0.0
        self._images_at = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await trio.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """One round."""
        now = trio.current_time()
        disk = self._disk(self._services.config.data_dir)
        found = shortages(self._memory(), disk)
        if found and now >= self._settled_at:
            await self._relieve(found[0])
        if now >= self._sizes_at:
            self._sizes_at = now + SIZES_SECONDS
            await self._check_sizes()
        used = 1 - disk.f_bavail / max(1, disk.f_blocks)
        if used > IMAGE_GC_HIGH and now >= self._images_at:
            self._images_at = now + IMAGES_SECONDS
            await self._collect_images(disk, used)

    async def _collect_images(self, disk: os.statvfs_result, used: float) -> None:
        freed = await self._collect()
        wanted = int((used - IMAGE_GC_LOW) * disk.f_blocks * disk.f_frsize)
        node = self._node()
        if freed < wanted and node is not None:
            words = (
                f"Failed to garbage collect required amount of images. Attempted to free {wanted} bytes, "
                f"but only found {freed} bytes eligible to free."
            )
            self._services.events.event(node, "Warning", "FreeDiskSpaceFailed", words)

    async def _collect(self) -> int:
        in_use = [c.spec.image_id for c in self._services.runtime.containers()]
        try:
            return await self._services.runtime.images.collect(in_use=in_use)
        except (RuntimeFailure, OSError) as error:
            log.warning("images not collected: %s", error)
            return 0

    async def _relieve(self, short: Shortage) -> None:
        """Free what costs nobody anything; then end one pod."""
        node = self._node()
        if short.resource != "memory" and await self._collect() > 0:
            self._settled_at = trio.current_time() + LOOK_SECONDS
            return
        if node is not None:
            words = f"Attempting to reclaim {short.resource}"
            self._services.events.event(node, "Warning", "EvictionThresholdMet", words)
        candidates = [w for w in self._workers() if not w.ended and (w.pod.spec.priority or 0) < SYSTEM_CRITICAL]
        usages = {w.uid: await self._usage(w, short.resource) for w in candidates}
        for victim in eviction_order(list(usages.values())):
            worker = next(w for w in candidates if w.uid == victim.uid)
            words = (
                f"The node was low on resource: {short.resource}. Threshold quantity: {short.threshold}, "
                f"available: {short.available}. "
            )
            if victim.used > victim.requested:
                words += (
                    f"Pod was using {_size(victim.used)}, request is {_size(victim.requested)}, "
                    f"has larger consumption of {short.resource}. "
                )
            worker.evict(EVICTED, words, 0.0)
            self._settled_at = trio.current_time() + SETTLE_SECONDS
            return

    async def _usage(self, worker: PodWorker, resource: str) -> Usage:
        pod = worker.pod
        if resource == "memory":
            stats = self._services.runtime.sandbox_stats(worker.sandbox_id)
            used = stats.memory_working_set_bytes if stats is not None else 0
            requested = pod_totals(pod).get("memory", 0) // NANO
        else:
            used = sum((await self._disk_use(worker)).values())
            requested = pod_totals(pod).get("ephemeral-storage", 0) // NANO
        return Usage(uid=worker.uid, priority=pod.spec.priority or 0, used=used, requested=requested)

    async def _check_sizes(self) -> None:
        """emptyDir sizeLimit and ephemeral-storage limits: a pod above one of its own is ended."""
        for worker in self._workers():
            if worker.ended or not limits_disk(worker.pod):
                continue
            words = over_limit(worker.pod, await self._disk_use(worker))
            if words:
                worker.evict(EVICTED, words, 0.0)

    async def _disk_use(self, worker: PodWorker) -> dict[str, int]:
        """Bytes by volume name on disk; "" for logs and what containers wrote to their root file systems."""
        sizes = {}
        for volume in worker.pod.spec.volumes:
            if volume.emptyDir is not None and volume.emptyDir.medium == "":
                sizes[volume.name] = await tree_bytes(str(worker.files.volume_path(volume)))
        own = await tree_bytes(str(build.log_dir(worker.pod, self._services.config)))
        for name in worker.containers.running():
            newest = worker.containers.newest(name)
            stats = self._services.runtime.stats(newest.spec.id) if newest is not None else None
            own += stats.rootfs_bytes if stats is not None else 0
        sizes[""] = own
        return sizes


def limits_disk(pod: Pod) -> bool:
    """Whether counting the pod's disk use can have a consequence."""
    return bool(pod_totals(pod, "limits").get("ephemeral-storage")) or any(
        v.emptyDir is not None and v.emptyDir.medium == "" and v.emptyDir.sizeLimit for v in pod.spec.volumes
    )


def over_limit(pod: Pod, sizes: Mapping[str, int]) -> str:
    """The message of the first limit the pod is above, or ""."""
    for volume in pod.spec.volumes:
        limit = volume.emptyDir.sizeLimit if volume.emptyDir is not None else None
        if limit and nano(limit) and sizes.get(volume.name, 0) > nano(limit) // NANO:
            return f'Usage of EmptyDir volume "{volume.name}" exceeds the limit "{limit}". '
    total = pod_totals(pod, "limits").get("ephemeral-storage", 0) // NANO
    everyone = all("ephemeral-storage" in c.resources.limits for c in pod.spec.containers)
    if total and everyone and sum(sizes.values()) > total:
        words = format_value(total, binary=True)
        return f"Pod ephemeral local storage usage exceeds the total limit of containers {words}. "
    return ""


async def tree_bytes(root: str) -> int:
    """Disk space of a folder with all below it, links not followed, other file systems left out."""
    total = entries = 0
    waiting = [root]
    try:
        device = os.lstat(root).st_dev
    except OSError:
        return 0
    while waiting:
        try:
            with os.scandir(waiting.pop()) as found:
                for entry in found:
                    entries += 1
                    try:
                        info = entry.stat(follow_symlinks=False)
                    except OSError:
                        continue
                    if info.st_dev != device:
                        continue
                    total += info.st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except OSError:
            continue
        if entries >= ENTRIES_PER_SLICE:
            entries = 0
            await trio.lowlevel.checkpoint()
    return total
