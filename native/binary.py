"""Builds the single-file binary: `python native/binary.py --target x86_64|aarch64` -> dist/edgekube-<version>-<target>.

Nuitka packs the program, the interpreter and every library into one file that unpacks itself once, into
`~/.cache/edgekube/<version>-<digest>`, and then becomes the program (see nuitka_plugin.py). A binary for another
architecture is built here as well: the C parts by a cross compiler, everything ready-made taken from that
architecture's Debian and wheels. Runs with the Python of .venv, on Debian's own interpreter. Needs no root.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT)]

import aarch64  # noqa: E402
import elf  # noqa: E402

import build as parts  # noqa: E402

TARGETS = ("x86_64", "aarch64")
SIZE_BYTES_GOAL = 20_000_000
# Packages and modules that become C code; all else stays bytecode, which starts sooner and takes a third of the memory.
COMPILED: tuple[str, ...] = ()
# What development needs and a node does not.
LEFT_OUT = ("testing", "types/_generate", "apiserver/protobuf/generate.py")
# Never in the binary: compilers' sides, test tools, what has no use without a terminal or a browser.
EXCLUDED = (
    *("cffi", "pycparser", "pyroute2", "setuptools", "pip", "pkg_resources", "hypothesis", "pytest", "_pytest", "mypy"),
    *("unittest", "doctest", "pydoc", "pdb", "test", "tkinter", "idlelib", "lib2to3", "ensurepip", "distutils"),
    *("sqlite3", "curses", "readline", "turtle", "xmlrpc", "webbrowser", "IPython", "exceptiongroup"),
    "_sysconfigdata__x86_64-linux-gnu",
    *("zstandard.backend_cffi", "zstandard._cffi", "msgpack.fallback", "lmdb.cffi", "lmdb.tool"),
)
# Included whole: ours names modules in tables, and machine code imports what Nuitka cannot see.
PACKAGES = ("edgekube", "httptools", "lmdb", "msgspec", "yaml", "zstandard")
# json's machine code, which Nuitka takes for bloat, and what cryptography's machine code imports.
MODULES = ("_json", "_cffi_backend")
# Distributions with machine code, as requirements.lock names them.
COMPILED_WHEELS = frozenset({"cffi", "cryptography", "httptools", "lmdb", "msgpack", "msgspec", "pyyaml", "zstandard"})


def version() -> str:
    text = (ROOT / "edgekube" / "__init__.py").read_text()
    return text.partition('__version__ = "')[2].partition('"')[0]


def sources() -> list[Path]:
    """Every file of the tree that a binary depends on."""
    package = ROOT / "edgekube"
    found = [path for path in package.rglob("*.py") if not left_out(path.relative_to(package))]
    found += [path for path in HERE.rglob("*") if path.suffix in {".py", ".c", ".h"}]
    return sorted([*found, ROOT / "requirements.lock"])


def left_out(path: Path) -> bool:
    return any(str(path) == each or str(path).startswith(each + "/") for each in LEFT_OUT)


def tree_digest(target: str) -> str:
    """Of the sources, for one target. Twelve characters name the folder a binary unpacks itself into."""
    total = hashlib.sha256(target.encode())
    for path in sources():
        total.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()[:12]


def result(target: str) -> Path:
    return ROOT / "dist" / f"edgekube-{version()}-{target}"


def stamp(target: str) -> Path:
    """Holds the tree digest of the binary beside it."""
    return result(target).with_name(result(target).name + ".digest")


def stage(folder: Path, native: Path) -> None:
    """The package as it goes into the binary, apart from the working tree, with the native parts of `native`."""
    shutil.rmtree(folder, ignore_errors=True)
    package = ROOT / "edgekube"
    for path in sources():
        if path.is_relative_to(package):
            copy = folder / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    shutil.copy(HERE / "launcher.py", folder / "launcher.py")
    shutil.copy(native / parts.EXTENSION, folder / "edgekube" / "native" / parts.EXTENSION)
    data = folder / "data"
    data.mkdir()
    artefact = package / "data" / "openapi.zst"
    if not artefact.exists():
        raise parts.BuildError(f"{artefact} is missing: run `python3 build.py setup`, which builds it")
    shutil.copyfile(artefact, data / artefact.name)


def nuitka(target: str, digest: str, work: Path) -> Path:
    """Run Nuitka over the staged tree; returns the one file it made."""
    staged, out = work / "stage", work / "out"
    host, native = work / "native-host", work / "native"
    parts.ensure_built(None, host)
    root = aarch64.sysroot(target, work / "debian") if target != parts.host_target() else None
    parts.ensure_built(target, native, debian=root)
    stage(staged, host)
    triplet = aarch64.TRIPLET[target]
    settings: dict[str, object] = {"target": target, "compiled": COMPILED, "extensions": ()}
    settings["libraries"] = [f"/usr/lib/{triplet}", f"/lib/{triplet}"]
    environment = {**os.environ, "PYTHONPATH": str(staged), "PYTHONDONTWRITEBYTECODE": "1"}
    if root is not None:
        site = aarch64.wheels(target, ROOT / "requirements.lock", COMPILED_WHEELS, work / "debian")
        twins = work / "twins" / "edgekube" / "native"
        twins.mkdir(parents=True, exist_ok=True)
        shutil.copy(native / parts.EXTENSION, twins / parts.EXTENSION)
        libraries = [root / "usr" / "lib" / triplet, root / "lib" / triplet, *sorted(site.glob("*.libs"))]
        dynload = root / "usr" / "lib" / aarch64.PYTHON / "lib-dynload"
        settings |= {
            "extensions": [str(work / "twins"), str(site), str(dynload)],
            "libraries": [str(path) for path in libraries],
        }
        environment |= cross_environment(target, root, work / "link")
    environment["EDGEKUBE_BINARY"] = json.dumps(settings)
    command = [
        *(sys.executable, "-m", "nuitka", "--mode=onefile", "--deployment"),
        *(f"--user-plugin={HERE / 'nuitka_plugin.py'}", "--static-libpython=no"),
        *(f"--include-module={name}" for name in MODULES),
        *(f"--include-package={name}" for name in PACKAGES),
        *("--lto=no", "--jobs=2", "--onefile-cache-mode=cached"),
        f"--onefile-tempdir-spec={{CACHE_DIR}}/edgekube/{version()}-{digest}",
        *(f"--nofollow-import-to={name}" for name in EXCLUDED),
        f"--include-data-files={staged / 'data' / 'openapi.zst'}=edgekube/data/openapi.zst",
        f"--include-data-files={native / 'seccomp.json'}=edgekube/data/seccomp.json",
        *(f"--include-data-files={native / name}=edgekube/native/{name}" for name in ("shim", "pause")),
        *(f"--output-dir={out}", "--output-filename=edgekube", f"--report={work / 'report.xml'}"),
        str(staged / "launcher.py"),
    ]
    shutil.rmtree(out, ignore_errors=True)
    done = subprocess.run(command, cwd=staged, env=environment, check=False)
    if done.returncode != 0:
        raise parts.BuildError(f"Nuitka ended with {done.returncode}; what it said stands above")
    return out / "edgekube"


def cross_environment(target: str, root: Path, link: Path) -> dict[str, str]:
    """Compile with the cross compiler, its own C library and headers; of the Debian tree only Python's.

    `link` holds libpython alone: the tree's libc.so is a script with absolute paths. What libpython itself needs is
    checked when the folder is closed (nuitka_plugin.close).
    """
    triplet = aarch64.TRIPLET[target]
    link.mkdir(parents=True, exist_ok=True)
    for path in (root / "usr" / "lib" / triplet).glob(f"lib{aarch64.PYTHON}.so*"):
        copy = link / path.name
        copy.unlink(missing_ok=True)
        shutil.copyfile(path, copy)
    include = root / "usr" / "include"
    return {
        "CC": f"{triplet}-gcc",
        "CFLAGS": f"-idirafter {include / triplet} -idirafter {include}",
        "LDFLAGS": f"-L{link} -Wl,--allow-shlib-undefined",
    }


def build(target: str) -> Path:
    digest = tree_digest(target)
    work = ROOT / "build" / f"binary-{target}"
    work.mkdir(parents=True, exist_ok=True)
    made = nuitka(target, digest, work)
    if elf.read(made).machine != target:
        raise parts.BuildError(f"{made} is for {elf.read(made).machine}, not for {target}")
    final = result(target)
    final.parent.mkdir(exist_ok=True)
    staged = final.with_name(f".{final.name}.{os.getpid()}")
    shutil.copyfile(made, staged)
    staged.chmod(0o755)
    staged.replace(final)
    stamp(target).write_text(digest)
    return final


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the single-file binary.")
    parser.add_argument("--target", choices=TARGETS, default=platform.machine())
    target: str = parser.parse_args().target
    try:
        final = build(target)
    except (parts.BuildError, aarch64.CrossError, elf.ElfError) as error:
        print(f"binary build failed: {error}", file=sys.stderr)
        return 1
    size = final.stat().st_size
    over = f", over the goal of {SIZE_BYTES_GOAL / 1e6:.0f} MB" if size > SIZE_BYTES_GOAL else ""
    print(f"{final.relative_to(ROOT)} {size / 1e6:.1f} MB{over}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
