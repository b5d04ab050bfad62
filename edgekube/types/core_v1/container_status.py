"""core/v1: container status.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from collections.abc import Mapping

from edgekube.types._base import EMPTY, Int32, Int64, Object, Quantity, Time, always
from edgekube.types.core_v1.resources import ResourceRequirements


class ContainerStateRunning(Object, frozen=True, kw_only=True):
    startedAt: Time = ""


class ContainerStateTerminated(Object, frozen=True, kw_only=True):
    containerID: str = ""
    exitCode: Int32 = always(0)
    finishedAt: Time = ""
    message: str = ""
    reason: str = ""
    signal: Int32 = 0
    startedAt: Time = ""


class ContainerStateWaiting(Object, frozen=True, kw_only=True):
    message: str = ""
    reason: str = ""


class LinuxContainerUser(Object, frozen=True, kw_only=True):
    gid: Int64 = always(0)
    supplementalGroups: tuple[Int64, ...] = ()
    uid: Int64 = always(0)


class ImageVolumeStatus(Object, frozen=True, kw_only=True):
    imageRef: str = always("")


class ResourceHealth(Object, frozen=True, kw_only=True):
    health: str = ""
    message: str = ""
    resourceID: str = always("")


class ContainerState(Object, frozen=True, kw_only=True):
    running: ContainerStateRunning | None = None
    terminated: ContainerStateTerminated | None = None
    waiting: ContainerStateWaiting | None = None


class ContainerUser(Object, frozen=True, kw_only=True):
    linux: LinuxContainerUser | None = None


class VolumeStatus(Object, frozen=True, kw_only=True):
    image: ImageVolumeStatus | None = None


class ResourceStatus(Object, frozen=True, kw_only=True):
    name: str = always("")
    resources: tuple[ResourceHealth, ...] = ()


class VolumeMountStatus(Object, frozen=True, kw_only=True):
    mountPath: str = always("")
    name: str = always("")
    readOnly: bool = False
    recursiveReadOnly: str = ""
    volumeStatus: VolumeStatus | None = None


class ContainerStatus(Object, frozen=True, kw_only=True):
    allocatedResources: Mapping[str, Quantity] = EMPTY
    allocatedResourcesStatus: tuple[ResourceStatus, ...] = ()
    containerID: str = ""
    image: str = always("")
    imageID: str = always("")
    lastState: ContainerState = always(ContainerState())
    name: str = always("")
    ready: bool = always(False)
    resources: ResourceRequirements | None = None
    restartCount: Int32 = always(0)
    started: bool | None = None
    state: ContainerState = always(ContainerState())
    stopSignal: str = ""
    user: ContainerUser | None = None
    volumeMounts: tuple[VolumeMountStatus, ...] = ()
