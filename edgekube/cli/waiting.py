"""Follow one object over time by list and watch, up to a deadline: the base of every verb that waits."""

import time
from collections.abc import Iterator

from edgekube.cli.api import Api, Json, path_of
from edgekube.cli.errors import StatusError
from edgekube.cli.transport import NoAnswer
from edgekube.types.resources import Resource

WATCH_SECONDS_MAX = 3600
GONE = 410


def deadline_in(limit: float) -> float | None:
    """The monotonic instant `limit` seconds from now; None (never) for 0 and less."""
    return time.monotonic() + limit if limit > 0 else None


def follow(api: Api, resource: Resource, namespace: str, name: str, deadline: float | None) -> Iterator[Json | None]:
    """The object now and after every change, None while there is none. Ends at the deadline (never for None)."""
    collection = path_of(resource, namespace)
    query = {"fieldSelector": f"metadata.name={name}"}
    while True:
        listed = api.list(collection, query)
        items = listed.get("items") or ()
        yield _typed(items[0], listed) if items else None
        version = (listed.get("metadata") or {}).get("resourceVersion", "")
        try:
            while True:
                left = WATCH_SECONDS_MAX if deadline is None else deadline - time.monotonic()
                if left <= 0:
                    return
                seconds = min(int(left) + 1, WATCH_SECONDS_MAX)
                wanted = {**query, "resourceVersion": version, "timeoutSeconds": str(seconds)}
                for event in api.watch(collection, wanted, timeout=left):
                    obj: Json = event["object"]
                    version = (obj.get("metadata") or {}).get("resourceVersion") or version
                    if event["type"] != "BOOKMARK":
                        yield None if event["type"] == "DELETED" else obj
                        if deadline is not None and time.monotonic() >= deadline:
                            return
        except NoAnswer:
            pass  # nothing happened for as long as we may wait, or as long as one watch lasts
        except StatusError as error:
            if error.http_code != GONE:
                raise


def _typed(item: Json, listed: Json) -> Json:
    kind = str(listed.get("kind", "")).removesuffix("List")
    return {"apiVersion": listed.get("apiVersion", ""), "kind": kind, **item}
