"""Small workloads for tests: one container, one label, and whatever else a test wants to say."""

from typing import Any

from edgekube.types.apps_v1 import (
    DaemonSet,
    DaemonSetSpec,
    Deployment,
    DeploymentSpec,
    ReplicaSet,
    ReplicaSetSpec,
    StatefulSet,
    StatefulSetSpec,
)
from edgekube.types.batch_v1 import CronJob, CronJobSpec, Job, JobSpec, JobTemplateSpec
from edgekube.types.core_v1 import Container, Pod, PodSpec, PodTemplateSpec, Service, ServicePort, ServiceSpec
from edgekube.types.meta_v1 import LabelSelector, ObjectMeta

IMAGE = "registry.test/app:1"


def meta(name: str, namespace: str = "default", **more: Any) -> ObjectMeta:
    return ObjectMeta(name=name, namespace=namespace, **more)


def template(
    labels: dict[str, str] | None = None, *, image: str = IMAGE, annotations: dict[str, str] | None = None, **spec: Any
) -> PodTemplateSpec:
    """A pod template; `spec` are fields of the PodSpec."""
    spec.setdefault("containers", (Container(name="main", image=image),))
    return PodTemplateSpec(
        metadata=ObjectMeta(labels=labels or {}, annotations=annotations or {}), spec=PodSpec(**spec)
    )


def pod(name: str, labels: dict[str, str] | None = None, *, namespace: str = "default", **spec: Any) -> Pod:
    made = template(labels, **spec)
    return Pod(apiVersion="v1", kind="Pod", metadata=meta(name, namespace, labels=made.metadata.labels), spec=made.spec)


def _selecting(name: str) -> dict[str, Any]:
    return {"selector": LabelSelector(matchLabels={"app": name}), "template": template({"app": name})}


def deployment(name: str, replicas: int = 1, **spec: Any) -> Deployment:
    """`spec` are fields of the DeploymentSpec; the label is app=<name>."""
    fields = {**_selecting(name), "replicas": replicas, **spec}
    return Deployment(apiVersion="apps/v1", kind="Deployment", metadata=meta(name), spec=DeploymentSpec(**fields))


def replica_set(name: str, replicas: int = 1, **spec: Any) -> ReplicaSet:
    fields = {**_selecting(name), "replicas": replicas, **spec}
    return ReplicaSet(apiVersion="apps/v1", kind="ReplicaSet", metadata=meta(name), spec=ReplicaSetSpec(**fields))


def stateful_set(name: str, replicas: int = 1, **spec: Any) -> StatefulSet:
    fields = {**_selecting(name), "replicas": replicas, "serviceName": name, **spec}
    return StatefulSet(apiVersion="apps/v1", kind="StatefulSet", metadata=meta(name), spec=StatefulSetSpec(**fields))


def daemon_set(name: str, **spec: Any) -> DaemonSet:
    fields = {**_selecting(name), **spec}
    return DaemonSet(apiVersion="apps/v1", kind="DaemonSet", metadata=meta(name), spec=DaemonSetSpec(**fields))


def job(name: str, *, restart: str = "Never", **spec: Any) -> Job:
    """`spec` are fields of the JobSpec."""
    fields = {"template": template(restartPolicy=restart), **spec}
    return Job(apiVersion="batch/v1", kind="Job", metadata=meta(name), spec=JobSpec(**fields))


def cron_job(name: str, schedule: str, *, work: JobSpec | None = None, **spec: Any) -> CronJob:
    inner = work or JobSpec(template=template(restartPolicy="Never"))
    fields = {"schedule": schedule, "jobTemplate": JobTemplateSpec(spec=inner), **spec}
    return CronJob(apiVersion="batch/v1", kind="CronJob", metadata=meta(name), spec=CronJobSpec(**fields))


def service(name: str, selector: dict[str, str] | None = None, *ports: ServicePort, **spec: Any) -> Service:
    fields = {"selector": selector or {}, "ports": ports or (ServicePort(port=80),), **spec}
    return Service(apiVersion="v1", kind="Service", metadata=meta(name), spec=ServiceSpec(**fields))
