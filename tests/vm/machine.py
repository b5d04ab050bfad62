"""Machines with a kernel of their own, for what this machine's kernel or cgroup hierarchy cannot show.

A machine runs named shell commands one after the other, prints `STEP name exit-status` for each on its console, and
powers itself off. `run_machine` starts it, passes its console on, and reports the statuses.
"""

import os
import re
import shlex
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINES_KEPT_MAX = 20_000
_STEP = re.compile(r"STEP (\S+) (\d+)\s*$")


@dataclass
class Report:
    """What a machine said. `statuses` has a row for every step that ended, `boot` included."""

    lines: list[str] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    timed_out: bool = False

    def check(self, steps: Mapping[str, str]) -> None:
        """Raises AssertionError with the end of the console unless every step ran and ended with 0, no test skipped."""
        wanted = dict.fromkeys(["boot", *steps], 0)
        skipped = [line for line in self.lines if line.startswith("SKIPPED [")]
        if self.statuses != wanted or self.timed_out or skipped:
            end = "\n".join(self.lines[-150:])
            words = f"steps {self.statuses}, wanted {wanted}, skipped {skipped}, timed out: {self.timed_out}"
            raise AssertionError(f"{words}\n{end}")


def steps_script(steps: Mapping[str, str]) -> str:
    """The guest's side: each step in a shell of its own at the checkout, then the end of the machine."""
    lines = [f"cd {shlex.quote(str(ROOT))}"]
    for name, command in steps.items():
        lines += [f"( {command} )", f'echo "STEP {name} $?"']
    return "\n".join([*lines, "sync", "poweroff -f", ""])


def run_machine(command: Sequence[str], seconds_max: float, env: Mapping[str, str] | None = None) -> Report:
    """Run a machine to its end, or end it after `seconds_max` (a bound for machines that hang, not a measure)."""
    report = Report()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **(env or {})},
        start_new_session=True,
    )

    def end() -> None:
        report.timed_out = True
        _kill_group(process.pid)

    timer = threading.Timer(seconds_max, end)
    timer.start()
    assert process.stdout is not None
    try:
        for raw in process.stdout:
            line = raw.decode(errors="replace").replace("\r", "").rstrip("\n")
            print(line, flush=True)
            report.lines.append(line)
            del report.lines[:-LINES_KEPT_MAX]
            if found := _STEP.search(line):
                report.statuses[found[1]] = int(found[2])
        process.wait()
    finally:
        timer.cancel()
        _kill_group(process.pid)
        process.wait()
        process.stdout.close()
    return report


def _kill_group(pid: int) -> None:
    """The session of a machine we started: a user-mode kernel is many processes."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def pytest_command(*words: str) -> str:
    """This checkout's pytest, as a step."""
    python = ROOT / ".venv" / "bin" / "python"
    return shlex.join([str(python), "-m", "pytest", "-q", "--color=no", "-p", "no:cacheprovider", *words])
