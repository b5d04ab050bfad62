"""kill -9 at random moments loses nothing that was acknowledged."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


def run(folder: Path, rounds: int, seed: int) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, str(HERE / "killing.py"), str(folder), str(rounds), str(seed)],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{HERE}"},
        capture_output=True,
        text=True,
        timeout=60 + rounds,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return {name: int(value) for name, value in (item.split("=") for item in done.stdout.split())}


def test_a_hundred_kills(tmp_path: Path) -> None:
    figures = run(tmp_path, 100, 1)
    assert figures["acknowledged"] > 100  # how many there are in that time is the machine's affair
    assert figures["killed_before_first"] > 0


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 6))
def test_a_thousand_kills(tmp_path: Path, seed: int) -> None:
    assert run(tmp_path, 1000, seed)["acknowledged"] > 1000
