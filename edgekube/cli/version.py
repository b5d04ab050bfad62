"""Show the version of this command and of the node."""

import argparse
import json

from edgekube import __version__
from edgekube.cli import arguments
from edgekube.cli.errors import OK, UsageError


def configure(made: argparse.ArgumentParser) -> None:
    made.add_argument("--client", action="store_true", help="this command only")
    made.add_argument("-o", "--output", metavar="FORM", default="", help="json|yaml")


def run(args: argparse.Namespace) -> int:
    told = {"clientVersion": {"gitVersion": f"v{__version__}"}}
    if not args.client:
        told["serverVersion"] = arguments.api_of(args).get("/version")
    if args.output == "json":
        print(json.dumps(told, indent=2))
    elif args.output == "yaml":
        from edgekube.cli.yamltext import dump

        print(dump(told), end="")
    elif args.output:
        raise UsageError("--output must be json or yaml")
    else:
        print(f"Client Version: v{__version__}")
        if "serverVersion" in told:
            print(f"Server Version: {told['serverVersion']['gitVersion']}")
    return OK
