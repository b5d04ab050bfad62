"""Set the number of replicas of a Deployment, ReplicaSet, StatefulSet or ReplicationController."""

import argparse

from edgekube.cli import arguments
from edgekube.cli.api import MERGE_PATCH, Api, Json
from edgekube.cli.errors import OK, CliError
from edgekube.cli.selection import Chosen, chosen
from edgekube.cli.waiting import deadline_in, follow


def configure(made: argparse.ArgumentParser) -> None:
    made.add_argument("what", nargs="*", metavar="TYPE NAME | TYPE/NAME")
    arguments.add_files(made)
    arguments.add_selectors(made, fields=False)
    made.add_argument("--all", action="store_true", help="every object of the type")
    made.add_argument("--replicas", metavar="N", type=int, required=True, help="how many")
    made.add_argument("--current-replicas", metavar="N", type=int, default=-1, help="only if there are so many now")
    made.add_argument("--resource-version", metavar="VERSION", default="", help="only if it is at this version")
    made.add_argument("--timeout", metavar="TIME", default="0s", help="wait so long until the pods are there")
    arguments.add_dry_run(made, field_manager="kubectl-scale")


def run(args: argparse.Namespace) -> int:
    api = arguments.api_of(args)
    dry_run = arguments.dry_run_of(args)
    found = chosen(api, args)
    if not found:
        raise CliError("no objects passed to scale")
    for each in found:
        _scale(api, args, each, dry_run)
    limit = arguments.seconds(args.timeout)
    if limit > 0 and dry_run == "none":
        for each in found:
            for obj in follow(api, each.resource, each.namespace, each.name, deadline_in(limit)):
                if obj is not None and (obj.get("status") or {}).get("replicas", 0) == args.replicas:
                    break
            else:
                raise CliError(f"timed out waiting for {each.shown} to have {args.replicas} replicas")
    return OK


def _scale(api: Api, args: argparse.Namespace, each: Chosen, dry_run: str) -> None:
    path = f"{each.path}/scale"
    patch: Json = {"spec": {"replicas": args.replicas}}
    if args.current_replicas >= 0 or args.resource_version:
        scale = api.get(path)
        now = (scale.get("spec") or {}).get("replicas", 0)
        if args.current_replicas >= 0 and now != args.current_replicas:
            raise CliError(f"expected replicas to be {args.current_replicas}, was {now}")
        version = scale["metadata"]["resourceVersion"]
        if args.resource_version and version != args.resource_version:
            raise CliError(f"expected resource version to be {args.resource_version}, was {version}")
        patch["metadata"] = {"resourceVersion": version}
    if dry_run != "client":
        query = {"fieldManager": args.field_manager, "dryRun": "All" if dry_run == "server" else ""}
        api.call("PATCH", path, query, body=patch, content_type=MERGE_PATCH)
    note = {"server": " (server dry run)", "client": " (dry run)"}.get(dry_run, "")
    print(f"{each.shown} scaled{note}")
