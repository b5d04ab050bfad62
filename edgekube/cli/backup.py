"""Write everything the cluster knows into one file: all objects, and the node's keys. Keep it as you would keep a key.

`edgekube restore FILE` makes a node from it, on this machine or another one. Images and volumes are not in it.
"""

import argparse
import hashlib
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from edgekube.cli import arguments
from edgekube.cli.errors import OK, CliError
from edgekube.cli.images import shown_size

_DIGEST_BYTES = hashlib.sha256().digest_size


def configure(made: argparse.ArgumentParser) -> None:
    made.add_argument("file", metavar="FILE", help="where to; - for standard output")


def run(args: argparse.Namespace) -> int:
    parts = arguments.api_of(args).stream("GET", "/edgekube/backup", accept="*/*").chunks()
    if args.file == "-":
        if arguments.on_terminal(sys.stdout):
            raise CliError("a backup is no text: send it to a file or another program")
        copy(parts, sys.stdout.buffer)
        return OK
    with appearing(args.file) as file:
        size = copy(parts, file)
    print(f"everything is in {args.file} ({shown_size(size)}); it holds keys and secrets: keep it safe")
    return OK


def copy(parts: Iterable[bytes], file: BinaryIO) -> int:
    """Write a backup as it arrives; returns its size. Raises CliError when it is not whole: its digest ends it."""
    digest, tail, size = hashlib.sha256(), b"", 0
    for part in parts:
        file.write(part)
        size += len(part)
        tail += part
        digest.update(tail[:-_DIGEST_BYTES])
        tail = tail[-_DIGEST_BYTES:]
    file.flush()
    if digest.digest() != tail:
        raise CliError("the backup broke off: the node is being stopped, or its log says why. Try again")
    return size


@contextmanager
def appearing(path: str) -> Iterator[BinaryIO]:
    """A new file for its owner's eyes alone, which has its name only once it is whole and on the disk."""
    temporary = f"{path}.part"
    try:
        with open(temporary, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            os.fchmod(file.fileno(), 0o600)
            yield file
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise CliError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
