"""What the service proxy is told by the node that starts it."""

from ipaddress import IPv4Address, IPv4Network

import msgspec


class ProxyConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the proxy of one node.

    node_name: endpoints of this node are the local ones.
    pod_cidr: this node's pods; traffic to them keeps the client's address, for their answers come back through here.
    cluster_cidr: all pods; from elsewhere a ClusterIP needs masquerading.
    service_cidr: what is in here and no Service is rejected at once instead of running into a timeout.
    served_here: addresses of the service CIDR that the node answers itself (cluster DNS), left alone.
    masquerade_bit: the packet mark bit for "masquerade on the way out"; kube-proxy's by default.
    health_address: where healthCheckNodePorts listen.
    """

    node_name: str
    pod_cidr: IPv4Network
    cluster_cidr: IPv4Network
    service_cidr: IPv4Network
    served_here: frozenset[IPv4Address] = frozenset()
    masquerade_bit: int = 0x4000
    health_address: str = "0.0.0.0"
