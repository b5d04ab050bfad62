"""Giving back memory that only the start of the process, or a burst of work, needed."""

import re
from collections.abc import Iterable, Iterator

from edgekube.native._lib import check, lib

_HEAD = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) [0-9a-f]+ \S+ ([0-9]+)")


def trim_heap() -> None:
    """Return the free pages of the C library's heap to the kernel (malloc_trim(3)). Costs up to a few milliseconds."""
    check(lib.ek_trim_heap())


def give_back() -> int:
    """Return free heap pages to the kernel, and unmap code and constants until they are used again; returns bytes.

    A start reads all of the program: in the binary, 15 MiB of bytecode that nothing reads twice. Pages dropped here are
    still in the page cache, which the kernel shrinks as it needs, and come back with a minor fault (madvise(2),
    MADV_DONTNEED on a file's mapping). Costs some milliseconds. Without /proc nothing is dropped.
    """
    trim_heap()
    try:
        with open("/proc/self/smaps") as file:
            clean = list(clean_mappings(file))
    except OSError:
        return 0
    for start, end, _ in clean:
        check(lib.ek_forget_pages(start, end - start))
    return sum(resident for _, _, resident in clean)


def clean_mappings(smaps: Iterable[str]) -> Iterator[tuple[int, int, int]]:
    """Start, end and resident bytes of private, read-only file mappings none of whose pages was ever changed.

    A library's relocated pages are read-only too, but no longer the file's: they count as anonymous and dirty, and
    their mapping is left alone. Shared mappings (the database) are as well. Text as in proc(5).
    """
    start = end = resident = 0
    usable = False
    for line in smaps:
        if found := _HEAD.match(line):
            if usable and resident:
                yield start, end, resident
            start, end, resident = int(found[1], 16), int(found[2], 16), 0
            mode = found[3]
            usable = found[4] != "0" and mode[0] == "r" and mode[1] == "-" and mode[3] == "p"
            continue
        name, _, value = line.partition(":")
        if name == "Rss":
            resident = int(value.split()[0]) * 1024
        elif name in ("Private_Dirty", "Shared_Dirty", "Anonymous", "Swap", "Locked") and value.split()[0] != "0":
            usable = False
    if usable and resident:
        yield start, end, resident
