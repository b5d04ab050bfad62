"""The contracts through which roles meet: Client for API objects, NodeApi for the streams of a node.

The in-process Client belongs to `apiserver/`, the in-process NodeApi to `kubelet/`; `node.py` hands them out. Both skip
HTTP and nothing else. Errors are `edgekube.types.status.ApiError`.

Objects are frozen values shared with every other reader of the process. A change is a new patch, never a mutation.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar

import msgspec
import trio

from edgekube.types.meta_v1 import ObjectMeta, OwnerReference


class KubeObject(Protocol):
    """Any API kind: a msgspec Struct with these three."""

    @property
    def apiVersion(self) -> str: ...  # noqa: N802
    @property
    def kind(self) -> str: ...
    @property
    def metadata(self) -> ObjectMeta: ...


T = TypeVar("T", bound=KubeObject)

Key = tuple[str, str]  # (namespace, name); namespace is "" for cluster-scoped kinds


class PatchType(StrEnum):
    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"


class Change(msgspec.Struct, Generic[T], frozen=True, gc=False):
    """One step of an object: `old` is None for an addition, `new` is None for a deletion (then `old` is the last)."""

    old: T | None
    new: T | None

    @property
    def obj(self) -> T:
        """The object as it is, or as it last was."""
        obj = self.new if self.new is not None else self.old
        assert obj is not None
        return obj


class ObjectList(msgspec.Struct, Generic[T], frozen=True):
    items: tuple[T, ...]
    resourceVersion: str
    continue_: str = ""
    remaining: int | None = None


class Informer(Protocol[T]):
    """A live, ordered, read-only view of all objects of one kind: the API server's watch cache, decoded once.

    Reads are synchronous dict lookups. `get`, `list` and indexes show a write as soon as the call of the in-process
    Client that made it returns.
    """

    def get(self, namespace: str, name: str) -> T | None: ...

    def list(self, namespace: str | None = None) -> Sequence[T]:
        """All objects, or those of one namespace; a fresh list in no particular order."""
        ...

    def add_index(self, name: str, keys_of: Callable[[T], Iterable[str]]) -> None:
        """Declare an index once, before or after the sync; declaring the same name again is a no-op."""
        ...

    def by_index(self, name: str, key: str) -> Sequence[T]: ...

    def subscribe(self, handler: Callable[[Change[T]], None]) -> Callable[[], None]:
        """Call `handler` synchronously for what exists (as additions) and every later change; returns unsubscribe.

        A handler must be quick and must not raise: it enqueues keys.
        """
        ...

    async def wait_synced(self) -> None:
        """Wait until the first full list is in."""
        ...


class OwnershipMeta(msgspec.Struct, frozen=True, gc=False):
    """The part of ObjectMeta that says who owns an object and whether it is on its way out."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resourceVersion: str = ""
    deletionTimestamp: str = ""
    ownerReferences: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()


class PartialObject(msgspec.Struct, frozen=True, gc=False):
    """Any object of any kind, seen only by its ownership: what garbage collection and namespaces need of all kinds."""

    apiVersion: str = ""
    kind: str = ""
    metadata: OwnershipMeta = OwnershipMeta()


class PartialInformer(Protocol):
    """A live view of one resource by ownership alone: no class of the kind is loaded, nothing else is decoded."""

    def get(self, namespace: str, name: str) -> PartialObject | None: ...

    def list(self, namespace: str | None = None) -> Sequence[PartialObject]: ...

    def subscribe(self, handler: Callable[[Change[Any]], None]) -> Callable[[], None]: ...

    async def wait_synced(self) -> None: ...


class Client(Protocol):
    """Access to the API as one identity. Scalars as in kubectl; `namespace` is "" for cluster-scoped kinds.

    Raises ApiError with the Status the API server would send over HTTP.
    """

    @property
    def user(self) -> str: ...

    async def get(self, cls: type[T], name: str, namespace: str = "") -> T: ...

    async def list(
        self,
        cls: type[T],
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_: str = "",
    ) -> ObjectList[T]: ...

    async def create(self, obj: T, *, field_manager: str = "", dry_run: bool = False) -> T: ...

    async def create_sub(self, cls: type[T], name: str, namespace: str, subresource: str, body: Any) -> Any:
        """POST to a subresource: binding, eviction, token. `body` and the answer are Structs."""
        ...

    async def update(self, obj: T, *, subresource: str = "", field_manager: str = "") -> T:
        """Replace; metadata.resourceVersion, when set, must match (else ApiError Conflict)."""
        ...

    async def patch(
        self,
        cls: type[T],
        name: str,
        namespace: str = "",
        *,
        patch: Mapping[str, Any] | Sequence[Any],
        type: PatchType = PatchType.MERGE,
        subresource: str = "",
        field_manager: str = "",
        force: bool = False,
    ) -> T:
        """Patch; put resourceVersion into the patch's metadata to make it conditional."""
        ...

    async def delete(
        self,
        cls: type[T],
        name: str,
        namespace: str = "",
        *,
        grace_period_seconds: int | None = None,
        propagation_policy: str | None = None,
        uid: str = "",
        resource_version: str = "",
    ) -> None: ...

    def partial(self, group: str, version: str, plural: str) -> PartialInformer:
        """The shared view of a resource by ownership; for every resource, whether or not its kind is known here."""
        ...

    def informer(self, cls: type[T]) -> Informer[T]:
        """The shared view of a kind; the same object for every caller. Starting it is the implementation's affair."""
        ...


class ExitStatus(msgspec.Struct, frozen=True):
    """How an exec ended: `code` of the process, or `message` when it could not be run at all."""

    code: int
    message: str = ""


class TerminalSize(msgspec.Struct, frozen=True):
    width: int
    height: int


class Streams(Protocol):
    """The caller's side of exec and attach. EOF is b""; `resizes` ends with the session."""

    stdin: trio.abc.ReceiveStream | None
    stdout: trio.abc.SendStream | None
    stderr: trio.abc.SendStream | None
    resizes: trio.MemoryReceiveChannel[TerminalSize] | None


class LogOptions(msgspec.Struct, frozen=True):
    """PodLogOptions, decoded. Times are RFC 3339; bytes and lines are counts."""

    container: str = ""
    follow: bool = False
    previous: bool = False
    since_seconds: int | None = None
    since_time: str = ""
    timestamps: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    stream: str = "All"


class NodeApi(Protocol):
    """The streams of one node's kubelet (its role on port 10250). Raises ApiError."""

    def logs(self, namespace: str, pod: str, options: LogOptions) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Chunks of log text, ready to be sent as they are."""
        ...

    async def exec(
        self, namespace: str, pod: str, container: str, command: Sequence[str], *, tty: bool, streams: Streams
    ) -> ExitStatus: ...

    async def attach(self, namespace: str, pod: str, container: str, *, tty: bool, streams: Streams) -> None:
        """Returns when the container has ended or the caller is gone; how it ended is the pod's status to tell."""
        ...

    def port_forward(
        self, namespace: str, pod: str, port: int
    ) -> AbstractAsyncContextManager[trio.abc.HalfCloseableStream]:
        """A byte stream connected to 127.0.0.1:`port` inside the pod's network namespace."""
        ...

    async def stats(self) -> Mapping[str, Any]:
        """CPU, memory and ephemeral storage of the node and its pods (kubelet's /stats/summary shape)."""
        ...
