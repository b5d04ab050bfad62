"""Which mappings may be given back: only those whose every page is the file's own."""

import subprocess
import sys

from edgekube.native.memory import clean_mappings

SMAPS = """\
55d0c0000000-55d0c0100000 r--p 00000000 08:01 100                        /opt/program
Rss:                 256 kB
Private_Dirty:         0 kB
Anonymous:             0 kB
55d0c0100000-55d0c0200000 r-xp 00100000 08:01 100                        /opt/program
Rss:                 512 kB
Private_Dirty:         0 kB
Anonymous:             0 kB
55d0c0200000-55d0c0201000 r--p 00200000 08:01 100                        /opt/program (relocated)
Rss:                   4 kB
Private_Dirty:         4 kB
Anonymous:             4 kB
55d0c0201000-55d0c0300000 rw-p 00201000 08:01 100                        /opt/program (data)
Rss:                 100 kB
Private_Dirty:         0 kB
Anonymous:             0 kB
7f0000000000-7f0040000000 r--s 00000000 08:01 200                        /var/lib/edgekube/store/data.mdb
Rss:                 800 kB
Private_Dirty:         0 kB
Anonymous:             0 kB
7f0050000000-7f0050100000 r--p 00000000 08:01 300                        /lib/swapped.so
Rss:                  40 kB
Private_Dirty:         0 kB
Anonymous:             0 kB
Swap:                  8 kB
7f0050100000-7f0050200000 r--p 00000000 08:01 300                        /lib/untouched.so
Rss:                   0 kB
Private_Dirty:         0 kB
7f0060000000-7f0060100000 r--p 00000000 00:00 0
Rss:                  60 kB
Private_Dirty:         0 kB
Anonymous:             0 kB
7ffd00000000-7ffd00001000 r-xp 00000000 00:00 0                          [vdso]
Rss:                   4 kB
Private_Dirty:         0 kB
"""


def test_only_unchanged_pages_of_read_only_private_files_are_taken() -> None:
    assert list(clean_mappings(SMAPS.splitlines())) == [
        (0x55D0C0000000, 0x55D0C0100000, 256 * 1024),
        (0x55D0C0100000, 0x55D0C0200000, 512 * 1024),
    ]


def test_a_process_goes_on_after_giving_back() -> None:
    program = """
import ssl, msgspec
from edgekube.native.memory import give_back, clean_mappings
before = sum(r for _, _, r in clean_mappings(open("/proc/self/smaps")))
given = give_back()
after = sum(r for _, _, r in clean_mappings(open("/proc/self/smaps")))
assert given > 2**20 and after < before / 2, (before, given, after)
import decimal, json
assert json.loads(msgspec.json.encode({"a": [1.5]})) == {"a": [1.5]}
assert ssl.create_default_context().get_ciphers()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


BURST = """
import gc, json, sys
from edgekube.memory import resident_bytes
from edgekube.native.memory import objects_from_heap, trim_heap
if "heap" in sys.argv:
    assert objects_from_heap() and objects_from_heap()
before = resident_bytes()
kept = [bytes(170) for _ in range(100_000)]
most = resident_bytes()
kept = kept[::500]
trim_heap()
print((resident_bytes() - before) / (most - before))
grown = []
for size in range(1, 2000, 7):
    grown.append(b"x" * size)
    grown[-1] += b"y" * size
assert all(len(each) == 2 * size for each, size in zip(grown, range(1, 2000, 7)))
assert json.loads(json.dumps({str(n): [n] * n for n in range(300)}))["299"] == [299] * 299
"""


def left_of_a_burst(*words: str) -> float:
    done = subprocess.run([sys.executable, "-c", BURST, *words], check=True, timeout=60, stdout=subprocess.PIPE)
    return float(done.stdout)


def test_a_burst_with_survivors_is_given_back() -> None:
    assert left_of_a_burst("heap") < 0.4
    assert left_of_a_burst() > 0.9, "Python has learnt to do it: the heap is not needed any more"


def test_a_debugging_allocator_is_left_alone() -> None:
    program = "from edgekube.native.memory import objects_from_heap; assert not objects_from_heap()"
    subprocess.run([sys.executable, "-X", "dev", "-c", program], check=True, timeout=60)
    subprocess.run([sys.executable, "-X", "tracemalloc", "-c", program], check=True, timeout=60)
