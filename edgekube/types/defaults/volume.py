"""Volumes, claims and what provisions them."""

from itertools import compress, repeat
from operator import attrgetter, is_not
from typing import Any

from edgekube.types.core_v1.persistent_volume import PersistentVolume, PersistentVolumeSpec
from edgekube.types.core_v1.persistent_volume_claim import (
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimTemplate,
)
from edgekube.types.core_v1.volume import (
    DownwardAPIProjection,
    DownwardAPIVolumeFile,
    DownwardAPIVolumeSource,
    EmptyDirVolumeSource,
    EphemeralVolumeSource,
    ImageVolumeSource,
    PodCertificateProjection,
    ProjectedVolumeSource,
    ServiceAccountTokenProjection,
    Volume,
    VolumeProjection,
)
from edgekube.types.core_v1.volume_source import AzureDiskVolumeSource, HostPathVolumeSource
from edgekube.types.defaults.fill import each, fill, within
from edgekube.types.defaults.images import pull_policy
from edgekube.types.storage_v1 import CSIDriver, StorageClass, VolumeAttachment

_SOURCES = tuple(name for name in Volume.__struct_fields__ if name != "name")
_sources = attrgetter(*_SOURCES)

MODE = 0o644
CERTIFICATE_SECONDS = 86400
TOKEN_SECONDS = 3600


def volume(obj: Volume) -> Volume:
    """A volume with no source at all is an emptyDir."""
    named = list(compress(_SOURCES, map(is_not, _sources(obj), repeat(None))))
    if not named:
        return fill(obj, emptyDir=EmptyDirVolumeSource())
    return within(obj, **{name: _OF_SOURCE[name] for name in named if name in _OF_SOURCE})


def _mode(source: Any) -> Any:
    return fill(source, defaultMode=MODE)


def _file(item: DownwardAPIVolumeFile) -> DownwardAPIVolumeFile:
    return within(item, fieldRef=lambda ref: fill(ref, apiVersion="v1"))


def _downward(source: DownwardAPIVolumeSource) -> DownwardAPIVolumeSource:
    return within(fill(source, defaultMode=MODE), items=each(_file))


def _projected(source: ProjectedVolumeSource) -> ProjectedVolumeSource:
    return within(fill(source, defaultMode=MODE), sources=each(_projection))


def _projection(item: VolumeProjection) -> VolumeProjection:
    return within(item, serviceAccountToken=_token, downwardAPI=_downward_projection, podCertificate=_certificate)


def _token(source: ServiceAccountTokenProjection) -> ServiceAccountTokenProjection:
    return fill(source, expirationSeconds=TOKEN_SECONDS)


def _certificate(source: PodCertificateProjection) -> PodCertificateProjection:
    return fill(source, maxExpirationSeconds=CERTIFICATE_SECONDS)


def _downward_projection(source: DownwardAPIProjection) -> DownwardAPIProjection:
    return within(source, items=each(_file))


def _ephemeral(source: EphemeralVolumeSource) -> EphemeralVolumeSource:
    return within(source, volumeClaimTemplate=_claim_template)


def _claim_template(template: PersistentVolumeClaimTemplate) -> PersistentVolumeClaimTemplate:
    return within(template, spec=claim_spec)


def _image(source: ImageVolumeSource) -> ImageVolumeSource:
    return fill(source, pullPolicy=pull_policy(source.reference))


def _iscsi(source: Any) -> Any:
    return fill(source, iscsiInterface="default")


def _rbd(source: Any) -> Any:
    return fill(source, pool="rbd", user="admin", keyring="/etc/ceph/keyring")


def _scale_io(source: Any) -> Any:
    return fill(source, storageMode="ThinProvisioned", fsType="xfs")


def _azure_disk(source: AzureDiskVolumeSource) -> AzureDiskVolumeSource:
    return fill(source, cachingMode="ReadWrite", kind="Shared", fsType="ext4", readOnly=False)


def _host_path(source: HostPathVolumeSource) -> HostPathVolumeSource:
    return fill(source, type="")  # Kubernetes writes out that nothing is checked


_OF_SOURCE = {
    "secret": _mode,
    "configMap": _mode,
    "downwardAPI": _downward,
    "projected": _projected,
    "ephemeral": _ephemeral,
    "image": _image,
    "iscsi": _iscsi,
    "rbd": _rbd,
    "scaleIO": _scale_io,
    "azureDisk": _azure_disk,
    "hostPath": _host_path,
}


def claim_spec(spec: PersistentVolumeClaimSpec) -> PersistentVolumeClaimSpec:
    return fill(spec, volumeMode="Filesystem")


def persistent_volume_claim(obj: PersistentVolumeClaim) -> PersistentVolumeClaim:
    return within(obj, spec=claim_spec, status=lambda status: fill(status, phase="Pending"))


def volume_spec(spec: PersistentVolumeSpec) -> PersistentVolumeSpec:
    spec = fill(spec, persistentVolumeReclaimPolicy="Retain", volumeMode="Filesystem")
    return within(spec, iscsi=_iscsi, rbd=_rbd, scaleIO=_scale_io, azureDisk=_azure_disk, hostPath=_host_path)


def persistent_volume(obj: PersistentVolume) -> PersistentVolume:
    return within(obj, spec=volume_spec, status=lambda status: fill(status, phase="Pending"))


def storage_class(obj: StorageClass) -> StorageClass:
    return fill(obj, reclaimPolicy="Delete", volumeBindingMode="Immediate")


def csi_driver(obj: CSIDriver) -> CSIDriver:
    return within(
        obj,
        spec=lambda spec: fill(
            spec,
            attachRequired=True,
            podInfoOnMount=False,
            storageCapacity=False,
            fsGroupPolicy="ReadWriteOnceWithFSType",
            volumeLifecycleModes=("Persistent",),
            requiresRepublish=False,
            seLinuxMount=False,
        ),
    )


def volume_attachment(obj: VolumeAttachment) -> VolumeAttachment:
    return within(
        obj, spec=lambda spec: within(spec, source=lambda source: within(source, inlineVolumeSpec=volume_spec))
    )
