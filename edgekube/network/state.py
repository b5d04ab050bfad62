"""What the pod network must remember across a kill: one small JSON file, replaced atomically.

Attachments die with the machine's namespaces, so a folder on a tmpfs is the right place for it: no flash writes, and
a reboot starts empty. It is written before a link is made, so no address is ever handed out twice.
"""

import contextlib
import os
from pathlib import Path

import msgspec

from edgekube.network.api import Attachment, NetworkFailure
from edgekube.types.unreadable import UNREADABLE

STATE_FILE = "network.json"


class NetworkState(msgspec.Struct):
    """`sysctls` holds the values found at the first start, by name, for `stop(remove=True)`."""

    pod_cidr: str = ""
    last_address: str = ""
    attachments: dict[str, Attachment] = {}
    sysctls: dict[str, str] = {}


def load_state(folder: Path) -> NetworkState:
    """The saved state, or an empty one. Raises NetworkFailure for a file that cannot be read."""
    path = folder / STATE_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=NetworkState)
    except FileNotFoundError:
        return NetworkState()
    except (OSError, *UNREADABLE) as error:
        raise NetworkFailure(f"read {path}: {error}; stop the node's pods, remove the file and start again") from error


def save_state(folder: Path, state: NetworkState) -> None:
    path = folder / STATE_FILE
    temporary = folder / (STATE_FILE + ".new")
    try:
        temporary.write_bytes(msgspec.json.encode(state))
        os.replace(temporary, path)
    except OSError as error:
        raise NetworkFailure(f"write {path}: {error.strerror}; see that its folder exists and has room") from error


def remove_state(folder: Path) -> None:
    for name in (STATE_FILE, STATE_FILE + ".new", STATE_FILE + ".damaged"):
        with contextlib.suppress(FileNotFoundError):
            (folder / name).unlink()


def set_aside(folder: Path) -> None:
    """Keep a damaged file for whoever wants to look at it, out of the way."""
    with contextlib.suppress(FileNotFoundError):
        os.replace(folder / STATE_FILE, folder / (STATE_FILE + ".damaged"))
