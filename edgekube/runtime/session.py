"""Streams to a process under a shim: the caller's side of exec and attach."""

import trio

from edgekube.runtime import shimlink
from edgekube.runtime.api import RuntimeFailure
from edgekube.runtime.shimlink import STDIN_PIECE_BYTES, ShimLink

PIECES_WAITING_MAX = 4  # of each output stream, 16 KiB each; beyond that the shim is held back


class OutputStream(trio.abc.ReceiveStream):
    """Output of the process, in order; b"" at its end."""

    def __init__(self, pieces: trio.MemoryReceiveChannel[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if not self._rest:
            try:
                self._rest = await self._pieces.receive()
            except trio.EndOfChannel:
                return b""
        else:
            await trio.lowlevel.checkpoint()
        size = len(self._rest) if max_bytes is None else max_bytes
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece

    async def aclose(self) -> None:
        await self._pieces.aclose()


class InputStream(trio.abc.SendStream):
    """The process's standard input; a process that does not read holds the writer back."""

    def __init__(self, link: ShimLink) -> None:
        self._link = link
        self._closed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._closed:
            raise trio.ClosedResourceError("standard input was closed")
        view = memoryview(data)
        await trio.lowlevel.checkpoint()
        for start in range(0, len(view), STDIN_PIECE_BYTES):
            await self._link.send(shimlink.encode(b"i", bytes(view[start : start + STDIN_PIECE_BYTES])))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        if self._closed:
            await trio.lowlevel.checkpoint()
            return
        self._closed = True
        with trio.move_on_after(1) as scope:
            scope.shield = True
            try:
                await self._link.send(shimlink.encode(b"c"))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass


class Session:
    """ExecSession. `control` carries sizes, so that they pass standard input that nobody reads."""

    def __init__(self, link: ShimLink, control: ShimLink, flags: int) -> None:
        self._link = link
        self._control = control
        self._ended = trio.Event()
        self._scope = trio.CancelScope()
        self._exit_code: int | None = None
        self.stdin: trio.abc.SendStream | None = InputStream(link) if flags & shimlink.GIVE_STDIN else None
        self._writers: dict[int, trio.MemorySendChannel[bytes]] = {}
        streams: list[OutputStream | None] = []
        for kind, wanted in ((shimlink.STDOUT, shimlink.WANT_STDOUT), (shimlink.STDERR, shimlink.WANT_STDERR)):
            if flags & wanted:
                writer, reader = trio.open_memory_channel[bytes](PIECES_WAITING_MAX)
                self._writers[kind] = writer
                streams.append(OutputStream(reader))
            else:
                streams.append(None)
        self.stdout: trio.abc.ReceiveStream | None = streams[0]
        self.stderr: trio.abc.ReceiveStream | None = streams[1]

    async def resize(self, width: int, height: int) -> None:
        try:
            await self._control.send(shimlink.encode_resize(width, height))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # it has ended: there is nothing to resize

    async def wait(self) -> int:
        """The exit code. Read the output meanwhile, or a process with much to say never ends."""
        await self._ended.wait()
        if self._exit_code is None:
            raise RuntimeFailure("SessionLost", "the connection to the process was lost before it ended")
        return self._exit_code

    def close(self) -> None:
        """Lets go of the process's streams; `pump` ends."""
        self._scope.cancel()
        self._link.close()

    async def pump(self) -> None:
        """The link's only reader: to be run by the owner until it ends, which is after `close` at the latest."""
        with self._scope:
            await self._read()

    async def _read(self) -> None:
        try:
            while frames := await self._link.receive():
                for frame in frames:
                    if frame.kind in (shimlink.STDOUT, shimlink.STDERR):
                        await self._deliver(frame)
                    elif frame.kind == shimlink.EXIT:
                        self._exit_code = shimlink.decode_state(frame.payload).exit_code
                        return
        except shimlink.ProtocolError:
            return
        finally:
            for writer in self._writers.values():
                writer.close()
            self._ended.set()

    async def _deliver(self, frame: shimlink.Frame) -> None:
        writer = self._writers.get(frame.kind)
        if writer is None:
            return
        if not frame.payload:
            writer.close()
            return
        try:
            await writer.send(frame.payload)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # the caller does not want it any more
