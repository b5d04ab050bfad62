"""How a node is configured: options of `edgekube run`, over a YAML file, over defaults. One Struct, one table.

Every option has the same name on the command line (`--node-name`) and in the file (`node-name`), as in k3s.
"""

import argparse
import ipaddress
import os
import re
import socket
from collections.abc import Sequence
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import msgspec

from edgekube.types import names, nodelabels

DATA_DIR = Path("/var/lib/edgekube")
RUN_DIR = Path("/run/edgekube")
CONFIG_FILE = Path("/etc/edgekube/config.yaml")
SMALLEST_PREFIX = 28
NODE_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


class ConfigFailure(Exception):
    """An option is wrong; the message names it and says what it should look like."""


class NodeConfig(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """Everything `edgekube run` can be told. CIDRs are IPv4; addresses of pools are ranges or CIDRs."""

    data_dir: str = str(DATA_DIR)
    run_dir: str = str(RUN_DIR)
    log_dir: str = "/var/log/edgekube"
    listen: str = "0.0.0.0:6443"
    node_name: str = ""
    node_ip: str = ""
    cluster_cidr: str = "10.42.0.0/16"
    service_cidr: str = "10.43.0.0/16"
    cluster_domain: str = "cluster.local"
    cluster_dns: str = ""  # tenth address of the service CIDR
    service_node_port_range: str = "30000-32767"
    bridge: str = "ek0"
    mtu: int = 0  # 0: computed from the uplink
    tls_san: tuple[str, ...] = ()
    node_label: tuple[str, ...] = ()
    node_taint: tuple[str, ...] = ()
    max_pods: int = 110
    load_balancer_pool: tuple[str, ...] = ()
    resolv_conf: str = "/etc/resolv.conf"
    cgroup_root: str = "edgekube"
    registries: str = "/etc/edgekube/registries.yaml"
    disable: tuple[str, ...] = ()  # roles not to start: dns, proxy, cloud
    verbose: bool = False

    @property
    def pod_cidr(self) -> IPv4Network:
        """This node's own /24 of the cluster CIDR (or all of a smaller one)."""
        network = IPv4Network(self.cluster_cidr)
        return network if network.prefixlen >= 24 else next(network.subnets(new_prefix=24))

    @property
    def dns_address(self) -> str:
        return self.cluster_dns or str(IPv4Network(self.service_cidr)[10])

    @property
    def listen_address(self) -> tuple[str, int]:
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]") or "0.0.0.0", int(port)

    @property
    def node_ports(self) -> tuple[int, int]:
        low, _, high = self.service_node_port_range.partition("-")
        return int(low), int(high)


HELP = {
    "data_dir": "state that survives a reboot: database, images, volumes, keys",
    "run_dir": "state of this boot: socket, containers, secrets; should be on a tmpfs",
    "log_dir": "container logs",
    "listen": "address and port of the HTTPS API",
    "node_name": "name of this node (default: the host name)",
    "node_ip": "address other nodes and clients reach this node at (default: that of the default route)",
    "cluster_cidr": "addresses of pods",
    "service_cidr": "addresses of Services",
    "cluster_domain": "DNS domain of the cluster",
    "cluster_dns": "Service address of the cluster DNS (default: the tenth of the service CIDR)",
    "service_node_port_range": "ports for NodePort Services",
    "bridge": "name of the pod bridge",
    "mtu": "MTU of the pod network (default: the uplink's)",
    "tls_san": "further name or address for the API server's certificate; may be repeated",
    "node_label": "label of this node, key=value; may be repeated",
    "node_taint": "taint of this node at its first start, key=value:Effect; may be repeated",
    "max_pods": "most pods on this node",
    "load_balancer_pool": "addresses for LoadBalancer Services, a CIDR or first-last; may be repeated "
    "(default: the node's own address serves)",
    "resolv_conf": "resolver configuration of the node, for forwarding and for dnsPolicy Default",
    "cgroup_root": "cgroup all pods live under",
    "registries": "file with registry mirrors and credentials",
    "disable": "a role not to start: dns, proxy, cloud; may be repeated",
    "verbose": "log what the node does, not only what went wrong",
}


def parser() -> argparse.ArgumentParser:
    """The options of `edgekube run`, made from NodeConfig's fields."""
    result = argparse.ArgumentParser(prog="edgekube run", description="Run a node in the foreground.")
    result.add_argument("--config", metavar="FILE", help=f"YAML file with the same options (default: {CONFIG_FILE})")
    for field in msgspec.structs.fields(NodeConfig):
        options: dict[str, Any] = {"dest": field.name, "default": None, "help": HELP[field.name]}
        if field.type is bool:
            options["action"] = "store_true"
        elif field.type is int:
            options.update(type=int, metavar="N")
        elif field.type is not str:
            options.update(action="append", metavar="VALUE")
        else:
            options["metavar"] = "VALUE"
        result.add_argument("--" + field.encode_name, **options)
    return result


def load(argv: Sequence[str]) -> NodeConfig:
    """Command line over file over defaults, checked. Raises ConfigFailure; exits on --help as argparse does."""
    return of_arguments(parser().parse_args(list(argv)))


def of_arguments(args: argparse.Namespace) -> NodeConfig:
    """As `load`, of what `parser` has parsed. Raises ConfigFailure."""
    given = vars(args)
    path = given.pop("config")
    values: dict[str, Any] = _read_file(Path(path) if path else CONFIG_FILE, required=bool(path))
    names = {field.name: field.encode_name for field in msgspec.structs.fields(NodeConfig)}
    values.update({names[name]: value for name, value in given.items() if value is not None})
    try:
        config = msgspec.convert(values, NodeConfig)
    except msgspec.ValidationError as error:
        raise ConfigFailure(f"the configuration is wrong: {error}") from None
    return complete(config)


def _read_file(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        text = path.read_text()
    except FileNotFoundError:
        if required:
            raise ConfigFailure(f"the configuration file {path} does not exist") from None
        return {}
    except OSError as error:
        raise ConfigFailure(f"the configuration file {path} cannot be read: {error.strerror}") from None
    import yaml

    try:
        values = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}
    except yaml.YAMLError as error:
        raise ConfigFailure(f"the configuration file {path} is not YAML: {error}") from None
    if not isinstance(values, dict):
        raise ConfigFailure(f"the configuration file {path} must hold `option: value` lines")
    return {k: [v] if isinstance(v, str) and k in LISTS else v for k, v in values.items()}


LISTS = {field.encode_name for field in msgspec.structs.fields(NodeConfig) if field.type not in (bool, int, str)}


def complete(config: NodeConfig) -> NodeConfig:
    """Fill in what is taken from the machine and check every value. Raises ConfigFailure."""
    name = (config.node_name or socket.gethostname()).lower()
    if not NODE_NAME.fullmatch(name):
        raise ConfigFailure(f"node-name {name!r} must be a DNS name of lower-case letters, digits, - and .")
    networks = {}
    for option in ("cluster_cidr", "service_cidr"):
        try:
            networks[option] = IPv4Network(getattr(config, option))
        except ValueError as error:
            raise ConfigFailure(
                f"{option.replace('_', '-')} must be an IPv4 network such as 10.42.0.0/16: {error}"
            ) from None
    if networks["cluster_cidr"].overlaps(networks["service_cidr"]):
        raise ConfigFailure("cluster-cidr and service-cidr overlap: choose two separate networks")
    for option, network in networks.items():
        if network.prefixlen > SMALLEST_PREFIX:
            raise ConfigFailure(f"{option.replace('_', '-')} {network} must have room for 16 addresses or more")
    try:
        config.listen_address[1]
        low, high = config.node_ports
        if not 0 < low <= high < 65536:
            raise ValueError
    except ValueError:
        raise ConfigFailure("listen must be ADDRESS:PORT and service-node-port-range FIRST-LAST") from None
    # A node without any network is its own: the pod bridge's address is one its pods and itself can reach.
    address = config.node_ip or outward_address() or str(config.pod_cidr[1])
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise ConfigFailure(f"node-ip {address!r} is not an address") from None
    for text in config.node_label:
        key, equals, value = text.partition("=")
        wrong = ["it must be key=value"] if not equals else [*names.qualified_name(key), *names.label_value(value)]
        if nodelabels.reserved(key):
            wrong.append("a node may not give itself labels of kubernetes.io: label it with `edgekube label node`")
        if wrong:
            raise ConfigFailure(f"node-label {text!r}: {wrong[0]}")
    unknown = set(config.disable) - {"dns", "proxy", "cloud"}
    if unknown:
        raise ConfigFailure(f"disable: no such role: {', '.join(sorted(unknown))}; there are dns, proxy and cloud")
    return msgspec.structs.replace(
        config,
        node_name=name,
        node_ip=address,
        data_dir=os.path.abspath(config.data_dir),
        run_dir=os.path.abspath(config.run_dir),
        log_dir=os.path.abspath(config.log_dir),
    )


def outward_address() -> str:
    """The address of the default route's link; without one the host name's that is not loopback, else "".

    Connecting a UDP socket sends nothing: it only asks the kernel which source address it would take.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            pass
    try:
        found = socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
    except OSError:
        found = []
    return next((str(info[4][0]) for info in found if not str(info[4][0]).startswith("127.")), "")
