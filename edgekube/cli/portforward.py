"""Forward local ports to a pod: edgekube port-forward (POD | TYPE/NAME) [LOCAL:]REMOTE... ; `:80` takes a free port."""

import argparse
import socket
import sys
import threading
from typing import TYPE_CHECKING, NamedTuple

from edgekube.cli import arguments, kinds
from edgekube.cli.api import Api, Json, path_of
from edgekube.cli.errors import OK, CliError, UsageError, describe
from edgekube.cli.pods import PODS, pods_behind
from edgekube.cli.websocket import WebSocket, open_websocket

if TYPE_CHECKING:
    from edgekube.http.spdy import Codec

TUNNEL = "SPDY/3.1+portforward.k8s.io"
ERROR_STREAM, DATA_STREAM = 1, 3
CONNECTIONS_MAX = 256
_READ_BYTES = 32 * 1024


class Port(NamedTuple):
    local: int  # 0: any free one
    remote: int


def configure(made: argparse.ArgumentParser) -> None:
    made.add_argument("what", metavar="POD | TYPE/NAME")
    made.add_argument("ports", nargs="+", metavar="[LOCAL:]REMOTE")
    made.add_argument("--address", metavar="ADDR", default="localhost", help="listen there (default: localhost)")


def run(args: argparse.Namespace) -> int:
    api = arguments.api_of(args)
    pod, ports = _destination(api, arguments.namespace_of(args), args.what, args.ports)
    phase = (pod.get("status") or {}).get("phase")
    if phase != "Running":
        raise CliError(f"unable to forward port because pod is not running. Current status={phase}")
    path = path_of(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"], "portforward")
    slots = threading.BoundedSemaphore(CONNECTIONS_MAX)
    listeners = [(port, each) for port in ports for each in _listen(args.address, port.local)]
    threads = []
    for port, listener in listeners:
        host, local = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(f"Forwarding from {shown}:{local} -> {port.remote}", flush=True)
        threads.append(threading.Thread(target=_accept, args=(api, path, port.remote, listener, slots), daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return OK


def parse_port(text: str) -> tuple[int, str]:
    """(local port, remote port or name) of `8080:80`, `80`, `:80`, `8080:http`. Raises UsageError."""
    local, colon, remote = text.partition(":")
    if not colon:
        remote = local
    try:
        number = int(local) if local and (colon or local.isdecimal()) else 0
    except ValueError:
        number = -1
    if not remote or not 0 <= number < 1 << 16 or (remote.isdecimal() and not 0 < int(remote) < 1 << 16):
        raise UsageError(f"invalid port format {text!r}: write LOCAL:REMOTE, such as 8080:80")
    return number, remote


def _destination(api: Api, namespace: str, word: str, texts: list[str]) -> tuple[Json, list[Port]]:
    """The pod, and the ports in it: a Service's ports are translated to its pods'."""
    kind, slash, name = word.partition("/")
    resource = kinds.resolve_one(api, kind) if slash else PODS
    obj = api.get(path_of(resource, namespace, name if slash else word))
    pod = obj if resource.plural == "pods" else pods_behind(api, namespace, resource, obj)[0]
    ports = []
    for text in texts:
        local, remote = parse_port(text)
        if resource.plural == "services":
            number, target = _service_port(obj, remote)
            port = int(target) if str(target).isdecimal() else _container_port(pod, str(target))
            ports.append(Port(local if ":" in text else local or number, port))
        else:
            ports.append(Port(local, int(remote) if remote.isdecimal() else _container_port(pod, remote)))
    return pod, ports


def _service_port(service: Json, wanted: str) -> tuple[int, int | str]:
    for port in service["spec"].get("ports") or ():
        if wanted in (str(port["port"]), port.get("name")):
            if service["spec"].get("clusterIP") == "None":
                return port["port"], port.get("targetPort") or port["port"]
            return port["port"], port.get("targetPort") or port["port"]
    raise CliError(f"Service {service['metadata']['name']} does not have a service port {wanted}")


def _container_port(pod: Json, name: str) -> int:
    for container in pod["spec"]["containers"]:
        for port in container.get("ports") or ():
            if port.get("name") == name:
                return int(port["containerPort"])
    raise CliError(f"Pod {pod['metadata']['name']} does not have a named port '{name}'")


def _listen(address: str, port: int) -> list[socket.socket]:
    """Raises CliError when nothing can be bound."""
    out: list[socket.socket] = []
    problem = ""
    for host in ("127.0.0.1", "::1") if address == "localhost" else (address,):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            made = socket.socket(family, socket.SOCK_STREAM)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((host, port or (out[0].getsockname()[1] if out else 0)))
            made.listen()
        except OSError as error:
            problem = f"unable to listen on port {port} of {host}: {error.strerror or error}"
            continue
        out.append(made)
    if not out:
        raise CliError(f"{problem}: choose another local port, or :REMOTE for any free one")
    return out


def _accept(api: Api, path: str, port: int, listener: socket.socket, slots: threading.BoundedSemaphore) -> None:
    while True:
        connection, _ = listener.accept()
        print(f"Handling connection for {listener.getsockname()[1]}", flush=True)
        slots.acquire()
        worker = threading.Thread(target=_forward, args=(api, path, port, connection, slots), daemon=True)
        worker.start()


def _forward(api: Api, path: str, port: int, local: socket.socket, slots: threading.BoundedSemaphore) -> None:
    """One connection, over a tunnel of its own: its end, either half of it, and its errors belong to it alone."""
    from edgekube.http.spdy import Codec

    try:
        tunnel = open_websocket(api, path, (), (TUNNEL,))
        codec = Codec()
        common = [("port", str(port)), ("requestid", "0")]
        tunnel.send(codec.syn_stream(ERROR_STREAM, [("streamtype", "error"), *common], fin=True))
        tunnel.send(codec.syn_stream(DATA_STREAM, [("streamtype", "data"), *common]))
        threading.Thread(target=_send, args=(local, tunnel), daemon=True).start()
        _receive(tunnel, codec, local, port)
        tunnel.close()
    except (CliError, OSError) as error:
        print(describe(error) if isinstance(error, CliError) else f"error: {error}", file=sys.stderr)
    finally:
        try:
            local.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        local.close()
        slots.release()


def _send(local: socket.socket, tunnel: WebSocket) -> None:
    from edgekube.http.spdy import Codec

    try:
        while data := local.recv(_READ_BYTES):
            tunnel.send(Codec.data(DATA_STREAM, data))
        tunnel.send(Codec.data(DATA_STREAM, b"", fin=True))
    except OSError:
        tunnel.close()


def _receive(tunnel: WebSocket, codec: "Codec", local: socket.socket, port: int) -> None:
    """What the pod sends, until its side has ended and the error stream has said whether all was well."""
    from edgekube.http.spdy import DataReceived, PingReceived, SpdyError, StreamReset

    problem = b""
    ended: set[int] = set()
    try:
        while len(ended) < 2 and (message := tunnel.receive()) is not None:
            for event in codec.feed(message):
                if isinstance(event, DataReceived):
                    if event.stream == ERROR_STREAM:
                        problem += event.data
                    elif event.data:
                        local.sendall(event.data)
                    if event.fin:
                        ended.add(event.stream)
                        if event.stream == DATA_STREAM:
                            local.shutdown(socket.SHUT_WR)
                elif isinstance(event, StreamReset):
                    ended.add(event.stream)
                elif isinstance(event, PingReceived) and event.id % 2 == 0:
                    tunnel.send(codec.ping(event.id))
    except SpdyError as error:
        raise CliError(f"the node broke the tunnel's protocol: {error}") from None
    except OSError:
        return  # who connected here has gone
    if problem:
        print(f"an error occurred forwarding port {port}: {problem.decode(errors='replace')}", file=sys.stderr)
