"""Set labels (KEY=VALUE) or remove them (KEY-)."""

import argparse

from edgekube.cli import marks


def configure(made: argparse.ArgumentParser) -> None:
    marks.configure(made, done="label")


def run(args: argparse.Namespace) -> int:
    return marks.run(args, field="labels", done="labeled")
