"""What the Raft core raises.

`RawNode.step` raises `RaftProtocolError` and nothing else, whatever a peer sends; the log is unchanged then, so a
driver logs it and goes on. An `AssertionError` means a bug in the core or a broken promise of the driver, never a peer;
a `StorageError` other than the three below comes from the storage itself and passes through. Both should end the
member.
"""


class RaftError(Exception):
    """Everything this package raises on purpose."""


class RaftProtocolError(RaftError):
    """A message cannot be acted upon: it contradicts the protocol, is malformed, or comes from a stranger."""


class LocalMessageError(RaftProtocolError):
    """A message of a type that never travels came from a peer."""

    def __init__(self) -> None:
        super().__init__("raft: cannot step raft local message")


class PeerNotFoundError(RaftProtocolError):
    """A response came from somebody outside the configuration, as happens shortly after a removal."""

    def __init__(self) -> None:
        super().__init__("raft: cannot step as peer not found")


class ProposalDroppedError(RaftProtocolError):
    """A proposal was not taken: no leader is known, a transfer is under way, or a limit is reached. Try again later."""

    def __init__(self) -> None:
        super().__init__("raft proposal dropped")


class ConfChangeError(RaftProtocolError):
    """A membership change does not fit the membership it would change."""


class ConfigError(RaftError):
    """The configuration of a member contradicts itself."""


class StorageError(RaftError):
    """What a `Storage` raises instead of an answer."""


class CompactedError(StorageError):
    """The entry asked for is no longer in the log, a snapshot covers it."""


class UnavailableError(StorageError):
    """The entry asked for is not in the log yet."""


class SnapshotTemporarilyUnavailableError(StorageError):
    """The snapshot is being prepared; the core asks again after the next heartbeat."""
