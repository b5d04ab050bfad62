"""Roles and bindings."""

from collections.abc import Sequence
from typing import Any

from edgekube.apiserver.validation.meta import metadata
from edgekube.apiserver.validation.rules import label_selector
from edgekube.types import names
from edgekube.types.fieldpath import FieldError, Path, invalid, not_supported, required

_KINDS = {"User": "rbac.authorization.k8s.io", "Group": "rbac.authorization.k8s.io", "ServiceAccount": ""}


def validate(new: Any, old: Any | None, subresource: str) -> Sequence[FieldError]:
    errors = metadata(new, old, names.path_segment)
    if hasattr(new, "roleRef"):
        return errors + _binding(new, old)
    namespaced = new.kind == "Role"
    for index, rule in enumerate(new.rules):
        at = Path("rules") / index
        if not rule.verbs:
            errors.append(required(at / "verbs", "verbs must contain at least one value"))
        if rule.nonResourceURLs:
            if namespaced:
                errors.append(
                    invalid(
                        at / "nonResourceURLs",
                        rule.nonResourceURLs,
                        "namespaced rules cannot apply to non-resource URLs",
                    )
                )
            if rule.apiGroups or rule.resources or rule.resourceNames:
                errors.append(
                    invalid(
                        at / "nonResourceURLs",
                        rule.nonResourceURLs,
                        "rules cannot apply to both regular resources and non-resource URLs",
                    )
                )
            continue
        if not rule.apiGroups:
            errors.append(required(at / "apiGroups", "resource rules must supply at least one api group"))
        if not rule.resources:
            errors.append(required(at / "resources", "resource rules must supply at least one resource"))
    aggregation = getattr(new, "aggregationRule", None)
    if aggregation is not None:
        path = Path("aggregationRule", "clusterRoleSelectors")
        if not aggregation.clusterRoleSelectors:
            errors.append(required(path, "at least one clusterRoleSelector required if aggregationRule is non-nil"))
        for index, selector in enumerate(aggregation.clusterRoleSelectors):
            errors += label_selector(selector, path / index)
    return errors


def _binding(new: Any, old: Any | None) -> list[FieldError]:
    errors: list[FieldError] = []
    ref, path = new.roleRef, Path("roleRef")
    if ref.apiGroup != "rbac.authorization.k8s.io":
        errors.append(not_supported(path / "apiGroup", ref.apiGroup, ["rbac.authorization.k8s.io"]))
    kinds = ["ClusterRole", "Role"] if new.kind == "RoleBinding" else ["ClusterRole"]
    if ref.kind not in kinds:
        errors.append(not_supported(path / "kind", ref.kind, kinds))
    if not ref.name:
        errors.append(required(path / "name"))
    else:
        errors += [invalid(path / "name", ref.name, text) for text in names.path_segment(ref.name)]
    for index, subject in enumerate(new.subjects):
        at = Path("subjects") / index
        if not subject.name:
            errors.append(required(at / "name"))
        if subject.kind not in _KINDS:
            errors.append(not_supported(at / "kind", subject.kind, ["ServiceAccount", "User", "Group"]))
            continue
        if subject.apiGroup != _KINDS[subject.kind]:
            errors.append(not_supported(at / "apiGroup", subject.apiGroup, [_KINDS[subject.kind]]))
        if subject.kind == "ServiceAccount" and not subject.namespace and new.kind == "ClusterRoleBinding":
            errors.append(required(at / "namespace"))
    if old is not None and new.roleRef != old.roleRef:
        errors.append(invalid(path, new.roleRef, "cannot change roleRef"))
    return errors
