"""storage/v1, a module for each family of kinds; a class is made when first asked for.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .csi_driver import CSIDriver as CSIDriver
    from .csi_driver import CSIDriverList as CSIDriverList
    from .csi_driver import CSIDriverSpec as CSIDriverSpec
    from .csi_driver import TokenRequest as TokenRequest
    from .csi_node import CSINode as CSINode
    from .csi_node import CSINodeDriver as CSINodeDriver
    from .csi_node import CSINodeList as CSINodeList
    from .csi_node import CSINodeSpec as CSINodeSpec
    from .csi_node import VolumeNodeResources as VolumeNodeResources
    from .csi_storage_capacity import CSIStorageCapacity as CSIStorageCapacity
    from .csi_storage_capacity import CSIStorageCapacityList as CSIStorageCapacityList
    from .storage_class import StorageClass as StorageClass
    from .storage_class import StorageClassList as StorageClassList
    from .volume_attachment import VolumeAttachment as VolumeAttachment
    from .volume_attachment import VolumeAttachmentList as VolumeAttachmentList
    from .volume_attachment import VolumeAttachmentSource as VolumeAttachmentSource
    from .volume_attachment import VolumeAttachmentSpec as VolumeAttachmentSpec
    from .volume_attachment import VolumeAttachmentStatus as VolumeAttachmentStatus
    from .volume_attachment import VolumeError as VolumeError
    from .volume_attributes_class import VolumeAttributesClass as VolumeAttributesClass
    from .volume_attributes_class import VolumeAttributesClassList as VolumeAttributesClassList
else:
    from edgekube.types._lazy import lazy

    __getattr__ = lazy(
        __name__,
        {
            "csi_driver": "CSIDriver CSIDriverList CSIDriverSpec TokenRequest",
            "csi_node": "CSINode CSINodeDriver CSINodeList CSINodeSpec VolumeNodeResources",
            "csi_storage_capacity": "CSIStorageCapacity CSIStorageCapacityList",
            "storage_class": "StorageClass StorageClassList",
            "volume_attachment": (
                "VolumeAttachment VolumeAttachmentList VolumeAttachmentSource VolumeAttachmentSpec"
                " VolumeAttachmentStatus VolumeError"
            ),
            "volume_attributes_class": "VolumeAttributesClass VolumeAttributesClassList",
        },
    )
