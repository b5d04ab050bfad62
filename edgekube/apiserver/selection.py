"""Which objects a list or a watch is about: label and field selectors over stored bytes or Structs."""

from collections.abc import Mapping
from typing import Any

import msgspec

from edgekube.apiserver import storage
from edgekube.apiserver.resources import Resource
from edgekube.types import selectors, status

_NAME_FIELDS = ("metadata.name", "metadata.namespace")


class _Meta(msgspec.Struct, gc=False):
    name: str = ""
    namespace: str = ""
    labels: Mapping[str, str] = {}


class _Labelled(msgspec.Struct, gc=False):
    metadata: _Meta


_labelled = msgspec.json.Decoder(_Labelled).decode
_plain = msgspec.json.Decoder().decode


class Selection(msgspec.Struct, frozen=True):
    """`labels` and `fields` must both match. `everything` costs nothing to check."""

    labels: selectors.Selector
    fields: selectors.FieldSelector

    @property
    def everything(self) -> bool:
        return self.labels.everything and not self.fields.requirements

    def matches(self, value: bytes) -> bool:
        """Whether the object in this envelope is selected."""
        if self.everything:
            return True
        json = memoryview(value)[storage.HEADER_SIZE_BYTES :]
        if all(r.field in _NAME_FIELDS for r in self.fields.requirements):
            meta = _labelled(json).metadata
            if not self.labels.matches(meta.labels):
                return False
            return self.fields.matches({"metadata.name": meta.name, "metadata.namespace": meta.namespace}.get)
        obj = _plain(json)
        return self.matches_object(obj)

    def matches_object(self, obj: Mapping[str, Any]) -> bool:
        if not self.labels.matches(obj["metadata"].get("labels") or {}):
            return False
        return self.fields.matches(lambda path: field_value(obj, path))


def field_value(obj: Mapping[str, Any], path: str) -> str:
    """The value of a selectable field as text; "" when unset, false for unset booleans."""
    special = _SPECIAL.get((obj.get("kind", ""), path))
    if special is not None:
        return special(obj)
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if value is None:
        return "false" if path in _BOOLEANS else "0" if path in _NUMBERS else ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


_BOOLEANS = frozenset({"spec.unschedulable", "spec.hostNetwork"})
_NUMBERS = frozenset({"status.replicas", "status.successful"})


def _event_source(obj: Mapping[str, Any]) -> str:
    return (obj.get("source") or {}).get("component") or obj.get("reportingComponent") or ""


def _pod_ips(obj: Mapping[str, Any]) -> str:
    return ",".join(ip.get("ip", "") for ip in (obj.get("status") or {}).get("podIPs") or ())


def _pod_ip(obj: Mapping[str, Any]) -> str:
    ips = (obj.get("status") or {}).get("podIPs") or ()
    return str(ips[0].get("ip", "") if ips else (obj.get("status") or {}).get("podIP", ""))


def _successful(obj: Mapping[str, Any]) -> str:
    return str((obj.get("status") or {}).get("succeeded", 0))


_SPECIAL = {
    ("Event", "source"): _event_source,
    ("Pod", "status.podIPs"): _pod_ips,
    ("Pod", "status.podIP"): _pod_ip,
    ("Job", "status.successful"): _successful,
}


def selection(res: Resource, label_text: str, field_text: str, name: str = "") -> Selection:
    """Parse and check. `name`: a watch of one object. Raises ApiError 400."""
    try:
        labels = selectors.parse(label_text) if label_text else selectors.EVERYTHING
        fields = selectors.parse_fields(field_text) if field_text else selectors.ALL_FIELDS
        known = (*_NAME_FIELDS, *res.fields) if res.namespaced else ("metadata.name", *res.fields)
        fields.check(known)
    except selectors.SelectorError as error:
        raise status.bad_request(str(error)) from None
    if name:
        one = selectors.FieldRequirement("metadata.name", name)
        fields = selectors.FieldSelector((*fields.requirements, one))
    return Selection(labels, fields)
