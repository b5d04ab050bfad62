"""How long the service proxy takes to program the kernel, beside `nft -f` for the same change; in its own namespace."""

import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from statistics import median
from typing import Any

import msgspec
import trio

from bench import Options, row
from edgekube.client.api import Key
from edgekube.network.nft_table import NftTable
from edgekube.proxy.compiler import ENDPOINTS, base_table, compile_service
from edgekube.proxy.config import ProxyConfig
from edgekube.proxy.ruleset import Merger, merge_deltas
from edgekube.testing.netlab import NetLab
from edgekube.types.core_v1 import Service
from edgekube.types.discovery_v1 import EndpointSlice

CONFIG = ProxyConfig(
    node_name="n1",
    pod_cidr=IPv4Network("10.42.0.0/24"),
    cluster_cidr=IPv4Network("10.42.0.0/16"),
    service_cidr=IPv4Network("10.43.0.0/16"),
)


def service(number: int) -> Service:
    address = IPv4Address("10.43.0.0") + 100 + number
    made: dict[str, Any] = {
        "metadata": {"namespace": "default", "name": f"svc-{number}"},
        "spec": {"clusterIP": str(address), "ports": [{"port": 80, "protocol": "TCP"}]},
    }
    return msgspec.convert(made, Service)


def slices(number: int, count: int, shift: int = 0) -> tuple[EndpointSlice]:
    first = IPv4Address("10.42.1.0") + (number * count + shift) % 60_000
    endpoints = [{"addresses": [str(first + index)], "nodeName": "n2"} for index in range(count)]
    made = {"addressType": "IPv4", "endpoints": endpoints, "ports": [{"port": 8080, "protocol": "TCP"}]}
    return (msgspec.convert(made, EndpointSlice),)


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """(wall, own CPU) in milliseconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return (time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3


async def bench(count: int, endpoints: int) -> None:
    merger = Merger(base_table(CONFIG))

    def compile_everything() -> None:
        for number in range(count):
            one = service(number)
            key: Key = ("default", one.metadata.name)
            fragment = compile_service(one, slices(number, endpoints), CONFIG, service_id=number + 1)
            merger.update(key, fragment)

    wall, cpu = timed(compile_everything)
    size = f"{count} services of {endpoints}"
    row(f"compile {size}", cpu, "ms CPU", note="making the objects included")
    table = NftTable(merger.table())
    start, start_cpu = time.perf_counter(), time.process_time()
    await table.rebuild()
    wall, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    row(f"full sync, {size}", wall * 1e3, "ms", note=f"{cpu * 1e3:.0f} ms CPU")
    ours = []
    for turn in range(20):
        number = (turn * 37) % count
        begin = time.perf_counter()
        fragment = compile_service(service(number), slices(number, endpoints, turn + 1), CONFIG, service_id=number + 1)
        await table.apply(merge_deltas([merger.update(("default", f"svc-{number}"), fragment)]))
        ours.append((time.perf_counter() - begin) * 1e3)
    theirs = []
    for turn in range(5):
        number = (turn * 37) % count
        rules = _nft_change(number, endpoints, turn + 100)
        begin = time.perf_counter()
        await trio.run_process(["nft", "-f", "-"], stdin=rules.encode())
        theirs.append((time.perf_counter() - begin) * 1e3)
    peer = ("nft -f", median(theirs))
    row(f"one service among {count}", median(ours), "ms", goal=peer[1], beside=peer, note=f"worst {max(ours):.2f}")
    table.close()


def _nft_change(number: int, endpoints: int, shift: int) -> str:
    """The endpoints of one Service replaced, as a script: old elements out, new ones in."""
    identity = (number + 1) << 12
    name = ENDPOINTS[(number + 1) % len(ENDPOINTS)]
    first = IPv4Address("10.42.1.0") + (number * endpoints + shift) % 60_000
    keys = [f"0x{identity:08x} . 0x{index:08x}" for index in range(endpoints)]
    gone = ", ".join(keys)
    new = ", ".join(f"{key} : {first + index} . 8080" for index, key in enumerate(keys))
    return f"delete element ip edgekube-proxy {name} {{ {gone} }}\nadd element ip edgekube-proxy {name} {{ {new} }}\n"


def run(options: Options) -> None:
    lab = NetLab()
    try:
        lab.add("bench")
        with lab.inside("bench"):
            trio.run(bench, 500 if options.quick else 5000, 10)
    finally:
        lab.close()
