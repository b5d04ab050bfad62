"""Writes `tables/`: field numbers, JSON names and types of the API's messages. Build time only.

    python -m edgekube.apiserver.protobuf.generate [KUBECTL]

They are read from the struct tags in the pinned kubectl itself, through the type descriptions a Go binary carries for
its own reflection (Go's internal/abi, 64-bit): a struct lists its fields, each with name, tag and type. Groups that
kubectl knows nothing of (apiextensions, apiregistration) have tables by hand, which this leaves alone.
"""

import struct
import sys
from pathlib import Path
from textwrap import wrap
from typing import Final

from edgekube.types._kinds import KINDS

_BOOL, _FLOAT64, _INTERFACE, _MAP, _POINTER, _SLICE, _STRING, _STRUCT = 1, 14, 20, 21, 22, 23, 24, 25
_INTEGERS: Final = range(2, 13)
_BYTE: Final = 8
_META: Final = "k8s.io/apimachinery/pkg/apis/meta/v1"
MODULES: Final = {"meta_v1", *(package for package, _ in KINDS.values())}
_SPECIAL: Final = {
    "k8s.io/apimachinery/pkg/api/resource.Quantity": "q",
    f"{_META}.Time": "t",
    f"{_META}.MicroTime": "u",
    f"{_META}.Duration": "D",
    f"{_META}.FieldsV1": "r",
    "k8s.io/apimachinery/pkg/util/intstr.IntOrString": "o",
    "k8s.io/apimachinery/pkg/runtime.RawExtension": "r",
}
KUBECTL: Final = Path(sys.executable).with_name("kubectl")
TABLES: Final = Path(__file__).with_name("tables")


class Type:
    """One Go type. `name` has its package's path before it when it is named."""

    def __init__(self, address: int) -> None:
        self.address = address
        self.kind = 0
        self.name = ""
        self.package = ""
        self.key: Type | None = None
        self.element: Type | None = None
        self.fields: list[tuple[str, Type]] = []  # struct tag, type


class Binary:
    """The Go types in an ELF file."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        (start,) = struct.unpack_from("<Q", data, 0x28)
        size, count, names = struct.unpack_from("<HHH", data, 0x3A)
        raw = [struct.unpack_from("<IIQQQQ", data, start + size * index) for index in range(count)]
        text = raw[names][4]
        self._sections: list[tuple[int, int, int]] = [(row[3], row[4], row[5]) for row in raw if row[3] and row[1] != 8]
        by_name = {self._c_string(text + row[0]): row for row in raw}
        self._base = by_name[".rodata"][3]
        self._links = by_name[".typelink"]
        self._types: dict[int, Type] = {}

    def types(self) -> list[Type]:
        """Every type reachable from the list the linker keeps."""
        offset, size = self._links[4], self._links[5]
        for (relative,) in struct.iter_unpack("<i", self._data[offset : offset + size]):
            self._type(self._base + relative)
        return list(self._types.values())

    def _c_string(self, offset: int) -> str:
        return self._data[offset : self._data.index(b"\0", offset)].decode()

    def _offset(self, address: int) -> int:
        return next(address - base + offset for base, offset, size in self._sections if base <= address < base + size)

    def _pointer(self, address: int) -> int:
        (value,) = struct.unpack_from("<Q", self._data, self._offset(address))
        return int(value)

    def _name(self, address: int) -> tuple[str, str]:
        position = self._offset(address)
        tagged = self._data[position] & 2
        name, position = self._text(position + 1)
        return name, self._text(position)[0] if tagged else ""

    def _text(self, position: int) -> tuple[str, int]:
        size = shift = 0
        while True:
            byte = self._data[position]
            position += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return self._data[position : position + size].decode(), position + size

    def _type(self, address: int) -> Type:
        if address in self._types:
            return self._types[address]
        found = self._types[address] = Type(address)
        offset = self._offset(address)
        flags = self._data[offset + 20]
        found.kind = self._data[offset + 23] & 31
        (text,) = struct.unpack_from("<i", self._data, offset + 40)
        name = self._name(self._base + text)[0]
        found.name = name[1:] if flags & 2 else name
        uncommon = {_STRUCT: 80, _POINTER: 56, _SLICE: 56}.get(found.kind, 0)
        if found.kind == _STRUCT:
            fields, count = struct.unpack_from("<QQ", self._data, offset + 56)
            for index in range(count):
                label, type_ = struct.unpack_from("<QQ", self._data, self._offset(fields) + 24 * index)
                found.fields.append((self._name(label)[1], self._type(type_)))
        elif found.kind in (_POINTER, _SLICE):
            found.element = self._type(self._pointer(address + 48))
        elif found.kind == _MAP:
            found.key, found.element = self._type(self._pointer(address + 48)), self._type(self._pointer(address + 56))
        if flags & 1 and uncommon:
            (package,) = struct.unpack_from("<i", self._data, offset + uncommon)
            found.package = self._name(self._base + package)[0]
        return found

    @staticmethod
    def qualified(type_: Type) -> str:
        return f"{type_.package}.{type_.name.rpartition('.')[2]}"


def module_of(package: str) -> str:
    """`core_v1` for k8s.io/api/core/v1; "" for packages that are no API group."""
    if package == _META:
        return "meta_v1"
    parts = package.removeprefix("k8s.io/api/").split("/")
    return "_".join(parts) if package.startswith("k8s.io/api/") and len(parts) == 2 else ""


def code_of(type_: Type, tag: str, home: str) -> str:
    """How a field is written; "" for what cannot travel (interfaces)."""
    if type_.kind == _POINTER and type_.element is not None:
        return code_of(type_.element, tag, home)
    special = _SPECIAL.get(Binary.qualified(type_))
    if special:
        return special
    if type_.kind == _STRUCT:
        module = module_of(type_.package)
        name = type_.name.rpartition(".")[2]
        return "" if module not in MODULES else name if module == home else f"{module}.{name}"
    if type_.kind == _SLICE and type_.element is not None:
        if type_.element.kind == _BYTE:
            return "y"
        if type_.package and ",rep," not in tag:
            return "v"  # a named list of strings is a message with one repeated field
        inner = code_of(type_.element, "", home)
        return f"[{inner}" if inner else ""
    if type_.kind == _MAP and type_.element is not None:
        inner = code_of(type_.element, "", home)
        return f"{{{inner}" if inner else ""
    if type_.kind == _STRING:
        return "s"
    if type_.kind == _BOOL:
        return "b"
    if type_.kind in _INTEGERS:
        return "i"
    return "d" if type_.kind == _FLOAT64 else ""


def fields_of(type_: Type, home: str) -> list[str]:
    out = []
    for tag, field in type_.fields:
        words = dict(part.split(":", 1) for part in _tag_parts(tag))
        if "protobuf" not in words or "json" not in words:
            continue
        number = words["protobuf"].split(",")[1]
        name, *options = words["json"].split(",")
        code = code_of(field, words["protobuf"], home)
        if not code or name == "-":
            continue
        # Go leaves out zero values of omitempty fields, but a pointer to a zero value is a value.
        mark = "?" if "omitempty" in options and field.kind not in (_POINTER, _STRUCT) else "="
        out.append(f"{number}{'>' if not name else mark}{name}:{code}")
    return sorted(out, key=lambda text: int("".join(char for char in text[:4] if char.isdigit())))


def _tag_parts(tag: str) -> list[str]:
    return [part.replace('"', "") for part in tag.split('" ') if ":" in part]


def texts(kubectl: Path) -> dict[Path, str]:
    """Every generated table, by its place."""
    tables: dict[str, dict[str, list[str]]] = {}
    for type_ in Binary(kubectl.read_bytes()).types():
        module = module_of(type_.package)
        if type_.kind == _STRUCT and module in MODULES:
            fields = fields_of(type_, module)
            if fields or any("protobuf" in tag for tag, _ in type_.fields):
                tables.setdefault(module, {})[type_.name.rpartition(".")[2]] = fields
    return {TABLES / f"{module}.py": _text_of(messages) for module, messages in sorted(tables.items())}


def _text_of(messages: dict[str, list[str]]) -> str:
    lines = [
        '"""Written by `python -m edgekube.apiserver.protobuf.generate`: change the generator, not this file."""',
        "",
        "from typing import Final",
        "",
        "MESSAGES: Final[dict[str, str]] = {",
    ]
    for name, fields in sorted(messages.items()):
        text = " ".join(fields)
        if len(name) + len(text) < 108:
            lines.append(f'    "{name}": "{text}",')
            continue
        short = len(text) <= 110  # what the formatter would join
        pieces = [text] if short else wrap(text, 104, break_on_hyphens=False, break_long_words=False)
        lines.append(f'    "{name}": (')
        lines += [f'        "{piece}{" " if piece is not pieces[-1] else ""}"' for piece in pieces]
        lines.append("    ),")
    return "\n".join([*lines, "}"]) + "\n"


def main(argv: list[str]) -> int:
    for path, text in texts(Path(argv[0]) if argv else KUBECTL).items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
