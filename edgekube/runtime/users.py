"""Who a container runs as: image USER and pod security settings resolved against the root file system's own files."""

import os
from typing import NamedTuple

import msgspec

from edgekube.native.files import open_in_root
from edgekube.runtime.api import RuntimeFailure, Security
from edgekube.types.integers import natural

USER_FILE_BYTES_MAX = 1 << 20
ID_MAX = 2**31 - 1


class Identity(msgspec.Struct, frozen=True):
    uid: int
    gid: int
    groups: tuple[int, ...] = ()  # supplementary; the primary one is among them, as in containerd (CVE-2023-25173)


class _Account(NamedTuple):
    name: str
    uid: int
    gid: int


class _Group(NamedTuple):
    name: str
    gid: int
    members: tuple[str, ...]


def read_user_files(root: str) -> tuple[str, str]:
    """/etc/passwd and /etc/group of a mounted root file system, never following a link out of it; "" when absent."""
    texts = []
    for path in ("/etc/passwd", "/etc/group"):
        try:
            fd = open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            texts.append("")
            continue
        with open(fd, "rb") as file:
            texts.append(
                file.read(USER_FILE_BYTES_MAX).decode(errors="replace") if os.path.isfile(f"/proc/self/fd/{fd}") else ""
            )
    return texts[0], texts[1]


def resolve(image_user: str, security: Security, passwd: str, group: str) -> Identity:
    """Image USER is `user[:group]`, names or numbers (image-spec config.md); pod settings win.

    A number without an account has gid 0 and no further groups, as in containerd. Raises RuntimeFailure
    (CreateContainerError for unknown names, CreateContainerConfigError when runAsNonRoot is violated).
    """
    accounts, groups = _accounts(passwd), _groups(group)
    wanted = str(security.uid) if security.uid is not None else (security.username or image_user or "0")
    user_part, _, group_part = wanted.partition(":")
    account = next((entry for entry in accounts if entry.name == user_part), None)
    number = _number(user_part)
    if account is None and number is not None:
        account = next((entry for entry in accounts if entry.uid == number), None)
    if account is None and number is None:
        raise RuntimeFailure(
            "CreateContainerError", f"unable to find user {user_part}: no matching entries in passwd file"
        )
    uid = account.uid if account is not None and account.name == user_part else number
    assert uid is not None
    if security.run_as_non_root and uid == 0:
        raise RuntimeFailure("CreateContainerConfigError", "container has runAsNonRoot and image will run as root")
    gid = account.gid if account is not None else 0
    if group_part:
        found = next((entry.gid for entry in groups if entry.name == group_part), _number(group_part))
        if found is None:
            raise RuntimeFailure(
                "CreateContainerError", f"unable to find group {group_part}: no matching entries in group file"
            )
        gid = found
    if security.gid is not None:
        gid = security.gid
    member_of = []
    if account is not None and not security.strict_groups:
        member_of = [entry.gid for entry in groups if account.name in entry.members]
    return Identity(uid, gid, tuple(dict.fromkeys([gid, *member_of, *security.supplementary_gids])))


def _number(text: str) -> int | None:
    return natural(text, ID_MAX)


def _accounts(text: str) -> list[_Account]:
    found = []
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) >= 4:
            uid, gid = _number(fields[2]), _number(fields[3])
            if uid is not None and gid is not None:
                found.append(_Account(fields[0], uid, gid))
    return found


def _groups(text: str) -> list[_Group]:
    found = []
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) >= 4 and (gid := _number(fields[2])) is not None:
            found.append(_Group(fields[0], gid, tuple(name for name in fields[3].split(",") if name)))
    return found
