"""Set annotations (KEY=VALUE) or remove them (KEY-)."""

import argparse

from edgekube.cli import marks


def configure(made: argparse.ArgumentParser) -> None:
    marks.configure(made, done="annotate")


def run(args: argparse.Namespace) -> int:
    return marks.run(args, field="annotations", done="annotated")
