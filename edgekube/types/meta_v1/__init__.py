"""meta/v1, a module for each family of kinds; a class is made when first asked for.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .condition import Condition as Condition
    from .delete_options import DeleteOptions as DeleteOptions
    from .delete_options import Preconditions as Preconditions
    from .discovery import APIGroup as APIGroup
    from .discovery import APIGroupList as APIGroupList
    from .discovery import APIResource as APIResource
    from .discovery import APIResourceList as APIResourceList
    from .discovery import APIVersions as APIVersions
    from .discovery import GroupResource as GroupResource
    from .discovery import GroupVersionForDiscovery as GroupVersionForDiscovery
    from .discovery import ServerAddressByClientCIDR as ServerAddressByClientCIDR
    from .label_selector import FieldSelectorRequirement as FieldSelectorRequirement
    from .label_selector import LabelSelector as LabelSelector
    from .label_selector import LabelSelectorRequirement as LabelSelectorRequirement
    from .list_meta import ListMeta as ListMeta
    from .list_meta import ShardInfo as ShardInfo
    from .object_meta import ManagedFieldsEntry as ManagedFieldsEntry
    from .object_meta import ObjectMeta as ObjectMeta
    from .object_meta import OwnerReference as OwnerReference
    from .status import Status as Status
    from .status import StatusCause as StatusCause
    from .status import StatusDetails as StatusDetails
    from .table import PartialObjectMetadata as PartialObjectMetadata
    from .table import PartialObjectMetadataList as PartialObjectMetadataList
    from .table import Table as Table
    from .table import TableColumnDefinition as TableColumnDefinition
    from .table import TableOptions as TableOptions
    from .table import TableRow as TableRow
    from .table import TableRowCondition as TableRowCondition
    from .watch_event import WatchEvent as WatchEvent
else:
    from edgekube.types._lazy import lazy

    __getattr__ = lazy(
        __name__,
        {
            "condition": "Condition",
            "delete_options": "DeleteOptions Preconditions",
            "discovery": (
                "APIGroup APIGroupList APIResource APIResourceList APIVersions GroupResource"
                " GroupVersionForDiscovery ServerAddressByClientCIDR"
            ),
            "label_selector": "FieldSelectorRequirement LabelSelector LabelSelectorRequirement",
            "list_meta": "ListMeta ShardInfo",
            "object_meta": "ManagedFieldsEntry ObjectMeta OwnerReference",
            "status": "Status StatusCause StatusDetails",
            "table": (
                "Table TableColumnDefinition TableRow TableRowCondition TableOptions PartialObjectMetadata"
                " PartialObjectMetadataList"
            ),
            "watch_event": "WatchEvent",
        },
    )
