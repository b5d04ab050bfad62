"""The images on this node: list, import FILE, pull REFERENCE, rm REFERENCE, prune."""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from edgekube.cli import arguments
from edgekube.cli.api import Api
from edgekube.cli.errors import OK, CliError
from edgekube.cli.output import Printer
from edgekube.cli.tables import Columns

INTERMIXED = False
ERASE_LINE = "\r\033[K"
DIGEST_SHOWN = 19  # sha256: and 12 digits


def configure(made: argparse.ArgumentParser) -> None:
    actions = made.add_subparsers(dest="action", required=True, metavar="ACTION")
    listed = actions.add_parser("list", aliases=["ls"], help="what is there")
    listed.add_argument("-o", "--output", metavar="FORM", default="", help="json|yaml")
    listed.add_argument("-q", "--quiet", action="store_true", help="ids only")
    load = actions.add_parser("import", help="load a docker or OCI archive")
    load.add_argument("files", nargs="+", metavar="FILE", help="a .tar, or - for standard input")
    pull = actions.add_parser("pull", help="fetch from a registry")
    pull.add_argument("references", nargs="+", metavar="REFERENCE")
    remove = actions.add_parser("rm", aliases=["remove"], help="remove one")
    remove.add_argument("references", nargs="+", metavar="REFERENCE")
    actions.add_parser("prune", help="remove what no container uses")


def run(args: argparse.Namespace) -> int:
    api = arguments.api_of(args)
    match args.action:
        case "list" | "ls":
            return _list(api, args)
        case "import":
            for file in args.files:
                _import(api, file)
        case "pull":
            for reference in args.references:
                for image in _work(api, "pull", {"reference": reference}, f"pulling {reference}"):
                    print(f"pulled {_names(image)}  {shown_size(image['size'])}")
        case "rm" | "remove":
            for reference in args.references:
                _work(api, "remove", {"reference": reference}, f"removing {reference}")
                print(f"removed {reference}")
        case "prune":
            freed = _work(api, "prune", {}, "looking for unused images")["freed_bytes"]
            print(f"freed {shown_size(freed)}")
    return OK


def _list(api: Api, args: argparse.Namespace) -> int:
    images: list[dict[str, Any]] = api.call("GET", "/edgekube/images")
    if args.output:
        sys.stdout.write(Printer(args.output).text({"kind": "ImageList", "images": images}))
        return OK
    if args.quiet:
        print("".join(f"{image['id']}\n" for image in images), end="")
        return OK
    rows = [["IMAGE", "ID", "SIZE", "PINNED"]]
    for image in images:
        for name in image["tags"] or image["repoDigests"] or ["<none>"]:
            pinned = "yes" if image["pinned"] else ""
            rows.append([name, image["id"][:DIGEST_SHOWN], shown_size(image["size"]), pinned])
    print("\n".join(Columns().layout([rows[0], *sorted(rows[1:])])))
    return OK


def _import(api: Api, file: str) -> None:
    """The node reads the file itself: what comes from a pipe is put into a temporary file first."""
    if file == "-":
        import shutil
        import tempfile

        with tempfile.NamedTemporaryFile(prefix="edgekube-image-", suffix=".tar") as spool:
            shutil.copyfileobj(sys.stdin.buffer, spool)
            spool.flush()
            _imported(api, spool.name, "standard input")
        return
    if not os.path.isfile(file):
        raise CliError(f'there is no file "{file}"')
    _imported(api, os.path.abspath(file), file)


def _imported(api: Api, path: str, shown: str) -> None:
    for image in _work(api, "import", {"path": path}, f"importing {shown}"):
        print(f"imported {_names(image)}  {shown_size(image['size'])}")


def _names(image: Mapping[str, Any]) -> str:
    return ", ".join(image["tags"] or image["repoDigests"] or [image["id"]])


def _work(api: Api, action: str, query: Mapping[str, str], doing: str) -> Any:
    """Follow the node's lines of progress to the result. Raises CliError with what went wrong."""
    person = arguments.on_terminal(sys.stderr)
    try:
        for line in api.stream("POST", f"/edgekube/images/{action}", query).lines():
            told = json.loads(line)
            if "error" in told:
                raise CliError(f"{doing}: {told['error']}")
            if "result" in told:
                return told["result"]
            if person:
                print(
                    f"{ERASE_LINE}{doing}  {progress(told.get('progress') or ())}", end="", file=sys.stderr, flush=True
                )
    finally:
        if person:
            print(ERASE_LINE, end="", file=sys.stderr, flush=True)
    raise CliError(f"{doing}: the node gave no result; `edgekube status` says whether it still runs")


def progress(steps: Sequence[Mapping[str, Any]]) -> str:
    """`34.1 MB of 80.0 MB (43 %)` from the runtime's figures of all transfers."""
    done = sum(int(step.get("done_bytes") or 0) for step in steps)
    total = sum(int(step.get("total_bytes") or 0) for step in steps)
    if not total:
        return shown_size(done) if done else ""
    return f"{shown_size(done)} of {shown_size(total)} ({min(100, done * 100 // total)} %)"


def shown_size(count: int) -> str:
    """Decimal units, as registries and disks count."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError("unreachable")
