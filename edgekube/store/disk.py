"""The durable state under the overlay: one LMDB file that holds the latest value of each key and how far it has come.

A commit writes a batch of keys together with the `Position` they make up, in one synced transaction, in a thread. Reads
are short transactions that never outlive the call. LMDB's lock file lies in the run folder, because it is written on
reads; LMDB itself sees a folder there with a link to the data file.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from struct import Struct
from typing import Any, Final, Protocol

import lmdb
import msgspec
import trio

from edgekube.raft.messages import ConfState
from edgekube.store.api import KeyValue, ReadOnly, StoreError
from edgekube.store.state import Base, Position
from edgekube.types.unreadable import UNREADABLE

DATABASE_SIZE_BYTES_MAX: Final = 512 * 1024 * 1024
_MAP_FACTOR: Final = 1.25  # room above the limit for copy-on-write and for deleting while over it
_STEP_BYTES: Final = 4 * 1024 * 1024  # the file grows by so much, or an eighth, ahead of need
_PAGE_BYTES: Final = 4096

FORMAT: Final = 1
_META_KEY: Final = b"\x00edgekube"
_FIRST_KEY: Final = b"\x01"
_INCOMING: Final = "incoming.mdb"

_head: Final = Struct("<QQI")
_pack_head = _head.pack
_unpack_head = _head.unpack_from
_HEAD_BYTES: Final = _head.size


class StoreCorrupt(StoreError):
    """The files of the store are damaged, from another store, or from a newer version. Nothing was changed."""


class StoreFailed(StoreError):
    """Writing the store's files failed; the node must be restarted once the disk is well."""


class Meta(msgspec.Struct, frozen=True, gc=False):
    """What the database knows about itself. `log_position` is how far the log was synced at the last commit.

    `conf_state` and `addresses` are the membership as of `position`, and where its members are found. `installed` is
    (index, term) of the snapshot the database began as: a log that ends before it has to be restored there.
    """

    position: Position
    cluster_id: str
    identity: bytes
    log_position: int = 0
    format: int = FORMAT
    conf_state: ConfState = ConfState()
    addresses: dict[int, bytes] = {}
    installed: tuple[int, int] = (0, 0)


Rows = Sequence[tuple[bytes, KeyValue | None]]


class IncomingState(Protocol):
    """A state that is being received, beside the present one."""

    async def add(self, rows: Rows) -> None:
        """Store more of it."""
        ...

    def discard(self) -> None:
        """Give it up; may be called again, and after it was installed."""
        ...


class StateDisk(Base, Protocol):
    """The durable state of a member: `Disk`, or something in memory that behaves like it."""

    meta: Meta

    @property
    def used_bytes(self) -> int:
        """See `Disk.used_bytes`."""
        ...

    async def commit(self, changes: Rows, meta: Meta) -> None:
        """See `Disk.commit`."""
        ...

    def receive(self) -> IncomingState:
        """See `Disk.receive`."""
        ...

    async def install(self, incoming: IncomingState, meta: Meta, switched: Callable[[], None]) -> None:
        """See `Disk.install`."""
        ...

    def close(self) -> None:
        """See `Disk.close`."""
        ...


class Disk:
    """The LMDB file. Implements `state.Base`."""

    def __init__(
        self,
        data_dir: Path,
        run_dir: Path,
        *,
        size_bytes_max: int = DATABASE_SIZE_BYTES_MAX,
        first: Meta | None = None,
    ) -> None:
        """Open `data_dir/state.mdb`, or create it with `first` as its meta data.

        Blocks. Raises StoreCorrupt, ReadOnly (no space), OSError.
        """
        self._path = data_dir / "state.mdb"
        self._size_bytes_max = size_bytes_max
        self._limiter = trio.CapacityLimiter(1)
        data_dir.mkdir(parents=True, exist_ok=True)
        self._lock = lock_folder(data_dir)
        try:
            if not self._path.exists():
                self._create(first or Meta(Position(), os.urandom(16).hex(), os.urandom(16)))
            (data_dir / _INCOMING).unlink(missing_ok=True)
            self._folders = (run_dir / "store", run_dir / "store.2")
            self._env = self._opened()
        except lmdb.Error as error:
            os.close(self._lock)
            raise StoreCorrupt(
                f"the database {self._path} cannot be opened ({error}); restore the node from a backup"
            ) from error
        except BaseException:
            os.close(self._lock)
            raise
        try:
            self._size = self._path.stat().st_size
            self.meta = self._load()
        except BaseException:
            self.close()
            raise

    def _opened(self) -> lmdb.Environment:
        """Open the file through the first of the two run folders; after that it is the other one's turn."""
        folder, other = self._folders
        self._folders = (other, folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("data.mdb", "lock.mdb"):
            with contextlib.suppress(FileNotFoundError):
                (folder / name).unlink()
        (folder / "data.mdb").symlink_to(self._path.absolute())
        return lmdb.open(
            str(folder),
            map_size=_map_size(self._size_bytes_max, self._path),
            max_readers=8,
            max_spare_txns=2,
            readahead=False,
            mode=0o600,
        )

    def _create(self, meta: Meta) -> None:
        try:
            create_database(self._path, self._size_bytes_max, meta)
        except (OSError, lmdb.DiskError) as error:
            if _is_full(error):
                raise ReadOnly(f"no space to create {self._path}: free some and restart the node") from error
            raise StoreFailed(f"{self._path} could not be created: {error}") from error

    def _load(self) -> Meta:
        try:
            with self._env.begin() as txn:
                data = txn.get(_META_KEY)
            meta = msgspec.msgpack.decode(data or b"", type=Meta)
        except (lmdb.Error, *UNREADABLE) as error:
            raise self._damaged(error) from error
        if meta.format != FORMAT:
            raise StoreCorrupt(f"{self._path} has format {meta.format}, this version reads {FORMAT}: upgrade EdgeKube")
        return meta

    def _damaged(self, error: Exception) -> StoreCorrupt:
        return StoreCorrupt(f"the database {self._path} is damaged ({error}); restore from a backup")

    def close(self) -> None:
        """Close the file and let go of the folder's lock."""
        self._env.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    # -- state.Base

    def get(self, key: bytes) -> KeyValue | None:
        """The committed value of a key. Raises StoreCorrupt."""
        try:
            with self._env.begin() as txn:
                data = txn.get(key)
        except lmdb.Error as error:
            raise self._damaged(error) from error
        if data is None:
            return None
        created, modified, version = _unpack_head(data)
        return KeyValue(key, data[_HEAD_BYTES:], created, modified, version)

    def scan(self, start: bytes, end: bytes, limit: int) -> list[KeyValue]:
        """Up to `limit` (0: all) committed keys of [start, end)."""
        found: list[KeyValue] = []
        try:
            with self._env.begin(buffers=True) as txn:
                cursor = txn.cursor()
                if not cursor.set_range(max(start, _FIRST_KEY)):
                    return found
                for raw, data in cursor.iternext():
                    key = bytes(raw)
                    if key >= end:
                        break
                    created, modified, version = _unpack_head(data)
                    found.append(KeyValue(key, bytes(data[_HEAD_BYTES:]), created, modified, version))
                    if len(found) == limit:
                        break
        except lmdb.Error as error:
            raise self._damaged(error) from error
        return found

    def count(self, start: bytes, end: bytes) -> int:
        """How many committed keys [start, end) holds; about 1 us each."""
        count = 0
        try:
            with self._env.begin() as txn:
                cursor = txn.cursor()
                if not cursor.set_range(max(start, _FIRST_KEY)):
                    return 0
                for key in cursor.iternext(values=False):
                    if key >= end:
                        break
                    count += 1
        except lmdb.Error as error:
            raise self._damaged(error) from error
        return count

    # -- committing

    @property
    def used_bytes(self) -> int:
        """Bytes of pages in use."""
        with self._env.begin() as txn:
            stat = txn.stat(db=self._env.open_db(None, txn=txn))
        pages: int = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return pages * _PAGE_BYTES

    @property
    def size_bytes_max(self) -> int:
        """The limit the database is kept under."""
        return self._size_bytes_max

    async def commit(self, changes: Sequence[tuple[bytes, KeyValue | None]], meta: Meta) -> None:
        """Write changes (None: delete) and `meta` durably, in a thread; not cancellable once begun.

        Raises ReadOnly when there is no space (nothing was changed), StoreFailed when the disk fails.
        """
        await trio.lowlevel.checkpoint()  # the caller has gathered, this packs: two slices of the loop instead of one
        items = [(key, None if kv is None else _packed(kv)) for key, kv in changes]
        await trio.to_thread.run_sync(self._write, items, meta, limiter=self._limiter)
        self.meta = meta

    def _write(self, items: Sequence[tuple[bytes, bytes | None]], meta: Meta) -> None:
        try:
            self._grow(sum(len(key) + len(data or b"") for key, data in items) * 2 + 256 * 1024)
            with self._env.begin(write=True) as txn:
                _put(txn, items, meta)
        except lmdb.MapFullError as error:
            raise ReadOnly(
                f"the database {self._path} is full ({self._size_bytes_max} bytes): delete objects or raise the limit"
            ) from error
        except (lmdb.Error, OSError) as error:
            if _is_full(error):
                raise ReadOnly(f"no space to grow {self._path}: free some and restart the node") from error
            raise StoreFailed(f"the database {self._path} could not be written ({error}); restart the node") from error

    # -- a whole state from elsewhere

    def receive(self) -> "IncomingDatabase":
        """Begin another database beside this one, for `install`. There is one at a time."""
        return IncomingDatabase(self._path.with_name(_INCOMING), self._size_bytes_max)

    async def install(self, incoming: IncomingState, meta: Meta, switched: Callable[[], None]) -> None:
        """Put a received database in this one's place, durably; `switched` is called at the moment reads see it.

        A crash leaves the one or the other. Raises StoreFailed.
        """
        assert isinstance(incoming, IncomingDatabase)
        with trio.CancelScope(shield=True):
            try:
                await trio.to_thread.run_sync(incoming.finish, meta, self._path, limiter=self._limiter)
            except (lmdb.Error, OSError) as error:
                raise StoreFailed(f"the received state could not be stored in {self._path}: {error}") from error
            old, self._env = self._env, self._opened()
            old.close()
            self.meta = meta
            self._size = self._path.stat().st_size
            switched()

    def _grow(self, needed: int) -> None:
        """Give the file blocks ahead of need: a commit that grows it pays for metadata, and can meet a full disk."""
        want = (self._env.info()["last_pgno"] + 1) * _PAGE_BYTES + needed
        if want <= self._size:
            return
        want = -(-max(want, self._size + self._size // 8) // _STEP_BYTES) * _STEP_BYTES
        fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.posix_fallocate(fd, 0, want)
            os.fsync(fd)
        finally:
            os.close(fd)
        self._size = want


class IncomingDatabase:
    """A database that is being received. Not durable before `finish`."""

    def __init__(self, path: Path, size_bytes_max: int) -> None:
        self._path = path
        self._limiter = trio.CapacityLimiter(1)
        path.unlink(missing_ok=True)
        size = _map_size(size_bytes_max, path)
        self._env: lmdb.Environment | None = lmdb.open(
            str(path), subdir=False, lock=False, map_size=size, mode=0o600, sync=False
        )

    async def add(self, rows: Rows) -> None:
        """Store more keys. Raises ReadOnly when there is no space."""
        items = [(key, None if kv is None else _packed(kv)) for key, kv in rows]
        try:
            await trio.to_thread.run_sync(self._add, items, limiter=self._limiter)
        except (lmdb.Error, OSError) as error:
            raise ReadOnly(f"the state from the leader could not be stored in {self._path}: {error}") from error

    def _add(self, items: Sequence[tuple[bytes, bytes | None]]) -> None:
        assert self._env is not None, "it was given up"
        with self._env.begin(write=True) as txn:
            _put(txn, items, None)

    def finish(self, meta: Meta, target: Path) -> None:
        """Make it durable under the name `target`. Blocks. Raises OSError, lmdb.Error."""
        assert self._env is not None, "it was given up"
        with self._env.begin(write=True) as txn:
            _put(txn, (), meta)
        self._env.sync(True)
        self._env.close()
        self._env = None
        _preallocate(self._path)
        self._path.rename(target)
        sync_folder(target.parent)

    def discard(self) -> None:
        """Give it up; nothing happens when it was installed."""
        if self._env is not None:
            self._env.close()
            self._env = None
            self._path.unlink(missing_ok=True)


def create_database(
    path: Path, size_bytes_max: int, meta: Meta, batches: Iterable[Sequence[tuple[bytes, KeyValue | None]]] = ()
) -> None:
    """Make a database with `meta` and the given keys; under its name there is never half of one. Blocks.

    Raises OSError, lmdb.Error.
    """
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)
    size = _map_size(size_bytes_max, path)
    env = lmdb.open(str(temporary), subdir=False, lock=False, map_size=size, mode=0o600, sync=False)
    try:
        for batch in batches:
            with env.begin(write=True) as txn:
                _put(txn, [(key, None if kv is None else _packed(kv)) for key, kv in batch], None)
        with env.begin(write=True) as txn:
            _put(txn, (), meta)
        env.sync(True)
    finally:
        env.close()
    _preallocate(temporary)
    temporary.rename(path)
    sync_folder(path.parent)


def _preallocate(path: Path) -> None:
    """Give a finished database blocks ahead of need, and sync it."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        used = os.fstat(fd).st_size
        os.posix_fallocate(fd, 0, -(-used // _STEP_BYTES) * _STEP_BYTES)
        os.fsync(fd)
    finally:
        os.close(fd)


def _put(txn: Any, items: Sequence[tuple[bytes, bytes | None]], meta: Meta | None) -> None:
    for key, data in items:
        if data is None:
            txn.delete(key)
    txn.cursor().putmulti([(key, data) for key, data in items if data is not None])
    if meta is not None:
        txn.put(_META_KEY, msgspec.msgpack.encode(meta))


def lock_folder(path: Path) -> int:
    """Lock a folder against a second process without writing to it; returns the fd that holds the lock.

    Raises StoreError when another process has it.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        raise StoreError(f"{path} is in use by another process: stop that node first") from error
    return fd


def _is_full(error: Exception) -> bool:
    number = error.errno if isinstance(error, OSError) else getattr(error, "code", 0)
    return number in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in str(error)


def _packed(kv: KeyValue) -> bytes:
    return _pack_head(kv.create_revision, kv.mod_revision, kv.version) + kv.value


def _map_size(size_bytes_max: int, path: Path) -> int:
    size = int(size_bytes_max * _MAP_FACTOR) + _STEP_BYTES
    if path.exists():
        size = max(size, path.stat().st_size)
    return -(-size // _PAGE_BYTES) * _PAGE_BYTES


def sync_folder(path: Path) -> None:
    """fsync a folder, so that the names in it are durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
