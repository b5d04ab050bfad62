"""What EdgeKube costs, beside a floor or a peer measured in the same run. `sudo .venv/bin/python -m bench` runs all.

A bench is a module with `run(options)` that prints `row`s, in the order of __main__.BENCHES. Nothing is asserted: goals
stand beside what was measured. Wall times mean something on a quiet machine only; CPU, bytes and ratios always.
"""

from typing import NamedTuple


class Options(NamedTuple):
    """`quick`: fewer rounds. `seconds`: how long `idle` measures, 0 for its own choice."""

    quick: bool = False
    seconds: int = 0


def row(
    what: str,
    value: float,
    unit: str,
    *,
    goal: float | None = None,
    beside: tuple[str, float] | None = None,
    note: str = "",
) -> None:
    """Print one figure. `beside`: a floor or peer and its value in the same unit; `goal`: the most there may be."""
    text = f"  {what:<44}{_short(value):>9} {unit:<14}"
    if goal is not None:
        text += f" goal {_short(goal)}{'' if value <= goal else ', missed'};"
    if beside is not None and beside[1]:
        text += f" {value / beside[1]:.2f} x {beside[0]} ({_short(beside[1])});"
    print(f"{text} {note}".rstrip(" ;"), flush=True)


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
