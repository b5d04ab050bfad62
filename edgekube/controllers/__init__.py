"""The controller manager: one file a controller, each turning desired state into actual state.

`framework.py` runs them; `owners.py` holds what those that own pods share. Decisions are pure functions of cached
objects; effects go through `Client`. May import `edgekube.client` and `edgekube.types`; no other role.
"""
