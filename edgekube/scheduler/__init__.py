"""The scheduler: binds each pod to the node that fits it best.

`filters.py` and `scores.py` are pure functions over a `snapshot.py`; `decide.py` puts them together and words the
answer; `role.py` feeds them from informers through `queue.py` and binds.
May import `edgekube.client` and `edgekube.types`; no other role.
"""
