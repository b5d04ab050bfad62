"""The scenario harness itself: the file format, and that a difference does not go unnoticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.raft import describe
from tests.unit.raft.datadriven import parse
from tests.unit.raft.interaction import Environment
from tests.unit.raft.test_scenarios import _replay, _without_log

SCENARIO = """# A comment.
log-level none
----
ok

add-nodes 3 voters=(1, 2,3) \\
  index=2
----
ok

campaign 1
----
ok

stabilize
----
ok

log-level info
----
ok

propose-conf-change 1
r2 r3
----
ok

raft-log 1
----
----
1/3 EntryNormal ""

----
----

propose 1 value
----
INFO this line is not compared
ok
"""


def test_the_format(tmp_path: Path) -> None:
    path = tmp_path / "scenario.txt"
    path.write_text(SCENARIO)
    cases = list(parse(path))
    assert [case.command for case in cases] == [
        "log-level", "add-nodes", "campaign", "stabilize", "log-level", "propose-conf-change", "raft-log", "propose",
    ]  # fmt: skip
    assert cases[1].words == ["3"]
    assert cases[1].values("voters") == ["1", "2", "3"]
    assert cases[1].value("index") == "2"
    assert cases[5].input == "r2 r3"
    assert cases[6].expected == ['1/3 EntryNormal ""', ""]
    assert cases[7].position == "scenario.txt:36"


@pytest.mark.parametrize(("old", "new", "where"), [('1/3 EntryNormal ""\n', "", "raft-log"), ("ok\n", "", "log-level")])
def test_a_difference_is_noticed(tmp_path: Path, old: str, new: str, where: str) -> None:
    path = tmp_path / "scenario.txt"
    path.write_text(SCENARIO.replace('""\n\n----', '""\n----').replace("INFO this line is not compared\n", ""))
    _replay(path, Environment().handle)
    changed = path.read_text().replace(old, new or "something else\n", 1)
    path.write_text(changed)
    with pytest.raises(AssertionError, match=where):
        _replay(path, Environment().handle)


def test_log_lines_do_not_count() -> None:
    assert _without_log(["INFO 1 became leader"]) == ["ok"]
    assert _without_log(["> 1 handling Ready", "  DEBUG x", "  Ready MustSync=true:"]) == [
        "> 1 handling Ready",
        "  Ready MustSync=true:",
    ]


@pytest.mark.parametrize(
    ("data", "text"),
    [(b"", '""'), (b'a"b\\', '"a\\"b\\\\"'), (b"\x00\n\xff", '"\\x00\\n\\xff"'), ("é".encode(), '"é"')],
)
def test_data_is_quoted_as_go_does(data: bytes, text: str) -> None:
    assert describe.quote(data) == text
