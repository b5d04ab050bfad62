"""The whole store in one stream of bytes, and back; with it the small files that a node cannot do without, its keys.

    magic line | chunk... | empty chunk | SHA-256 of everything before

A chunk is a big-endian u32 size and so many bytes of zlib-compressed msgpack; the first holds the header, the others
key-values in key order. It is consistent: all of it is the state at one revision, read page by page through the history
while writes go on.

Restoring makes a new history: the revision jumps far ahead, everything before is compacted and the cluster id changes,
so no client or agent that remembers the abandoned future can mistake the restored store for it.
"""

import os
import re
import shutil
import zlib
from collections.abc import AsyncGenerator, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from struct import Struct
from typing import BinaryIO, Final

import msgspec
import trio

from edgekube.raft.messages import ConfState, HardState
from edgekube.raft.wal import Wal
from edgekube.raft.walformat import SEGMENT_SIZE_BYTES
from edgekube.store.api import KEY_SIZE_BYTES_MAX, VALUE_SIZE_BYTES_MAX, Compacted, KeyValue, Store, StoreError
from edgekube.store.disk import DATABASE_SIZE_BYTES_MAX, Meta, create_database, lock_folder, sync_folder
from edgekube.store.state import Position
from edgekube.types.unreadable import UNREADABLE

REVISION_BUMP: Final = 1_000_000_000
"""More writes than any store makes between a backup and the moment it is needed (a thousand a second for 11 days)."""

_RESTORING: Final = "store.restoring"  # being made: worth nothing
_RESTORED: Final = "store.restored"  # whole, and not in its place yet
_OLD: Final = "store.old"  # what was there before
RESTORE_NAMES: Final = (_RESTORING, _RESTORED, _OLD)
_MAGIC: Final = b"EdgeKube store backup\n"
_FORMAT: Final = 1
_PAGE_COUNT: Final = 200
_CHUNK_SIZE_BYTES_MAX: Final = _PAGE_COUNT * (VALUE_SIZE_BYTES_MAX + KEY_SIZE_BYTES_MAX + 64)
_LAST_KEY: Final = b"\xff" * (KEY_SIZE_BYTES_MAX + 1)
_DIGEST_BYTES: Final = sha256().digest_size
_FILES: Final = "files"  # of a store that waits to take its place: files for the data folder
_FILE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)?")
_size: Final = Struct(">I")


class BackupDamaged(StoreError):
    """The file is not a backup, is cut short, or its digest does not match."""


class Header(msgspec.Struct, frozen=True):
    """What a backup says of itself, and `files`: path in the data folder (at most one folder deep) -> content."""

    format: int
    cluster_id: str
    revision: int
    files: Mapping[str, bytes] = {}


async def stream(store: Store, files: Mapping[str, bytes]) -> AsyncGenerator[bytes, None]:
    """The state as of now, with `files` (see `Header`). What broke off is no backup: its digest is missing.

    Raises StoreError when writes outran the history while it was read (try again).
    """
    header = Header(_FORMAT, store.cluster_id, store.revision, files)
    digest = sha256(_MAGIC)
    yield _MAGIC

    async def chunk(data: bytes) -> bytes:
        packed = await trio.to_thread.run_sync(zlib.compress, data, 1)
        framed = _size.pack(len(packed)) + packed
        digest.update(framed)
        return framed

    yield await chunk(msgspec.msgpack.encode(header))
    start = b"\x01"
    try:
        while page := store.range(start, _LAST_KEY, limit=_PAGE_COUNT, revision=header.revision):
            rows = [(kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version) for kv in page]
            yield await chunk(msgspec.msgpack.encode(rows))
            start = page[-1].key + b"\0"
    except Compacted as error:
        raise StoreError("too many writes while the backup was being made: try again") from error
    digest.update(_size.pack(0))
    yield _size.pack(0) + digest.digest()


def verify(path: Path) -> Header:
    """Check the digest and every chunk; returns the header. Blocks. Raises BackupDamaged, OSError."""
    with path.open("rb") as file:
        _check_digest(file, path)
        chunks = _chunks(file, path)
        header = _header(next(chunks, b""), path)
        for chunk in chunks:
            _rows(chunk, path)
    return header


async def restore(
    path: Path,
    data_dir: Path,
    *,
    member: int = 1,
    replace: bool = False,
    database_size_max: int = DATABASE_SIZE_BYTES_MAX,
    segment_size: int = SEGMENT_SIZE_BYTES,
) -> Header:
    """Make `data_dir/store` from a backup: a new history of one member. Returns the backup's header.

    With `replace` an existing store becomes `store.old`; files of the data folder that the backup has, too, go to
    `store.old/files`. A crash leaves the old or the new store, never neither: a restore that was complete is finished
    by the next open. Raises BackupDamaged, StoreError, OSError.
    """
    header = await trio.to_thread.run_sync(verify, path)
    target = data_dir / "store"
    data_dir.mkdir(parents=True, exist_ok=True)
    if target.exists():
        if not replace:
            raise StoreError(f"{target} holds a store already: move it away, or say that it is to be replaced")
        os.close(lock_folder(target))
    making = data_dir / _RESTORING
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir()
    for name, content in header.files.items():
        place = making / _FILES / name
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        place.write_bytes(content)
        place.chmod(0o600)
        _sync_file(place)
        sync_folder(place.parent)
    revision = header.revision + REVISION_BUMP
    meta = Meta(Position(1, 1, revision), os.urandom(16).hex(), os.urandom(16))

    def build() -> None:
        with path.open("rb") as file:
            _check_digest(file, path)
            chunks = _chunks(file, path)
            _header(next(chunks), path)
            create_database(making / "state.mdb", database_size_max, meta, (_rows(chunk, path) for chunk in chunks))

    await trio.to_thread.run_sync(build)
    wal = Wal(making / "log", identity=meta.identity, segment_size=segment_size)
    try:
        await wal.sync(wal.restore(1, 1, ConfState(voters=(member,)), HardState(1, member, 1)))
    finally:
        wal.close()
    sync_folder(making)
    making.rename(data_dir / _RESTORED)
    sync_folder(data_dir)
    finish_restore(data_dir)
    return header


def finish_restore(data_dir: Path) -> None:
    """Put a complete restored store in its place; nothing to do when there is none."""
    restored, target, old = data_dir / _RESTORED, data_dir / "store", data_dir / _OLD
    if not restored.exists():
        return
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
    for source in sorted((restored / _FILES).rglob("*")):
        if source.is_file():
            _put_file(source, data_dir, old)
    shutil.rmtree(restored / _FILES, ignore_errors=True)
    restored.rename(target)
    sync_folder(data_dir)


def _put_file(source: Path, data_dir: Path, old: Path) -> None:
    """Move one restored file to its place, and what is there now out of the way."""
    name = source.relative_to(data_dir / _RESTORED / _FILES)
    place, kept = data_dir / name, old / _FILES / name
    place.parent.mkdir(exist_ok=True, mode=0o700)
    if place.exists():
        kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        kept.unlink(missing_ok=True)
        os.link(place, kept)
    source.rename(place)
    sync_folder(place.parent)


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _check_digest(file: BinaryIO, path: Path) -> None:
    size = os.fstat(file.fileno()).st_size
    if file.read(len(_MAGIC)) != _MAGIC or size < len(_MAGIC) + _size.size + _DIGEST_BYTES:
        raise BackupDamaged(f"{path} is not a backup of an EdgeKube store")
    digest = sha256(_MAGIC)
    left = size - len(_MAGIC) - _DIGEST_BYTES
    while left and (data := file.read(min(left, 1024 * 1024))):
        digest.update(data)
        left -= len(data)
    if file.read(_DIGEST_BYTES + 1) != digest.digest():
        raise BackupDamaged(f"the backup {path} is damaged: its digest does not match. Use another one")
    file.seek(len(_MAGIC))


def _chunks(file: BinaryIO, path: Path) -> Iterator[bytes]:
    while True:
        head = file.read(_size.size)
        size = _size.unpack(head)[0] if len(head) == _size.size else -1
        if size == 0:
            return
        packed = file.read(size) if 0 < size <= _CHUNK_SIZE_BYTES_MAX else b""
        inflater = zlib.decompressobj()
        try:
            data = inflater.decompress(packed, _CHUNK_SIZE_BYTES_MAX)
        except zlib.error:
            data = b""
        if not data or not inflater.eof:
            raise BackupDamaged(f"the backup {path} holds a chunk that cannot be unpacked")
        yield data


def _header(data: bytes, path: Path) -> Header:
    try:
        header = msgspec.msgpack.decode(data, type=Header)
    except UNREADABLE as error:
        raise BackupDamaged(f"the backup {path} has no readable header") from error
    if header.format != _FORMAT:
        raise BackupDamaged(f"the backup {path} has format {header.format}, this version reads {_FORMAT}")
    for name in header.files:
        if not _FILE_NAME.fullmatch(name) or name.startswith("store"):
            raise BackupDamaged(f"the backup {path} holds a file {name!r}, which no backup holds")
    return header


def _rows(data: bytes, path: Path) -> list[tuple[bytes, KeyValue | None]]:
    try:
        rows = msgspec.msgpack.decode(data, type=list[tuple[bytes, bytes, int, int, int]])
    except UNREADABLE as error:
        raise BackupDamaged(f"the backup {path} holds rows that make no sense ({error})") from error
    return [(key, KeyValue(key, value, created, modified, version)) for key, value, created, modified, version in rows]
