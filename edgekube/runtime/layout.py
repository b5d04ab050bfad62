"""Where the runtime keeps things, and how small files are written whole.

Below the run folder (memory; gone after a reboot, and then all else here is stale too):

    sandboxes/ID.json            a sandbox's record
    containers/ID/               a container's bundle and its shim's working folder:
        record.json              spec and surroundings, written before anything is started
        config.json  pid  runc.log  shim.sock  state.json  exit.json
        exec/N/                  one exec
    mnt/                         a tmpfs of our own, private and unbindable, so that nothing mounted in it is copied
        ns/SANDBOX/{net,ipc,uts} pinned namespaces
        shm/SANDBOX/             the pod's /dev/shm
        root/CONTAINER/          the container's merged root
    runc/                        runc's --root

Below the data folder: `snapshots/CONTAINER/{upper,work}`.
"""

import os
from pathlib import Path

from edgekube.runtime.api import RuntimeFailure

_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
ID_LENGTH_MAX = 128


def check_id(value: str) -> str:
    """Ids become file names: letters, digits, `-`, `_`, `.`; not `.` or `..`. Raises RuntimeFailure."""
    if not 0 < len(value) <= ID_LENGTH_MAX or not set(value) <= _SAFE or value.startswith("."):
        raise RuntimeFailure("CreateContainerConfigError", f"{value[:200]!r} is not a usable id")
    return value


class Paths:
    def __init__(self, run_dir: str, data_dir: str) -> None:
        self.run = os.path.abspath(run_dir)
        self.data = os.path.abspath(data_dir)
        self.sandboxes = f"{self.run}/sandboxes"
        self.containers = f"{self.run}/containers"
        self.mounts = f"{self.run}/mnt"
        self.runc_root = f"{self.run}/runc"
        self.snapshots = f"{self.data}/snapshots"

    def sandbox(self, sandbox_id: str) -> str:
        return f"{self.sandboxes}/{sandbox_id}.json"

    def pins(self, sandbox_id: str) -> str:
        return f"{self.mounts}/ns/{sandbox_id}"

    def shm(self, sandbox_id: str) -> str:
        return f"{self.mounts}/shm/{sandbox_id}"

    def container(self, container_id: str) -> str:
        return f"{self.containers}/{container_id}"

    def root(self, container_id: str) -> str:
        return f"{self.mounts}/root/{container_id}"

    def runc_state(self, container_id: str) -> str:
        return f"{self.runc_root}/{container_id}"

    def snapshot(self, container_id: str) -> str:
        return f"{self.snapshots}/{container_id}"

    def make(self) -> None:
        for folder in (self.run, self.sandboxes, self.containers, self.mounts, self.runc_root, self.snapshots):
            os.makedirs(folder, mode=0o700, exist_ok=True)


def write_whole(path: str, data: bytes) -> None:
    """By rename: readers see the old content or the new. Not synced: these files need not outlive a power cut."""
    staged = f"{path}.new"
    Path(staged).write_bytes(data)
    os.replace(staged, path)


def read_if_there(path: str, size_max: int = 1 << 20) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read(size_max)
    except (FileNotFoundError, NotADirectoryError):
        return None
