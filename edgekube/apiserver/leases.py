"""Node heartbeats that cost no disk write: the renewTime of a node's Lease lives in memory, over the stored object.

A renewal that changes nothing else is remembered here and filled in on every read; any other write of the Lease is an
ordinary durable one. resourceVersion does not move with a renewal, and watchers over HTTP do not see it.
"""

from typing import Any

import msgspec

from edgekube.apiserver import storage
from edgekube.store.api import KeyValue
from edgekube.types.coordination_v1 import Lease

NODE_LEASE_NAMESPACE = "kube-node-lease"
RENEWALS_MAX = 10_000  # nodes

Obj = dict[str, Any]

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class LeaseOverlay:
    def __init__(self) -> None:
        self._renewals: dict[bytes, str] = {}

    def renew(self, key: bytes, old: Obj, new: Obj) -> bool:
        """Remember the renewal if `new` is nothing but one; False when it must be stored."""
        if _rest(old) != _rest(new) or (key not in self._renewals and len(self._renewals) >= RENEWALS_MAX):
            return False
        self._renewals[key] = (new.get("spec") or {}).get("renewTime", "")
        return True

    def forget(self, key: bytes) -> None:
        """The Lease was stored anew, or deleted."""
        self._renewals.pop(key, None)

    def fill(self, kv: KeyValue) -> KeyValue:
        """The stored Lease with its latest renewTime."""
        renewed = self._renewals.get(kv.key)
        if not renewed:
            return kv
        obj = _decode(memoryview(kv.value)[storage.HEADER_SIZE_BYTES :])
        obj["spec"] = {**(obj.get("spec") or {}), "renewTime": renewed}
        value = kv.value[: storage.HEADER_SIZE_BYTES] + _encode(obj)
        return msgspec.structs.replace(kv, value=value)

    def fill_struct(self, key: bytes, lease: Lease) -> Lease:
        renewed = self._renewals.get(key)
        if not renewed or lease.spec is None:
            return lease
        return msgspec.structs.replace(lease, spec=msgspec.structs.replace(lease.spec, renewTime=renewed))


def _rest(obj: Obj) -> Obj:
    spec = {k: v for k, v in (obj.get("spec") or {}).items() if k != "renewTime"}
    metadata = {k: v for k, v in obj["metadata"].items() if k not in ("managedFields", "resourceVersion")}
    return {**obj, "spec": spec, "metadata": metadata}
