"""What can go wrong for a person at the command line, and how it is said."""

from collections.abc import Mapping, Sequence
from typing import Any

OK = 0
FAILED = 1
USAGE = 2


class CliError(Exception):
    """Printed as `error: ...`; `code` is the exit code."""

    code = FAILED


class UsageError(CliError):
    """The words typed make no sense together."""

    code = USAGE


class StatusError(CliError):
    """The API server refused; carries its Status. Printed as kubectl prints it."""

    def __init__(self, status: Mapping[str, Any], *, http_code: int = 0, doing: str = "") -> None:
        self.status = status
        self.reason: str = status.get("reason") or ""
        self.http_code: int = int(status.get("code") or http_code)
        self.message: str = status.get("message") or f"the server answered with HTTP {self.http_code}"
        self.doing = doing
        super().__init__(self.message)

    @property
    def names_object(self) -> bool:
        """A 404 of an object, not of a resource that is not served at all."""
        return bool((self.status.get("details") or {}).get("name"))


def during(error: StatusError, doing: str) -> StatusError:
    """The same refusal, saying what was being done (`error when creating "x.yaml"`)."""
    return StatusError(error.status, http_code=error.http_code, doing=doing)


def describe(error: CliError) -> str:
    """The lines for stderr."""
    if not isinstance(error, StatusError):
        return f"error: {error}"
    doing = f"{error.doing}: " if error.doing else ""
    if error.reason == "Invalid" and not doing:
        return _invalid(error)
    reason = f" ({error.reason})" if error.reason else ""
    return f"Error from server{reason}: {doing}{error.message}"


def _invalid(error: StatusError) -> str:
    details: Mapping[str, Any] = error.status.get("details") or {}
    causes: Sequence[Mapping[str, Any]] = details.get("causes") or ()
    if not causes or not details.get("kind"):
        return f"Error from server (Invalid): {error.message}"
    told = [f"{cause.get('field') or '<nil>'}: {cause.get('message', '')}" for cause in causes]
    head = f'The {details["kind"]} "{details.get("name", "")}" is invalid'
    if len(told) == 1:
        return f"{head}: {told[0]}"
    return "\n".join([head + ": ", *(f"* {line}" for line in told)])
