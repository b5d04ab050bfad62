"""HTTP and WebSocket on bytes alone."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection as WsConnection
from wsproto.connection import ConnectionType
from wsproto.events import BytesMessage

from edgekube.cli import remote
from edgekube.cli.errors import CliError, StatusError
from edgekube.cli.transport import Connection, ConnectionLost, NoAnswer, Response
from edgekube.cli.websocket import BINARY, CLOSE, PING, Frames, frame


class Pieces:
    """A socket's reading side, as a list of what arrives."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def recv(self, limit: int) -> bytes:
        if not self._pieces:
            return b""
        data = self._pieces.pop(0)
        if len(data) > limit:
            self._pieces.insert(0, data[limit:])
        return data[:limit]


def answer(pieces: list[bytes], headers: dict[str, str]) -> Response:
    connection = Connection("/nowhere")
    connection._socket = Pieces(pieces)  # type: ignore[assignment]
    return Response(connection, 200, headers)


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.integers(1, 50))
def test_chunked_bodies_in_any_pieces(chunks: list[bytes], size: int) -> None:
    wire = b"".join(b"%x;ext=1\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nTrailer: x\r\n\r\n"
    response = answer(cut(wire, size), {"transfer-encoding": "chunked"})
    assert response.read() == b"".join(chunks)
    assert response.done


def test_a_body_with_a_length_ends_there() -> None:
    response = answer([b"abc", b"defREST"], {"content-length": "6"})
    assert response.read() == b"abcdef"
    assert response.done


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    assert list(answer([b"one\ntwo", b"\nthr"], {}).lines()) == [b"one", b"two", b"thr"]


def test_a_body_cut_short_is_said() -> None:
    with pytest.raises(ConnectionLost, match="in the middle"):
        answer([b"abc"], {"content-length": "6"}).read()


@given(st.lists(st.binary(max_size=300), max_size=5), st.integers(1, 400))
def test_our_frames_are_read_by_a_server(messages: list[bytes], size: int) -> None:
    server = WsConnection(ConnectionType.SERVER)
    wire = b"".join(frame(BINARY, message, b"\x01\x80\xff\x00") for message in messages)
    for piece in cut(wire, size):
        server.receive_data(piece)
    got: Iterator[bytes] = (bytes(event.data) for event in server.events() if isinstance(event, BytesMessage))
    assert b"".join(got) == b"".join(messages)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 70000])
def test_frames_of_every_length(size: int) -> None:
    server = WsConnection(ConnectionType.SERVER)
    payload = bytes(range(256)) * (size // 256 + 1)
    server.receive_data(frame(BINARY, payload[:size], b"abcd"))
    assert b"".join(bytes(event.data) for event in server.events() if isinstance(event, BytesMessage)) == payload[:size]
    ours = Frames()
    server_wire = server.send(BytesMessage(data=payload[:size]))
    assert ours.feed(server_wire) == [(BINARY, payload[:size])]


def test_fragments_and_control_frames_between_them() -> None:
    wire = b"\x02\x02ab" + b"\x89\x01!" + b"\x80\x02cd" + b"\x88\x02\x03\xe8"
    found = []
    frames = Frames()
    for byte in wire:
        found += frames.feed(bytes([byte]))
    assert found == [(PING, b"!"), (BINARY, b"abcd"), (CLOSE, b"\x03\xe8")]


def test_a_frame_over_the_limit_is_refused() -> None:
    with pytest.raises(CliError, match="too large"):
        Frames().feed(b"\x82\x7f" + (1 << 40).to_bytes(8, "big"))


def test_outcomes_of_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert remote.exit_code({"status": "Success"}) == 0
    causes = [{"reason": "ExitCode", "message": "7"}]
    failed = {"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": causes}}
    assert remote.exit_code(json.loads(json.dumps(failed))) == 7
    assert "exit code 7" in capsys.readouterr().err
    with pytest.raises(StatusError):
        remote.exit_code({"status": "Failure", "reason": "NotFound", "message": "no"})


class Silent:
    """A socket on which nothing comes in time, or which the other side has reset."""

    def __init__(self, error: type[OSError]) -> None:
        self._error = error

    def recv(self, limit: int) -> bytes:
        raise self._error

    def close(self) -> None:
        pass


@pytest.mark.parametrize(("error", "expected"), [(TimeoutError, NoAnswer), (ConnectionResetError, ConnectionLost)])
@pytest.mark.parametrize("headers", [{"transfer-encoding": "chunked"}, {"content-length": "5"}])
def test_silence_and_resets_are_errors_a_person_can_read(
    error: type[OSError], expected: type[CliError], headers: dict[str, str]
) -> None:
    connection = Connection("/nowhere", timeout=1.0)
    connection._socket = Silent(error)  # type: ignore[assignment]
    with pytest.raises(expected):
        Response(connection, 200, headers).read()


@pytest.mark.parametrize("size", [b"", b"-1", b"0x5", b"ffffffffff", b"zz"])
def test_garbled_chunks_are_refused(size: bytes) -> None:
    with pytest.raises(ConnectionLost, match="garbled"):
        answer([size + b"\r\nabc\r\n"], {"transfer-encoding": "chunked"}).read()
