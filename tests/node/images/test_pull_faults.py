"""Pulling from a server that misbehaves on purpose: interruptions, redirects, tokens, lies."""

import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from edgekube.runtime.api import Credentials, ImageFailure
from edgekube.runtime.images import registry as registry_module
from edgekube.runtime.images.service import Images
from edgekube.testing.images import File, ImageBuilder

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="unpacking sets owners"),
]


class Request:
    def __init__(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        self.method, self.path, self.headers, self.body = method, path, headers, body


class Reply:
    """`cut`: close the connection after so many bytes of the body."""

    def __init__(
        self, body: bytes = b"", status: int = 200, headers: dict[str, str] | None = None, cut: int | None = None
    ) -> None:
        self.body, self.status, self.headers, self.cut = body, status, headers or {}, cut


class FaultyServer:
    """Serves one image over HTTP. `answer` may override any request; `seen` records them all."""

    def __init__(self, builder: ImageBuilder) -> None:
        self.descriptor, self.blobs = builder.blobs()
        self.seen: list[Request] = []
        self.answer: Callable[[Request], Reply | None] = lambda request: None
        self.host = ""

    def default(self, request: Request) -> Reply:
        name = request.path.partition("?")[0].rpartition("/")[2]
        if "/manifests/" in request.path:
            return Reply(self.blobs[self.descriptor["digest"]], headers={"content-type": self.descriptor["mediaType"]})
        if name in self.blobs:
            data = self.blobs[name]
            wanted = request.headers.get("range", "")
            if wanted:
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
                return Reply(data[start:], 206, {"content-range": f"bytes {start}-{len(data) - 1}/{len(data)}"})
            return Reply(data)
        return Reply(b'{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown"}]}', 404)

    async def handle(self, stream: trio.SocketStream) -> None:
        buffer = b""
        try:
            while True:
                while b"\r\n\r\n" not in buffer:
                    piece = await stream.receive_some()
                    if not piece:
                        return
                    buffer += piece
                head, _, buffer = buffer.partition(b"\r\n\r\n")
                first, *lines = head.decode().split("\r\n")
                headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines)}
                length = int(headers.get("content-length", "0"))
                while len(buffer) < length:
                    buffer += await stream.receive_some()
                body, buffer = buffer[:length], buffer[length:]
                request = Request(first.split()[0], first.split()[1], headers, body)
                self.seen.append(request)
                reply = self.answer(request) or self.default(request)
                text = "".join(f"{k}: {v}\r\n" for k, v in reply.headers.items())
                start = f"HTTP/1.1 {reply.status} X\r\ncontent-length: {len(reply.body)}\r\n{text}\r\n"
                await stream.send_all(start.encode() + reply.body[: reply.cut])
                if reply.cut is not None:
                    return
        except trio.BrokenResourceError:
            pass
        finally:
            await trio.aclose_forcefully(stream)


@asynccontextmanager
async def serving(server: FaultyServer) -> AsyncIterator[FaultyServer]:
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, server.handle, 0, host="127.0.0.1"))
        server.host = f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        yield server
        nursery.cancel_scope.cancel()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "BACK_OFF_SECONDS", 0.01)


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    builder = ImageBuilder().add_layer([File("data", os.urandom(2_000_000))], compression="none")
    async with serving(FaultyServer(builder)) as running:
        yield running


def layer_digest(server: FaultyServer) -> str:
    manifest = json.loads(server.blobs[server.descriptor["digest"]])
    digest: str = manifest["layers"][0]["digest"]
    return digest


def layer_requests(server: FaultyServer) -> list[Request]:
    return [each for each in server.seen if layer_digest(server) in each.path]


async def test_broken_download_is_resumed(images: Images, server: FaultyServer) -> None:
    def cut(request: Request) -> Reply | None:
        if layer_digest(server) not in request.path or len(layer_requests(server)) > 3:
            return None
        reply = server.default(request)
        reply.cut = 500_000
        return reply

    server.answer = cut
    await images.pull(f"{server.host}/x:1")
    ranges = [each.headers.get("range") for each in layer_requests(server)]
    assert ranges == [None, "bytes=500000-", "bytes=1000000-", "bytes=1500000-"]


async def test_partial_file_of_an_earlier_process_is_resumed(
    images: Images, server: FaultyServer, tmp_path: Path
) -> None:
    digest = layer_digest(server)
    part = tmp_path / f"data/images/ingest/{digest[7:]}.part"
    part.write_bytes(server.blobs[digest][:700_000])
    await images.pull(f"{server.host}/x:1")
    assert [each.headers.get("range") for each in layer_requests(server)] == ["bytes=700000-"]


async def test_damaged_partial_file_is_fetched_anew(images: Images, server: FaultyServer, tmp_path: Path) -> None:
    part = tmp_path / f"data/images/ingest/{layer_digest(server)[7:]}.part"
    part.write_bytes(bytes(700_000))
    await images.pull(f"{server.host}/x:1")
    assert [each.headers.get("range") for each in layer_requests(server)] == ["bytes=700000-", None]


async def test_server_without_ranges(images: Images, server: FaultyServer, tmp_path: Path) -> None:
    digest = layer_digest(server)
    (tmp_path / f"data/images/ingest/{digest[7:]}.part").write_bytes(server.blobs[digest][:700_000])
    server.answer = lambda request: Reply(server.blobs[digest]) if digest in request.path else None
    await images.pull(f"{server.host}/x:1")


async def test_wrong_bytes_are_refused(images: Images, server: FaultyServer, tmp_path: Path) -> None:
    digest = layer_digest(server)
    wrong = bytes(len(server.blobs[digest]))
    server.answer = lambda request: Reply(wrong) if digest in request.path else None
    with pytest.raises(ImageFailure, match="arrived damaged"):
        await images.pull(f"{server.host}/x:1")
    assert images.list() == []
    assert os.listdir(tmp_path / "data/layers") == []


async def test_longer_than_promised_is_refused(images: Images, server: FaultyServer, tmp_path: Path) -> None:
    digest = layer_digest(server)
    server.answer = lambda request: Reply(server.blobs[digest] + b"x") if digest in request.path else None
    with pytest.raises(ImageFailure, match="longer than its manifest says"):
        await images.pull(f"{server.host}/x:1")


async def test_other_manifest_than_asked_for_by_digest(images: Images, server: FaultyServer) -> None:
    with pytest.raises(ImageFailure, match="arrived with the digest"):
        await images.pull(f"{server.host}/x@sha256:{'0' * 64}")


async def test_passing_failures_are_retried(images: Images, server: FaultyServer) -> None:
    server.answer = lambda request: Reply(status=503) if len(server.seen) <= 2 else None
    await images.pull(f"{server.host}/x:1")


async def test_lasting_failures_end(images: Images, server: FaultyServer) -> None:
    server.answer = lambda request: Reply(b'{"errors":[{"code":"TOOMANYREQUESTS","message":"slow"}]}', 429)
    with pytest.raises(ImageFailure, match="429 Too Many Requests - TOOMANYREQUESTS: slow") as caught:
        await images.pull(f"{server.host}/x:1")
    assert caught.value.reason == "ErrImagePull"
    assert len(server.seen) == registry_module.ATTEMPTS_MAX


async def test_refusals_are_not_retried(images: Images, server: FaultyServer) -> None:
    server.answer = lambda request: Reply(status=404)
    with pytest.raises(ImageFailure, match="manifest unknown"):
        await images.pull(f"{server.host}/x:1")
    assert len(server.seen) == 1


async def test_bearer_token(images: Images, server: FaultyServer) -> None:
    def guarded(request: Request) -> Reply | None:
        if request.path.startswith("/token"):
            good = request.headers.get("authorization", "").startswith("Basic ")
            return Reply(b'{"token":"t0ken"}') if good else Reply(status=401)
        if request.headers.get("authorization") != "Bearer t0ken":
            realm = f'Bearer realm="http://{server.host}/token",service="reg",scope="repository:x:pull"'
            return Reply(status=401, headers={"www-authenticate": realm})
        return None

    server.answer = guarded
    with pytest.raises(ImageFailure, match="pull access denied"):
        await images.pull(f"{server.host}/x:1")
    await images.pull(f"{server.host}/x:1", [Credentials("u", "p")])
    tokens = [each.path for each in server.seen if each.path.startswith("/token")]
    assert tokens[-1] == "/token?scope=repository%3Ax%3Apull&service=reg"


async def test_identity_token(images: Images, server: FaultyServer) -> None:
    def guarded(request: Request) -> Reply | None:
        if request.path.startswith("/token"):
            good = request.method == "POST" and b"refresh_token=secret" in request.body
            return Reply(b'{"access_token":"t0ken"}') if good else Reply(status=401)
        if request.headers.get("authorization") != "Bearer t0ken":
            return Reply(status=401, headers={"www-authenticate": f'Bearer realm="http://{server.host}/token"'})
        return None

    server.answer = guarded
    await images.pull(f"{server.host}/x:1", [Credentials(identity_token="secret")])


async def test_redirect_does_not_carry_the_token(images: Images, server: FaultyServer) -> None:
    """Registries keep blobs with a storage service: it gets the request and not the authorization."""
    async with serving(FaultyServer(ImageBuilder())) as storage:
        storage.blobs = server.blobs

        def guarded(request: Request) -> Reply | None:
            if "authorization" not in request.headers:
                return Reply(status=401, headers={"www-authenticate": 'Basic realm="x"'})
            if layer_digest(server) in request.path:
                return Reply(status=307, headers={"location": f"http://{storage.host}/store/{layer_digest(server)}"})
            return None

        server.answer = guarded
        await images.pull(f"{server.host}/x:1", [Credentials("u", "p")])
        assert [each.path for each in storage.seen] == [f"/store/{layer_digest(server)}"]
        assert "authorization" not in storage.seen[0].headers


async def test_redirect_loop_ends(images: Images, server: FaultyServer) -> None:
    server.answer = lambda request: Reply(status=302, headers={"location": request.path})
    with pytest.raises(ImageFailure, match="stopped after 5 redirects"):
        await images.pull(f"{server.host}/x:1")


@pytest.mark.parametrize("location", ["file:///etc/passwd", "gopher://x/", "http://[x"])
async def test_redirect_elsewhere_is_refused(images: Images, server: FaultyServer, location: str) -> None:
    server.answer = lambda request: Reply(status=302, headers={"location": location})
    with pytest.raises(ImageFailure, match="no web address"):
        await images.pull(f"{server.host}/x:1")


async def test_huge_manifest_is_refused(images: Images, server: FaultyServer) -> None:
    server.answer = lambda request: Reply(b" " * (5 * 1024 * 1024))
    with pytest.raises(ImageFailure, match="more than"):
        await images.pull(f"{server.host}/x:1")


async def test_layer_that_is_no_layer(images: Images, tmp_path: Path) -> None:
    """Right digest, wrong content: refused, and nothing of it stays."""
    builder = ImageBuilder().add_tar(b"no tar at all" * 1000, compression="none")
    async with serving(FaultyServer(builder)) as server:
        with pytest.raises(ImageFailure, match="failed to extract layer"):
            await images.pull(f"{server.host}/x:1")
    assert os.listdir(tmp_path / "data/layers") == []
    assert os.listdir(tmp_path / "data/images/ingest") == []


async def test_diff_id_is_verified(images: Images) -> None:
    builder = ImageBuilder().add_layer([File("a", b"a")], compression="none")
    honest = builder.config_bytes()
    lying = json.loads(honest)
    lying["rootfs"]["diff_ids"] = ["sha256:" + "1" * 64]
    server = FaultyServer(builder)
    config = json.dumps(lying).encode()
    manifest = json.loads(server.blobs[server.descriptor["digest"]])
    manifest["config"]["digest"] = "sha256:" + hashlib.sha256(config).hexdigest()
    manifest["config"]["size"] = len(config)
    raw = json.dumps(manifest).encode()
    server.descriptor["digest"] = "sha256:" + hashlib.sha256(raw).hexdigest()
    server.blobs |= {server.descriptor["digest"]: raw, manifest["config"]["digest"]: config}
    async with serving(server):
        with pytest.raises(ImageFailure, match="wrong diff id"):
            await images.pull(f"{server.host}/x:1")


async def test_cancelled_pull_leaves_a_usable_service(images: Images, server: FaultyServer) -> None:
    started = trio.Event()

    def stall(request: Request) -> Reply | None:
        if layer_digest(server) in request.path and not started.is_set():
            started.set()
        return None

    server.answer = stall
    async with trio.open_nursery() as nursery:
        nursery.start_soon(images.pull, f"{server.host}/x:1")
        await started.wait()
        nursery.cancel_scope.cancel()
    assert images.progress() == []
    image = await images.pull(f"{server.host}/x:1")
    assert images.get(image.id) == image
