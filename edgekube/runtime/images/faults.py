"""The one exception of the helper's side. The node turns it into `ImageFailure`."""


class LayerFault(Exception):
    """A layer or archive is malformed, hostile or beyond a limit. The message says which entry and why."""
