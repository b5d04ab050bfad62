"""WATCH: store events as a stream of watch events, filtered, with bookmarks (KEP-956, KEP-3157)."""

import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import msgspec
import trio

from edgekube.apiserver import storage
from edgekube.apiserver.backend import Backend
from edgekube.apiserver.errors import from_store
from edgekube.apiserver.resources import Resource
from edgekube.apiserver.selection import Selection
from edgekube.store.api import Compacted, Event, KeyValue, Store, StoreError, prefix_end
from edgekube.types import status
from edgekube.types.status import ApiError

BOOKMARK_SECONDS = 60.0
TIMEOUT_SECONDS_MIN = 1800.0  # kube-apiserver's --min-request-timeout: a watch lasts this to twice as long
INITIAL_EVENTS_END = "k8s.io/initial-events-end"
CHUNK_EVENTS_MAX = 200  # events joined into one write

Render = Callable[[str, bytes], bytes]
"""(event type, object JSON) to one line of the stream."""


class WatchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`after` is the revision to start after; `initial` sends what exists first; `timeout` in seconds."""

    after: int
    initial: bool
    bookmarks: bool
    mark_initial_end: bool = False
    timeout: float


def plain_line(kind: str, json: bytes) -> bytes:
    return b'{"type":"' + kind.encode() + b'","object":' + json + b"}\n"


def bookmark(res: Resource, revision: int, *, initial_end: bool = False) -> bytes:
    """An empty object that says how far the stream has come."""
    annotations = f',"annotations":{{"{INITIAL_EVENTS_END}":"true"}}' if initial_end else ""
    return (
        f'{{"kind":"{res.kind}","apiVersion":"{res.api_version}","metadata":{{"resourceVersion":"{revision}"'
        f',"creationTimestamp":null{annotations}}}}}'
    ).encode()


def error_line(error: ApiError) -> bytes:
    return plain_line("ERROR", msgspec.json.encode(error.status))


async def stream(
    backend: Backend,
    res: Resource,
    namespace: str,
    selection: Selection,
    options: WatchOptions,
    render: Render = plain_line,
) -> AsyncIterator[bytes]:
    """Chunks of the response body. Ends at the timeout, or with an ERROR event when history ran out."""
    store = backend.store_of(res)
    prefix = backend.prefix(res, namespace)
    after = options.after
    deadline = trio.current_time() + options.timeout
    try:
        if options.initial:
            after = store.revision
            for chunk in _existing(store.range(prefix, prefix_end(prefix)), selection, render):
                yield chunk
            chunk = b""  # a watch lives for hours
            if options.mark_initial_end:
                yield render("BOOKMARK", bookmark(res, after, initial_end=True))
        async with store.watch(prefix, prefix_end(prefix), after=after, batch_max=CHUNK_EVENTS_MAX) as watch:
            sent = after
            next_bookmark = trio.current_time() + BOOKMARK_SECONDS
            while True:
                now = trio.current_time()
                if now >= deadline:
                    return
                until = min(deadline, next_bookmark) if options.bookmarks else deadline
                with trio.move_on_at(until) as scope:
                    events = await watch.next()
                if scope.cancelled_caught:
                    if options.bookmarks and trio.current_time() >= next_bookmark:
                        next_bookmark = trio.current_time() + BOOKMARK_SECONDS
                        progress = max(watch.progress, sent)
                        yield render("BOOKMARK", bookmark(res, progress))
                    continue
                out = [line for event in events if (line := _line(event, selection, render)) is not None]
                if out:
                    sent = events[-1].revision
                    yield b"".join(out)
    except Compacted:
        yield error_line(status.expired(f"too old resource version: {after} ({store.compacted})"))
    except StoreError as error:
        yield error_line(from_store(error))


def _existing(kvs: Sequence[KeyValue], selection: Selection, render: Render) -> Iterator[bytes]:
    """What there is, rendered a chunk at a time: a slow reader, or many, do not hold copies of all of it."""
    skip = storage.HEADER_SIZE_BYTES
    for start in range(0, len(kvs), CHUNK_EVENTS_MAX):
        part = kvs[start : start + CHUNK_EVENTS_MAX]
        if lines := [render("ADDED", kv.value[skip:]) for kv in part if selection.matches(kv.value)]:
            yield b"".join(lines)


def _line(event: Event, selection: Selection, render: Render) -> bytes | None:
    """What one change means to a watcher who only sees selected objects."""
    skip = storage.HEADER_SIZE_BYTES
    before = event.previous is not None and selection.matches(event.previous.value)
    if event.kv is not None:
        after = selection.matches(event.kv.value)
        if after:
            return render("MODIFIED" if before else "ADDED", event.kv.value[skip:])
        if not before:
            return None
        # It has left the selection: its last selected state, at the revision of the change that took it out.
        assert event.previous is not None
        return render("DELETED", storage.with_revision(event.previous.value[skip:], event.revision))
    if not before:
        return None
    assert event.previous is not None
    return render("DELETED", (event.deleted_value or event.previous.value)[skip:])


def watch_options(
    *,
    version: str,
    parsed: int,
    match: str,
    bookmarks: bool,
    initial: bool | None,
    timeout_seconds: int | None,
    store: Store,
) -> WatchOptions:
    """From query parameters. Raises ApiError 422 for combinations Kubernetes refuses."""
    if initial is not None and match != "NotOlderThan":
        raise status.failure(
            422,
            "Invalid",
            "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        )
    if match and initial is None:
        raise status.failure(
            422,
            "Invalid",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch "
            "unless sendInitialEvents is provided",
        )
    # Spread, so that watchers do not all come back at once.
    timeout = float(timeout_seconds) if timeout_seconds else TIMEOUT_SECONDS_MIN * (1.0 + random.random())
    send = initial if initial is not None else version in ("", "0")
    return WatchOptions(
        after=store.revision if (initial is False and version in ("", "0")) else parsed,
        initial=send,
        bookmarks=bookmarks,
        mark_initial_end=bool(initial) and bookmarks,
        timeout=timeout,
    )
