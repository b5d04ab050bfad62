"""What a build for another architecture needs from outside: a Debian tree of it, and its Python wheels.

Nothing in the tree is ever executed to build (mmdebstrap only unpacks); the same tree lets qemu-user run the result.
Both are kept below build/ and made again when what they depend on changes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
DEBIAN = {"aarch64": "arm64"}
TRIPLET = {"aarch64": "aarch64-linux-gnu", "x86_64": "x86_64-linux-gnu"}
# Newest first: pip takes the best wheel of any of them.
PLATFORMS = ("manylinux_2_34", "manylinux_2_31", "manylinux_2_28", "manylinux_2_26", "manylinux_2_17", "manylinux2014")


class CrossError(Exception):
    """The message says what is missing and what to do."""


def sysroot(target: str, folder: Path) -> Path:
    """An unpacked Debian tree of `target` with this machine's version of Python; network only when it is not there."""
    packages = (f"lib{PYTHON}", f"lib{PYTHON}-stdlib", f"lib{PYTHON}-dev", "libc6", "musl-dev", "ca-certificates")
    sources = debian_sources()
    wanted = hashlib.sha256(repr((target, packages, sources)).encode()).hexdigest()
    root, stamp = folder / "root", folder / "root.stamp"
    if stamp.exists() and stamp.read_text() == wanted:
        return root
    if shutil.which("mmdebstrap") is None:
        raise CrossError("mmdebstrap is missing: install mmdebstrap and arch-test")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(root, ignore_errors=True)
    listed = folder / "sources.list"
    listed.write_text(sources)
    command = [
        "mmdebstrap",
        "--variant=extract",
        f"--architectures={DEBIAN[target]}",
        f"--include={','.join(packages)}",
    ]
    if os.geteuid() == 0:
        command.append("--mode=root")
    command += [f"--aptopt={line}" for line in proxy_options()]
    done = subprocess.run([*command, "", str(root), str(listed)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CrossError(f"no {DEBIAN[target]} tree could be unpacked: {done.stderr[-2000:]}")
    stamp.write_text(wanted)
    return root


def debian_sources() -> str:
    """The machine's own Debian mirrors, as one-line sources. Raises CrossError on a machine that has none."""
    fields = "$(ORIGIN)|$(COMPONENT)|$(REPO_URI)|$(CODENAME)|$(RELEASE)"
    lines = subprocess.run(
        ["apt-get", "indextargets", "--format", fields, "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.splitlines()
    found = []
    for line in lines:
        origin, component, address, codename, release = line.split("|")
        if origin == "Debian" and component == "main":
            found.append(f"deb {address} {codename or release} main\n")
    if not found:
        raise CrossError("apt knows no Debian mirror: run `apt-get update` on a Debian machine first")
    return "".join(dict.fromkeys(found))


def proxy_options() -> list[str]:
    """The machine's apt proxy settings; mmdebstrap starts from an empty configuration."""
    lines = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False).stdout.splitlines()
    return [line for line in lines if line.startswith(("Acquire::http", "Acquire::https")) and "roxy" in line]


def wheels(target: str, lock: Path, names: frozenset[str], folder: Path) -> Path:
    """The unpacked wheels of `names` for `target`, of exactly the versions and hashes the lock file gives."""
    wanted_lines = only(lock.read_text(), names)
    wanted = hashlib.sha256(f"{target}\n{wanted_lines}".encode()).hexdigest()
    root, stamp = folder / "site-packages", folder / "site-packages.stamp"
    if stamp.exists() and stamp.read_text() == wanted:
        return root
    shutil.rmtree(root, ignore_errors=True)
    downloads = folder / "wheels"
    shutil.rmtree(downloads, ignore_errors=True)
    downloads.mkdir(parents=True)
    requirements = folder / "requirements.txt"
    requirements.write_text(wanted_lines)
    command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--require-hashes", "--implementation=cp", "--dest", str(downloads)]
    command += [f"--python-version={sys.version_info.major}.{sys.version_info.minor}"]
    command += [f"--platform={platform}_{target}" for platform in PLATFORMS]
    done = subprocess.run([*command, "-r", str(requirements)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CrossError(f"no wheels for {target}: {done.stderr[-2000:]}")
    for path in sorted(downloads.glob("*.whl")):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(root)
    stamp.write_text(wanted)
    return root


def only(lock: str, names: frozenset[str]) -> str:
    """The entries of a lock file whose package is in `names`, with their hashes."""
    kept: list[str] = []
    found: set[str] = set()
    taking = False
    for line in lock.splitlines():
        if line and not line.startswith((" ", "#")):
            name = line.partition("==")[0].strip().lower().replace("_", "-")
            taking = name in names
            if taking:
                found.add(name)
        if taking:
            kept.append(line)
    if missing := names - found:
        raise CrossError(f"the lock file does not name {', '.join(sorted(missing))}")
    return "\n".join(kept) + "\n"
