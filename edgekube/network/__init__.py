"""The pod network (CNI's and flannel's role): bridge, veth pairs, addresses and routes by netlink.

Knows Linux networking and no Kubernetes kind. May import `edgekube.native`.
"""
