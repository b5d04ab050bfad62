"""The store (etcd's role): a revisioned key-value state machine over a Raft log, materialised in LMDB.

`api.py` is the contract every user of the store sees. Knows bytes, keys and revisions, and no Kubernetes kind.
May import `edgekube.raft` and `edgekube.native`.
"""
