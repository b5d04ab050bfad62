"""ELF files as far as a package of them must be checked: their machine and the libraries they need (elf(5))."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MACHINES = {62: "x86_64", 183: "aarch64"}
# Of the C library, which is always the target's own.
SYSTEM_LIBRARIES = frozenset(
    {
        *("libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libutil.so.1", "libresolv.so.2"),
        *("ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1", "libgcc_s.so.1"),
    }
)
_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NEEDED, _DT_STRTAB = 1, 5


class ElfError(Exception):
    """The message names the file and what is wrong with it."""


class Elf(NamedTuple):
    machine: str
    needed: tuple[str, ...]


def read(path: Path) -> Elf:
    """Raises ElfError for a file that is none, or of a kind this project does not ship."""
    data = path.read_bytes()
    if not is_elf(data):
        raise ElfError(f"{path} is not an ELF file")
    if data[4:6] != b"\x02\x01":
        raise ElfError(f"{path} is not 64 bit and little endian")
    (machine,) = struct.unpack_from("<H", data, 18)
    (table,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    segments = [struct.unpack_from("<IIQQQQ", data, table + size * index) for index in range(count)]
    entries: list[tuple[int, int]] = []
    for kind, _, offset, _, _, length in segments:
        if kind == _PT_DYNAMIC:
            entries = [struct.unpack_from("<QQ", data, at) for at in range(offset, offset + length, 16)]
    address = next((value for tag, value in entries if tag == _DT_STRTAB), 0)
    base = next((at + address - start for kind, _, at, start, _, length in segments
                 if kind == _PT_LOAD and start <= address < start + length), 0)  # fmt: skip
    names = [data[base + value : data.index(b"\0", base + value)] for tag, value in entries if tag == _DT_NEEDED]
    return Elf(MACHINES.get(machine, f"machine {machine}"), tuple(name.decode() for name in names))


def is_elf(data: bytes) -> bool:
    return data[:4] == b"\x7fELF"


def files(folder: Path) -> Iterator[tuple[Path, Elf]]:
    """Every ELF file below a folder."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        with path.open("rb") as file:
            first = file.read(4)
        if is_elf(first):
            yield path, read(path)


def check(folder: Path, target: str) -> int:
    """Every ELF file is the target's, and what it needs is in the folder or the C library's; returns how many.

    Raises ElfError that names all which fail.
    """
    faults = []
    count = 0
    for path, found in files(folder):
        count += 1
        if found.machine != target:
            faults.append(f"{path.relative_to(folder)} is for {found.machine}, not for {target}")
        faults += [
            f"{path.relative_to(folder)} needs {name}, which is not there"
            for name in found.needed
            if name not in SYSTEM_LIBRARIES and not (folder / name).exists() and not (path.parent / name).exists()
        ]
    if faults:
        raise ElfError("; ".join(faults))
    return count
