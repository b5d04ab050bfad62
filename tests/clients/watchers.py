"""Many idle watches; as a program it is the client, so that its memory and objects are not the caller's.

`python watchers.py ADDRESS COUNT [KUBECONFIG]`: ADDRESS is a unix socket or, with a kubeconfig, HOST:PORT for TLS with
its client certificate. Says "open" once every watch has its first bytes, and closes them when standard input ends.
"""

import base64
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml

REQUEST = (
    b"GET /api/v1/pods?watch=1&allowWatchBookmarks=true HTTP/1.1\r\nHost: node\r\nAccept: application/json\r\n\r\n"
)


class Watchers:
    """The watches of another process, from entry to `stop`."""

    def __init__(self, netns: Path, address: str, count: int, kubeconfig: Path | None = None) -> None:
        extra = [] if kubeconfig is None else [str(kubeconfig)]
        command = ["nsenter", f"--net={netns}", sys.executable, __file__, address, str(count), *extra]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"open\n"

    def stop(self) -> None:
        """Close them all."""
        self._process.communicate(b"", timeout=30)


def admin_context(kubeconfig: Path) -> ssl.SSLContext:
    """TLS as the kubeconfig's only user."""
    found = yaml.safe_load(kubeconfig.read_text())
    cluster, user = found["clusters"][0]["cluster"], found["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    with tempfile.NamedTemporaryFile() as file:
        for part in ("client-certificate-data", "client-key-data"):
            file.write(base64.b64decode(user[part]))
        file.flush()
        context.load_cert_chain(file.name)
    return context


def main(argv: Sequence[str]) -> None:
    address, count = argv[0], int(argv[1])
    context = admin_context(Path(argv[2])) if len(argv) > 2 else None
    held: list[socket.socket] = []
    for _ in range(count):
        if context is None:
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(address)
        else:
            host, _, port = address.partition(":")
            plain = socket.create_connection((host, int(port)))
            connection = context.wrap_socket(plain, server_hostname=host)
        connection.sendall(REQUEST)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += connection.recv(4096)
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        held.append(connection)
    print("open", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1:])
