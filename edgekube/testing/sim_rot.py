"""Bit rot of the real log: synced bytes of a member that is down change, or whole files go.

Only what something else attests to have been synced is damaged. The last frames before a stop are attested by nobody
yet: damage there looks like a torn write, and no log of one copy can tell them apart.
"""

import random
from typing import TYPE_CHECKING

from edgekube.raft.walformat import SECTOR_BYTES, attestations
from edgekube.testing.sim_files import SimFile

if TYPE_CHECKING:
    from edgekube.testing.sim_store_member import StoreMember


def damage(member: "StoreMember", rng: random.Random) -> None:
    """Damage the log of a member that is down."""
    segments = _segments(member)
    size = SECTOR_BYTES
    attested = member.database.meta.log_position
    for number, file in segments.items():
        base = number * len(file.live)
        attested = max([attested, *attestations(bytes(file.live), size, base=base)])
    found = [(number, file) for number, file in segments.items() if number * len(file.live) + size < attested]
    if not found:
        return
    number, file = rng.choice(found)
    end = min(attested - number * len(file.live), len(file.live))
    place = rng.randrange(end)
    kind = rng.randrange(4)
    for content in (file.live, file.durable):
        if kind == 0:
            content[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            begin = place // size * size
            content[begin : begin + size] = bytes(size)
        elif kind == 2:
            del content[place:]
        else:
            content[place : place + 16] = rng.randbytes(16)


def _segments(member: "StoreMember") -> dict[int, SimFile]:
    found = {}
    for name, file in sorted(member.files.files.items()):
        stem, _, suffix = name.rpartition("/")[2].partition(".")
        if suffix == "log":
            found[int(stem, 16)] = file
    return found
