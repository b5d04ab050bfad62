"""The image service: what `ImageService` promises, made of the store, the helper process and the registry client."""

import os
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from logging import getLogger
from typing import TYPE_CHECKING

import msgspec
import trio

from edgekube.runtime.api import Credentials, Image, ImageFailure, PullProgress
from edgekube.runtime.images import archive, manifest, reference
from edgekube.runtime.images.beneath import walk_beneath
from edgekube.runtime.images.hosts import RegistryConfig
from edgekube.runtime.images.store import ContentStore
from edgekube.runtime.images.worker import DEFAULT_ARGV, Helper, helper

if TYPE_CHECKING:
    from edgekube.runtime.images.registry import Registry

log = getLogger(__name__)

IMPORTS_AT_ONCE_MAX = 1
MANIFESTS_DEEP_MAX = 4


class LayerSource(msgspec.Struct, frozen=True):
    """Where a layer's bytes are, in the helper's words: `images/ingest/...`, `archive`, or a file of that folder."""

    path: str
    offset: int = 0
    length: int | None = None
    digest: str = ""


Fetch = Callable[[int], Awaitable[LayerSource]]


class _Pull(msgspec.Struct):
    done: dict[int, int]  # layer -> bytes here
    total: int


class _Flight:
    """A pull that later callers for the same thing wait for."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.image: Image | None = None
        self.failure: ImageFailure | None = None


def _only_failure(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What made a nursery fail: the first failure, which cancelled the rest; cancellation itself when it is all."""
    leaves: list[BaseException] = []
    pending: list[BaseException] = [group]
    while pending:
        each = pending.pop()
        if isinstance(each, BaseExceptionGroup):
            pending.extend(reversed(each.exceptions))
        else:
            leaves.append(each)
    for kind in (ImageFailure, OSError):
        for leaf in leaves:
            if isinstance(leaf, kind):
                return leaf
    return leaves[0] if len(leaves) == 1 else group


class Images:
    """`ImageService` over `data_dir`. Call `open` once before anything else, `close` at the end.

    `helper_argv` starts a helper process (helper.py). `in_use` gives the ids of the images that containers use now:
    their layers are never deleted, whatever is asked.
    """

    def __init__(
        self,
        data_dir: str,
        *,
        helper_argv: Sequence[str] = DEFAULT_ARGV,
        registries: RegistryConfig = RegistryConfig(),
        platform: manifest.Platform | None = None,
        in_use: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self._store = ContentStore(data_dir)
        self._argv = tuple(helper_argv)
        self._platform = platform or manifest.this_platform()
        self._in_use = in_use
        self._locks: dict[str, tuple[trio.Lock, int]] = {}
        self._registries = registries
        self._pulls: dict[str, _Pull] = {}
        self._flights: dict[tuple[str, tuple[Credentials, ...]], _Flight] = {}
        self._imports = trio.CapacityLimiter(IMPORTS_AT_ONCE_MAX)
        self._import_number = 0

    async def open(self) -> None:
        """Read the index and clear what a killed process left. Raises RuntimeFailure when the folder is taken."""
        self._registries.check()
        self._store.open()
        await self._delete(self._store.leftovers(), exclusive=True)

    def close(self) -> None:
        self._store.close()

    # -- reading ---------------------------------------------------------------------------------------------------

    def get(self, reference_: str) -> Image | None:
        """By name, digest reference or image id; None when absent. Raises ImageFailure for a malformed name."""
        found = self._store.find(_key(reference_))
        return self._store.image(found) if found is not None else None

    def list(self) -> Sequence[Image]:
        return [image for found in self._store.images() if (image := self._store.image(found)) is not None]

    def layer_paths(self, image_id: str) -> tuple[str, ...]:
        """Absolute paths of an image's unpacked layers, bottom first. Raises ImageFailure when it is not here."""
        image = self._store.image(image_id)
        if image is None:
            raise ImageFailure("ErrImageNeverPull", f"image {image_id} is not on this node")
        return tuple(self._store.layer_path(chain) for chain in image.layers)

    # -- pulling ---------------------------------------------------------------------------------------------------

    def progress(self) -> Sequence[PullProgress]:
        """Pulls under way."""
        return [PullProgress(name, sum(each.done.values()), each.total) for name, each in self._pulls.items()]

    async def pull(self, reference_: str, credentials: Sequence[Credentials] = ()) -> Image:
        """Make `reference_` present, fetching only what is missing; an unchanged image costs one request, no write.

        Calls for one reference run one after the other; those that waited get the result of the first if they bring
        the same credentials. Raises ImageFailure in containerd's words.
        """
        wanted = reference.parse(reference_)
        name = str(wanted)
        credentials = (*credentials, *self._registries.credentials)
        flight = self._flights.get((name, tuple(credentials)))
        if flight is not None:
            await flight.done.wait()
            if flight.image is not None:
                return flight.image
            if flight.failure is not None:
                raise ImageFailure(flight.failure.reason, str(flight.failure))
        flight = self._flights[(name, tuple(credentials))] = _Flight()
        try:
            async with self._alone(f"image {name}"):
                flight.image = await self._pull_worded(wanted, credentials)
                return flight.image
        except ImageFailure as failure:
            flight.failure = failure
            raise
        finally:
            if self._flights.get((name, tuple(credentials))) is flight:
                del self._flights[(name, tuple(credentials))]
            flight.done.set()

    async def _pull_worded(self, wanted: reference.Reference, credentials: Sequence[Credentials]) -> Image:
        try:
            return await self._pull(wanted, credentials)
        except ImageFailure as failure:
            raise ImageFailure(failure.reason, f'failed to pull and unpack image "{wanted}": {failure}') from None
        except OSError as error:
            words = (error.strerror or str(error)).lower()
            raise ImageFailure("ErrImagePull", f'failed to pull and unpack image "{wanted}": {words}') from error

    async def _pull(self, wanted: reference.Reference, credentials: Sequence[Credentials]) -> Image:
        # Imported here: TLS and the HTTP parser stay out of a node that never pulls.
        from edgekube.runtime.images.registry import Registry
        from edgekube.runtime.images.web import WebClient

        client = WebClient()
        try:
            registry = Registry(client, self._registries, wanted, credentials)
            blobs: dict[str, bytes] = {}
            try:
                top, found = await self._resolve(registry, wanted, blobs)
            except ImageFailure as failure:
                raise ImageFailure(failure.reason, f'failed to resolve reference "{wanted}": {failure}') from None
            raw = self._kept_blob(found.config.digest)
            if raw is None:
                raw = await registry.small_blob(found.config, manifest.CONFIG_BYTES_MAX)
            blobs[found.config.digest] = raw
            config = manifest.parse_config(raw)
            manifest.check_platform(config, self._platform)
            manifest.check_layers(found, config)
            names = {*wanted.names, f"{wanted.repository}@{top}"}
            return await self._fetch_layers(registry, wanted, top, found, config, names, blobs)
        finally:
            with trio.CancelScope(shield=True):
                await client.aclose()

    async def _resolve(
        self, registry: "Registry", wanted: reference.Reference, blobs: dict[str, bytes]
    ) -> tuple[str, manifest.Manifest]:
        """The digest that the reference names (an index's, perhaps) and the manifest for this machine."""
        name, media, top = wanted.digest or wanted.tag, "", ""
        for _ in range(MANIFESTS_DEEP_MAX):
            data = self._kept_blob(name) if ":" in name else None
            digest = name
            if data is None:
                digest, media, data = await registry.resolve(name)
            top = top or digest
            blobs[digest] = data
            parsed = manifest.parse_manifest(data, media)
            if isinstance(parsed, manifest.Manifest):
                return top, parsed
            chosen = manifest.choose(parsed, self._platform)
            name, media = chosen.digest, chosen.mediaType
        raise ImageFailure("ErrImagePull", f"indexes are nested deeper than {MANIFESTS_DEEP_MAX}")

    def _kept_blob(self, digest: str) -> bytes | None:
        data = self._store.read_blob(digest)
        return data if data is not None and manifest.digest_of(data) == digest else None

    async def _fetch_layers(
        self,
        registry: "Registry",
        wanted: reference.Reference,
        top: str,
        found: manifest.Manifest,
        config: manifest.Config,
        names: Collection[str],
        blobs: Mapping[str, bytes],
    ) -> Image:
        """Download several layers at once, unpack them in order as they arrive."""
        chains = manifest.chain_ids(config.diff_ids)
        missing = [index for index, chain in enumerate(chains) if not self._store.has_layer(chain)]
        self._store.check_space(sum(found.layers[index].size for index in missing))
        pull = self._pulls[str(wanted)] = _Pull({}, sum(found.layers[index].size for index in missing))
        arrived = {index: trio.Event() for index in missing}
        limit = trio.CapacityLimiter(max(1, self._registries.layers_at_once))

        async def download(index: int) -> None:
            layer = found.layers[index]
            path = self._store.ingest_path(f"{layer.digest.removeprefix('sha256:')}.part")

            def note(done: int) -> None:
                pull.done[index] = done

            async with limit, self._alone(f"blob {layer.digest}"):
                if not self._store.has_layer(chains[index]):
                    await registry.download(layer, path, note)
            arrived[index].set()

        async def fetch(index: int) -> LayerSource:
            if index not in arrived:
                # It was here a moment ago and was collected since.
                raise ImageFailure("ErrImagePull", "a layer was deleted while the image was pulled: try again")
            await arrived[index].wait()
            return LayerSource(f"images/ingest/{found.layers[index].digest.removeprefix('sha256:')}.part")

        try:
            with self._store.hold(chains):
                if not missing:
                    return await self._register(config, chains, top, names, blobs)
                return await self._gather(download, missing, fetch, top, config, names, blobs)
        finally:
            self._pulls.pop(str(wanted), None)

    async def _gather(
        self,
        download: Callable[[int], Awaitable[None]],
        missing: Sequence[int],
        fetch: Fetch,
        top: str,
        config: manifest.Config,
        names: Collection[str],
        blobs: Mapping[str, bytes],
    ) -> Image:
        try:
            async with helper(self._argv, self._store.data_dir) as worker, trio.open_nursery() as nursery:
                for index in missing:
                    nursery.start_soon(download, index)
                return await self._install(worker, top, config, fetch, names, blobs, pinned=False)
        except BaseExceptionGroup as group:
            raise _only_failure(group) from None

    # -- importing -------------------------------------------------------------------------------------------------

    async def import_archive(self, path: str, *, pin: bool = True) -> Sequence[Image]:
        """Import every image of an OCI layout (folder or tar) or a `docker save` tarball that fits this machine.

        Tars may be gzip or zstd compressed. Raises ImageFailure for what is wrong with the archive, OSError when it
        cannot be read.
        """
        path, folder = _inspect(path)
        async with self._imports, helper(self._argv, self._store.data_dir, archive=path) as worker:
            if folder:
                return await self._import_folder(worker, path, pin)
            return await self._import_tar(worker, path, pin)

    async def _import_folder(self, worker: Helper, path: str, pin: bool) -> Sequence[Image]:
        root_fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            found = archive.read_archive(lambda name, size: _read_beneath(root_fd, name, size), self._platform)
        finally:
            os.close(root_fd)

        def where(name: str, digest: str) -> LayerSource:
            return LayerSource(f"archive/{archive.normal_name(name)}", digest=digest)

        return [await self._import_image(worker, each, where, pin) for each in found]

    async def _import_tar(self, worker: Helper, path: str, pin: bool) -> Sequence[Image]:
        self._import_number += 1
        name = f"import-{self._import_number}.tar"
        source = f"images/ingest/{name}"
        try:
            if (await worker.run("inflate", source="archive", target=source))["plain"]:
                source = "archive"
            else:
                path = self._store.ingest_path(name)
            members = archive.members_of((await worker.run("scan", source=source))["members"])
            found = _read_tar(path, members, self._platform)

            def where(layer: str, digest: str) -> LayerSource:
                member = archive.locate(members, layer)
                if member is None:
                    raise ImageFailure("ErrImagePull", f"the archive lacks the layer {layer[:200]!r}")
                return LayerSource(source, member.offset, member.size, digest)

            return [await self._import_image(worker, each, where, pin) for each in found]
        finally:
            if source != "archive":
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(_unlink, self._store.ingest_path(name))

    async def _import_image(
        self, worker: Helper, found: archive.ArchiveImage, where: Callable[[str, str], LayerSource], pin: bool
    ) -> Image:
        async def fetch(index: int) -> LayerSource:
            layer = found.layers[index]
            return where(layer.name, layer.digest)

        names = [name for each in found.references for name in each.names]
        names += [f"{each.repository}@{found.digest}" for each in found.references]
        return await self._install(worker, found.digest, found.config, fetch, names, found.blobs, pinned=pin)

    async def _install(
        self,
        worker: Helper,
        digest: str,
        config: manifest.Config,
        fetch: Fetch,
        names: Collection[str],
        blobs: Mapping[str, bytes],
        *,
        pinned: bool,
    ) -> Image:
        """Unpack the layers that are not here, bottom first, then make the image known. `fetch` finds their bytes."""
        chains = manifest.chain_ids(config.diff_ids)
        with self._store.hold(chains):
            for index, chain in enumerate(chains):
                async with self._alone(f"layer {chain}"):
                    if not self._store.has_layer(chain):
                        await self._unpack(worker, chains[: index + 1], config.diff_ids[index], await fetch(index))
            return await self._register(config, chains, digest, names, blobs, pinned=pinned)

    async def _register(
        self,
        config: manifest.Config,
        chains: tuple[str, ...],
        digest: str,
        names: Collection[str],
        blobs: Mapping[str, bytes],
        *,
        pinned: bool = False,
    ) -> Image:
        return await self._store.add_image(
            config.id,
            digest=digest,
            layers=chains,
            config=config.image,
            references=names,
            blobs=dict(blobs),
            pinned=pinned,
        )

    async def _unpack(self, worker: Helper, chains: Sequence[str], diff_id: str, source: LayerSource) -> None:
        folder = self._store.new_layer()
        try:
            done = await worker.run(
                "unpack",
                source=source.path,
                offset=source.offset,
                length=source.length,
                digest=source.digest,
                target=f"{folder}/fs",
                lowers=[self._store.layer_target(chain) for chain in chains[:-1]],
                diff_id=diff_id,
            )
        except BaseException as error:
            if isinstance(error, ImageFailure) and source.path.endswith(".part"):
                # Its digest was right, its content is not: nothing to resume.
                _unlink(f"{self._store.data_dir}/{source.path}")
            await self._delete([folder])
            raise
        if done["skipped_nodes"]:
            log.warning("image layer device nodes left out layer=%s count=%d", chains[-1], done["skipped_nodes"])
        await self._store.add_layer(chains[-1], folder, done["size_bytes"])
        if source.path.endswith(".part"):
            _unlink(f"{self._store.data_dir}/{source.path}")

    # -- removing --------------------------------------------------------------------------------------------------

    async def remove(self, reference_: str) -> None:
        """Forget a name, or, by image id, all names. The image goes with its last tag, once no container uses it."""
        key = _key(reference_)
        found = self._store.find(key)
        if found is None:
            return
        image = self._store.image(found)
        assert image is not None
        by_name = key in image.tags or key in image.repo_digests
        last = not by_name or not set(image.tags) - {key}
        names = (*image.tags, *image.repo_digests) if last else (key,)
        await self._forget([found] if last and found not in self._in_use() else [], names)

    async def collect(self, *, in_use: Sequence[str], keep_pinned: bool = True, older_than_seconds: float = 0) -> int:
        """Delete images neither pinned nor in use, and layers that nothing needs; returns bytes freed."""
        used = {*in_use, *self._in_use()}
        limit = time.time() - older_than_seconds
        gone = []
        for found in self._store.images():
            record = self._store.record(found)
            # A board without a clock may have stamped the future; then the age is unknown and counts as none.
            young = older_than_seconds > 0 and record.pulled_at > limit
            if found not in used and not young and not (keep_pinned and record.pinned):
                gone.append(found)
        return await self._forget(gone, ())

    async def _forget(self, images: Collection[str], names: Collection[str]) -> int:
        return await self._delete(await self._store.drop(images=images, references=names))

    async def _delete(self, paths: Sequence[str], *, exclusive: bool = False) -> int:
        """The index has forgotten these already: a crash in the middle leaves leftovers, no half image."""
        if not paths:
            return 0
        with trio.CancelScope(shield=True):
            async with helper(self._argv, self._store.data_dir, exclusive=exclusive) as worker:
                freed: int = (await worker.run("remove", paths=paths))["freed_bytes"]
        return freed

    @asynccontextmanager
    async def _alone(self, key: str) -> AsyncIterator[None]:
        """One task at a time for `key`; the lock lives only while somebody wants it.

        Keys name their kind: an uncompressed bottom layer has one digest as blob and as layer.
        """
        lock, users = self._locks.get(key, (trio.Lock(), 0))
        self._locks[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[key]
            if users == 1:
                del self._locks[key]
            else:
                self._locks[key] = (lock, users - 1)


def _key(text: str) -> str:
    """What the store files an image under: an image id, or a normalised name."""
    return reference.image_id(text) or reference.parse(text).names[0]


def _inspect(path: str) -> tuple[str, bool]:
    """The absolute path, and whether it is a folder. Raises OSError, ImageFailure."""
    path = os.path.abspath(path)
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ImageFailure("ErrImagePull", f"{path} is neither a file nor a folder")
    return path, stat.S_ISDIR(mode)


def _read_tar(
    path: str, members: Mapping[str, archive.Member], node: manifest.Platform
) -> tuple[archive.ArchiveImage, ...]:
    with open(path, "rb") as file:
        fd = file.fileno()
        return archive.read_archive(lambda name, size: _read_member(fd, members, name, size), node)


def _read_beneath(root_fd: int, name: str, size_max: int) -> bytes | None:
    try:
        fd = walk_beneath(root_fd, os.fsencode(archive.normal_name(name)), os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(fd, "rb") as file:
        return _limited(file.read(size_max + 1), name, size_max)


def _read_member(fd: int, members: Mapping[str, archive.Member], name: str, size_max: int) -> bytes | None:
    member = archive.locate(members, name)
    if member is None:
        return None
    if member.size > size_max:
        raise ImageFailure("ErrImagePull", f"{name} in the archive has {member.size} bytes, the limit is {size_max}")
    return os.pread(fd, member.size, member.offset)


def _limited(data: bytes, name: str, size_max: int) -> bytes:
    if len(data) > size_max:
        raise ImageFailure("ErrImagePull", f"{name} in the archive is larger than {size_max} bytes")
    return data


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
