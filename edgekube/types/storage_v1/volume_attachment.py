"""storage/v1: VolumeAttachment.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from collections.abc import Mapping

from edgekube.types._base import EMPTY, Int32, Object, Time, always
from edgekube.types.core_v1.persistent_volume import PersistentVolumeSpec
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class VolumeAttachmentSource(Object, frozen=True, kw_only=True):
    inlineVolumeSpec: PersistentVolumeSpec | None = None
    persistentVolumeName: str | None = None


class VolumeError(Object, frozen=True, kw_only=True):
    errorCode: Int32 | None = None
    message: str = ""
    time: Time = ""


class VolumeAttachmentSpec(Object, frozen=True, kw_only=True):
    attacher: str = always("")
    nodeName: str = always("")
    source: VolumeAttachmentSource = always(VolumeAttachmentSource())


class VolumeAttachmentStatus(Object, frozen=True, kw_only=True):
    attachError: VolumeError | None = None
    attached: bool = always(False)
    attachmentMetadata: Mapping[str, str] = EMPTY
    detachError: VolumeError | None = None


class VolumeAttachment(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: VolumeAttachmentSpec = always(VolumeAttachmentSpec())
    status: VolumeAttachmentStatus = always(VolumeAttachmentStatus())


class VolumeAttachmentList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[VolumeAttachment, ...] = always(())
