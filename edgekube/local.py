"""What a node does for its own command line beside the Kubernetes API: images, status, kubeconfig, backup.

Paths below /edgekube, for cluster admins only; the front has checked that. Long work answers with one JSON object a
line as it goes on, so that a person sees progress: {"progress": ...}, at the end {"result": ...} or {"error": ...}.
"""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import msgspec
import trio

from edgekube.http.messages import Response
from edgekube.http.server import Request
from edgekube.runtime.api import Image, ImageService, RuntimeFailure
from edgekube.store.api import StoreError
from edgekube.types.status import bad_request

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 0.5
LINES = [("Content-Type", "application/x-ndjson")]
JSON = [("Content-Type", "application/json")]
BYTES = [("Content-Type", "application/octet-stream")]


class LocalPaths:
    """`status` and `kubeconfig` are made by the composition root, which alone knows all parts."""

    def __init__(
        self,
        images: ImageService,
        *,
        status: Callable[[], Mapping[str, Any]],
        kubeconfig: Callable[[str], str],
        images_in_use: Callable[[], Sequence[str]],
        backup: Callable[[], AsyncGenerator[bytes, None]],
    ) -> None:
        self._images = images
        self._status = status
        self._kubeconfig = kubeconfig
        self._images_in_use = images_in_use
        self._backup = backup

    async def handle(self, request: Request, path: str, query: Mapping[str, str]) -> Response | None:
        match request.method, path:
            case "GET", "/edgekube/status":
                return Response(headers=JSON, body=msgspec.json.encode(self._status()))
            case "GET", "/edgekube/kubeconfig":
                text = self._kubeconfig(query.get("server", ""))
                return Response(headers=[("Content-Type", "application/yaml")], body=text.encode())
            case "GET", "/edgekube/backup":
                return Response(headers=BYTES, body=self._parts())
            case "GET", "/edgekube/images":
                return Response(headers=JSON, body=msgspec.json.encode([_shown(i) for i in self._images.list()]))
            case "POST", "/edgekube/images/import":
                source = _required(query, "path")

                async def load() -> Any:
                    return [_shown(i) for i in await self._images.import_archive(source)]

                return Response(headers=LINES, body=self._work(load))
            case "POST", "/edgekube/images/pull":
                reference = _required(query, "reference")

                async def pull() -> Any:
                    return [_shown(await self._images.pull(reference))]

                return Response(headers=LINES, body=self._work(pull))
            case "POST", "/edgekube/images/remove":
                wanted = _required(query, "reference")

                async def remove() -> Any:
                    await self._images.remove(wanted)
                    return []

                return Response(headers=LINES, body=self._work(remove))
            case "POST", "/edgekube/images/prune":

                async def prune() -> Any:
                    return {"freed_bytes": await self._images.collect(in_use=self._images_in_use())}

                return Response(headers=LINES, body=self._work(prune))
        return None

    async def _parts(self) -> AsyncIterator[bytes]:
        """A backup; without its end when it fails, which whoever reads it notices."""
        try:
            async with aclosing(self._backup()) as parts:
                async for part in parts:
                    yield part
        except (StoreError, OSError) as error:
            log.warning("backup failed: %s", error)

    async def _work(self, job: Callable[[], Awaitable[Any]]) -> AsyncIterator[bytes]:
        """Lines of progress while `job` runs, then its result or what went wrong."""
        outcome: dict[str, Any] = {}

        async def run(scope: trio.CancelScope) -> None:
            try:
                outcome["result"] = await job()
            except (RuntimeFailure, OSError) as error:
                outcome["error"] = str(error)
            scope.cancel()

        last: list[Any] = []
        async with trio.open_nursery() as nursery:
            done = trio.CancelScope()
            nursery.start_soon(run, done)
            with done:
                while True:
                    await trio.sleep(PROGRESS_SECONDS)
                    progress = [msgspec.to_builtins(p) for p in self._images.progress()]
                    if progress != last:
                        last = progress
                        yield msgspec.json.encode({"progress": progress}) + b"\n"
        yield msgspec.json.encode(outcome) + b"\n"


def _required(query: Mapping[str, str], name: str) -> str:
    if not query.get(name):
        raise bad_request(f"the parameter {name} is missing")
    return query[name]


def _shown(image: Image) -> Mapping[str, Any]:
    return {
        "id": image.id,
        "digest": image.digest,
        "tags": image.tags,
        "repoDigests": image.repo_digests,
        "size": image.size_bytes,
        "pinned": image.pinned,
    }
