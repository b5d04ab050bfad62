"""Small rules many kinds share, with apimachinery's wording."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from edgekube.types import names, quantity
from edgekube.types.fieldpath import FieldError, Path, invalid, not_supported, required

NOT_NEGATIVE = "must be greater than or equal to 0"
PORT_RANGE = "must be between 1 and 65535, inclusive"


def not_negative(value: int | None, path: Path) -> list[FieldError]:
    return [invalid(path, value, NOT_NEGATIVE)] if value is not None and value < 0 else []


def positive(value: int | None, path: Path) -> list[FieldError]:
    return [invalid(path, value, "must be greater than 0")] if value is not None and value <= 0 else []


def port_number(value: int, path: Path) -> list[FieldError]:
    return [] if 1 <= value <= 65535 else [invalid(path, value, PORT_RANGE)]


def port_or_name(value: int | str, path: Path) -> list[FieldError]:
    """An IntOrString that is a port."""
    if isinstance(value, int):
        return port_number(value, path)
    return [invalid(path, value, text) for text in names.port_name(value)]


def one_of(value: str, supported: Sequence[str], path: Path, *, needed: bool = True) -> list[FieldError]:
    """`needed`: an empty value is `Required value`."""
    if not value:
        return [required(path)] if needed else []
    return [] if value in supported else [not_supported(path, value, sorted(supported))]


def texts(found: Iterable[str], value: Any, path: Path) -> list[FieldError]:
    return [invalid(path, value, text) for text in found] if found else []


def dns_label(value: str, path: Path) -> list[FieldError]:
    return texts(names.dns1123_label(value), value, path)


def subdomain(value: str, path: Path) -> list[FieldError]:
    return texts(names.dns1123_subdomain(value), value, path)


def address(value: str, path: Path) -> tuple[IPv4Address | IPv6Address | None, list[FieldError]]:
    try:
        return ip_address(value), []
    except ValueError:
        return None, [invalid(path, value, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")]


def network(value: str, path: Path) -> list[FieldError]:
    try:
        if "/" not in value:
            raise ValueError("no prefix")
        ip_network(value, strict=False)
    except ValueError:
        return [invalid(path, value, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")]
    return []


def amount(text: str, path: Path) -> tuple[int | None, list[FieldError]]:
    """A quantity that is not negative, in billionths."""
    try:
        value = quantity.nano(text)
    except quantity.QuantityError as error:
        return None, [invalid(path, text, str(error))]
    return value, [invalid(path, text, NOT_NEGATIVE)] if value < 0 else []


def label_selector(selector: Any, path: Path) -> list[FieldError]:
    """A LabelSelector (metav1 validation.ValidateLabelSelector)."""
    if selector is None:
        return []
    from edgekube.apiserver.validation.meta import labels

    errors = labels(selector.matchLabels, path / "matchLabels")
    for index, expression in enumerate(selector.matchExpressions):
        at = path / "matchExpressions" / index
        match expression.operator:
            case "In" | "NotIn":
                if not expression.values:
                    errors.append(required(at / "values", "must be specified when `operator` is 'In' or 'NotIn'"))
            case "Exists" | "DoesNotExist":
                if expression.values:
                    from edgekube.types.fieldpath import forbidden

                    errors.append(
                        forbidden(at / "values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
                    )
            case _:
                errors.append(invalid(at / "operator", expression.operator, "not a valid selector operator"))
        errors += texts(names.qualified_name(expression.key), expression.key, at / "key")
        for position, value in enumerate(expression.values):
            errors += texts(names.label_value(value), value, at / "values" / position)
    return errors


def no_backsteps(text: str, path: Path) -> list[FieldError]:
    """validatePathNoBacksteps."""
    return [invalid(path, text, "must not contain '..'")] if ".." in text.split("/") else []


def descending_path(text: str, path: Path) -> list[FieldError]:
    """A path below some folder (validateLocalDescendingPath)."""
    errors = [invalid(path, text, "must be a relative path")] if text.startswith("/") else []
    return errors + no_backsteps(text, path)


def unchanged(new: Any, old: Any, path: Path) -> list[FieldError]:
    """apimachinery ValidateImmutableField."""
    return [] if new == old else [invalid(path, new, "field is immutable")]
