"""apps/v1, a module for each family of kinds; a class is made when first asked for.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .controller_revision import ControllerRevision as ControllerRevision
    from .controller_revision import ControllerRevisionList as ControllerRevisionList
    from .daemon_set import DaemonSet as DaemonSet
    from .daemon_set import DaemonSetCondition as DaemonSetCondition
    from .daemon_set import DaemonSetList as DaemonSetList
    from .daemon_set import DaemonSetSpec as DaemonSetSpec
    from .daemon_set import DaemonSetStatus as DaemonSetStatus
    from .daemon_set import DaemonSetUpdateStrategy as DaemonSetUpdateStrategy
    from .daemon_set import RollingUpdateDaemonSet as RollingUpdateDaemonSet
    from .deployment import Deployment as Deployment
    from .deployment import DeploymentCondition as DeploymentCondition
    from .deployment import DeploymentList as DeploymentList
    from .deployment import DeploymentSpec as DeploymentSpec
    from .deployment import DeploymentStatus as DeploymentStatus
    from .deployment import DeploymentStrategy as DeploymentStrategy
    from .deployment import RollingUpdateDeployment as RollingUpdateDeployment
    from .replica_set import ReplicaSet as ReplicaSet
    from .replica_set import ReplicaSetCondition as ReplicaSetCondition
    from .replica_set import ReplicaSetList as ReplicaSetList
    from .replica_set import ReplicaSetSpec as ReplicaSetSpec
    from .replica_set import ReplicaSetStatus as ReplicaSetStatus
    from .stateful_set import RollingUpdateStatefulSetStrategy as RollingUpdateStatefulSetStrategy
    from .stateful_set import StatefulSet as StatefulSet
    from .stateful_set import StatefulSetCondition as StatefulSetCondition
    from .stateful_set import StatefulSetList as StatefulSetList
    from .stateful_set import StatefulSetOrdinals as StatefulSetOrdinals
    from .stateful_set import (
        StatefulSetPersistentVolumeClaimRetentionPolicy as StatefulSetPersistentVolumeClaimRetentionPolicy,
    )
    from .stateful_set import StatefulSetSpec as StatefulSetSpec
    from .stateful_set import StatefulSetStatus as StatefulSetStatus
    from .stateful_set import StatefulSetUpdateStrategy as StatefulSetUpdateStrategy
else:
    from edgekube.types._lazy import lazy

    __getattr__ = lazy(
        __name__,
        {
            "controller_revision": "ControllerRevision ControllerRevisionList",
            "daemon_set": (
                "DaemonSet DaemonSetCondition DaemonSetList DaemonSetSpec DaemonSetStatus DaemonSetUpdateStrategy"
                " RollingUpdateDaemonSet"
            ),
            "deployment": (
                "Deployment DeploymentCondition DeploymentList DeploymentSpec DeploymentStatus DeploymentStrategy"
                " RollingUpdateDeployment"
            ),
            "replica_set": "ReplicaSet ReplicaSetCondition ReplicaSetList ReplicaSetSpec ReplicaSetStatus",
            "stateful_set": (
                "RollingUpdateStatefulSetStrategy StatefulSet StatefulSetCondition StatefulSetList"
                " StatefulSetOrdinals StatefulSetPersistentVolumeClaimRetentionPolicy StatefulSetSpec"
                " StatefulSetStatus StatefulSetUpdateStrategy"
            ),
        },
    )
