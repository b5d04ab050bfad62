"""What the workload controllers' objects share: selector, template, replicas."""

from typing import Any

from edgekube.apiserver.validation.podspec import template
from edgekube.apiserver.validation.rules import label_selector, not_negative
from edgekube.types import intstr, selectors
from edgekube.types.fieldpath import FieldError, Path, forbidden, invalid, not_supported, required

SPEC = Path("spec")


def go_labels(values: Any) -> Any:
    return dict(sorted(values.items()))


def selector_and_template(
    spec: Any, *, restart: tuple[str, ...] = ("Always",), kind: str = "deployment"
) -> list[FieldError]:
    """The selector is there, not empty, and picks the template's pods; the template fits the controller.

    `kind` is the one the message names; of a ReplicaSet it says deployment, as in Kubernetes.
    """
    errors: list[FieldError] = []
    selector, at = spec.selector, SPEC / "selector"
    if selector is None:
        if kind != "daemonset":
            errors.append(required(at))
        errors += matches(selectors.NOTHING, spec.template)
    else:
        wrong = label_selector(selector, at)
        errors += wrong
        if not selector.matchLabels and not selector.matchExpressions:
            errors.append(invalid(at, selector, f"empty selector is invalid for {kind}"))
        elif not wrong:
            errors += matches(selectors.from_label_selector(selector), spec.template)
    return errors + pod_template(spec.template, restart=restart)


def matches(chosen: selectors.Selector, wanted: Any) -> list[FieldError]:
    found = wanted.metadata.labels
    if chosen.matches(found):
        return []
    at = SPEC / "template" / "metadata" / "labels"
    return [invalid(at, go_labels(found), "`selector` does not match template `labels`")]


def pod_template(value: Any, *, restart: tuple[str, ...]) -> list[FieldError]:
    path = SPEC / "template"
    errors = template(value, path)
    policy = value.spec.restartPolicy
    if policy and policy not in restart:
        errors.append(not_supported(path / "spec" / "restartPolicy", policy, list(restart)))
    if value.spec.activeDeadlineSeconds is not None and restart == ("Always",):
        errors.append(
            forbidden(path / "spec" / "activeDeadlineSeconds", "activeDeadlineSeconds in ReplicaSet is not Supported")
        )
    return errors


def replicas(spec: Any) -> list[FieldError]:
    return not_negative(spec.replicas, SPEC / "replicas") + not_negative(spec.minReadySeconds, SPEC / "minReadySeconds")


def int_or_percent(value: int | str, path: Path) -> list[FieldError]:
    if isinstance(value, int):
        return not_negative(value, path)
    try:
        intstr.percent(value)
    except intstr.IntOrPercentError:
        return [
            invalid(
                path,
                value,
                "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%', or '93%', regex "
                "used for validation is '[0-9]+%')",
            )
        ]
    return []


def at_most_all(value: int | str, path: Path) -> list[FieldError]:
    """A percentage of more than everything is refused."""
    try:
        share = intstr.percent(value)
    except intstr.IntOrPercentError:
        return []
    return [invalid(path, value, "must not be greater than 100%")] if share is not None and share > 100 else []


def is_zero(value: int | str | None) -> bool:
    return value in (0, "0%", None)
