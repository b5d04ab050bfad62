"""The service proxy (kube-proxy's role): Services and EndpointSlices compiled into one nftables table.

`endpoints`, `compiler` and `ruleset` are pure; `role` follows the API and sends the differences. May import client,
network (netlink, nftables, conntrack), types; no other role.
"""
