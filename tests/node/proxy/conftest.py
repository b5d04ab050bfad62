from collections.abc import Iterator

import pytest

from edgekube.testing.netlab import NetLab


@pytest.fixture
def lab() -> Iterator[NetLab]:
    """A node with a neighbour `lan1` on its LAN; the test itself runs inside the node's network namespace."""
    made = NetLab()
    try:
        for name in ("node", "lan1"):
            made.add(name)
        made.add_lan("node", "lan1")
        with made.inside("node"):
            yield made
    finally:
        made.close()
