"""Show objects: one, several, or all of a type. `--raw PATH` shows what the server answers to a path."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from edgekube.cli import arguments, kinds
from edgekube.cli.api import JSON, TABLE, Api, Json, path_of
from edgekube.cli.errors import FAILED, OK, CliError, StatusError, UsageError, describe
from edgekube.cli.kinds import Target
from edgekube.cli.output import Printer, as_list, items_of
from edgekube.cli.tables import TablePrinter, as_table, is_table

WATCH_GONE = 410


def configure(made: argparse.ArgumentParser) -> None:
    made.add_argument("what", nargs="*", metavar="TYPE [NAME...] | TYPE/NAME", help="such as pods, deploy/web, svc,ep")
    arguments.add_every_namespace(made)
    arguments.add_selectors(made)
    arguments.add_files(made)
    arguments.add_output(made, "json|yaml|wide|name|jsonpath=...|jsonpath-file=...|custom-columns=...")
    made.add_argument("--no-headers", action="store_true", help="leave the column titles out")
    made.add_argument("--show-labels", action="store_true", help="a column with all labels")
    made.add_argument("-L", "--label-columns", metavar="LABEL", action="append", default=[], help="a label's column")
    made.add_argument("--show-kind", action="store_true", help="names with their type")
    made.add_argument("--sort-by", metavar="PATH", default="", help="JSONPath of the field to sort by, .metadata.name")
    made.add_argument("-w", "--watch", action="store_true", help="then print every change")
    made.add_argument("--watch-only", action="store_true", help="print changes only")
    made.add_argument("--output-watch-events", action="store_true", help="with --watch, what happened to each object")
    made.add_argument("--ignore-not-found", action="store_true", help="an object that is not there is no error")
    made.add_argument("--chunk-size", metavar="N", default="", help=argparse.SUPPRESS)
    made.add_argument("--subresource", metavar="NAME", default="", help="such as status or scale")
    made.add_argument("--raw", metavar="PATH", default="", help="the plain answer to a path, such as /readyz")


def run(args: argparse.Namespace) -> int:
    api = arguments.api_of(args)
    if args.raw:
        if args.what or args.filename:
            raise UsageError("--raw stands alone: it takes neither types nor files")
        return _raw(api, args.raw)
    return _Get(api, args).run()


def _raw(api: Api, path: str) -> int:
    if not path.startswith("/"):
        raise UsageError("--raw takes a path that begins with /")
    for chunk in api.stream("GET", path, accept="*/*").chunks():
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
    return OK


class _Get:
    def __init__(self, api: Api, args: argparse.Namespace) -> None:
        self.api = api
        self.args = args
        self.namespace = arguments.namespace_of(args)
        self.tabular = args.output in ("", "wide")
        self.printer = (
            None
            if self.tabular
            else Printer(
                args.output,
                headers=not args.no_headers,
                managed_fields=args.show_managed_fields,
                name_of=self._name_of,
            )
        )
        self.by_name = bool(args.filename)
        self.category = False

    def run(self) -> int:
        targets = self._targets()
        for target in targets:
            if target.names and target.resource.namespaced and self.args.all_namespaces:
                raise UsageError("a resource cannot be retrieved by name across all namespaces")
            if target.names and (self.args.selector or self.args.field_selector):
                raise UsageError("selectors and names do not go together")
        if self.args.watch or self.args.watch_only:
            return self._watch(targets)
        return self._tables(targets) if self.tabular else self._objects(targets)

    def _targets(self) -> list[Target]:
        if not self.args.filename:
            found = kinds.targets(self.api, self.args.what)
            words = self.args.what[0].split(",") if len(self.args.what) == 1 and "/" not in self.args.what[0] else []
            self.category = len(found) > len(words) > 0
            return found
        if self.args.what:
            raise UsageError("name objects or give -f, not both")
        from edgekube.cli.manifests import read

        out = []
        for manifest in read(self.args.filename, recursive=self.args.recursive):
            metadata = manifest.obj["metadata"]
            self.namespace = metadata.get("namespace") or self.namespace
            out.append(Target(kinds.resource_of(self.api, manifest.obj), (str(metadata.get("name", "")),)))
        return out

    def _name_of(self, obj: Json) -> str:
        row = kinds.resource_of(self.api, obj)
        return kinds.printed_name(row, str((obj.get("metadata") or {}).get("name", "")))

    def _query(self) -> dict[str, str]:
        return {"labelSelector": self.args.selector, "fieldSelector": self.args.field_selector}

    def _answers(self, targets: Sequence[Target], accept: str, query: dict[str, str]) -> Iterator[tuple[Target, Json]]:
        """What the server has for each target; what is not there is told on stderr and counted in `failures`."""
        self.failures: list[CliError] = []
        for target in targets:
            if not target.names:
                try:
                    path = path_of(target.resource, self.namespace)
                    yield target, self.api.list(path, {**self._query(), **query}, accept=accept)
                except StatusError as error:
                    if not (self.category and error.http_code == 404):
                        self.failures.append(error)
                continue
            for name in target.names:
                path = path_of(target.resource, self.namespace, name, self.args.subresource)
                try:
                    yield target, self.api.get(path, query, accept=accept)
                except StatusError as error:
                    if not (self.args.ignore_not_found and error.http_code == 404 and error.names_object):
                        self.failures.append(error)

    def _complain(self) -> int:
        sys.stdout.flush()
        for error in self.failures:
            print(describe(error), file=sys.stderr)
        return FAILED if self.failures else OK

    # -- whole objects ----------------------------------------------------------------------------------------------

    def _objects(self, targets: Sequence[Target]) -> int:
        assert self.printer is not None
        single = len(targets) == 1 and len(targets[0].names) == 1
        items: list[Json] = []
        for _, answer in self._answers(targets, JSON, {}):
            if single:
                sys.stdout.write(self.printer.text(answer))
                return OK
            items += _items(answer)
        if single:
            return self._complain()
        if self.args.sort_by:
            items = _sorted(items, self.args.sort_by)
        if items or not self.args.output.startswith("name"):
            sys.stdout.write(self.printer.text(as_list(items)))
        if not items and not self.failures and self.args.output == "name":
            self._say_none()
        return self._complain()

    # -- tables -----------------------------------------------------------------------------------------------------

    def _tables(self, targets: Sequence[Target]) -> int:
        several = len(targets) > 1 or self.args.show_kind
        query = {"includeObject": "Object"} if self.args.sort_by else {}
        shown = False
        printer: TablePrinter | None = None
        last: Any = None
        for target, answer in self._answers(targets, TABLE, query):
            table = answer if is_table(answer) else as_table(_items(answer))
            if self.args.sort_by:
                table["rows"] = _sorted(table.get("rows") or [], self.args.sort_by, lambda row: row["object"])
            if not table.get("rows"):
                continue
            if printer is None or last != target.resource:
                if shown:
                    print()
                printer = self._table_printer(target, prefix=several)
            else:
                table["columnDefinitions"] = []
            last, shown = target.resource, True
            print("\n".join(printer.lines(table)))
        if not shown and not self.failures and not self.args.ignore_not_found:
            self._say_none()
        return self._complain()

    def _table_printer(self, target: Target, *, prefix: bool, events: bool = False) -> TablePrinter:
        return TablePrinter(
            wide=self.args.output == "wide",
            headers=not self.args.no_headers,
            namespaces=self.args.all_namespaces and target.resource.namespaced,
            prefix=kinds.printed_name(target.resource, "").rstrip("/") if prefix else "",
            show_labels=self.args.show_labels,
            label_columns=[each for text in self.args.label_columns for each in text.split(",")],
            event_column=events,
        )

    def _say_none(self) -> None:
        where = f" in {self.namespace} namespace" if self.namespace else ""
        print(f"No resources found{where}.", file=sys.stderr)

    # -- watch ------------------------------------------------------------------------------------------------------

    def _watch(self, targets: Sequence[Target]) -> int:
        if len(targets) != 1 or len(targets[0].names) > 1:
            raise UsageError("you may only specify a single resource type when watching")
        target = targets[0]
        query = self._query()
        if target.names:
            query["fieldSelector"] = f"metadata.name={target.names[0]}"
        accept = TABLE if self.tabular else JSON
        path = path_of(target.resource, self.namespace)
        show = self._watch_printer(target)
        version = ""
        while True:
            if not version:
                listed = self.api.list(path, query, accept=accept)
                version = (listed.get("metadata") or {}).get("resourceVersion", "")
                if target.names and not _has_items(listed) and not self.args.ignore_not_found:
                    self.api.get(path_of(target.resource, self.namespace, target.names[0]))
                if not self.args.watch_only:
                    show("ADDED", listed)
            try:
                for event in self.api.watch(path, {**query, "resourceVersion": version}, accept=accept):
                    version = _version(event["object"]) or version
                    if event["type"] != "BOOKMARK":
                        show(event["type"], event["object"])
            except StatusError as error:
                if error.http_code != WATCH_GONE:
                    raise
                version = ""  # history is gone: list again

    def _watch_printer(self, target: Target) -> Callable[[str, Json], None]:
        events = self.args.output_watch_events
        if self.printer is None:
            tables = self._table_printer(target, prefix=self.args.show_kind, events=events)
            started = False

            def show_table(kind: str, answer: Json) -> None:
                nonlocal started
                table = answer if is_table(answer) else as_table(_items(answer))
                if started:
                    table["columnDefinitions"] = []
                if table.get("rows"):
                    started = True
                    print("\n".join(tables.lines(table, event=kind)), flush=True)

            return show_table
        printer = self.printer
        newline = self.args.output.startswith("jsonpath")

        def show(kind: str, answer: Json) -> None:
            for each in _items(answer):
                obj = {"type": kind, "object": each} if events and self.args.output in ("json", "yaml") else each
                text = "---\n" * (self.args.output == "yaml") + printer.text(obj) + "\n" * newline
                sys.stdout.write(text)
            sys.stdout.flush()

        return show


def _items(answer: Json) -> list[Json]:
    """The objects of an answer, each with apiVersion and kind, which lists leave out of their items."""
    items = items_of(answer)
    if items and items[0] is answer:
        return items
    kind, version = str(answer.get("kind", "")).removesuffix("List"), answer.get("apiVersion", "")
    return [{"apiVersion": version, "kind": kind, **item} for item in items]


def _has_items(listed: Json) -> bool:
    return bool(listed.get("rows") or listed.get("items"))


def _version(obj: Json) -> str:
    if obj.get("kind") == "Table":
        rows = obj.get("rows") or [{}]
        found = ((rows[-1].get("object") or {}).get("metadata") or {}).get("resourceVersion")
        return str(found or (obj.get("metadata") or {}).get("resourceVersion") or "")
    return str((obj.get("metadata") or {}).get("resourceVersion") or "")


def _sorted(items: Sequence[Json], path: str, obj: Callable[[Json], Json] = lambda each: each) -> list[Json]:
    """By the field's value: numbers and quantities by size, text by letters, what has none first."""
    from edgekube.cli.sorting import sort_key

    return sorted(items, key=sort_key(path, obj))
