"""The command line: what a person types. A module a verb, each with `configure(parser)` and `run(args) -> exit code`.

Knows the node's unix socket and `edgekube.types`, nothing of a node: blocking sockets, argparse, no trio. Every
module imports what is heavy (yaml, msgspec) where it is used: `edgekube get` must start faster than a person notices.
"""
