"""Written by `python -m edgekube.apiserver.protobuf.generate`: change the generator, not this file."""

from typing import Final

MESSAGES: Final[dict[str, str]] = {
    "AggregationRule": "1?clusterRoleSelectors:[meta_v1.LabelSelector",
    "ClusterRole": "1=metadata:meta_v1.ObjectMeta 2=rules:[PolicyRule 3=aggregationRule:AggregationRule",
    "ClusterRoleBinding": "1=metadata:meta_v1.ObjectMeta 2?subjects:[Subject 3=roleRef:RoleRef",
    "ClusterRoleBindingList": "1=metadata:meta_v1.ListMeta 2=items:[ClusterRoleBinding",
    "ClusterRoleList": "1=metadata:meta_v1.ListMeta 2=items:[ClusterRole",
    "PolicyRule": "1=verbs:[s 2?apiGroups:[s 3?resources:[s 4?resourceNames:[s 5?nonResourceURLs:[s",
    "Role": "1=metadata:meta_v1.ObjectMeta 2=rules:[PolicyRule",
    "RoleBinding": "1=metadata:meta_v1.ObjectMeta 2?subjects:[Subject 3=roleRef:RoleRef",
    "RoleBindingList": "1=metadata:meta_v1.ListMeta 2=items:[RoleBinding",
    "RoleList": "1=metadata:meta_v1.ListMeta 2=items:[Role",
    "RoleRef": "1=apiGroup:s 2=kind:s 3=name:s",
    "Subject": "1=kind:s 2?apiGroup:s 3=name:s 4?namespace:s",
}
