"""Runs seeds one after the other until stopped, and tells which fail: `python -m edgekube.testing.sim_soak [SEED]`.

A failing seed is played again to see that it fails alike, and its plan is made shorter while it still fails.
"""

import argparse
import time
from collections.abc import Sequence

from edgekube.testing.sim_core import run
from edgekube.testing.sim_plan import Plan, make_plan, shrink

TELL_EVERY: int = 500


def explain(plan: Plan) -> str:
    """What a failing plan comes down to."""
    first, second = run(plan), run(plan)
    if (first.digest, first.failure) != (second.digest, second.failure):
        return f"seed {plan.seed} does not replay: {first.failure} / {second.failure}"
    least = shrink(plan, lambda fewer: bool(run(fewer).failure))
    faults = "\n".join(f"    {fault}" for fault in least.faults) or "    none"
    return f"seed {plan.seed}: {run(least).failure}\n  faults that are needed, of {len(plan.faults)}:\n{faults}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until interrupted, or until --count seeds are done; returns how many failed (at most 100)."""
    parser = argparse.ArgumentParser(description="run simulation seeds until stopped")
    parser.add_argument("seed", type=int, nargs="?", default=0, help="where to begin")
    parser.add_argument("--count", type=int, default=0, help="stop after so many (0: never)")
    options = parser.parse_args(arguments)
    begin, seed, failed = time.monotonic(), options.seed, []
    try:
        while not options.count or seed < options.seed + options.count:
            plan = make_plan(seed)
            if run(plan).failure:
                failed.append(seed)
                print(explain(plan), flush=True)
            seed += 1
            done = seed - options.seed
            if done % TELL_EVERY == 0:
                print(f"{done} seeds, {done / (time.monotonic() - begin):.1f} a second, failed: {failed}", flush=True)
    except KeyboardInterrupt:
        pass
    print(f"seeds {options.seed} to {seed - 1}, failed: {failed}")
    return min(len(failed), 100)


if __name__ == "__main__":
    raise SystemExit(main())
