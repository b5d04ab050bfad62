"""CertificateSigningRequests.

The request is checked as far as its PEM block: what the block holds is for the signer to read, and its signature too.
"""

import binascii
import re
from base64 import b64encode
from collections.abc import Sequence
from typing import Any, Final

from edgekube.apiserver.validation.meta import NameRule, metadata
from edgekube.types import names
from edgekube.types.fieldpath import FieldError, Path, duplicate, invalid, not_supported, required, too_long

SPEC = Path("spec")
CONDITIONS = Path("status", "conditions")
USAGES: Final = frozenset(
    {
        "signing", "digital signature", "content commitment", "key encipherment", "key agreement",
        "data encipherment", "cert sign", "crl sign", "encipher only", "decipher only", "any", "server auth",
        "client auth", "code signing", "email protection", "s/mime", "ipsec end system", "ipsec tunnel", "ipsec user",
        "timestamping", "ocsp signing", "microsoft sgc", "netscape sgc",
    }
)  # fmt: skip
EXPIRATION_SECONDS_MIN: Final = 600
DOMAIN_CHARACTERS_MAX: Final = 253
_ONE_WAY: Final = ("Approved", "Denied", "Failed")  # conditions that are only ever true
_REQUEST: Final = re.compile(
    rb"-----BEGIN CERTIFICATE REQUEST-----\s+([A-Za-z0-9+/=\s]+)-----END CERTIFICATE REQUEST-----"
)


def validate(new: Any, old: Any | None, subresource: str) -> Sequence[FieldError]:
    errors = metadata(new, old, names.path_segment)
    spec = new.spec
    if not _is_request(spec.request):
        errors.append(
            invalid(SPEC / "request", b64encode(spec.request).decode(), "PEM block type must be CERTIFICATE REQUEST")
        )
    if not spec.usages:
        errors.append(required(SPEC / "usages", "usages must be provided"))
    for index, usage in enumerate(spec.usages):
        at = SPEC / "usages" / index
        if usage not in USAGES:
            errors.append(not_supported(at, usage, sorted(USAGES)))
        if usage in spec.usages[:index]:
            errors.append(duplicate(at, usage))
    errors += _signer(spec.signerName, SPEC / "signerName")
    if spec.expirationSeconds is not None and spec.expirationSeconds < EXPIRATION_SECONDS_MIN:
        text = "may not specify a duration less than 600 seconds (10 minutes)"
        errors.append(invalid(SPEC / "expirationSeconds", spec.expirationSeconds, text))
    return errors + _conditions(new.status.conditions)


def _is_request(pem: bytes) -> bool:
    found = _REQUEST.search(pem)
    if found is None:
        return False
    try:
        return bool(binascii.a2b_base64(b"".join(found[1].split()), strict_mode=True))
    except binascii.Error:
        return False


def _signer(name: str, path: Path) -> list[FieldError]:
    """`example.com/signer-name`."""
    if not name:
        return [required(path, "signerName must be provided")]
    domain, slash, rest = name.partition("/")
    if not slash or "/" in rest:
        text = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        return [invalid(path, name, text)]
    errors: list[FieldError] = []
    if len(domain) > DOMAIN_CHARACTERS_MAX:
        errors.append(too_long(path, DOMAIN_CHARACTERS_MAX))
    labels = domain.split(".")
    errors += _labels(labels, domain, path, names.dns1123_label)
    if len(labels) < 2:
        errors.append(invalid(path, domain, "should be a domain with at least two segments separated by dots"))
    return errors + _labels(rest.split("."), rest, path, names.dns1123_subdomain)


def _labels(labels: Sequence[str], whole: str, path: Path, rule: NameRule) -> list[FieldError]:
    """The problems of the first label that has any."""
    for label in labels:
        found = [invalid(path, whole, f'validating label "{label}": {text}') for text in rule(label)]
        if found:
            return found
    return []


def _conditions(conditions: Sequence[Any]) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        at = CONDITIONS / index
        if not condition.type:
            errors.append(required(at / "type"))
        allowed = ("True",) if condition.type in _ONE_WAY else ("False", "True", "Unknown")
        if not condition.status:
            errors.append(required(at / "status"))
        elif condition.status not in allowed:
            errors.append(not_supported(at / "status", condition.status, list(allowed)))
        if {"Approved": "Denied", "Denied": "Approved"}.get(condition.type) in seen:
            text = "Approved and Denied conditions are mutually exclusive"
            errors.append(invalid(at / "type", condition.type, text))
        if condition.type in seen:
            errors.append(duplicate(at / "type", condition.type))
        seen.add(condition.type)
    return errors
