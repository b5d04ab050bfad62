"""Finds the verb, imports its module alone, and turns what goes wrong into a message and an exit code."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from edgekube.cli.errors import FAILED, OK, USAGE, CliError, describe

# verb: (module in edgekube.cli, one line of help). In the order of --help.
DAILY = {
    "get": ("get", "show objects"),
    "describe": ("describe", "show objects in detail, with their events"),
    "apply": ("apply", "make objects as a manifest says"),
    "create": ("create", "create objects from a manifest or from options"),
    "delete": ("delete", "delete objects"),
    "patch": ("patch", "change fields of an object"),
    "scale": ("scale", "set the number of replicas"),
    "rollout": ("rollout", "follow, undo, restart a Deployment's rollout"),
    "logs": ("logs", "print the output of containers"),
    "exec": ("execute", "run a command in a container"),
    "attach": ("attach", "attach to a running container"),
    "port-forward": ("portforward", "forward local ports to a pod"),
    "top": ("top", "show what nodes and pods use"),
    "events": ("events", "list events"),
    "wait": ("wait", "wait for a condition"),
    "label": ("label", "set labels"),
    "annotate": ("annotate", "set annotations"),
    "expose": ("expose", "make a Service for a Deployment or pod"),
    "explain": ("explain", "describe the fields of a kind"),
    "api-resources": ("api_resources", "list resource types"),
    "version": ("version", "show versions"),
}
NODE = {
    "run": ("", "run a node in the foreground (needs root)"),
    "status": ("status", "how the node is"),
    "check": ("check", "find out whether this machine can be a node"),
    "images": ("images", "import, pull, list and remove images"),
    "kubeconfig": ("kubeconfig", "print a kubeconfig for kubectl"),
    "backup": ("backup", "write all objects and keys into one file"),
    "restore": ("", "make a node that does not run from a backup"),
    "reset": ("", "remove every trace of a node that does not run"),
    "completion": ("completion", "print shell completion"),
}
VERBS = {**DAILY, **NODE}

# Options that may stand before the verb, and whether they take a value.
EARLY = {"--socket": True, "-n": True, "--namespace": True, "--request-timeout": True}


def main(argv: Sequence[str]) -> int:
    """Exit codes: 0 done, 1 failed, 2 wrong usage; `exec` gives the command's."""
    verb, words = split_verb(argv)
    if not verb or verb in ("-h", "--help", "help"):
        print(overview())
        return OK if verb else USAGE
    if verb == "--version":
        verb, words = "version", ["--client"]
    module = VERBS.get(verb, ("", ""))[0]
    if not module and verb in VERBS:
        print(f"error: {verb!r} takes no options before it: edgekube {verb} [OPTIONS]", file=sys.stderr)
        return USAGE
    if not module:
        print(f"error: unknown command {verb!r}{_like(verb)}; `edgekube --help` lists them", file=sys.stderr)
        return USAGE
    try:
        return run(verb, module, words)
    except CliError as error:
        sys.stdout.flush()
        print(describe(error), file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # What reads our output has seen enough (`| head`); the interpreter's own flush at exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED


def run(verb: str, module: str, words: Sequence[str]) -> int:
    from edgekube.cli.arguments import parser

    entry = import_module(f"edgekube.cli.{module}")
    made = parser(verb, entry.__doc__ or "")
    entry.configure(made)
    if made.usage is None:
        # argparse would format every option to find this out, at 5 ms of CPU for each run.
        positionals = (action.metavar or action.dest for action in made._get_positional_actions())
        made.usage = " ".join(["%(prog)s [OPTIONS]", *map(str, positionals)])
    if getattr(entry, "SPLITS_DASHES", False):
        from edgekube.cli.arguments import split_at_dashes

        words, after = split_at_dashes(words)
        args = made.parse_args(words)
        args.after_dashes = after
    else:
        args = made.parse_intermixed_args(words) if getattr(entry, "INTERMIXED", True) else made.parse_args(words)
    code: int = entry.run(args)
    sys.stdout.flush()
    return code


def split_verb(argv: Sequence[str]) -> tuple[str, list[str]]:
    """The verb and everything else, with options before the verb moved to the end (of what is before `--`)."""
    early: list[str] = []
    rest = list(argv)
    while rest and rest[0].startswith("-"):
        word = rest[0]
        if word.partition("=")[0] not in EARLY:
            return word, rest[1:]
        count = 2 if EARLY.get(word) else 1
        early += rest[:count]
        rest = rest[count:]
    if not rest:
        return "", early
    words = rest[1:]
    end = words.index("--") if "--" in words else len(words)
    return rest[0], [*words[:end], *early, *words[end:]]


def overview() -> str:
    lines = ["EdgeKube: Kubernetes in one process.", "", "usage: edgekube VERB [OPTIONS]   (edgekube VERB --help)", ""]
    for title, verbs in (("Objects, as with kubectl:", DAILY), ("The node:", NODE)):
        lines.append(title)
        lines += [f"  {verb:<15}{help_}" for verb, (_, help_) in verbs.items()]
        lines.append("")
    return "\n".join(
        [*lines, "kubectl works too: edgekube kubeconfig > kubeconfig; kubectl --kubeconfig kubeconfig ..."]
    )


def _like(verb: str) -> str:
    """A verb that begins the same way."""
    near = [known for known in VERBS if known[:2] == verb[:2]]
    return f" (did you mean {' or '.join(near)}?)" if near else ""
