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


def damage(member: "StoreMember", rng: random.Random, *, newest: bool = False) -> None:
    """Damage the log of a member that is down; with `newest` what only the log itself knows to have been synced.

    It may start all the same, if it has everything that it promised.
    """
    segments = _segments(member)
    size = SECTOR_BYTES
    attested = in_database = member.database.meta.log_position
    for number, file in segments.items():
        base = number * len(file.live)
        attested = max([attested, *attestations(bytes(file.live), size, base=base)])
    least = in_database if newest else 0
    found = []
    for number, file in segments.items():
        base, length = number * len(file.live), len(file.live)
        begin, end = max(least - base, 0), min(attested - base, length)
        if begin < end and end > size:
            found.append((file, begin, end))
    if not found:
        return
    file, begin, end = rng.choice(found)
    written = [place for place in range(begin, end) if file.live[place]] if newest else ()
    place = rng.choice(written or range(begin, end))
    kind = rng.randrange(4)
    garbage = rng.randbytes(min(16, end - place))
    for content in (file.live, file.durable):
        if kind == 0:
            content[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            sector = place // size * size
            content[sector : sector + size] = bytes(size)
        elif kind == 2:
            del content[place:]
        else:
            content[place : place + len(garbage)] = garbage


def _segments(member: "StoreMember") -> dict[int, SimFile]:
    found = {}
    for name, file in sorted(member.files.files.items()):
        stem, _, suffix = name.rpartition("/")[2].partition(".")
        if suffix == "log":
            found[int(stem, 16)] = file
    return found
