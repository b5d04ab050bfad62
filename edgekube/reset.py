"""`edgekube reset`: takes every trace of a node off the machine. For a node that does not run.

Containers, mounts, pinned namespaces, cgroups, links, firewall rules, then the folders. Each step is tried even when
one before failed, and what is gone already is no failure: a second run finishes what a first one could not.
"""

import errno
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Network
from pathlib import Path
from typing import Final

import msgspec
import trio

from edgekube import config
from edgekube.config import ConfigFailure, NodeConfig
from edgekube.network.api import NetworkFailure
from edgekube.network.bridge import BridgeNetwork
from edgekube.network.vip import VipAnnouncer
from edgekube.proxy import role as proxy
from edgekube.runtime import overlay
from edgekube.runtime.api import RuntimeFailure
from edgekube.runtime.engine import Engine
from edgekube.runtime.images.service import Images
from edgekube.runtime.trees import remove_tree
from edgekube.store.backup import RESTORE_NAMES
from edgekube.types.unreadable import UNREADABLE

# What a node makes in its folders; anything else in there is somebody else's and stays.
DATA_NAMES: Final = ("kubelet", "pki", "runtime", "store", *RESTORE_NAMES)
RUN_NAMES: Final = ("edgekube.sock", "kubelet", "network", "runtime", "store", "node.json")
LOG_NAMES: Final = ("pods",)
PURGE_SECONDS_MAX: Final = 300.0

Step = Callable[[], Awaitable[None]]


def main(argv: Sequence[str]) -> int:
    """Exit codes: 0 all gone, 1 something is left (said on stderr), 2 wrong usage."""
    words = [word for word in argv if word != "--yes"]
    parser = config.parser()
    parser.prog = "edgekube reset"
    parser.description = "Remove every trace of a node that does not run; takes the options of `edgekube run`."
    parser.add_argument("--yes", action="store_true", help="really do it: all pods, images and objects are lost")
    if "-h" in words or "--help" in words:
        parser.print_help()
        return 0
    try:
        settings = remembered(config.load(words))
    except ConfigFailure as failure:
        print(f"edgekube reset: {failure}", file=sys.stderr)
        return 2
    problem = why_not(settings, sure="--yes" in argv)
    if problem:
        print(f"edgekube reset: {problem}", file=sys.stderr)
        return 1
    failures = trio.run(remove, settings)
    for each in failures:
        print(f"edgekube reset: {each}", file=sys.stderr)
    if failures:
        print("edgekube reset: run it again once that is solved", file=sys.stderr)
        return 1
    print(f"nothing is left of the node in {settings.data_dir} and {settings.run_dir}")
    return 0


def remembered(settings: NodeConfig) -> NodeConfig:
    """What the node itself noted when it last started, with folders given now taking precedence."""
    try:
        noted = msgspec.json.decode((Path(settings.run_dir) / "node.json").read_bytes(), type=NodeConfig)
    except (OSError, *UNREADABLE):
        return settings
    default = config.NodeConfig()
    folders = {
        name: getattr(settings, name)
        for name in ("data_dir", "run_dir", "log_dir")
        if getattr(settings, name) != getattr(default, name)
    }
    return msgspec.structs.replace(noted, **folders)


def why_not(settings: NodeConfig, *, sure: bool) -> str:
    """Why nothing may be removed now; empty when it may."""
    if not sure:
        return (
            f"this removes all pods, images and objects of the node in {settings.data_dir}, {settings.run_dir} and "
            f"{settings.log_dir}: say `edgekube reset --yes` if that is what you want"
        )
    if os.geteuid() != 0:
        return "containers, mounts and firewall rules belong to root: run it with sudo"
    if node_answers(settings):
        return "the node still runs: stop it first (`systemctl stop edgekube`, or Ctrl-C in its terminal)"
    return ""


def node_answers(settings: NodeConfig) -> bool:
    """Whether a node runs with this run folder."""
    path = Path(settings.run_dir) / "edgekube.sock"
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


async def remove(settings: NodeConfig) -> list[str]:
    """Removes everything; returns what could not be removed and why."""
    failures: list[str] = []
    steps: tuple[tuple[str, Step], ...] = (
        ("containers", lambda: _containers(settings)),
        ("service rules", proxy.remove),
        ("pod network", lambda: _network(settings)),
        ("load balancer addresses", _addresses),
        ("folders", lambda: _folders(settings)),
    )
    for what, step in steps:
        if what == "folders" and failures:
            break  # they hold what the steps before need to be tried again
        try:
            await step()
        except (RuntimeFailure, NetworkFailure, OSError, trio.TooSlowError) as error:
            failures.append(f"{what}: {error or type(error).__name__}")
    return failures


async def _containers(settings: NodeConfig) -> None:
    run_dir, data_dir = Path(settings.run_dir) / "runtime", Path(settings.data_dir) / "runtime"
    if not run_dir.exists() and not data_dir.exists():
        return
    images = Images(str(data_dir))
    await images.open()
    try:
        engine = Engine(images, run_dir=str(run_dir), data_dir=str(data_dir), cgroup_root=settings.cgroup_root)
        with trio.fail_after(PURGE_SECONDS_MAX):
            async with trio.open_nursery() as nursery:
                await nursery.start(engine.run)
                await engine.purge()
                nursery.cancel_scope.cancel()
    finally:
        images.close()


async def _network(settings: NodeConfig) -> None:
    network = BridgeNetwork(
        state_dir=Path(settings.run_dir) / "network",
        bridge_name=settings.bridge,
        cluster_cidr=IPv4Network(settings.cluster_cidr),
        service_cidr=IPv4Network(settings.service_cidr),
    )
    await network.stop(remove=True)


async def _addresses() -> None:
    await trio.lowlevel.checkpoint()
    announcer = VipAnnouncer()
    try:
        announcer.remove_all()
    finally:
        announcer.close()


async def _folders(settings: NodeConfig) -> None:
    await trio.lowlevel.checkpoint()
    for folder, names in (
        (settings.run_dir, RUN_NAMES),
        (settings.data_dir, DATA_NAMES),
        (settings.log_dir, LOG_NAMES),
    ):
        for name in names:
            place = Path(folder) / name
            for mounted in overlay.mounted_below(str(place), Path("/proc/self/mountinfo").read_text()):
                overlay.unmount(mounted)
            overlay.unmount(str(place))
            if place.is_dir() and not place.is_symlink():
                await remove_tree(str(place))
                if place.exists():
                    raise OSError(errno.ENOTEMPTY, "it cannot be deleted", str(place))
            else:
                place.unlink(missing_ok=True)
        left = _remove_empty(Path(folder))
        if left:
            print(f"left alone in {folder}: {', '.join(left)}")


def _remove_empty(folder: Path) -> list[str]:
    """Removes an empty folder (a mount point stays); returns what else is in it."""
    try:
        left = sorted(entry.name for entry in folder.iterdir())
    except FileNotFoundError:
        return []
    if not left and not folder.is_mount():
        folder.rmdir()
    return left
