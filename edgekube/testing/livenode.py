"""A real node in a network namespace of its own, for tests that want the whole thing: kubectl, runc, nftables.

Needs root. Everything it makes is named after the node and is removed by `close`, also after a failure: processes,
mounts, cgroups, the namespace, the folder. Traffic stays inside the namespace.
"""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
UPLINK = "198.51.100.10"  # TEST-NET-2: no host of anybody's
START_SECONDS = 60.0
PROGRAM = (sys.executable, "-m", "edgekube")


class LiveNode:
    """One node. `kubectl` and `edgekube` run the commands a user would; `run_in` runs anything beside the node.

    `program` is what is started: this tree, or a binary.
    """

    def __init__(self, folder: Path, options: Sequence[str] = (), program: Sequence[str] = PROGRAM) -> None:
        self.name = f"ek{uuid.uuid4().hex[:8]}"
        self.folder = folder / self.name
        self.data_dir, self.run_dir, self.log_dir = (self.folder / name for name in ("data", "run", "log"))
        self.socket = self.run_dir / "edgekube.sock"
        self.kubeconfig = self.folder / "kubeconfig"
        self._options = tuple(options)
        self.program = tuple(program)
        self._process: subprocess.Popen[bytes] | None = None
        self._log = self.folder / "node.log"

    # Set-up and end

    def open(self) -> None:
        """Make the namespace with an uplink, start the node, wait until it is ready."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.run_dir.mkdir()
        # The run dir of a real node is a tmpfs; so it is here, and the pins below it go with it.
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(self.run_dir)], check=True)
        for command in (
            f"ip netns add {self.name}",
            f"ip -n {self.name} link set lo up",
            f"ip -n {self.name} link add uplink type veth peer name lan",
            f"ip -n {self.name} addr add {UPLINK}/24 dev uplink",
            f"ip -n {self.name} link set uplink up",
            f"ip -n {self.name} link set lan up",
            f"ip -n {self.name} route add default via 198.51.100.1",
        ):
            subprocess.run(command.split(), check=True)
        self.start()

    def start(self) -> None:
        """Start the node process and wait until its API says it is ready."""
        self.spawn()
        self.until("the node is ready", lambda: self.local("/readyz") == b"ok", START_SECONDS)
        if not self.kubeconfig.exists():
            self.kubeconfig.write_bytes(self.local("/edgekube/kubeconfig?server=https://127.0.0.1:6443"))

    def spawn(self) -> None:
        """Start the node process and wait for nothing."""
        options = [
            *("--data-dir", str(self.data_dir), "--run-dir", str(self.run_dir), "--log-dir", str(self.log_dir)),
            *("--node-name", self.name, "--cgroup-root", self.name, "--verbose", *self._options),
        ]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._enter(), *self.program, "run", *options],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid  # nsenter execs the node: it is the same process

    def kill(self) -> None:
        """SIGKILL to the node process alone, as the OOM killer would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """SIGTERM and wait."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(30)

    def close(self) -> None:
        """Remove every trace, whatever state things are in."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self._empty_cgroups()
        for mount in sorted(self.mounts(), key=len, reverse=True):
            subprocess.run(["umount", "-l", mount], capture_output=True)
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True)
        subprocess.run(["rm", "-rf", "--one-file-system", str(self.folder)], capture_output=True)  # any depth

    def _empty_cgroups(self) -> None:
        for root in self.cgroup_roots():
            for folder, _, _ in os.walk(root, topdown=False):
                try:
                    for pid in (Path(folder) / "cgroup.procs").read_text().split():
                        os.kill(int(pid), signal.SIGKILL)
                except (OSError, ProcessLookupError):
                    pass
        deadline = time.monotonic() + 5
        for root in self.cgroup_roots():
            while root.exists() and time.monotonic() < deadline:
                for folder, _, _ in os.walk(root, topdown=False):
                    try:
                        os.rmdir(folder)
                    except OSError:
                        time.sleep(0.02)

    # What a user does

    def _enter(self) -> list[str]:
        # Only the network: `ip netns exec` would also hide the cgroup file systems.
        return ["nsenter", f"--net=/run/netns/{self.name}"]

    def run_in(self, *command: str, timeout: float = 30.0, check: bool = True, text: str = "") -> str:
        """Run a command in the node's network; returns its standard output. Raises AssertionError with its errors."""
        result = subprocess.run(
            [*self._enter(), *command], input=text or None, capture_output=True, text=True, timeout=timeout, cwd=ROOT
        )
        if check and result.returncode != 0:
            raise AssertionError(f"{' '.join(command)} ended with {result.returncode}: {result.stderr.strip()}")
        return result.stdout

    def kubectl_command(self, *words: str) -> list[str]:
        """The command line of unmodified kubectl from the locked environment, inside the node's network."""
        binary = str(Path(sys.executable).parent / "kubectl")
        return [*self._enter(), binary, "--kubeconfig", str(self.kubeconfig), *words]

    def kubectl(self, *words: str, timeout: float = 120.0, text: str = "") -> str:
        """What kubectl prints. Raises AssertionError with its errors when it fails."""
        result = subprocess.run(
            self.kubectl_command(*words), input=text or None, capture_output=True, text=True, timeout=timeout
        )
        if result.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(words)} ended with {result.returncode}: {result.stderr.strip()}")
        return result.stdout

    def kubectl_status(self, *words: str, timeout: float = 120.0, text: str = "") -> tuple[int, str]:
        """As `kubectl`, whatever comes of it: (exit code, all output)."""
        result = subprocess.run(
            self.kubectl_command(*words),
            input=text or None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )
        return result.returncode, result.stdout

    def edgekube(self, *words: str, timeout: float = 120.0, check: bool = True) -> str:
        """The command line over the node's socket."""
        return self.run_in(*self.program, "--socket", str(self.socket), *words, timeout=timeout, check=check)

    def apply(self, manifest: str | Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> str:
        """kubectl apply of YAML text, or of objects."""
        if not isinstance(manifest, str):
            items = [manifest] if isinstance(manifest, Mapping) else list(manifest)
            manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        return self.kubectl("apply", "-f", "-", text=manifest)

    def get(self, *words: str) -> Any:
        """kubectl get ... -o json, decoded."""
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def local(self, path: str, method: str = "GET") -> bytes:
        """A request over the node's unix socket; empty while nobody answers."""
        result = subprocess.run(
            ["curl", "-s", "--max-time", "20", "-X", method, "--unix-socket", str(self.socket), f"http://node{path}"],
            capture_output=True,
        )
        return result.stdout

    def import_image(self, path: Path) -> None:
        answer = json.loads(self.local(f"/edgekube/images/import?path={path}", "POST").splitlines()[-1])
        assert "error" not in answer, answer

    def until(self, what: str, condition: Callable[[], Any], seconds: float = 60.0) -> Any:
        """Wait for a condition; what it returned. Raises AssertionError with the end of the node's log."""
        deadline = time.monotonic() + seconds
        while True:
            value = condition()
            if value:
                return value
            if self._process is not None and self._process.poll() is not None:
                raise AssertionError(f"the node ended with {self._process.returncode}\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"gave up waiting until {what}\n{self.log_tail()}")
            time.sleep(0.1)

    def log_tail(self, lines: int = 40) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:]) if self._log.exists() else ""

    # What a node leaves on the machine: the leak checks

    def cgroup_roots(self) -> list[Path]:
        base = Path("/sys/fs/cgroup")
        places = [base, *(p for p in base.iterdir() if p.is_dir())]
        return [place / self.name for place in places if (place / self.name).is_dir()]

    def cgroups(self) -> set[str]:
        """Pod and container cgroups, relative to their hierarchy's root."""
        found = set()
        for root in self.cgroup_roots():
            for folder, _, _ in os.walk(root):
                found.add(str(Path(folder).relative_to(root)))
        return found

    def mounts(self) -> list[str]:
        """Mount points below the node's folder, and its namespace's."""
        prefix = f"{self.folder}/"
        with open("/proc/self/mountinfo") as table:
            points = [line.split()[4].encode().decode("unicode_escape") for line in table]
        return [point for point in points if point.startswith(prefix)]

    def processes(self) -> list[int]:
        """Shims and containers of this node: processes that name its folder, or live in its cgroups."""
        found = set()
        marker = f"{self.folder}/".encode()
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) != os.getpid():
                try:
                    if marker in Path(f"/proc/{entry}/cmdline").read_bytes():
                        found.add(int(entry))
                except OSError:
                    continue
        for root in self.cgroup_roots():
            for folder, _, _ in os.walk(root):
                try:
                    found.update(int(pid) for pid in (Path(folder) / "cgroup.procs").read_text().split())
                except OSError:
                    continue
        return sorted(found)

    def links(self) -> set[str]:
        """Network links in the node's namespace beyond the uplink it was given."""
        text = subprocess.run(["ip", "-n", self.name, "-j", "link"], capture_output=True, text=True, check=True).stdout
        return {link["ifname"] for link in json.loads(text)} - {"lo", "uplink", "lan"}

    def rules(self) -> str:
        """The whole nftables ruleset of the namespace."""
        return self.run_in("nft", "list", "ruleset")


@contextmanager
def live_node(folder: Path, options: Sequence[str] = ()) -> Iterator[LiveNode]:
    """A started node, gone without a trace afterwards."""
    node = LiveNode(folder, options)
    try:
        node.open()
        yield node
    finally:
        node.close()
