"""The files a pod's containers find in /etc: hosts and resolv.conf. Pure text."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgekube.kubelet.config import KubeletConfig
from edgekube.kubelet.spec import hostname
from edgekube.types.core_v1 import Pod

NAMESERVERS_MAX = 3
SEARCHES_MAX = 32
SEARCH_CHARACTERS_MAX = 2048


class Resolver(msgspec.Struct, frozen=True):
    """A resolv.conf(5), decoded."""

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def text(self) -> str:
        lines = []
        if self.searches:
            lines.append("search " + " ".join(self.searches))
        lines += [f"nameserver {address}" for address in self.nameservers]
        if self.options:
            lines.append("options " + " ".join(self.options))
        return "\n".join(lines) + "\n"


def parse_resolv_conf(text: str) -> Resolver:
    """The last search line counts; comments and unknown keywords are skipped, as the resolver does."""
    nameservers: list[str] = []
    searches: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.splitlines():
        words = line.partition("#")[0].partition(";")[0].split()
        if not words:
            continue
        match words[0]:
            case "nameserver" if len(words) > 1:
                nameservers.append(words[1])
            case "search" | "domain":
                searches = tuple(words[1:])
            case "options":
                options += words[1:]
    return Resolver(tuple(nameservers), searches, tuple(options))


def node_resolver(path: Path) -> Resolver:
    """What the node itself resolves with; nothing when the file is missing or unreadable."""
    try:
        return parse_resolv_conf(path.read_text(errors="replace"))
    except OSError:
        return Resolver()


def pod_resolver(pod: Pod, config: KubeletConfig, host: Resolver) -> Resolver:
    """A pod's resolv.conf by its dnsPolicy and dnsConfig (pkg/kubelet/network/dns)."""
    policy = pod.spec.dnsPolicy or "ClusterFirst"
    if policy == "ClusterFirst" and pod.spec.hostNetwork:
        policy = "Default"
    if policy in ("ClusterFirst", "ClusterFirstWithHostNet") and config.cluster_dns:
        domain = config.cluster_domain
        searches = (f"{pod.metadata.namespace}.svc.{domain}", f"svc.{domain}", domain, *host.searches)
        result = Resolver(config.cluster_dns, tuple(dict.fromkeys(searches)), ("ndots:5",))
    elif policy == "None":
        result = Resolver()
    else:
        result = host
    extra = pod.spec.dnsConfig
    if extra is not None:
        named = {o.name: f"{o.name}:{o.value}" if o.value else o.name for o in extra.options}
        kept = {o.partition(":")[0]: o for o in result.options}
        result = Resolver(
            tuple(dict.fromkeys((*result.nameservers, *extra.nameservers))),
            tuple(dict.fromkeys((*result.searches, *extra.searches))),
            tuple({**kept, **named}.values()),
        )
    searches = result.searches[:SEARCHES_MAX]
    while len(" ".join(searches)) > SEARCH_CHARACTERS_MAX:
        searches = searches[:-1]
    return Resolver(result.nameservers[:NAMESERVERS_MAX], searches, result.options)


HOSTS_HEAD = "# Kubernetes-managed hosts file"


def pod_hosts(pod: Pod, ips: Sequence[str], config: KubeletConfig) -> str:
    """/etc/hosts of a pod with its own network."""
    lines = [
        f"{HOSTS_HEAD}.",
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::0\tip6-localnet",
        "fe00::0\tip6-mcastprefix",
        "fe00::1\tip6-allnodes",
        "fe00::2\tip6-allrouters",
    ]
    name = hostname(pod)
    for address in ips:
        if pod.spec.subdomain:
            full = f"{name}.{pod.spec.subdomain}.{pod.metadata.namespace}.svc.{config.cluster_domain}"
            lines.append(f"{address}\t{full}\t{name}")
        else:
            lines.append(f"{address}\t{name}")
    return "\n".join(lines) + "\n" + _aliases(pod)


def host_network_hosts(pod: Pod, node_hosts: str) -> str:
    """/etc/hosts of a hostNetwork pod: the node's own, and the pod's aliases."""
    return f"{HOSTS_HEAD} (host network).\n{node_hosts.rstrip()}\n" + _aliases(pod)


def _aliases(pod: Pod) -> str:
    lines = [alias.ip + "\t" + "\t".join(alias.hostnames) for alias in pod.spec.hostAliases]
    return "\n# Entries added by HostAliases.\n" + "\n".join(lines) + "\n" if lines else ""
