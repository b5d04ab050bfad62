"""Show objects in detail, with their events. Pods, workloads, Services and nodes in a form of their own."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from edgekube.cli import arguments, kinds
from edgekube.cli.ages import local
from edgekube.cli.api import Api, Json, path_of
from edgekube.cli.errors import FAILED, OK, StatusError, describe
from edgekube.cli.events import events_of, seen
from edgekube.cli.selection import Chosen
from edgekube.cli.tables import Columns

# plural: (module, function) that writes the middle of the description
SPECIFIC = {
    "pods": ("describe_pod", "pod"),
    "deployments": ("describe_workload", "deployment"),
    "replicasets": ("describe_workload", "replicaset"),
    "statefulsets": ("describe_workload", "replicaset"),
    "daemonsets": ("describe_workload", "daemonset"),
    "jobs": ("describe_workload", "job"),
    "services": ("describe_service", "service"),
    "nodes": ("describe_node", "node"),
    "secrets": ("describe_service", "secret"),
    "configmaps": ("describe_service", "configmap"),
}
LABEL_WIDTH = 18
HIDDEN_ANNOTATIONS = ("kubectl.kubernetes.io/last-applied-configuration",)


class Writer:
    """Lines of `Name:   value`, indented."""

    def __init__(self, api: Api | None = None) -> None:
        self.lines: list[str] = []
        self.api = api
        self._indent = 0
        self._width = LABEL_WIDTH

    def field(self, name: str, value: Any) -> None:
        text = shown(value)
        self.lines.append(f"{'  ' * self._indent}{name + ':':<{self._width}} {text}".rstrip())

    def title(self, name: str) -> None:
        self.lines.append(f"{'  ' * self._indent}{name}:")

    def many(self, name: str, values: Sequence[str]) -> None:
        """The first beside the name, the others below it."""
        for index, value in enumerate(values or ["<none>"]):
            if not index:
                self.field(name, value)
            else:
                self.lines.append(f"{'  ' * self._indent}{'':<{self._width}} {value}")

    def mapping(self, name: str, values: Mapping[str, Any] | None) -> None:
        self.many(name, [f"{key}={shown(value)}" for key, value in sorted((values or {}).items())])

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        pad = "  " * (self._indent + 1)
        dashes = ["-" * len(cell) for cell in rows[0]]
        self.lines += [pad + line for line in Columns().layout([rows[0], dashes, *rows[1:]])]

    def inside(self) -> "_Inside":
        return _Inside(self)


class _Inside:
    """`with writer.inside():` what is written belongs to the title before."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def __enter__(self) -> None:
        self._writer._indent += 1

    def __exit__(self, *_: object) -> None:
        self._writer._indent -= 1


def shown(value: Any) -> str:
    if value is None or value == "" or value == {} or value == []:
        return "<none>"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def configure(made: argparse.ArgumentParser) -> None:
    made.add_argument("what", nargs="*", metavar="TYPE [NAME...] | TYPE/NAME")
    arguments.add_every_namespace(made)
    arguments.add_files(made)
    arguments.add_selectors(made, fields=False)
    made.add_argument("--show-events", nargs="?", const="true", default="true", help="events too (default: true)")


def run(args: argparse.Namespace) -> int:
    api = arguments.api_of(args)
    failed = False
    texts: list[str] = []
    for each in _objects(api, args):
        try:
            obj = each.obj if each.obj and not args.filename else api.get(each.path)
            texts.append(text_of(api, each, obj, events=str(args.show_events).lower() != "false"))
        except StatusError as error:
            failed = True
            print(describe(error), file=sys.stderr)
    if texts:
        print("\n\n\n".join(texts))
    return FAILED if failed else OK


def _objects(api: Api, args: argparse.Namespace) -> list[Chosen]:
    """As `chosen`, but a type alone stands for all of it, and a name may be the beginning of names."""
    from edgekube.cli.selection import chosen

    if args.filename:
        return chosen(api, args)
    namespace = arguments.namespace_of(args)
    out: list[Chosen] = []
    for target in kinds.targets(api, args.what):
        row = target.resource
        listed = api.list(path_of(row, namespace), {"labelSelector": args.selector})
        items = [{"apiVersion": row.api_version, "kind": row.kind, **item} for item in listed.get("items") or ()]
        for name in target.names or ("",):
            found = [item for item in items if item["metadata"]["name"] == name] if name else items
            found = found or [item for item in items if item["metadata"]["name"].startswith(name)]
            if name and not found:
                api.get(path_of(row, namespace, name))  # the server's words for what is not there
            out += [Chosen(row, i["metadata"].get("namespace") or "", i["metadata"]["name"], i) for i in found]
    if not out:
        where = f" in {namespace} namespace" if namespace else ""
        print(f"No resources found{where}.", file=sys.stderr)
    return out


def text_of(api: Api, each: Chosen, obj: Json, *, events: bool = True) -> str:
    writer = Writer(api)
    metadata = obj["metadata"]
    writer.field("Name", metadata["name"])
    if each.resource.namespaced:
        writer.field("Namespace", metadata.get("namespace"))
    module, name = SPECIFIC.get(each.resource.plural, ("", ""))
    if module and each.resource.group in ("", "apps", "batch"):
        write: Callable[[Writer, Json], None] = getattr(import_module(f"edgekube.cli.{module}"), name)
        write(writer, obj)
    else:
        _generic(writer, obj)
    if events:
        _events(writer, api, obj)
    return "\n".join(writer.lines)


def head(writer: Writer, obj: Json) -> None:
    """Labels and annotations, as nearly every kind shows them."""
    metadata = obj["metadata"]
    writer.mapping("Labels", metadata.get("labels"))
    kept = {k: v for k, v in (metadata.get("annotations") or {}).items() if k not in HIDDEN_ANNOTATIONS}
    writer.mapping("Annotations", kept)


def _generic(writer: Writer, obj: Json) -> None:
    head(writer, obj)
    writer.field("API Version", obj.get("apiVersion"))
    writer.field("Kind", obj.get("kind"))
    writer.title("Metadata")
    hidden = ("managedFields", "labels", "annotations", "name", "namespace")
    with writer.inside():
        _tree(writer, {key: value for key, value in obj["metadata"].items() if key not in hidden})
    _tree(writer, {k: v for k, v in obj.items() if k not in ("metadata", "apiVersion", "kind")})


def _tree(writer: Writer, value: Mapping[str, Any]) -> None:
    """`Spec:` with `Some Field:  value` below it."""
    for key, each in value.items():
        name = _words(key)
        if isinstance(each, dict) and each:
            writer.title(name)
            with writer.inside():
                _tree(writer, each)
        elif isinstance(each, list) and each and isinstance(each[0], dict):
            writer.title(name)
            with writer.inside():
                for item in each:
                    _tree(writer, item if isinstance(item, dict) else {key: item})
        elif isinstance(each, list):
            writer.many(name, [shown(item) for item in each])
        else:
            writer.field(name, each)


def _words(name: str) -> str:
    """`creationTimestamp` -> `Creation Timestamp`."""
    out = ""
    for index, letter in enumerate(name):
        if letter.isupper() and index and not name[index - 1].isupper():
            out += " "
        out += letter
    return out[:1].upper() + out[1:]


def _events(writer: Writer, api: Api, obj: Json) -> None:
    found = events_of(api, obj)
    if not found:
        writer.field("Events", None)
        return
    writer.title("Events")
    rows = [["Type", "Reason", "Age", "From", "Message"]]
    for event in found:
        source = event.get("reportingComponent") or (event.get("source") or {}).get("component") or ""
        message = " ".join(str(event.get("message", "")).split())
        rows.append([event.get("type", ""), event.get("reason", ""), seen(event), source, message])
    writer.table(rows)


def conditions(writer: Writer, obj: Json, *, reasons: bool = True) -> None:
    found = (obj.get("status") or {}).get("conditions") or ()
    if not found:
        return
    writer.title("Conditions")
    rows = [["Type", "Status", *["Reason"] * reasons]]
    rows += [[each["type"], each["status"], *[each.get("reason") or ""] * reasons] for each in found]
    writer.table(rows)


def started(writer: Writer, obj: Json) -> None:
    writer.field("CreationTimestamp", local(obj["metadata"].get("creationTimestamp")))


def controlled_by(writer: Writer, obj: Json) -> None:
    for owner in obj["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            writer.field("Controlled By", f"{owner['kind']}/{owner['name']}")
