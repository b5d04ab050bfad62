"""Secrets: keys, size, and what each built-in type must hold."""

from collections.abc import Sequence
from typing import Any

import msgspec

from edgekube.apiserver.validation.config import SIZE_BYTES_MAX, frozen
from edgekube.apiserver.validation.meta import metadata
from edgekube.apiserver.validation.rules import texts
from edgekube.types import names
from edgekube.types.fieldpath import FieldError, Path, invalid, required, too_long
from edgekube.types.unreadable import UNREADABLE

DATA = Path("data")
_ACCOUNT = "kubernetes.io/service-account.name"
_NEEDED = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}


def validate(new: Any, old: Any | None, subresource: str) -> Sequence[FieldError]:
    errors = metadata(new, old)
    size = 0
    for key, value in new.data.items():
        errors += texts(names.config_key(key), key, DATA.key(key))
        size += len(value)
    if size > SIZE_BYTES_MAX:
        errors.append(too_long(DATA, SIZE_BYTES_MAX))
    for key in _NEEDED.get(new.type, ()):
        if key not in new.data:
            errors.append(required(DATA.key(key)))
        elif "docker" in key:
            try:
                msgspec.json.decode(new.data[key])
            except UNREADABLE as error:
                errors.append(invalid(DATA.key(key), "<secret contents redacted>", str(error)))
    if new.type == "kubernetes.io/basic-auth" and not {"username", "password"} & set(new.data):
        errors += [required(DATA.key("username")), required(DATA.key("password"))]
    if new.type == "kubernetes.io/service-account-token" and not new.metadata.annotations.get(_ACCOUNT):
        errors.append(required(Path("metadata", "annotations").key(_ACCOUNT)))
    if old is not None:
        if new.type != old.type:
            errors.append(invalid(Path("type"), new.type, "field is immutable"))
        if old.immutable:
            errors += frozen(new, old, ("data",))
    return errors
