"""The store (etcd's role): a revisioned key-value state machine over a Raft log, materialised in LMDB.

`api.py` is the contract every user of the store sees. Knows bytes, keys and revisions, and no Kubernetes kind.
May import `edgekube.raft` and `edgekube.native`.

Inside: `command` (a transaction's bytes), `state` (applies them), `history` and `watch` (what happened lately and who
hears of it), `reads` (what every engine shares), `disk` (LMDB), `kept` (the way from the log into the database),
`replicated` (the engine, of one member or more) and `opening`, `peers` with what members have to do with one another
(`forwarding`, `barriers`, `comparing`, `snapshots`, `changes`), `volatile` (for Events, in memory), `backup` (one file
and back).
"""
