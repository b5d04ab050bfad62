"""A connected socket, plain or TLS, as a trio stream that costs a server little.

Reading waits for the socket first, which is the one scheduling point a request needs; sending does not wait at all as
long as the kernel takes what it is given. TLS runs on the socket itself (a non-blocking `ssl.SSLSocket`), without the
memory buffers between OpenSSL and the socket that `trio.SSLStream` keeps for every connection.
"""

import contextlib
import socket
import ssl
from typing import Final

import trio

RECEIVE_BYTES: Final = 16 * 1024  # one TLS record; larger reads only cost memory
SEND_BYTES: Final = 16 * 1024  # the same: what one record carries
_WAIT_READ: Final = (BlockingIOError, ssl.SSLWantReadError)
_WAIT_WRITE: Final = (BlockingIOError, ssl.SSLWantWriteError)


class Wire(trio.abc.HalfCloseableStream):
    """One task may send while another receives. A cancelled send leaves the stream good for nothing but `aclose`.

    With `tls` the socket is a TLS server's once `do_handshake` has returned. An end without close_notify counts as an
    end, for HTTP frames its messages itself.
    """

    __slots__ = ("_closed", "_sock", "_tls", "_writable", "_write_waited")

    def __init__(self, transport: trio.SocketStream, tls: ssl.SSLContext | None = None) -> None:
        plain = socket.socket(fileno=transport.socket.detach())
        plain.setblocking(False)
        self._closed = False
        self._write_waited = False
        self._writable = trio.lowlevel.ParkingLot()
        self._tls: ssl.SSLSocket | None = None
        self._sock: socket.socket = plain
        if tls is not None:
            try:
                self._tls = tls.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
            except BaseException:
                plain.close()
                raise
            self._sock = self._tls

    @property
    def tls(self) -> ssl.SSLSocket | None:
        """The TLS side, to be asked for certificates."""
        return self._tls

    async def do_handshake(self) -> None:
        """Raises BrokenResourceError when the peer speaks no TLS we agree to."""
        assert self._tls is not None
        while True:
            try:
                self._tls.do_handshake()
                return
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(self._tls)
            except ssl.SSLWantWriteError:
                await self._wait_writable()
            except (OSError, ValueError) as error:
                raise trio.BrokenResourceError(f"TLS handshake failed: {error}") from error

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Up to `max_bytes`; empty at the end. Raises BrokenResourceError, ClosedResourceError."""
        self._check()
        sock = self._sock
        if self._tls is not None and self._tls.pending():
            await trio.lowlevel.checkpoint()  # decrypted already: the socket would not tell
        else:
            await trio.lowlevel.wait_readable(sock)
        while True:
            try:
                return sock.recv(max_bytes or RECEIVE_BYTES)
            except _WAIT_READ:
                await trio.lowlevel.wait_readable(sock)
            except ssl.SSLWantWriteError:  # the answer to a key update
                await self._wait_writable()
            except ssl.SSLZeroReturnError:
                return b""
            except (OSError, ValueError) as error:
                raise trio.BrokenResourceError(f"cannot receive: {error}") from error

    def receive_now(self, max_bytes: int) -> bytes | None:
        """What has arrived, without waiting; None when nothing has. Else as `receive_some`."""
        self._check()
        try:
            return self._sock.recv(max_bytes)
        except (*_WAIT_READ, ssl.SSLWantWriteError):
            return None
        except ssl.SSLZeroReturnError:
            return b""
        except (OSError, ValueError) as error:
            raise trio.BrokenResourceError(f"cannot receive: {error}") from error

    def send_now(self, data: bytes) -> int:
        """Send without waiting; how many bytes went. The next to be sent is `data` from there on, and nothing else."""
        self._check()
        sent = 0
        try:
            if len(data) <= SEND_BYTES:
                return self._sock.send(data)
            with memoryview(data) as view:
                while sent < len(data):
                    sent += self._sock.send(view[sent : sent + SEND_BYTES])
        except _WAIT_WRITE:
            pass
        except (OSError, ValueError) as error:
            raise trio.BrokenResourceError(f"cannot send: {error}") from error
        return sent

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Raises BrokenResourceError, ClosedResourceError."""
        await trio.lowlevel.checkpoint()
        self._check()
        with memoryview(data) as view:
            sent = 0
            while sent < len(view):
                try:
                    sent += self._sock.send(view[sent : sent + SEND_BYTES])
                except _WAIT_WRITE:
                    await self._wait_writable()
                except (OSError, ValueError) as error:
                    raise trio.BrokenResourceError(f"cannot send: {error}") from error

    async def wait_send_all_might_not_block(self) -> None:
        self._check()
        await self._wait_writable()

    async def _wait_writable(self) -> None:
        """As trio's, also for two tasks: a reader may have to write for TLS while a writer waits."""
        if self._write_waited:
            await self._writable.park()
            return
        self._write_waited = True
        try:
            await trio.lowlevel.wait_writable(self._sock)
        finally:
            self._write_waited = False
            self._writable.unpark_all()

    def say_goodbye(self) -> None:
        """TLS close_notify, if it can be had without waiting: it tells a complete end from a cut one (RFC 8446 6.1)."""
        if self._tls is not None and not self._closed:
            with contextlib.suppress(OSError, ValueError):
                self._tls.unwrap()  # raises SSLWantReadError once ours is sent

    async def send_eof(self) -> None:
        """End our side, TLS included; what still arrives is not decrypted."""
        self._check()
        await trio.lowlevel.checkpoint()
        self.say_goodbye()
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise trio.BrokenResourceError(f"cannot end the stream: {error}") from error

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()
        await trio.lowlevel.checkpoint()

    def _check(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this connection has been closed")
