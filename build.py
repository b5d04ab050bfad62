#!/usr/bin/env python3
"""Set up, run, test and build EdgeKube. Standard library only: this file runs on a fresh machine.

sudo python3 build.py run      set up, start a node, deploy examples/hello.yaml, answer a request through its Service
sudo python3 build.py test     set up, run the test suite (the gate); --all adds the long tests
sudo python3 build.py setup    apt packages, .venv from requirements.lock, native code, demo image; idempotent
python3 build.py types         regenerate edgekube/types from the pinned schema package
python3 build.py soak [SEED]   simulation seeds until stopped; prints those that fail, and what they come down to
python3 build.py lint          ruff, mypy --strict, import contracts
python3 build.py lock          resolve pyproject.toml into requirements.lock
python3 build.py binary --target x86_64|aarch64     one Nuitka file in dist/
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
BUILD = ROOT / "build"
DATA = ROOT / "edgekube" / "data"
DEMO_IMAGE = BUILD / "demo-image.tar"
DEMO_MANIFEST = ROOT / "examples" / "hello.yaml"

# What a node needs to run, what its tests need beside it, and what the cross-compiled binary takes.
PACKAGES_RUN = [
    *("python3-venv", "python3-dev", "gcc", "libc6-dev", "musl-tools"),
    *("runc", "nftables", "iproute2", "busybox-static", "kmod", "ca-certificates", "golang-github-containers-common"),
]
PACKAGES_TEST = [
    *("docker-registry", "skopeo", "etcd-server", "conntrack", "curl", "bind9-dnsutils"),
    *("e2fsprogs", "util-linux", "systemd"),
]
if platform.machine() == "x86_64":  # cgroup v2 whatever this machine mounts; an ARM board has it itself
    PACKAGES_TEST.append("user-mode-linux")
PACKAGES_TEST_ALL = ["mmdebstrap", *(["qemu-system-x86"] if platform.machine() == "x86_64" else [])]
PACKAGES_BINARY = ["patchelf", "ccache", "binutils"]
PACKAGES_CROSS = ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-user-static", "mmdebstrap", "arch-test"]

# The gate's budget of minutes a folder (tests/README.md); 15 in all on two cores. What a folder leaves over, the next
# ones may use: a busy machine slows them all, one at a time.
BUDGET_MINUTES = {"unit": 3.0, "sim": 3.5, "node": 3.5, "clients": 3.0, "cluster": 1.0, "vm": 1.0}
BUDGET_MINUTES_ALL = 240.0


class Failure(Exception):
    """Something a person must act on; printed without a traceback."""


def say(text: str) -> None:
    print(f"\033[1m==>\033[0m {text}" if sys.stdout.isatty() else f"==> {text}", flush=True)


def run(command: Sequence[str | Path], *, quiet: bool = False, env: dict[str, str] | None = None) -> None:
    """Run to success, or fail with the command and the end of what it printed."""
    result = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
        text=True,
    )
    if result.returncode != 0:
        tail = "\n".join((result.stdout or "").splitlines()[-25:])
        raise Failure(f"`{' '.join(str(part) for part in command)}` ended with {result.returncode}\n{tail}".rstrip())


def done_before(stamp: Path, digest: str) -> bool:
    return stamp.exists() and stamp.read_text() == digest


def digest_of(*paths: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(paths):
        total.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()


def need_root(what: str) -> None:
    if os.geteuid() != 0:
        raise Failure(f"{what} needs root: run it again with sudo")


def install_packages(packages: Sequence[str]) -> None:
    """Install what dpkg does not list as installed; touches no network when nothing is missing."""
    if shutil.which("dpkg-query") is None:
        raise Failure(
            "this machine has no dpkg: EdgeKube is set up on Debian 12 or Raspberry Pi OS (bookworm) or later"
        )
    listed = subprocess.run(
        ["dpkg-query", "-W", "-f=${Package} ${db:Status-Status}\n", *packages], capture_output=True, text=True
    ).stdout
    present = {line.split()[0] for line in listed.splitlines() if line.endswith(" installed")}
    missing = [name for name in packages if name not in present]
    if not missing:
        return
    need_root(f"installing {' '.join(missing)}")
    say(f"installing {len(missing)} Debian packages: {' '.join(missing)}")
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    # Services that packages bring (docker-registry, etcd) must not start on the user's machine.
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
        try:
            run(command, quiet=True, env=env)
        except Failure:
            run(["apt-get", "update", "-qq"], quiet=True, env=env)
            run(command, quiet=True, env=env)
    finally:
        if ours:
            policy.unlink()


def install_python() -> None:
    """.venv with exactly what requirements.lock names, and the `edgekube` command."""
    lock = ROOT / "requirements.lock"
    digest = digest_of(lock, ROOT / "pyproject.toml")
    stamp = VENV / ".edgekube-lock"
    if done_before(stamp, digest):
        return
    say("making .venv from requirements.lock")
    base = Path("/usr/bin/python3")
    interpreter = base if base.exists() else Path(sys.executable)
    if not PYTHON.exists():
        run([interpreter, "-m", "venv", VENV], quiet=True)
    pip = [PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    run([*pip, "--require-hashes", "-r", lock], quiet=True)
    run([*pip, "--no-deps", "--no-build-isolation", "--no-index", "-e", ROOT], quiet=True)
    stamp.write_text(digest)


def build_native() -> None:
    run([PYTHON, ROOT / "native" / "build.py"], quiet=True)


def build_data() -> None:
    """The artefacts derived from pinned packages: OpenAPI documents."""
    artefact = DATA / "openapi.zst"
    stamp = BUILD / "openapi.stamp"
    types = ROOT / "edgekube" / "types"
    digest = digest_of(ROOT / "requirements.lock", types / "schema.py", *(types / "_generate").glob("*.py"))
    if artefact.exists() and done_before(stamp, digest):
        return
    say("building the OpenAPI artefact")
    DATA.mkdir(exist_ok=True)
    BUILD.mkdir(exist_ok=True)
    run([PYTHON, "-m", "edgekube.types._generate", "--schema", artefact], quiet=True)
    stamp.write_text(digest)


def build_demo_image() -> None:
    """The image of examples/hello.yaml, made of this machine's own busybox: nothing comes from a registry."""
    source = ROOT / "edgekube" / "testing" / "images.py"
    stamp = BUILD / "demo-image.stamp"
    digest = digest_of(source) + digest_of_file(Path("/bin/busybox"))
    if DEMO_IMAGE.exists() and done_before(stamp, digest):
        return
    say("building the demo image from busybox")
    BUILD.mkdir(exist_ok=True)
    run([PYTHON, "-m", "edgekube.testing.images", DEMO_IMAGE], quiet=True)
    stamp.write_text(digest)


def digest_of_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def setup(packages: Sequence[str]) -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 (runs before any environment exists)
        raise Failure(f"Python 3.11 or later is needed; this is {platform.python_version()}")
    install_packages(packages)
    install_python()
    build_native()
    build_data()
    build_demo_image()


def command_setup(_: argparse.Namespace) -> int:
    need_root("setup")
    setup([*PACKAGES_RUN, *PACKAGES_TEST])
    say("ready: `sudo python3 build.py run` starts a node with a demo, `sudo python3 build.py test` runs the tests")
    return 0


def command_run(args: argparse.Namespace) -> int:
    """Start a node in the foreground and show that it works; Ctrl-C stops the node, its pods go on."""
    need_root("running a node")
    setup(PACKAGES_RUN)
    edgekube = VENV / "bin" / "edgekube"
    socket = Path(args.run_dir) / "edgekube.sock"
    env = {**os.environ, "EDGEKUBE_SOCKET": str(socket)}
    say("starting the node")
    options = [word for word in args.rest if word != "--"]
    node = subprocess.Popen(
        [edgekube, "run", "--data-dir", args.data_dir, "--run-dir", args.run_dir, *options], cwd=ROOT, env=env
    )
    try:
        demo(node, edgekube, env)
        if args.once:
            return 0
        return node.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        if node.poll() is None:
            node.send_signal(signal.SIGTERM)
            node.wait()


def demo(node: subprocess.Popen[bytes], edgekube: Path, env: dict[str, str]) -> None:
    def cli(*words: str, timeout: float = 120.0) -> str:
        result = subprocess.run([edgekube, *words], env=env, capture_output=True, text=True, timeout=timeout)
        if result.returncode != 0:
            raise Failure(f"`edgekube {' '.join(words)}` failed: {result.stderr.strip()}")
        return result.stdout.strip()

    def until(what: str, ready: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            if node.poll() is not None:
                raise Failure(f"the node ended with {node.returncode} before {what}")
            if time.monotonic() > deadline:
                raise Failure(f"gave up after {seconds:.0f} s waiting for {what}")
            time.sleep(0.2)

    until(
        "the API answers",
        lambda: subprocess.run([edgekube, "get", "--raw", "/readyz"], env=env, capture_output=True).returncode == 0,
        60,
    )
    say("importing the demo image and applying examples/hello.yaml")
    cli("images", "import", str(DEMO_IMAGE))
    cli("apply", "-f", str(DEMO_MANIFEST))
    cli("rollout", "status", "deployment/hello", "--timeout=120s", timeout=150)
    address = cli("get", "service", "hello", "-o", "jsonpath={.spec.clusterIP}:{.spec.ports[0].port}")

    answer = b""

    def answers() -> bool:
        nonlocal answer
        import urllib.request

        try:
            # The machine's proxy settings have no say in what a cluster address is.
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"http://{address}/", timeout=2) as response:
                answer = response.read(4096)
        except OSError:
            return False
        return True

    until(f"an answer from http://{address}/", answers, 30)
    print(cli("get", "pods,services,deployments", "-o", "wide"))
    say(f"http://{address}/ answers: {answer.decode(errors='replace').strip()}")
    say("the node runs in this terminal. In another one, try:")
    print(
        "    sudo .venv/bin/edgekube get pods -A\n"
        "    sudo .venv/bin/edgekube kubeconfig > kubeconfig && .venv/bin/kubectl --kubeconfig kubeconfig get nodes\n"
        "    sudo .venv/bin/edgekube scale deployment/hello --replicas=5\n"
        "  Ctrl-C stops the node; its pods keep running. `sudo .venv/bin/edgekube reset --yes` removes every trace.",
        flush=True,
    )


COUNTS = re.compile(r"(\d+) (passed|failed|errors?|skipped|xfailed|xpassed|deselected)")


def command_test(args: argparse.Namespace) -> int:
    need_root("the test suite")
    setup([*PACKAGES_RUN, *PACKAGES_TEST, *(PACKAGES_TEST_ALL if args.all else ())])
    failed: list[str] = []
    totals = {"passed": 0, "failed": 0, "skipped": 0}
    left = 0.0
    if not args.folders and lint() != 0:
        failed.append("lint")
    for folder, minutes in BUDGET_MINUTES.items():
        path = ROOT / "tests" / folder
        if (args.folders and folder not in args.folders) or not any(path.rglob("test_*.py")):
            continue
        budget = BUDGET_MINUTES_ALL if args.all else minutes
        say(f"tests/{folder} (budget {budget:g} min)")
        started = time.monotonic()
        left += budget * 60
        status, text = pytest(path, [] if args.all else ["-m", "not long"], left)
        for number, word in COUNTS.findall(text.splitlines()[-1] if text else ""):
            key = "failed" if word.startswith(("failed", "error")) else word
            totals[key] = totals.get(key, 0) + int(number)
        if status not in (0, 5):
            failed.append(folder)
        took = time.monotonic() - started
        left = max(0.0, left - took)
        say(f"tests/{folder}: {'passed' if status in (0, 5) else 'FAILED'} in {took:.0f} s")
    if failed:
        totals["failed"] = max(totals["failed"], len(failed))
        say(f"failed: {', '.join(failed)}")
    print(f"{totals['passed']} passed, {totals['failed']} failed, {totals['skipped']} skipped", flush=True)
    return 1 if failed else 0


def pytest(path: Path, words: Sequence[str], seconds: float) -> tuple[int, str]:
    """Run one folder; returns (exit status, output). Past its budget the folder is stopped and counts as failed."""
    command = [str(PYTHON), "-m", "pytest", "-q", "-p", "no:cacheprovider", *words, str(path)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    lines: list[str] = []
    signal.signal(signal.SIGALRM, lambda *_: process.send_signal(signal.SIGINT))
    signal.setitimer(signal.ITIMER_REAL, seconds, 20)  # a second and third SIGINT for what swallows the first
    try:
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            print(line, end="", flush=True)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return process.wait(), "\n".join(lines)


def lint() -> int:
    say("lint: ruff, mypy --strict, import contracts")
    checks = (
        [PYTHON, "-m", "ruff", "check", "--quiet", "."],
        [PYTHON, "-m", "ruff", "format", "--quiet", "--check", "edgekube", "tests", "native", "bench"],
        [PYTHON, "-m", "mypy"],
        [VENV / "bin" / "lint-imports"],
    )
    status = 0
    for check in checks:
        try:
            run(check, quiet=True)
        except Failure as failure:
            print(failure, flush=True)
            status = 1
    return status


def command_lint(_: argparse.Namespace) -> int:
    install_python()
    return lint()


def command_types(_: argparse.Namespace) -> int:
    install_python()
    run([PYTHON, "-m", "edgekube.types._generate"])
    return 0


def command_lock(_: argparse.Namespace) -> int:
    tool = BUILD / "lock-tool"
    run([sys.executable, "-m", "venv", tool], quiet=True)
    run([tool / "bin" / "pip", "install", "-q", "uv"], quiet=True)
    run(
        [
            tool / "bin" / "uv",
            "pip",
            "compile",
            "--generate-hashes",
            "--no-header",
            "--no-emit-index-url",
            "--no-annotate",
            "--extra",
            "dev",
            "--python-version",
            "3.11",
            "--universal",
            "pyproject.toml",
            "-o",
            "requirements.lock",
            "-q",
        ]
    )
    return 0


def command_binary(args: argparse.Namespace) -> int:
    cross = args.target != platform.machine()
    setup([*PACKAGES_RUN, *PACKAGES_BINARY, *(PACKAGES_CROSS if cross else ())])
    run([PYTHON, ROOT / "native" / "binary.py", "--target", args.target])
    return 0


def command_soak(args: argparse.Namespace) -> int:
    return subprocess.run([PYTHON, "-m", "edgekube.testing.sim_soak", *args.rest], cwd=ROOT).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("setup").set_defaults(call=command_setup)
    runner = commands.add_parser("run")
    runner.add_argument("--data-dir", default="/var/lib/edgekube")
    runner.add_argument("--run-dir", default="/run/edgekube")
    runner.add_argument("--once", action="store_true", help="stop the node after the demo has answered")
    runner.add_argument("rest", nargs=argparse.REMAINDER, help="further options of `edgekube run`")
    runner.set_defaults(call=command_run)
    tester = commands.add_parser("test")
    tester.add_argument("--all", action="store_true", help="the long tests too")
    tester.add_argument("folders", nargs="*", choices=[[], *BUDGET_MINUTES], help="only these folders of tests/")
    tester.set_defaults(call=command_test)
    commands.add_parser("types").set_defaults(call=command_types)
    commands.add_parser("lint").set_defaults(call=command_lint)
    soak = commands.add_parser("soak")
    soak.add_argument("rest", nargs=argparse.REMAINDER, help="the first seed, --count, --kind core|store")
    soak.set_defaults(call=command_soak)
    commands.add_parser("lock").set_defaults(call=command_lock)
    binary = commands.add_parser("binary")
    binary.add_argument("--target", choices=["x86_64", "aarch64"], default=platform.machine())
    binary.set_defaults(call=command_binary)
    args = parser.parse_args()
    try:
        return int(args.call(args))
    except Failure as failure:
        print(f"build.py: {failure}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
