"""apps/v1 workloads."""

from edgekube.types.apps_v1 import (
    DaemonSet,
    DaemonSetSpec,
    DaemonSetUpdateStrategy,
    Deployment,
    DeploymentSpec,
    DeploymentStrategy,
    ReplicaSet,
    RollingUpdateDaemonSet,
    RollingUpdateDeployment,
    RollingUpdateStatefulSetStrategy,
    StatefulSet,
    StatefulSetPersistentVolumeClaimRetentionPolicy,
    StatefulSetSpec,
    StatefulSetUpdateStrategy,
)
from edgekube.types.core_v1 import PersistentVolumeClaim
from edgekube.types.defaults.fill import each, fill, within
from edgekube.types.defaults.pod import template
from edgekube.types.defaults.volume import persistent_volume_claim

HISTORY = 10
PROGRESS_SECONDS = 600
SHARE = "25%"


def deployment(obj: Deployment) -> Deployment:
    return within(obj, spec=_deployment_spec)


def _deployment_spec(spec: DeploymentSpec) -> DeploymentSpec:
    spec = fill(spec, replicas=1, revisionHistoryLimit=HISTORY, progressDeadlineSeconds=PROGRESS_SECONDS)
    return within(spec, strategy=_deployment_strategy, template=template)


def _deployment_strategy(strategy: DeploymentStrategy) -> DeploymentStrategy:
    strategy = fill(strategy, type="RollingUpdate")
    if strategy.type != "RollingUpdate":
        return strategy
    strategy = fill(strategy, rollingUpdate=RollingUpdateDeployment())
    return within(strategy, rollingUpdate=lambda rolling: fill(rolling, maxUnavailable=SHARE, maxSurge=SHARE))


def replica_set(obj: ReplicaSet) -> ReplicaSet:
    return within(obj, spec=lambda spec: within(fill(spec, replicas=1), template=template))


def daemon_set(obj: DaemonSet) -> DaemonSet:
    return within(obj, spec=_daemon_set_spec)


def _daemon_set_spec(spec: DaemonSetSpec) -> DaemonSetSpec:
    spec = fill(spec, revisionHistoryLimit=HISTORY)
    return within(spec, updateStrategy=_daemon_set_strategy, template=template)


def _daemon_set_strategy(strategy: DaemonSetUpdateStrategy) -> DaemonSetUpdateStrategy:
    strategy = fill(strategy, type="RollingUpdate")
    if strategy.type != "RollingUpdate":
        return strategy
    strategy = fill(strategy, rollingUpdate=RollingUpdateDaemonSet())
    return within(strategy, rollingUpdate=lambda rolling: fill(rolling, maxUnavailable=1, maxSurge=0))


def stateful_set(obj: StatefulSet) -> StatefulSet:
    return within(obj, spec=_stateful_set_spec)


def _stateful_set_spec(spec: StatefulSetSpec) -> StatefulSetSpec:
    spec = fill(
        spec,
        podManagementPolicy="OrderedReady",
        replicas=1,
        revisionHistoryLimit=HISTORY,
        persistentVolumeClaimRetentionPolicy=StatefulSetPersistentVolumeClaimRetentionPolicy(),
    )
    return within(
        spec,
        updateStrategy=_stateful_set_strategy,
        persistentVolumeClaimRetentionPolicy=lambda policy: fill(policy, whenDeleted="Retain", whenScaled="Retain"),
        volumeClaimTemplates=each(_claim),
        template=template,
    )


def _stateful_set_strategy(strategy: StatefulSetUpdateStrategy) -> StatefulSetUpdateStrategy:
    strategy = fill(strategy, type="RollingUpdate")
    if strategy.type != "RollingUpdate":
        return strategy
    strategy = fill(strategy, rollingUpdate=RollingUpdateStatefulSetStrategy())
    return within(strategy, rollingUpdate=lambda rolling: fill(rolling, partition=0))


def _claim(claim: PersistentVolumeClaim) -> PersistentVolumeClaim:
    return persistent_volume_claim(fill(claim, apiVersion="v1", kind="PersistentVolumeClaim"))
