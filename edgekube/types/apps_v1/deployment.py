"""apps/v1: Deployment.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Int32, Int64, IntOrString, Object, Time, always
from edgekube.types.core_v1.pod_spec import PodTemplateSpec
from edgekube.types.meta_v1.label_selector import LabelSelector
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class DeploymentCondition(Object, frozen=True, kw_only=True):
    status: str = always("")
    lastTransitionTime: Time = ""
    lastUpdateTime: Time = ""
    message: str = ""
    reason: str = ""
    type: str = always("")


class RollingUpdateDeployment(Object, frozen=True, kw_only=True):
    maxSurge: IntOrString | None = None
    maxUnavailable: IntOrString | None = None


class DeploymentStatus(Object, frozen=True, kw_only=True):
    availableReplicas: Int32 = 0
    collisionCount: Int32 | None = None
    conditions: tuple[DeploymentCondition, ...] = ()
    observedGeneration: Int64 = 0
    readyReplicas: Int32 = 0
    replicas: Int32 = 0
    terminatingReplicas: Int32 | None = None
    unavailableReplicas: Int32 = 0
    updatedReplicas: Int32 = 0


class DeploymentStrategy(Object, frozen=True, kw_only=True):
    rollingUpdate: RollingUpdateDeployment | None = None
    type: str = ""


class DeploymentSpec(Object, frozen=True, kw_only=True):
    minReadySeconds: Int32 = 0
    paused: bool = False
    progressDeadlineSeconds: Int32 | None = None
    replicas: Int32 | None = None
    revisionHistoryLimit: Int32 | None = None
    selector: LabelSelector | None = None
    strategy: DeploymentStrategy = always(DeploymentStrategy())
    template: PodTemplateSpec = always(PodTemplateSpec())


class Deployment(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: DeploymentSpec = always(DeploymentSpec())
    status: DeploymentStatus = always(DeploymentStatus())


class DeploymentList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[Deployment, ...] = always(())
