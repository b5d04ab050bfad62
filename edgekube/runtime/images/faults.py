"""The one exception of the helper's side. The node turns it into `ImageFailure`."""

import json

SHOWN_BYTES_MAX = 256


class LayerFault(Exception):
    """A layer or archive is malformed, hostile or beyond a limit. The message says which entry and why."""


def quoted(name: bytes) -> str:
    """A name out of an archive as a person may see it: escaped, and its first 256 bytes at most."""
    return json.dumps(name[:SHOWN_BYTES_MAX].decode("utf-8", "surrogateescape"))
