"""Builds what is not Python: the cffi extension, the container shim, the pause program, and the seccomp data file.

`python native/build.py [--target x86_64|aarch64] [--out DIR] [--force]`. Without --out the results go where the package
looks for them: `edgekube/native/` and `edgekube/data/`. `ensure_built()` does nothing when the sources, the target and
the compilers have not changed since. Only build machines import this file: cffi's compiler side stays out of the node.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent / "edgekube"
SECCOMP_SOURCE = Path("/usr/share/containers/seccomp.json")
TARGETS = ("x86_64", "aarch64")
EXTENSION = "_native.abi3.so"
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Wno-missing-field-initializers")


class BuildError(Exception):
    """A tool is missing or failed; the message says which and what to install."""


def host_target() -> str:
    machine = platform.machine()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def _first(candidates: list[list[str]], package: str) -> list[str]:
    for candidate in candidates:
        if shutil.which(candidate[0]):
            return candidate
    raise BuildError(f"no C compiler found (tried {', '.join(c[0] for c in candidates)}): install {package}")


def compiler(target: str) -> list[str]:
    """For code that links against the C library of the target's Python."""
    if target == host_target():
        return _first([["cc"], ["gcc"]], "gcc")
    return _first([[f"{target}-linux-gnu-gcc"]], f"gcc-{target}-linux-gnu".replace("_", "-"))


def static_compiler(target: str, debian: Path | None = None) -> list[str]:
    """musl where there is one (88 kB resident a shim); glibc otherwise, which works and costs 0.5 MB more each.

    `debian`: an unpacked tree of the target with musl-dev; its C library then goes with the cross compiler.
    """
    if debian is not None:
        own = compiler(target)
        include = debian / "usr" / "include" / f"{target}-linux-musl"
        kept = subprocess.run([*own, "-print-file-name=include"], capture_output=True, text=True, check=True).stdout
        # The specs that musl's own wrapper gives gcc, for another machine.
        return [*own, "-nostdinc", "-isystem", str(include), "-isystem", kept.strip(), "-nostdlib"]
    if target == host_target() and shutil.which("musl-gcc"):
        return ["musl-gcc"]
    if importlib.util.find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", "cc", "-target", f"{target}-linux-musl"]
    return compiler(target)


def python_headers(target: str, scratch: Path) -> list[str]:
    """Debian's pyconfig.h includes one by architecture; ours says the same of the other (both are LP64)."""
    headers = Path(sysconfig.get_path("include"))
    if target != host_target():
        own = headers.parent / f"{host_target()}-linux-gnu" / headers.name / "pyconfig.h"
        if own.exists():
            other = scratch / f"{target}-linux-gnu" / headers.name
            other.mkdir(parents=True)
            shutil.copy(own, other / "pyconfig.h")
    return [f"-I{headers}", f"-I{scratch}"]


def build_extension(target: str, out: Path) -> None:
    """The limited API makes one file serve every CPython from 3.11 on."""
    from cffi import FFI

    declarations = (HERE / "system.h").read_text()
    ffi = FFI()
    ffi.cdef(declarations)
    ffi.set_source("edgekube.native._native", (HERE / "system.c").read_text())
    with tempfile.TemporaryDirectory() as scratch:
        generated = Path(scratch, "_native.c")
        with contextlib.redirect_stdout(io.StringIO()):  # cffi announces the file
            ffi.emit_c_code(str(generated))
        built = Path(scratch, EXTENSION)
        flags = ["-shared", "-fPIC", "-O2", "-s", "-pthread", *WARNINGS, "-DPy_LIMITED_API=0x030B0000"]
        flags += python_headers(target, Path(scratch, "include"))
        _run([*compiler(target), *flags, "-o", str(built), str(generated)])
        _install(built, out / EXTENSION)


def musl_objects(target: str, debian: Path) -> list[str]:
    """What goes to the linker after the sources when `static_compiler` was given a tree."""
    library = debian / "usr" / "lib" / f"{target}-linux-musl"
    done = subprocess.run([*compiler(target), "-print-libgcc-file-name"], capture_output=True, text=True, check=True)
    first = [str(library / name) for name in ("crt1.o", "crti.o", "libc.a")]
    return [*first, done.stdout.strip(), str(library / "libc.a"), str(library / "crtn.o")]


def build_shim(target: str, out: Path, debian: Path | None = None) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        built = Path(scratch, "shim")
        sources = sorted(str(path) for path in (HERE / "shim").glob("*.c"))
        # Every page counts: there is one shim a container.
        flags = ["-static", "-Os", "-s", "-std=gnu11", "-fno-pie", "-no-pie", "-ffunction-sections", "-fdata-sections"]
        flags += ["-fno-asynchronous-unwind-tables", "-Wl,--gc-sections", "-Wl,-z,noseparate-code", "-Wl,-z,norelro"]
        objects = [] if debian is None else musl_objects(target, debian)
        _run([*static_compiler(target, debian), *flags, *WARNINGS, "-o", str(built), *sources, *objects])
        _install(built, out / "shim")


def build_pause(target: str, out: Path) -> None:
    flags = ["-Os", "-static", "-nostdlib", "-nostartfiles", "-ffreestanding", "-fno-stack-protector"]
    flags += ["-fno-asynchronous-unwind-tables", "-Wl,--build-id=none", "-Wl,-z,noseparate-code", "-s", *WARNINGS]
    with tempfile.TemporaryDirectory() as scratch:
        built = Path(scratch, "pause")
        _run([*compiler(target), *flags, "-o", str(built), str(HERE / "pause.c")])
        _install(built, out / "pause")


def build_seccomp(target: str, data: Path) -> None:
    """Flattens the distribution's default profile into what `edgekube.runtime.seccomp` reads."""
    if not SECCOMP_SOURCE.exists():
        raise BuildError(f"{SECCOMP_SOURCE} is missing: install golang-github-containers-common")
    sys.path.insert(0, str(PACKAGE.parent))
    from edgekube.runtime.seccomp import flatten

    data.mkdir(parents=True, exist_ok=True)
    macros = subprocess.run(
        [*compiler(target), "-E", "-dM", "-include", "asm/unistd.h", "-x", "c", "/dev/null"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    calls = frozenset(re.findall(r"#define __NR_(\w+)", macros))
    with tempfile.TemporaryDirectory() as scratch:
        built = Path(scratch, "seccomp.json")
        built.write_bytes(flatten(SECCOMP_SOURCE.read_bytes(), target, calls))
        _install(built, data / "seccomp.json", mode=0o644)


def _install(built: Path, destination: Path, mode: int = 0o755) -> None:
    """By rename: a running node keeps the file it has mapped."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    staged = destination.with_name(f".{destination.name}.{os.getpid()}")
    shutil.copyfile(built, staged)
    staged.chmod(mode)
    staged.replace(destination)


def fingerprint(target: str, debian: Path | None = None) -> str:
    """Over every source, the compilers' names and the Python headers' version."""
    digest = hashlib.sha256()
    sources = [path for path in sorted(HERE.rglob("*")) if path.suffix in {".c", ".h"}]
    sources += [Path(__file__), PACKAGE / "runtime" / "seccomp.py", SECCOMP_SOURCE]
    for path in sources:
        if path.exists():
            digest.update(f"{path.name}\0".encode())
            digest.update(path.read_bytes())
    digest.update(f"{target} {compiler(target)} {static_compiler(target, debian)} {sys.version_info[:2]}".encode())
    return digest.hexdigest()


def ensure_built(
    target: str | None = None, out: Path | None = None, *, debian: Path | None = None, force: bool = False
) -> bool:
    """True when something was built. `debian` as for `static_compiler`. Raises BuildError."""
    target = target or host_target()
    if target not in TARGETS:
        raise BuildError(f"unknown target {target}: choose one of {', '.join(TARGETS)}")
    native = out or PACKAGE / "native"
    data = out or PACKAGE / "data"
    stamp = (out or HERE.parent / "build") / f".native-{target}"
    wanted = fingerprint(target, debian)
    results = [native / EXTENSION, native / "shim", native / "pause", data / "seccomp.json"]
    if not force and stamp.exists() and stamp.read_text() == wanted and all(path.exists() for path in results):
        return False
    build_extension(target, native)
    build_shim(target, native, debian)
    build_pause(target, native)
    build_seccomp(target, data)
    stamp.parent.mkdir(exist_ok=True)
    stamp.write_text(wanted)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description="Build EdgeKube's native parts.")
    parser.add_argument("--target", choices=TARGETS, default=None)
    parser.add_argument("--out", type=Path, default=None, help="one folder for everything (default: the package)")
    parser.add_argument("--force", action="store_true")
    arguments = parser.parse_args()
    try:
        built = ensure_built(arguments.target, arguments.out, force=arguments.force)
    except BuildError as error:
        print(f"native build failed: {error}", file=sys.stderr)
        return 1
    print("built" if built else "up to date")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
