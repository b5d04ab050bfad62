"""One call on the registry: who asks for what, with which options; and what a write answers."""

from collections.abc import Mapping
from typing import Any

import msgspec

from edgekube.apiserver.request import ApiRequest, User
from edgekube.apiserver.resources import Resource
from edgekube.types import status
from edgekube.types.integers import integer as integer_of

FIELD_MANAGER_LENGTH_MAX = 128
_BOOLS = {"1": True, "t": True, "true": True, "": False, "0": False, "f": False, "false": False}


class Call(msgspec.Struct, kw_only=True):
    """Identity, target and options. `warnings` collects what the client shall be told."""

    user: User
    verb: str
    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    manager: str = ""  # named by the caller
    agent: str = ""  # who it is by its User-Agent, when it names no manager
    dry_run: bool = False
    field_validation: str = "Warn"
    force: bool | None = None
    term: int = 0
    warnings: list[str] = msgspec.field(default_factory=list)

    @property
    def field_manager(self) -> str:
        return self.manager or self.agent or "unknown"

    def warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)


class Written(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """`json` is the object as stored; `changed` is False when nothing had to be written."""

    json: bytes
    obj: dict[str, Any]
    revision: int
    created: bool = False
    changed: bool = True
    deleted: bool = False


def boolean(query: Mapping[str, str], name: str, default: bool = False) -> bool:
    text = query.get(name)
    if text is None:
        return default
    try:
        return _BOOLS[text.lower()]
    except KeyError:
        raise status.bad_request(f'unable to parse {name}: invalid boolean "{text}"') from None


def integer(query: Mapping[str, str], name: str, default: int | None = None) -> int | None:
    text = query.get(name, "")
    if not text:
        return default
    value = integer_of(text)
    if value is None:
        raise status.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax ({name})')
    return value


def call_of(request: ApiRequest, resource: Resource) -> Call:
    """The options of a request, checked. Raises ApiError."""
    query = request.query
    manager = query.get("fieldManager", "")
    if len(manager) > FIELD_MANAGER_LENGTH_MAX:
        raise status.failure(
            422, "Invalid", f"fieldManager: Too long: may not be more than {FIELD_MANAGER_LENGTH_MAX} bytes"
        )
    if not manager.isprintable():
        raise status.failure(
            422, "Invalid", f"fieldManager: Invalid value: {manager!r}: should only contain printable characters"
        )
    dry_run = query.get("dryRun", "")
    if dry_run not in ("", "All"):
        raise status.failure(422, "Invalid", f'dryRun: Unsupported value: "{dry_run}": supported values: "All"')
    validation = query.get("fieldValidation", "") or "Warn"
    if validation not in ("Ignore", "Warn", "Strict"):
        raise status.failure(
            422,
            "Invalid",
            f'fieldValidation: Unsupported value: "{validation}": supported values: "Ignore", "Strict", "Warn"',
        )
    return Call(
        user=request.user,
        verb=request.verb,
        resource=resource,
        namespace=request.namespace,
        name=request.name,
        subresource=request.subresource,
        manager=manager,
        agent=request.user_agent.split("/", 1)[0][:FIELD_MANAGER_LENGTH_MAX],
        dry_run=bool(dry_run),
        field_validation=validation,
        force=boolean(query, "force") if "force" in query else None,
    )
