"""The verbs as HTTP sees them: an ApiRequest in, an ApiResponse out, each over the reader and the writer."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from edgekube.apiserver import codec, reader, storage, watching
from edgekube.apiserver.backend import Backend
from edgekube.apiserver.call import Call, Written, boolean, integer
from edgekube.apiserver.negotiate import Form, View
from edgekube.apiserver.patching import Patcher
from edgekube.apiserver.reader import Page, Reader
from edgekube.apiserver.request import ApiRequest, ApiResponse
from edgekube.apiserver.resources import Resource, storage_of
from edgekube.apiserver.selection import Selection, selection
from edgekube.apiserver.views import convert_json, view_list, view_object, view_renderer
from edgekube.apiserver.writer import DeleteChoice, Writer, names_version
from edgekube.types import status
from edgekube.types.fieldpath import Path, invalid
from edgekube.types.meta_v1 import DeleteOptions, StatusDetails
from edgekube.types.status import ApiError

COLLECTION_DELETE_MAX = 10_000  # objects one deletecollection may take
_PROPAGATION = ("Foreground", "Background", "Orphan")


class Verbs:
    def __init__(self, backend: Backend, reader: Reader, writer: Writer, now: Callable[[], float]) -> None:
        self._backend = backend
        self._reader = reader
        self._writer = writer
        self._now = now
        self.patcher = Patcher(writer)

    # -- reads

    async def get(self, call: Call, request: ApiRequest, form: Form) -> ApiResponse:
        version = request.query.get("resourceVersion", "")
        kv = await self._reader.get(call.resource, call.namespace, call.name, version)
        json = convert_json(call.resource, storage.body(kv.value))
        return ApiResponse(body=view_object(call.resource, json, form, self._now()))

    async def list(self, call: Call, request: ApiRequest, form: Form) -> ApiResponse:
        chosen = self.selection(call.resource, request)
        query = request.query
        page = await self._reader.list(
            call.resource,
            call.namespace,
            chosen,
            limit=integer(query, "limit", 0) or 0,
            continue_=query.get("continue", ""),
            version=query.get("resourceVersion", ""),
            match=query.get("resourceVersionMatch", ""),
        )
        return ApiResponse(body=self._list_body(call.resource, page, form))

    def _list_body(self, res: Resource, page: Page, form: Form) -> bytes | AsyncIterator[bytes]:
        if form.view is View.OBJECT and res.stored_as is None:
            views = reader.stored_views(page.items)
            if len(views) > reader.LIST_WHOLE_ITEMS_MAX:
                return reader.list_chunks(res.list_kind, res.api_version, page, views)
            return reader.list_body(res.list_kind, res.api_version, page, views)
        items = reader.stored_json(page.items)
        if res.stored_as is not None:
            items = [convert_json(res, item) for item in items]
        if form.view is View.OBJECT:
            return reader.list_body(res.list_kind, res.api_version, page, items)
        return view_list(res, page, items, form, self._now())

    async def watch(self, call: Call, request: ApiRequest, form: Form) -> ApiResponse:
        query = request.query
        chosen = self.selection(call.resource, request, call.name)
        version = query.get("resourceVersion", "")
        store = self._backend.store_of(call.resource)
        options = watching.watch_options(
            version=version,
            parsed=reader.parse_version(version),
            match=query.get("resourceVersionMatch", ""),
            bookmarks=boolean(query, "allowWatchBookmarks"),
            initial=boolean(query, "sendInitialEvents") if "sendInitialEvents" in query else None,
            timeout_seconds=integer(query, "timeoutSeconds"),
            store=store,
        )
        render = view_renderer(call.resource, form, self._now)
        body = watching.stream(self._backend, call.resource, call.namespace, chosen, options, render)
        return ApiResponse(body=body, content_type="application/json;stream=watch" if form.view else "application/json")

    @staticmethod
    def selection(res: Resource, request: ApiRequest, name: str = "") -> Selection:
        query = request.query
        return selection(res, query.get("labelSelector", ""), query.get("fieldSelector", ""), name)

    # -- writes

    async def create(self, call: Call, request: ApiRequest, form: Form) -> ApiResponse:
        res = call.resource
        obj = codec.object_body(call, request.body, request.content_type, res.api_version, res.kind)
        written = await self._writer.create(call, self.canonical(call, obj, request))
        return self.answer(call, written, form)

    async def update(self, call: Call, request: ApiRequest, form: Form) -> ApiResponse:
        res = call.resource
        obj = codec.object_body(call, request.body, request.content_type, res.api_version, res.kind)
        obj = self.canonical(call, obj, request)
        return self.answer(call, await self.replace(call, obj), form)

    async def replace(self, call: Call, obj: dict[str, Any]) -> Written:
        """PUT of a canonical object. Kinds that may be created by an update are."""
        encoded = codec.encode_json(obj)
        res = storage_of(call.resource)

        def put(old: dict[str, Any]) -> Any:
            if res.versioned and not names_version(obj["metadata"]):
                path = Path("metadata", "resourceVersion")
                unsaid = invalid(path, 0, "must be specified for an update")
                raise status.invalid(res.group, res.plural, old["metadata"]["name"], [unsaid])
            return codec.decode_json(encoded)

        try:
            return await self._writer.update(call, put)
        except ApiError as error:
            creates = res.behaviour.create_on_update and not call.subresource
            if error.code != 404 or not creates or obj["metadata"].get("uid") or error.status.details is None:
                raise
            if error.status.details.kind != call.resource.plural:
                raise
            fresh = codec.decode_json(encoded)
            if fresh["metadata"].get("name") != call.name:
                raise status.bad_request("the name of the object does not match the name on the URL") from None
            if names_version(fresh["metadata"]):
                raise
            fresh["metadata"].pop("resourceVersion", None)
            return await self._writer.create(call, fresh)

    async def patch(self, call: Call, request: ApiRequest, form: Form) -> ApiResponse:
        written = await self.patcher.patch(call, request.body, request.content_type)
        return self.answer(call, written, form)

    def canonical(self, call: Call, obj: dict[str, Any], request: ApiRequest) -> dict[str, Any]:
        json = codec.media_type(request.content_type) in ("", codec.JSON)
        return codec.canonical(call, obj, call.resource, request.body if json else None)

    async def delete(self, call: Call, request: ApiRequest, form: Form) -> ApiResponse:
        choice, dry_run = delete_choice(call, request)
        call.dry_run = dry_run
        written = await self._writer.delete(call, choice)
        return self.deleted(call, written, form)

    def deleted(self, call: Call, written: Written, form: Form) -> ApiResponse:
        """The object when it lives on for a while, else Status Success."""
        if not written.deleted or call.resource.plural == "pods" or call.resource.plural in _RETURNS_DELETED:
            return self.answer(call, written, form)
        metadata = written.obj["metadata"]
        details = StatusDetails(
            name=metadata["name"], group=call.resource.group, kind=call.resource.plural, uid=metadata["uid"]
        )
        return ApiResponse(body=codec.encode_json(status.success(details)) + b"\n")

    async def delete_collection(self, call: Call, request: ApiRequest, form: Form) -> ApiResponse:
        choice, dry_run = delete_choice(call, request)
        call.dry_run = dry_run
        res = call.resource
        page = await self._reader.list(
            res,
            call.namespace,
            self.selection(res, request),
            limit=min(integer(request.query, "limit", 0) or COLLECTION_DELETE_MAX, COLLECTION_DELETE_MAX),
        )
        at = storage_of(res)
        for kv in page.items:
            namespace, name = storage.split_key(kv.key, at.namespaced)
            one = msgspec.structs.replace(call, namespace=namespace, name=name, verb="delete")
            try:
                await self._writer.delete(one, choice)
            except ApiError as error:
                if error.code not in (404, 409):
                    raise
        return ApiResponse(body=self._list_body(res, page, form))

    def answer(self, call: Call, written: Written, form: Form) -> ApiResponse:
        json = convert_json(call.resource, written.json)
        body = view_object(call.resource, json, form, self._now())
        return ApiResponse(status=201 if written.created else 200, body=body)


_RETURNS_DELETED = frozenset({"services", "persistentvolumeclaims", "persistentvolumes", "serviceaccounts",
                              "replicationcontrollers", "podtemplates", "resourcequotas"})  # fmt: skip


def delete_choice(call: Call, request: ApiRequest) -> tuple[DeleteChoice, bool]:
    """DeleteOptions from the body, or from the query when there is none. Raises ApiError."""
    query = request.query
    options = DeleteOptions()
    if request.body:
        plain = codec.plain_body(request.body, request.content_type)
        if not isinstance(plain, dict):
            raise status.bad_request("the body of a delete is a DeleteOptions object")
        options = codec.typed_as(codec.encode_json(plain), DeleteOptions, "DeleteOptions", "v1")
    grace = options.gracePeriodSeconds
    propagation = options.propagationPolicy
    orphan = options.orphanDependents
    dry_run = options.dryRun
    if not request.body:
        grace = integer(query, "gracePeriodSeconds")
        propagation = query.get("propagationPolicy", "")
        if "orphanDependents" in query:
            orphan = boolean(query, "orphanDependents")
    if query.get("dryRun"):
        dry_run = (query["dryRun"],)
    if any(value != "All" for value in dry_run):
        raise _invalid_options('dryRun: Unsupported value: supported values: "All"')
    if propagation and orphan is not None:
        raise _invalid_options(
            "propagationPolicy: Invalid value: orphanDependents and deletionPropagation cannot be both set"
        )
    if propagation and propagation not in _PROPAGATION:
        raise _invalid_options(
            f'propagationPolicy: Invalid value: "{propagation}": needs to be one of [Background Foreground Orphan]'
        )
    if orphan is not None:
        propagation = "Orphan" if orphan else "Background"
    pre = options.preconditions
    choice = DeleteChoice(
        grace_seconds=None if grace is None else max(grace, -1),
        propagation=propagation,
        uid=(pre.uid or "") if pre else "",
        resource_version=(pre.resourceVersion or "") if pre else "",
    )
    return choice, bool(dry_run)


def _invalid_options(text: str) -> ApiError:
    return status.failure(422, "Invalid", f'DeleteOptions.meta.k8s.io "" is invalid: {text}')
