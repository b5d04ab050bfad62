"""Make objects as a manifest says: create what is missing, change what differs, delete what is no longer wanted in it.

Like kubectl's, it remembers what was applied in an annotation, so that the two can be mixed. With --server-side the
server merges instead.
"""

import argparse
import json
import sys
from typing import Any

from edgekube.cli import arguments, kinds
from edgekube.cli.api import APPLY_PATCH, MERGE_PATCH, STRATEGIC_PATCH, Api, Json, path_of
from edgekube.cli.errors import FAILED, OK, CliError, StatusError, UsageError, describe, during
from edgekube.cli.manifests import Manifest, read
from edgekube.cli.merge import strategic, three_way
from edgekube.cli.output import Printer, as_list
from edgekube.types.resources import Resource

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
CLIENT_MANAGER = "kubectl-client-side-apply"
SERVER_MANAGER = "kubectl"
CONFLICTS_MAX = 5  # tries when somebody else writes in between
HTTP_CONFLICT = 409
_GO_ESCAPES = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"}  # encoding/json's HTML safety


def configure(made: argparse.ArgumentParser) -> None:
    arguments.add_files(made, required=True)
    arguments.add_selectors(made, fields=False)
    arguments.add_output(made)
    arguments.add_dry_run(made, field_manager="")
    made.add_argument("--server-side", action="store_true", help="the server merges, by the owners of fields")
    made.add_argument("--force-conflicts", action="store_true", help="with --server-side: take fields others own")
    made.add_argument("--overwrite", nargs="?", const=True, help=argparse.SUPPRESS)
    made.add_argument(
        "--validate",
        nargs="?",
        const="strict",
        default="strict",
        help="what to do about unknown fields: strict (refuse), warn, ignore",
    )


def run(args: argparse.Namespace) -> int:
    api = arguments.api_of(args)
    if args.force_conflicts and not args.server_side:
        raise UsageError("--force-conflicts only works with --server-side")
    if args.dry_run == "unspecified":
        arguments.dry_run_of(args)
    manifests = read(args.filename, recursive=args.recursive)
    if args.selector:
        manifests = [each for each in manifests if _selected(each.obj, args.selector)]
    applier = _Applier(api, args)
    failed = False
    done: list[Json] = []
    for manifest in manifests:
        try:
            done.append(applier.apply(manifest))
        except CliError as error:
            failed = True
            sys.stdout.flush()
            print(describe(error), file=sys.stderr)
    if args.output and args.output != "name" and done:
        printer = Printer(args.output, managed_fields=args.show_managed_fields)
        sys.stdout.write(printer.text(done[0] if len(manifests) == 1 else as_list(done)))
    return FAILED if failed else OK


def _selected(obj: Json, selector: str) -> bool:
    from edgekube.types.selectors import SelectorError, parse

    try:
        return bool(parse(selector).matches((obj.get("metadata") or {}).get("labels") or {}))
    except SelectorError as error:
        raise UsageError(str(error)) from None


class _Applier:
    def __init__(self, api: Api, args: argparse.Namespace) -> None:
        self._api = api
        self._args = args
        self._dry_run = str(args.dry_run)
        validation = {"true": "Strict", "strict": "Strict", "warn": "Warn", "false": "Ignore", "ignore": "Ignore"}
        if str(args.validate) not in validation:
            raise UsageError("--validate is strict, warn or ignore")
        self._query = {
            "fieldValidation": validation[str(args.validate)],
            "dryRun": "All" if self._dry_run == "server" else "",
        }

    def apply(self, manifest: Manifest) -> Json:
        """One object. Raises CliError."""
        obj = manifest.obj
        resource = kinds.resource_of(self._api, obj)
        name = str(obj["metadata"].get("name") or "")
        if not name:
            raise UsageError(
                f'error when applying "{manifest.source}": a {obj["kind"]} without a name cannot be applied '
                "(generateName needs `create`)"
            )
        namespace = ""
        if resource.namespaced:
            given = obj["metadata"].get("namespace")
            if given and self._args.namespace and given != self._args.namespace:
                raise UsageError(
                    f'the namespace from the provided object "{given}" does not match the namespace '
                    f"\"{self._args.namespace}\". You must pass '--namespace={given}' to perform this operation."
                )
            namespace = given or arguments.namespace_of(self._args)
            obj["metadata"]["namespace"] = namespace
        try:
            if self._args.server_side:
                outcome, result = "serverside-applied", self._server_side(resource, namespace, name, obj)
            else:
                outcome, result = self._client_side(resource, namespace, name, obj)
        except StatusError as error:
            if self._args.server_side and error.http_code == HTTP_CONFLICT:
                raise CliError(_conflict_help(error)) from None
            if error.reason == "Invalid":
                raise
            raise during(error, f'error when applying "{manifest.source}"') from None
        self._report(resource, name, outcome)
        return result

    def _report(self, resource: Resource, name: str, outcome: str) -> None:
        if self._args.output == "name":
            print(kinds.printed_name(resource, name))
        elif not self._args.output:
            note = {"server": " (server dry run)", "client": " (dry run)"}.get(self._dry_run, "")
            print(f"{kinds.printed_name(resource, name)} {outcome}{note}")

    def _server_side(self, resource: Resource, namespace: str, name: str, obj: Json) -> Json:
        if self._dry_run == "client":
            raise UsageError("--dry-run=client does not work with --server-side: use --dry-run=server")
        query = {
            **self._query,
            "fieldManager": self._args.field_manager or SERVER_MANAGER,
            "force": "true" if self._args.force_conflicts else "false",
        }
        path = path_of(resource, namespace, name)
        done: Json = self._api.call("PATCH", path, query, body=obj, content_type=APPLY_PATCH)
        return done

    def _client_side(self, resource: Resource, namespace: str, name: str, obj: Json) -> tuple[str, Json]:
        wanted = with_annotation(obj)
        query = {**self._query, "fieldManager": self._args.field_manager or CLIENT_MANAGER}
        path = path_of(resource, namespace, name)
        for attempt in range(1, CONFLICTS_MAX + 1):
            current = self._api.find(path)
            try:
                if current is None:
                    if self._dry_run == "client":
                        return "created", wanted
                    return "created", self._api.call("POST", path_of(resource, namespace), query, body=wanted)
                return self._change(resource, path, query, wanted, current)
            except StatusError as error:
                if error.http_code != HTTP_CONFLICT or attempt == CONFLICTS_MAX:
                    raise
        raise AssertionError("unreachable")

    def _change(
        self, resource: Resource, path: str, query: dict[str, str], wanted: Json, current: Json
    ) -> tuple[str, Json]:
        annotation = ((current.get("metadata") or {}).get("annotations") or {}).get(LAST_APPLIED)
        if annotation is None:
            print(
                f"Warning: resource {resource.plural}/{wanted['metadata']['name']} is missing the {LAST_APPLIED} "
                "annotation which apply requires. It will be patched automatically.",
                file=sys.stderr,
            )
        original = _original(annotation)
        patch, content_type = patch_for(resource, original, wanted, current)
        if not patch:
            return "unchanged", current
        if self._dry_run == "client":
            return "configured", wanted
        done = self._api.call("PATCH", path, query, body=patch, content_type=content_type)
        return "configured", done


def patch_for(resource: Resource, original: Json, wanted: Json, current: Json) -> tuple[Json, str]:
    """The patch and its content type."""
    if not kinds.built_in(resource):
        return three_way(original, wanted, current), MERGE_PATCH
    from edgekube.cli.shapes import shape_of

    shape = shape_of(resource.group, resource.version, resource.kind)
    return strategic(original, wanted, current, shape), STRATEGIC_PATCH


def with_annotation(obj: Json) -> Json:
    """The object with what is being applied written into it, as kubectl writes it."""
    metadata = dict(obj["metadata"])
    kept = {k: v for k, v in (metadata.get("annotations") or {}).items() if k != LAST_APPLIED}
    # kubectl writes an (empty) annotations map into what it remembers.
    plain = {**obj, "metadata": {**metadata, "annotations": kept}}
    text = json.dumps(plain, separators=(",", ":"), sort_keys=True, ensure_ascii=False).translate(_GO_ESCAPES) + "\n"
    return {**obj, "metadata": {**metadata, "annotations": {**kept, LAST_APPLIED: text}}}


def _original(annotation: Any) -> Json:
    if not annotation:
        return {}
    try:
        value = json.loads(annotation)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _conflict_help(error: StatusError) -> str:
    return (
        f"{error.message}\nPlease review the fields above--they currently have other managers. Take them over with "
        "--force-conflicts, or leave them out of the manifest."
    )
