"""metadata.managedFields: who set which field, kept on every write (KEP-555).

An entry is (manager, operation, apiVersion, subresource, time, fieldsV1). An update gives its manager what it added or
changed and takes that from everyone else; removed fields leave every entry. Objects here are plain dicts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from edgekube.apiserver.fieldset import FieldSet, compare, drop_fields, intersect, is_field_set, subtract, union
from edgekube.apiserver.schema import Node

UPDATE_MANAGERS_MAX = 10  # older ones are folded into one entry
ANCIENT = "ancient-changes"

Entry = dict[str, Any]

# What the server itself keeps is nobody's (kube-apiserver's stripmeta).
_SERVER_OWNED: Mapping[str, Any] = {
    "f:apiVersion": None,
    "f:kind": None,
    "f:metadata": {
        f"f:{name}": None
        for name in (
            "name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields",
            "resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds",
        )
    },
}  # fmt: skip


def usable(entries: Sequence[Entry]) -> bool:
    """Whether entries a client sent can be worked with; others are ignored, as Kubernetes ignores them."""
    return all(
        entry.get("operation") in ("Apply", "Update") and is_field_set(entry.get("fieldsV1", {})) for entry in entries
    )


def strip(fields: FieldSet, reset: Sequence[str] = ()) -> FieldSet:
    """Without what the server owns, and without the top-level fields a write cannot change (`status`, or `spec`)."""
    result = drop_fields(fields, {**_SERVER_OWNED, **{"f:" + name: None for name in reset}})
    metadata = result.get("f:metadata")
    if metadata is not None and not any(key != "." for key in metadata):
        result.pop("f:metadata")
    return result


def updated(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    entries: Sequence[Entry],
    node: Node,
    *,
    manager: str,
    api_version: str,
    subresource: str,
    now: str,
    reset: Sequence[str] = (),
) -> list[Entry]:
    """The entries after `manager` replaced `old` by `new` with an Update. On create `old` is the kind's zero object."""
    changed, removed = compare(_without_entries(old), _without_entries(new), node)
    changed = strip(changed, reset)
    return record(entries, changed, removed, manager=manager, api_version=api_version, subresource=subresource, now=now)


def record(
    entries: Sequence[Entry],
    changed: FieldSet,
    removed: FieldSet,
    *,
    manager: str,
    api_version: str,
    subresource: str,
    now: str,
) -> list[Entry]:
    """Give `changed` to the manager, take it from the others, take `removed` from everyone."""
    result: list[Entry] = []
    mine: Entry | None = None
    for entry in entries:
        fields = entry.get("fieldsV1") or {}
        if is_update_of(entry, manager, api_version, subresource):
            mine = {**entry, "fieldsV1": subtract(fields, removed) if removed else fields}
            result.append(mine)
            continue
        kept = subtract(fields, removed) if removed else fields
        if changed:
            taken = intersect(kept, changed)
            if taken:
                kept = subtract(kept, taken)
        if kept:
            result.append(entry if kept is fields else {**entry, "fieldsV1": kept})
    if changed:
        if mine is None:
            mine = {"manager": manager, "operation": "Update", "apiVersion": api_version, "time": now}
            mine["fieldsType"] = "FieldsV1"
            mine["fieldsV1"] = changed
            if subresource:
                mine["subresource"] = subresource
            result.append(mine)
        else:
            mine["fieldsV1"] = union(mine["fieldsV1"], changed)
            mine["time"] = now
    if mine is not None and not mine["fieldsV1"]:
        result.remove(mine)
    return sorted_entries(_capped(result))


def is_update_of(entry: Entry, manager: str, api_version: str, subresource: str) -> bool:
    return (
        entry.get("manager") == manager
        and entry.get("operation") == "Update"
        and entry.get("apiVersion") == api_version
        and entry.get("subresource", "") == subresource
    )


def sorted_entries(entries: list[Entry]) -> list[Entry]:
    """Kubernetes' order: Apply before Update, then by time, manager and version."""
    if len(entries) > 1:
        entries.sort(
            key=lambda e: (
                e.get("operation", ""), e.get("time", ""), e.get("manager", ""), e.get("apiVersion", ""),
                e.get("subresource", ""),
            )
        )  # fmt: skip
    return entries


def _capped(entries: list[Entry]) -> list[Entry]:
    """At most UPDATE_MANAGERS_MAX updaters of an object: the oldest are folded together."""
    updaters = [e for e in entries if e.get("operation") == "Update"]
    if len(updaters) <= UPDATE_MANAGERS_MAX:
        return entries
    updaters.sort(key=lambda e: (e.get("time", ""), e.get("manager", "")))
    oldest = updaters[: len(updaters) - UPDATE_MANAGERS_MAX + 1]
    folded: dict[str, Entry] = {}
    for entry in oldest:
        version = entry.get("apiVersion", "")
        into = folded.get(version)
        if into is None:
            folded[version] = {**entry, "manager": ANCIENT, "subresource": ""}
            del folded[version]["subresource"]
        else:
            into["fieldsV1"] = union(into["fieldsV1"], entry["fieldsV1"])
            into["time"] = max(into.get("time", ""), entry.get("time", ""))
    return [e for e in entries if not any(e is old for old in oldest)] + list(folded.values())


def without_times(entries: Sequence[Entry]) -> list[Entry]:
    """For telling whether a write changes anything but timestamps."""
    return [{k: v for k, v in entry.items() if k != "time"} for entry in entries]


def _without_entries(obj: Mapping[str, Any]) -> dict[str, Any]:
    metadata = obj.get("metadata") or {}
    if "managedFields" not in metadata:
        return dict(obj)
    return {**obj, "metadata": {k: v for k, v in metadata.items() if k != "managedFields"}}
