"""A TCP connection to a pod's own loopback, for port-forward and probes."""

import os

import trio

from edgekube.native.namespaces import socket_in_netns

CONNECT_SECONDS_MAX = 10.0


async def connect(netns: str | None, port: int) -> trio.SocketStream:
    """Tries 127.0.0.1, then ::1. `netns` is a namespace's path, None our own.

    Raises OSError (ConnectionRefusedError...) as a connect would.
    """
    failure: OSError | None = None
    for family, address in ((trio.socket.AF_INET, "127.0.0.1"), (trio.socket.AF_INET6, "::1")):
        try:
            sock = _socket(netns, family)
        except OSError as error:  # a kernel without IPv6
            failure = failure or error
            continue
        try:
            with trio.fail_after(CONNECT_SECONDS_MAX):
                await sock.connect((address, port))
        except OSError as error:
            failure = failure or error
            sock.close()
            continue
        except trio.TooSlowError as error:
            sock.close()
            raise TimeoutError(f"no answer on port {port} of the pod") from error
        except BaseException:
            sock.close()
            raise
        return trio.SocketStream(sock)
    assert failure is not None
    raise failure


def _socket(netns: str | None, family: int) -> trio.socket.SocketType:
    if netns is None:
        return trio.socket.socket(family, trio.socket.SOCK_STREAM)
    fd = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return trio.socket.socket(fileno=socket_in_netns(fd, family, trio.socket.SOCK_STREAM))
    finally:
        os.close(fd)
