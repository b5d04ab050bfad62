"""A netlink socket for a trio program.

The kernel works on a netlink request inside sendmsg and queues all answers before it returns (a dump continues inside
recvmsg), so a request needs no waiting: send and read are plain non-blocking calls of some 20 us, no other task can
come between, and no lock is needed. Only two things ever wait: multicast events (`receive`), and requests known to
take the kernel milliseconds (`request_in_thread`), which release the GIL for their whole length.
"""

import errno
import os
import socket
import struct
from collections.abc import Collection, Iterable

import trio

from edgekube.network.api import NetworkFailure
from edgekube.network.tlv import (
    NLM_F_ACK,
    NLM_F_ACK_TLVS,
    NLM_F_CAPPED,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    NLMSGERR_ATTR_MSG,
    Message,
    TlvError,
    message,
    parse_attrs,
    parse_messages,
    text,
)

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12

RECEIVE_BYTES = 1 << 18
DUMP_ATTEMPTS = 8

_SOL_NETLINK = 270
_NETLINK_ADD_MEMBERSHIP = 1
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_SO_ATTACH_FILTER = 26
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33
_BPF_LOAD_WORD, _BPF_JUMP_EQUAL, _BPF_RETURN = 0x20, 0x15, 0x06


class NetlinkError(NetworkFailure):
    """The kernel refused a request. `errno` as in errno(3); with the kernel's own words if it gave any."""

    def __init__(self, code: int, what: str, kernel_message: str = "") -> None:
        self.errno = code
        detail = f" ({kernel_message})" if kernel_message else ""
        super().__init__(f"{what}: {os.strerror(code)}{detail}")


class MessagesLost(NetworkFailure):
    """The event queue overflowed; the reader must look at the whole state again."""


class Netlink:
    """One netlink socket, in the network namespace of the thread that makes it."""

    def __init__(self, protocol: int, groups: Iterable[int] = ()) -> None:
        self._sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        try:
            self._sock.setblocking(False)
            self._sock.bind((0, 0))
            for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK):
                self._sock.setsockopt(_SOL_NETLINK, option, 1)
            for group in groups:
                self._sock.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)
        except OSError as error:
            self._sock.close()
            raise NetlinkError(error.errno or 0, "open a netlink socket") from error
        self.portid: int = self._sock.getsockname()[0]
        self._seq = 0

    def close(self) -> None:
        self._sock.close()

    def grow_send_buffer(self, size_bytes: int) -> None:
        """Room for one datagram of this size; needs CAP_NET_ADMIN beyond the system's limit."""
        if self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) < size_bytes + 4096:
            self._sock.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, size_bytes + 65536)

    def grow_receive_buffer(self, size_bytes: int) -> None:
        self._sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size_bytes)

    def ignore_senders(self, portids: Collection[int]) -> None:
        """Have the kernel drop events caused by requests of these sockets; replaces what was ignored before.

        Classic BPF on the first message header: its `nlmsg_pid`, 12 bytes in, is the requester's port id, and all
        events of one transaction share a datagram.
        """
        import array  # only here, a few times in a process's life

        steps = [(_BPF_LOAD_WORD, 0, 0, 12)]
        for left, portid in zip(range(len(portids), 0, -1), portids, strict=True):
            # BPF loads words in network order. A match jumps over the other comparisons and the accepting return.
            steps.append((_BPF_JUMP_EQUAL, left, 0, int.from_bytes(struct.pack("=I", portid), "big")))
        steps += [(_BPF_RETURN, 0, 0, 0xFFFFFFFF), (_BPF_RETURN, 0, 0, 0)]
        program = array.array("B", b"".join(struct.pack("=HBBI", *step) for step in steps))
        address, _ = program.buffer_info()
        self._sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(steps), address))

    def request(self, kind: int, payload: bytes, flags: int = 0, *, what: str) -> list[Message]:
        """Send one request, wait for its acknowledgement, return the answers before it.

        `what` says in the error what was being done to what. Raises NetlinkError.
        """
        self._send(kind, payload, flags, what)
        return self._collect(what)

    async def request_in_thread(self, kind: int, payload: bytes, flags: int = 0, *, what: str) -> list[Message]:
        """`request` for what keeps the kernel busy for milliseconds (removing links, large transactions).

        The caller keeps other users off the socket meanwhile.
        """
        self._seq += 1
        data = message(kind, flags | NLM_F_REQUEST | NLM_F_ACK, self._seq, payload)
        await trio.to_thread.run_sync(self._sock.send, data)
        return self._collect(what)

    def dump(self, kind: int, payload: bytes, *, what: str) -> list[Message]:
        """Everything of a table; asked again when it changed under the reader. Raises NetlinkError."""
        for _ in range(DUMP_ATTEMPTS):
            self._send(kind, payload, NLM_F_DUMP, what)
            answers = self._collect(what)
            if not any(answer.flags & NLM_F_DUMP_INTR for answer in answers):
                break
        return answers

    async def send_batch(self, data: bytes, *, in_thread: bool) -> list[Message]:
        """Send ready-made messages as one datagram, return every answer there is (nfnetlink batches)."""
        self.grow_send_buffer(len(data))
        if in_thread:
            await trio.to_thread.run_sync(self._sock.send, data)
        else:
            self._sock.send(data)
        answers: list[Message] = []
        while True:
            try:
                answers += parse_messages(self._sock.recv(RECEIVE_BYTES))
            except BlockingIOError:
                return answers
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # so many messages failed that their errors did not fit
                    raise

    async def receive(self) -> list[Message]:
        """The next event datagram. Raises MessagesLost after an overflow."""
        while True:
            received = self.receive_nowait()
            if received is not None:
                return received
            await trio.lowlevel.wait_readable(self._sock)

    def receive_nowait(self) -> list[Message] | None:
        """An event datagram, or None when there is none. Raises MessagesLost after an overflow."""
        try:
            return list(parse_messages(self._sock.recv(RECEIVE_BYTES)))
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                raise MessagesLost("netlink events were lost: the receive buffer overflowed") from error
            raise

    def _send(self, kind: int, payload: bytes, flags: int, what: str) -> None:
        self._seq += 1
        try:
            self._sock.send(message(kind, flags | NLM_F_REQUEST | NLM_F_ACK, self._seq, payload))
        except OSError as error:
            raise NetlinkError(error.errno or 0, what) from error

    def _collect(self, what: str) -> list[Message]:
        answers: list[Message] = []
        while True:
            try:
                data = self._sock.recv(RECEIVE_BYTES)
            except BlockingIOError as error:
                raise NetworkFailure(f"{what}: the kernel sent no acknowledgement") from error
            for answer in parse_messages(data):
                if answer.seq != self._seq:
                    continue
                if answer.type == NLMSG_ERROR:
                    raise_error(answer, what)
                    return answers
                if answer.type == NLMSG_DONE:
                    return answers
                answers.append(answer)


def error_of(answer: Message) -> tuple[int, str]:
    """(errno, the kernel's words) of an NLMSG_ERROR; errno 0 is an acknowledgement."""
    code = -struct.unpack_from("=i", answer.payload)[0]
    words = ""
    if answer.flags & NLM_F_ACK_TLVS:
        offset = 4 + (16 if answer.flags & NLM_F_CAPPED else struct.unpack_from("=I", answer.payload, 4)[0])
        try:
            words = text(parse_attrs(answer.payload, offset).get(NLMSGERR_ATTR_MSG, b""))
        except TlvError:
            words = ""
    return code, words


def raise_error(answer: Message, what: str) -> None:
    """Raise NetlinkError unless the message is an acknowledgement."""
    code, words = error_of(answer)
    if code:
        raise NetlinkError(code, what, words)
