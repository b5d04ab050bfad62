"""Ingresses (pkg/apis/networking/validation)."""

from collections.abc import Sequence
from typing import Any

from edgekube.apiserver.validation.meta import metadata
from edgekube.apiserver.validation.rules import address, one_of, port_number, subdomain, texts
from edgekube.types import names
from edgekube.types.fieldpath import FieldError, Path, invalid, required

SPEC = Path("spec")
PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
SEQUENCES = ("//", "/./", "/../", "%2f", "%2F")


def validate(new: Any, old: Any | None, subresource: str) -> Sequence[FieldError]:
    errors = metadata(new, old)
    if subresource == "status":
        return errors
    spec = new.spec
    if not spec.rules and spec.defaultBackend is None:
        errors.append(invalid(SPEC, list(spec.rules), "either `defaultBackend` or `rules` must be specified"))
    if spec.defaultBackend is not None:
        errors += _backend(spec.defaultBackend, SPEC / "defaultBackend")
    for index, rule in enumerate(spec.rules):
        at = SPEC / "rules" / index
        errors += _host(rule.host, at / "host")
        if rule.http is not None and not rule.http.paths:
            errors.append(required(at / "http" / "paths"))
        for position, path in enumerate(rule.http.paths if rule.http is not None else ()):
            errors += _path(path, at / "http" / "paths" / position)
    for index, tls in enumerate(spec.tls):
        for position, host in enumerate(tls.hosts):
            errors += _host(host, SPEC / "tls" / index / "hosts" / position)
    if spec.ingressClassName is not None:
        errors += subdomain(spec.ingressClassName, SPEC / "ingressClassName")
    return errors


def _host(host: str, at: Path) -> list[FieldError]:
    if not host:
        return []
    if address(host, at)[0] is not None:
        return [invalid(at, host, "must be a DNS name, not an IP address")]
    return subdomain(host.removeprefix("*."), at)


def _path(path: Any, at: Path) -> list[FieldError]:
    errors = one_of(path.pathType, PATH_TYPES, at / "pathType")
    if path.pathType in ("Exact", "Prefix"):
        if not path.path.startswith("/"):
            errors.append(invalid(at / "path", path.path, "must be an absolute path"))
        errors += [
            invalid(at / "path", path.path, f"must not contain '{text}'") for text in SEQUENCES if text in path.path
        ]
    elif path.path and not path.path.startswith("/"):
        errors.append(invalid(at / "path", path.path, "must be an absolute path"))
    return errors + _backend(path.backend, at / "backend")


def _backend(backend: Any, at: Path) -> list[FieldError]:
    service = backend.service
    if backend.resource is not None:
        return [invalid(at, "", "cannot set both resource and service backends")] if service is not None else []
    if service is None:
        return [required(at, "resource or service backend is required")]
    if not service.name:
        return [required(at / "service" / "name")]
    errors = texts(names.dns1035_label(service.name), service.name, at / "service" / "name")
    port, place = service.port, at / "service" / "port"
    if port.name and port.number:
        errors.append(invalid(at, "", "cannot set both port name & port number"))
    elif port.name:
        errors += texts(names.port_name(port.name), port.name, place / "name")
    elif port.number:
        errors += port_number(port.number, place / "number")
    else:
        errors.append(required(at, "port name or number is required"))
    return errors
