"""Change fields of an object by a patch in JSON or YAML."""

import argparse
import json
import sys
from typing import Any

from edgekube.cli import arguments, kinds
from edgekube.cli.api import JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH
from edgekube.cli.errors import OK, CliError, UsageError
from edgekube.cli.output import Printer
from edgekube.cli.selection import chosen

TYPES = {"strategic": STRATEGIC_PATCH, "merge": MERGE_PATCH, "json": JSON_PATCH}


def configure(made: argparse.ArgumentParser) -> None:
    made.add_argument("what", nargs="*", metavar="TYPE NAME | TYPE/NAME")
    arguments.add_files(made)
    made.add_argument("-p", "--patch", metavar="PATCH", default="", help="the patch itself")
    made.add_argument("--patch-file", metavar="FILE", default="", help="a file that holds it")
    made.add_argument("--type", choices=[*TYPES], default="strategic", help="how it is meant (default: strategic)")
    made.add_argument("--subresource", metavar="NAME", default="", help="such as status or scale")
    arguments.add_output(made)
    arguments.add_dry_run(made, field_manager="kubectl-patch")


def run(args: argparse.Namespace) -> int:
    if bool(args.patch) == bool(args.patch_file):
        raise UsageError("must specify -p or --patch-file to patch")
    dry_run = arguments.dry_run_of(args)
    patch = _parsed(args)
    api = arguments.api_of(args)
    for each in chosen(api, args):
        if args.type == "strategic" and not kinds.built_in(each.resource):
            raise UsageError(
                f"strategic merge patches are for built-in kinds: use --type=merge for {each.resource.kind}"
            )
        before = api.get(each.path)
        if dry_run == "client":
            print(f"{each.shown} patched (dry run)")
            continue
        path = f"{each.path}/{args.subresource}" if args.subresource else each.path
        query = {"fieldManager": args.field_manager, "dryRun": "All" if dry_run == "server" else ""}
        after: dict[str, Any] = api.call("PATCH", path, query, body=patch, content_type=TYPES[args.type])
        if args.output and args.output != "name":
            sys.stdout.write(Printer(args.output, managed_fields=args.show_managed_fields).text(after))
        elif args.output == "name":
            print(each.shown)
        else:
            changed = after["metadata"].get("resourceVersion") != before["metadata"].get("resourceVersion")
            note = " (server dry run)" if dry_run == "server" else "" if changed else " (no change)"
            print(f"{each.shown} patched{note}")
    return OK


def _parsed(args: argparse.Namespace) -> Any:
    text = args.patch
    if args.patch_file:
        try:
            with open(args.patch_file, encoding="utf-8") as file:
                text = file.read()
        except OSError as error:
            raise CliError(f"cannot read {args.patch_file}: {error.strerror}") from None
    try:
        value = json.loads(text)
    except ValueError:
        from edgekube.cli.yamltext import load_all

        values = load_all(text, "the patch")
        value = values[0] if len(values) == 1 else None
    if not isinstance(value, list if args.type == "json" else dict):
        wanted = "a list of operations" if args.type == "json" else "a mapping of fields"
        raise UsageError(f"unable to parse the patch: --type={args.type} takes {wanted}")
    return value
