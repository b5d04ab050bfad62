"""The long-lived subresources of pods: log, exec, attach, port-forward. Each meets the pod's node through NodeApi."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from edgekube.apiserver.commandsocket import serve_socket
from edgekube.apiserver.commandspdy import serve_spdy
from edgekube.apiserver.lookup import PodFields, get_object
from edgekube.apiserver.permit import Authorizer, require
from edgekube.apiserver.portforward import forward_ports
from edgekube.apiserver.remotecommand import RemoteCommand
from edgekube.apiserver.request import Registry, User
from edgekube.apiserver.requestinfo import RequestInfo, is_true
from edgekube.client.api import LogOptions, NodeApi
from edgekube.http.messages import HttpError, PushResponse, Sender, UpgradeResponse
from edgekube.http.server import Request
from edgekube.http.spdy import SPDY_UPGRADE
from edgekube.http.websocket import is_upgrade
from edgekube.types.integers import integer
from edgekube.types.status import ApiError, bad_request, failure

_LOG_HEADERS: Final = [("Content-Type", "text/plain"), ("Cache-Control", "no-cache, private")]
_STREAMS: Final = frozenset({"log", "exec", "attach", "portforward"})
_COMMAND_WORDS_MAX: Final = 1000
_LOG_STREAMS: Final = frozenset({"All", "Stdout", "Stderr"})

Query = Sequence[tuple[str, str]]
Answer = PushResponse | UpgradeResponse


class PodStreams:
    """Answers the streams of pods. `node_api` gives the NodeApi of a node by name, or raises ApiError."""

    def __init__(self, *, registry: Registry, node_api: Callable[[str], NodeApi], authorize: Authorizer) -> None:
        self._registry = registry
        self._node_api = node_api
        self._authorize = authorize

    @staticmethod
    def handles(info: RequestInfo) -> bool:
        return not info.group and info.resource == "pods" and info.subresource in _STREAMS and bool(info.name)

    async def handle(self, request: Request, user: User, info: RequestInfo, query: Query) -> Answer:
        """Raises ApiError before anything has been sent."""
        verb = "get" if info.subresource == "log" else "create"  # exec by GET (WebSocket) needs create as well
        await require(self._authorize, user, msgspec.structs.replace(info, verb=verb))
        if request.method not in ("GET", "POST"):
            raise failure(405, "MethodNotAllowed", f"{request.method} is not supported on pods/{info.subresource}")
        pod = await get_object(self._registry, PodFields, "pods", info.name, info.namespace)
        if not pod.spec.nodeName:
            raise bad_request(f"pod {info.name} does not have a host assigned")
        values = dict(query)
        if info.subresource == "portforward":
            return forward_ports(request, self._node_api(pod.spec.nodeName), info.namespace, info.name, query)
        container = choose_container(pod, values.get("container", ""))
        if info.subresource == "log":
            options = log_options(values, container)
            return _log(self._node_api(pod.spec.nodeName), info.namespace, info.name, options)
        command = [value for key, value in query if key == "command"]
        if info.subresource == "exec" and not command:
            raise bad_request("you must specify at least one command for the container")
        if len(command) > _COMMAND_WORDS_MAX:
            raise bad_request(f"the command has more than {_COMMAND_WORDS_MAX} words")
        wanted = {name: name in values and is_true(values[name]) for name in ("stdin", "stdout", "stderr", "tty")}
        if not (wanted["stdin"] or wanted["stdout"] or wanted["stderr"]):
            raise bad_request("you must specify at least one of stdin, stdout, stderr")
        remote = RemoteCommand(
            namespace=info.namespace,
            pod=info.name,
            container=container,
            command=tuple(command) if info.subresource == "exec" else None,
            stdin=wanted["stdin"],
            stdout=wanted["stdout"],
            # With a terminal there is one output; kubectl asks for both all the same.
            stderr=wanted["stderr"] and not wanted["tty"],
            tty=wanted["tty"],
        )
        if request.head.upgrade == SPDY_UPGRADE:
            return serve_spdy(request, self._node_api(pod.spec.nodeName), remote)
        if is_upgrade(request.head):
            return serve_socket(request, self._node_api(pod.spec.nodeName), remote)
        raise bad_request("Upgrade request required")


def choose_container(pod: PodFields, wanted: str) -> str:
    """The container a request is for: the one named, or the only one. Raises ApiError 400."""
    spec = pod.spec
    every = [container.name for container in (*spec.containers, *spec.initContainers, *spec.ephemeralContainers)]
    if wanted:
        if wanted not in every:
            raise bad_request(f"container {wanted} is not valid for pod {pod.metadata.name}")
        return wanted
    if len(spec.containers) == 1:
        return spec.containers[0].name
    names = " ".join(container.name for container in spec.containers)
    message = f"a container name must be specified for pod {pod.metadata.name}, choose one of: [{names}]"
    if spec.initContainers:
        message += f" or one of the init containers: [{' '.join(container.name for container in spec.initContainers)}]"
    raise bad_request(message)


def log_options(values: dict[str, str], container: str) -> LogOptions:
    """PodLogOptions of a query. Raises ApiError 400 or 422."""
    since_seconds = _count(values, "sinceSeconds", 1)
    since_time = values.get("sinceTime", "")
    if since_seconds is not None and since_time:
        raise _invalid("at most one of `sinceTime` or `sinceSeconds` may be specified")
    stream = values.get("stream", "") or "All"
    if stream not in _LOG_STREAMS:
        raise _invalid(f'stream: Unsupported value: "{stream}": supported values: "All", "Stderr", "Stdout"')
    tail_lines = _count(values, "tailLines", 0)
    if stream != "All" and tail_lines is not None:
        raise _invalid("`tailLines` and specific `stream` are mutually exclusive for now")
    return LogOptions(
        container=container,
        follow=_flag(values, "follow"),
        previous=_flag(values, "previous"),
        since_seconds=since_seconds,
        since_time=since_time,
        timestamps=_flag(values, "timestamps"),
        tail_lines=tail_lines,
        limit_bytes=_count(values, "limitBytes", 1),
        stream=stream,
    )


def _flag(values: dict[str, str], name: str) -> bool:
    return name in values and is_true(values[name])


def _count(values: dict[str, str], name: str, least: int) -> int | None:
    text = values.get(name, "")
    if not text:
        return None
    value = integer(text)
    if value is None:
        raise bad_request(f"{name}: {text!r} is not a number")
    if value < least:
        raise _invalid(f"{name}: Invalid value: {value}: must be greater than or equal to {least}")
    return value


def _invalid(message: str) -> ApiError:
    return failure(422, "Invalid", f'PodLogOptions "" is invalid: {message}')


def _log(node: NodeApi, namespace: str, pod: str, options: LogOptions) -> PushResponse:
    async def run(sender: Sender) -> None:
        started = False
        try:
            async with node.logs(namespace, pod, options) as chunks:
                await sender.start(200, _LOG_HEADERS)
                started = True
                async for chunk in chunks:
                    await sender.send(chunk)
        except ApiError as error:
            if started:
                raise HttpError(500, error.message) from error
            await send_error(sender, error)

    return PushResponse(run=run)


async def send_error(sender: Sender, error: ApiError) -> None:
    """A Status as the whole answer."""
    await sender.start(error.code, [("Content-Type", "application/json")])
    await sender.send(msgspec.json.encode(error.status))
