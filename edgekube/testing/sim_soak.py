"""Runs seeds one after the other until stopped, and tells which fail: `python -m edgekube.testing.sim_soak [SEED]`.

A failing seed is played again to see that it fails alike, and its plan is made shorter while it still fails. Seeds go
to the core's simulation and to that of whole stores in turn, ten to one (a store's takes ten times as long), or all to
the one that `--kind` names.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from edgekube.testing.sim_core import Report, run
from edgekube.testing.sim_plan import Plan, make_plan, shrink
from edgekube.testing.sim_store import StoreReport, make_store_plan, run_store

TELL_EVERY: int = 500
CORE_SEEDS_A_STORE: int = 10


class Kind(NamedTuple):
    """A simulation: plans from seeds, and their runs."""

    name: str
    plan: Callable[[int], Plan]
    run: Callable[[Plan], Report | StoreReport]


CORE: Final = Kind("core", make_plan, run)
STORE: Final = Kind("store", make_store_plan, run_store)


def explain(kind: Kind, plan: Plan) -> str:
    """What a failing plan comes down to."""
    first, second = kind.run(plan), kind.run(plan)
    if (first.digest, first.failure) != (second.digest, second.failure):
        return f"{kind.name} seed {plan.seed} does not replay: {first.failure} / {second.failure}"
    least = shrink(plan, lambda fewer: bool(kind.run(fewer).failure))
    faults = "\n".join(f"    {fault}" for fault in least.faults) or "    none"
    return (
        f"{kind.name} seed {plan.seed}: {kind.run(least).failure}\n"
        f"  faults that are needed, of {len(plan.faults)}:\n{faults}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until interrupted, or until --count seeds are done; returns how many failed (at most 100)."""
    parser = argparse.ArgumentParser(description="run simulation seeds until stopped")
    parser.add_argument("seed", type=int, nargs="?", default=0, help="where to begin")
    parser.add_argument("--count", type=int, default=0, help="stop after so many (0: never)")
    parser.add_argument("--kind", choices=("core", "store", "both"), default="both", help="what is simulated")
    options = parser.parse_args(arguments)
    kinds = {"core": [CORE], "store": [STORE], "both": [STORE] + [CORE] * CORE_SEEDS_A_STORE}[options.kind]
    next_seed = {kind.name: options.seed for kind in kinds}
    begin, done, failed = time.monotonic(), 0, []
    try:
        while not options.count or done < options.count:
            kind = kinds[done % len(kinds)]
            plan = kind.plan(next_seed[kind.name])
            if kind.run(plan).failure:
                failed.append(f"{kind.name} {plan.seed}")
                print(explain(kind, plan), flush=True)
            next_seed[kind.name] += 1
            done += 1
            if done % TELL_EVERY == 0:
                print(f"{done} seeds, {done / (time.monotonic() - begin):.1f} a second, failed: {failed}", flush=True)
    except KeyboardInterrupt:
        pass
    for name, seed in next_seed.items():
        print(f"{name}: seeds {options.seed} to {seed - 1}")
    print(f"failed: {failed}")
    return min(len(failed), 100)


if __name__ == "__main__":
    raise SystemExit(main())
