"""`edgekube restore FILE`: makes the store and the keys of a node from a backup. For a node that does not run.

The restored cluster is a new one to whoever remembers the old: its revisions are far ahead and its id is another, so
that no client goes on from a state that never was. Pods that still run here are adopted if the backup knows them.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import trio

from edgekube import config
from edgekube.config import ConfigFailure, NodeConfig
from edgekube.reset import node_answers
from edgekube.store.api import StoreError
from edgekube.store.backup import restore


def parser() -> argparse.ArgumentParser:
    made = config.parser()
    made.prog = "edgekube restore"
    made.description = (
        "Make the node's store and keys from a file of `edgekube backup`; takes the options of `edgekube run`."
    )
    made.add_argument("file", metavar="FILE", help="what `edgekube backup` wrote")
    made.add_argument("--replace", action="store_true", help="even if there is a store: it becomes store.old")
    return made


def main(argv: Sequence[str]) -> int:
    """Exit codes: 0 restored, 1 not (and nothing is changed), 2 wrong usage."""
    args = parser().parse_args(list(argv))
    file, replace = Path(args.file), args.replace
    del args.file, args.replace
    try:
        settings = config.of_arguments(args)
        problem = why_not(settings)
        if problem:
            raise StoreError(problem)
        header = trio.run(lambda: restore(file, Path(settings.data_dir), replace=replace))
    except ConfigFailure as failure:
        print(f"edgekube restore: {failure}", file=sys.stderr)
        return 2
    except (StoreError, OSError) as error:
        print(f"edgekube restore: {error}", file=sys.stderr)
        return 1
    print(
        f"{settings.data_dir} is as it was at revision {header.revision} of {file}: "
        "start the node with `systemctl start edgekube` or `edgekube run`"
    )
    return 0


def why_not(settings: NodeConfig) -> str:
    """Why nothing may be restored now; empty when it may."""
    if os.geteuid() != 0:
        return "a node's folders belong to root: run it with sudo"
    if node_answers(settings):
        return "the node runs: stop it first (`systemctl stop edgekube`, or Ctrl-C in its terminal)"
    return ""
