"""The process that makes keys and certificates: `edgekube _pki ensure|client|sign`, a JSON request on stdin.

`ensure` writes what is missing, near its end, or no longer fits into the folder, and prints the names it wrote.
`client` and `sign` print a KeyPair. Exit code 0, or 1 with the reason on stderr.
"""

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edgekube.pki.model import (
    CA_DAYS,
    DAY_SECONDS,
    LEAF_DAYS,
    NOT_BEFORE,
    RENEW_FRACTION,
    ClientRequest,
    KeyPair,
    PkiPaths,
    Request,
    SignRequest,
)

_RSA_BITS_MIN = 2048

Key = ec.EllipticCurvePrivateKey
Put = Callable[[Path, bytes], None]


class PkiError(Exception):
    """The request cannot be met; the message is for the user."""


def main(argv: list[str]) -> int:
    """Entry point of the helper process."""
    try:
        body = sys.stdin.buffer.read()
        match argv:
            case ["ensure"]:
                out: object = ensure(msgspec.json.decode(body, type=Request))
            case ["client"]:
                out = client(msgspec.json.decode(body, type=ClientRequest))
            case ["sign"]:
                out = sign(msgspec.json.decode(body, type=SignRequest))
            case _:
                raise PkiError("usage: edgekube _pki ensure|client|sign < request.json")
    except (PkiError, OSError, ValueError, msgspec.MsgspecError) as error:
        print(f"pki: {error}", file=sys.stderr)
        return 1
    sys.stdout.buffer.write(msgspec.json.encode(out))
    return 0


def ensure(request: Request) -> list[str]:
    """Bring the folder up to date; returns the names of the files written. Doing it again writes nothing."""
    paths = PkiPaths(Path(request.folder))
    paths.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    written: list[str] = []

    def put(path: Path, data: bytes) -> None:
        _write(path, data)
        written.append(path.name)

    ca, ca_key = _ensure_ca(paths, request, put)
    wanted = (
        (paths.server_certificate, paths.server_key, f"kube-apiserver:{request.node_name}", (), request.sans, True),
        (paths.admin_certificate, paths.admin_key, "kubernetes-admin", ("system:masters",), (), False),
    )
    for certificate_path, key_path, name, organizations, sans, server in wanted:
        if not _leaf_is_good(certificate_path, key_path, ca, name, sans, request.now):
            key = ec.generate_private_key(ec.SECP256R1())
            leaf = _issue(
                ca, ca_key, key.public_key(), name, organizations, sans, request.now, LEAF_DAYS,
                server=server, client=not server,
            )  # fmt: skip
            put(key_path, _key_pem(key))
            put(certificate_path, _pem(leaf))
    if not paths.service_account_key.exists():
        put(paths.service_account_key, _key_pem(ec.generate_private_key(ec.SECP256R1())))
    public = _public_pem(_load_key(paths.service_account_key))
    if not paths.service_account_public.exists() or paths.service_account_public.read_bytes() != public:
        put(paths.service_account_public, public)
    return written


def client(request: ClientRequest) -> KeyPair:
    """A fresh key and its client certificate."""
    ca, ca_key = _load_ca(PkiPaths(Path(request.folder)))
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = _issue(
        ca, ca_key, key.public_key(), request.common_name, request.organizations, (), request.now, request.days,
        server=False, client=True,
    )  # fmt: skip
    return KeyPair(_pem(leaf).decode(), _key_pem(key).decode())


def sign(request: SignRequest) -> KeyPair:
    """A certificate for somebody else's key, named as the request to us says, not as the CSR does."""
    ca, ca_key = _load_ca(PkiPaths(Path(request.folder)))
    csr = x509.load_pem_x509_csr(request.csr.encode())
    if not csr.is_signature_valid:
        raise PkiError("the signing request is not signed by the key it carries")
    public = csr.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        if public.key_size < _RSA_BITS_MIN:
            raise PkiError(f"the signing request's RSA key has {public.key_size} bits; {_RSA_BITS_MIN} are needed")
    elif not isinstance(public, ec.EllipticCurvePublicKey):
        raise PkiError("the signing request's key is neither RSA nor elliptic curve")
    leaf = _issue(
        ca, ca_key, public, request.common_name, request.organizations, request.sans, request.now, request.days,
        server=request.server, client=request.client,
    )  # fmt: skip
    return KeyPair(_pem(leaf).decode(), "")


def _ensure_ca(paths: PkiPaths, request: Request, put: Put) -> tuple[x509.Certificate, Key]:
    if paths.ca_certificate.exists() and paths.ca_key.exists():
        return _load_ca(paths)
    if paths.ca_certificate.exists() or any(paths.folder.glob("*.crt")):
        # A new CA would cut off every node and kubeconfig that trusts the old one: never by accident.
        raise PkiError(f"{paths.ca_key} or {paths.ca_certificate} is missing: restore it from a backup")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "edgekube-ca")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_date(NOT_BEFORE))
        .not_valid_after(_date(_end(request.now, CA_DAYS)))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    put(paths.ca_key, _key_pem(key))
    put(paths.ca_certificate, _pem(certificate))
    return certificate, key


def _issue(
    ca: x509.Certificate,
    ca_key: Key,
    public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
    common_name: str,
    organizations: tuple[str, ...],
    sans: tuple[str, ...],
    now: float,
    days: int,
    *,
    server: bool,
    client: bool,
) -> x509.Certificate:
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, value) for value in organizations]
    names.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    usages = [ExtendedKeyUsageOID.SERVER_AUTH] * server + [ExtendedKeyUsageOID.CLIENT_AUTH] * client
    end = min(_date(_end(now, days)), ca.not_valid_after_utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(names))
        .issuer_name(ca.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_date(NOT_BEFORE))
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
    )
    if sans:
        builder = builder.add_extension(x509.SubjectAlternativeName([_san(name) for name in sans]), critical=False)
    return builder.sign(ca_key, hashes.SHA256())


def _leaf_is_good(
    certificate_path: Path, key_path: Path, ca: x509.Certificate, name: str, sans: tuple[str, ...], now: float
) -> bool:
    """Whether a leaf can stay: readable, its key's, this CA's, of this name, with these SANs, and with life left."""
    try:
        leaf = x509.load_pem_x509_certificate(certificate_path.read_bytes())
        key = _load_key(key_path)
        leaf.verify_directly_issued_by(ca)
    except (OSError, ValueError, TypeError, InvalidSignature, PkiError):
        return False
    if leaf.public_key() != key.public_key():
        return False
    if leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value != name:
        return False
    try:
        held = set(leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        held = set()
    if not {_san(item) for item in sans} <= held:
        return False
    return leaf.not_valid_after_utc.timestamp() - now > LEAF_DAYS * DAY_SECONDS * RENEW_FRACTION


def _load_ca(paths: PkiPaths) -> tuple[x509.Certificate, Key]:
    return x509.load_pem_x509_certificate(paths.ca_certificate.read_bytes()), _load_key(paths.ca_key)


def _load_key(path: Path) -> Key:
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise PkiError(f"{path} holds no elliptic curve key")
    return key


def _end(now: float, days: int) -> float:
    return max(now, NOT_BEFORE) + days * DAY_SECONDS


def _date(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)


def _san(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not ca,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _public_pem(key: Key) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _write(path: Path, data: bytes) -> None:
    """Replace atomically and durably; the file is 0600 from its first byte."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
