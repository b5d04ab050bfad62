"""Create objects: -f FILE, or by a generator: namespace, configmap, secret, deployment, service, serviceaccount, job...

edgekube create deployment web --image=nginx --replicas=3 --port=80
edgekube create configmap settings --from-literal=mode=fast --from-file=app.conf
edgekube create secret generic keys --from-file=key.pem
"""

import argparse
import sys

from edgekube.cli import arguments, kinds
from edgekube.cli.api import Api, Json, path_of
from edgekube.cli.errors import FAILED, OK, CliError, StatusError, UsageError, describe, during
from edgekube.cli.generators import GENERATORS, Generator
from edgekube.cli.manifests import Manifest, read
from edgekube.cli.output import Printer

SPLITS_DASHES = True


def configure(made: argparse.ArgumentParser) -> None:
    actions = made.add_subparsers(dest="generator", metavar="KIND", required=False)
    _common(made)
    for name, generator in GENERATORS.items():
        _add(actions, name, generator)


def _add(actions: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, generator: Generator) -> None:
    short = generator.short
    sub = actions.add_parser(name, aliases=[short] * bool(short), help=generator.help)
    for flags, options in generator.options:
        sub.add_argument(*flags, **options)
    _common(sub, nested=True)
    sub.set_defaults(make=generator.make)


def _common(made: argparse.ArgumentParser, *, nested: bool = False) -> None:
    if nested:  # what was given before the kind stays unless given again after it
        made.argument_default = argparse.SUPPRESS
    made.add_argument(
        "-o", "--output", metavar="FORM", help="json|yaml|name|...", default=argparse.SUPPRESS if nested else ""
    )
    made.add_argument("--show-managed-fields", action="store_true", help=argparse.SUPPRESS)
    made.add_argument(
        "--dry-run",
        nargs="?",
        const="unspecified",
        choices=["none", "client", "server", "unspecified"],
        default=argparse.SUPPRESS if nested else "none",
        help="only print it (client), or only check it (server)",
    )
    if not nested:
        arguments.add_files(made)
        arguments.add_selectors(made, fields=False)
        made.add_argument("--save-config", action="store_true", help="so that `apply` can follow")
        made.add_argument("--field-manager", metavar="NAME", default="kubectl-create", help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    dry_run = arguments.dry_run_of(args)
    if args.generator:
        if args.filename:
            raise UsageError("give -f or a kind, not both")
        obj: Json = args.make(args)
        return _all(args, [Manifest("options", obj)], dry_run)
    if not args.filename:
        raise UsageError("give -f FILE, or a kind to create: " + ", ".join(GENERATORS))
    return _all(args, read(args.filename, recursive=args.recursive), dry_run)


def _all(args: argparse.Namespace, manifests: list[Manifest], dry_run: str) -> int:
    api = arguments.api_of(args)
    failed = False
    for manifest in manifests:
        try:
            _one(api, args, manifest, dry_run)
        except CliError as error:
            failed = True
            sys.stdout.flush()
            print(describe(error), file=sys.stderr)
    return FAILED if failed else OK


def _one(api: Api, args: argparse.Namespace, manifest: Manifest, dry_run: str) -> None:
    obj = manifest.obj
    resource = kinds.resource_of(api, obj)
    namespace = ""
    if resource.namespaced:
        given = obj["metadata"].get("namespace")
        if given and args.namespace and given != args.namespace:
            raise UsageError(
                f'the namespace from the provided object "{given}" does not match the namespace "{args.namespace}"'
            )
        namespace = given or arguments.namespace_of(args)
        if dry_run != "client" or args.namespace:
            obj["metadata"]["namespace"] = namespace
    if args.save_config:
        from edgekube.cli.apply import with_annotation

        obj = with_annotation(obj)
    if dry_run != "client":
        query = {"fieldManager": args.field_manager, "dryRun": "All" if dry_run == "server" else ""}
        query["fieldValidation"] = "Strict"
        try:
            obj = api.call("POST", path_of(resource, namespace), query, body=obj)
        except StatusError as error:
            if manifest.source == "options":
                raise StatusError(
                    {**error.status, "message": error.message}, doing=f"failed to create {resource.singular}"
                ) from None
            raise during(error, f'error when creating "{manifest.source}"') from None
    if args.output and args.output != "name":
        text = Printer(args.output, managed_fields=args.show_managed_fields).text(obj)
        sys.stdout.write("---\n" * (args.output == "yaml" and manifest.source != "options") + text)
        return
    shown = kinds.printed_name(resource, obj["metadata"].get("name") or "")
    note = {"server": " (server dry run)", "client": " (dry run)"}.get(dry_run, "")
    print(shown if args.output == "name" else f"{shown} created{note}")
