"""How the checks see what whole stores do: every core, every state machine, while a simulation runs.

They listen at the seams that all drivers share: a core hands out what it wants done (`RawNode.ready`), a state machine
takes entries (`StateMachine.apply`, `skip`, `replace`). Whose it is tell the core's chance and the machine's base.
"""

from zlib import crc32

from edgekube.raft.confchange import ConfChange, ConfChangeV2
from edgekube.raft.messages import ConfState
from edgekube.raft.rawnode import RawNode, Ready
from edgekube.store import command as commands
from edgekube.store.state import Outcome, Position, StateMachine
from edgekube.testing.sim_database import SimDatabase
from edgekube.testing.sim_store_member import Incarnation, MemberRandom
from edgekube.testing.sim_trio import Patches
from edgekube.testing.sim_world import SimulationFailed


def watch_everything(patches: Patches) -> None:
    """Until the patches are undone."""
    right_ready, right_change = RawNode.ready, RawNode.apply_conf_change
    right_apply, right_skip, right_replace = StateMachine.apply, StateMachine.skip, StateMachine.replace

    def ready(raw: RawNode) -> Ready:
        result = right_ready(raw)
        incarnation = _of_core(raw)
        if incarnation is not None:
            _observe(incarnation, raw)
        return result

    def apply_conf_change(raw: RawNode, change: ConfChange | ConfChangeV2) -> ConfState:
        state = right_change(raw, change)
        incarnation = _of_core(raw)
        if incarnation is not None:
            incarnation.conf_state = state
        return state

    def apply(machine: StateMachine, index: int, term: int, command: commands.Command, now: float) -> Outcome:
        outcome = right_apply(machine, index, term, command, now)
        incarnation = _of_machine(machine)
        if incarnation is not None and outcome.applied is not None:
            incarnation.member.simulation.checks.changed(incarnation.number, outcome.applied)
        _applied(incarnation, machine)
        return outcome

    def skip(machine: StateMachine, index: int, term: int) -> None:
        right_skip(machine, index, term)
        _applied(_of_machine(machine), machine)

    def replace(machine: StateMachine, position: Position) -> None:
        right_replace(machine, position)
        incarnation = _of_machine(machine)
        if incarnation is not None:
            assert isinstance(machine.base, SimDatabase)
            incarnation.conf_state = incarnation.conf_state_before = machine.base.meta.conf_state
            checks = incarnation.member.simulation.checks
            checks.contents(incarnation.number, position.revision, machine.base._rows)

    patches.set(RawNode, "ready", ready)
    patches.set(RawNode, "apply_conf_change", apply_conf_change)
    patches.set(StateMachine, "apply", apply)
    patches.set(StateMachine, "skip", skip)
    patches.set(StateMachine, "replace", replace)


def _of_core(raw: RawNode) -> Incarnation | None:
    """Whose core it is; None for a ghost's."""
    chance = raw.raft.random
    if isinstance(chance, MemberRandom) and not chance.incarnation.is_ghost:
        return chance.incarnation
    return None


def _of_machine(machine: StateMachine) -> Incarnation | None:
    base = machine.base
    incarnation = base.incarnation if isinstance(base, SimDatabase) else None
    return None if incarnation is None or incarnation.is_ghost else incarnation


def _observe(incarnation: Incarnation, raw: RawNode) -> None:
    """A core has done something."""
    checks = incarnation.member.simulation.checks
    incarnation.raw = raw
    checks.role(incarnation.number, raw)
    committed = raw.raft.log.committed
    if committed != incarnation.committed:
        before, incarnation.committed = incarnation.committed, committed
        checks.commits(incarnation.number, raw, before, committed)


def _applied(incarnation: Incarnation | None, machine: StateMachine) -> None:
    """A state machine has taken an entry."""
    if incarnation is None:
        return
    simulation = incarnation.member.simulation
    committed = incarnation.raw.raft.log.committed if incarnation.raw is not None else 0
    if incarnation.conf_state != incarnation.conf_state_before:
        incarnation.conf_state_before = incarnation.conf_state
        simulation.checks.switched(machine.index, incarnation.conf_state)
    if incarnation.log is not None and not incarnation.log.has_durable(machine.index):
        raise SimulationFailed(
            f"member {incarnation.number} applied {machine.index}, which its own log may lose in a power cut"
        )
    simulation.checks.applied(incarnation.number, machine.index, committed, machine.digest, incarnation.conf_state)
    simulation.world.note(7, incarnation.number, machine.index, machine.revision, crc32(machine.digest))
