"""After a restart: adopt what runs, record what ended, take away what belongs to nobody."""

import contextlib
import logging
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from edgekube.runtime import container as containers_on_disk
from edgekube.runtime import overlay, sandbox, shimlink
from edgekube.runtime.container import Container, ContainerRecord
from edgekube.runtime.shimlink import ShimLink
from edgekube.runtime.trees import remove_tree

if TYPE_CHECKING:
    from edgekube.runtime.engine import Engine

HELLO_SECONDS_MAX = 10.0
log = logging.getLogger(__name__)


async def recover(engine: "Engine") -> None:
    for record in sandbox.load_all(engine.paths):
        if record.spec.id not in engine.sandbox_ids():
            engine.adopt_sandbox(record, ready=sandbox.pins_valid(engine.paths, record.spec))
    for container_id in sorted(os.listdir(engine.paths.containers)):
        if container_id in engine.container_ids():
            continue
        found = containers_on_disk.load_record(engine.paths, container_id)
        if found is None or found.spec.sandbox_id not in engine.sandbox_ids():
            await _discard(engine, container_id, found)
            continue
        await _adopt(engine, found)
    engine.settle_pauses()
    await _sweep(engine)


async def _adopt(engine: "Engine", record: ContainerRecord) -> None:
    container = Container(record)
    folder = engine.paths.container(container.id)
    shutil.rmtree(f"{folder}/exec", ignore_errors=True)  # an exec ends with its caller
    ended = containers_on_disk.load_state(engine.paths, container.id, "exit.json")
    if ended is not None:
        container.set_exited(ended)
        engine.adopt_container(container, None)
        return
    try:
        link = await shimlink.connect(folder)
    except OSError:
        link = None
    if link is not None:
        greeted = False
        with trio.move_on_after(HELLO_SECONDS_MAX) as scope:
            greeted = await _greet(container, link)
        if greeted or scope.cancelled_caught:
            if not greeted:  # alive but slow, as on a machine that swaps: believe its file, and keep listening
                _believe_file(engine, container)
            engine.adopt_container(container, link)
            return
        link.close()
    if containers_on_disk.load_state(engine.paths, container.id, "state.json") is None:
        await engine.launcher.discard(record)  # its start was never finished, and nobody was told of it
        return
    log.warning("container=%s its shim is gone, ended as unknown", container.id)
    await engine.settle_lost(container)
    engine.adopt_container(container, None)


def _believe_file(engine: "Engine", container: Container) -> None:
    state = containers_on_disk.load_state(engine.paths, container.id, "state.json")
    if state is not None and state.started_at:
        container.set_running(state)


async def _greet(container: Container, link: ShimLink) -> bool:
    """Introduces us; sets the container's state from the answer."""
    try:
        await link.send(shimlink.encode_hello(shimlink.WANT_EXIT))
        while frames := await link.receive():
            first, rest = frames[0], frames[1:]
            if first.kind != shimlink.HELLO:
                return False
            state = shimlink.decode_state(first.payload)
            link.unread(rest)
            if state.exited:
                container.set_exited(state)
            elif state.started_at:
                container.set_running(state)
            return True
    except (trio.BrokenResourceError, shimlink.ProtocolError):
        return False
    return False


async def _discard(engine: "Engine", container_id: str, record: ContainerRecord | None) -> None:
    if record is not None:
        await engine.launcher.discard(record)
    else:
        shutil.rmtree(engine.paths.container(container_id), ignore_errors=True)


async def _sweep(engine: "Engine") -> None:
    """Mounts, pins, runc states, snapshots and cgroups without an owner."""
    paths = engine.paths
    containers = engine.container_ids()
    sandboxes = engine.sandbox_ids()
    for name in set(os.listdir(paths.runc_root)) - containers:
        await engine.launcher.runc_delete(name)
        shutil.rmtree(paths.runc_state(name), ignore_errors=True)
    await engine.sweep_cgroups()
    for mounted in overlay.mounted_below(paths.mounts, Path("/proc/self/mountinfo").read_text()):
        kind, _, rest = mounted.removeprefix(paths.mounts + "/").partition("/")
        owner = rest.split("/", 1)[0]
        if owner not in (containers if kind == "root" else sandboxes):
            overlay.unmount(mounted)
    for kind, owners in (("root", containers), ("shm", sandboxes)):
        for name in set(os.listdir(f"{paths.mounts}/{kind}")) - owners:
            with contextlib.suppress(OSError):
                os.rmdir(f"{paths.mounts}/{kind}/{name}")
    for name in set(os.listdir(f"{paths.mounts}/ns")) - sandboxes:
        sandbox.remove(paths, name)
    for name in set(os.listdir(paths.snapshots)) - containers:
        await remove_tree(paths.snapshot(name))
