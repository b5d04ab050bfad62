"""Entry of the one binary: the node, the command line, and the helper processes the node spawns from itself.

Helpers keep heavy imports (cryptography, tar unpacking) out of the node's memory; each is a function main(argv) -> int.
"""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module

PROGRAMS = {
    "run": "edgekube.node",
    "reset": "edgekube.reset",
    "restore": "edgekube.restore",
    "_unpack": "edgekube.runtime.images.helper",
    "_pki": "edgekube.pki.helper",
    "_selftest": "edgekube.selftest",
}


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    module = PROGRAMS.get(words[0], "") if words else ""
    if module:
        program: Callable[[Sequence[str]], int] = import_module(module).main
        return program(words[1:])
    from edgekube.cli.main import main as cli

    return cli(words)


if __name__ == "__main__":
    sys.exit(main())
