"""The container runtime (containerd's role): images, snapshots, sandboxes and containers under runc and our shim.

`api.py` is the contract kubelet/ sees. Knows OCI and Linux, no Kubernetes kind. May import `edgekube.native`.
"""
