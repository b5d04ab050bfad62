"""Requests and limits of containers and pods."""

from collections.abc import Mapping
from typing import Any

from edgekube.apiserver.validation.rules import amount, texts
from edgekube.types import names, quantity
from edgekube.types.fieldpath import FieldError, Path, duplicate, forbidden, invalid, required

STANDARD = frozenset({"cpu", "memory", "ephemeral-storage"})
_NO_OVERCOMMIT = "hugepages-"


def requirements(resources: Any, path: Path, claims: frozenset[str] = frozenset()) -> list[FieldError]:
    """core validation.ValidateContainerResourceRequirements."""
    if not resources.limits and not resources.requests and not resources.claims:
        return []
    errors: list[FieldError] = []
    limits = _amounts(resources.limits, path / "limits", errors)
    requests = _amounts(resources.requests, path / "requests", errors)
    for name, wanted in requests.items():
        limit = limits.get(name)
        at = path / "requests"
        if limit is not None:
            if wanted != limit and not overcommits(name):
                shown = resources.limits[name]
                errors.append(invalid(at, resources.requests[name], f"must be equal to {name} limit of {shown}"))
            elif wanted > limit:
                shown = quantity.canonical(resources.limits[name])
                errors.append(
                    invalid(at, resources.requests[name], f"must be less than or equal to {name} limit of {shown}")
                )
        elif not overcommits(name):
            errors.append(required(path / "limits", f"Limit must be set for non overcommitable resources: {name}"))
    if any(name.startswith(_NO_OVERCOMMIT) for name in (*limits, *requests)) and not any(
        name in ("cpu", "memory") for name in (*limits, *requests)
    ):
        errors.append(forbidden(path, "HugePages require cpu or memory"))
    seen = set()
    for index, claim in enumerate(resources.claims):
        at = path / "claims" / index
        if not claim.name:
            errors.append(required(at / "name"))
            continue
        if (claim.name, claim.request) in seen:
            errors.append(duplicate(at, claim.name))
        seen.add((claim.name, claim.request))
        if claim.name not in claims:
            from edgekube.types.fieldpath import not_found

            errors.append(not_found(at / "name", claim.name))
    return errors


def overcommits(name: str) -> bool:
    return "/" not in name.removeprefix("kubernetes.io/") and not name.startswith(_NO_OVERCOMMIT)


def _amounts(values: Mapping[str, str], path: Path, errors: list[FieldError]) -> dict[str, int]:
    result = {}
    for name, text in values.items():
        at = path.key(name)
        errors += container_resource_name(name, at)
        value, problems = amount(text, at)
        errors += problems
        if value is not None:
            result[name] = value
            if not overcommits(name) and value % quantity.NANO:
                errors.append(invalid(at, text, "must be an integer"))
    return result


def container_resource_name(name: str, path: Path) -> list[FieldError]:
    errors = texts(names.qualified_name(name), name, path)
    if errors:
        return errors
    if "/" not in name:
        if name not in STANDARD and not name.startswith(_NO_OVERCOMMIT):
            errors.append(invalid(path, name, "must be a standard resource for containers"))
    elif name.startswith("requests."):
        errors.append(invalid(path, name, "doesn't follow extended resource name standard"))
    return errors
