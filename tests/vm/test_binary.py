"""The shipped binary proves itself: here, and for aarch64 under a user-mode emulator with that architecture's Debian.

The gate runs what is in dist/ if it was built from this very tree, and checks the same program from source always; the
long tests build both binaries first.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from edgekube.pki.model import Request

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "native"))
import binary  # noqa: E402
import elf  # noqa: E402

EMULATORS = {"aarch64": "qemu-aarch64-static"}
TOOLS = {"x86_64": ("patchelf",), "aarch64": ("patchelf", "mmdebstrap", "aarch64-linux-gnu-gcc", EMULATORS["aarch64"])}
RUN_SECONDS_MAX = 240


class Binary:
    """The binary of one target, started the way that this machine needs."""

    def __init__(self, target: str, home: Path) -> None:
        self.target = target
        self.path = binary.result(target)
        self.folder = home / ".cache" / "edgekube" / f"{binary.version()}-{binary.stamp(target).read_text()}"
        self._foreign = target != platform.machine()
        self._env = {"PATH": os.environ["PATH"], "HOME": str(home)}
        if self._foreign:
            self._env["QEMU_LD_PREFIX"] = str(ROOT / "build" / f"binary-{target}" / "debian" / "root")

    def run(self, program: Path, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        prefix = [EMULATORS[self.target]] if self._foreign else []
        command = [*prefix, str(program), *words]
        return subprocess.run(command, env=self._env, input=stdin, capture_output=True, timeout=RUN_SECONDS_MAX)

    def unpack(self) -> Path:
        """Start the one file, which unpacks itself; returns the program it becomes."""
        done = self.run(self.path, "version", "--client")
        # An emulator's guest cannot exec the unpacked program itself: the host's kernel would have to run it.
        assert done.returncode == 0 or self._foreign, done.stderr.decode()
        return self.folder / "edgekube.bin"


def built(target: str, home: Path) -> Binary:
    if not binary.result(target).exists():
        pytest.skip(f"dist/ has no {target} binary: `python3 build.py binary --target {target}` makes it")
    if binary.stamp(target).read_text() != binary.tree_digest(target):
        pytest.skip(f"the {target} binary in dist/ is of another tree")
    missing = [name for name in TOOLS[target] if shutil.which(name) is None]
    if missing:
        pytest.skip(f"install {' '.join(missing)}")
    return Binary(target, home)


def test_a_process_with_all_roles_holds_no_helpers_module() -> None:
    command = [sys.executable, "-m", "edgekube", "_selftest", "--helpers"]
    done = subprocess.run(command, capture_output=True, timeout=RUN_SECONDS_MAX)
    assert done.stdout, done.stderr.decode()
    report = json.loads(done.stdout)
    assert report["failed"] == []
    assert done.returncode == 0
    assert not report["binary"]
    assert report["program"] == [sys.executable, "-m", "edgekube"]


def test_a_forbidden_module_is_noticed() -> None:
    program = "import cryptography.x509, edgekube.selftest as s; print(s.forbidden_modules())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert "cryptography" in done.stdout


@pytest.mark.long
@pytest.mark.parametrize("target", binary.TARGETS)
def test_build(target: str) -> None:
    missing = [name for name in TOOLS[target] if shutil.which(name) is None]
    if missing:
        pytest.skip(f"install {' '.join(missing)}")
    command = [sys.executable, str(ROOT / "native" / "binary.py"), "--target", target]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert binary.result(target).stat().st_size <= binary.SIZE_BYTES_GOAL


@pytest.mark.parametrize("target", binary.TARGETS)
def test_binary_works(target: str, tmp_path: Path) -> None:
    """Store, API and helpers; nothing of another architecture, nothing left out."""
    made = built(target, tmp_path)
    program = made.unpack()
    assert elf.check(made.folder, target) > 20
    done = made.run(program, "_selftest", *(["--helpers"] if target == platform.machine() else []))
    assert done.returncode == 0, done.stderr.decode()
    report = json.loads(done.stdout)
    assert report["failed"] == []
    assert report["binary"]
    assert report["machine"] == target
    assert report["program"] == [str(program)]


@pytest.mark.parametrize("target", binary.TARGETS)
def test_helpers_of_the_binary(target: str, tmp_path: Path) -> None:
    """Each helper by itself, as a node starts it: under an emulator a process cannot start another of its kind."""
    made = built(target, tmp_path)
    program = made.unpack()
    request = Request(folder=str(tmp_path / "pki"), node_name="n", sans=("n",), now=1_790_000_000.0)
    done = made.run(program, "_pki", "ensure", stdin=msgspec.json.encode(request))
    assert done.returncode == 0, done.stderr.decode()
    assert "ca.crt" in json.loads(done.stdout)
    data = tmp_path / "data"
    for name in ("images", "layers"):
        (data / name).mkdir(parents=True)
    (data / "images" / "plain").write_bytes(b"no archive")
    job = {"op": "inflate", "source": "images/plain", "target": "images/out"}
    done = made.run(program, "_unpack", "--data", str(data), stdin=json.dumps(job).encode() + b"\n")
    assert json.loads(done.stdout) == {"ok": {"plain": True}}, done.stderr.decode()
    assert made.run(made.folder / "edgekube" / "native" / "shim").returncode == 64  # EX_USAGE


def test_the_one_file_leaves_no_process_between(tmp_path: Path) -> None:
    """It becomes the program: one pid, its exit status, signals that arrive."""
    made = built(platform.machine(), tmp_path)
    made.unpack()
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    command = [str(made.path), "_unpack", "--data", str(tmp_path)]
    for name in ("images", "layers"):
        (tmp_path / name).mkdir()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b'{"op": "remove", "paths": []}\n')
        process.stdin.flush()
        assert json.loads(process.stdout.readline()) == {"ok": {"freed_bytes": 0}}
        assert os.readlink(f"/proc/{process.pid}/exe") == str(made.folder / "edgekube.bin")
        assert b"NUITKA_ONEFILE_PARENT" not in Path(f"/proc/{process.pid}/environ").read_bytes()
        process.terminate()
        assert process.wait(10) == -15


def test_it_unpacks_itself_once_and_wholly(tmp_path: Path) -> None:
    made = built(platform.machine(), tmp_path)
    command = [str(made.path), "version", "--client"]
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    together = [subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) for _ in range(4)]
    assert [process.wait(RUN_SECONDS_MAX) for process in together] == [0, 0, 0, 0]
    part, complete = made.folder / "edgekube" / "data" / "seccomp.json", made.folder / ".complete"
    whole = part.read_bytes()
    part.write_bytes(b"")
    assert made.run(made.path, "version", "--client").returncode == 0
    assert part.read_bytes() == b""  # not looked at again
    complete.unlink()  # as it is when the first start was cut short
    assert made.run(made.path, "version", "--client").returncode == 0
    assert part.read_bytes() == whole
    assert complete.readlink() == made.folder / "edgekube.bin"
