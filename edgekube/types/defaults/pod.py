"""Pods, and the pod template inside everything that makes pods."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from edgekube.types import quantity
from edgekube.types.core_v1.container import Container, EphemeralContainer
from edgekube.types.core_v1.env import EnvVar, EnvVarSource
from edgekube.types.core_v1.pod import Pod
from edgekube.types.core_v1.pod_spec import PodSpec, PodTemplateSpec
from edgekube.types.core_v1.pod_template import PodTemplate
from edgekube.types.core_v1.probe import HTTPGetAction, Lifecycle, LifecycleHandler, Probe
from edgekube.types.core_v1.resources import ResourceRequirements
from edgekube.types.core_v1.security import PodSecurityContext
from edgekube.types.defaults.fill import each, fill, within
from edgekube.types.defaults.images import pull_policy
from edgekube.types.defaults.volume import volume

GRACE_SECONDS = 30

C = TypeVar("C", Container, EphemeralContainer)


def pod(obj: Pod) -> Pod:
    """A Pod. Requests follow limits here and not in templates, as in Kubernetes."""
    return within(obj, spec=lambda spec: _own_spec(pod_spec(spec)))


def pod_template(obj: PodTemplate) -> PodTemplate:
    return within(obj, template=template)


def template(obj: PodTemplateSpec) -> PodTemplateSpec:
    """The template of a workload."""
    return within(obj, spec=pod_spec)


def pod_spec(spec: PodSpec) -> PodSpec:
    """What pods and templates share."""
    spec = fill(
        spec,
        restartPolicy="Always",
        dnsPolicy="ClusterFirst",
        schedulerName="default-scheduler",
        terminationGracePeriodSeconds=GRACE_SECONDS,
        securityContext=PodSecurityContext(),
        serviceAccountName=spec.serviceAccount,
    )
    # The deprecated alias always shows the same name.
    if spec.serviceAccount != spec.serviceAccountName:
        name = spec.serviceAccountName
        spec = within(spec, serviceAccount=lambda _: name)
    return within(
        spec,
        volumes=each(volume),
        containers=each(container),
        initContainers=each(container),
        ephemeralContainers=each(container),
    )


def container(obj: C) -> C:
    obj = fill(
        obj,
        imagePullPolicy=pull_policy(obj.image),
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
    )
    return within(
        obj,
        ports=each(lambda port: fill(port, protocol="TCP")),
        env=each(_env),
        livenessProbe=_probe,
        readinessProbe=_probe,
        startupProbe=_probe,
        lifecycle=_lifecycle,
    )


def _env(item: EnvVar) -> EnvVar:
    return within(item, valueFrom=_env_source)


def _env_source(source: EnvVarSource) -> EnvVarSource:
    return within(
        source,
        fieldRef=lambda ref: fill(ref, apiVersion="v1"),
        fileKeyRef=lambda ref: fill(ref, optional=False),
    )


def _probe(obj: Probe) -> Probe:
    obj = fill(obj, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
    return within(obj, httpGet=_http_get, grpc=lambda action: fill(action, service=""))


def _http_get(action: HTTPGetAction) -> HTTPGetAction:
    return fill(action, path="/", scheme="HTTP")


def _lifecycle(obj: Lifecycle) -> Lifecycle:
    return within(obj, postStart=_handler, preStop=_handler)


def _handler(handler: LifecycleHandler) -> LifecycleHandler:
    return within(handler, httpGet=_http_get)


def _own_spec(spec: PodSpec) -> PodSpec:
    spec = fill(spec, enableServiceLinks=True)
    spec = within(spec, containers=each(_requests_of_container), initContainers=each(_requests_of_container))
    if spec.hostNetwork:
        spec = within(spec, containers=each(_host_ports), initContainers=each(_host_ports))
    return within(spec, resources=lambda resources: _pod_level(resources, spec))


def _host_ports(obj: Container) -> Container:
    return within(obj, ports=each(lambda port: fill(port, hostPort=port.containerPort)))


def _requests_of_container(obj: Container) -> Container:
    return within(obj, resources=_requests_from_limits)


def _requests_from_limits(obj: ResourceRequirements) -> ResourceRequirements:
    missing = {name: amount for name, amount in obj.limits.items() if name not in obj.requests}
    if not missing:
        return obj
    return within(obj, requests=lambda requests: {**requests, **missing})


def _pod_level(obj: ResourceRequirements, spec: PodSpec) -> ResourceRequirements:
    """Pod-level requests (KEP-2837): what the containers ask for together, else the pod-level limits."""
    wanted = {
        name: amount
        for name, amount in {**obj.limits, **_together(spec)}.items()
        if name not in obj.requests and (name in ("cpu", "memory") or name.startswith("hugepages-"))
    }
    return within(obj, requests=lambda requests: {**requests, **wanted}) if wanted else obj


def _together(spec: PodSpec) -> Mapping[str, str]:
    """Requests of all containers: the sum of those that run on, or the peak while init containers run if larger."""
    running: Mapping[str, str] = {}
    peak: Mapping[str, str] = {}
    for init in spec.initContainers:
        if init.restartPolicy == "Always":
            running = _sum((running, init.resources.requests))
            peak = _most(peak, running)
        else:
            peak = _most(peak, _sum((running, init.resources.requests)))
    return _most(peak, _sum((running, *(one.resources.requests for one in spec.containers))))


def _sum(lists: Iterable[Mapping[str, str]]) -> dict[str, str]:
    total: dict[str, str] = {}
    for amounts in lists:
        for name, amount in amounts.items():
            total[name] = quantity.add(total[name], amount) if name in total else amount
    return total


def _most(left: Mapping[str, str], right: Mapping[str, str]) -> dict[str, str]:
    out = dict(left)
    for name, amount in right.items():
        if name not in out or quantity.compare(amount, out[name]) > 0:
            out[name] = amount
    return out
