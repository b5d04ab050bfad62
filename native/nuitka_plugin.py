"""What EdgeKube asks of Nuitka: which modules become C, a bootstrap that leaves no process behind, and the swap of
every file of this machine for its twin of the target.

Nuitka loads this file as a user plugin. Its settings come as JSON in the variable EDGEKUBE_BINARY (see `Settings`).
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from nuitka.plugins.PluginBase import NuitkaPluginBase

sys.path.insert(0, str(Path(__file__).resolve().parent))

import docstrings
import elf

ENVIRONMENT = "EDGEKUBE_BINARY"
# Modules that Nuitka makes up itself can only be compiled.
GLUE = ("-preLoad", "-postLoad", "__main__", "__parents_main__")
# Whose docstrings are shown to users; all others cost 2 MiB in every node.
DOCUMENTED = ("edgekube.cli",)
# Nuitka's bootstrap forks and waits, and the child polls whether its parent lives. With a cached folder there is
# nothing to clean up afterwards: it can become the program. One process, its own exit status, no timer.
# It also unpacks everything anew at each start, to compare checksums: five times the CPU of a short command. Instead,
# a link to the program says that all of it is there and on the disk; who comes first makes it, the others wait.
BOOTSTRAP = (
    (
        "    // The onefile bootstrap is setup now.\n",
        """    static char complete[sizeof(payload_path) + 16];
    snprintf(complete, sizeof(complete), "%s/.complete", payload_path);
    createContainingDirectory(complete);
    int folder = open(payload_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int locked = 0; locked < 2; locked++) {
        ssize_t length = readlink(complete, first_filename, sizeof(first_filename) - 1);
        if (length > 0 && access(first_filename, X_OK) == 0) {
            goto unpacked;
        }
        memset(first_filename, 0, sizeof(first_filename));
        if (locked == 0) {
            flock(folder, LOCK_EX);
        }
    }
""",
    ),
    (
        "    // We are done with the unpacking now.\n",
        """    syncfs(folder);
    unlink(complete);
    if (symlink(first_filename, complete) != 0) {
        perror(complete);
    }
unpacked:;
""",
    ),
    ("#include <sys/wait.h>\n", "#include <fcntl.h>\n#include <sys/file.h>\n#include <sys/wait.h>\n"),
    ("    pid_t pid = fork();\n", "    pid_t pid = 0;\n"),
    (
        "            execv(fork_binary, argv);\n",
        '            unsetenv("NUITKA_ONEFILE_PARENT");\n            execv(fork_binary, argv);\n',
    ),
)


class Settings(NamedTuple):
    """`compiled`: packages and modules that become C; all else stays bytecode. `target`: the machine it is for.

    `extensions`: folders that mirror site-packages and lib-dynload of the target, `libraries`: folders with its shared
    libraries. `extensions` is empty for this machine.
    """

    target: str
    compiled: tuple[str, ...]
    extensions: tuple[str, ...]
    libraries: tuple[str, ...]

    @classmethod
    def read(cls) -> Settings:
        return cls(
            **{name: tuple(v) if isinstance(v, list) else v for name, v in json.loads(os.environ[ENVIRONMENT]).items()}
        )


class EdgeKubePlugin(NuitkaPluginBase):  # type: ignore[misc]
    plugin_name = __file__

    def __init__(self) -> None:
        self.settings = Settings.read()

    def decideCompilation(self, module_name: Any) -> str:  # noqa: N802
        name = str(module_name)
        chosen = name.endswith(GLUE) or any(
            name == each or name.startswith(each + ".") for each in self.settings.compiled
        )
        return "compiled" if chosen else "bytecode"

    def onModuleSourceCode(self, module_name: Any, source_filename: str, source_code: str) -> str:  # noqa: N802
        if str(module_name).startswith(DOCUMENTED):
            return source_code
        return docstrings.without_docstrings(source_code)

    def onGeneratedSourceCode(self, source_dir: str, onefile: bool) -> None:  # noqa: N802
        if not onefile:
            return
        path = Path(source_dir, "static_src", "OnefileBootstrap.c")
        text = path.read_text()
        for old, new in BOOTSTRAP:
            if text.count(old) != 1:
                self.sysexit(f"this Nuitka's bootstrap is not the one that is known: {old.strip()!r} is not there once")
            text = text.replace(old, new)
        path.unlink()  # it may be a link to Nuitka's own
        path.write_text(text)

    def onStandaloneDistributionFinished(self, dist_dir: str) -> None:  # noqa: N802
        folder = Path(dist_dir)
        try:
            if self.settings.extensions:
                swap(folder, self.settings)
            close(folder, self.settings)
            strip(folder, self.settings.target)
            elf.check(folder, self.settings.target)
        except elf.ElfError as error:
            self.sysexit(str(error))


def swap(folder: Path, settings: Settings) -> None:
    """Every extension module by its twin of the same module name; shared libraries go, `close` brings the target's."""
    for path, found in elf.files(folder):
        if found.machine == settings.target:
            continue
        if twin := extension_twin(path.relative_to(folder), settings):
            replace(path, twin)
        else:
            path.unlink()


def close(folder: Path, settings: Settings) -> None:
    """Bring every library that a file in the folder needs and the C library is not; let all look for them there."""
    pending = list(elf.files(folder))
    while pending:
        path, found = pending.pop()
        for name in found.needed:
            if name in elf.SYSTEM_LIBRARIES or (folder / name).exists():
                continue
            source = next((Path(each, name) for each in settings.libraries if Path(each, name).exists()), None)
            if source is None:
                raise elf.ElfError(f"{path.relative_to(folder)} needs {name}, which no {settings.target} folder has")
            replace(folder / name, source)
            pending.append((folder / name, elf.read(folder / name)))
        if not found.needed:
            continue  # static: it looks for nothing
        depth = len(path.relative_to(folder).parts) - 1
        origin = "/".join(["$ORIGIN", *[".."] * depth])
        subprocess.run(["patchelf", "--set-rpath", origin, str(path)], check=True)


def strip(folder: Path, target: str) -> None:
    """Wheels come with debugging symbols, a third of the binary."""
    own = target == platform.machine()
    tool = "strip" if own else f"{target}-linux-gnu-strip"
    for path, found in elf.files(folder):
        if found.needed and ".so" in path.name:
            subprocess.run([tool, "--strip-unneeded", str(path)], check=True)


def extension_twin(path: Path, settings: Settings) -> Path | None:
    """`a/b.so` is the module a.b; its twin is `a/b.*.so` below one of the target's folders."""
    stem = path.name.split(".")[0]
    for each in settings.extensions:
        for candidate in sorted(Path(each, path.parent).glob(f"{stem}.*so")):
            if candidate.name.endswith((".abi3.so", f"-{settings.target}-linux-gnu.so", f"{stem}.so")):
                return candidate
    return None


def replace(path: Path, source: Path) -> None:
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(source.resolve().read_bytes())
    path.chmod(0o755)
