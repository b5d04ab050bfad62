"""Run a command in a container: edgekube exec [-it] POD [-c NAME] -- COMMAND. Its exit code is ours."""

import argparse
import sys

from edgekube.cli import arguments
from edgekube.cli.api import path_of
from edgekube.cli.errors import UsageError
from edgekube.cli.pods import PODS, choose_container, one_pod

SPLITS_DASHES = True


def configure(made: argparse.ArgumentParser) -> None:
    made.usage = "edgekube exec [-it] (POD | TYPE/NAME) [-c NAME] [-n NS] -- COMMAND [ARG...]"
    made.add_argument("what", nargs="*", metavar="POD | TYPE/NAME")
    made.add_argument("-c", "--container", metavar="NAME", default="", help="which container")
    made.add_argument("-i", "--stdin", action="store_true", help="pass standard input on")
    made.add_argument("-t", "--tty", action="store_true", help="with a terminal")
    made.add_argument("-q", "--quiet", action="store_true", help="only the command's own output")


def run(args: argparse.Namespace) -> int:
    from edgekube.cli.remote import converse

    command = args.after_dashes
    words = args.what
    if command is None:
        words, command = words[:1], words[1:]
    if not command:
        raise UsageError("you must specify at least one command for the container, after --")
    tty = args.tty
    if tty and (not args.stdin or not sys.stdin.isatty()):
        if args.stdin and not args.quiet:
            print("Unable to use a TTY - input is not a terminal or the right kind of file", file=sys.stderr)
        tty = False
    api = arguments.api_of(args)
    pod = one_pod(api, arguments.namespace_of(args), words)
    phase = (pod.get("status") or {}).get("phase")
    if phase in ("Succeeded", "Failed"):
        raise UsageError(f"cannot exec into a container in a completed pod; current phase is {phase}")
    query = [("command", word) for word in command]
    query.append(("container", choose_container(pod, args.container, quiet=args.quiet)))
    query += [(name, "true") for name in ("stdout", *["stdin"] * args.stdin, *["tty"] * tty, *["stderr"] * (not tty))]
    path = path_of(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"], "exec")
    return converse(api, path, query, stdin=args.stdin, tty=tty)
