"""Registries to pull from: Debian's docker-registry, and one written here whose faults a test can choose."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import trio

from edgekube.runtime.images.hosts import RegistryConfig
from edgekube.runtime.images.service import Images
from edgekube.testing.images import ImageBuilder

HELPER = (sys.executable, "-m", "edgekube.runtime.images.helper")
USER, PASSWORD = "alice", "wonder land"
# bcrypt of the password, as htpasswd -B makes it.
HTPASSWD_HASH = "$2b$05$gqTkqTEl.gzszj8pKgFYbOT4knrT7LpKHUKDpKYIF0oMM7M/J71BS"

MakeImages = Callable[..., Images]


@pytest.fixture(scope="session", autouse=True)
def _importable() -> Iterator[None]:
    """Helpers start from the source tree."""
    root = str(Path(__file__).parents[3])
    old = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = root if not old else f"{root}:{old}"
    yield
    if old is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = old


@pytest.fixture
async def images(tmp_path: Path) -> AsyncIterator[Images]:
    service = Images(str(tmp_path / "data"), helper_argv=HELPER)
    await service.open()
    yield service
    service.close()


@pytest.fixture
def make_images(tmp_path: Path) -> Iterator[MakeImages]:
    """Services over one folder, one at a time."""
    made: list[Images] = []

    def make(registries: RegistryConfig = RegistryConfig(), folder: str = "data") -> Images:
        service = Images(str(tmp_path / folder), helper_argv=HELPER, registries=registries)
        made.append(service)
        return service

    yield make
    for service in made:
        service.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Registry:
    """A running `docker-registry serve`."""

    def __init__(self, host: str) -> None:
        self.host = host

    def push(self, builder: ImageBuilder, name: str, tmp_path: Path, *, format: str = "oci", login: str = "") -> None:
        """Push with skopeo, as OCI (`oci`) or Docker schema 2 (`v2s2`)."""
        archive = tmp_path / "push.tar"
        builder.write(str(archive), "example.test/push:1", format="docker")
        command = ["skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", "-q", "--format", format]
        if login:
            command += ["--dest-creds", login]
        command += [f"docker-archive:{archive}", f"docker://{self.host}/{name}"]
        subprocess.run(command, check=True, timeout=60)


def serve(path: Path, extra: str = "") -> Iterator[Registry]:
    if shutil.which("docker-registry") is None or shutil.which("skopeo") is None:
        pytest.skip("docker-registry and skopeo are not installed")
    port = free_port()
    config = path / "registry.yml"
    config.write_text(
        f"version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\n"
        f"storage:\n  filesystem:\n    rootdirectory: {path}/registry\n  delete:\n    enabled: true\n"
        f"http:\n  addr: 127.0.0.1:{port}\n{extra}"
    )
    with open(path / "registry.log", "wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        else:
            pytest.fail("docker-registry did not start: " + (path / "registry.log").read_text()[-2000:])
        yield Registry(f"127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    yield from serve(tmp_path_factory.mktemp("registry"))


@pytest.fixture(scope="module")
def locked_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    path = tmp_path_factory.mktemp("locked")
    (path / "htpasswd").write_text(f"{USER}:{HTPASSWD_HASH}\n")
    yield from serve(path, f"auth:\n  htpasswd:\n    realm: test\n    path: {path}/htpasswd\n")


async def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    """For states of other processes, which give no event."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.02)
