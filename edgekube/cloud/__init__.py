"""The cloud controller (CCM's role): gives LoadBalancer Services an address and sees that it is reached.

`provider` is the seam for real clouds; `edge` decides for machines without one; `role` runs it. `pool` and `edge` are
pure. May import client, network (announcing an address), types; no other role.
"""
