"""The helper process: pure-Python bulk work on layers, away from the node's loop.

`edgekube _unpack --data DIR [--archive PATH] [--exclusive]` reads one JSON job a line on stdin, answers each with one
JSON line on stdout and ends at end of file. It holds three folders open (images, layers, the archive), shuts itself
into an empty one with chroot, and lowers its priority: a flaw in a parser would find nothing to reach.

Jobs (`op`): `unpack`, `remove`, `scan`, `inflate`; their fields are the parameters of the functions below.
"""

import argparse
import errno
import fcntl
import json
import os
import resource
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from edgekube.native.files import syncfs
from edgekube.runtime.images import tar
from edgekube.runtime.images.beneath import open_beneath, remove_tree
from edgekube.runtime.images.faults import LayerFault
from edgekube.runtime.images.unpack import Limits, Stream, Window, unpack_layer

JOB_BYTES_MAX = 1024 * 1024
ADDRESS_SPACE_BYTES_MAX = 1024 * 1024 * 1024
MEMBERS_MAX = 4096
NICENESS = 10
LOCK_NAME = "helper.lock"
JAIL_NAME = "jail"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Orphaned(Exception):
    """The node that wanted this work is gone; its successor will start over."""


class Worker:
    """Does jobs below the two folders it holds open."""

    def __init__(self, images_fd: int, layers_fd: int, archive_fd: int | None) -> None:
        self._roots = {"images": images_fd, "layers": layers_fd}
        self._archive_fd = archive_fd
        self._parent = os.getppid()

    def alive(self) -> None:
        if os.getppid() != self._parent:
            raise Orphaned

    def run(self, job: Mapping[str, Any]) -> dict[str, Any]:
        arguments = {key: value for key, value in job.items() if key != "op"}
        match job["op"]:
            case "unpack":
                return self.unpack(**arguments)
            case "remove":
                return self.remove(**arguments)
            case "scan":
                return self.scan(**arguments)
            case "inflate":
                return self.inflate(**arguments)
            case other:
                raise LayerFault(f"unknown job {other!r}")

    def _open(self, path: str, flags: int, mode: int = 0) -> int:
        if path == "archive":
            if self._archive_fd is None:
                raise LayerFault("no archive was given")
            return os.dup(self._archive_fd)
        root, _, rest = path.partition("/")
        if root == "archive" and self._archive_fd is not None:
            return open_beneath(self._archive_fd, os.fsencode(rest), flags)
        return open_beneath(self._roots[root], os.fsencode(rest), flags, mode)

    def unpack(
        self,
        *,
        source: str,
        target: str,
        lowers: list[str],
        diff_id: str,
        digest: str = "",
        offset: int = 0,
        length: int | None = None,
        bytes_max: int | None = None,
        entries_max: int | None = None,
    ) -> dict[str, Any]:
        """Unpack `source` (or `length` bytes of it) into the new folder `target`, over `lowers` (bottom first).

        `diff_id` must be the uncompressed stream's digest; `digest`, when given, the compressed one's.
        """
        limits = Limits()
        limits = limits._replace(bytes_max=bytes_max or limits.bytes_max, entries_max=entries_max or limits.entries_max)
        fds: list[int] = []
        try:
            source_fd = self._open(source, os.O_RDONLY | os.O_NONBLOCK)
            fds.append(source_fd)
            parent_fd = self._open(target.rpartition("/")[0], _FOLDER)
            fds.append(parent_fd)
            base = os.fsencode(target.rpartition("/")[2])
            remove_tree(parent_fd, base)
            os.mkdir(base, 0o755, dir_fd=parent_fd)
            root_fd = os.open(base, _FOLDER | os.O_NOFOLLOW, dir_fd=parent_fd)
            fds.append(root_fd)
            os.fchmod(root_fd, 0o755)
            lower_fds = [self._open(each, _FOLDER) for each in lowers]
            fds += lower_fds
            size = os.fstat(source_fd).st_size
            window = Window(source_fd, offset, size - offset if length is None else min(length, size - offset))
            stream = Stream(window, limits, hash_input=bool(digest))
            done = unpack_layer(stream, root_fd, lower_fds, limits=limits, alive=self.alive)
            if digest:
                stream.finish_input()
            if digest and stream.input_digest != digest:
                raise LayerFault(f"layer {digest} is damaged: its bytes have the digest {stream.input_digest}")
            if done.diff_id != diff_id:
                raise LayerFault(f"wrong diff id calculated on extraction {done.diff_id}, the config says {diff_id}")
            # Nothing may call this layer complete before its files would survive a power cut.
            syncfs(root_fd)
            return {"size_bytes": done.size_bytes, "entries": done.entries, "skipped_nodes": done.skipped_nodes}
        finally:
            for fd in fds:
                os.close(fd)

    def remove(self, *, paths: list[str]) -> dict[str, Any]:
        """Delete trees; a missing one is fine."""
        freed = 0
        for path in paths:
            folder, _, name = path.rpartition("/")
            fd = self._open(folder, _FOLDER)
            try:
                freed += remove_tree(fd, os.fsencode(name))
            finally:
                os.close(fd)
        return {"freed_bytes": freed}

    def scan(self, *, source: str) -> dict[str, Any]:
        """Where the files of an uncompressed tar lie: `[name, offset, size, link]` each, later ones override."""
        fd = self._open(source, os.O_RDONLY)
        try:
            seekable = _Seekable(fd)
            members = []
            for entry in tar.Reader(seekable):
                if entry.kind in (tar.REGULAR, tar.SYMLINK, tar.HARDLINK):
                    name = os.fsdecode(entry.name)
                    members.append((name, seekable.at, entry.stored, entry.kind.decode(), os.fsdecode(entry.link)))
                    if len(members) > MEMBERS_MAX:
                        raise LayerFault(f"archive has more than {MEMBERS_MAX} members: this is no image archive")
            return {"members": members}
        finally:
            os.close(fd)

    def inflate(self, *, source: str, target: str) -> dict[str, Any]:
        """Decompress an archive into the new file `target`. A plain tar is answered with `plain` and not copied."""
        fd = self._open(source, os.O_RDONLY)
        try:
            if not is_compressed(os.pread(fd, 4, 0)):
                return {"plain": True}
            limits = Limits()
            stream = Stream(Window(fd, 0, os.fstat(fd).st_size), limits)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            out = self._open(target, flags, 0o600)
            try:
                while piece := stream.read(262_144):
                    os.write(out, piece)
                    self.alive()
            finally:
                os.close(out)
            return {"plain": False}
        finally:
            os.close(fd)


class _Seekable:
    """A `tar.Source` over a plain file that jumps over what is skipped."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.at = 0

    def read(self, size: int) -> bytes:
        data = os.pread(self._fd, size, self.at)
        self.at += len(data)
        return data

    def skip(self, size: int) -> None:
        self.at += size


def is_compressed(first: bytes) -> bool:
    return first[:2] == b"\x1f\x8b" or first[:4] == b"\x28\xb5\x2f\xfd"


def _shut_in(images_fd: int) -> None:
    """chroot into an empty folder and give up what unpacking does not need. Without root there is nothing to give."""
    try:
        os.mkdir(JAIL_NAME, 0o700, dir_fd=images_fd)
    except FileExistsError:
        pass
    if os.geteuid() == 0:
        jail = os.open(JAIL_NAME, _FOLDER | os.O_NOFOLLOW, dir_fd=images_fd)
        os.fchdir(jail)
        os.close(jail)
        os.chroot(".")


def main(argv: Sequence[str]) -> int:
    """Serve jobs until stdin ends. Exit codes: 0 done, 2 misused, 3 the node is gone."""
    parser = argparse.ArgumentParser(prog="edgekube _unpack", description="internal: unpack image layers")
    parser.add_argument("--data", required=True)
    parser.add_argument("--archive")
    parser.add_argument("--exclusive", action="store_true", help="wait until helpers of an earlier node are gone")
    options = parser.parse_args(argv)
    os.nice(NICENESS)
    os.umask(0o022)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard == resource.RLIM_INFINITY or hard > ADDRESS_SPACE_BYTES_MAX:
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES_MAX, hard))
    images_fd = os.open(os.path.join(options.data, "images"), _FOLDER)
    layers_fd = os.open(os.path.join(options.data, "layers"), _FOLDER)
    archive_fd = os.open(options.archive, os.O_RDONLY | os.O_CLOEXEC) if options.archive else None
    lock = os.open(LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=images_fd)
    fcntl.flock(lock, fcntl.LOCK_EX if options.exclusive else fcntl.LOCK_SH)
    _shut_in(images_fd)
    worker = Worker(images_fd, layers_fd, archive_fd)
    while line := sys.stdin.buffer.readline(JOB_BYTES_MAX):
        try:
            reply: dict[str, Any] = {"ok": worker.run(json.loads(line))}
        except Orphaned:
            return 3
        except LayerFault as fault:
            reply = {"fault": str(fault)}
        except MemoryError:
            reply = {"fault": "unpacking needs more memory than an honest layer does"}
        except OSError as error:
            reply = {"error": error.strerror or str(error), "errno": errno.errorcode.get(error.errno or 0, "")}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
