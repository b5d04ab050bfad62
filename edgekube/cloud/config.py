"""What the cloud role is told by the node that starts it."""

import msgspec


class CloudConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the cloud role of one node.

    node_name: this node, for the choice of who announces an address.
    pools: addresses to give to LoadBalancer Services, each `A-B`, a CIDR or one address; with none, the nodes' own
        addresses serve.
    reserved_ports: (protocol, port) pairs of the nodes' own, such as the API server's, which no Service may take from
        them while the nodes' addresses serve.
    controller: whether this process decides (the leader); every node announces.
    """

    node_name: str
    pools: tuple[str, ...] = ()
    reserved_ports: tuple[tuple[str, int], ...] = (("TCP", 6443), ("TCP", 10250), ("TCP", 22))
    controller: bool = True
