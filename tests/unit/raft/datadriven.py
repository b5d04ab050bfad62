"""The file format of etcd-io/raft's scenario tests: a command, optional input, `----`, the expected output.

The output ends at a blank line, or, when it contains blank lines itself, stands between doubled separators.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SEPARATOR = "----"
_ARGUMENT = re.compile(r"\s*([^\s=]+)(?:=(\([^)]*\)|\S*))?")


@dataclass
class Case:
    """One command of a file. `arguments` maps names to values; an argument without `=` has none."""

    position: str
    command: str
    arguments: list[tuple[str, list[str]]]
    input: str = ""
    expected: list[str] = field(default_factory=list)

    def values(self, name: str) -> list[str]:
        return [value for key, values in self.arguments if key == name for value in values]

    def value(self, name: str, default: str = "") -> str:
        values = self.values(name)
        return values[0] if values else default

    @property
    def words(self) -> list[str]:
        """The arguments without values."""
        return [key for key, values in self.arguments if not values]


def _arguments(line: str) -> tuple[str, list[tuple[str, list[str]]]]:
    found = []
    for match in _ARGUMENT.finditer(line):
        name, value = match.groups()
        if value is None:
            values = []
        elif value.startswith("("):
            values = [part.strip() for part in value[1:-1].split(",")] if value != "()" else []
        else:
            values = [value]
        found.append((name, values))
    return found[0][0], found[1:]


def parse(path: Path) -> Iterator[Case]:
    """The cases of a file, in order."""
    lines = path.read_text().splitlines()
    at = 0
    while at < len(lines):
        line = lines[at].strip()
        start = at
        at += 1
        if not line or line.startswith("#"):
            continue
        while line.endswith("\\"):
            line = line[:-1].rstrip() + " " + lines[at].strip()
            at += 1
        command, arguments = _arguments(line)
        if command == "subtest":
            continue
        case = Case(f"{path.name}:{start + 1}", command, arguments)
        given = []
        while at < len(lines) and lines[at].strip() != SEPARATOR:
            given.append(lines[at])
            at += 1
        case.input = "\n".join(given).strip()
        at += 1
        if at < len(lines) and lines[at] == SEPARATOR:
            at += 1
            while lines[at : at + 2] != [SEPARATOR, SEPARATOR]:
                assert at < len(lines), f"{case.position}: the output has no end"
                case.expected.append(lines[at])
                at += 1
            at += 2
        else:
            while at < len(lines) and lines[at].strip():
                case.expected.append(lines[at])
                at += 1
        yield case
