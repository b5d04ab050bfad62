"""Wrong variants of the product's driver, log, keeper and store, each wrong in one way that somebody could get wrong.

They are patches like those of `mutants`; some of that table's are wrong in the core and found here, too.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any

import msgspec
import trio

from edgekube.raft import core, corestorage, leader, log, node, ticker, wal, walfiles, walformat
from edgekube.raft.logwriter import LogWriter
from edgekube.raft.messages import ConfState, Entry, EntryType, HardState, Message, Snapshot
from edgekube.store import barriers, forwarding, kept, opening, requests, snapshots, state, transfer, watch, writes
from edgekube.store import command as commands
from edgekube.store.api import TxnResult
from edgekube.store.history import Applied
from edgekube.store.replicated import ReplicatedStore
from tests.sim.mutants import Mutant, commits_by_count, reads_at_once, settles_all

# -- the log


def writes_without_sync(batch: Sequence[tuple[int, int, bytes]]) -> None:
    for fd, offset, data in batch:
        walfiles.pwrite(fd, data, offset)


def tries_the_sync_again(batch: Sequence[tuple[int, int, bytes]]) -> None:
    try:
        right_write_and_sync(batch)
    except OSError:
        for fd in {fd for fd, _, _ in batch}:
            walfiles.os.fdatasync(fd)


def checks_no_record(data: bytes, offset: int, *, base: int, chain: int, nonce: int) -> walformat.Frame | None:
    """Checks a frame's header alone: torn records are taken as they are."""
    frame = right_decode_frame(data, offset, base=base, chain=chain, nonce=nonce)
    if frame is not None or offset + walformat.FRAME_HEADER_BYTES > len(data):
        return frame
    magic, size, found, position, synced, previous, crc = walformat._frame_header.unpack_from(data, offset)
    begin = offset + walformat.FRAME_HEADER_BYTES
    if magic != b"EkFr" or position != base + offset or crc != walformat.crc32(data[offset : begin - 4], previous):
        return None
    records, place = [], begin
    while place + walformat.RECORD_OVERHEAD_BYTES <= begin + size:
        length, kind = walformat._record_header.unpack_from(data, place)
        start = place + walformat._record_header.size
        records.append(walformat.Record(kind, data[start : start + length], base + place))
        place = start + length + 4
        crc = walformat._crc.unpack_from(data, place - 4)[0]
    return walformat.Frame(base + offset, base + walformat.aligned(begin + size), synced, found, crc, tuple(records))


def attests_nothing(data: bytes, offset: int, *, base: int) -> Iterator[int]:
    return iter(())


def only_syncs(self: wal.Wal, segment: walfiles.Segment, known: int) -> None:
    walfiles.os.fdatasync(segment.fd)


async def compacts_all(self: wal.Wal, index: int) -> None:
    await right_compact(self, self.last_index())


def activates_unsynced(self: walfiles.LogFolder, number: int) -> walfiles.Segment:
    """The new name may be on the disk before the header is."""
    if not self.has_spare:
        self.make_spare()
    spare, path = self._path / "spare", self._path / f"{number:016x}.log"
    fd = walfiles.os.open(spare, walfiles.os.O_RDWR)
    walfiles.pwrite(fd, walformat.encode_segment_header(number, self._segment_size, self._identity), 0)
    spare.rename(path)
    self.has_spare = False
    self.sync()
    return walfiles.Segment(number, path, fd, 0)


def forgets_vote(
    self: wal.Wal,
    entries: Sequence[Entry] = (),
    hard_state: HardState | None = None,
    conf_state: ConfState | None = None,
) -> int:
    return right_append(self, entries, None if hard_state is None else HardState(hard_state.term, 0, 0), conf_state)


def written_position(self: wal.Wal) -> int:
    return self._end


right_write_and_sync = walfiles.write_and_sync
right_decode_frame = walformat.decode_frame
right_compact = wal.Wal.compact
right_append = wal.Wal.append


# -- the driver


async def answers_before_sync(self: LogWriter) -> Sequence[Message]:
    """What is written is synced with the next write."""
    await self._log.sync(self.__dict__.get("ticket", 0))
    group = self._take_group()
    for message in group:
        if message.snapshot is not None:
            self.__dict__["ticket"] = await self._install(message)
        elif self._needs_write(message):
            self.__dict__["ticket"] = await self._append(message)
        self._commit = max(self._commit, message.commit)
    return group


def notes_newest_commit(self: LogWriter, message: Message) -> bool:
    """The commit index goes along with whatever is written next."""
    self._commit = max(self._commit, message.commit)
    return right_offer(self, message)


def applies_beside_snapshot(self: node.RaftNode) -> None:
    """What waits to be applied is, though a snapshot is on its way in."""
    while True:
        if self._applies and self._application.may_apply:
            message = self._applies.popleft()
            self._apply(message.entries)
            self._respond(message)
        elif self._raw.has_ready():
            self._handle(self._raw.ready())
        else:
            return


async def writes_no_state(self: LogWriter, message: Message) -> int:
    """A changed term or vote is written only together with entries."""
    if message.entries:
        return await right_log_append(self, message)
    self._durable = (message.term, message.vote)
    return 0


def loses_change_behind_command(self: node.RaftNode, entries: Sequence[Entry]) -> None:
    seen, left = False, []
    for entry in entries:
        left.append(Entry(entry.term, entry.index) if seen and entry.type != EntryType.NORMAL else entry)
        seen = seen or bool(entry.data)
    right_apply(self, left)


async def restores_no_state(self: LogWriter, message: Message) -> int:
    snapshot = message.snapshot
    assert snapshot is not None
    await self._application.install_snapshot(snapshot)
    self._commit = max(self._commit, snapshot.index)
    return self._log.restore(snapshot.index, snapshot.term, snapshot.conf_state, HardState(0, 0, snapshot.index))


async def answers_alone_before_sync(self: LogWriter, entries: Sequence[Entry]) -> None:
    self._log.append(entries)


def whole_log(log: wal.Wal, member: int) -> int:
    return log.last_index()


right_log_append = LogWriter._append
right_offer = LogWriter.offer
right_apply = node.RaftNode._apply


# -- keeper and store


def applies_unstable(self: log.Log, allow_unstable: bool) -> int:
    return self.committed


def settles_what_is_alike(self: state.StateMachine, written: Any, revision: int) -> None:
    for key in written:
        if key in self._recent and (self._recent[key] is None or self._recent[key].mod_revision <= revision):
            del self._recent[key]
    self._recent_keys = sorted(self._recent)


def latest_membership(self: kept.KeptState, position: state.Position) -> Any:
    meta = right_meta_at(self, position)
    return msgspec.structs.replace(meta, conf_state=self.conf_state)


async def finishes_no_install(disk: Any, log: Any) -> None:
    return


def admits_again(self: writes.Session, floor: int, numbers: Sequence[int]) -> list[int]:
    return [number for number in numbers if number not in self.pending]


def loses_of_this_term(self: writes.InFlight, term: int) -> list[writes.Write]:
    return right_lost(self, term + 1)


def takes_in_any_term(self: writes.Taken, data: bytes, term: int, session: writes.Session, sequence: int) -> None:
    right_taken(self, data, 0, session, sequence)


def notes_new_term_late(self: ReplicatedStore, entries: Sequence[Entry]) -> None:
    """What is lost with an earlier term is looked for once, behind all entries."""
    term = self._state.term
    published: list[Applied] = []
    for entry in entries:
        self._apply_one(entry, trio.current_time(), published)
    if self._state.term != term:
        self._new_term_applied()
    self._applied_some(published)
    self._applied_lot.unpark_all()


def own_by_index(self: writes.InFlight, index: int, term: int) -> writes.Write | None:
    if self._own and self._own[0].index == index:
        return self._own.popleft()
    return None


def skips_what_is_newer(data: bytes) -> commands.Command:
    try:
        return right_decode(data)
    except commands.UnknownCommand:
        return commands.Command(commands.VERSION, 0, (), ())


async def waits_for_no_index(self: ReplicatedStore, index: int) -> None:
    self._hub.check()


async def answers_late_comers(self: barriers.Barriers) -> None:
    while True:
        while not self._waiting:
            await self._lot.park()
        waiting, self._waiting = self._waiting, []
        index = await self._pass(waiting)
        late, self._waiting = self._waiting, []
        for barrier in (*waiting, *late):
            barrier.reply(index)


def passes_by_any_answer(self: barriers.Barriers, index: int, context: bytes) -> None:
    """Takes the answer to an earlier question for its own."""
    self._index = max(index, self._index)
    self._lot.unpark_all()


def takes_silence_for_refusal(self: forwarding.Forwarder, write: writes.Write, answer: requests.Answer) -> None:
    verdict = answer.verdict if answer.verdict != requests.Verdict.AGAIN else requests.Verdict.NOT_LEADER
    right_not_accepted(self, write, requests.Answer(verdict, answer.reason))


async def answers_when_taken(self: forwarding.Forwarder) -> None:
    await right_forward(self)
    for write in self._in_flight._sent.values():
        if not write.doubtful:
            write.reply(TxnResult(True, self._node.commit))


def proposes_again_after_snapshot(self: ReplicatedStore) -> None:
    for write in self._in_flight.drain():
        write.term = write.index = 0
        self.submit(write)
    right_snapshot_installed(self)


async def chunks_of_now(self: snapshots.Snapshots, snapshot: Snapshot) -> AsyncGenerator[bytes, None]:
    writer, start = transfer.ChunkWriter(snapshot), b"\x01"
    while page := self._store.range(start, b"\xff", limit=2):
        yield writer.chunk(page)
        start = page[-1].key + b"\0"
        await snapshots.trio.lowlevel.checkpoint()
    yield writer.chunk(())


def answers_when_proposed(self: ReplicatedStore, batch: Sequence[Any]) -> None:
    right_proposed(self, batch)
    for proposal in batch:
        if isinstance(proposal, writes.Write):
            proposal.reply(TxnResult(True, self.revision + 1))


right_decode = commands.decode
right_meta_at = kept.KeptState._meta_at
right_lost = writes.InFlight.lost
right_taken = writes.Taken.__init__
right_not_accepted = forwarding.Forwarder._not_accepted
right_forward = forwarding.Forwarder._forward
right_snapshot_installed = ReplicatedStore._snapshot_installed
right_proposed = ReplicatedStore.proposed

STORE_MUTANTS = [
    Mutant("the log is not synced", 8, [(wal, "write_and_sync", writes_without_sync)]),
    Mutant("a failed sync is tried again", 80, [(wal, "write_and_sync", tries_the_sync_again)]),
    Mutant("a torn frame is taken", 8, [(walformat, "decode_frame", checks_no_record)], story="torn"),
    Mutant("what the page cache holds is taken for durable", 150, [(wal.Wal, "_settle", only_syncs)]),
    Mutant("the log is cut beyond the database", 8, [(wal.Wal, "compact", compacts_all)]),
    Mutant("a segment has its name before its header", 8, [(walfiles.LogFolder, "activate", activates_unsynced)]),
    Mutant("the log forgets the vote", 30, [(wal.Wal, "append", forgets_vote)]),
    Mutant(
        "the database is told of more than is synced", 8, [(wal.Wal, "synced_position", property(written_position))]
    ),
    Mutant("answers leave before the sync", 8, [(LogWriter, "write", answers_before_sync)]),
    Mutant("who is alone answers before the sync", 8, [(LogWriter, "write_alone", answers_alone_before_sync)]),
    Mutant(
        "a commit index is stored ahead of its entries",
        8,
        [(LogWriter, "offer", notes_newest_commit)],
        story="held-up",
    ),
    Mutant(
        "entries are applied beside a snapshot",
        8,
        [(node.RaftNode, "_process", applies_beside_snapshot)],
        story="overtaken",
    ),
    Mutant("a vote is written with the next entry", 30, [(LogWriter, "_append", writes_no_state)]),
    Mutant("a change behind a command is lost", 30, [(node.RaftNode, "_apply", loses_change_behind_command)]),
    Mutant("all that is stored is committed at a start", 30, [(corestorage, "committed_alone", whole_log)]),
    Mutant("a halted leader keeps its lease", 4, [(ticker.Ticker, "age_lease", lambda self: None)], story="halted"),
    Mutant("a leader takes itself for alone", 8, [(node.RaftNode, "is_alone", property(lambda self: self.leads))]),
    Mutant("a read is answered without asking a quorum", 30, [(leader, "_read_index", reads_at_once)]),
    Mutant("a flush drops later tombstones", 8, [(state.StateMachine, "settle", settles_what_is_alike)]),
    Mutant("the database has the latest membership", 30, [(kept.KeptState, "_meta_at", latest_membership)]),
    Mutant("watches outlive an installed state", 80, [(watch.WatchHub, "reset", lambda self: None)]),
    Mutant("a forwarded write is taken twice", 30, [(writes.Session, "admit", admits_again)]),
    Mutant(
        "a write of this term is given up for lost",
        4,
        [(writes.InFlight, "lost", loses_of_this_term)],
        story="superseded",
    ),
    Mutant("a write is answered when it is proposed", 8, [(ReplicatedStore, "proposed", answers_when_proposed)]),
    Mutant("a command of a newer version is skipped", 80, [(commands, "decode", skips_what_is_newer)]),
    Mutant(
        "a forwarded write is answered when it is taken", 8, [(forwarding.Forwarder, "_forward", answers_when_taken)]
    ),
    Mutant("a barrier does not wait to apply its entry", 8, [(ReplicatedStore, "wait_index", waits_for_no_index)]),
    Mutant("a barrier serves those who came after it", 12, [(barriers.Barriers, "run", answers_late_comers)]),
    Mutant("a barrier takes an earlier answer", 150, [(barriers.Barriers, "passed", passes_by_any_answer)]),
    Mutant("a flush drops keys that changed meanwhile", 8, [(state.StateMachine, "settle", settles_all)]),
    Mutant("an interrupted install is not finished", 8, [(opening, "_finish_install", finishes_no_install)]),
    Mutant("entries are applied before this log has them", 8, [(log.Log, "_appliable_to", applies_unstable)]),
    Mutant("a snapshot is read while the state goes on", 8, [(snapshots.Snapshots, "chunks", chunks_of_now)]),
    Mutant("damage is taken for a torn tail", 8, [(walformat, "attestations", attests_nothing)], story="rotten"),
    Mutant(
        "the log does not know the membership",
        4,
        [(LogWriter, "note_membership", lambda *_: None)],
        story="left-alone",
    ),
    Mutant("a snapshot wipes term and vote", 4, [(LogWriter, "_install", restores_no_state)], story="restored"),
    Mutant(
        "an unanswered write is taken for refused",
        4,
        [(forwarding.Forwarder, "_not_accepted", takes_silence_for_refusal)],
        story="unanswered",
    ),
    Mutant(
        "a forwarded write is taken in a later term",
        4,
        [(writes.Taken, "__init__", takes_in_any_term)],
        story="back-again",
    ),
    Mutant(
        "an entry of an old term is committed by count",
        4,
        [(core.Raft, "maybe_commit", commits_by_count)],
        story="figure-8",
    ),
    # Either alone is harmless: see TRACK_RECORD.md.
    Mutant(
        "a write is known by its index alone, and lost ones are looked for late",
        4,
        [(writes.InFlight, "own_at", own_by_index), (ReplicatedStore, "apply", notes_new_term_late)],
        story="superseded",
    ),
    Mutant(
        "writes are proposed again after a snapshot",
        4,
        [(ReplicatedStore, "_snapshot_installed", proposes_again_after_snapshot)],
        story="outrun",
    ),
]
