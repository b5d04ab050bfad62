"""List the resource types the node serves."""

import argparse

from edgekube.cli import arguments, kinds
from edgekube.cli.errors import OK, UsageError
from edgekube.cli.tables import Columns


def configure(made: argparse.ArgumentParser) -> None:
    made.add_argument("--namespaced", metavar="BOOL", default="", help="only those in (true) or out of namespaces")
    made.add_argument("--api-group", metavar="GROUP", default=None, help="only those of a group")
    made.add_argument("--no-headers", action="store_true", help="leave the column titles out")
    made.add_argument("--sort-by", choices=["name", "kind"], default="", help="order")
    made.add_argument("-o", "--output", choices=["", "name", "wide"], default="", help="name|wide")


def run(args: argparse.Namespace) -> int:
    if args.namespaced not in ("", "true", "false"):
        raise UsageError("--namespaced must be true or false")
    rows = [
        row
        for row in kinds.discover(arguments.api_of(args))
        if (not args.namespaced or row.namespaced == (args.namespaced == "true"))
        and (args.api_group is None or row.group == args.api_group)
    ]
    if args.sort_by:
        rows.sort(key=lambda row: row.plural if args.sort_by == "name" else row.kind)
    if args.output == "name":
        print("".join(f"{row.qualified}\n" for row in rows), end="")
        return OK
    table = [] if args.no_headers else [["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"]]
    table += [
        [row.plural, ",".join(row.short_names), row.api_version, str(row.namespaced).lower(), row.kind] for row in rows
    ]
    if args.output == "wide":
        for index, cells in enumerate(table):
            title = index == 0 and not args.no_headers
            cells.append("CATEGORIES" if title else ",".join(rows[index - (not args.no_headers)].categories))
    print("\n".join(Columns().layout(table)))
    return OK
