"""Show what nodes and pods use. Asks the metrics API, which a cluster has only once something serves it."""

import argparse
import sys

from edgekube.cli import arguments
from edgekube.cli.api import Api, Json, path_of
from edgekube.cli.describe_node import amount
from edgekube.cli.errors import FAILED, OK, StatusError
from edgekube.cli.tables import Columns
from edgekube.types.resources import find

METRICS = "/apis/metrics.k8s.io/v1beta1"
MEBI = 1024 * 1024


def configure(made: argparse.ArgumentParser) -> None:
    made.add_argument("what", choices=["node", "nodes", "no", "pod", "pods", "po"], help="node or pod")
    made.add_argument("name", nargs="?", default="", metavar="NAME")
    arguments.add_every_namespace(made)
    arguments.add_selectors(made, fields=False)
    made.add_argument("--containers", action="store_true", help="each container of a pod")
    made.add_argument("--sort-by", choices=["cpu", "memory"], default="", help="the largest first")
    made.add_argument("--no-headers", action="store_true", help="leave the column titles out")


def run(args: argparse.Namespace) -> int:
    api = arguments.api_of(args)
    nodes = args.what.startswith("no")
    try:
        rows = _nodes(api, args) if nodes else _pods(api, args)
    except StatusError as error:
        if error.http_code == 404 and not error.names_object:
            print(
                "error: Metrics API not available: nothing in this cluster serves metrics.k8s.io. Figures of this node "
                "are at `edgekube get --raw /metrics`.",
                file=sys.stderr,
            )
            return FAILED
        raise
    if args.sort_by:
        rows.sort(key=lambda row: row[1] if args.sort_by == "cpu" else row[2], reverse=True)
    table = [[*keys, f"{cpu * 1000:.0f}m", f"{memory / MEBI:.0f}Mi", *more] for keys, cpu, memory, more in rows]
    titles = ["NAME", "CPU(cores)", "MEMORY(bytes)"]
    if nodes:
        titles = ["NAME", "CPU(cores)", "MEMORY(bytes)", "CPU(%)", "MEMORY(%)"]
    else:
        titles = ["NAMESPACE"] * args.all_namespaces + ["POD"] * args.containers + titles
    print("\n".join(Columns().layout(([] if args.no_headers else [titles]) + table)))
    return OK


Row = tuple[list[str], float, float, list[str]]


def _nodes(api: Api, args: argparse.Namespace) -> list[Row]:
    known = {each["metadata"]["name"]: each for each in api.list(path_of(find("nodes")[0])).get("items") or ()}
    rows: list[Row] = []
    for each in _read(api, f"{METRICS}/nodes", args):
        name, usage = each["metadata"]["name"], each["usage"]
        allocatable = (known.get(name, {}).get("status") or {}).get("allocatable") or {}
        cpu, memory = amount(usage.get("cpu", "0")), amount(usage.get("memory", "0"))
        shares = [_share(cpu, allocatable.get("cpu")), _share(memory, allocatable.get("memory"))]
        rows.append(([name], cpu, memory, shares))
    return rows


def _share(used: float, whole: str | None) -> str:
    total = amount(str(whole or "0"))
    return f"{used * 100 / total:.0f}%" if total else "<unknown>"


def _pods(api: Api, args: argparse.Namespace) -> list[Row]:
    namespace = arguments.namespace_of(args)
    path = f"{METRICS}/namespaces/{namespace}/pods" if namespace else f"{METRICS}/pods"
    rows: list[Row] = []
    for each in _read(api, path, args):
        names = [each["metadata"]["namespace"]] * args.all_namespaces + [each["metadata"]["name"]]
        usages = [(c["name"], amount(c["usage"]["cpu"]), amount(c["usage"]["memory"])) for c in each["containers"]]
        if args.containers:
            rows += [([*names, container], cpu, memory, []) for container, cpu, memory in usages]
        else:
            rows.append((names, sum(cpu for _, cpu, _ in usages), sum(memory for *_, memory in usages), []))
    return rows


def _read(api: Api, path: str, args: argparse.Namespace) -> list[Json]:
    if args.name:
        return [api.get(f"{path}/{args.name}")]
    items: list[Json] = api.get(path, {"labelSelector": args.selector}).get("items") or []
    return items
