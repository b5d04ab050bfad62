"""From a query to its answer: the cluster's own names first, the cache, then the node's resolvers.

With no resolver configured at all (an island), names outside the cluster do not exist: NXDOMAIN, at once; C libraries
repeat a question after SERVFAIL. With resolvers that do not answer it is SERVFAIL.
"""

import logging
import os
import random
import secrets
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

import trio

from edgekube.dns.cache import Cache
from edgekube.dns.codec import (
    NXDOMAIN,
    REFUSED,
    SERVFAIL,
    TCP_BYTES_MAX,
    Name,
    Query,
    Record,
    Response,
    encode_name,
    encode_response,
    name_of,
    with_id_and_age,
)
from edgekube.dns.config import DnsConfig
from edgekube.dns.forward import Address, Forwarder
from edgekube.dns.resolvconf import upstreams
from edgekube.dns.zone import Answer, Zone

logger = logging.getLogger(__name__)

IN_FLIGHT_MAX: Final = 256
CHASE_MAX: Final = 8  # ExternalName pointing to ExternalName
RELOAD_S: Final = 5.0  # how often at most resolv.conf is looked at, when asked something it is needed for
_A: Final = 1


class Resolver:
    """Answers queries. `local` is synchronous and enough for cluster names; `remote` asks elsewhere."""

    def __init__(self, zone: Zone, config: DnsConfig, rng: random.Random | None = None) -> None:
        self._zone = zone
        self._config = config
        self._rng = rng or random.Random()
        self._cache = Cache()
        self._forwarder = Forwarder(port=config.upstream_port)
        self._upstreams = UpstreamList(config.resolv_conf, config.listen, config.upstreams)
        self._in_flight = 0
        self._probes: dict[Name, Address] = {}
        self.statistics = {"local": 0, "cached": 0, "forwarded": 0, "failed": 0}

    def local(self, query: Query, *, tcp: bool) -> bytes | None:
        """The answer if it needs nobody else, encoded for the client; None: await `remote`."""
        limit = TCP_BYTES_MAX if tcp else query.udp_limit
        if query.name in self._probes:
            self._upstreams.exclude(self._probes.pop(query.name))
            return encode_response(query, REFUSED, limit=limit, authoritative=False)
        answer = self._zone.lookup(query.name, query.type)
        if answer is None:
            kept = self._cache.get(query, trio.current_time())
            if kept is None or len(kept) > limit:
                return None
            self.statistics["cached"] += 1
            return kept
        if answer.chase and query.type != _CNAME:
            return None
        self.statistics["local"] += 1
        return self._encode(query, answer, limit)

    async def remote(self, query: Query, *, tcp: bool) -> bytes:
        """The answer after asking others, bounded in time and number."""
        limit = TCP_BYTES_MAX if tcp else query.udp_limit
        if self._in_flight >= IN_FLIGHT_MAX:
            self.statistics["failed"] += 1
            return encode_response(query, SERVFAIL, limit=limit, authoritative=False)
        self._in_flight += 1
        try:
            answer = self._zone.lookup(query.name, query.type)
            if answer is not None:
                return self._encode(query, await self._chase(query, answer, tcp=tcp), limit)
            response = await self._forward(query, tcp=tcp)
        finally:
            self._in_flight -= 1
        if response is None:
            rcode = SERVFAIL if self._upstreams.current() else NXDOMAIN
            return encode_response(query, rcode, limit=limit, authoritative=False)
        raw = with_id_and_age(response.raw, query, (), 0)
        if len(raw) <= limit:
            return raw
        return encode_response(query, response.rcode, response.answers, limit=limit, authoritative=False)

    async def probe_loops(self) -> None:
        """Ask resolvers on this machine a question nobody else asks; who sends it back to us is not asked again."""
        for address in self._upstreams.current():
            if address.is_loopback:
                name = name_of(f"{secrets.token_hex(8)}.loop-test.home.arpa")
                self._probes[name] = address
                query = Query(0, 0, name, _A, encode_name(name) + b"\0\1\0\1")
                await self._forwarder.ask(query, [address], tcp=False)
                self._probes.pop(name, None)

    async def _forward(self, query: Query, *, tcp: bool) -> Response | None:
        response = await self._forwarder.ask(query, self._upstreams.current(), tcp=tcp)
        if response is None:
            self.statistics["failed"] += 1
            return None
        self.statistics["forwarded"] += 1
        self._cache.put(query, response, trio.current_time())
        return response

    async def _chase(self, query: Query, answer: Answer, *, tcp: bool) -> Answer:
        """Follow ExternalNames to their addresses: stub resolvers expect the whole chain."""
        records: list[Record] = list(answer.records)
        target = answer.chase
        for _ in range(CHASE_MAX):
            if not target:
                break
            inside = self._zone.lookup(target, query.type)
            if inside is None:
                question = encode_name(target) + query.type.to_bytes(2, "big") + b"\0\1"
                response = await self._forward(query._replace(name=target, question=question), tcp=tcp)
                if response is not None:
                    records += [found for found in response.answers if found.type in (query.type, _CNAME)]
                break
            records += inside.records
            target = inside.chase
        return Answer(records=tuple(records))

    def _encode(self, query: Query, answer: Answer, limit: int) -> bytes:
        records = list(answer.records)
        if len(records) > 1 and not answer.chase and all(found.type == query.type for found in records):
            self._rng.shuffle(records)  # clients take the first
        authority = () if records else (self._zone.soa(),)
        return encode_response(query, answer.rcode, records, authority, answer.additional, limit=limit)


_CNAME: Final = 5


class UpstreamList:
    """The resolvers to ask, following resolv.conf."""

    def __init__(self, path: Path, own: Collection[Address], fixed: Sequence[Address] | None) -> None:
        self._path = path
        self._own = frozenset(own)
        self._fixed = fixed
        self._known: tuple[Address, ...] = tuple(fixed or ())
        self._excluded: set[Address] = set()
        self._stamp: tuple[int, int] | None = None
        self._checked = float("-inf")

    def current(self) -> tuple[Address, ...]:
        if self._fixed is None:
            now = trio.current_time()
            if now - self._checked >= RELOAD_S:
                self._checked = now
                self._reload()
        return tuple(address for address in self._known if address not in self._excluded)

    def exclude(self, address: Address) -> None:
        """It sends our questions back to us."""
        logger.warning("resolver=%s asks this DNS server in turn; it is not used", address)
        self._excluded.add(address)

    def _reload(self) -> None:
        try:
            status = os.stat(self._path)
            stamp = (status.st_mtime_ns, status.st_ino)
        except OSError:
            stamp = None
        if stamp == self._stamp and stamp is not None:
            return
        self._stamp = stamp
        found = tuple(upstreams(self._path, self._own))
        if found != self._known:
            logger.info("resolvers=%s", ",".join(str(address) for address in found) or "none")
        self._known = found
