"""What `label` and `annotate` share: KEY=VALUE sets, KEY- removes."""

import argparse
import sys
from collections.abc import Mapping, Sequence

from edgekube.cli import arguments
from edgekube.cli.api import MERGE_PATCH
from edgekube.cli.errors import OK, CliError, UsageError
from edgekube.cli.output import Printer
from edgekube.cli.selection import chosen

Changes = Mapping[str, str | None]


def configure(made: argparse.ArgumentParser, *, done: str) -> None:
    made.add_argument("what", nargs="*", metavar="TYPE NAME... | TYPE/NAME... KEY=VALUE... KEY-...")
    arguments.add_every_namespace(made)
    arguments.add_files(made)
    arguments.add_selectors(made)
    arguments.add_output(made)
    made.add_argument("--all", action="store_true", help="every object of the type")
    made.add_argument("--overwrite", action="store_true", help="replace what has another value")
    made.add_argument("--list", action="store_true", help="show what there is")
    made.add_argument("--resource-version", metavar="VERSION", default="", help="only if it is at this version")
    arguments.add_dry_run(made, field_manager=f"kubectl-{done}")


def run(args: argparse.Namespace, *, field: str, done: str) -> int:
    words, texts = split(args.what)
    changes = parse(texts)
    if not changes and not args.list:
        raise UsageError(f"at least one {field[:-1]} update is required: KEY=VALUE or KEY-")
    dry_run = arguments.dry_run_of(args)
    api = arguments.api_of(args)
    args.what = words
    for each in chosen(api, args):
        obj = api.get(each.path)
        before: Mapping[str, str] = obj["metadata"].get(field) or {}
        if args.list:
            print("".join(f"{key}={value}\n" for key, value in sorted(before.items())), end="")
        if not changes:
            continue
        taken = [key for key, value in changes.items() if value is not None and before.get(key, value) != value]
        if taken and not args.overwrite:
            key = taken[0]
            raise CliError(f"'{key}' already has a value ({before[key]}), and --overwrite is false")
        missing = [key for key, value in changes.items() if value is None and key not in before]
        for key in missing:
            print(f'{field[:-1]} "{key}" not found.', file=sys.stderr)
        changed = {key: value for key, value in changes.items() if before.get(key) != value}
        if changed and dry_run != "client":
            metadata: dict[str, object] = {field: changed}
            if args.resource_version:
                metadata["resourceVersion"] = args.resource_version
            query = {"fieldManager": args.field_manager, "dryRun": "All" if dry_run == "server" else ""}
            obj = api.call("PATCH", each.path, query, body={"metadata": metadata}, content_type=MERGE_PATCH)
        if args.output and args.output != "name":
            sys.stdout.write(Printer(args.output, managed_fields=args.show_managed_fields).text(obj))
        elif args.output == "name":
            print(each.shown)
        else:
            note = {"server": " (server dry run)", "client": " (dry run)"}.get(dry_run, "")
            print(f"{each.shown} {outcome(changed, before, done)}{note}")
    return OK


def outcome(changed: Changes, before: Mapping[str, str], done: str) -> str:
    if not changed:
        return "not " + done if done == "labeled" else done
    if all(value is None and key in before for key, value in changed.items()):
        return "un" + done if done == "labeled" else done
    return done


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is meant, and the changes: everything from the first KEY=VALUE or KEY- on."""
    for index, word in enumerate(words):
        if "=" in word or (word.endswith("-") and len(word) > 1):
            return list(words[:index]), list(words[index:])
    return list(words), []


def parse(texts: Sequence[str]) -> dict[str, str | None]:
    """Raises UsageError."""
    out: dict[str, str | None] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if equals and key:
            new: str | None = value
        elif text.endswith("-") and len(text) > 1:
            key, new = text[:-1], None
        else:
            raise UsageError(f"{text!r} is neither KEY=VALUE nor KEY-")
        if key in out:
            raise UsageError(f"can not both set and remove {key!r}, nor give it twice")
        out[key] = new
    return out
