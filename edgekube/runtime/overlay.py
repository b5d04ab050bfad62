"""A container's root file system: an overlay of the image's read-only layers under its own writable one."""

import errno
import os
from collections.abc import Sequence

from edgekube.native.mounts import DETACH, mount, umount

LAYERS_MAX = 128  # of an image; overlayfs takes 500
_ESCAPES = str.maketrans({"\\": "\\\\", ":": "\\:", ",": "\\,"})


def mount_overlay(layers: Sequence[str], upper: str, work: str, target: str) -> None:
    """`layers` bottom first, absolute. Raises OSError.

    Layers are named relative to their common folder: their absolute names soon fill the one page of options that the
    kernel takes. `volatile`: what a container wrote to its root does not outlive it, so nothing of it need be flushed
    to the card when it is unmounted.
    """
    if not 0 < len(layers) <= LAYERS_MAX:
        raise OSError(errno.EINVAL, f"an image of {len(layers)} layers: 1 to {LAYERS_MAX} are supported", target)
    folder = os.path.commonpath([os.path.dirname(layer) for layer in layers])
    lower = [os.path.relpath(layer, folder) for layer in reversed(layers)]
    data = _options(lower, upper, work)
    try:
        mount("overlay", target, "overlay", 0, f"{data},volatile", folder=folder)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        mount("overlay", target, "overlay", 0, data, folder=folder)  # before Linux 5.10


def _options(lower: Sequence[str], upper: str, work: str) -> str:
    joined = ":".join(path.translate(_ESCAPES) for path in lower)
    return f"lowerdir={joined},upperdir={upper.translate(_ESCAPES)},workdir={work.translate(_ESCAPES)}"


def unmount(target: str) -> None:
    """Detaches at once, however busy; nothing happens when nothing is mounted there."""
    try:
        umount(target, DETACH)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT):
            raise


def mounted_below(folder: str, mountinfo: str) -> list[str]:
    """Mount points below `folder`, deepest first (proc(5): octal escapes)."""
    found = []
    for line in mountinfo.splitlines():
        point = line.split(" ", 5)[4].encode().decode("unicode_escape")
        if point.startswith(folder.rstrip("/") + "/"):
            found.append(point)
    return sorted(found, key=len, reverse=True)
