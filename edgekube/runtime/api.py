"""What the runtime offers a kubelet: images, pod sandboxes, containers, exec (CRI's split, as values and coroutines).

A sandbox is a set of pinned namespaces and a pod cgroup, with no process of its own. A container is one runc container
under one shim process; both survive the orchestrator. Everything is found again at start by `recover`.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import Any, Protocol

import msgspec
import trio


class RuntimeFailure(Exception):
    """Something could not be done; `reason` is the CRI/kubelet reason a user sees, the message says what to do."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ImageFailure(RuntimeFailure):
    """Reasons: ErrImagePull, InvalidImageName, ErrImageNeverPull."""


class ImageConfig(msgspec.Struct, frozen=True):
    """The part of an OCI image config that decides how its container runs (image-spec config.md)."""

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    stop_signal: str = ""
    volumes: tuple[str, ...] = ()
    labels: Mapping[str, str] = {}


class Image(msgspec.Struct, frozen=True):
    """A complete image in the content store. `id` is the config digest; `digest` the manifest's (or index's) digest."""

    id: str
    digest: str
    tags: tuple[str, ...]  # normalised references, docker.io/library/busybox:1.36
    repo_digests: tuple[str, ...]
    size_bytes: int
    layers: tuple[str, ...]  # chain ids, bottom first
    config: ImageConfig
    pinned: bool = False  # imported from a file: never garbage-collected


class Credentials(msgspec.Struct, frozen=True):
    """`identity_token` wins over username and password; `registry` is the host (or URL) they are for, "" for any."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry: str = ""


class PullProgress(msgspec.Struct, frozen=True):
    """Compressed bytes so far and in all, over all layers that were not here yet."""

    reference: str
    done_bytes: int
    total_bytes: int


class ImageService(Protocol):
    def get(self, reference: str) -> Image | None:
        """By tag, digest reference or image id; None when absent or incomplete."""
        ...

    def list(self) -> Sequence[Image]: ...

    async def pull(self, reference: str, credentials: Sequence[Credentials] = ()) -> Image:
        """Fetch what is missing for this machine's platform; concurrent calls for one reference share the work.

        Tries each credential, then anonymously. Raises ImageFailure with registry wording.
        """
        ...

    def progress(self) -> Sequence[PullProgress]:
        """Pulls under way."""
        ...

    async def import_archive(self, path: str, *, pin: bool = True) -> Sequence[Image]:
        """An OCI layout (folder or tar) or a `docker save` tarball; gzip and zstd compressed tars too."""
        ...

    async def remove(self, reference: str) -> None: ...

    async def collect(self, *, in_use: Sequence[str], keep_pinned: bool = True, older_than_seconds: float = 0) -> int:
        """Delete images neither pinned nor in `in_use` (image ids) and what only they need; returns bytes freed."""
        ...


class NamespaceMode(StrEnum):
    POD = "pod"  # the sandbox's own
    CONTAINER = "container"  # private to each container (pid's default)
    NODE = "node"  # the host's


class SandboxSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A pod's shared surroundings."""

    id: str  # unique per incarnation: pod uid, plus attempt when rebuilt
    name: str  # for messages: namespace/name
    uid: str
    hostname: str
    network: NamespaceMode = NamespaceMode.POD
    pid: NamespaceMode = NamespaceMode.CONTAINER  # POD: shareProcessNamespace, adds a static pause process
    ipc: NamespaceMode = NamespaceMode.POD
    sysctls: Mapping[str, str] = {}
    cgroup_parent: str = ""  # path below the hierarchy root, e.g. edgekube/burstable/pod<uid>
    resources: "Resources | None" = None  # the pod cgroup's own limits
    shm_size_bytes: int = 64 * 1024 * 1024
    labels: Mapping[str, str] = {}  # stored and given back by recover()


class Sandbox(msgspec.Struct, frozen=True):
    spec: SandboxSpec
    created_at: str  # RFC 3339
    netns_path: str  # "" on the host network
    ready: bool  # pins are valid, pause (if any) lives


class Mount(msgspec.Struct, frozen=True):
    """A bind mount from `source` (host path) or, with `type`, a fresh file system."""

    target: str
    source: str = ""
    type: str = "bind"  # bind, tmpfs
    readonly: bool = False
    propagation: str = "private"  # private, rslave, rshared
    options: tuple[str, ...] = ()


class Resources(msgspec.Struct, frozen=True, kw_only=True):
    """cgroup limits; None means unlimited/unset. CPU in cgroup v1 units, converted on v2 as runc does."""

    cpu_shares: int | None = None
    cpu_quota_us: int | None = None
    cpu_period_us: int = 100_000
    memory_limit_bytes: int | None = None
    memory_request_bytes: int | None = None
    pids_limit: int | None = None
    cpuset_cpus: str = ""
    unified: Mapping[str, str] = {}


class Security(msgspec.Struct, frozen=True, kw_only=True):
    """Who the container runs as and what it may do; defaults are containerd's."""

    uid: int | None = None  # None: the image's USER
    gid: int | None = None
    username: str = ""  # image USER that is a name: resolved against the root file system's passwd
    supplementary_gids: tuple[int, ...] = ()
    strict_groups: bool = False  # no groups out of the image's group file (supplementalGroupsPolicy Strict)
    run_as_non_root: bool = False  # refuse uid 0 once it is known
    privileged: bool = False
    readonly_rootfs: bool = False
    no_new_privileges: bool = False
    add_capabilities: tuple[str, ...] = ()
    drop_capabilities: tuple[str, ...] = ()
    seccomp: str = "default"  # default, unconfined, or the path of a profile
    apparmor: str = ""
    proc_mount_unmasked: bool = False


class Device(msgspec.Struct, frozen=True):
    host_path: str
    container_path: str
    permissions: str = "rwm"


class ContainerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One container of a sandbox; `id` is unique per start."""

    id: str
    name: str
    sandbox_id: str
    attempt: int
    image_id: str
    args: tuple[str, ...]  # already merged with the image's entrypoint and cmd
    env: tuple[str, ...]  # KEY=value, already merged with the image's
    cwd: str = "/"
    mounts: tuple[Mount, ...] = ()
    devices: tuple[Device, ...] = ()
    resources: Resources = Resources()
    oom_score_adj: int = 0
    security: Security = Security()
    tty: bool = False
    stdin: bool = False
    stdin_once: bool = False
    log_path: str  # CRI-format log file; rotated copies get a timestamp suffix
    log_size_bytes_max: int = 10 * 1024 * 1024
    log_files_max: int = 5
    stop_signal: str = "SIGTERM"
    pid_of: str = ""  # id of a running container of the sandbox whose process namespace it joins (kubectl debug)
    labels: Mapping[str, str] = {}


class ContainerState(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"
    UNKNOWN = "unknown"


class ContainerStatus(msgspec.Struct, frozen=True, kw_only=True):
    spec: ContainerSpec
    state: ContainerState
    created_at: str
    started_at: str = ""
    finished_at: str = ""
    exit_code: int = 0
    signal: int = 0
    reason: str = ""  # Completed, Error, OOMKilled, ContainerCannotRun, StartError...
    message: str = ""
    pid: int = 0


class ContainerStats(msgspec.Struct, frozen=True, kw_only=True):
    cpu_usage_ns: int
    memory_usage_bytes: int
    memory_working_set_bytes: int
    memory_rss_bytes: int
    pids: int = 0
    rootfs_bytes: int = 0


class ExecResult(msgspec.Struct, frozen=True):
    """Of a synchronous exec (probes, hooks). Output is truncated to a named limit."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    timed_out: bool = False


class ExecSession(Protocol):
    """An interactive exec or attach, closed by leaving its context; `wait` gives the exit code."""

    stdin: trio.abc.SendStream | None
    stdout: trio.abc.ReceiveStream | None
    stderr: trio.abc.ReceiveStream | None

    async def resize(self, width: int, height: int) -> None: ...

    async def wait(self) -> int: ...


class ContainerRuntime(Protocol):
    """Sandboxes and containers of this node. Ids are the caller's. All calls are idempotent where it makes sense."""

    @property
    def images(self) -> ImageService: ...

    async def recover(self) -> None:
        """Find what an earlier process left: adopt the living, record the dead. Call once, before all else."""
        ...

    def sandboxes(self) -> Sequence[Sandbox]: ...

    def containers(self, sandbox_id: str | None = None) -> Sequence[ContainerStatus]: ...

    def status(self, container_id: str) -> ContainerStatus | None: ...

    async def create_sandbox(self, spec: SandboxSpec) -> Sandbox:
        """Pin the namespaces, make the pod cgroup. The caller attaches the network to `netns_path` afterwards."""
        ...

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """Kill and remove its containers, unpin, remove cgroups and state. The caller detaches the network first."""
        ...

    async def start_container(self, spec: ContainerSpec) -> ContainerStatus:
        """Snapshot, bundle, shim, runc create and start.

        Raises RuntimeFailure (CreateContainerError, RunContainerError, CreateContainerConfigError) with runc's own
        words, everything cleaned up.
        """
        ...

    async def stop_container(self, container_id: str, grace_seconds: float) -> None:
        """Stop signal, wait, SIGKILL; returns when it has exited."""
        ...

    async def remove_container(self, container_id: str) -> None:
        """Of an exited container: snapshot, bundle, runc state. Its log stays."""
        ...

    async def wait_exit(self, container_id: str) -> ContainerStatus:
        """Wait for its end."""
        ...

    async def update_resources(self, container_id: str, resources: Resources) -> None: ...

    async def update_sandbox(self, sandbox_id: str, resources: Resources) -> None:
        """The pod cgroup's own limits; -1 lifts one, None leaves it."""
        ...

    async def exec_sync(self, container_id: str, command: Sequence[str], *, timeout_seconds: float) -> ExecResult: ...

    def exec(
        self,
        container_id: str,
        command: Sequence[str],
        *,
        tty: bool,
        stdin: bool,
        stdout: bool = True,
        stderr: bool = True,
    ) -> AbstractAsyncContextManager[ExecSession]: ...

    def attach(self, container_id: str, *, stdin: bool) -> AbstractAsyncContextManager[ExecSession]: ...

    async def connect(self, sandbox_id: str, port: int) -> trio.abc.HalfCloseableStream:
        """A TCP connection to localhost:`port` inside the sandbox's network namespace (port-forward, probes)."""
        ...

    async def reopen_log(self, container_id: str) -> None: ...

    def stats(self, container_id: str) -> ContainerStats | None: ...

    def sandbox_stats(self, sandbox_id: str) -> ContainerStats | None: ...

    def info(self) -> Mapping[str, Any]:
        """For NodeInfo: name, version, runc, kernel, os image, architecture, cgroup version."""
        ...
