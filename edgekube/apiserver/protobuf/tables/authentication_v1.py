"""Written by `python -m edgekube.apiserver.protobuf.generate`: change the generator, not this file."""

from typing import Final

MESSAGES: Final[dict[str, str]] = {
    "BoundObjectReference": "1?kind:s 2?apiVersion:s 3?name:s 4?uid:s",
    "SelfSubjectReview": "1=metadata:meta_v1.ObjectMeta 2=status:SelfSubjectReviewStatus",
    "SelfSubjectReviewStatus": "1=userInfo:UserInfo",
    "TokenRequest": "1=metadata:meta_v1.ObjectMeta 2=spec:TokenRequestSpec 3=status:TokenRequestStatus",
    "TokenRequestSpec": (
        "1=audiences:[s 3=boundObjectRef:BoundObjectReference 4=expirationSeconds:i 5?attestations:{v"
    ),
    "TokenRequestStatus": "1=token:s 2=expirationTimestamp:t",
    "TokenReview": "1=metadata:meta_v1.ObjectMeta 2=spec:TokenReviewSpec 3=status:TokenReviewStatus",
    "TokenReviewSpec": "1?token:s 2?audiences:[s",
    "TokenReviewStatus": "1?authenticated:b 2=user:UserInfo 3?error:s 4?audiences:[s",
    "UserInfo": "1?username:s 2?uid:s 3?groups:[s 4?extra:{v",
}
