"""Wait for a condition: --for=condition=Ready[=Value], delete, create, or jsonpath='{.status.phase}'=Running."""

import argparse
from collections.abc import Callable
from typing import Any

from edgekube.cli import arguments
from edgekube.cli.api import Api, Json
from edgekube.cli.errors import OK, CliError, UsageError
from edgekube.cli.selection import Chosen, chosen
from edgekube.cli.waiting import deadline_in, follow

Check = Callable[[Json | None], bool]
FOREVER_SECONDS = 7 * 24 * 3600.0  # what kubectl means by a negative timeout
AT_ONCE_SECONDS = 0.001


def configure(made: argparse.ArgumentParser) -> None:
    made.add_argument("what", nargs="*", metavar="TYPE NAME... | TYPE/NAME")
    arguments.add_every_namespace(made)
    arguments.add_files(made)
    arguments.add_selectors(made)
    made.add_argument("--all", action="store_true", help="every object of the type")
    made.add_argument("--for", dest="condition", metavar="WHAT", required=True, help="what to wait for")
    made.add_argument("--timeout", metavar="TIME", default="30s", help="give up after this long (default: 30s)")
    made.add_argument("-o", "--output", choices=["", "name"], default="", help="name")


def run(args: argparse.Namespace) -> int:
    api = arguments.api_of(args)
    check = check_of(args.condition)
    limit = arguments.seconds(args.timeout)
    deadline = deadline_in(FOREVER_SECONDS if limit < 0 else limit or AT_ONCE_SECONDS)
    found = _chosen(api, args)
    if not found:
        if args.condition == "delete":
            return OK
        raise CliError("no matching resources found")
    for each in found:
        _wait(api, each, check, deadline, args.condition)
        met = {"delete": "deleted", "create": "condition met"}.get(args.condition, "condition met")
        print(each.shown if args.output == "name" else f"{each.shown} {met}", flush=True)
    return OK


def _chosen(api: Api, args: argparse.Namespace) -> list[Chosen]:
    if args.condition == "delete":
        return [each for each in chosen(api, args) if api.find(each.path) is not None]
    return chosen(api, args)


def _wait(api: Api, each: Chosen, check: Check, deadline: float | None, condition: str) -> None:
    if condition not in ("delete", "create"):
        api.get(each.path)  # says what is wrong when there is none
    for obj in follow(api, each.resource, each.namespace, each.name, deadline):
        if check(obj):
            return
        if obj is None and condition != "create":
            raise CliError(f"{each.shown} was deleted while it was waited for")
    raise CliError(f"timed out waiting for the condition on {each.resource.plural}/{each.name}")


def check_of(text: str) -> Check:
    """What `--for` means. Raises UsageError."""
    if text.lower() == "delete":
        return lambda obj: obj is None
    if text.lower() == "create":
        return lambda obj: obj is not None
    kind, _, rest = text.partition("=")
    if kind == "condition" and rest:
        name, _, value = rest.partition("=")
        return _condition(name.lower(), (value or "true").lower())
    if kind == "jsonpath" and rest:
        return _jsonpath(rest)
    raise UsageError(
        f'unrecognized condition: "{text}"; write condition=Ready, delete, create or jsonpath={{.a}}=value'
    )


def _condition(name: str, value: str) -> Check:
    def holds(obj: Json | None) -> bool:
        if obj is None:
            return False
        generation = obj["metadata"].get("generation")
        for each in (obj.get("status") or {}).get("conditions") or ():
            if str(each.get("type", "")).lower() == name:
                # A condition that was seen on an older spec says nothing about this one.
                if each.get("observedGeneration") and generation and each["observedGeneration"] < generation:
                    return False
                return str(each.get("status", "")).lower() == value
        return False

    return holds


def _jsonpath(text: str) -> Check:
    from edgekube.cli.jsonpath import printed, relaxed

    end = text.rfind("}")
    path, equals, value = (
        (text[: end + 1], text[end + 1 : end + 2], text[end + 2 :]) if end >= 0 else text.partition("=")
    )
    if end >= 0 and text[end + 1 :] and equals != "=":
        raise UsageError(f"jsonpath wait format must be --for=jsonpath='{{.field}}'=value, not {text!r}")
    template = relaxed(path)
    wanted = value.strip("'\"")

    def holds(obj: Json | None) -> bool:
        found: list[Any] = [] if obj is None else template.find(obj)
        if not equals:
            return bool(found)
        return bool(found) and all(printed(each) == wanted for each in found)

    return holds
