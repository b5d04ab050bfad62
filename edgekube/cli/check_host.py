"""`check`, the host around the node: networks, firewalls, other software, clock, disk."""

import re
import socket
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network

from edgekube.cli.machine import FAIL, OK, WARN, Finding, Machine, Settings

FREE_BYTES_FAIL = 300 * 1000 * 1000
FREE_BYTES_WARN = 2 * 1000 * 1000 * 1000
CLOCK_FLOOR = datetime(2026, 1, 1, tzinfo=UTC)  # no clock that is right says less
LISTEN_STATE = "0A"
POOR_FILE_SYSTEMS = {
    "overlay": "overlayfs cannot lie on overlayfs: choose --data-dir on another file system",
    "vfat": "it has no owners and no links: choose --data-dir on ext4",
    "exfat": "it has no owners and no links: choose --data-dir on ext4",
    "nfs": "the database needs a local disk: choose --data-dir on one",
    "nfs4": "the database needs a local disk: choose --data-dir on one",
    "tmpfs": "it is lost with a reboot: choose --data-dir on a disk",
}


def rights(machine: Machine, _: Settings) -> Iterator[Finding]:
    if machine.user_id:
        yield Finding(WARN, "rights", "not root", "run `sudo edgekube check`: some facts only root can see")


def routes(machine: Machine, settings: Settings) -> Iterator[Finding]:
    """Networks of this host that overlap with the cluster's."""
    found = parse_routes(machine.read("/proc/net/route"))
    for option, cidr in (("cluster-cidr", settings.cluster_cidr), ("service-cidr", settings.service_cidr)):
        wanted = IPv4Network(cidr)
        taken = [
            f"{network} on {link}"
            for network, link in found
            if network.prefixlen and network.overlaps(wanted) and not link.startswith(settings.bridge)
        ]
        if taken:
            advice = f"give the node another --{option}, such as 10.{142 if option == 'cluster-cidr' else 143}.0.0/16"
            yield Finding(FAIL, option, f"{cidr} overlaps with {', '.join(taken)}", advice)
        else:
            yield Finding(OK, option, f"{cidr} is free")
    if not any(network.prefixlen == 0 for network, _ in found):
        yield Finding(
            WARN, "default route", "none", "it works, but nothing outside is reached; give the node its --node-ip"
        )


def parse_routes(text: str) -> list[tuple[IPv4Network, str]]:
    """(network, link) of each line of /proc/net/route, whose addresses are hexadecimal in host order."""
    out = []
    for line in text.splitlines()[1:]:
        row = line.split()
        if len(row) < 8:
            continue
        address, mask = (IPv4Address(struct.pack("=I", int(row[index], 16))) for index in (1, 7))
        out.append((IPv4Network(f"{address}/{mask}", strict=False), row[0]))
    return out


def ports(machine: Machine, settings: Settings) -> Iterator[Finding]:
    taken = listening(machine.read("/proc/net/tcp") + machine.read("/proc/net/tcp6"))
    ours = _answers(str(machine.path(f"{settings.run_dir}/edgekube.sock")))
    if ours:
        yield Finding(OK, "ports", f"a node runs here ({settings.run_dir}/edgekube.sock answers)")
        return
    if settings.port in taken:
        advice = f"`sudo ss -ltnp sport = :{settings.port}` says what it is; stop it or give --listen another port"
        yield Finding(FAIL, "ports", f"{settings.port} is taken", advice)
    else:
        yield Finding(OK, "ports", f"{settings.port} is free")
    if 10250 in taken:
        advice = "another Kubernetes on this machine would fight over containers and rules: stop it first"
        yield Finding(WARN, "kubelet", "something listens on 10250", advice)


def listening(text: str) -> set[int]:
    """Ports listened on, of /proc/net/tcp and tcp6."""
    rows = [line.split() for line in text.splitlines()]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if len(row) > 3 and row[3] == LISTEN_STATE}


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


def firewalls(machine: Machine, settings: Settings) -> Iterator[Finding]:
    """The node itself gets pods through nftables' FORWARD chains; iptables-legacy and INPUT are for a person."""
    bridge = settings.bridge
    docker = machine.exists("/run/docker.sock") or re.search(
        r"^\s*docker0:", machine.read("/proc/net/dev"), re.MULTILINE
    )
    legacy = "filter" in machine.read("/proc/net/ip_tables_names").split()
    if legacy:
        yield Finding(
            WARN,
            "iptables-legacy",
            "its filter table is in use",
            f"it may drop what pods forward: `sudo iptables-legacy -I FORWARD -i {bridge} -j ACCEPT; "
            f"sudo iptables-legacy -I FORWARD -o {bridge} -j ACCEPT`, or switch its owner to iptables-nft",
        )
    if docker:
        yield Finding(OK, "docker", "runs here; the node lets its pods through Docker's FORWARD chain")
    if re.search(r"^\s*ENABLED\s*=\s*yes", machine.read("/etc/ufw/ufw.conf"), re.MULTILINE | re.IGNORECASE):
        advice = f"pods must reach the node: `sudo ufw allow in on {bridge}; sudo ufw allow {settings.port}/tcp`"
        yield Finding(WARN, "ufw", "enabled", advice)
    if machine.exists("/run/firewalld"):
        advice = (
            f"`sudo firewall-cmd --permanent --zone=trusted --add-interface={bridge} && sudo firewall-cmd --reload`"
        )
        yield Finding(WARN, "firewalld", "runs here", advice)


def link_managers(machine: Machine, settings: Settings) -> Iterator[Finding]:
    """What would put addresses of its own on the links of pods."""
    bridge = settings.bridge
    if machine.exists("/run/NetworkManager"):
        texts = machine.texts("/etc/NetworkManager/conf.d", "*.conf")
        if any(re.search(rf"^unmanaged-devices\s*[+]?=.*{bridge}", text, re.MULTILINE) for text in texts):
            yield Finding(OK, "NetworkManager", f"leaves {bridge} alone")
        else:
            yield Finding(
                WARN,
                "NetworkManager",
                "may take over the links of pods",
                "write to /etc/NetworkManager/conf.d/edgekube.conf, then `sudo systemctl reload NetworkManager`:\n"
                f"[keyfile]\nunmanaged-devices=interface-name:{bridge};interface-name:ekv*",
            )
    if machine.exists("/run/dhcpcd") or machine.exists("/run/dhcpcd.pid"):
        line = re.search(r"^denyinterfaces\s+(.*)", machine.read("/etc/dhcpcd.conf"), re.MULTILINE)
        if line is not None and "ekv*" in line[1]:
            yield Finding(OK, "dhcpcd", "leaves the links of pods alone")
        else:
            advice = f"add to /etc/dhcpcd.conf, then `sudo systemctl restart dhcpcd`:\ndenyinterfaces ekv* {bridge}"
            yield Finding(WARN, "dhcpcd", "may take over the links of pods", advice)


def resolver(machine: Machine, settings: Settings) -> Iterator[Finding]:
    text = machine.read(settings.resolv_conf)
    servers = re.findall(r"^nameserver\s+(\S+)", text, re.MULTILINE)
    if not servers:
        yield Finding(WARN, "resolver", f"no nameserver in {settings.resolv_conf}", "names outside are not found")
    elif all(server.startswith("127.") or server == "::1" for server in servers):
        better = "/run/systemd/resolve/resolv.conf"
        advice = "pods cannot ask it: give the node --resolv-conf with a file that names a real server"
        if machine.exists(better):
            advice = f"pods cannot ask it: give the node --resolv-conf {better}"
        yield Finding(WARN, "resolver", f"{', '.join(servers)} is this host only", advice)
    else:
        yield Finding(OK, "resolver", ", ".join(servers))


def clock(machine: Machine, _: Settings) -> Iterator[Finding]:
    now = datetime.fromtimestamp(machine.now, UTC)
    shown = now.strftime("%Y-%m-%d %H:%M UTC")
    if now < CLOCK_FLOOR:
        yield Finding(
            FAIL, "clock", f"says {shown}", "certificates and CronJobs need the time: `sudo timedatectl set-ntp true`"
        )
        return
    if machine.exists("/run/systemd/timesync/synchronized") or machine.exists("/dev/rtc0"):
        yield Finding(OK, "clock", shown)
        return
    yield Finding(
        WARN, "clock", f"{shown}, with no hardware clock", "it is wrong after a boot until NTP answers; nodes cope"
    )


def disk(machine: Machine, settings: Settings) -> Iterator[Finding]:
    kind = machine.file_system(settings.data_dir)
    if kind in POOR_FILE_SYSTEMS:
        yield Finding(FAIL, "data folder", f"{settings.data_dir} is on {kind}", POOR_FILE_SYSTEMS[kind])
    free = machine.free_bytes(settings.data_dir)
    if free is not None:
        shown = f"{free / 1e9:.1f} GB free for {settings.data_dir}"
        if free < FREE_BYTES_WARN:
            level = FAIL if free < FREE_BYTES_FAIL else WARN
            yield Finding(level, "disk", shown, "images need room: make some, or choose another --data-dir")
        else:
            yield Finding(OK, "disk", shown)
    run_kind = machine.file_system(settings.run_dir)
    if run_kind and run_kind != "tmpfs":
        yield Finding(
            WARN,
            "run folder",
            f"{settings.run_dir} is on {run_kind}",
            "a tmpfs spares the card: --run-dir /run/edgekube",
        )


GROUPS = (rights, routes, ports, firewalls, link_managers, resolver, clock, disk)
