"""The unit file: systemd accepts it, and it has none of the directives that would hide mounts from the next process."""

import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "systemd" / "edgekube.service"

# Each gives the service a mount namespace of its own: overlay mounts and namespace pins made in it would be out of
# reach of the process that comes after a restart (docs/architecture.md).
FORBIDDEN = (
    "BindPaths BindReadOnlyPaths DynamicUser InaccessiblePaths MountFlags MountImages NoExecPaths PrivateDevices "
    "PrivateMounts PrivateNetwork PrivateTmp PrivateUsers ProtectClock ProtectControlGroups ProtectHome "
    "ProtectHostname ProtectKernelLogs ProtectKernelModules ProtectKernelTunables ProtectProc ProtectSystem "
    "ReadOnlyPaths ReadWritePaths RootDirectory RootImage TemporaryFileSystem"
).split()
REQUIRED = {"KillMode": "process", "Delegate": "yes", "OOMPolicy": "continue", "Type": "notify", "NotifyAccess": "all"}


def directives() -> dict[str, str]:
    lines = (line.partition("=") for line in UNIT.read_text().splitlines() if "=" in line and line[0] not in "#;[")
    return {name.strip(): value.strip() for name, _, value in lines}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_no_mount_namespace_of_its_own(name: str) -> None:
    assert name not in directives()


def test_containers_survive_the_service() -> None:
    found = directives()
    assert {name: found.get(name) for name in REQUIRED} == REQUIRED


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_accepts_it(tmp_path: Path) -> None:
    # verify wants the program to exist; which one is not what is checked here.
    text = UNIT.read_text().replace("/usr/local/bin/edgekube", "/bin/true")
    copy = tmp_path / UNIT.name
    copy.write_text(text)
    result = subprocess.run(["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True)
    complaints = [line for line in result.stderr.splitlines() if UNIT.name in line]
    assert not complaints
    assert result.returncode == 0, result.stderr
