"""A SPDY/3.1 session on a byte stream: its streams as trio streams, read by one task.

Flow control follows the peers there are: client-go's spdystream neither honours nor sends windows, so neither do we,
and a stream whose reader is slow holds back the whole session, by TCP.
"""

from collections.abc import Callable
from typing import Final

import trio

from edgekube.http.spdy import (
    RST_CANCEL,
    RST_INVALID_STREAM,
    RST_REFUSED,
    STREAMS_MAX,
    Codec,
    DataReceived,
    GoAway,
    PingReceived,
    ReplyReceived,
    SpdyError,
    StreamOpened,
    StreamReset,
)

_RECEIVE_BYTES: Final = 32 * 1024
_DATA_BYTES_MAX: Final = 32 * 1024  # of one frame we send
_QUEUE_CHUNKS_MAX: Final = 16  # unread data frames a stream holds before the session waits


class SpdyStream(trio.abc.HalfCloseableStream):
    """One stream of a session. `headers` are those it was opened with."""

    def __init__(self, session: "SpdySession", id_: int, headers: list[tuple[str, str]]) -> None:
        self.id = id_
        self.headers = headers
        self._session = session
        self._chunks_in, self._chunks_out = trio.open_memory_channel[bytes](_QUEUE_CHUNKS_MAX)
        self._pending = b""
        self._sent_fin = False
        self._reset = False

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if not self._pending:
            try:
                self._pending = await self._chunks_out.receive()
            except trio.EndOfChannel:
                if self._reset:
                    raise trio.BrokenResourceError("the peer reset the stream") from None
                return b""
            except trio.ClosedResourceError:
                return b""
        size = len(self._pending) if max_bytes is None else max_bytes
        data, self._pending = self._pending[:size], self._pending[size:]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._sent_fin or self._reset:
            raise trio.BrokenResourceError("the stream is closed for sending")
        view = bytes(data)
        for start in range(0, len(view), _DATA_BYTES_MAX):
            await self._session.send(Codec.data(self.id, view[start : start + _DATA_BYTES_MAX]))

    async def send_eof(self) -> None:
        if not self._sent_fin and not self._reset:
            self._sent_fin = True
            await self._session.send(Codec.data(self.id, b"", fin=True))
            self._session.forget_if_done(self)

    async def reset(self) -> None:
        """Abandon the stream in both directions."""
        if not self._reset:
            self._reset = True
            self._chunks_in.close()
            self._session.forget(self)
            await self._session.send(Codec.reset(self.id, RST_CANCEL))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """End both directions; what the peer still sends is dropped."""
        self._chunks_out.close()
        try:
            await self.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    @property
    def done(self) -> bool:
        return self._sent_fin and self._received_fin

    @property
    def _received_fin(self) -> bool:
        return self._chunks_in.statistics().open_send_channels == 0

    async def deliver(self, data: bytes, fin: bool) -> None:
        """From the session: data and the end of it."""
        try:
            if data:
                await self._chunks_in.send(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # nobody reads any more
        if fin:
            self._chunks_in.close()

    def lost(self) -> None:
        """From the session: the stream was reset, or the session ended."""
        self._reset = True
        self._chunks_in.close()


class SpdySession:
    """The session on `stream`. `run` reads it; `on_stream` is called, in the reading task, for each the peer opens."""

    def __init__(
        self, stream: trio.abc.Stream, *, client: bool = False, on_stream: Callable[[SpdyStream], None] | None = None
    ) -> None:
        self._stream = stream
        self._client = client
        self._on_stream = on_stream
        self._codec = Codec()
        self._streams: dict[int, SpdyStream] = {}
        self._next_id = 1 if client else 2
        self._last_peer_id = 0
        self._send_lock = trio.Lock()

    async def run(self) -> None:
        """Read until the peer closes. Raises SpdyError for nonsense; ends every stream however it ends."""
        try:
            while data := await self._stream.receive_some(_RECEIVE_BYTES):
                for event in self._codec.feed(bytes(data)):
                    await self._dispatch(event)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            for stream in list(self._streams.values()):
                stream.lost()
            self._streams.clear()

    async def open(self, headers: list[tuple[str, str]], *, fin: bool = False) -> SpdyStream:
        """Open a stream from our side."""
        stream = SpdyStream(self, self._next_id, headers)
        self._next_id += 2
        self._streams[stream.id] = stream
        async with self._send_lock:
            await self._stream.send_all(self._codec.syn_stream(stream.id, headers, fin=fin))
        return stream

    async def send(self, frame: bytes) -> None:
        async with self._send_lock:
            await self._stream.send_all(frame)

    def forget(self, stream: SpdyStream) -> None:
        self._streams.pop(stream.id, None)

    def forget_if_done(self, stream: SpdyStream) -> None:
        if stream.done:
            self.forget(stream)

    async def _dispatch(self, event: object) -> None:
        match event:
            case StreamOpened():
                await self._opened(event)
            case DataReceived():
                stream = self._streams.get(event.stream)
                if stream is None:
                    # Frames cross on the wire: data for a stream we ended is dropped, for one never opened refused.
                    if event.stream > self._last_peer_id and event.stream % 2 == (0 if self._client else 1):
                        await self.send(Codec.reset(event.stream, RST_INVALID_STREAM))
                    return
                await stream.deliver(event.data, event.fin)
                self.forget_if_done(stream)
            case ReplyReceived() if event.fin:
                stream = self._streams.get(event.stream)
                if stream is not None:
                    await stream.deliver(b"", True)
            case StreamReset():
                stream = self._streams.pop(event.stream, None)
                if stream is not None:
                    stream.lost()
            case PingReceived():
                if event.id % 2 == (0 if self._client else 1):
                    await self.send(Codec.ping(event.id))
            case GoAway():
                self._on_stream = None
            case _:
                pass

    async def _opened(self, event: StreamOpened) -> None:
        if event.stream <= self._last_peer_id or event.stream % 2 == (1 if self._client else 0):
            raise SpdyError(f"stream {event.stream} cannot be opened")
        self._last_peer_id = event.stream
        if self._on_stream is None or len(self._streams) >= STREAMS_MAX:
            await self.send(Codec.reset(event.stream, RST_REFUSED))
            return
        stream = SpdyStream(self, event.stream, event.headers)
        self._streams[event.stream] = stream
        async with self._send_lock:
            await self._stream.send_all(self._codec.syn_reply(event.stream))
        if event.fin:
            await stream.deliver(b"", True)
        self._on_stream(stream)
