"""The key helper's decisions, and signatures checked by an independent implementation."""

import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from edgekube.pki import helper
from edgekube.pki.authority import server_context
from edgekube.pki.model import DAY_SECONDS, NOT_BEFORE, ClientRequest, PkiPaths, Request, SignRequest
from edgekube.pki.sign import SignatureError, Signer, der_signature, raw_signature

NOW = 1_800_000_000.0
EVERYTHING = {"ca.key", "ca.crt", "apiserver.key", "apiserver.crt", "admin.key", "admin.crt", "sa.key", "sa.pub"}


def request(folder: Path, *, now: float = NOW, sans: tuple[str, ...] = ("localhost", "10.43.0.1"), node: str = "pi"):
    return Request(folder=str(folder), node_name=node, sans=sans, now=now)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> PkiPaths:
    folder = tmp_path_factory.mktemp("pki") / "pki"
    assert set(helper.ensure(request(folder))) == EVERYTHING
    return PkiPaths(folder)


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_doing_it_again_writes_nothing(made: PkiPaths) -> None:
    assert helper.ensure(request(made.folder)) == []


def test_files_are_private(made: PkiPaths) -> None:
    assert stat.S_IMODE(made.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in made.folder.iterdir()} == {0o600}


def test_server_certificate_names_what_clients_dial(made: PkiPaths) -> None:
    names = load(made.server_certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["10.43.0.1"]


def test_certificates_start_in_the_past_for_boards_without_a_clock(made: PkiPaths) -> None:
    for path in (made.ca_certificate, made.server_certificate, made.admin_certificate):
        assert load(path).not_valid_before_utc.timestamp() == NOT_BEFORE


def test_a_clock_in_1970_still_makes_certificates_that_last(tmp_path: Path) -> None:
    helper.ensure(request(tmp_path / "pki", now=1000.0))
    assert load(PkiPaths(tmp_path / "pki").server_certificate).not_valid_after_utc.timestamp() > NOT_BEFORE


def test_admin_is_a_cluster_admin_and_only_a_client(made: PkiPaths) -> None:
    admin = load(made.admin_certificate)
    assert admin.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "system:masters"
    usage = admin.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_leaves_renew_near_their_end_and_the_ca_stays(tmp_path: Path) -> None:
    helper.ensure(request(tmp_path))
    assert helper.ensure(request(tmp_path, now=NOW + 200 * DAY_SECONDS)) == []
    written = helper.ensure(request(tmp_path, now=NOW + 300 * DAY_SECONDS))
    assert set(written) == {"apiserver.key", "apiserver.crt", "admin.key", "admin.crt"}


def test_a_new_address_renews_the_server_certificate_only(tmp_path: Path) -> None:
    helper.ensure(request(tmp_path))
    written = helper.ensure(request(tmp_path, sans=("localhost", "192.168.1.9")))
    assert set(written) == {"apiserver.key", "apiserver.crt"}


def test_a_key_torn_from_its_certificate_is_replaced(tmp_path: Path) -> None:
    helper.ensure(request(tmp_path))
    paths = PkiPaths(tmp_path)
    paths.server_key.write_bytes(paths.admin_key.read_bytes())
    assert set(helper.ensure(request(tmp_path))) == {"apiserver.key", "apiserver.crt"}


def test_a_lost_ca_key_is_not_replaced_behind_the_users_back(tmp_path: Path) -> None:
    helper.ensure(request(tmp_path))
    PkiPaths(tmp_path).ca_key.unlink()
    with pytest.raises(helper.PkiError, match="restore it from a backup"):
        helper.ensure(request(tmp_path))


def test_client_certificates_name_user_and_groups(made: PkiPaths) -> None:
    pair = helper.client(
        ClientRequest(folder=str(made.folder), common_name="jane", organizations=("a", "b"), now=NOW, days=1)
    )
    certificate = x509.load_pem_x509_certificate(pair.certificate.encode())
    certificate.verify_directly_issued_by(load(made.ca_certificate))
    assert [a.value for a in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] == ["a", "b"]
    assert certificate.not_valid_after_utc.timestamp() == NOW + DAY_SECONDS


def csr(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "system:masters")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def test_a_signing_request_does_not_choose_its_own_name(made: PkiPaths) -> None:
    pair = helper.sign(
        SignRequest(
            folder=str(made.folder),
            csr=csr(ec.generate_private_key(ec.SECP256R1())),
            common_name="system:node:a",
            organizations=("system:nodes",),
            now=NOW,
        )
    )
    subject = x509.load_pem_x509_certificate(pair.certificate.encode()).subject.rfc4514_string()
    assert subject == "CN=system:node:a,O=system:nodes"
    assert pair.key == ""


def test_weak_keys_are_not_signed(made: PkiPaths) -> None:
    weak = rsa.generate_private_key(65537, 1024)
    with pytest.raises(helper.PkiError, match="1024 bits"):
        helper.sign(SignRequest(folder=str(made.folder), csr=csr(weak), common_name="x", organizations=(), now=NOW))


def test_the_server_context_loads_what_was_made(made: PkiPaths) -> None:
    assert server_context(made).verify_mode is ssl.CERT_OPTIONAL


def test_signatures_verify_elsewhere(made: PkiPaths) -> None:
    signer = Signer(made.service_account_key.read_bytes())
    signature = signer.sign(b"a token")
    public = serialization.load_pem_public_key(made.service_account_public.read_bytes())
    assert isinstance(public, ec.EllipticCurvePublicKey)
    pair = (int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    public.verify(encode_dss_signature(*pair), b"a token", ec.ECDSA(hashes.SHA256()))
    with pytest.raises(InvalidSignature):
        public.verify(encode_dss_signature(*pair), b"another", ec.ECDSA(hashes.SHA256()))


def test_only_the_right_signature_over_the_right_data_verifies(made: PkiPaths) -> None:
    signer = Signer(made.service_account_key.read_bytes())
    signature = signer.sign(b"data")
    assert signer.verify(b"data", signature)
    assert not signer.verify(b"Data", signature)
    assert not signer.verify(b"data", signature[:-1] + bytes([signature[-1] ^ 1]))
    assert not signer.verify(b"data", bytes(64))
    assert not signer.verify(b"data", signature[:63])
    assert not signer.verify(b"data", b"")


def test_other_keys_are_refused() -> None:
    weak = rsa.generate_private_key(65537, 2048)
    pem = weak.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(SignatureError, match="P-256"):
        Signer(pem)
    with pytest.raises(SignatureError, match="PEM"):
        Signer(b"nothing")


@given(st.binary(min_size=64, max_size=64))
def test_der_and_raw_signatures_are_the_same_numbers(raw: bytes) -> None:
    assert raw_signature(der_signature(raw)) == raw
