"""How the node behind the socket is: version, readiness, addresses, pods, store."""

import argparse
import sys
from typing import Any

from edgekube.cli import arguments
from edgekube.cli.api import Api, Json
from edgekube.cli.errors import FAILED, OK
from edgekube.cli.output import Printer
from edgekube.types.resources import find


def configure(made: argparse.ArgumentParser) -> None:
    made.add_argument("-o", "--output", metavar="FORM", default="", help="json|yaml")


def run(args: argparse.Namespace) -> int:
    api = arguments.api_of(args)
    told: Json = api.get("/edgekube/status")
    if args.output:
        sys.stdout.write(Printer(args.output).text(told))
    else:
        print("\n".join(lines(told, _phases(api, told["node"]))))
    return OK if told["ready"] else FAILED


def lines(told: Json, phases: dict[str, int]) -> list[str]:
    lag: dict[str, Any] = told.get("loopLag") or {}
    rows = [
        ("node", f"{told['node']} ({'ready' if told['ready'] else 'starting'}, pid {told['pid']})"),
        ("version", f"{told['version']} (Kubernetes {told['kubernetes']})"),
        ("api", ", ".join(told["api"]) or "not served yet"),
        ("pods", ", ".join(f"{count} {phase}" for phase, count in sorted(phases.items())) or "none"),
        ("store", f"revision {told['revision']}, cluster {told['clusterID']}"),
    ]
    if lag:
        rows.append(("loop lag", ", ".join(f"{name} {value}" for name, value in lag.items())))
    return [f"{name + ':':<10}{value}" for name, value in rows]


def _phases(api: Api, node: str) -> dict[str, int]:
    from edgekube.cli.api import path_of

    counts: dict[str, int] = {}
    for pod in api.list(path_of(find("pods")[0]), {"fieldSelector": f"spec.nodeName={node}"}).get("items") or ():
        phase = (pod.get("status") or {}).get("phase") or "Unknown"
        counts[phase] = counts.get(phase, 0) + 1
    return counts
