"""What the proxy wants in the kernel, as a value: a fixed base and one fragment a Service.

Fragments are compared and replaced one by one, so a change of one Service among thousands costs what that Service
costs. Two Services may claim the same frontend (an externalIP): the first by namespace and name has it, the other
waits for it.
"""

from collections.abc import Iterable, Mapping

import msgspec

from edgekube.client.api import Key
from edgekube.network.nft import Chain, Data, SetSpec, Table
from edgekube.network.nft_batch import Delta

Frontend = tuple[bytes, int]  # packed destination address (b"" for a node port) and destination port


class Fragment(msgspec.Struct, frozen=True):
    """All of one Service. `udp` lists its UDP frontends and the addresses behind each, for connection tracking."""

    chains: Mapping[str, Chain] = {}
    sets: Mapping[str, SetSpec] = {}
    elements: Mapping[str, Mapping[bytes, Data]] = {}
    udp: Mapping[Frontend, frozenset[bytes]] = {}
    health_port: int = 0
    local_endpoints: int = 0


class Ruleset(msgspec.Struct, frozen=True):
    base: Table
    services: Mapping[Key, Fragment]

    def table(self) -> Table:
        """Everything merged; for a full rebuild and for tests."""
        merger = Merger(self.base)
        for key in sorted(self.services):
            merger.update(key, self.services[key])
        return merger.table()


EMPTY = Fragment()


class Merger:
    """The merged table, kept up to date fragment by fragment."""

    def __init__(self, base: Table) -> None:
        self._base = base
        self._fragments: dict[Key, Fragment] = {}
        self._owners: dict[str, dict[bytes, Key]] = {}
        self._waiting: dict[tuple[str, bytes], set[Key]] = {}

    @property
    def fragments(self) -> Mapping[Key, Fragment]:
        return self._fragments

    def update(self, key: Key, fragment: Fragment | None) -> Delta:
        """Replace a Service's fragment (None: it is gone); returns what that changes in the table."""
        old = self._fragments.get(key, EMPTY)
        new = fragment if fragment is not None else EMPTY
        if fragment is None:
            self._fragments.pop(key, None)
        else:
            self._fragments[key] = fragment
        elements: dict[str, dict[bytes, Data | None]] = {}
        for name, held in old.elements.items():
            wanted = new.elements.get(name, {})
            for element in held:
                if element not in wanted:
                    elements.setdefault(name, {}).update(self._release(key, name, element))
        for name, wanted in new.elements.items():
            for element, data in wanted.items():
                elements.setdefault(name, {}).update(self._claim(key, name, element, data))
        return Delta(
            sets={**dict.fromkeys(set(old.sets) - set(new.sets)), **new.sets},
            chains={**dict.fromkeys(set(old.chains) - set(new.chains)), **new.chains},
            elements=elements,
        )

    def table(self) -> Table:
        sets = dict(self._base.sets)
        chains = dict(self._base.chains)
        elements: dict[str, dict[bytes, Data]] = {name: dict(held) for name, held in self._base.elements.items()}
        for key, fragment in self._fragments.items():
            sets.update(fragment.sets)
            chains.update(fragment.chains)
            for name, held in fragment.elements.items():
                owners = self._owners[name]
                elements.setdefault(name, {}).update(
                    {element: data for element, data in held.items() if owners[element] == key}
                )
        return Table(name=self._base.name, sets=sets, chains=chains, elements=elements, family=self._base.family)

    def _claim(self, key: Key, name: str, element: bytes, data: Data) -> dict[bytes, Data | None]:
        owners = self._owners.setdefault(name, {})
        owner = owners.setdefault(element, key)
        if owner == key:
            return {element: data}
        first, second = sorted((owner, key))
        owners[element] = first
        self._waiting.setdefault((name, element), set()).add(second)
        return {element: data} if first == key else {}

    def _release(self, key: Key, name: str, element: bytes) -> dict[bytes, Data | None]:
        waiting = self._waiting.get((name, element))
        if self._owners[name][element] != key:
            if waiting is not None:
                waiting.discard(key)
            return {}
        if not waiting:
            self._waiting.pop((name, element), None)
            del self._owners[name][element]
            return {element: None}
        heir = min(waiting)
        waiting.discard(heir)
        self._owners[name][element] = heir
        return {element: self._fragments[heir].elements[name][element]}


def merge_deltas(deltas: Iterable[Delta]) -> Delta:
    """One delta for many Services: one transaction."""
    sets: dict[str, SetSpec | None] = {}
    chains: dict[str, Chain | None] = {}
    elements: dict[str, dict[bytes, Data | None]] = {}
    for delta in deltas:
        sets.update(delta.sets)
        chains.update(delta.chains)
        for name, held in delta.elements.items():
            elements.setdefault(name, {}).update(held)
    return Delta(sets=sets, chains=chains, elements=elements)
