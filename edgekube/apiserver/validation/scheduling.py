"""Tolerations, affinity, spreading."""

from collections.abc import Sequence
from typing import Any

from edgekube.apiserver.validation.rules import dns_label, label_selector, one_of, texts
from edgekube.types import names
from edgekube.types.fieldpath import FieldError, Path, duplicate, forbidden, invalid, not_supported, required
from edgekube.types.integers import integer

EFFECTS = ("NoExecute", "NoSchedule", "PreferNoSchedule")


def tolerations(items: Sequence[Any], path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, one in enumerate(items):
        at = path / index
        if one.key:
            errors += texts(names.qualified_name(one.key), one.key, at / "key")
        elif one.operator != "Exists":
            errors.append(
                invalid(
                    at / "operator",
                    one.operator,
                    'operator must be Exists when `key` is empty, which means "match all values and all keys"',
                )
            )
        if one.tolerationSeconds is not None and one.effect != "NoExecute":
            errors.append(
                invalid(at / "effect", one.effect, "effect must be 'NoExecute' when `tolerationSeconds` is set")
            )
        match one.operator:
            case "Equal" | "":
                errors += [invalid(at / "operator", one.value, text) for text in names.label_value(one.value)]
            case "Exists":
                if one.value:
                    errors.append(invalid(at / "operator", one, "value must be empty when `operator` is 'Exists'"))
            case "Gt" | "Lt":
                if integer(one.value) is None:
                    errors.append(invalid(at / "value", one.value, "value must be an integer for operator Gt or Lt"))
            case _:
                errors.append(not_supported(at / "operator", one.operator, ["Equal", "Exists"]))
        errors += one_of(one.effect, EFFECTS, at / "effect", needed=False)
    return errors


def _node_requirements(items: Sequence[Any], path: Path, *, fields: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, one in enumerate(items):
        at = path / index
        match one.operator:
            case "In" | "NotIn":
                if not one.values:
                    errors.append(required(at / "values", "must be specified when `operator` is 'In' or 'NotIn'"))
            case "Exists" | "DoesNotExist":
                if one.values:
                    errors.append(
                        forbidden(at / "values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
                    )
            case "Gt" | "Lt":
                if len(one.values) != 1:
                    errors.append(
                        required(at / "values", "must be specified single value when `operator` is 'Lt' or 'Gt'")
                    )
            case _:
                errors.append(invalid(at / "operator", one.operator, "not a valid selector operator"))
        if fields:
            if one.key != "metadata.name":
                errors.append(invalid(at / "key", one.key, "not a valid field selector key"))
        else:
            errors += texts(names.qualified_name(one.key), one.key, at / "key")
    return errors


def node_term(term: Any, path: Path) -> list[FieldError]:
    return _node_requirements(term.matchExpressions, path / "matchExpressions", fields=False) + _node_requirements(
        term.matchFields, path / "matchFields", fields=True
    )


def node_selector(selector: Any, path: Path) -> list[FieldError]:
    at = path / "nodeSelectorTerms"
    if not selector.nodeSelectorTerms:
        return [required(at, "must have at least one node selector term")]
    return [e for index, term in enumerate(selector.nodeSelectorTerms) for e in node_term(term, at / index)]


def _weight(weight: int, path: Path) -> list[FieldError]:
    return [] if 1 <= weight <= 100 else [invalid(path, weight, "must be in the range 1-100")]


def _pod_term(term: Any, path: Path) -> list[FieldError]:
    errors = label_selector(term.labelSelector, path / "labelSelector")
    errors += label_selector(term.namespaceSelector, path / "namespaceSelector")
    for index, name in enumerate(term.namespaces):
        errors += dns_label(name, path / "namespaces" / index)
    if not term.topologyKey:
        errors.append(required(path / "topologyKey", "can not be empty"))
    else:
        errors += texts(names.qualified_name(term.topologyKey), term.topologyKey, path / "topologyKey")
    return errors


_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def affinity(value: Any, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    nodes = value.nodeAffinity
    if nodes is not None:
        at = path / "nodeAffinity"
        if nodes.requiredDuringSchedulingIgnoredDuringExecution is not None:
            errors += node_selector(nodes.requiredDuringSchedulingIgnoredDuringExecution, at / _REQUIRED)
        for index, preferred in enumerate(nodes.preferredDuringSchedulingIgnoredDuringExecution):
            where = at / _PREFERRED / index
            errors += _weight(preferred.weight, where / "weight")
            errors += node_term(preferred.preference, where / "preference")
    for name in ("podAffinity", "podAntiAffinity"):
        pods = getattr(value, name)
        if pods is None:
            continue
        at = path / name
        for index, term in enumerate(pods.requiredDuringSchedulingIgnoredDuringExecution):
            errors += _pod_term(term, at / _REQUIRED / index)
        for index, weighted in enumerate(pods.preferredDuringSchedulingIgnoredDuringExecution):
            where = at / _PREFERRED / index
            errors += _weight(weighted.weight, where / "weight")
            errors += _pod_term(weighted.podAffinityTerm, where / "podAffinityTerm")
    return errors


def spreading(items: Sequence[Any], path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[tuple[str, str]] = set()
    for index, one in enumerate(items):
        at = path / index
        if one.maxSkew <= 0:
            errors.append(invalid(at / "maxSkew", one.maxSkew, "must be greater than zero"))
        if not one.topologyKey:
            errors.append(required(at / "topologyKey", "can not be empty"))
        else:
            errors += texts(names.qualified_name(one.topologyKey), one.topologyKey, at / "topologyKey")
        errors += one_of(one.whenUnsatisfiable, ("DoNotSchedule", "ScheduleAnyway"), at / "whenUnsatisfiable")
        if one.minDomains is not None:
            if one.minDomains <= 0:
                errors.append(invalid(at / "minDomains", one.minDomains, "must be greater than zero"))
            if one.whenUnsatisfiable == "ScheduleAnyway":
                errors.append(
                    invalid(
                        at / "minDomains",
                        one.minDomains,
                        "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway",
                    )
                )
        pair = (one.topologyKey, one.whenUnsatisfiable)
        if pair in seen:
            errors.append(duplicate(at / "{topologyKey, whenUnsatisfiable}", f"{{{pair[0]}, {pair[1]}}}"))
        seen.add(pair)
        for name in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            errors += one_of(getattr(one, name), ("Honor", "Ignore"), at / name, needed=False)
        errors += label_selector(one.labelSelector, at / "labelSelector")
    return errors
