"""Other programs' firewalls: see to it that forwarded pod traffic passes them.

An accept in our own table does not overrule another table's drop. Docker and ufw set the policy of `ip filter FORWARD`
to drop; our answer is what every container network does: two accept rules at the head of such a chain, marked as ours,
put back when the owner rewrites its chain and removed with the pod network.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from edgekube.network import nft
from edgekube.network.api import NetworkFailure
from edgekube.network.netlink import NETLINK_NETFILTER, Netlink, error_of
from edgekube.network.nft import Rule
from edgekube.network.nft_batch import GETCHAIN, GETRULE, NFTNL_MSG, Batch, nfgen
from edgekube.network.tlv import NLMSG_ERROR, attr_str, parse_attrs, text

# nft's userdata: type 0 (comment), length, text and NUL.
COMMENT: Final = b"edgekube pods\0"
USERDATA: Final = bytes((0, len(COMMENT))) + COMMENT
_FAMILIES: Final = (1, 2)  # inet, ip


class ForeignChain(NamedTuple):
    family: int
    table: str
    name: str


class ForwardGuard:
    """Keeps the accept rules in every base chain of others that hooks forward and drops by policy."""

    def __init__(self, rules: tuple[Rule, ...], own_tables: tuple[str, ...]) -> None:
        self._rules = rules
        self._own_tables = own_tables
        self._socket = Netlink(NETLINK_NETFILTER)

    def close(self) -> None:
        self._socket.close()

    async def ensure(self) -> list[ForeignChain]:
        """Insert the rules where they are missing; returns the chains that got them. Raises NetworkFailure."""
        done = []
        for chain in self.dropping_chains():
            if sum(1 for _ in self._ours(chain)) == len(self._rules):
                continue
            batch = Batch(chain.family, chain.table)
            for handle in self._ours(chain):
                batch.delete_rule(chain.family, chain.table, chain.name, handle)
            for rule in self._rules:
                batch.insert_rule(chain.family, chain.table, chain.name, rule, USERDATA)
            await self._send(batch)
            done.append(chain)
        return done

    async def remove(self) -> None:
        """Take our rules out of every foreign chain."""
        for chain in self._chains():
            handles = list(self._ours(chain))
            if handles:
                batch = Batch(chain.family, chain.table)
                for handle in handles:
                    batch.delete_rule(chain.family, chain.table, chain.name, handle)
                await self._send(batch)

    def dropping_chains(self) -> list[ForeignChain]:
        return [chain for chain, drops in self._chains().items() if drops]

    def _chains(self) -> dict[ForeignChain, bool]:
        """Base chains of others at the forward hook, and whether they drop by policy."""
        found: dict[ForeignChain, bool] = {}
        for answer in self._socket.dump(NFTNL_MSG | GETCHAIN, nfgen(0), what="list the nft chains"):
            family = answer.payload[0]
            attrs = parse_attrs(answer.payload, 4)
            table = text(attrs.get(1, b""))
            hook = parse_attrs(attrs.get(4, b""))
            if family not in _FAMILIES or table in self._own_tables or not hook:
                continue
            if int.from_bytes(hook.get(1, b""), "big") == nft.FORWARD:
                drops = int.from_bytes(attrs.get(5, b"\1"), "big") == nft.NF_DROP
                found[ForeignChain(family, table, text(attrs.get(3, b"")))] = drops
        return found

    def _ours(self, chain: ForeignChain) -> Iterator[int]:
        """Handles of our rules in a chain."""
        payload = nfgen(chain.family) + attr_str(1, chain.table) + attr_str(2, chain.name)
        for answer in self._socket.dump(NFTNL_MSG | GETRULE, payload, what=f"list the rules of {chain.table}"):
            attrs = parse_attrs(answer.payload, 4)
            if (
                attrs.get(7) == USERDATA
                and text(attrs.get(2, b"")) == chain.name
                and text(attrs.get(1, b"")) == chain.table
            ):
                yield int.from_bytes(attrs[3], "big")

    async def _send(self, batch: Batch) -> None:
        for answer in await self._socket.send_batch(batch.encode(None), in_thread=False):
            if answer.type == NLMSG_ERROR:
                code, words = error_of(answer)
                if code:
                    raise NetworkFailure(f"{batch.steps[answer.seq]}: errno {code} {words}")


def legacy_filter_in_use() -> bool:
    """Whether iptables-legacy's filter table is loaded here: a firewall that nftables cannot see into."""
    try:
        with open("/proc/net/ip_tables_names") as names:
            return "filter" in names.read().split()
    except OSError:
        return False
