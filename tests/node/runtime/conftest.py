"""A real engine in temporary folders, with an image made of the machine's busybox; nothing of it stays behind."""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import trio

from edgekube.runtime.api import ContainerSpec, ContainerStatus, Image, ImageConfig, RuntimeFailure, SandboxSpec
from edgekube.runtime.engine import Engine

needs_root = pytest.mark.root
IMAGE_ID = "sha256:" + "b" * 64


class BusyboxImages:
    """The part of the image service that an engine uses."""

    def __init__(self, layers: Sequence[str], user: str = "") -> None:
        self.layers = layers
        self.image = Image(
            id=IMAGE_ID,
            digest=IMAGE_ID,
            tags=("docker.io/library/busybox:test",),
            repo_digests=(),
            size_bytes=1,
            layers=("a",),
            config=ImageConfig(user=user),
        )

    def get(self, reference: str) -> Image | None:
        return self.image if reference == IMAGE_ID else None

    def layer_paths(self, image_id: str) -> Sequence[str]:
        return self.layers

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class Box:
    """An engine and short ways to use it."""

    def __init__(self, engine: Engine, folder: Path, cgroup_root: str) -> None:
        self.engine = engine
        self.folder = folder
        self.cgroup_root = cgroup_root

    def sandbox_spec(self, sandbox_id: str = "pod1", **changes: Any) -> SandboxSpec:
        parent = f"{self.cgroup_root}/burstable/{sandbox_id}"
        values = {"id": sandbox_id, "name": f"default/{sandbox_id}", "uid": "u", "hostname": "web-0"} | changes
        return SandboxSpec(cgroup_parent=parent, **values)

    def spec(self, script: str, container_id: str = "c1", sandbox_id: str = "pod1", **changes: Any) -> ContainerSpec:
        values: dict[str, Any] = {
            "id": container_id,
            "name": container_id,
            "sandbox_id": sandbox_id,
            "attempt": 0,
            "image_id": IMAGE_ID,
            "args": ("sh", "-c", script),
            "env": ("GREETING=hello",),
            "log_path": str(self.folder / "logs" / f"{container_id}.log"),
        }
        return ContainerSpec(**(values | changes))

    async def start(self, script: str, container_id: str = "c1", **changes: Any) -> ContainerStatus:
        return await self.engine.start_container(self.spec(script, container_id, **changes))

    async def finish(self, script: str, container_id: str = "c1", **changes: Any) -> ContainerStatus:
        await self.start(script, container_id, **changes)
        with trio.fail_after(30):
            return await self.engine.wait_exit(container_id)

    def log(self, container_id: str = "c1") -> list[tuple[str, str, str]]:
        """(stream, tag, text) of each record."""
        lines = (self.folder / "logs" / f"{container_id}.log").read_text().split("\n")[:-1]
        return [tuple(line.split(" ", 3)[1:]) for line in lines]  # type: ignore[misc]

    def output(self, container_id: str = "c1", stream: str = "stdout") -> str:
        return "".join(
            text + ("\n" if tag == "F" else "") for name, tag, text in self.log(container_id) if name == stream
        )


OpenBox = Callable[..., Any]


@pytest.fixture
def open_box(tmp_path: Path, busybox_root: str) -> Any:
    """`async with open_box() as box`; a second one on the same folders is a restarted orchestrator."""
    cgroup_root = f"ektest-{uuid4().hex[:8]}"

    @asynccontextmanager
    async def opened(*, user: str = "", runc: str | None = None, purge: bool = True) -> AsyncIterator[Box]:
        images = BusyboxImages([busybox_root], user)
        engine = Engine(
            images,  # type: ignore[arg-type]
            run_dir=str(tmp_path / "run"),
            data_dir=str(tmp_path / "data"),
            cgroup_root=cgroup_root,
            runc=runc,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(engine.run)
            await engine.recover()
            try:
                yield Box(engine, tmp_path, cgroup_root)
            finally:
                if purge:
                    engine.launcher.runc = shutil.which("runc") or "runc"
                    with trio.CancelScope(shield=True), trio.move_on_after(60):
                        await engine.purge()
                nursery.cancel_scope.cancel()

    yield opened
    left = subprocess.run(["findmnt", "-rno", "TARGET"], capture_output=True, text=True, check=True).stdout
    mounts = [line for line in left.splitlines() if line.startswith(str(tmp_path))]
    for mounted in sorted(mounts, key=len, reverse=True):
        subprocess.run(["umount", "-l", mounted], check=False)
    assert mounts == [], "mounts were left behind"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = os.path.dirname(__file__)
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.root)
            if os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason="needs root"))


__all__ = ["IMAGE_ID", "Box", "RuntimeFailure"]
