"""Make a Service for a Deployment, pod and the like: edgekube expose deploy/web --port=80 --target-port=8080."""

import argparse
import sys

from edgekube.cli import arguments, kinds
from edgekube.cli.api import Json, path_of
from edgekube.cli.errors import OK, CliError, UsageError
from edgekube.cli.output import Printer
from edgekube.cli.selection import chosen
from edgekube.types.resources import find

TYPES = {"clusterip": "ClusterIP", "nodeport": "NodePort", "loadbalancer": "LoadBalancer"}


def configure(made: argparse.ArgumentParser) -> None:
    made.add_argument("what", nargs="*", metavar="TYPE NAME | TYPE/NAME")
    arguments.add_files(made)
    arguments.add_output(made)
    made.add_argument("--name", metavar="NAME", default="", help="of the Service (default: the same)")
    made.add_argument("--port", metavar="PORT", type=int, default=0, help="of the Service (default: the container's)")
    made.add_argument("--target-port", metavar="PORT", default="", help="number or name in the pod")
    made.add_argument("--protocol", choices=["TCP", "UDP", "SCTP"], default="TCP", help="(default: TCP)")
    made.add_argument("--type", metavar="TYPE", default="ClusterIP", help="ClusterIP, NodePort or LoadBalancer")
    made.add_argument("--cluster-ip", metavar="ADDR", default="", help="or None for a headless Service")
    made.add_argument("--selector", metavar="LABELS", default="", help="which pods (default: those of what is exposed)")
    arguments.add_dry_run(made, field_manager="kubectl-expose")


def run(args: argparse.Namespace) -> int:
    if args.type.lower() not in TYPES:
        raise UsageError(f"--type must be one of {', '.join(TYPES.values())}")
    dry_run = arguments.dry_run_of(args)
    wanted, args.selector = args.selector, ""
    api = arguments.api_of(args)
    row = find("services")[0]
    for each in chosen(api, args, fetch=True):
        assert each.obj is not None
        made = service_for(each.obj, args, wanted)
        if dry_run != "client":
            query = {"fieldManager": args.field_manager, "dryRun": "All" if dry_run == "server" else ""}
            made = api.call("POST", path_of(row, each.namespace), query, body=made)
        if args.output and args.output != "name":
            sys.stdout.write(Printer(args.output, managed_fields=args.show_managed_fields).text(made))
            continue
        note = {"server": " (server dry run)", "client": " (dry run)"}.get(dry_run, "")
        shown = kinds.printed_name(row, made["metadata"]["name"])
        print(shown if args.output == "name" else f"{shown} exposed{note}")
    return OK


def service_for(obj: Json, args: argparse.Namespace, selector: str) -> Json:
    """Raises CliError when there are neither labels nor ports to go by."""
    spec, name = obj["spec"], args.name or obj["metadata"]["name"]
    if selector:
        labels = dict(part.split("=", 1) for part in selector.split(",") if "=" in part)
    elif obj["kind"] == "Pod":
        labels = obj["metadata"].get("labels") or {}
    else:
        found = spec.get("selector") or {}
        labels = found.get("matchLabels") or {} if "matchLabels" in found or "matchExpressions" in found else found
    if not labels:
        raise CliError(f"{obj['kind']} {obj['metadata']['name']} has no labels to select its pods by: give --selector")
    pod = spec if obj["kind"] == "Pod" else (spec.get("template") or {}).get("spec") or {}
    declared = [port["containerPort"] for each in pod.get("containers") or () for port in each.get("ports") or ()]
    ports = [args.port] if args.port else declared
    if not ports:
        raise CliError("couldn't find port via --port flag or introspection")
    target: int | str = int(args.target_port) if args.target_port.isdecimal() else args.target_port
    made = [
        {"port": port, "protocol": args.protocol, "targetPort": target or port, **_named(index, len(ports))}
        for index, port in enumerate(ports)
    ]
    result: Json = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": obj["metadata"].get("namespace")},
        "spec": {"selector": labels, "ports": made, "type": TYPES[args.type.lower()]},
    }
    if obj["metadata"].get("labels"):
        result["metadata"]["labels"] = obj["metadata"]["labels"]
    if args.cluster_ip:
        result["spec"]["clusterIP"] = args.cluster_ip
    return result


def _named(index: int, count: int) -> dict[str, str]:
    return {"name": f"port-{index + 1}"} if count > 1 else {}
