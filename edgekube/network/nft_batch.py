"""From one state of a table to another: the messages of one atomic nftables transaction, no sockets.

Order inside a batch matters: what is referred to must exist, what goes must be unreferenced. New sets and chains, gone
elements, rules, new elements, then chains and sets that go.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from edgekube.network.nft import (
    SET_EVAL,
    SET_MAP,
    SET_TIMEOUT,
    Chain,
    Data,
    Hook,
    Rule,
    SetSpec,
    Table,
    type_length,
    type_number,
)
from edgekube.network.tlv import (
    NLM_F_ACK,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_REQUEST,
    attr,
    attr_be32,
    attr_be64,
    attr_str,
    message,
    nest,
)

NFNL_SUBSYS_NFTABLES: Final = 10
NFNL_BATCH_BEGIN, NFNL_BATCH_END = 16, 17
NFTNL_MSG = NFNL_SUBSYS_NFTABLES << 8

NEWTABLE, GETTABLE, DELTABLE = 0, 1, 2
NEWCHAIN, GETCHAIN, DELCHAIN = 3, 4, 5
NEWRULE, GETRULE, DELRULE = 6, 7, 8
NEWSET, GETSET, DELSET = 9, 10, 11
NEWSETELEM, GETSETELEM, DELSETELEM = 12, 13, 14
NEWGEN, GETGEN = 15, 16

ELEMENT_LIST_BYTES_MAX = 60_000  # nla_len is 16 bits wide

EMPTY_ELEMENTS: Mapping[str, Mapping[bytes, Data]] = {}
EMPTY_LEARNED: Mapping[str, Mapping[bytes, int]] = {}


class Delta(msgspec.Struct, frozen=True):
    """Changes to a table; None removes. `elements` maps a set's name to keys and their data (b"" in a plain set)."""

    sets: Mapping[str, SetSpec | None] = {}
    chains: Mapping[str, Chain | None] = {}
    elements: Mapping[str, Mapping[bytes, Data | None]] = {}


def delta_between(old: Table, new: Table) -> Delta:
    """What leads from one table to another of the same name."""
    elements: dict[str, dict[bytes, Data | None]] = {}
    for name in old.sets.keys() | new.sets.keys():  # a map that goes lets go of the chains its elements lead to
        before, after = old.elements.get(name, {}), new.elements.get(name, {})
        elements[name] = {**dict.fromkeys(before.keys() - after.keys()), **after}
    return Delta(
        sets={**dict.fromkeys(old.sets.keys() - new.sets.keys()), **new.sets},
        chains={**dict.fromkeys(old.chains.keys() - new.chains.keys()), **new.chains},
        elements=elements,
    )


class Batch:
    """Collects the messages of one transaction. The sequence number of a message is its index in `steps`."""

    def __init__(self, family: int, table: str) -> None:
        self._family = family
        self._table = table
        self._parts: list[bytes] = []
        self.steps: list[str] = ["begin"]  # what each message does, for errors

    def __len__(self) -> int:
        return len(self._parts)

    def encode(self, genid: int | None) -> bytes:
        """The datagram; with `genid` the kernel refuses it (ERESTART) once anybody has changed anything since.

        The last step asks for an acknowledgement.
        """
        begin = nfgen(0, NFNL_SUBSYS_NFTABLES) + (attr_be32(1, genid) if genid is not None else b"")
        end = message(NFNL_BATCH_END, NLM_F_REQUEST, len(self.steps), nfgen(0, NFNL_SUBSYS_NFTABLES))
        last = bytearray(self._parts[-1])
        last[6:8] = (int.from_bytes(last[6:8], sys.byteorder) | NLM_F_ACK).to_bytes(2, sys.byteorder)
        return b"".join((message(NFNL_BATCH_BEGIN, NLM_F_REQUEST, 0, begin), *self._parts[:-1], last, end))

    def replace_table(self, table: Table, learned: Mapping[str, Mapping[bytes, int]] = EMPTY_LEARNED) -> None:
        """Build the whole table anew, whatever was there: make it (if need be), drop it, make it.

        `learned` are elements of dynamic sets to keep, with the milliseconds each has left.
        """
        name = attr_str(1, table.name)
        self._add(NEWTABLE, NLM_F_CREATE, name, f"make the table {table.name}")
        self._add(DELTABLE, 0, name, f"drop the table {table.name}")
        self._add(NEWTABLE, NLM_F_CREATE, name, f"make the table {table.name} anew")
        self.change({}, {}, Delta(sets=table.sets, chains=table.chains, elements=table.elements), EMPTY_ELEMENTS)
        for set_name, keys in learned.items():
            for chunk in _pack([nest(1, nest(1, attr(1, key)), attr_be64(5, left)) for key, left in keys.items()]):
                attrs = attr_str(1, self._table) + attr_str(2, set_name) + nest(3, *chunk)
                self._add(NEWSETELEM, NLM_F_CREATE, attrs, f"keep elements of {set_name}")

    def remove_table(self) -> None:
        name = attr_str(1, self._table)
        self._add(NEWTABLE, NLM_F_CREATE, name, f"make the table {self._table}")
        self._add(DELTABLE, 0, name, f"drop the table {self._table}")

    def change(
        self,
        sets: Mapping[str, SetSpec],
        chains: Mapping[str, Chain],
        delta: Delta,
        elements: Mapping[str, Mapping[bytes, Data]],
    ) -> None:
        """Append what leads from the given state to the state with `delta` applied; what is equal costs nothing."""
        for name, spec in delta.sets.items():
            if spec is not None and name not in sets:
                attrs = _set_attrs(self._table, name, spec, len(self.steps))
                self._add(NEWSET, NLM_F_CREATE, attrs, f"make the set {name}")
        new_chains = {name: chain for name, chain in delta.chains.items() if chain is not None}
        for name, chain in new_chains.items():
            if name not in chains:
                self._add(NEWCHAIN, NLM_F_CREATE, _chain_attrs(self._table, name, chain.hook), f"make the chain {name}")
        for name, wanted in delta.elements.items():
            present = elements.get(name, {})
            gone = {key: present[key] for key, data in wanted.items() if key in present and present[key] != data}
            self._elements(DELSETELEM, 0, name, gone)
        for name, wanted_chain in delta.chains.items():
            old = chains.get(name)
            if old is not None and old.rules and wanted_chain != old:
                self._add(DELRULE, 0, self._chain_ref(name), f"flush the chain {name}")
        for name, chain in new_chains.items():
            if chains.get(name) != chain:
                for rule in chain.rules:
                    self._rule(name, rule)
        for name, wanted in delta.elements.items():
            present = elements.get(name, {})
            self._elements(
                NEWSETELEM,
                NLM_F_CREATE,
                name,
                {key: data for key, data in wanted.items() if data is not None and present.get(key) != data},
            )
        for name, gone_chain in delta.chains.items():
            if gone_chain is None and name in chains:
                self._add(DELCHAIN, 0, attr_str(1, self._table) + attr_str(3, name), f"drop the chain {name}")
        for name, gone_set in delta.sets.items():
            if gone_set is None and name in sets:
                self._add(DELSET, 0, attr_str(1, self._table) + attr_str(2, name), f"drop the set {name}")

    def insert_rule(self, family: int, table: str, chain: str, rule: Rule, userdata: bytes) -> None:
        """Put a rule at the head of a chain of somebody else's table."""
        attrs = attr_str(1, table) + attr_str(2, chain) + nest(4, *rule) + attr(7, userdata)
        self._add(NEWRULE, NLM_F_CREATE, attrs, f"insert a rule into {table}/{chain}", family)

    def delete_rule(self, family: int, table: str, chain: str, handle: int) -> None:
        attrs = attr_str(1, table) + attr_str(2, chain) + attr_be64(3, handle)
        self._add(DELRULE, 0, attrs, f"delete rule {handle} of {table}/{chain}", family)

    def _rule(self, chain: str, rule: Rule) -> None:
        attrs = self._chain_ref(chain) + nest(4, *rule)
        self._add(NEWRULE, NLM_F_CREATE | NLM_F_APPEND, attrs, f"add a rule to {chain}")

    def _chain_ref(self, name: str) -> bytes:
        return attr_str(1, self._table) + attr_str(2, name)

    def _elements(self, kind: int, flags: int, name: str, elements: Mapping[bytes, Data | None]) -> None:
        verb = "add elements to" if kind == NEWSETELEM else "delete elements from"
        for chunk in _chunks(elements):
            attrs = attr_str(1, self._table) + attr_str(2, name) + nest(3, *chunk)
            self._add(kind, flags, attrs, f"{verb} {name}")

    def _add(self, kind: int, flags: int, attrs: bytes, step: str, family: int | None = None) -> None:
        payload = nfgen(self._family if family is None else family) + attrs
        self._parts.append(message(NFTNL_MSG | kind, NLM_F_REQUEST | flags, len(self.steps), payload))
        self.steps.append(step)


def nfgen(family: int, resource: int = 0) -> bytes:
    return bytes((family, 0)) + resource.to_bytes(2, "big")


def _set_attrs(table: str, name: str, spec: SetSpec, set_id: int) -> bytes:
    flags = (SET_MAP if spec.data else 0) | (SET_TIMEOUT if spec.timeout_ms else 0) | (SET_EVAL if spec.dynamic else 0)
    attrs = attr_str(1, table) + attr_str(2, name) + attr_be32(3, flags)
    attrs += attr_be32(4, type_number(spec.key)) + attr_be32(5, type_length(spec.key)) + attr_be32(10, set_id)
    if spec.data:
        attrs += attr_be32(6, type_number(spec.data))
        if not spec.verdict_map:
            attrs += attr_be32(7, type_length(spec.data))
    if spec.timeout_ms:
        attrs += attr_be64(11, spec.timeout_ms)
    if spec.size:
        attrs += nest(9, attr_be32(1, spec.size))
    return attrs


def _chain_attrs(table: str, name: str, hook: Hook | None) -> bytes:
    attrs = attr_str(1, table) + attr_str(3, name)
    if hook is not None:
        attrs += nest(4, attr_be32(1, hook.number), attr_be32(2, hook.priority))
        attrs += attr_be32(5, hook.policy) + attr_str(7, hook.kind)
    return attrs


def _chunks(elements: Mapping[bytes, Data | None]) -> Iterator[list[bytes]]:
    return _pack(nest(1, nest(1, attr(1, key)), *((nest(2, data),) if data else ())) for key, data in elements.items())


def _pack(elements: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Lists of encoded elements, each below the size of an attribute."""
    chunk: list[bytes] = []
    size = 0
    for element in elements:
        if size + len(element) > ELEMENT_LIST_BYTES_MAX:
            yield chunk
            chunk, size = [], 0
        chunk.append(element)
        size += len(element)
    if chunk:
        yield chunk
