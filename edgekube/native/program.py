"""How this program starts itself again, for the helper processes that keep heavy code out of the node."""

import os
import sys


def self_argv() -> tuple[str, ...]:
    """The argv prefix that runs EdgeKube's `main`: append a subcommand and its words.

    From source that is the interpreter with `-m edgekube`. In the binary it is the executable that runs now, not the
    file it was unpacked from: starting it costs no unpacking, and it stays the same version when the file is replaced.
    """
    if frozen():
        return (os.readlink("/proc/self/exe"),)
    return (sys.executable, "-m", "edgekube")


def frozen() -> bool:
    """Whether this is the one-file binary."""
    return bool(getattr(sys, "frozen", False))
