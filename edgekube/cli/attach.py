"""Attach to the main process of a running container."""

import argparse
import sys

from edgekube.cli import arguments
from edgekube.cli.api import Json, path_of
from edgekube.cli.errors import CliError
from edgekube.cli.pods import PODS, choose_container, one_pod


def configure(made: argparse.ArgumentParser) -> None:
    made.add_argument("what", nargs="*", metavar="POD | TYPE/NAME")
    made.add_argument("-c", "--container", metavar="NAME", default="", help="which container")
    made.add_argument("-i", "--stdin", action="store_true", help="pass standard input on")
    made.add_argument("-t", "--tty", action="store_true", help="with a terminal")
    made.add_argument("-q", "--quiet", action="store_true", help="only the container's own output")


def run(args: argparse.Namespace) -> int:
    from edgekube.cli.remote import converse

    api = arguments.api_of(args)
    pod = one_pod(api, arguments.namespace_of(args), args.what)
    name = pod["metadata"]["name"]
    if (pod.get("status") or {}).get("phase") != "Running":
        raise CliError(f"cannot attach a container in a pod that does not run: {name} is {pod['status'].get('phase')}")
    container = choose_container(pod, args.container, quiet=args.quiet)
    spec = _container(pod, container)
    stdin = args.stdin and bool(spec.get("stdin"))
    tty = args.tty and bool(spec.get("tty"))
    if args.stdin and not spec.get("stdin"):
        print(f"Warning: container {container} takes no standard input (stdin: true is not set)", file=sys.stderr)
    if args.tty and not spec.get("tty"):
        print(f"error: Unable to use a TTY - container {container} did not allocate one", file=sys.stderr)
    if stdin and not args.quiet and arguments.on_terminal(sys.stderr):
        print("If you don't see a command prompt, try pressing enter.", file=sys.stderr)
    query = [("container", container)]
    query += [(flag, "true") for flag in ("stdout", *["stdin"] * stdin, *["tty"] * tty, *["stderr"] * (not tty))]
    return converse(api, path_of(PODS, pod["metadata"]["namespace"], name, "attach"), query, stdin=stdin, tty=tty)


def _container(pod: Json, name: str) -> Json:
    spec = pod["spec"]
    every = [*spec["containers"], *(spec.get("initContainers") or ()), *(spec.get("ephemeralContainers") or ())]
    found: Json = next(each for each in every if each["name"] == name)
    return found
