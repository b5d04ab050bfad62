"""Replays etcd-io/raft's scenario files, to the letter except for its log lines.

The folder is named by EDGEKUBE_RAFT_TESTDATA, and otherwise `shared/raft-testdata` beside the checkout. The files are
etcd's and not kept here; where the folder is missing the tests are skipped.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from edgekube.raft import confchange, quorum
from edgekube.raft.errors import ConfChangeError
from edgekube.raft.tracker import Tracker
from tests.unit.raft.datadriven import Case, parse
from tests.unit.raft.interaction import CommandError, Environment, parse_changes

_LOG_LINE = re.compile(r"\s*(DEBUG|INFO|WARN|ERROR)\b")
ROOT = Path(__file__).resolve().parents[3]
FOLDER = Path(os.environ.get("EDGEKUBE_RAFT_TESTDATA") or ROOT.parent / "shared" / "raft-testdata")


def _files(kind: str) -> list[object]:
    paths = sorted((FOLDER / kind).rglob("*.txt"))
    if not paths:
        return [pytest.param(None, id="none", marks=pytest.mark.skip(reason=f"no scenario files in {FOLDER / kind}"))]
    return [pytest.param(path, id=path.relative_to(FOLDER / kind).as_posix()) for path in paths]


def _without_log(lines: list[str]) -> list[str]:
    """A command that prints nothing else prints `ok`."""
    return [line for line in lines if not _LOG_LINE.match(line)] or ["ok"]


def _replay(path: Path, handle: Callable[[Case], list[str]]) -> None:
    cases = 0
    for case in parse(path):
        cases += 1
        lines = [line for text in handle(case) for line in text.splitlines()]
        assert _without_log(lines) == _without_log(case.expected), f"{case.position}: {case.command}"
    assert cases, f"{path} has no cases"


@pytest.mark.parametrize("path", _files("interaction"))
def test_interaction(path: Path) -> None:
    environment = Environment()
    _replay(path, environment.handle)


class ConfChangeScenario:
    """Applies changes to a membership and prints what became of it. Every command raises the last index by one."""

    def __init__(self) -> None:
        self.tracker = Tracker(10, 1 << 30)
        self.last_index = 0

    def handle(self, case: Case) -> list[str]:
        try:
            changes = parse_changes(case.input)
            if case.command == "simple":
                changed = confchange.simple(self.tracker, self.last_index, changes)
            elif case.command == "enter-joint":
                auto_leave = case.value("autoleave") == "true"
                changed = confchange.enter_joint(self.tracker, self.last_index, changes, auto_leave=auto_leave)
            elif case.command == "leave-joint":
                if changes:
                    return ["this command takes no input"]
                changed = confchange.leave_joint(self.tracker, self.last_index)
            else:
                return ["unknown command"]
        except (ConfChangeError, CommandError) as error:
            return [str(error)]
        finally:
            self.last_index += 1
        self.tracker.replace(*changed)
        progress = [f"{member}: {progress}" for member, progress in self.tracker.members]
        return [str(self.tracker.membership), *progress]


@pytest.mark.parametrize("path", _files("confchange"))
def test_confchange(path: Path) -> None:
    _replay(path, ConfChangeScenario().handle)


def _describe_quorum(voters: set[int], acked: dict[int, int]) -> str:
    """How far each voter is, as a bar whose length is the number of voters behind it."""
    if not voters:
        return "<empty majority quorum>"
    count = len(voters)
    ranked = sorted(voters, key=lambda voter: (acked.get(voter, 0), voter))
    bars = {}
    for position, voter in enumerate(ranked):
        tied = position > 0 and acked.get(ranked[position - 1], 0) == acked.get(voter, 0)
        bars[voter] = bars[ranked[position - 1]] if tied else position
    text = " " * count + "    idx\n"
    for voter in sorted(voters):
        bar = "x" * bars[voter] + ">" + " " * (count - bars[voter]) if voter in acked else "?" + " " * count
        text += f"{bar} {acked.get(voter, 0):5d}    (id={voter})\n"
    return text


def _index(value: int) -> str:
    return "∞" if value == quorum.INDEX_INFINITE else str(value)


def _committed_by_counting(voters: set[int], acked: dict[int, int]) -> int:
    """The committed index by its definition: the highest that enough voters have reached."""
    if not voters:
        return quorum.INDEX_INFINITE
    indexes = [acked.get(voter, 0) for voter in voters]
    return max([0, *(i for i in indexes if sum(other >= i for other in indexes) > len(voters) // 2)])


def quorum_scenario(case: Case) -> list[str]:
    joint = bool(case.values("cfgj"))
    first = list(map(int, case.values("cfg")))
    second = [int(value) for value in case.values("cfgj") if value != "zero"]
    codes = {"y": 2, "n": 1, "_": 0}
    if case.command == "vote":
        given = [codes[value] for value in case.values("votes")]
    else:
        given = [0 if value == "_" else int(value) for value in case.values("idx")]
    voters = list(dict.fromkeys(first + second))
    if len(voters) != len(given):
        return [f"error: mismatched input (explicit or _) for voters {voters}: {given}"]
    values = {voter: value for voter, value in zip(voters, given, strict=True) if value}
    incoming, outgoing = set(first), set(second)
    if case.command == "vote":
        votes = {voter: value == 2 for voter, value in values.items()}
        result = quorum.joint_vote(incoming, outgoing, votes) if joint else quorum.majority_vote(incoming, votes)
        assert result is quorum.joint_vote(outgoing, incoming, votes)
        return [result.value]
    if joint:
        index = quorum.joint_committed(incoming, outgoing, values)
        assert index == quorum.joint_committed(outgoing, incoming, values)
        return [_describe_quorum(incoming | outgoing, values) + _index(index)]
    index = quorum.majority_committed(incoming, values)
    assert index == _committed_by_counting(incoming, values)
    assert index == quorum.joint_committed(incoming, set(), values)
    assert index == quorum.joint_committed(incoming, incoming, values)
    for voter in incoming:
        if 0 < values.get(voter, 0) < index:
            # A voter that is behind does not hold the index, so falling further back cannot move it.
            assert index == quorum.majority_committed(incoming, values | {voter: values[voter] - 1})
            assert index == quorum.majority_committed(incoming, {k: v for k, v in values.items() if k != voter})
    return [_describe_quorum(incoming, values) + _index(index)]


@pytest.mark.parametrize("path", _files("quorum"))
def test_quorum(path: Path) -> None:
    _replay(path, quorum_scenario)
