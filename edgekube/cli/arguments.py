"""Options that several verbs share, named and meant as kubectl names and means them."""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from typing import Any

from edgekube.cli.api import REQUEST_SECONDS, Api
from edgekube.cli.errors import UsageError

DEFAULT_NAMESPACE = "default"


class Formatter(argparse.RawDescriptionHelpFormatter):
    """A width of its own: asking shutil for it costs 5 ms of CPU, and argparse makes a formatter for every option."""

    def __init__(self, prog: str) -> None:
        try:
            width = os.get_terminal_size().columns - 2
        except (OSError, ValueError):
            width = 118
        super().__init__(prog, max_help_position=32, width=min(width, 118))


class Parser(argparse.ArgumentParser):
    """Ours, also for the actions of a verb: what every verb understands may stand before the action or after it."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**{"formatter_class": Formatter, "allow_abbrev": False, **more})
        for flags, metavar, help_ in (
            (("-n", "--namespace"), "NS", "namespace (default: default)"),
            (("--socket",), "PATH", "the node's socket (or EDGEKUBE_SOCKET)"),
            (("--request-timeout",), "TIME", "longest wait for one answer, such as 30s"),
        ):
            self.add_argument(*flags, metavar=metavar, help=help_, default=argparse.SUPPRESS)


def parser(verb: str, description: str) -> Parser:
    """The parser of one verb."""
    made = Parser(prog=f"edgekube {verb}", description=description)
    made.set_defaults(namespace="", socket="", request_timeout="")
    return made


def add_every_namespace(made: argparse.ArgumentParser) -> None:
    made.add_argument("-A", "--all-namespaces", action="store_true", help="every namespace")


def add_files(made: argparse.ArgumentParser, *, required: bool = False) -> None:
    made.add_argument(
        "-f",
        "--filename",
        metavar="FILE",
        action="append",
        default=[],
        required=required,
        help="manifest: a file, a folder, or - for standard input; may be repeated",
    )
    made.add_argument("-R", "--recursive", action="store_true", help="go into the folders of a folder")


def add_selectors(made: argparse.ArgumentParser, *, fields: bool = True) -> None:
    made.add_argument("-l", "--selector", metavar="LABELS", default="", help="label selector, such as app=web,tier!=db")
    if fields:
        made.add_argument("--field-selector", metavar="FIELDS", default="", help="such as status.phase=Running")


def add_output(made: argparse.ArgumentParser, forms: str = "json|yaml|name|jsonpath=...") -> None:
    made.add_argument("-o", "--output", metavar="FORM", default="", help=forms)
    made.add_argument("--show-managed-fields", action="store_true", help="keep managedFields in json and yaml")


def add_dry_run(made: argparse.ArgumentParser, *, field_manager: str) -> None:
    made.add_argument(
        "--dry-run",
        nargs="?",
        const="unspecified",
        default="none",
        choices=["none", "client", "server", "unspecified"],
        help="only print what would be sent (client), or have the server check it without storing it (server)",
    )
    made.add_argument("--field-manager", metavar="NAME", default=field_manager, help="owner of the fields set")


def api_of(args: argparse.Namespace) -> Api:
    timeout = REQUEST_SECONDS
    if args.request_timeout and args.request_timeout != "0":
        timeout = seconds(args.request_timeout)
    return Api(args.socket, timeout=timeout)


def namespace_of(args: argparse.Namespace) -> str:
    """The namespace chosen; "" for all of them."""
    if getattr(args, "all_namespaces", False):
        return ""
    return args.namespace or DEFAULT_NAMESPACE


def dry_run_of(args: argparse.Namespace) -> str:
    """`none`, `client` or `server`. Raises UsageError for a bare --dry-run."""
    if args.dry_run == "unspecified":
        raise UsageError("--dry-run must be none, server or client, such as --dry-run=server")
    return str(args.dry_run)


_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


def seconds(text: str) -> float:
    """Go's durations (`1h30m`, `500ms`, `-1s`) and plain seconds. Raises UsageError."""
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text)
    try:
        return sign * float(rest)
    except ValueError:
        pass
    total, position = 0.0, 0
    while position < len(rest):
        match = _PART.match(rest, position)
        if match is None:
            break
        total += float(match[1]) * _UNITS[match[2]]
        position = match.end()
    if not rest or position < len(rest):
        raise UsageError(f"{text!r} is no duration: write it as 30s, 5m or 1h30m")
    return sign * total


def split_at_dashes(words: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """Words before and after `--`; None when there is no `--`."""
    if "--" not in words:
        return list(words), None
    at = list(words).index("--")
    return list(words[:at]), list(words[at + 1 :])


def on_terminal(stream: Any = None) -> bool:
    """Whether a person watches."""
    stream = sys.stdout if stream is None else stream
    try:
        return bool(stream.isatty())
    except ValueError:
        return False
