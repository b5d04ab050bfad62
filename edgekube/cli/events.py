"""List events, oldest first; of one object with --for, as they come with --watch."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from edgekube.cli import arguments, kinds
from edgekube.cli.ages import age
from edgekube.cli.api import Api, Json, path_of
from edgekube.cli.errors import OK, UsageError
from edgekube.cli.output import Printer, as_list
from edgekube.cli.tables import Columns
from edgekube.types.resources import find

EVENTS = find("events")[0]


def configure(made: argparse.ArgumentParser) -> None:
    arguments.add_every_namespace(made)
    made.add_argument("--for", dest="about", metavar="TYPE/NAME", default="", help="of this object only")
    made.add_argument("--types", metavar="TYPES", default="", help="Normal, Warning or both, separated by a comma")
    made.add_argument("-w", "--watch", action="store_true", help="then print them as they come")
    made.add_argument("--no-headers", action="store_true", help="leave the column titles out")
    arguments.add_output(made, "json|yaml")


def run(args: argparse.Namespace) -> int:
    api = arguments.api_of(args)
    namespace = arguments.namespace_of(args)
    types = {each.strip().title() for each in args.types.split(",") if each.strip()}
    if types - {"Normal", "Warning"}:
        raise UsageError("valid --types are Normal or Warning")
    query = {"fieldSelector": _selector(api, args.about)}
    path = path_of(EVENTS, namespace)
    listed = api.list(path, query)
    shown = sorted((each for each in listed.get("items") or () if _wanted(each, types)), key=when)
    if args.output:
        objects = [{"apiVersion": "v1", "kind": "Event", **each} for each in shown]
        sys.stdout.write(Printer(args.output, managed_fields=args.show_managed_fields).text(as_list(objects)))
        return OK
    columns = Columns()
    if shown or args.watch:
        print("\n".join(columns.layout([*_header(args), *(_row(each, not namespace) for each in shown)])), flush=True)
    else:
        print(f"No events found{f' in {namespace} namespace' if namespace else ''}.", file=sys.stderr)
    if args.watch:
        version = (listed.get("metadata") or {}).get("resourceVersion", "")
        while True:
            for event in api.watch(path, {**query, "resourceVersion": version}):
                obj = event["object"]
                version = (obj.get("metadata") or {}).get("resourceVersion") or version
                if event["type"] in ("ADDED", "MODIFIED") and _wanted(obj, types):
                    print("\n".join(columns.layout([_row(obj, not namespace)])), flush=True)
    return OK


def _selector(api: Api, about: str) -> str:
    if not about:
        return ""
    kind, slash, name = about.partition("/")
    if not slash or not name:
        raise UsageError("--for must be in resource/name form")
    return f"involvedObject.kind={kinds.resolve_one(api, kind).kind},involvedObject.name={name}"


def _wanted(event: Json, types: set[str]) -> bool:
    return not types or event.get("type") in types


def _header(args: argparse.Namespace) -> list[list[str]]:
    if args.no_headers:
        return []
    return [["NAMESPACE"] * args.all_namespaces + ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]]


def _row(event: Json, with_namespace: bool) -> list[str]:
    about: dict[str, Any] = event.get("involvedObject") or {}
    return [
        *[event["metadata"].get("namespace", "")] * with_namespace,
        seen(event),
        event.get("type", ""),
        event.get("reason", ""),
        f"{about.get('kind', '')}/{about.get('name', '')}",
        " ".join(str(event.get("message", "")).split()),
    ]


def when(event: Json) -> str:
    """The instant it was last seen, as text that sorts."""
    series: dict[str, Any] = event.get("series") or {}
    return str(
        series.get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp")
        or ""
    )


def count(event: Json) -> int:
    series: dict[str, Any] = event.get("series") or {}
    return int(series.get("count") or event.get("count") or 1)


def seen(event: Json) -> str:
    """`3s`, or `3s (x4 over 2m)`."""
    last = age(when(event))
    first = event.get("firstTimestamp") or event.get("eventTime")
    number = count(event)
    return f"{last} (x{number} over {age(first)})" if number > 1 and first else last


def events_of(api: Api, obj: Json) -> Sequence[Json]:
    """The events about an object, oldest first."""
    metadata = obj["metadata"]
    fields = f"involvedObject.name={metadata['name']},involvedObject.kind={obj.get('kind', '')}"
    if metadata.get("uid"):
        fields += f",involvedObject.uid={metadata['uid']}"
    items = api.list(path_of(EVENTS, metadata.get("namespace", "")), {"fieldSelector": fields}).get("items") or ()
    return sorted(items, key=when)
