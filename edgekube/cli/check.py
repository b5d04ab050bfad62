"""Find out whether this machine can be a node, and what to do where it cannot. Needs no node; best run as root."""

import argparse
import ipaddress
import json
import sys
from collections.abc import Sequence

from edgekube.cli import arguments, check_host, check_kernel
from edgekube.cli.errors import FAILED, UsageError
from edgekube.cli.errors import OK as DONE
from edgekube.cli.machine import FAIL, OK, WARN, Finding, Machine, Settings

COLOURS = {OK: "\033[32m", WARN: "\033[33m", FAIL: "\033[31m"}
NAME_WIDTH = 15


def configure(made: argparse.ArgumentParser) -> None:
    made.add_argument("-o", "--output", choices=["", "json"], default="", help="json")
    default = Settings()
    for name in ("data_dir", "run_dir", "cluster_cidr", "service_cidr", "bridge", "resolv_conf"):
        option = "--" + name.replace("_", "-")
        value = getattr(default, name)
        made.add_argument(option, metavar="VALUE", default=value, help=f"as for `run` (default: {value})")
    made.add_argument("--listen", metavar="ADDR:PORT", default="", help="as for `run` (default: 0.0.0.0:6443)")


def run(args: argparse.Namespace) -> int:
    found = examine(Machine(), settings_of(args))
    if args.output == "json":
        print(json.dumps([each._asdict() for each in found], indent=2))
    else:
        print("\n".join(report(found, colours=arguments.on_terminal(sys.stdout))))
    return FAILED if any(each.level == FAIL for each in found) else DONE


def settings_of(args: argparse.Namespace) -> Settings:
    """Raises UsageError for what is no network or port."""
    for option in ("cluster_cidr", "service_cidr"):
        try:
            ipaddress.IPv4Network(getattr(args, option))
        except ValueError as error:
            raise UsageError(f"--{option.replace('_', '-')}: {error}") from None
    port = args.listen.rpartition(":")[2] or str(Settings().port)
    if not port.isdecimal():
        raise UsageError("--listen is ADDRESS:PORT")
    return Settings(
        data_dir=args.data_dir,
        run_dir=args.run_dir,
        cluster_cidr=args.cluster_cidr,
        service_cidr=args.service_cidr,
        port=int(port),
        bridge=args.bridge,
        resolv_conf=args.resolv_conf,
    )


def examine(machine: Machine, settings: Settings) -> list[Finding]:
    return [finding for group in (*check_kernel.GROUPS, *check_host.GROUPS) for finding in group(machine, settings)]


def report(found: Sequence[Finding], *, colours: bool) -> list[str]:
    lines: list[str] = []
    pad = " " * (6 + NAME_WIDTH)
    for each in found:
        level = f"{COLOURS[each.level]}{each.level:<6}\033[0m" if colours else f"{each.level:<6}"
        lines.append(f"{level}{each.name:<{NAME_WIDTH}}{each.found}")
        lines += [f"{pad}{line}" for line in each.advice.splitlines()]
    failed = sum(each.level == FAIL for each in found)
    warned = sum(each.level == WARN for each in found)
    if failed:
        end = f"{failed} problem{'s' * (failed > 1)} must be solved before a node can run here"
    else:
        end = "a node can run here" + (f"; {warned} thing{'s' * (warned > 1)} to know" if warned else "")
    return [*lines, "", end]
