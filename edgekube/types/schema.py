"""What the published schema says beyond the classes: how fields merge, and definitions with their descriptions.

Merge keys are small and always at hand. Definitions are in an artefact made by `build.py setup`, which is read piece by
piece: it serves OpenAPI and `kubectl explain`, and no byte of it stays in memory.

The artefact: 4 bytes of big-endian length, a JSON index `package -> [offset, size]`, then one zstd frame a package,
each a JSON object of full definition name to definition in OpenAPI v2 form.
"""

import struct
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from edgekube.types._kinds import KINDS

Definition = dict[str, Any]

SHARED: Final = "meta_v1"  # the package whose frame also holds the scalars that every group uses
FRAME_MAX: Final = 64 << 20  # bytes of one unpacked frame; core_v1, the largest, has under 2 MiB
_LENGTH: Final = struct.Struct(">I")
_V2: Final = "#/definitions/"
_V3: Final = "#/components/schemas/"


class MergeKeys(NamedTuple):
    """How one field merges. Empty strings and tuples stand for what the schema does not say; a list then is atomic."""

    patch_strategy: tuple[str, ...] = ()
    patch_merge_key: str = ""
    list_type: str = ""
    list_map_keys: tuple[str, ...] = ()
    map_type: str = ""


_PLAIN: Final = MergeKeys()


def merge_keys(cls: type, field: str = ".") -> MergeKeys:
    """The merge keys of a class's field by its JSON name; of the class itself when no field is given."""
    return _rows(cls).get(field, _PLAIN)


@cache
def _rows(cls: type) -> dict[str, MergeKeys]:
    from edgekube.types._patchmeta import ROWS  # only patches and apply ever need it

    package = cls.__module__.removeprefix("edgekube.types.").partition(".")[0]
    out = {}
    for row in ROWS.get(f"{package}.{cls.__name__}", ()):
        name, strategy, key, list_type, keys, map_type = ("" if part == "-" else part for part in row.split())
        out[name] = MergeKeys(
            tuple(strategy.split(",")) if strategy else (),
            key,
            list_type,
            tuple(keys.split(",")) if keys else (),
            map_type,
        )
    return out


class SchemaError(Exception):
    """The artefact is missing or damaged."""


class Schemas:
    """A reader of the artefact. Nothing is cached: who needs an answer twice keeps it, encoded and compressed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with path.open("rb") as file:
                (size,) = _LENGTH.unpack(file.read(_LENGTH.size))
                self._index: dict[str, tuple[int, int]] = msgspec.json.decode(
                    file.read(size), type=dict[str, tuple[int, int]]
                )
        except (OSError, struct.error, msgspec.MsgspecError) as error:
            raise SchemaError(f"cannot read the schema artefact {path}: {error}; run `build.py setup`") from error
        self._base = _LENGTH.size + size

    @property
    def packages(self) -> tuple[str, ...]:
        """The group-versions inside, as `core_v1`."""
        return tuple(self._index)

    def definitions(self, package: str) -> dict[str, Definition]:
        """Every definition of one package, by full name, in OpenAPI v2 form. Raises SchemaError."""
        text = self.text(package)
        try:
            found: dict[str, Definition] = msgspec.json.decode(text, type=dict[str, Definition])
        except msgspec.MsgspecError as error:
            raise SchemaError(f"the schema artefact {self._path} is damaged: {error}; run `build.py setup`") from error
        return found

    def text(self, package: str) -> bytes:
        """`definitions` undecoded: one JSON object, up to 2 MiB, that costs a tenth of the decoded dicts."""
        import zstandard

        if package not in self._index:
            raise SchemaError(f"the schema artefact {self._path} holds no {package!r}")
        offset, size = self._index[package]
        try:
            with self._path.open("rb") as file:
                file.seek(self._base + offset)
                found: bytes = zstandard.ZstdDecompressor().decompress(file.read(size), max_output_size=FRAME_MAX)
        except (OSError, zstandard.ZstdError) as error:
            raise SchemaError(f"the schema artefact {self._path} is damaged: {error}; run `build.py setup`") from error
        return found

    def openapi_v2(self) -> dict[str, Definition]:
        """`definitions` of the whole API, for `/openapi/v2`."""
        return {name: schema for package in self._index for name, schema in self.definitions(package).items()}

    def openapi_v3(self, group: str, version: str) -> dict[str, Definition]:
        """`components.schemas` of one group-version, with all it refers to, for `/openapi/v3/apis/G/V`.

        Raises SchemaError for a group-version that is not built in.
        """
        if (group, version) not in KINDS:
            raise SchemaError(f"no group-version {group}/{version} is built in")
        package = KINDS[group, version][0]
        loaded = self.definitions(package)
        known = dict(loaded)
        rest = [other for other in (SHARED, "core_v1", *self._index) if other != package]
        wanted, out = list(loaded), {}
        while wanted:
            name = wanted.pop()
            if name in out:
                continue
            while name not in known and rest:
                other = rest.pop(0)
                if other in self._index:
                    known |= self.definitions(other)
            if name not in known:
                raise SchemaError(f"the schema artefact {self._path} is damaged: {name} is not in it")
            out[name] = known[name]
            wanted += _refs(known[name])
        return {name: as_v3(name, out[name]) for name in sorted(out)}

    def kind(self, group: str, version: str, kind: str) -> Definition | None:
        """The definition of one kind, in OpenAPI v2 form; None when it is not built in."""
        if (group, version) not in KINDS:
            return None
        gvk = {"group": group, "version": version, "kind": kind}
        for schema in self.definitions(KINDS[group, version][0]).values():
            if gvk in schema.get("x-kubernetes-group-version-kind", ()):
                return schema
        return None


def load(path: Path) -> Schemas:
    """Open the artefact (`edgekube/data/openapi.zst`). Raises SchemaError."""
    return Schemas(path)


def pack(packages: dict[str, dict[str, Definition]]) -> bytes:
    """The artefact's bytes; for the build."""
    import zstandard

    compressor = zstandard.ZstdCompressor(level=19)
    index, frames, offset = {}, [], 0
    for package, found in packages.items():
        frame = compressor.compress(msgspec.json.encode(found, order="sorted"))
        index[package] = (offset, len(frame))
        frames.append(frame)
        offset += len(frame)
    head = msgspec.json.encode(index)
    return b"".join([_LENGTH.pack(len(head)), head, *frames])


def _refs(schema: Any) -> Iterable[str]:
    if isinstance(schema, dict):
        ref = schema.get("$ref")
        if isinstance(ref, str):
            yield ref.removeprefix(_V2)
        for value in schema.values():
            yield from _refs(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _refs(value)


_UNIONS: Final[dict[str, Definition]] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {
        "format": "int-or-string",
        "oneOf": [{"type": "integer"}, {"type": "string"}],
    },
}


def as_v3(name: str, schema: Definition) -> Definition:
    """A definition in OpenAPI v3 form; `name` is its full name."""
    if name in _UNIONS:
        return {**{key: value for key, value in schema.items() if key not in ("type", "format")}, **_UNIONS[name]}
    found: Definition = _rewrite(schema)
    return found


def _rewrite(schema: Any) -> Any:
    """References by their v3 place; one with siblings goes into allOf, for v3 ignores what stands beside a $ref."""
    if isinstance(schema, list):
        return [_rewrite(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    ref = schema.get("$ref")
    if not isinstance(ref, str):
        return {key: _rewrite(value) for key, value in schema.items()}
    moved = {"$ref": _V3 + ref.removeprefix(_V2)}
    rest = {key: _rewrite(value) for key, value in schema.items() if key != "$ref"}
    return {"allOf": [moved], **rest} if rest else moved
