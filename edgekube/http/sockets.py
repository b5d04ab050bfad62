"""Sockets for HTTP: listeners, who is at the other end, and a stream that gives back what was read too far."""

import contextlib
import grp
import os
import pwd
import socket
import stat
import struct
from typing import Final

import trio

from edgekube.http.messages import UnixCredentials

HTTP_RECEIVE_BYTES: Final = 16 * 1024  # one TLS record; larger reads only cost memory
_BACKLOG: Final = 128
_SO_PEERGROUPS: Final = 59  # socket(7), Linux 4.13; absent from Python's socket module
_GETSOCKOPT_BYTES_MAX: Final = 1024  # what socket.getsockopt can return


class BufferedStream(trio.abc.Stream):
    """A stream with `data` in front of what `inner` receives."""

    def __init__(self, inner: trio.abc.Stream, data: bytes) -> None:
        self._inner = inner
        self._data = data

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._data:
            await trio.lowlevel.checkpoint()
            size = len(self._data) if max_bytes is None else max_bytes
            data, self._data = self._data[:size], self._data[size:]
            return data
        return bytes(await self._inner.receive_some(max_bytes))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._inner.aclose()


def unix_credentials(sock: trio.socket.SocketType) -> UnixCredentials | None:
    """Who connected, or None for a socket that is not AF_UNIX. Supplementary groups count."""
    if sock.family != socket.AF_UNIX:
        return None
    pid, uid, gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GETSOCKOPT_BYTES_MAX)
        groups = struct.unpack(f"{len(raw) // 4}I", raw)
    except OSError:
        # More groups than fit, or an old kernel: what the user database says of the user stands in.
        groups = _database_groups(uid, gid)
    return UnixCredentials(pid=pid, uid=uid & 0xFFFFFFFF, gid=gid & 0xFFFFFFFF, groups=tuple(groups))


def _database_groups(uid: int, gid: int) -> tuple[int, ...]:
    try:
        return tuple(os.getgrouplist(pwd.getpwuid(uid).pw_name, gid))
    except (KeyError, OSError):
        return ()


def tcp_address(sock: trio.socket.SocketType) -> str:
    """The peer's IP address; IPv4-mapped ones as IPv4."""
    address: str = sock.getpeername()[0]
    return address.removeprefix("::ffff:").partition("%")[0]


async def open_unix_listener(path: str, *, mode: int = 0o660, group: str = "") -> trio.SocketListener:
    """Listen on a unix socket, replacing a dead one. Raises OSError EADDRINUSE while another process serves it.

    The socket gets `mode`, and `group` when that group exists.
    """
    await _remove_dead_socket(path)
    sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # bind() creates the file under the umask: closed to all until mode and group are set.
        previous = os.umask(0o177)
        try:
            await sock.bind(path)
        finally:
            os.umask(previous)
        with contextlib.suppress(KeyError, PermissionError):
            if group:
                os.chown(path, -1, grp.getgrnam(group).gr_gid)
        os.chmod(path, mode)
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return trio.SocketListener(sock)


async def _remove_dead_socket(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise FileExistsError(f"{path} exists and is not a socket: remove it or choose another path")
    except FileNotFoundError:
        return
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            await probe.connect(path)
        except ConnectionRefusedError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            return
        except FileNotFoundError:
            return
    raise OSError(98, f"another process serves {path}: stop it, or use another --run-dir")


async def open_tcp_listener(host: str, port: int) -> trio.SocketListener:
    """Listen on one address; "" or "::" means every address, IPv6 and IPv4 in one socket where the kernel allows."""
    if host in ("", "::") and socket.has_dualstack_ipv6():
        sock = socket.create_server(("::", port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True)
    elif host == "":
        sock = socket.create_server(("0.0.0.0", port), backlog=_BACKLOG)
    else:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    await trio.lowlevel.checkpoint()
    return trio.SocketListener(trio.socket.from_stdlib_socket(sock))
