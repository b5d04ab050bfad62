import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.runtime.api import RuntimeFailure, Security
from edgekube.runtime.users import Identity, read_user_files, resolve

PASSWD = "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001::/:/bin/sh\nbroken line\nbad:x:none:0::/:\n"
GROUP = "root:x:0:\nweb:x:1001:\naudio:x:29:web,other\nvideo:x:44:web\n"


@pytest.mark.parametrize(
    ("image_user", "security", "expected"),
    [
        ("", Security(), Identity(0, 0, (0,))),
        ("web", Security(), Identity(1000, 1001, (1001, 29, 44))),
        ("1000", Security(), Identity(1000, 1001, (1001, 29, 44))),
        ("4242", Security(), Identity(4242, 0, (0,))),
        ("web:audio", Security(), Identity(1000, 29, (29, 44))),
        ("4242:4343", Security(), Identity(4242, 4343, (4343,))),
        ("web", Security(uid=5), Identity(5, 0, (0,))),
        ("web", Security(uid=1000, gid=7), Identity(1000, 7, (7, 29, 44))),
        ("", Security(uid=5, gid=6, supplementary_gids=(8, 9, 8, 6)), Identity(5, 6, (6, 8, 9))),
        ("web", Security(strict_groups=True, supplementary_gids=(8,)), Identity(1000, 1001, (1001, 8))),
        ("", Security(username="web"), Identity(1000, 1001, (1001, 29, 44))),
    ],
)
def test_who_it_is(image_user: str, security: Security, expected: Identity) -> None:
    assert resolve(image_user, security, PASSWD, GROUP) == expected


@pytest.mark.parametrize("image_user", ["nobody", "web:nogroup", "99999999999"])
def test_unknown_names(image_user: str) -> None:
    with pytest.raises(RuntimeFailure) as caught:
        resolve(image_user, Security(), PASSWD, GROUP)
    assert caught.value.reason == "CreateContainerError"


@pytest.mark.parametrize("image_user", ["", "0", "root", "0:5"])
def test_root_is_refused_when_it_must_not_be(image_user: str) -> None:
    with pytest.raises(RuntimeFailure, match="runAsNonRoot") as caught:
        resolve(image_user, Security(run_as_non_root=True), PASSWD, GROUP)
    assert caught.value.reason == "CreateContainerConfigError"
    assert resolve("web", Security(run_as_non_root=True), PASSWD, GROUP).uid == 1000


def test_files_are_read_inside_the_root_only(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "secret").write_text("inside")
    (tmp_path / "secret").write_text("outside")
    os.symlink("../../../secret", root / "etc" / "passwd")
    os.symlink("/secret", root / "etc" / "group")
    assert read_user_files(str(root)) == ("inside", "inside")


def test_a_fifo_or_nothing_is_empty(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    os.mkfifo(tmp_path / "etc" / "passwd")
    assert read_user_files(str(tmp_path)) == ("", "")


WORD = st.sampled_from(("root", "web", "0", "1000", "9" * 5000, "²", "x", "-1", ""))
FILES = st.lists(st.lists(WORD, max_size=6).map(":".join) | st.text(max_size=20), max_size=5).map("\n".join)


@given(st.one_of(WORD, st.builds("{}:{}".format, WORD, WORD), st.text()), FILES, FILES)
def test_only_runtime_failures_escape(user: str, passwd: str, group: str) -> None:
    try:
        who = resolve(user, Security(), passwd, group)
    except RuntimeFailure:
        return
    assert all(0 <= number < 2**31 for number in (who.uid, who.gid, *who.groups))
