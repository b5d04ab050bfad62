"""What `check` looks at: files below a root folder, and the few facts that are no files. Tests bring a root."""

import os
import platform
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

OK, WARN, FAIL = "ok", "warn", "fail"
COMMAND_SECONDS = 10.0


class Finding(NamedTuple):
    """One line of the report. `advice` says what to do; empty when there is nothing to do."""

    level: str
    name: str
    found: str
    advice: str = ""


class Settings(NamedTuple):
    """The options of the node to be that matter here, as `edgekube run` takes them."""

    data_dir: str = "/var/lib/edgekube"
    run_dir: str = "/run/edgekube"
    cluster_cidr: str = "10.42.0.0/16"
    service_cidr: str = "10.43.0.0/16"
    port: int = 6443
    bridge: str = "ek0"
    resolv_conf: str = "/etc/resolv.conf"


def run_command(words: Sequence[str]) -> str | None:
    """Standard output; None when the program is missing or fails."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


class Machine:
    """The machine as seen through `root`. What cannot be read counts as empty."""

    def __init__(
        self,
        root: Path = Path("/"),
        *,
        release: str = "",
        machine: str = "",
        now: float | None = None,
        user_id: int | None = None,
        command: Callable[[Sequence[str]], str | None] = run_command,
    ) -> None:
        self._root = root
        self.release = release or platform.release()
        self.machine = machine or platform.machine()
        self.now = time.time() if now is None else now
        self.user_id = os.geteuid() if user_id is None else user_id
        self.command = command

    def path(self, path: str) -> Path:
        return self._root / path.lstrip("/")

    def read(self, path: str) -> str:
        try:
            return self.path(path).read_text(errors="replace")
        except OSError:
            return ""

    def exists(self, path: str) -> bool:
        try:
            return self.path(path).exists()
        except OSError:
            return False

    def texts(self, folder: str, pattern: str) -> list[str]:
        """The contents of the files of a folder."""
        try:
            return [each.read_text(errors="replace") for each in sorted(self.path(folder).glob(pattern))]
        except OSError:
            return []

    def free_bytes(self, path: str) -> int | None:
        """Free for root on the file system a path is or will be on."""
        place = self.path(path)
        while not place.exists() and place != place.parent:
            place = place.parent
        try:
            figures = os.statvfs(place)
        except OSError:
            return None
        return figures.f_bavail * figures.f_frsize

    def mounts(self) -> list[tuple[str, str]]:
        """(mount point, file system type) of /proc/self/mounts, the latest last."""
        rows = [line.split() for line in self.read("/proc/self/mounts").splitlines()]
        return [(row[1].replace("\\040", " "), row[2]) for row in rows if len(row) >= 3]

    def file_system(self, path: str) -> str:
        """The type of the file system a path is on."""
        best, kind = "", ""
        for point, each in self.mounts():
            below = point == "/" or path == point or path.startswith(point + "/")
            if below and len(point) >= len(best):
                best, kind = point, each
        return kind

    def module(self, *names: str) -> bool | None:
        """Whether the kernel has one of these modules: loaded, built in or loadable. None when it does not say."""
        loaded = {line.split()[0] for line in self.read("/proc/modules").splitlines() if line.strip()}
        if loaded & set(names) or any(self.exists(f"/sys/module/{name}") for name in names):
            return True
        folder = f"/lib/modules/{self.release}"
        known = self.read(f"{folder}/modules.builtin") + self.read(f"{folder}/modules.dep")
        if not known:
            return None
        stems = {line.partition(":")[0].rpartition("/")[2].partition(".ko")[0] for line in known.splitlines()}
        return bool({stem.replace("-", "_") for stem in stems} & set(names))

    def config(self, option: str) -> bool | None:
        """A kernel configuration option; None when the configuration is not published."""
        text = self.read(f"/boot/config-{self.release}")
        if not text:
            import gzip

            try:
                text = gzip.decompress(self.path("/proc/config.gz").read_bytes()).decode(errors="replace")
            except (OSError, EOFError):
                return None
        return f"\n{option}=y" in "\n" + text or f"\n{option}=m" in "\n" + text
