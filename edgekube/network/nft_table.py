"""One nftables table owned by us: what it should hold, kept in the kernel by atomic batches.

The kernel's generation id guards each batch: somebody else's change in between makes it fail with ERESTART and we look
again. A change of *our* table by somebody else (`nft flush ruleset`, a firewall service restarting) is seen as an event
and answered with one transaction that replaces the whole table.
"""

import errno
import logging
from collections.abc import Awaitable, Callable
from typing import Final
from weakref import WeakSet

import trio

from edgekube.network.api import NetworkFailure
from edgekube.network.netlink import NETLINK_NETFILTER, MessagesLost, Netlink, NetlinkError, error_of
from edgekube.network.nft import Chain, Data, SetSpec, Table, type_length
from edgekube.network.nft_batch import (
    GETCHAIN,
    GETGEN,
    GETRULE,
    GETSETELEM,
    NEWGEN,
    NFNL_SUBSYS_NFTABLES,
    NFTNL_MSG,
    Batch,
    Delta,
    nfgen,
)
from edgekube.network.tlv import (
    NLMSG_ERROR,
    Message,
    attr_str,
    iter_attrs,
    parse_attrs,
    text,
)

logger = logging.getLogger(__name__)

NFNLGRP_NFTABLES: Final = 7
RESTART_ATTEMPTS: Final = 16
INLINE_BYTES_MAX: Final = 32_768  # larger transactions keep the kernel busy for milliseconds: they go to a thread
REBUILD_PAUSE_S: Final = 1.0  # between rebuilds, should somebody keep flushing our table
EVENT_BUFFER_BYTES: Final = 1 << 20
ERRORS_REPORTED_MAX: Final = 3


class NftTable:
    """The desired state of one table and the sockets to keep it so. One owner; calls are serialized."""

    def __init__(self, table: Table) -> None:
        self._family = table.family
        self._name = table.name
        self._sets: dict[str, SetSpec] = dict(table.sets)
        self._chains: dict[str, Chain] = dict(table.chains)
        self._elements: dict[str, dict[bytes, Data]] = {name: dict(held) for name, held in table.elements.items()}
        self._lock = trio.Lock()
        self._socket = Netlink(NETLINK_NETFILTER)
        try:
            self._events = Netlink(NETLINK_NETFILTER, (NFNLGRP_NFTABLES,))
        except BaseException:
            self._socket.close()
            raise
        _open_tables.add(self)
        _ignore_each_other()
        self._events.grow_receive_buffer(EVENT_BUFFER_BYTES)
        self._programmed = False
        self.rebuilds = 0
        self.transactions = 0

    def close(self) -> None:
        _open_tables.discard(self)
        self._socket.close()
        self._events.close()

    @property
    def table(self) -> Table:
        """What the kernel should hold, as a value (no copy: do not keep it across a change)."""
        return Table(
            name=self._name, sets=self._sets, chains=self._chains, elements=self._elements, family=self._family
        )

    async def rebuild(self) -> None:
        """Replace the table as a whole in one transaction. Raises NetworkFailure."""
        async with self._lock:
            await self._rebuild()

    async def apply(self, delta: Delta) -> None:
        """Change desired state and kernel by one transaction; nothing happens when nothing differs.

        Raises NetworkFailure; the desired state has then changed and the next call programs everything.
        """
        async with self._lock:
            if not self._programmed or self._foreign_change():
                self._merge(delta)
                await self._rebuild()
                return
            batch = Batch(self._family, self._name)
            batch.change(self._sets, self._chains, delta, self._elements)
            self._merge(delta)
            if not len(batch):
                return
            self._programmed = False
            if not await self._send(batch):
                logger.warning("nft table=%s changed by others during an update; rebuilding", self._name)
                await self._rebuild()
            self._programmed = True

    async def remove(self) -> None:
        """Drop the table from the kernel."""
        async with self._lock:
            batch = Batch(self._family, self._name)
            batch.remove_table()
            await self._send(batch, guard=False)
            self._programmed = False

    async def watch(self, changed: Callable[[], Awaitable[None]] | None = None) -> None:
        """Until cancelled: rebuild whenever somebody else changes our table.

        `changed` is called after any other program's change of the firewall, our table concerned or not.
        """
        while True:
            try:
                messages = await self._events.receive()
                ours = any(self._concerns_us(message) for message in messages)
            except MessagesLost:
                ours = True
            if ours and self._programmed:
                logger.warning("nft table=%s was changed by another program; rebuilding it", self._name)
                try:
                    await self.rebuild()
                except NetworkFailure as error:
                    logger.error("nft table=%s rebuild failed: %s", self._name, error)
            if changed is not None:
                await changed()
            if ours:
                await trio.sleep(REBUILD_PAUSE_S)

    def dump_chains(self) -> dict[str, int]:
        """Chains of our table in the kernel and how many rules each has."""
        counts: dict[str, int] = {}
        for answer in self._dump(GETCHAIN, attr_str(1, self._name)):
            attrs = parse_attrs(answer.payload, 4)
            if text(attrs.get(1, b"")) == self._name:
                counts[text(attrs.get(3, b""))] = 0
        for answer in self._dump(GETRULE, attr_str(1, self._name)):
            attrs = parse_attrs(answer.payload, 4)
            if text(attrs.get(1, b"")) == self._name:
                counts[text(attrs.get(2, b""))] += 1
        return counts

    def dump_keys(self, set_name: str) -> dict[bytes, int]:
        """The keys a set of ours holds in the kernel, those added by rules included, and the milliseconds they have
        left (0: for ever); empty when the set is not there.
        """
        try:
            answers = self._dump(GETSETELEM, attr_str(1, self._name) + attr_str(2, set_name))
        except NetlinkError as error:
            if error.errno == errno.ENOENT:
                return {}
            raise
        keys: dict[bytes, int] = {}
        for answer in answers:
            for _, element in iter_attrs(parse_attrs(answer.payload, 4).get(3, b"")):
                attrs = parse_attrs(element)
                key = parse_attrs(attrs.get(1, b"")).get(1, b"")
                keys[key] = int.from_bytes(attrs.get(5, b""), "big")
        return keys

    def in_sync(self) -> bool:
        """Whether the kernel's chains, rule counts and static elements are what we want: the check of a doubter."""
        counts = self.dump_chains()
        if counts != {name: len(chain.rules) for name, chain in self._chains.items()}:
            return False
        return all(
            self.dump_keys(name).keys() == self._elements.get(name, {}).keys()
            for name, spec in self._sets.items()
            if not spec.dynamic
        )

    def _dump(self, kind: int, attrs: bytes) -> list[Message]:
        payload = nfgen(self._family) + attrs
        return self._socket.dump(NFTNL_MSG | kind, payload, what=f"read the nft table {self._name}")

    def _merge(self, delta: Delta) -> None:
        for name, spec in delta.sets.items():
            if spec is None:
                self._sets.pop(name, None)
                self._elements.pop(name, None)
            else:
                self._sets[name] = spec
        for name, chain in delta.chains.items():
            if chain is None:
                self._chains.pop(name, None)
            else:
                self._chains[name] = chain
        for name, wanted in delta.elements.items():
            held = self._elements.setdefault(name, {})
            for key, data in wanted.items():
                if data is None:
                    held.pop(key, None)
                else:
                    held[key] = data

    async def _rebuild(self) -> None:
        batch = Batch(self._family, self._name)
        batch.replace_table(self.table, self._learned())
        self._programmed = False
        self._foreign_change()
        await self._send(batch, guard=False)
        self._programmed = True
        self.rebuilds += 1

    def _learned(self) -> dict[str, dict[bytes, int]]:
        """What rules put into dynamic sets that we still want (ClientIP affinity): it survives our restart."""
        found: dict[str, dict[bytes, int]] = {}
        for name, spec in self._sets.items():
            if spec.dynamic:
                found[name] = {
                    key: min(left, spec.timeout_ms)
                    for key, left in self.dump_keys(name).items()
                    if left and len(key) == type_length(spec.key)
                }
        return found

    async def _send(self, batch: Batch, *, guard: bool = True) -> bool:
        """False when a foreign change of our table came first. Raises NetworkFailure with the kernel's first error."""
        for _ in range(RESTART_ATTEMPTS):
            genid = self._generation() if guard else None
            if guard and self._foreign_change():
                return False
            data = batch.encode(genid)
            answers = await self._socket.send_batch(data, in_thread=len(data) > INLINE_BYTES_MAX)
            errors = [(answer.seq, *error_of(answer)) for answer in answers if answer.type == NLMSG_ERROR]
            failed = [(seq, code, words) for seq, code, words in errors if code]
            if not failed and errors:
                self.transactions += 1
                return True
            if not failed:
                raise NetworkFailure(f"nft table {self._name}: the kernel sent no acknowledgement")
            if all(code in (errno.ERESTART, errno.EAGAIN, errno.EINTR) for _, code, _ in failed):
                continue
            if guard and any(code in (errno.ENOENT, errno.EEXIST) for _, code, _ in failed):
                return False
            raise NetworkFailure(f"nft table {self._name}: " + _describe(batch, failed))
        raise NetworkFailure(
            f"nft table {self._name}: the firewall changed {RESTART_ATTEMPTS} times while being updated; "
            "see which program keeps rewriting it (`nft monitor`)"
        )

    def _generation(self) -> int:
        what = "read the nft generation"
        for answer in self._socket.request(NFTNL_MSG | GETGEN, nfgen(0), what=what):
            if answer.type == NFTNL_MSG | NEWGEN:
                return int.from_bytes(parse_attrs(answer.payload, 4)[1], "big")
        raise NetworkFailure(f"{what}: no answer")

    def _foreign_change(self) -> bool:
        """Drain the events already here: did anyone else touch our table?"""
        touched = False
        try:
            while (messages := self._events.receive_nowait()) is not None:
                touched = touched or any(self._concerns_us(message) for message in messages)
        except MessagesLost:
            return True
        return touched

    def _concerns_us(self, message: Message) -> bool:
        if message.type >> 8 != NFNL_SUBSYS_NFTABLES or message.type == NFTNL_MSG | NEWGEN:
            return False
        if message.pid == self._socket.portid or message.payload[0] != self._family:
            return False
        return text(parse_attrs(message.payload, 4).get(1, b"")) == self._name


# This process's tables: what one of them does is no other program's change to the others. A full sync of one would
# otherwise flood the event queues of all.
_open_tables: WeakSet[NftTable] = WeakSet()


def _ignore_each_other() -> None:
    portids = [table._socket.portid for table in _open_tables]
    for table in _open_tables:
        table._events.ignore_senders(portids)


def _describe(batch: Batch, failed: list[tuple[int, int, str]]) -> str:
    """The kernel's complaints, each with the step it is about."""
    parts = []
    for seq, code, words in failed[:ERRORS_REPORTED_MAX]:
        step = batch.steps[seq] if seq < len(batch.steps) else "commit"
        parts.append(str(NetlinkError(code, step, words)))
    return "; ".join(parts)
