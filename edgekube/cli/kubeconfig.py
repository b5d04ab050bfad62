"""Print an admin kubeconfig for kubectl, helm and the rest. It holds a key: whoever has it rules the cluster."""

import argparse
import sys

from edgekube.cli import arguments
from edgekube.cli.errors import OK


def configure(made: argparse.ArgumentParser) -> None:
    made.add_argument("--server", metavar="URL", default="", help="address to write into it (default: the node's own)")


def run(args: argparse.Namespace) -> int:
    text = arguments.api_of(args).text("GET", "/edgekube/kubeconfig", {"server": args.server}, accept="*/*")
    sys.stdout.write(text.decode())
    return OK
