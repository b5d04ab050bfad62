"""One look at a container: exec, TCP, gRPC; HTTP is in `httpcheck`. For probes and lifecycle hooks (pkg/probe)."""

import os
from collections.abc import Sequence

import msgspec
import trio

from edgekube.kubelet.failures import one_failure
from edgekube.kubelet.grpc_health import GrpcError, HealthCall
from edgekube.kubelet.grpc_health import request as grpc_request
from edgekube.runtime.api import ContainerRuntime, RuntimeFailure
from edgekube.types.core_v1 import HTTPGetAction, TCPSocketAction
from edgekube.types.integers import natural

OUTPUT_BYTES_MAX = 10 * 1024  # of a probe's answer, as the kubelet reads
HEAD_BYTES_MAX = 64 * 1024
USER_AGENT = "kube-probe/1.36"


class Outcome(msgspec.Struct, frozen=True):
    """Whether it went well, and what to say when not; `warning`: it did, but its owner should know how."""

    ok: bool
    message: str = ""
    warning: bool = False


async def exec_check(
    runtime: ContainerRuntime, container_id: str, command: Sequence[str], timeout_seconds: float
) -> Outcome:
    """Exit code 0 is success."""
    try:
        with one_failure():
            result = await runtime.exec_sync(container_id, command, timeout_seconds=timeout_seconds)
    except RuntimeFailure as error:
        return Outcome(False, str(error))
    if result.timed_out:
        return Outcome(False, f'command timed out: "{" ".join(command)}" timed out after {timeout_seconds:g}s')
    text = (result.stdout + result.stderr)[:OUTPUT_BYTES_MAX].decode(errors="replace")
    return Outcome(result.exit_code == 0, text)


async def tcp_check(host: str, port: int, timeout_seconds: float) -> Outcome:
    """A connection that opens is success."""
    try:
        with trio.fail_after(timeout_seconds):
            stream = await trio.open_tcp_stream(host, port, happy_eyeballs_delay=None)
    except trio.TooSlowError:
        return Outcome(False, f"dial tcp {host}:{port}: i/o timeout")
    except OSError as error:
        return Outcome(False, f"dial tcp {host}:{port}: connect: {cause_of(error)}")
    await trio.aclose_forcefully(stream)
    return Outcome(True)


async def grpc_check(host: str, port: int, service: str, timeout_seconds: float) -> Outcome:
    """SERVING from grpc.health.v1 is success; plain text, as the kubelet asks."""
    call = HealthCall()
    try:
        with trio.fail_after(timeout_seconds):
            stream = await trio.open_tcp_stream(host, port, happy_eyeballs_delay=None)
            try:
                await stream.send_all(grpc_request(f"{host}:{port}", service, USER_AGENT))
                while not call.done:
                    data = await stream.receive_some(HEAD_BYTES_MAX)
                    if not data:
                        return Outcome(False, "error: health rpc probe failed: the server closed the connection")
                    reply = call.feed(data)
                    if reply:
                        await stream.send_all(reply)
            finally:
                await trio.aclose_forcefully(stream)
        problem = call.verdict()
    except trio.TooSlowError:
        address = f"{host}:{port}"
        return Outcome(False, f'timeout: failed to connect service "{address}" within {timeout_seconds:g}s')
    except (OSError, trio.BrokenResourceError) as error:
        return Outcome(False, f'error: failed to connect service "{host}:{port}": {cause_of(error)}')
    except GrpcError as error:
        return Outcome(False, f"error: health rpc probe failed: {error}")
    return Outcome(not problem, problem)


def cause_of(error: BaseException) -> str:
    """The innermost reason, in the system's words: trio wraps a failed connect in a group."""
    while error.__cause__ is not None or isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__ or error
    number = getattr(error, "errno", None)
    return (os.strerror(number) if isinstance(number, int) and number > 0 else str(error)).lower()


def port_number(action: HTTPGetAction | TCPSocketAction, ports: dict[str, int]) -> int | None:
    """A numeric port, or a container port by name; None when there is none of that name."""
    port = action.port
    if isinstance(port, int):
        return port
    number = natural(port, 65535)
    return ports.get(port) if number is None else number
