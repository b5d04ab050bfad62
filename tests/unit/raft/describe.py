"""Values of the Raft core as etcd-io/raft's scenario files print them."""

from __future__ import annotations

from collections.abc import Iterable

from edgekube.raft import confchange
from edgekube.raft.confchange import ConfChangeType
from edgekube.raft.errors import ConfChangeError
from edgekube.raft.messages import (
    LOCAL_APPEND_THREAD,
    LOCAL_APPLY_THREAD,
    Entry,
    EntryType,
    HardState,
    Message,
    MessageType,
    Snapshot,
)
from edgekube.raft.rawnode import Ready

_ENTRY_TYPES = {
    EntryType.NORMAL: "EntryNormal",
    EntryType.CONF_CHANGE: "EntryConfChange",
    EntryType.CONF_CHANGE_V2: "EntryConfChangeV2",
}
_CHANGES = {
    ConfChangeType.ADD_NODE: "v",
    ConfChangeType.ADD_LEARNER_NODE: "l",
    ConfChangeType.REMOVE_NODE: "r",
    ConfChangeType.UPDATE_NODE: "u",
}
_ESCAPES = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}


def quote(data: bytes) -> str:
    """Data as Go's %q prints it."""
    text = ""
    for character in data.decode("utf-8", "surrogateescape"):
        code = ord(character)
        if code in _ESCAPES:
            text += _ESCAPES[code]
        elif 0xDC80 <= code <= 0xDCFF:
            text += f"\\x{code - 0xDC00:02x}"
        elif character.isprintable():
            text += character
        elif code < 0x80:
            text += f"\\x{code:02x}"
        else:
            text += f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return f'"{text}"'


def target(member: int) -> str:
    special = {0: "None", LOCAL_APPEND_THREAD: "AppendThread", LOCAL_APPLY_THREAD: "ApplyThread"}
    return special.get(member, f"{member:x}")


def entry(value: Entry) -> str:
    text = f"{value.term}/{value.index} {_ENTRY_TYPES[EntryType(value.type)]}"
    if value.type == EntryType.NORMAL:
        return f"{text} {quote(value.data)}"
    try:
        changes = confchange.decode(value).as_v2().changes
    except ConfChangeError as error:
        return f"{text} {error}"
    return " ".join([text, *(f"{_CHANGES[change.type]}{change.node_id}" for change in changes)])


def entries(values: Iterable[Entry]) -> list[str]:
    return [entry(value) for value in values]


def hard_state(value: HardState) -> str:
    vote = f" Vote:{value.vote}" if value.vote else ""
    return f"Term:{value.term}{vote} Commit:{value.commit}"


def _numbers(values: Iterable[int]) -> str:
    return f"[{' '.join(map(str, values))}]"


def snapshot(value: Snapshot) -> str:
    state = value.conf_state
    return (
        f"Index:{value.index} Term:{value.term} ConfState:Voters:{_numbers(state.voters)} "
        f"VotersOutgoing:{_numbers(state.voters_outgoing)} Learners:{_numbers(state.learners)} "
        f"LearnersNext:{_numbers(state.learners_next)} AutoLeave:{str(state.auto_leave).lower()}"
    )


def message(value: Message, indent: str = "") -> str:
    text = (
        f"{indent}{target(value.from_)}->{target(value.to)} {MessageType(value.type).name} "
        f"Term:{value.term} Log:{value.log_term}/{value.index}"
    )
    if value.reject:
        text += f" Rejected (Hint: {value.reject_hint})"
    if value.commit:
        text += f" Commit:{value.commit}"
    if value.vote:
        text += f" Vote:{value.vote}"
    if len(value.entries) == 1:
        text += f" Entries:[{entry(value.entries[0])}]"
    elif value.entries:
        text += " Entries:["
        text += "".join(f"\n{indent}  {entry(one)}" for one in value.entries)
        text += f"\n{indent}]"
    if value.snapshot is not None and value.snapshot.index:
        text += f"\n{indent}  Snapshot: {snapshot(value.snapshot)}"
    if value.responses:
        text += " Responses:["
        text += "".join("\n" + message(one, indent + "  ") for one in value.responses)
        text += f"\n{indent}]"
    return text


def ready(value: Ready) -> str:
    lines = []
    if value.soft_state is not None:
        lines.append(f"Lead:{value.soft_state.lead} State:{value.soft_state.state.name}")
    if value.hard_state is not None:
        lines.append(f"HardState {hard_state(value.hard_state)}")
    if value.read_states:
        states = " ".join(f"{{{state.index} {_numbers(state.context)}}}" for state in value.read_states)
        lines.append(f"ReadStates [{states}]")
    if value.entries:
        lines += ["Entries:", *entries(value.entries)]
    if value.snapshot is not None:
        lines.append(f"Snapshot {snapshot(value.snapshot)}")
    if value.committed_entries:
        lines += ["CommittedEntries:", *entries(value.committed_entries)]
    if value.messages:
        lines += ["Messages:", *map(message, value.messages)]
    if not lines:
        return "<empty Ready>"
    return "\n".join([f"Ready MustSync={str(value.must_sync).lower()}:", *lines])
