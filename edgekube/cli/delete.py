"""Delete objects, and wait until they are gone."""

import argparse
import sys
from typing import Any

from edgekube.cli import arguments
from edgekube.cli.api import Api
from edgekube.cli.errors import FAILED, OK, CliError, StatusError, UsageError, describe
from edgekube.cli.selection import Chosen, chosen
from edgekube.cli.waiting import deadline_in, follow

PROPAGATION = {"background": "Background", "foreground": "Foreground", "orphan": "Orphan"}


def configure(made: argparse.ArgumentParser) -> None:
    made.add_argument("what", nargs="*", metavar="TYPE NAME... | TYPE/NAME")
    arguments.add_every_namespace(made)
    arguments.add_files(made)
    arguments.add_selectors(made)
    made.add_argument("--all", action="store_true", help="every object of the type")
    made.add_argument(
        "--grace-period", metavar="SECONDS", type=int, default=-1, help="time to end; 0 only with --force"
    )
    made.add_argument("--now", action="store_true", help="same as --grace-period=1")
    made.add_argument("--force", action="store_true", help="do not wait for the pods to end")
    made.add_argument("--wait", nargs="?", const="true", default="true", help="until it is gone (default: true)")
    made.add_argument("--timeout", metavar="TIME", default="0s", help="of the wait; 0s is forever")
    made.add_argument("--ignore-not-found", action="store_true", help="what is not there is no error")
    made.add_argument(
        "--cascade",
        nargs="?",
        const="background",
        default="background",
        choices=[*PROPAGATION, "true", "false"],
        help="what happens to dependents: background, foreground, orphan",
    )
    made.add_argument("-o", "--output", choices=["", "name"], default="", help="name")
    arguments.add_dry_run(made, field_manager="")


def run(args: argparse.Namespace) -> int:
    grace = 1 if args.now else args.grace_period
    if args.now and args.grace_period >= 0:
        raise UsageError("--now and --grace-period cannot be specified together")
    if args.force:
        if grace > 0:
            raise UsageError("--force and --grace-period greater than 0 cannot be specified together")
        grace = 0
        print(
            "Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated. "
            "The resource may continue to run on the cluster indefinitely.",
            file=sys.stderr,
        )
    elif grace == 0:
        grace = 1  # without --force kubectl does not skip the confirmation either
    dry_run = arguments.dry_run_of(args)
    api = arguments.api_of(args)
    cascade = {"true": "background", "false": "orphan"}.get(args.cascade, args.cascade)
    body: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": PROPAGATION[cascade]}
    if grace >= 0:
        body["gracePeriodSeconds"] = grace
    if dry_run == "server":
        body["dryRun"] = ["All"]
    failed = False
    waiting: list[tuple[Chosen, str]] = []
    found = chosen(api, args)
    for each in found:
        try:
            uid = "" if dry_run == "client" else _delete(api, each, body)
        except StatusError as error:
            if not (args.ignore_not_found and error.http_code == 404 and error.names_object):
                failed = True
                sys.stdout.flush()
                print(describe(error), file=sys.stderr)
            continue
        _report(each, args.output, forced=args.force, dry_run=dry_run)
        waiting.append((each, uid))
    if not found:
        print("No resources found", file=sys.stderr)
    if str(args.wait).lower() != "false" and dry_run == "none" and not args.force:
        limit = arguments.seconds(args.timeout)
        _wait(api, waiting, limit)
    return FAILED if failed else OK


def _delete(api: Api, each: Chosen, body: dict[str, Any]) -> str:
    """The uid of what is being deleted."""
    answer: dict[str, Any] = api.call("DELETE", each.path, body=body)
    uid = (answer.get("details") or {}).get("uid") or (answer.get("metadata") or {}).get("uid")
    return str(uid or "")


def _report(each: Chosen, output: str, *, forced: bool, dry_run: str) -> None:
    if output == "name":
        print(each.shown)
        return
    kind, _, name = each.shown.partition("/")
    note = {"server": " (server dry run)", "client": " (dry run)"}.get(dry_run, "")
    where = f" from {each.namespace} namespace" if each.namespace else ""
    print(f'{kind} "{name}" {"force deleted" if forced else "deleted"}{where}{note}', flush=True)


def _wait(api: Api, waiting: list[tuple[Chosen, str]], limit: float) -> None:
    deadline = deadline_in(limit)
    for each, uid in waiting:
        for current in follow(api, each.resource, each.namespace, each.name, deadline):
            if current is None or (uid and current["metadata"].get("uid") != uid):
                break
        else:
            raise CliError(f"timed out waiting for the condition on {each.resource.plural}/{each.name}")
