"""Written by hand from the published apiregistration/v1 generated.proto: kubectl carries no types of this group."""

from typing import Final

MESSAGES: Final[dict[str, str]] = {
    "APIService": "1=metadata:meta_v1.ObjectMeta 2=spec:APIServiceSpec 3=status:APIServiceStatus",
    "APIServiceCondition": "1=type:s 2=status:s 3=lastTransitionTime:t 4?reason:s 5?message:s",
    "APIServiceList": "1=metadata:meta_v1.ListMeta 2=items:[APIService",
    "APIServiceSpec": (
        "1=service:ServiceReference 2?group:s 3?version:s 4?insecureSkipTLSVerify:b 5?caBundle:y "
        "7=groupPriorityMinimum:i 8=versionPriority:i"
    ),
    "APIServiceStatus": "1?conditions:[APIServiceCondition",
    "ServiceReference": "1?namespace:s 2?name:s 3=port:i",
}
