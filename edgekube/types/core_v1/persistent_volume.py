"""core/v1: persistent volume.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from collections.abc import Mapping

from edgekube.types._base import EMPTY, Int32, Object, Quantity, Time, always
from edgekube.types.core_v1.node_selector import NodeSelector
from edgekube.types.core_v1.reference import ObjectReference, SecretReference
from edgekube.types.core_v1.volume_source import (
    AWSElasticBlockStoreVolumeSource,
    AzureDiskVolumeSource,
    FCVolumeSource,
    FlockerVolumeSource,
    GCEPersistentDiskVolumeSource,
    HostPathVolumeSource,
    NFSVolumeSource,
    PhotonPersistentDiskVolumeSource,
    PortworxVolumeSource,
    QuobyteVolumeSource,
    VsphereVirtualDiskVolumeSource,
)
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class AzureFilePersistentVolumeSource(Object, frozen=True, kw_only=True):
    readOnly: bool = False
    secretName: str = always("")
    secretNamespace: str | None = None
    shareName: str = always("")


class CSIPersistentVolumeSource(Object, frozen=True, kw_only=True):
    controllerExpandSecretRef: SecretReference | None = None
    controllerPublishSecretRef: SecretReference | None = None
    driver: str = always("")
    fsType: str = ""
    nodeExpandSecretRef: SecretReference | None = None
    nodePublishSecretRef: SecretReference | None = None
    nodeStageSecretRef: SecretReference | None = None
    readOnly: bool = False
    volumeAttributes: Mapping[str, str] = EMPTY
    volumeHandle: str = always("")


class CephFSPersistentVolumeSource(Object, frozen=True, kw_only=True):
    monitors: tuple[str, ...] = always(())
    path: str = ""
    readOnly: bool = False
    secretFile: str = ""
    secretRef: SecretReference | None = None
    user: str = ""


class CinderPersistentVolumeSource(Object, frozen=True, kw_only=True):
    fsType: str = ""
    readOnly: bool = False
    secretRef: SecretReference | None = None
    volumeID: str = always("")


class FlexPersistentVolumeSource(Object, frozen=True, kw_only=True):
    driver: str = always("")
    fsType: str = ""
    options: Mapping[str, str] = EMPTY
    readOnly: bool = False
    secretRef: SecretReference | None = None


class GlusterfsPersistentVolumeSource(Object, frozen=True, kw_only=True):
    endpoints: str = always("")
    endpointsNamespace: str | None = None
    path: str = always("")
    readOnly: bool = False


class ISCSIPersistentVolumeSource(Object, frozen=True, kw_only=True):
    chapAuthDiscovery: bool = False
    chapAuthSession: bool = False
    fsType: str = ""
    initiatorName: str | None = None
    iqn: str = always("")
    iscsiInterface: str = ""
    lun: Int32 = always(0)
    portals: tuple[str, ...] = ()
    readOnly: bool = False
    secretRef: SecretReference | None = None
    targetPortal: str = always("")


class LocalVolumeSource(Object, frozen=True, kw_only=True):
    fsType: str | None = None
    path: str = always("")


class PersistentVolumeStatus(Object, frozen=True, kw_only=True):
    lastPhaseTransitionTime: Time = ""
    message: str = ""
    phase: str = ""
    reason: str = ""


class RBDPersistentVolumeSource(Object, frozen=True, kw_only=True):
    fsType: str = ""
    image: str = always("")
    keyring: str = ""
    monitors: tuple[str, ...] = always(())
    pool: str = ""
    readOnly: bool = False
    secretRef: SecretReference | None = None
    user: str = ""


class ScaleIOPersistentVolumeSource(Object, frozen=True, kw_only=True):
    fsType: str = ""
    gateway: str = always("")
    protectionDomain: str = ""
    readOnly: bool = False
    secretRef: SecretReference | None = None
    sslEnabled: bool = False
    storageMode: str = ""
    storagePool: str = ""
    system: str = always("")
    volumeName: str = ""


class StorageOSPersistentVolumeSource(Object, frozen=True, kw_only=True):
    fsType: str = ""
    readOnly: bool = False
    secretRef: ObjectReference | None = None
    volumeName: str = ""
    volumeNamespace: str = ""


class VolumeNodeAffinity(Object, frozen=True, kw_only=True):
    required: NodeSelector | None = None


class PersistentVolumeSpec(Object, frozen=True, kw_only=True):
    accessModes: tuple[str, ...] = ()
    awsElasticBlockStore: AWSElasticBlockStoreVolumeSource | None = None
    azureDisk: AzureDiskVolumeSource | None = None
    azureFile: AzureFilePersistentVolumeSource | None = None
    capacity: Mapping[str, Quantity] = EMPTY
    cephfs: CephFSPersistentVolumeSource | None = None
    cinder: CinderPersistentVolumeSource | None = None
    claimRef: ObjectReference | None = None
    csi: CSIPersistentVolumeSource | None = None
    fc: FCVolumeSource | None = None
    flexVolume: FlexPersistentVolumeSource | None = None
    flocker: FlockerVolumeSource | None = None
    gcePersistentDisk: GCEPersistentDiskVolumeSource | None = None
    glusterfs: GlusterfsPersistentVolumeSource | None = None
    hostPath: HostPathVolumeSource | None = None
    iscsi: ISCSIPersistentVolumeSource | None = None
    local: LocalVolumeSource | None = None
    mountOptions: tuple[str, ...] = ()
    nfs: NFSVolumeSource | None = None
    nodeAffinity: VolumeNodeAffinity | None = None
    persistentVolumeReclaimPolicy: str = ""
    photonPersistentDisk: PhotonPersistentDiskVolumeSource | None = None
    portworxVolume: PortworxVolumeSource | None = None
    quobyte: QuobyteVolumeSource | None = None
    rbd: RBDPersistentVolumeSource | None = None
    scaleIO: ScaleIOPersistentVolumeSource | None = None
    storageClassName: str = ""
    storageos: StorageOSPersistentVolumeSource | None = None
    volumeAttributesClassName: str | None = None
    volumeMode: str = ""
    vsphereVolume: VsphereVirtualDiskVolumeSource | None = None


class PersistentVolume(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: PersistentVolumeSpec = always(PersistentVolumeSpec())
    status: PersistentVolumeStatus = always(PersistentVolumeStatus())


class PersistentVolumeList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[PersistentVolume, ...] = always(())
