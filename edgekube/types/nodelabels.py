"""Which labels a node may give itself; the others say something to the scheduler that is not a node's to claim.

After kube-apiserver's NodeRestriction (KEP-279) and the kubelet's check of --node-labels.
"""

from typing import Final

_OWN: Final = frozenset(
    {
        "kubernetes.io/hostname", "kubernetes.io/arch", "kubernetes.io/os", "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/region", "topology.kubernetes.io/zone", "beta.kubernetes.io/arch",
        "beta.kubernetes.io/os", "beta.kubernetes.io/instance-type", "failure-domain.beta.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
    }
)  # fmt: skip
_OWN_DOMAINS: Final = ("kubelet.kubernetes.io", "node.kubernetes.io")
_KUBERNETES: Final = ("kubernetes.io", "k8s.io")


def reserved(key: str) -> bool:
    """Whether a node may not set this label on its own Node."""
    if key in _OWN:
        return False
    domain = key.rpartition("/")[0]
    if _within(domain, ("node-restriction.kubernetes.io",)):
        return True
    return not _within(domain, _OWN_DOMAINS) and _within(domain, _KUBERNETES)


def _within(domain: str, roots: tuple[str, ...]) -> bool:
    return any(domain == root or domain.endswith("." + root) for root in roots)
