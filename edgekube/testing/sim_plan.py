"""What goes wrong in a run, and when: a plan made from a seed, and its reduction to what matters.

A plan is made before the run and names no state: a fault carries fractions in [0, 1) which the run turns into a choice
among what is there. So faults can be left out of a plan one by one while the rest keeps its meaning.
"""

import random
from collections.abc import Callable, Collection, Mapping
from typing import Final

import msgspec

# What can go wrong, and how often in relation to the others.
FAULTS: Final[dict[str, int]] = {
    "split": 4,  # two sides that do not hear each other
    "isolate": 3,  # one member alone
    "one-way": 3,  # one member hears and is not heard, or the other way round
    "bridge": 1,  # two sides that only one member connects
    "flap": 2,  # one link comes and goes
    "storm": 2,  # a time of heavy loss, repetition and delay
    "crash": 6,
    "crash-many": 2,
    "stall": 3,  # a process stands still, then goes on
    "jump": 2,  # ticks come in a burst
    "slow-disk": 2,
    "full-disk": 2,
    "rot": 1,  # a stored log is damaged while its member is down
    "compact": 4,  # a log is cut short, so that laggards need a snapshot
    "change": 5,  # the membership
    "transfer": 2,
    "campaign": 2,
    "contest": 3,  # two stand for election at once, and voters crash as they vote
    "churn": 3,  # one leader after the other is lost
    "upgrade": 2,
}

# A lease counts on clocks that run equally fast, and on candidates that ask first unless their leader sent them.
LEASE_EXCLUDES: Final = ("stall", "jump", "contest", "churn")

# Stories of `sim_scenarios`, of which an aimed plan tells one several times.
SCENARIOS: Final = ("double-vote", "figure-8", "cut-off", "joint-split", "two-changes", "late-report")
AIMED_EVERY: Final = 5
"""One of so many plans is aimed."""


class Fault(msgspec.Struct, frozen=True):
    """Something that goes wrong `at` milliseconds; `chances` decide on whom, how and how long."""

    at: float
    kind: str
    chances: tuple[float, float, float]

    def __str__(self) -> str:
        return f"{self.at:.0f} ms {self.kind} {' '.join(f'{chance:.3f}' for chance in self.chances)}"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run: its seed, how the group is set up, and the faults. Times in milliseconds."""

    seed: int
    faults: tuple[Fault, ...]
    members: int
    duration: float
    clients: int
    think: float  # a client's pause between operations, on average
    loss: float
    repeat: float
    delay_max: float
    disk: float  # one write and sync, on average
    drift: float  # how much clocks differ in speed
    asynchronous: bool
    pre_vote: bool
    check_quorum: bool
    lease: bool
    step_down: bool
    message_size: int
    window: int


def make_plan(
    seed: int, faults_known: Mapping[str, int] = FAULTS, *, lease_excludes: Collection[str] = LEASE_EXCLUDES
) -> Plan:
    """The plan of a seed. Each takes its own subset of the kinds of faults: with all of them at once few get far."""
    if faults_known is FAULTS and seed % AIMED_EVERY == AIMED_EVERY - 1:
        return make_scenario_plan(seed)
    rng = random.Random(seed)
    kinds = [kind for kind in faults_known if rng.random() < 0.5]
    if "rot" in kinds:
        # Together they could leave less than a quorum for ever: which members may rot depends on who votes.
        kinds = [kind for kind in kinds if kind != "change"]
    duration = rng.choice((4_000.0, 8_000.0, 8_000.0, 16_000.0))
    lease = rng.random() < 0.1
    if lease:
        kinds = [kind for kind in kinds if kind not in lease_excludes]
    count = rng.randrange(int(duration / 400)) if kinds else 0
    weights = [faults_known[kind] for kind in kinds]
    faults = tuple(
        Fault(round(at, 3), rng.choices(kinds, weights)[0], (rng.random(), rng.random(), rng.random()))
        for at in sorted(rng.uniform(0.05, 0.9) * duration for _ in range(count))
    )
    harsh = rng.random() < 0.5
    return Plan(
        seed=seed,
        faults=faults,
        members=rng.choice((1, 2, 3, 3, 3, 3, 3, 4, 5, 5)),
        duration=duration,
        clients=rng.choice((2, 3, 4, 5)),
        think=rng.choice((30.0, 60.0, 120.0)),
        loss=rng.choice((0.01, 0.05, 0.15)) if harsh else 0.0,
        repeat=rng.choice((0.0, 0.05, 0.2)) if harsh else 0.0,
        delay_max=rng.choice((3.0, 10.0, 40.0)),
        disk=rng.choice((0.5, 4.0, 15.0)),
        drift=0.0 if lease else rng.choice((0.0, 0.02, 0.2)),
        asynchronous=rng.random() < 0.75,
        pre_vote=rng.random() < 0.7,
        check_quorum=lease or rng.random() < 0.7,
        lease=lease,
        step_down=rng.random() < 0.7,
        message_size=rng.choice((0, 200, 4096, 1 << 20)),
        window=rng.choice((1, 4, 256)),
    )


def make_scenario_plan(seed: int) -> Plan:
    """A plan for a calm group to which one of `SCENARIOS` happens several times."""
    kind = SCENARIOS[seed // AIMED_EVERY % len(SCENARIOS)]
    count = 8 if kind in ("double-vote", "cut-off") else 4  # some stories are short
    plan = make_aimed_plan(seed, kind, count=count, members=5 if kind == "late-report" else 3, duration=8_500.0)
    if kind == "cut-off":  # others must be elected and write before the leader misses them
        lease = random.Random(seed).random() < 0.7
        return msgspec.structs.replace(
            plan, clients=4, think=10.0, delay_max=3.0, disk=0.5, check_quorum=True, lease=lease
        )
    if kind == "late-report":
        return msgspec.structs.replace(plan, asynchronous=True)
    if kind == "joint-split":
        # A removed leader that stops at once can leave members who need its vote and whose logs are shorter.
        return msgspec.structs.replace(plan, step_down=False)
    return msgspec.structs.replace(plan, message_size=0) if kind == "figure-8" else plan


def make_aimed_plan(seed: int, kind: str, *, count: int, members: int, duration: float) -> Plan:
    """A plan for a calm group to which one story happens so many times."""
    rng = random.Random(seed)
    pace = (duration - 1300) / count
    faults = tuple(
        Fault(800.0 + (n + rng.random() * 0.25) * pace, kind, (rng.random(), rng.random(), rng.random()))
        for n in range(count)
    )
    return Plan(
        seed=seed,
        faults=faults,
        members=members,
        duration=duration,
        clients=rng.choice((2, 4)),
        think=rng.choice((30.0, 60.0)),
        loss=0.0,
        repeat=rng.choice((0.0, 0.05)),
        delay_max=rng.choice((3.0, 10.0)),
        disk=rng.choice((4.0, 15.0)),
        drift=0.0,
        asynchronous=rng.random() < 0.75,
        pre_vote=rng.random() < 0.7,
        check_quorum=rng.random() < 0.7,
        lease=False,
        step_down=rng.random() < 0.7,
        message_size=rng.choice((0, 4096)),
        window=rng.choice((1, 256)),
    )


def shrink(plan: Plan, fails: Callable[[Plan], bool], *, runs_max: int = 200) -> Plan:
    """The plan with as few faults as still fail: halves are left out first, then less and less (delta debugging)."""
    runs = 0
    faults = list(plan.faults)
    size = max(len(faults) // 2, 1)
    while size and faults:
        place = 0
        shorter = False
        while place < len(faults) and runs < runs_max:
            fewer = faults[:place] + faults[place + size :]
            runs += 1
            if fails(msgspec.structs.replace(plan, faults=tuple(fewer))):
                faults = fewer
                shorter = True
            else:
                place += size
        if runs >= runs_max or (size == 1 and not shorter):
            break
        if not shorter:
            size //= 2
        size = min(size, max(len(faults) // 2, 1)) if faults else 0
    least = msgspec.structs.replace(plan, faults=tuple(faults))
    for calmer in ({"loss": 0.0}, {"repeat": 0.0}, {"drift": 0.0}, {"clients": 1}, {"duration": plan.duration / 2}):
        candidate = msgspec.structs.replace(least, **calmer)
        if candidate != least and fails(candidate):
            least = candidate
    return least
