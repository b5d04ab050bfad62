"""What the folders of real machinery share."""

import shutil
from collections.abc import Iterator

import pytest

from edgekube.testing.netlab import NetLab

APPLETS = (
    "sh ls cat echo sleep id hostname touch mount head dd kill ps tail wc nc mkdir test true false yes sync stty env tr"
    " mknod httpd stat ln rm"
)


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


@pytest.fixture(scope="session")
def busybox_root(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("busybox")
    for folder in ("bin", "etc", "proc", "sys", "dev", "tmp", "root"):
        (root / folder).mkdir()
    busybox = shutil.which("busybox")
    assert busybox is not None, "install busybox-static"
    shutil.copy(busybox, root / "bin" / "busybox")
    for name in APPLETS.split():
        (root / "bin" / name).symlink_to("busybox")
    (root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001::/:/bin/sh\n")
    (root / "etc" / "group").write_text("root:x:0:\nweb:x:1001:\nextra:x:2000:web\n")
    return str(root)
