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
