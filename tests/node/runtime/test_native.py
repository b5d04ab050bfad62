"""The extension's promises that nothing else here shows."""

import errno
import os
import signal
import socket
from pathlib import Path

import pytest
import trio

from edgekube.native.files import FsType, fs_type, open_in_root
from edgekube.native.mounts import DETACH, mount, umount
from edgekube.native.namespaces import pin, socket_in_netns
from edgekube.native.processes import spawn_detached


@pytest.mark.parametrize("path", ["link", "up/../../../secret", "/link", "absolute", "loop", "magic/root/secret"])
def test_no_path_leaves_its_root(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret").write_text("outside")
    root = tmp_path / "root"
    (root / "up").mkdir(parents=True)
    (root / "link").symlink_to("../secret")
    (root / "absolute").symlink_to(tmp_path / "secret")
    (root / "loop").symlink_to("loop")
    (root / "magic").symlink_to(f"/proc/{os.getpid()}")
    with pytest.raises(OSError, match=r"No such file|Too many levels") as caught:
        os.close(open_in_root(str(root), path))
    assert caught.value.filename == path


def test_options_that_the_kernel_would_cut_off_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="longer than 4095") as caught:
        mount("overlay", str(tmp_path), "overlay", 0, "lowerdir=" + "x" * 5000)
    assert caught.value.errno == errno.E2BIG


def test_a_failed_mount_names_its_target(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        mount("tmpfs", str(tmp_path / "absent"), "tmpfs")
    with pytest.raises(FileNotFoundError):
        mount("tmpfs", str(tmp_path), "tmpfs", folder=str(tmp_path / "absent"))


async def test_a_detached_process_is_nobodys_and_inherits_nothing(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    ours, theirs = socket.socketpair()
    try:
        script = "cat /proc/$$/stat; grep -E 'Sig(Blk|Ign)' /proc/$$/status; ls /proc/$$/fd; echo $ONLY; echo end"
        pid = spawn_detached(
            "/bin/sh", ["-c", f"({script}) >&3"], {"ONLY": "this", "PATH": "/bin:/usr/bin"}, [theirs.fileno()]
        )
        theirs.close()
        text = ""
        with trio.fail_after(10):
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
            while not text.endswith("end\n"):
                text += (await stream.receive_some()).decode()
            await stream.aclose()
    finally:
        signal.signal(signal.SIGUSR1, before)
        ours.close()
        theirs.close()
    lines = text.splitlines()
    fields = lines[0].rpartition(")")[2].split()
    assert int(lines[0].split()[0]) == pid
    assert int(fields[1]) != os.getpid()  # its parent
    assert int(fields[3]) != os.getsid(0)  # its session
    assert [line.split()[1].strip("0") for line in lines[1:3]] == ["", ""]
    assert set(lines[3:-2]) <= {"0", "1", "2", "3", "10", "255"}  # the shell's own saved copies
    assert lines[-2] == "this"
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222


def test_a_program_that_cannot_be_run_is_said() -> None:
    with pytest.raises(FileNotFoundError, match="/no/such/program"):
        spawn_detached("/no/such/program", [], {})
    with pytest.raises(PermissionError):
        spawn_detached("/etc/passwd", [], {})


def test_pins_hold_namespaces_and_sockets_open_in_them(tmp_path: Path) -> None:
    here = {name: os.readlink(f"/proc/self/ns/{name}") for name in ("net", "uts", "ipc")}
    name = socket.gethostname()
    for kind in ("net", "uts"):
        (tmp_path / kind).touch()
    try:
        pin(net=str(tmp_path / "net"), uts=str(tmp_path / "uts"), hostname="elsewhere")
        assert fs_type(str(tmp_path / "net")) == fs_type(str(tmp_path / "uts")) == FsType.NSFS
        fd = os.open(tmp_path / "net", os.O_RDONLY)
        with socket.socket(fileno=socket_in_netns(fd, socket.AF_INET, socket.SOCK_STREAM)) as listener:
            listener.bind(("127.0.0.1", 0))  # lo is up in there
            listener.listen()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(listener.getsockname(), timeout=5)
            with socket.socket(fileno=socket_in_netns(fd, socket.AF_INET, socket.SOCK_STREAM)) as caller:
                caller.settimeout(5)
                caller.connect(listener.getsockname())
        os.close(fd)
    finally:
        for kind in ("net", "uts"):
            umount(str(tmp_path / kind), DETACH)
    assert {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in here} == here
    assert socket.gethostname() == name


def test_a_sysctl_that_fails_is_named(tmp_path: Path) -> None:
    (tmp_path / "net").touch()
    with pytest.raises(OSError, match="/proc/sys/net/no_such"):
        pin(net=str(tmp_path / "net"), sysctls={"/proc/sys/net/no_such": "1"})
    assert fs_type(str(tmp_path / "net")) != FsType.NSFS
