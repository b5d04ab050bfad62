"""`edgekube _selftest`: does this program work on this machine, as far as that needs no root?

Loads every role, opens a store in a temporary folder, serves the API on a unix socket there, writes an object through
it, opens the store again and reads it back; with `--helpers` also makes keys in a helper process started from itself.
Prints one JSON object; exit code 0 when all of it worked. Release checks run it under an emulator (docs/binary.md).
"""

import argparse
import json
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import trio

from edgekube import __version__
from edgekube.apiserver.authn import Authenticator
from edgekube.apiserver.catalog import served_versions
from edgekube.apiserver.registry import Registry, RegistryConfig
from edgekube.apiserver.resources import RESOURCES
from edgekube.apiserver.server import ApiFront
from edgekube.native._lib import PAUSE_PATH, SHIM_PATH
from edgekube.native.program import frozen, self_argv
from edgekube.node import GIT_VERSION
from edgekube.pki.authority import ensure_pki
from edgekube.runtime.seccomp import DATA_PATH
from edgekube.store.opening import open_store
from edgekube.store.volatile import open_volatile

#: What the node process must not hold: helpers have it, or nobody.
FORBIDDEN = (
    *("cryptography", "pycparser", "cffi", "pyroute2", "asyncio", "multiprocessing"),
    *("unittest", "pydoc", "doctest", "ctypes.test", "tkinter", "sqlite3", "xml", "http.client", "concurrent.futures"),
)
SECONDS_MAX = 300.0
ANSWER_BYTES_MAX = 1024 * 1024
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
CONFIG_MAP = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "selftest", "namespace": "default"},
    "data": {"written": "yes"},
}


def main(argv: Sequence[str]) -> int:
    """Exit codes: 0 all worked, 1 something did not (named under `failed`), 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="edgekube _selftest", description="internal: check this build")
    parser.add_argument("--helpers", action="store_true", help="also start a helper process")
    options = parser.parse_args(argv)
    report = trio.run(run, options.helpers)
    print(json.dumps(report, indent=1))
    return 1 if report["failed"] else 0


async def run(helpers: bool) -> dict[str, Any]:
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="edgekube-") as folder, trio.fail_after(SECONDS_MAX):
        async with serving(Path(folder)) as socket:
            version = await ask(socket, "GET", "/version")
            created = await ask(socket, "POST", CONFIG_MAPS, CONFIG_MAP)
        async with serving(Path(folder)) as socket:
            kept = await ask(socket, "GET", f"{CONFIG_MAPS}/selftest")
        if version.get("gitVersion") != GIT_VERSION:
            failed.append(f"/version says {version}")
        if created.get("data") != {"written": "yes"}:
            failed.append(f"the created object is {created}")
        if kept != created:
            failed.append(f"after reopening the store, the object is {kept}")
        if helpers:
            await ensure_pki(Path(folder), "selftest", [], time.time())
    missing = [path for path in (SHIM_PATH, PAUSE_PATH) if not os.access(path, os.X_OK)]
    missing += [str(DATA_PATH)] * (not DATA_PATH.is_file())
    failed += [f"{path} is missing" for path in missing]
    loaded = forbidden_modules()
    failed += [f"{name} is loaded" for name in loaded]
    return {
        "version": __version__,
        "kubernetes": version.get("gitVersion"),
        "machine": platform.machine(),
        "binary": frozen(),
        "program": list(self_argv()),
        "helpers": helpers,
        "modules": len(sys.modules),
        "rss_kib_max": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "failed": failed,
    }


def forbidden_modules() -> list[str]:
    """Those of FORBIDDEN that this process holds."""
    return sorted(name for name in FORBIDDEN if name in sys.modules)


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[str]:
    """A store below `folder` and the API over it; gives the path of the unix socket."""
    (folder / "run").mkdir(exist_ok=True)
    socket = str(folder / "api.sock")
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(folder / "data", folder / "run"))
        await store.wait_leader()
        events = await stack.enter_async_context(open_volatile(term=store.term, cluster_id=store.cluster_id))
        registry = Registry(store=store, events=events, config=RegistryConfig(now=time.time))
        await stack.enter_async_context(registry.run())
        await registry.bootstrap()
        front = ApiFront(
            registry=registry,
            authenticator=Authenticator(now=time.time),
            catalog=lambda: served_versions(RESOURCES),
            version=GIT_VERSION,
            checks={"ping": lambda: ""},
            statistics={},
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(front.serve, unix_path=socket))
            yield socket
            await front.shutdown(1)
            nursery.cancel_scope.cancel()


async def ask(socket: str, verb: str, path: str, body: Any = None) -> dict[str, Any]:
    """One request on a connection of its own; the decoded JSON answer."""
    payload = b"" if body is None else msgspec.json.encode(body)
    head = f"{verb} {path} HTTP/1.1\r\nHost: edgekube\r\nConnection: close\r\nContent-Type: application/json\r\n"
    async with await trio.open_unix_socket(socket) as stream:
        await stream.send_all(f"{head}Content-Length: {len(payload)}\r\n\r\n".encode() + payload)
        answer = b""
        while len(answer) < ANSWER_BYTES_MAX and (piece := await stream.receive_some()):
            answer += piece
    decoded: dict[str, Any] = msgspec.json.decode(answer.partition(b"\r\n\r\n")[2])
    return decoded
