"""What a patch can be refused for."""


class PatchError(Exception):
    """The patch itself is malformed (HTTP 400)."""


class PatchUnprocessable(PatchError):
    """The patch is well formed but does not fit this object (HTTP 422): a failed test, a missing path."""
