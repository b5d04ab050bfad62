"""A pod's start against a bare `runc run` of the same bundle, in the same run; and what a running container costs.

The image is the machine's busybox. A start is sandbox, overlay, config, shim and runc, until the container runs;
taking it away is timed apart. CPU is the whole machine's, and so means something on a quiet one only. The network is
not part of it.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import trio

from bench import Options, row
from bench.machine import machine_cpu_seconds, memory_mib
from edgekube.runtime.api import ContainerSpec, Image, ImageConfig, SandboxSpec
from edgekube.runtime.engine import Engine

IMAGE_ID = "sha256:" + "b" * 64


class OneImage:
    """As much of an image service as an engine needs."""

    def __init__(self, layer: str) -> None:
        self._layers = (layer,)
        self._image = Image(IMAGE_ID, IMAGE_ID, (), (), 1, ("a",), ImageConfig())

    def get(self, reference: str) -> Image | None:
        return self._image

    def layer_paths(self, image_id: str) -> Sequence[str]:
        return self._layers


def make_root(folder: Path) -> str:
    for name in ("bin", "etc", "proc", "sys", "dev", "tmp"):
        (folder / name).mkdir(parents=True)
    busybox = shutil.which("busybox")
    if busybox is None:
        raise SystemExit("install busybox-static")
    shutil.copy(busybox, folder / "bin" / "busybox")
    for name in ("sh", "sleep", "true"):
        (folder / "bin" / name).symlink_to("busybox")
    return str(folder)


class Bench:
    def __init__(self, engine: Engine, folder: Path, cgroup_root: str) -> None:
        self.engine = engine
        self.folder = folder
        self.cgroup_root = cgroup_root

    async def start(self, name: str) -> float:
        before = time.perf_counter()
        parent = f"{self.cgroup_root}/{name}"
        await self.engine.create_sandbox(SandboxSpec(id=name, name=name, uid=name, hostname=name, cgroup_parent=parent))
        await self.engine.start_container(
            ContainerSpec(
                id=f"{name}-c",
                name="c",
                sandbox_id=name,
                attempt=0,
                image_id=IMAGE_ID,
                args=("sleep", "1000"),
                env=(),
                log_path=str(self.folder / "logs" / f"{name}.log"),
            )
        )
        return time.perf_counter() - before

    async def remove(self, name: str) -> float:
        before = time.perf_counter()
        await self.engine.stop_container(f"{name}-c", 0)
        await self.engine.remove_sandbox(name)
        return time.perf_counter() - before


def runc_run(bundle: Path, state: Path, number: int) -> float:
    """`runc run --detach`: the floor. Its end is not timed."""
    name = f"bare{number}"
    before = time.perf_counter()
    subprocess.run(
        ["runc", "--root", str(state), "run", "--detach", "--bundle", str(bundle), name],
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    taken = time.perf_counter() - before
    subprocess.run(["runc", "--root", str(state), "delete", "--force", name], check=True)
    return taken


def bare_bundle(engine: Engine, container_id: str, root: str, folder: Path, cgroup_root: str) -> Path:
    """The engine's own config.json, with namespaces of its own instead of pinned ones."""
    config: dict[str, Any] = msgspec.json.decode(Path(engine.paths.container(container_id), "config.json").read_bytes())
    for namespace in config["linux"]["namespaces"]:
        namespace.pop("path", None)
    config["root"]["path"] = root
    config["mounts"] = [mount for mount in config["mounts"] if mount["destination"] != "/dev/shm"]
    config["linux"]["cgroupsPath"] = f"/{cgroup_root}/bare"
    bundle = folder / "bundle"
    bundle.mkdir()
    (bundle / "config.json").write_bytes(msgspec.json.encode(config))
    return bundle


async def measure(rounds: int, many: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="ekbench"))
    run = Path(tempfile.mkdtemp(prefix="ekbench", dir="/dev/shm"))  # in memory, as a node's is
    cgroup_root = f"ekbench{os.getpid()}"
    root = make_root(folder / "root")
    images: Any = OneImage(root)
    engine = Engine(images, run_dir=str(run), data_dir=str(folder / "data"), cgroup_root=cgroup_root)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(engine.run)
            await engine.recover()
            bench = Bench(engine, folder, cgroup_root)
            await bench.start("first")
            bundle = bare_bundle(engine, "first-c", root, folder, cgroup_root)
            await bench.remove("first")
            pods, bare, removals = [], [], []
            for number in range(rounds):  # in turns: what else the machine does meets both alike
                bare.append(runc_run(bundle, run / "state", number))
                pods.append(await bench.start(f"pod{number}"))
                removals.append(await bench.remove(f"pod{number}"))
            floor = ("runc run", statistics.median(bare) * 1e3)
            row("pod start, p50", statistics.median(pods) * 1e3, "ms", goal=2 * floor[1], beside=floor)
            row("kill and remove, p50", statistics.median(removals) * 1e3, "ms")
            before = machine_cpu_seconds()
            for number in range(rounds):
                runc_run(bundle, run / "state", number)
            floor = ("runc run, delete", (machine_cpu_seconds() - before) / rounds * 1e3)
            before = machine_cpu_seconds()
            for number in range(rounds):
                await bench.start(f"pod{number}")
                await bench.remove(f"pod{number}")
            row("pod start, remove", (machine_cpu_seconds() - before) / rounds * 1e3, "ms machine CPU", beside=floor)
            await measure_many(bench, many)
            await engine.purge()
            nursery.cancel_scope.cancel()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(run, ignore_errors=True)


async def measure_many(bench: Bench, many: int) -> None:
    taken: list[float] = []

    async def one(name: str) -> None:
        taken.append(await bench.start(name))

    before = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for number in range(many):
            nursery.start_soon(one, f"many{number}")
    total = time.perf_counter() - before
    row(f"{many} pods at once", total, "s", note=f"p50 {statistics.median(taken):.2f}")
    sizes = []
    for status in bench.engine.containers():
        state = Path(bench.engine.paths.container(status.spec.id), "state.json").read_bytes()
        sizes.append(memory_mib(msgspec.json.decode(state)["shim_pid"]))
    row("a shim", statistics.mean(sizes) * 1024, "kB PSS")


def run(options: Options) -> None:
    trio.run(measure, 5 if options.quick else 20, 10 if options.quick else 30)
