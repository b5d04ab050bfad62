"""What images this node has, on disk: a small index file, unpacked layers, and the blobs pulls work with.

    <data>/images/index.json        the index: images, references, layers. Replaced atomically, the old one kept
    <data>/images/blobs/sha256/HEX  manifests and configs
    <data>/images/ingest/HEX.part   layers on their way in; they survive a kill and are resumed
    <data>/layers/N/fs              an unpacked layer. N is short because overlay mount options are limited

Something exists when the index says so, and the index says so only after it is safely on disk. Whatever else lies
around after a crash is a leftover, and `leftovers` lists it. Compressed layers go once unpacked, and are never synced:
most never reach the flash at all.
"""

import fcntl
import os
import time
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from logging import getLogger

import msgspec
import trio

from edgekube.runtime.api import Image, ImageConfig, ImageFailure, RuntimeFailure
from edgekube.runtime.images.reference import image_id
from edgekube.types.unreadable import UNREADABLE

log = getLogger(__name__)

INDEX_VERSION = 1
INDEX_BYTES_MAX = 64 * 1024 * 1024
PARTIAL_SECONDS_MAX = 3600.0
RESERVE_BYTES = 64 * 1024 * 1024


class LayerRecord(msgspec.Struct):
    number: int
    size_bytes: int


class ImageRecord(msgspec.Struct):
    """An image by its config digest. `blobs` are the small blobs that belong to it."""

    digest: str
    layers: tuple[str, ...]
    config: ImageConfig
    pulled_at: float
    pinned: bool = False
    blobs: tuple[str, ...] = ()


class Index(msgspec.Struct):
    version: int = INDEX_VERSION
    layers: dict[str, LayerRecord] = {}
    images: dict[str, ImageRecord] = {}
    references: dict[str, str] = {}  # normalised name, with tag or with digest -> image id


class ContentStore:
    """Owner of the two folders. One process at a time; a second one is refused by `open`."""

    def __init__(self, data_dir: str) -> None:
        self.data_dir = os.path.abspath(data_dir)
        self._images = os.path.join(self.data_dir, "images")
        self._layers = os.path.join(self.data_dir, "layers")
        self._index = Index()
        self._lock_fd = -1
        self._saving = trio.Lock()
        self._next = 1
        self._held: Counter[str] = Counter()

    # -- opening ---------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Make the folders, lock them, read the index. Raises RuntimeFailure when another process has them."""
        for folder in (self._images, f"{self._images}/blobs/sha256", f"{self._images}/ingest", self._layers):
            os.makedirs(folder, mode=0o700, exist_ok=True)
        # Layers are mounted for containers of any user: their folder must let them through.
        os.chmod(self._layers, 0o711)
        self._lock_fd = os.open(f"{self._images}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise RuntimeFailure(
                "ImageStoreLocked", f"{self._images} is in use by another EdgeKube process: stop that one first"
            ) from None
        self._index = self._read()
        self._drop_incomplete()
        self._next = 1 + max((each.number for each in self._index.layers.values()), default=0)

    def close(self) -> None:
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _read(self) -> Index:
        for name in ("index.json", "index.json.old"):
            path = f"{self._images}/{name}"
            try:
                with open(path, "rb") as file:
                    found = msgspec.json.decode(file.read(INDEX_BYTES_MAX), type=Index)
            except FileNotFoundError:
                continue
            except (OSError, *UNREADABLE) as error:
                log.error("image index damaged path=%s error=%s", path, error)
                continue
            if found.version > INDEX_VERSION:
                raise RuntimeFailure(
                    "ImageStoreTooNew", f"{path} was written by a newer EdgeKube: upgrade, or move the folder away"
                )
            return found
        return Index()

    def _drop_incomplete(self) -> None:
        """After damage to the disk the index may promise what is gone; then the image is pulled again."""
        index = self._index
        for chain, layer in list(index.layers.items()):
            if not os.path.isdir(self._layer_path(layer.number)):
                log.error("image layer missing path=%s", self._layer_path(layer.number))
                del index.layers[chain]
        for image, record in list(index.images.items()):
            if any(chain not in index.layers for chain in record.layers):
                self._drop_image(image)
        index.references = {name: image for name, image in index.references.items() if image in index.images}

    def leftovers(self) -> list[str]:
        """What an interrupted process left, relative to the data folder. Partial downloads are kept to be resumed."""
        numbers = {str(each.number) for each in self._index.layers.values()}
        found = [f"layers/{name}" for name in os.listdir(self._layers) if name not in numbers]
        kept = {blob for record in self._index.images.values() for blob in record.blobs}
        blobs = os.listdir(f"{self._images}/blobs/sha256")
        found += [f"images/blobs/sha256/{name}" for name in blobs if f"sha256:{name}" not in kept]
        incoming = os.listdir(f"{self._images}/ingest")
        found += [f"images/ingest/{name}" for name in incoming if not name.endswith(".part")]
        return found

    # -- reading ---------------------------------------------------------------------------------------------------

    def find(self, name: str) -> str | None:
        """The image id for a normalised name or an image id."""
        found = image_id(name)
        if found is not None:
            return found if found in self._index.images else None
        return self._index.references.get(name)

    def image(self, found: str) -> Image | None:
        record = self._index.images.get(found)
        if record is None:
            return None
        names = sorted(name for name, image in self._index.references.items() if image == found)
        return Image(
            id=found,
            digest=record.digest,
            tags=tuple(name for name in names if "@" not in name),
            repo_digests=tuple(name for name in names if "@" in name),
            size_bytes=sum(self._index.layers[chain].size_bytes for chain in record.layers),
            layers=record.layers,
            config=record.config,
            pinned=record.pinned,
        )

    def images(self) -> list[str]:
        return list(self._index.images)

    def record(self, found: str) -> ImageRecord:
        return self._index.images[found]

    def has_layer(self, chain: str) -> bool:
        return chain in self._index.layers

    def layer_path(self, chain: str) -> str:
        """Absolute path of an unpacked layer. Raises KeyError."""
        return self._layer_path(self._index.layers[chain].number)

    def layer_target(self, chain: str) -> str:
        """The same, relative to the data folder, as helpers want it."""
        return f"layers/{self._index.layers[chain].number}/fs"

    def _layer_path(self, number: int) -> str:
        return f"{self._layers}/{number}/fs"

    def ingest_path(self, name: str) -> str:
        return f"{self._images}/ingest/{name}"

    def read_blob(self, digest: str) -> bytes | None:
        """A small blob, or None."""
        try:
            with open(self._blob_path(digest), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def _blob_path(self, digest: str) -> str:
        return f"{self._images}/blobs/sha256/{digest.removeprefix('sha256:')}"

    def check_space(self, needed_bytes: int) -> None:
        """Raises ImageFailure when the disk lacks room for that and a reserve."""
        status = os.statvfs(self._images)
        free = status.f_bavail * status.f_frsize
        if needed_bytes + RESERVE_BYTES > free:
            raise ImageFailure(
                "ErrImagePull",
                f"no space left on device: {needed_bytes} bytes to download and a reserve of {RESERVE_BYTES}, "
                f"{free} are free in {self._images}",
            )

    # -- changing --------------------------------------------------------------------------------------------------

    @contextmanager
    def hold(self, chains: Collection[str]) -> Iterator[None]:
        """Keep garbage collection away from layers that an unfinished image will need."""
        self._held.update(chains)
        try:
            yield
        finally:
            self._held.subtract(chains)
            self._held += Counter()

    def new_layer(self) -> str:
        """A folder name never used before, relative to the data folder. It is a leftover until `add_layer`."""
        name = f"layers/{self._next}"
        self._next += 1
        os.mkdir(f"{self.data_dir}/{name}", 0o711)
        return name

    async def add_layer(self, chain: str, name: str, size_bytes: int) -> None:
        """`name` holds the complete layer `chain`, synced to disk."""
        self._index.layers[chain] = LayerRecord(int(name.rpartition("/")[2]), size_bytes)
        await self._save()

    async def add_image(
        self,
        found: str,
        *,
        digest: str,
        layers: tuple[str, ...],
        config: ImageConfig,
        references: Collection[str],
        blobs: dict[str, bytes],
        pinned: bool,
    ) -> Image:
        """Make a complete image known under `references`, which move here from any other image."""
        missing = [chain for chain in layers if chain not in self._index.layers]
        assert not missing, f"image {found} lacks layers {missing}"
        old = self._index.images.get(found)
        same = old is not None and old.digest == digest and (old.pinned or not pinned)
        if same and all(self._index.references.get(name) == found for name in references):
            # Pulled again and unchanged, as imagePullPolicy Always does all day: no write.
            image = self.image(found)
            assert image is not None
            return image
        async with self._saving:
            for name, data in blobs.items():
                await trio.to_thread.run_sync(write_durably, self._blob_path(name), data)
        if old is not None:
            pinned = pinned or old.pinned
            blobs = {**dict.fromkeys(old.blobs, b""), **blobs}
        self._index.images[found] = ImageRecord(digest, layers, config, time.time(), pinned, tuple(blobs))
        for name in references:
            self._index.references[name] = found
        await self._save()
        image = self.image(found)
        assert image is not None
        return image

    async def drop(self, *, images: Collection[str] = (), references: Collection[str] = ()) -> list[str]:
        """Forget images and names; returns the paths, relative to the data folder, which nothing needs any more."""
        changed = False
        for name in references:
            changed |= self._index.references.pop(name, None) is not None
        for found in images:
            changed |= self._drop_image(found)
        layers, blobs = self._unneeded()
        numbers = [self._index.layers.pop(chain).number for chain in layers]
        if changed or numbers:
            await self._save()
        return [f"layers/{number}" for number in numbers] + blobs + self._stale_partials()

    def _drop_image(self, found: str) -> bool:
        if self._index.images.pop(found, None) is None:
            return False
        self._index.references = {name: image for name, image in self._index.references.items() if image != found}
        return True

    def _unneeded(self) -> tuple[list[str], list[str]]:
        needed = set(self._held)
        blobs: set[str] = set()
        for record in self._index.images.values():
            needed.update(record.layers)
            blobs.update(record.blobs)
        names = os.listdir(f"{self._images}/blobs/sha256")
        unneeded = [f"images/blobs/sha256/{name}" for name in names if f"sha256:{name}" not in blobs]
        # A blob is written a moment before the index names it; while anything is under way, leave them alone.
        return [chain for chain in self._index.layers if chain not in needed], [] if self._held else unneeded

    def _stale_partials(self) -> list[str]:
        if self._held:
            return []
        folder = f"{self._images}/ingest"
        limit = time.time() - PARTIAL_SECONDS_MAX
        return [f"images/ingest/{name}" for name in os.listdir(folder) if os.lstat(f"{folder}/{name}").st_mtime < limit]

    async def _save(self) -> None:
        async with self._saving:
            data = msgspec.json.encode(self._index)
            await trio.to_thread.run_sync(write_durably, f"{self._images}/index.json", data, True)


def write_durably(path: str, data: bytes, keep_old: bool = False) -> None:
    """Replace `path` atomically; it survives a power cut once this returns. Spends its time in system calls."""
    folder = os.path.dirname(path)
    temporary = f"{path}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)
    if keep_old and os.path.exists(path):
        old = f"{path}.old"
        try:
            os.unlink(old)
        except FileNotFoundError:
            pass
        os.link(path, old)
    os.rename(temporary, path)
    folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder_fd)
    finally:
        os.close(folder_fd)
