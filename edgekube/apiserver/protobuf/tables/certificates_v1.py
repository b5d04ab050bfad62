"""Written by `python -m edgekube.apiserver.protobuf.generate`: change the generator, not this file."""

from typing import Final

MESSAGES: Final[dict[str, str]] = {
    "CertificateSigningRequest": (
        "1=metadata:meta_v1.ObjectMeta 2=spec:CertificateSigningRequestSpec 3=status:CertificateSigningRequestStatus"
    ),
    "CertificateSigningRequestCondition": (
        "1=type:s 2?reason:s 3?message:s 4=lastUpdateTime:t 5=lastTransitionTime:t 6=status:s"
    ),
    "CertificateSigningRequestList": "1=metadata:meta_v1.ListMeta 2=items:[CertificateSigningRequest",
    "CertificateSigningRequestSpec": (
        "1=request:y 2?username:s 3?uid:s 4?groups:[s 5?usages:[s 6?extra:{v 7=signerName:s 8=expirationSeconds:i"
    ),
    "CertificateSigningRequestStatus": "1?conditions:[CertificateSigningRequestCondition 2?certificate:y",
    "ClusterTrustBundle": "1=metadata:meta_v1.ObjectMeta 2=spec:ClusterTrustBundleSpec",
    "ClusterTrustBundleList": "1=metadata:meta_v1.ListMeta 2=items:[ClusterTrustBundle",
    "ClusterTrustBundleSpec": "1?signerName:s 2=trustBundle:s",
    "PodCertificateRequest": (
        "1=metadata:meta_v1.ObjectMeta 2=spec:PodCertificateRequestSpec 3=status:PodCertificateRequestStatus"
    ),
    "PodCertificateRequestList": "1=metadata:meta_v1.ListMeta 2=items:[PodCertificateRequest",
    "PodCertificateRequestSpec": (
        "1=signerName:s 2=podName:s 3=podUID:s 4=serviceAccountName:s 5=serviceAccountUID:s 6=nodeName:s "
        "7=nodeUID:s 8=maxExpirationSeconds:i 11?unverifiedUserAnnotations:{s 12=stubPKCS10Request:y"
    ),
    "PodCertificateRequestStatus": (
        "1?conditions:[meta_v1.Condition 2?certificateChain:s 4=notBefore:t 5=beginRefreshAt:t 6=notAfter:t"
    ),
}
