"""core/v1: probe.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Int32, Int64, IntOrString, Object, always


class ExecAction(Object, frozen=True, kw_only=True):
    command: tuple[str, ...] = ()


class GRPCAction(Object, frozen=True, kw_only=True):
    port: Int32 = always(0)
    service: str | None = None


class HTTPHeader(Object, frozen=True, kw_only=True):
    name: str = always("")
    value: str = always("")


class SleepAction(Object, frozen=True, kw_only=True):
    seconds: Int64 = always(0)


class TCPSocketAction(Object, frozen=True, kw_only=True):
    host: str = ""
    port: IntOrString = always(0)


class HTTPGetAction(Object, frozen=True, kw_only=True):
    host: str = ""
    httpHeaders: tuple[HTTPHeader, ...] = ()
    path: str = ""
    port: IntOrString = always(0)
    scheme: str = ""


class LifecycleHandler(Object, frozen=True, kw_only=True):
    exec: ExecAction | None = None
    httpGet: HTTPGetAction | None = None
    sleep: SleepAction | None = None
    tcpSocket: TCPSocketAction | None = None


class Probe(Object, frozen=True, kw_only=True):
    exec: ExecAction | None = None
    failureThreshold: Int32 = 0
    grpc: GRPCAction | None = None
    httpGet: HTTPGetAction | None = None
    initialDelaySeconds: Int32 = 0
    periodSeconds: Int32 = 0
    successThreshold: Int32 = 0
    tcpSocket: TCPSocketAction | None = None
    terminationGracePeriodSeconds: Int64 | None = None
    timeoutSeconds: Int32 = 0


class Lifecycle(Object, frozen=True, kw_only=True):
    postStart: LifecycleHandler | None = None
    preStop: LifecycleHandler | None = None
    stopSignal: str = ""
