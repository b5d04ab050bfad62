"""Cluster DNS on every node (CoreDNS's role): names of Services and pods, everything else from the node's resolvers.

`codec`, `zone`, `cache` and `resolvconf` do no I/O; `forward` and `role` own the sockets. May import client and types.
"""
