"""core/v1: volume source.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from collections.abc import Mapping

from edgekube.types._base import EMPTY, Int32, Object, always
from edgekube.types.core_v1.reference import LocalObjectReference


class AWSElasticBlockStoreVolumeSource(Object, frozen=True, kw_only=True):
    fsType: str = ""
    partition: Int32 = 0
    readOnly: bool = False
    volumeID: str = always("")


class AzureDiskVolumeSource(Object, frozen=True, kw_only=True):
    kind: str = ""
    cachingMode: str = ""
    diskName: str = always("")
    diskURI: str = always("")
    fsType: str = ""
    readOnly: bool | None = None


class AzureFileVolumeSource(Object, frozen=True, kw_only=True):
    readOnly: bool = False
    secretName: str = always("")
    shareName: str = always("")


class CSIVolumeSource(Object, frozen=True, kw_only=True):
    driver: str = always("")
    fsType: str = ""
    nodePublishSecretRef: LocalObjectReference | None = None
    readOnly: bool | None = None
    volumeAttributes: Mapping[str, str] = EMPTY


class CephFSVolumeSource(Object, frozen=True, kw_only=True):
    monitors: tuple[str, ...] = always(())
    path: str = ""
    readOnly: bool = False
    secretFile: str = ""
    secretRef: LocalObjectReference | None = None
    user: str = ""


class CinderVolumeSource(Object, frozen=True, kw_only=True):
    fsType: str = ""
    readOnly: bool = False
    secretRef: LocalObjectReference | None = None
    volumeID: str = always("")


class FCVolumeSource(Object, frozen=True, kw_only=True):
    fsType: str = ""
    lun: Int32 | None = None
    readOnly: bool = False
    targetWWNs: tuple[str, ...] = ()
    wwids: tuple[str, ...] = ()


class FlexVolumeSource(Object, frozen=True, kw_only=True):
    driver: str = always("")
    fsType: str = ""
    options: Mapping[str, str] = EMPTY
    readOnly: bool = False
    secretRef: LocalObjectReference | None = None


class FlockerVolumeSource(Object, frozen=True, kw_only=True):
    datasetName: str = ""
    datasetUUID: str = ""


class GCEPersistentDiskVolumeSource(Object, frozen=True, kw_only=True):
    fsType: str = ""
    partition: Int32 = 0
    pdName: str = always("")
    readOnly: bool = False


class GitRepoVolumeSource(Object, frozen=True, kw_only=True):
    directory: str = ""
    repository: str = always("")
    revision: str = ""


class GlusterfsVolumeSource(Object, frozen=True, kw_only=True):
    endpoints: str = always("")
    path: str = always("")
    readOnly: bool = False


class HostPathVolumeSource(Object, frozen=True, kw_only=True):
    path: str = always("")
    type: str | None = None


class ISCSIVolumeSource(Object, frozen=True, kw_only=True):
    chapAuthDiscovery: bool = False
    chapAuthSession: bool = False
    fsType: str = ""
    initiatorName: str | None = None
    iqn: str = always("")
    iscsiInterface: str = ""
    lun: Int32 = always(0)
    portals: tuple[str, ...] = ()
    readOnly: bool = False
    secretRef: LocalObjectReference | None = None
    targetPortal: str = always("")


class NFSVolumeSource(Object, frozen=True, kw_only=True):
    path: str = always("")
    readOnly: bool = False
    server: str = always("")


class PhotonPersistentDiskVolumeSource(Object, frozen=True, kw_only=True):
    fsType: str = ""
    pdID: str = always("")


class PortworxVolumeSource(Object, frozen=True, kw_only=True):
    fsType: str = ""
    readOnly: bool = False
    volumeID: str = always("")


class QuobyteVolumeSource(Object, frozen=True, kw_only=True):
    group: str = ""
    readOnly: bool = False
    registry: str = always("")
    tenant: str = ""
    user: str = ""
    volume: str = always("")


class RBDVolumeSource(Object, frozen=True, kw_only=True):
    fsType: str = ""
    image: str = always("")
    keyring: str = ""
    monitors: tuple[str, ...] = always(())
    pool: str = ""
    readOnly: bool = False
    secretRef: LocalObjectReference | None = None
    user: str = ""


class ScaleIOVolumeSource(Object, frozen=True, kw_only=True):
    fsType: str = ""
    gateway: str = always("")
    protectionDomain: str = ""
    readOnly: bool = False
    secretRef: LocalObjectReference | None = None
    sslEnabled: bool = False
    storageMode: str = ""
    storagePool: str = ""
    system: str = always("")
    volumeName: str = ""


class StorageOSVolumeSource(Object, frozen=True, kw_only=True):
    fsType: str = ""
    readOnly: bool = False
    secretRef: LocalObjectReference | None = None
    volumeName: str = ""
    volumeNamespace: str = ""


class VsphereVirtualDiskVolumeSource(Object, frozen=True, kw_only=True):
    fsType: str = ""
    storagePolicyID: str = ""
    storagePolicyName: str = ""
    volumePath: str = always("")
