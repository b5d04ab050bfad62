"""A front on loopback TLS with its own PKI, and kubectl pointed at it."""

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio

from edgekube.apiserver.authn import Authenticator, TokenAuthenticator
from edgekube.apiserver.discovery import Catalog
from edgekube.apiserver.kubeconfig import admin_kubeconfig
from edgekube.apiserver.request import Registry
from edgekube.apiserver.server import ApiFront
from edgekube.client.api import NodeApi
from edgekube.pki.authority import ensure_pki, server_context

KUBECTL = Path(sys.executable).with_name("kubectl")


class Front:
    """A running front; `kubectl` runs the real one against it."""

    def __init__(self, front: ApiFront, kubeconfig: Path, url: str, pki: Path) -> None:
        self.front = front
        self.kubeconfig = kubeconfig
        self.url = url
        self.pki = pki

    @property
    def environment(self) -> dict[str, str]:
        home = str(self.kubeconfig.parent)
        return {"PATH": os.environ["PATH"], "HOME": home, "KUBECONFIG": str(self.kubeconfig), "KUBECACHEDIR": home}

    async def kubectl(
        self, *words: str, stdin: bytes = b"", check: bool = True, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        with trio.fail_after(60):
            done = await trio.run_process(
                [str(KUBECTL), *words],
                stdin=stdin,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                env={**self.environment, **(env or {})},
            )
        if check:
            assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.stderr.decode()}{done.stdout.decode()}"
        return done


@asynccontextmanager
async def running_front(
    folder: Path,
    *,
    registry: Registry,
    catalog: Catalog,
    node_api: Callable[[str], NodeApi] | None = None,
    tokens: Sequence[TokenAuthenticator] = (),
    **more: Any,
) -> AsyncIterator[Front]:
    paths = await ensure_pki(folder, "node-1", ["10.43.0.1"], time.time())
    front = ApiFront(
        registry=registry,
        authenticator=Authenticator(now=time.time, tokens=tuple(tokens)),
        catalog=catalog,
        version="v1.36.0+edgekube.0.1.0",
        checks={"ping": lambda: ""},
        statistics={},
        node_api=node_api,
        **more,
    )
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(
            partial(
                front.serve,
                unix_path=str(folder / "api.sock"),
                tcp=[("127.0.0.1", 0)],
                tls=server_context(paths),
            )
        )
        url = f"https://127.0.0.1:{bound[0][1]}"
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(
            admin_kubeconfig(
                server=url,
                ca_certificate=paths.ca_certificate.read_bytes(),
                client_certificate=paths.admin_certificate.read_bytes(),
                client_key=paths.admin_key.read_bytes(),
            )
        )
        yield Front(front, kubeconfig, url, paths.folder)
        await front.shutdown(1)
        nursery.cancel_scope.cancel()
