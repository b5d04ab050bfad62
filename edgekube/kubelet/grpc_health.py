"""One call of grpc.health.v1.Health/Check over HTTP/2, without I/O (gRPC over HTTP2, health checking protocol).

A client of one request: preface, settings, headers, one message; then frames are read until the stream ends. Header
compression is switched off in our direction (literals), and the peer is told to keep no table (RFC 9113, RFC 7541).
"""

import struct

from edgekube.kubelet.hpack import HeaderError, read_headers
from edgekube.types.integers import natural

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PATH = "/grpc.health.v1.Health/Check"
FRAME_BYTES_MAX = 16 * 1024  # SETTINGS_MAX_FRAME_SIZE as it is when nobody changes it
MESSAGE_BYTES_MAX = 64 * 1024
HEADER_BYTES_MAX = 64 * 1024
STREAM = 1
SERVING = 1
STATUS_NAMES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
UNIMPLEMENTED = "12"
CODE_NAMES = (
    "OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists", "PermissionDenied",
    "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented", "Internal", "Unavailable",
    "DataLoss", "Unauthenticated",
)  # fmt: skip

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, PRIORITY = 0x4, 0x8, 0x20
SETTINGS_HEADER_TABLE_SIZE, SETTINGS_ENABLE_PUSH = 1, 2


class GrpcError(Exception):
    """The peer does not speak gRPC over HTTP/2, or says something we do not read."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """RFC 9113 section 4.1."""
    return struct.pack(">IBI", len(payload) << 8 | kind, flags, stream) + payload


def _literal(name: str, value: str) -> bytes:
    """A header without indexing, not Huffman coded (RFC 7541 section 6.2.2)."""
    encoded = b"\x00"
    for text in (name.encode(), value.encode()):
        if len(text) >= 127:
            encoded += b"\x7f" + _long(len(text) - 127)
        else:
            encoded += bytes([len(text)])
        encoded += text
    return encoded


def _long(value: int) -> bytes:
    result = bytearray()
    while value >= 0x80:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    result.append(value)
    return bytes(result)


def request(authority: str, service: str, user_agent: str) -> bytes:
    """All that the client has to say, but for acknowledgements. `service` "" asks for the server as a whole."""
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": PATH,
        ":authority": authority,
        "content-type": "application/grpc",
        "te": "trailers",
        "user-agent": user_agent,
    }
    block = b"".join(_literal(name, value) for name, value in headers.items())
    name = service.encode()
    message = b"\x0a" + _long(len(name)) + name if name else b""
    settings = struct.pack(">HIHI", SETTINGS_HEADER_TABLE_SIZE, 0, SETTINGS_ENABLE_PUSH, 0)
    return b"".join(
        (
            PREFACE,
            frame(SETTINGS, 0, 0, settings),
            frame(HEADERS, END_HEADERS, STREAM, block),
            frame(DATA, END_STREAM, STREAM, struct.pack(">BI", 0, len(message)) + message),
        )
    )


class HealthCall:
    """The answer to one `request`. `feed` gives what to send back; `done` is set when the stream has ended."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._message = bytearray()
        self._block = bytearray()
        self._ends_with_block = False
        self._headers: dict[str, str] = {}
        self.done = False

    def feed(self, data: bytes) -> bytes:
        """Raises GrpcError."""
        self._buffer += data
        reply = b""
        while len(self._buffer) >= 9 and not self.done:
            head, flags, stream = struct.unpack_from(">IBI", self._buffer)
            size, kind = head >> 8, head & 0xFF
            if size > FRAME_BYTES_MAX:
                raise GrpcError(f"not HTTP/2, or a frame of {size} bytes")
            if len(self._buffer) < 9 + size:
                break
            payload = bytes(self._buffer[9 : 9 + size])
            del self._buffer[: 9 + size]
            reply += self._take(kind, flags, stream & 0x7FFFFFFF, payload)
        return reply

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        if kind == SETTINGS and not flags & ACK:
            return frame(SETTINGS, ACK, 0)
        if kind == PING and not flags & ACK:
            return frame(PING, ACK, 0, payload)
        if kind == GOAWAY:
            raise GrpcError("the server closed the connection")
        if stream != STREAM:
            return b""
        if kind == RST_STREAM:
            raise GrpcError("the server reset the stream")
        if kind == DATA:
            self._message += _unpadded(flags, payload)
            if len(self._message) > MESSAGE_BYTES_MAX:
                raise GrpcError("an answer larger than any health check's")
            self.done = bool(flags & END_STREAM)
        elif kind in (HEADERS, CONTINUATION):
            if kind == HEADERS:
                payload = _unpadded(flags, payload)
                payload = payload[5:] if flags & PRIORITY else payload
                self._ends_with_block = bool(flags & END_STREAM)
            self._block += payload
            if len(self._block) > HEADER_BYTES_MAX:
                raise GrpcError("headers larger than any health check's")
            if flags & END_HEADERS:
                self._read_block()
        return b""

    def _read_block(self) -> None:
        try:
            self._headers.update(read_headers(bytes(self._block)))
        except HeaderError as error:
            raise GrpcError(str(error)) from error
        self._block.clear()
        self.done = self._ends_with_block

    def verdict(self) -> str:
        """ "" when the server says that it serves; otherwise what is wrong, in the kubelet's words."""
        code = self._headers.get("grpc-status", "")
        if code == UNIMPLEMENTED:
            return "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)"
        if code not in ("", "0"):
            text = self._headers.get("grpc-message", "")
            number = natural(code, len(CODE_NAMES) - 1)
            name = code if number is None else CODE_NAMES[number]
            return f"error: health rpc probe failed: rpc error: code = {name} desc = {text}"
        if self._headers.get(":status", "200") != "200":
            return f"error: health rpc probe failed: HTTP status {self._headers[':status']}"
        status = self._status()
        if status == SERVING:
            return ""
        name = STATUS_NAMES[status] if status < len(STATUS_NAMES) else str(status)
        return f'service unhealthy (responded with "{name}")'

    def _status(self) -> int:
        """Field 1 of HealthCheckResponse, an enum; absent means 0. Raises GrpcError."""
        if len(self._message) < 5 or self._message[0] != 0:
            raise GrpcError("no answer to the health check, or a compressed one")
        size = int.from_bytes(self._message[1:5], "big")
        body = bytes(self._message[5 : 5 + size])
        if len(body) < size:
            raise GrpcError("the answer to the health check was cut short")
        return body[1] if len(body) >= 2 and body[0] == 0x08 else 0


def _unpadded(flags: int, payload: bytes) -> bytes:
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise GrpcError("a frame that is all padding")
    return payload[1 : len(payload) - payload[0]]
