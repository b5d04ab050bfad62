"""What every role sees of the cluster: two protocols and the tools built on them.

`api.py` holds the contracts (Client, Informer, NodeApi). Informer plumbing, work queues, the event recorder and the
HTTPS client live beside it. May import mechanisms and `edgekube.types`, never a role.
"""
