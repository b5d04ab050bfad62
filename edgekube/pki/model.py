"""What the node asks of the key helper, and what the folder holds. Times are seconds of cluster time (Unix)."""

from pathlib import Path
from typing import Final

import msgspec

#: Every certificate starts here: a board without a clock may believe in any year from then on.
NOT_BEFORE: Final = 1577836800  # 2020-01-01
DAY_SECONDS: Final = 86400
CA_DAYS: Final = 3650
LEAF_DAYS: Final = 365
#: Renewed when less of its life than this is left.
RENEW_FRACTION: Final = 1 / 3


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """`sans` are DNS names and IP addresses of the API server; `now` decides about renewal and last days."""

    folder: str
    node_name: str
    sans: tuple[str, ...]
    now: float


class ClientRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A client certificate for `common_name` in `organizations`, signed by the CA in `folder`; answered on stdout."""

    folder: str
    common_name: str
    organizations: tuple[str, ...]
    now: float
    days: int = LEAF_DAYS


class SignRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate for a PEM signing request, with the subject and SANs given here, whatever the request says."""

    folder: str
    csr: str
    common_name: str
    organizations: tuple[str, ...]
    sans: tuple[str, ...] = ()
    server: bool = False
    client: bool = True
    now: float
    days: int = LEAF_DAYS


class KeyPair(msgspec.Struct, frozen=True):
    certificate: str  # PEM
    key: str  # PEM, PKCS #8; "" for a signing request's


class PkiPaths(msgspec.Struct, frozen=True):
    """Where things are. Every file is 0600 and replaced atomically."""

    folder: Path

    def backed_up(self, root: Path) -> dict[str, bytes]:
        """What a backup must hold, since it cannot be made anew: path below `root` -> content."""
        keys = (self.ca_certificate, self.ca_key, self.service_account_key, self.service_account_public)
        admin = (self.admin_certificate, self.admin_key)
        return {str(file.relative_to(root)): file.read_bytes() for file in (*keys, *admin)}

    @property
    def ca_certificate(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def ca_key(self) -> Path:
        return self.folder / "ca.key"

    @property
    def server_certificate(self) -> Path:
        return self.folder / "apiserver.crt"

    @property
    def server_key(self) -> Path:
        return self.folder / "apiserver.key"

    @property
    def admin_certificate(self) -> Path:
        return self.folder / "admin.crt"

    @property
    def admin_key(self) -> Path:
        return self.folder / "admin.key"

    @property
    def service_account_key(self) -> Path:
        """P-256, PKCS #8: signs ServiceAccount tokens."""
        return self.folder / "sa.key"

    @property
    def service_account_public(self) -> Path:
        """Its SubjectPublicKeyInfo."""
        return self.folder / "sa.pub"
