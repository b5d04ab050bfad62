"""GET and LIST: stored bytes sent on without decoding, and the resourceVersion rules (KEP-2340, API concepts)."""

import base64
from collections.abc import AsyncIterator, Sequence

import msgspec
import trio

from edgekube.apiserver import storage
from edgekube.apiserver.backend import Backend
from edgekube.apiserver.errors import from_store, version_too_large
from edgekube.apiserver.resources import Resource
from edgekube.apiserver.selection import Selection
from edgekube.store.api import Compacted, KeyValue, Store, StoreError, prefix_end
from edgekube.types import status
from edgekube.types.integers import natural

CONTINUE_SIZE_BYTES_MAX = 2048
LIST_WHOLE_ITEMS_MAX = 500  # longer lists are streamed
SELECT_ITEMS = 200  # objects decoded in a row: about 2 ms
LIST_PIECE_ITEMS = 50  # objects a piece: pieces small enough for the allocator to reuse their memory
PAGE_SCAN = 500  # keys read at a time while a selector skips through a limited list


class Page(msgspec.Struct, frozen=True, gc=False):
    """One page of a list: envelopes, the revision all of it is consistent at, and how to go on."""

    items: Sequence[KeyValue]
    revision: int
    continue_: str = ""
    remaining: int | None = None


class _Token(msgspec.Struct, frozen=True, rename={"revision": "rv", "after": "start"}):
    """What a continue token holds: the revision of the list and the last key handed out."""

    revision: int
    after: str
    v: str = "edgekube/v1"


def encode_continue(revision: int, after: bytes) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(_Token(revision, after.decode()))).decode().rstrip("=")


def decode_continue(text: str) -> tuple[int, bytes]:
    """(revision, last key). Raises ApiError 400."""
    try:
        if len(text) > CONTINUE_SIZE_BYTES_MAX:
            raise ValueError("too long")
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        token = msgspec.json.decode(raw, type=_Token)
        if token.v != "edgekube/v1" or token.revision < -1:
            raise ValueError("unknown version")
    except (ValueError, msgspec.DecodeError) as error:
        raise status.bad_request(f"continue key is not valid: {error}") from None
    return token.revision, token.after.encode()


def parse_version(text: str) -> int:
    """A resourceVersion; "" and "0" are 0. Raises ApiError."""
    if not text:
        return 0
    version = natural(text, 2**64 - 1)
    if version is None:
        raise status.bad_request(
            f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        )
    return version


class Reader:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def get(self, res: Resource, namespace: str, name: str, version: str = "") -> KeyValue:
        """The newest object (or, with resourceVersion=0, what this member has). Raises ApiError 404."""
        store = self._backend.store_of(res)
        wanted = parse_version(version)
        await self._fresh(store, version, wanted)
        kv = self._backend.read(res, namespace, name)
        if kv is None:
            raise status.not_found(res.qualified, name)
        return kv

    async def _fresh(self, store: Store, version: str, wanted: int) -> None:
        if version == "0":
            return
        try:
            if not version:
                await store.read_barrier()
            elif wanted > store.revision:
                raise version_too_large(wanted, store.revision)
        except StoreError as error:
            raise from_store(error) from None

    async def list(
        self,
        res: Resource,
        namespace: str,
        selection: Selection,
        *,
        limit: int = 0,
        continue_: str = "",
        version: str = "",
        match: str = "",
    ) -> Page:
        """A page. Raises ApiError: 400 for bad options, 410 when the page's revision is no longer kept."""
        store = self._backend.store_of(res)
        prefix = self._backend.prefix(res, namespace)
        start, end, at = prefix, prefix_end(prefix), 0
        wanted = parse_version(version)
        _check_match(match, version, continue_)
        if limit < 0:
            raise status.bad_request("limit must not be negative")
        inconsistent = False
        if continue_:
            if version not in ("", "0"):
                raise status.bad_request("specifying resource version is not allowed when using continue")
            at, last = decode_continue(continue_)
            if not last.startswith(prefix):
                raise status.bad_request("continue key is not valid: it belongs to another list")
            start = last + b"\x00"
            inconsistent = at == -1
            if inconsistent:
                at = 0
        elif match == "Exact":
            at = wanted
            if wanted > store.revision:
                raise version_too_large(wanted, store.revision)
        else:
            await self._fresh(store, version, wanted)
        revision = at or store.revision
        single = _single_name(selection)
        try:
            if single is not None and not at and (namespace or not res.namespaced):
                kv = store.get(prefix + single.encode()) if single else None
                if kv is not None and res.plural == "leases":
                    kv = self._backend.leases.fill(kv)
                found = [kv] if kv is not None and kv.key >= start and selection.matches(kv.value) else []
                return Page(found, revision)
            page = await self._scan(store, start, end, at, revision, selection, limit)
            if res.plural == "leases":
                return msgspec.structs.replace(page, items=[self._backend.leases.fill(kv) for kv in page.items])
            return page
        except Compacted:
            raise _expired(store, continue_, start) from None
        except StoreError as error:
            raise from_store(error) from None

    async def _scan(
        self, store: Store, start: bytes, end: bytes, at: int, revision: int, selection: Selection, limit: int
    ) -> Page:
        if not limit:
            kvs = store.range(start, end, revision=at)
            return Page(kvs if selection.everything else await _selected(kvs, selection), revision)
        found: list[KeyValue] = []
        chunk = limit + 1 if selection.everything else max(limit + 1, PAGE_SCAN)
        while True:
            kvs = store.range(start, end, limit=chunk, revision=at)
            for kv in kvs:
                if selection.matches(kv.value):
                    if len(found) == limit:
                        last = found[-1].key
                        token = encode_continue(revision, last)
                        remaining = None
                        if selection.everything:
                            remaining = store.count(last + b"\x00", end)
                        return Page(found, revision, token, remaining)
                    found.append(kv)
            if len(kvs) < chunk:
                return Page(found, revision)
            start = kvs[-1].key + b"\x00"


async def _selected(kvs: Sequence[KeyValue], selection: Selection) -> list[KeyValue]:
    """Those that match, looked for a few at a time: each is decoded, and a large list never holds the loop for long."""
    found: list[KeyValue] = []
    for start in range(0, len(kvs), SELECT_ITEMS):
        if start:
            await trio.lowlevel.checkpoint()
        found += [kv for kv in kvs[start : start + SELECT_ITEMS] if selection.matches(kv.value)]
    return found


def _single_name(selection: Selection) -> str | None:
    return selection.fields.exact("metadata.name")


def _check_match(match: str, version: str, continue_: str) -> None:
    if not match:
        return
    if match not in ("Exact", "NotOlderThan"):
        raise status.failure(
            422,
            "Invalid",
            f'resourceVersionMatch: Unsupported value: "{match}": supported values: "Exact", "NotOlderThan"',
        )
    if continue_:
        raise status.failure(
            422,
            "Invalid",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided",
        )
    if not version:
        raise status.failure(
            422, "Invalid",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
        )  # fmt: skip
    if match == "Exact" and version == "0":
        raise status.failure(
            422,
            "Invalid",
            'resourceVersionMatch: Forbidden: resourceVersionMatch "Exact" is forbidden for resourceVersion "0"',
        )


def _expired(store: Store, continue_: str, start: bytes) -> status.ApiError:
    if not continue_:
        return status.expired("The resourceVersion for the provided list is too old.")
    # The token lets the client go on from the same place at the newest revision, knowingly inconsistent.
    error = status.expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list "
        "without the continue parameter, or use the continue token in this response to retrieve the remainder of the "
        "results. Continuing with the provided token results in an inconsistent list - objects that were created, "
        "modified, or deleted between the time the first chunk was returned and now may show up in the list."
    )
    token = encode_continue(-1, start.removesuffix(b"\x00"))
    old = error.status
    metadata = msgspec.structs.replace(old.metadata, continue_=token, resourceVersion=str(store.revision))
    return status.ApiError(msgspec.structs.replace(old, metadata=metadata))


def list_body(kind: str, api_version: str, page: Page, items: Sequence[bytes | memoryview]) -> bytes:
    """The JSON of a list from the JSON of its items."""
    meta = b'"resourceVersion":"%d"' % page.revision
    if page.continue_:
        meta += b',"continue":"' + page.continue_.encode() + b'"'
    if page.remaining:
        meta += b',"remainingItemCount":%d' % page.remaining
    head = f'{{"kind":"{kind}","apiVersion":"{api_version}","metadata":{{'.encode() + meta + b'},"items":['
    # One join, one copy of what may be megabytes.
    parts: list[bytes | memoryview] = [b","] * (2 * len(items) + 1)
    parts[0] = head
    parts[1::2] = items
    if items:
        parts[-1] = b"]}\n"
    else:
        parts.append(b"]}\n")
    return b"".join(parts)


async def list_chunks(
    kind: str, api_version: str, page: Page, items: Sequence[bytes | memoryview]
) -> AsyncIterator[bytes]:
    """The same body in pieces, so that a large list never holds the loop for long."""
    whole = list_body(kind, api_version, page, ())
    tail = b"]}\n"
    yield whole.removesuffix(tail)
    for start in range(0, len(items), LIST_PIECE_ITEMS):
        await trio.lowlevel.checkpoint()
        yield (b"," if start else b"") + b",".join(items[start : start + LIST_PIECE_ITEMS])
    yield tail


def stored_json(kvs: Sequence[KeyValue]) -> list[bytes]:
    skip = storage.HEADER_SIZE_BYTES
    return [kv.value[skip:] for kv in kvs]


def stored_views(kvs: Sequence[KeyValue]) -> list[memoryview]:
    """The same without copies, for a body that is put together at once."""
    skip = storage.HEADER_SIZE_BYTES
    return [memoryview(kv.value)[skip:] for kv in kvs]
