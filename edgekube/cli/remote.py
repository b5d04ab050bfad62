"""One remote command over five channels (v5.channel.k8s.io): stdin, stdout, stderr, the outcome, terminal sizes."""

import json
import os
import select
import signal
import sys
import threading
from typing import Any

from edgekube.cli.api import Api, Query
from edgekube.cli.errors import OK, CliError, StatusError
from edgekube.cli.websocket import WebSocket, open_websocket

PROTOCOL = "v5.channel.k8s.io"
STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
_READ_BYTES = 32 * 1024


def converse(api: Api, path: str, query: Query, *, stdin: bool, tty: bool) -> int:
    """Run until the command ends; its exit code. Raises StatusError, CliError."""
    connected = open_websocket(api, path, query, (PROTOCOL,))
    with _RawTerminal(on=tty and stdin) as terminal:
        if tty:
            terminal.follow_size(lambda size: _try_send(connected, bytes([RESIZE]) + size))
        if stdin:
            threading.Thread(target=_feed, args=(connected, tty), daemon=True).start()
        outcome = _receive(connected)
    if outcome is None:
        raise CliError(f"the stream ended before the command did{_because(connected)}")
    return exit_code(outcome)


def _because(connected: WebSocket) -> str:
    return f": {connected.close_reason}" if connected.close_reason else ""


def _receive(connected: WebSocket) -> dict[str, Any] | None:
    outcome = b""
    while (message := connected.receive()) is not None:
        channel, data = message[0] if message else -1, message[1:]
        if channel in (STDOUT, STDERR):
            stream = sys.stdout if channel == STDOUT else sys.stderr
            stream.buffer.write(data)
            stream.buffer.flush()
        elif channel == ERROR:
            outcome += data
    if not outcome:
        return None
    found: dict[str, Any] = json.loads(outcome)
    return found


def _feed(connected: WebSocket, tty: bool) -> None:
    """Standard input to the command, until its end."""
    fd = sys.stdin.fileno()
    while True:
        try:
            select.select([fd], [], [])
            data = os.read(fd, _READ_BYTES)
        except (OSError, ValueError):
            data = b""
        if not data:
            _try_send(connected, bytes([CLOSE, STDIN]))
            return
        if not _try_send(connected, bytes([STDIN]) + data):
            return


def _try_send(connected: WebSocket, message: bytes) -> bool:
    try:
        connected.send(message)
    except OSError:
        return False  # the command has ended; the receiving side says how
    return True


def exit_code(outcome: dict[str, Any]) -> int:
    """From the Status that ends a session. Raises StatusError when the command could not be run."""
    if outcome.get("status") == "Success":
        return OK
    if outcome.get("reason") == "NonZeroExitCode":
        for cause in (outcome.get("details") or {}).get("causes") or ():
            if cause.get("reason") == "ExitCode":
                code = int(cause.get("message") or 1)
                print(f"command terminated with exit code {code}", file=sys.stderr)
                return code
    if outcome.get("reason") == "InternalError":
        raise CliError(f"Internal error occurred: {outcome.get('message', '')}")
    raise StatusError(outcome)


class _RawTerminal:
    """Standard input in raw mode while the command has it; restored whatever happens."""

    def __init__(self, *, on: bool) -> None:
        self._on = on and sys.stdin.isatty()
        self._saved: Any = None
        self._handler: Any = None

    def __enter__(self) -> "_RawTerminal":
        if self._on:
            import termios
            import tty

            self._saved = termios.tcgetattr(0)
            tty.setraw(0)
        return self

    def follow_size(self, send: Any) -> None:
        """Tell the size now and at every SIGWINCH."""

        def tell(*_: Any) -> None:
            for fd in (0, 1, 2):
                try:
                    size = os.get_terminal_size(fd)
                except OSError:
                    continue
                if not size.columns or not size.lines:
                    continue  # a terminal that was never told its size
                send(json.dumps({"Width": size.columns, "Height": size.lines}).encode())
                return

        self._handler = signal.signal(signal.SIGWINCH, tell)
        tell()

    def __exit__(self, *_: object) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGWINCH, self._handler)
        if self._saved is not None:
            import termios

            termios.tcsetattr(0, termios.TCSADRAIN, self._saved)
