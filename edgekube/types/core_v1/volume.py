"""core/v1: volume.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from collections.abc import Mapping

from edgekube.types._base import EMPTY, Int32, Int64, Object, Quantity, always
from edgekube.types.core_v1.env import ObjectFieldSelector, ResourceFieldSelector
from edgekube.types.core_v1.persistent_volume_claim import PersistentVolumeClaimTemplate
from edgekube.types.core_v1.volume_source import (
    AWSElasticBlockStoreVolumeSource,
    AzureDiskVolumeSource,
    AzureFileVolumeSource,
    CephFSVolumeSource,
    CinderVolumeSource,
    CSIVolumeSource,
    FCVolumeSource,
    FlexVolumeSource,
    FlockerVolumeSource,
    GCEPersistentDiskVolumeSource,
    GitRepoVolumeSource,
    GlusterfsVolumeSource,
    HostPathVolumeSource,
    ISCSIVolumeSource,
    NFSVolumeSource,
    PhotonPersistentDiskVolumeSource,
    PortworxVolumeSource,
    QuobyteVolumeSource,
    RBDVolumeSource,
    ScaleIOVolumeSource,
    StorageOSVolumeSource,
    VsphereVirtualDiskVolumeSource,
)
from edgekube.types.meta_v1.label_selector import LabelSelector


class ClusterTrustBundleProjection(Object, frozen=True, kw_only=True):
    labelSelector: LabelSelector | None = None
    name: str | None = None
    optional: bool | None = None
    path: str = always("")
    signerName: str | None = None


class KeyToPath(Object, frozen=True, kw_only=True):
    key: str = always("")
    mode: Int32 | None = None
    path: str = always("")


class DownwardAPIVolumeFile(Object, frozen=True, kw_only=True):
    fieldRef: ObjectFieldSelector | None = None
    mode: Int32 | None = None
    path: str = always("")
    resourceFieldRef: ResourceFieldSelector | None = None


class EmptyDirVolumeSource(Object, frozen=True, kw_only=True):
    medium: str = ""
    sizeLimit: Quantity | None = None


class EphemeralVolumeSource(Object, frozen=True, kw_only=True):
    volumeClaimTemplate: PersistentVolumeClaimTemplate | None = None


class ImageVolumeSource(Object, frozen=True, kw_only=True):
    pullPolicy: str = ""
    reference: str = ""


class PersistentVolumeClaimVolumeSource(Object, frozen=True, kw_only=True):
    claimName: str = always("")
    readOnly: bool = False


class PodCertificateProjection(Object, frozen=True, kw_only=True):
    certificateChainPath: str = ""
    credentialBundlePath: str = ""
    keyPath: str = ""
    keyType: str = always("")
    maxExpirationSeconds: Int32 | None = None
    signerName: str = always("")
    userAnnotations: Mapping[str, str] = EMPTY


class ServiceAccountTokenProjection(Object, frozen=True, kw_only=True):
    audience: str = ""
    expirationSeconds: Int64 | None = None
    path: str = always("")


class ConfigMapProjection(Object, frozen=True, kw_only=True):
    items: tuple[KeyToPath, ...] = ()
    name: str = ""
    optional: bool | None = None


class ConfigMapVolumeSource(Object, frozen=True, kw_only=True):
    defaultMode: Int32 | None = None
    items: tuple[KeyToPath, ...] = ()
    name: str = ""
    optional: bool | None = None


class SecretProjection(Object, frozen=True, kw_only=True):
    items: tuple[KeyToPath, ...] = ()
    name: str = ""
    optional: bool | None = None


class SecretVolumeSource(Object, frozen=True, kw_only=True):
    defaultMode: Int32 | None = None
    items: tuple[KeyToPath, ...] = ()
    optional: bool | None = None
    secretName: str = ""


class DownwardAPIProjection(Object, frozen=True, kw_only=True):
    items: tuple[DownwardAPIVolumeFile, ...] = ()


class DownwardAPIVolumeSource(Object, frozen=True, kw_only=True):
    defaultMode: Int32 | None = None
    items: tuple[DownwardAPIVolumeFile, ...] = ()


class VolumeProjection(Object, frozen=True, kw_only=True):
    clusterTrustBundle: ClusterTrustBundleProjection | None = None
    configMap: ConfigMapProjection | None = None
    downwardAPI: DownwardAPIProjection | None = None
    podCertificate: PodCertificateProjection | None = None
    secret: SecretProjection | None = None
    serviceAccountToken: ServiceAccountTokenProjection | None = None


class ProjectedVolumeSource(Object, frozen=True, kw_only=True):
    defaultMode: Int32 | None = None
    sources: tuple[VolumeProjection, ...] = ()


class Volume(Object, frozen=True, kw_only=True):
    awsElasticBlockStore: AWSElasticBlockStoreVolumeSource | None = None
    azureDisk: AzureDiskVolumeSource | None = None
    azureFile: AzureFileVolumeSource | None = None
    cephfs: CephFSVolumeSource | None = None
    cinder: CinderVolumeSource | None = None
    configMap: ConfigMapVolumeSource | None = None
    csi: CSIVolumeSource | None = None
    downwardAPI: DownwardAPIVolumeSource | None = None
    emptyDir: EmptyDirVolumeSource | None = None
    ephemeral: EphemeralVolumeSource | None = None
    fc: FCVolumeSource | None = None
    flexVolume: FlexVolumeSource | None = None
    flocker: FlockerVolumeSource | None = None
    gcePersistentDisk: GCEPersistentDiskVolumeSource | None = None
    gitRepo: GitRepoVolumeSource | None = None
    glusterfs: GlusterfsVolumeSource | None = None
    hostPath: HostPathVolumeSource | None = None
    image: ImageVolumeSource | None = None
    iscsi: ISCSIVolumeSource | None = None
    name: str = always("")
    nfs: NFSVolumeSource | None = None
    persistentVolumeClaim: PersistentVolumeClaimVolumeSource | None = None
    photonPersistentDisk: PhotonPersistentDiskVolumeSource | None = None
    portworxVolume: PortworxVolumeSource | None = None
    projected: ProjectedVolumeSource | None = None
    quobyte: QuobyteVolumeSource | None = None
    rbd: RBDVolumeSource | None = None
    scaleIO: ScaleIOVolumeSource | None = None
    secret: SecretVolumeSource | None = None
    storageos: StorageOSVolumeSource | None = None
    vsphereVolume: VsphereVirtualDiskVolumeSource | None = None
