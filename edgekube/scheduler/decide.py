"""One scheduling decision: a node's name, or the sentence that explains why there is none. Pure."""

import random
from collections import Counter

import msgspec

from edgekube.scheduler.filters import prepare, problem
from edgekube.scheduler.scores import rank
from edgekube.scheduler.snapshot import Snapshot
from edgekube.types.core_v1 import Pod


class Decision(msgspec.Struct, frozen=True):
    """`node` is "" when no node fits; then `message` says why, as kube-scheduler words it."""

    node: str = ""
    message: str = ""
    feasible: int = 0


def decide(pod: Pod, snapshot: Snapshot, rng: random.Random) -> Decision:
    """The best feasible node; `rng` breaks ties, so that equal nodes share the load."""
    if not snapshot.nodes:
        return Decision(message="no nodes available to schedule pods")
    wanted = prepare(pod, snapshot)
    reasons: Counter[str] = Counter()
    feasible = []
    for state in snapshot.nodes.values():
        reason = problem(wanted, state)
        if reason:
            reasons.update(reason.split(";"))
        else:
            feasible.append(state)
    if not feasible:
        return Decision(message=explain(len(snapshot.nodes), reasons))
    if len(feasible) == 1:
        return Decision(node=feasible[0].name, feasible=1)
    totals = rank(wanted, feasible, snapshot)
    best = max(totals.values())
    winners = [name for name, total in totals.items() if total == best]
    return Decision(node=rng.choice(winners), feasible=len(feasible))


def explain(nodes: int, reasons: Counter[str]) -> str:
    """`0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.` (framework.FitError)"""
    parts = sorted(f"{count} {reason}" for reason, count in reasons.items())
    return f"0/{nodes} nodes are available: {', '.join(parts)}."
