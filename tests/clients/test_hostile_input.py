"""What a careless or hostile client sends, as bytes on the node's socket: an answer in words, and a node that lives."""

import json
import os
import socket

import pytest

from edgekube.testing.livenode import LiveNode

pytestmark = pytest.mark.root

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
SILENT_CONNECTIONS = 200


def exchange(node: LiveNode, data: bytes) -> bytes:
    """What comes back until the server closes or has answered."""
    answer = b""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(node.socket))
        try:
            client.sendall(data)
        except OSError:
            pass  # it has heard enough; what it said is still to be read
        try:
            while b"\r\n\r\n" not in answer or answer.count(b"}") == 0:
                chunk = client.recv(65536)
                if not chunk:
                    break
                answer += chunk
        except OSError:
            pass
    return answer


def request(body: bytes, content_type: str = "application/json", path: str = CONFIGMAPS, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


LARGE = json.dumps({"kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "x" * 3_500_000}}).encode()
BOMB = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 9)) for n in range(8)
)


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"\0\1\2\xff" * 100 + b"\r\n\r\n", 501, "method"),
        (b"GET /version HTTP/1.1\r\n" + b"X: y\r\n" * 10_000 + b"\r\n", 431, "headers"),
        (b"GET /version HTTP/1.1\r\nX: " + b"y" * 3_000_000 + b"\r\n\r\n", 431, "headers"),
        (b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "target"),
        (request(LARGE), 413, "larger than the limit"),
        (request(b"[" * 200_000), 400, "json parse error"),
        (request(b"a: " + b"[" * 100_000, "application/yaml"), 400, "nested deeper"),
        (request(BOMB, "application/yaml"), 400, "too many nodes"),
        (request(b"k8s\0" + bytes(range(256)) * 8, "application/vnd.kubernetes.protobuf"), 400, "protobuf"),
        (request(b"\xff\xfe{\0", "application/json"), 400, "json parse error"),
        (request(b"hello", "text/plain"), 415, "accepted media types"),
        (request(b"{", path="/api/v1/namespaces/../../etc/passwd"), 404, "could not find"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_an_answer_in_words(node: LiveNode, data: bytes, code: int, words: str) -> None:
    answer = exchange(node, data).decode(errors="replace")
    assert answer.startswith(f"HTTP/1.1 {code} "), answer[:300]
    assert words in answer
    assert node.local("/readyz") == b"ok"


UPGRADES = (
    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io",
)


def test_garbage_after_an_upgrade(node: LiveNode, namespace: str, image: str) -> None:
    spec = {"containers": [{"name": "c", "image": image, "command": ["sleep", "1000"]}]}
    node.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": namespace}, "spec": spec})
    node.kubectl("-n", namespace, "wait", "pod/p", "--for=condition=Ready", "--timeout=30s")
    path = f"/api/v1/namespaces/{namespace}/pods/p/exec?command=cat&stdin=true&stdout=true"
    for method, upgrade in zip(("GET", "POST"), UPGRADES, strict=True):
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n{upgrade}\r\n\r\n".encode()
        assert exchange(node, head + os.urandom(5000)).startswith(b"HTTP/1.1 101 "), upgrade
    processes = ("-n", namespace, "exec", "p", "--", "ps")
    assert node.kubectl("-n", namespace, "exec", "p", "--", "echo", "alive").strip() == "alive"
    node.until("no cat is left", lambda: "cat" not in node.kubectl(*processes))


def test_silent_connections_give_everything_back(node: LiveNode) -> None:
    def descriptors() -> int:
        return len(os.listdir(f"/proc/{node.pid}/fd"))

    before = descriptors()
    clients = []
    for _ in range(SILENT_CONNECTIONS):
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(node.socket))
        client.sendall(b"GET /version HTTP/1.1\r\nHo")
        clients.append(client)
    node.until("they are accepted", lambda: descriptors() >= before + SILENT_CONNECTIONS // 2)
    assert node.local("/readyz") == b"ok"
    for client in clients:
        client.close()
    node.until("they are forgotten", lambda: descriptors() <= before + 4)
