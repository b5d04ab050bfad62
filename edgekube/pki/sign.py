"""ECDSA P-256 signatures (ES256) by the libcrypto that Python's `ssl` has loaded already, reached through ctypes.

Why so: `ssl` does not sign, cryptography brings a second OpenSSL (9 MiB), a process per signature costs 0.1 s, and
P-256 in Python is neither quick nor constant in time. This costs no memory and 40 us.

Functions and constants: OpenSSL 3 man pages EVP_DigestSign(3), EVP_DigestVerify(3), PEM_read_bio_PrivateKey(3).
"""

import ctypes
import ssl
from base64 import urlsafe_b64encode
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_void_p, create_string_buffer
from functools import cache
from hashlib import sha256
from typing import Any, Final

SIGNATURE_BYTES: Final = 64
_COORDINATE_BYTES: Final = 32
_DER_BYTES_MAX: Final = 80
#: SubjectPublicKeyInfo of a P-256 key up to its 65-byte uncompressed point (RFC 5480).
_SPKI_PREFIX: Final = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")

_LIBRARIES: Final = ("libcrypto.so.3", "libcrypto.so.1.1")


class SignatureError(Exception):
    """No key, no libcrypto, or libcrypto refused; the message says which."""


class Signer:
    """One P-256 private key. `key_id` is the base64url SHA-256 of its public key, as kube-apiserver names keys."""

    def __init__(self, private_pem: bytes) -> None:
        """Raises SignatureError when `private_pem` holds no P-256 key or libcrypto is out of reach."""
        self._lib = _library()
        lib = self._lib
        bio = lib.BIO_new_mem_buf(private_pem, len(private_pem))
        self._key = lib.PEM_read_bio_PrivateKey(bio, None, None, None) if bio else None
        lib.BIO_free(bio)
        if not self._key:
            lib.ERR_clear_error()
            raise SignatureError("the signing key is not a readable PEM private key")
        self.spki = self._public()
        if len(self.spki) != len(_SPKI_PREFIX) + 65 or not self.spki.startswith(_SPKI_PREFIX):
            raise SignatureError("the signing key is not an ECDSA P-256 key")
        self.key_id = urlsafe_b64encode(sha256(self.spki).digest()).rstrip(b"=").decode()

    def __del__(self) -> None:
        key = getattr(self, "_key", None)
        if key:
            self._lib.EVP_PKEY_free(key)

    @property
    def jwk(self) -> dict[str, str]:
        """The public key as a JSON Web Key (RFC 7517, 7518 section 6.2)."""
        point = self.spki[len(_SPKI_PREFIX) + 1 :]
        x, y = (urlsafe_b64encode(half).rstrip(b"=").decode() for half in (point[:32], point[32:]))
        return {"use": "sig", "kty": "EC", "kid": self.key_id, "crv": "P-256", "alg": "ES256", "x": x, "y": y}

    def sign(self, data: bytes) -> bytes:
        """r || s, 64 bytes (RFC 7518 section 3.4)."""
        lib = self._lib
        context = lib.EVP_MD_CTX_new()
        try:
            out, size = create_string_buffer(_DER_BYTES_MAX), c_size_t(_DER_BYTES_MAX)
            done = lib.EVP_DigestSignInit(context, None, lib.EVP_sha256(), None, self._key) == 1
            done = done and lib.EVP_DigestSign(context, out, byref(size), data, len(data)) == 1
        finally:
            lib.EVP_MD_CTX_free(context)
        if not done:
            lib.ERR_clear_error()
            raise SignatureError("libcrypto could not sign")
        return raw_signature(out.raw[: size.value])

    def verify(self, data: bytes, signature: bytes) -> bool:
        """Whether `signature` (r || s) is this key's over `data`."""
        if len(signature) != SIGNATURE_BYTES:
            return False
        der = der_signature(signature)
        lib = self._lib
        context = lib.EVP_MD_CTX_new()
        try:
            good = lib.EVP_DigestVerifyInit(context, None, lib.EVP_sha256(), None, self._key) == 1
            good = good and lib.EVP_DigestVerify(context, der, len(der), data, len(data)) == 1
        finally:
            lib.EVP_MD_CTX_free(context)
        if not good:
            lib.ERR_clear_error()  # the queue is the thread's, and ssl reads it
        return bool(good)

    def _public(self) -> bytes:
        size: int = self._lib.i2d_PUBKEY(self._key, None)
        if size <= 0:
            raise SignatureError("the signing key has no public half")
        out = create_string_buffer(size)
        self._lib.i2d_PUBKEY(self._key, byref(ctypes.cast(out, c_void_p)))
        return out.raw


def raw_signature(der: bytes) -> bytes:
    """DER `SEQUENCE { r INTEGER, s INTEGER }` to r || s. Raises SignatureError."""
    r, rest = _integer(der[2:])
    s, rest = _integer(rest)
    if der[:1] != b"\x30" or rest:
        raise SignatureError("libcrypto made a signature of unknown form")
    return r.to_bytes(_COORDINATE_BYTES, "big") + s.to_bytes(_COORDINATE_BYTES, "big")


def der_signature(raw: bytes) -> bytes:
    """r || s to DER."""
    body = b"".join(_encode_integer(raw[start : start + _COORDINATE_BYTES]) for start in (0, _COORDINATE_BYTES))
    return b"\x30" + bytes([len(body)]) + body


def _integer(data: bytes) -> tuple[int, bytes]:
    if len(data) < 2 or data[0] != 2 or len(data) < 2 + data[1]:
        raise SignatureError("libcrypto made a signature of unknown form")
    size = data[1]
    return int.from_bytes(data[2 : 2 + size], "big"), data[2 + size :]


def _encode_integer(value: bytes) -> bytes:
    value = value.lstrip(b"\0") or b"\0"
    if value[0] & 0x80:
        value = b"\0" + value
    return b"\x02" + bytes([len(value)]) + value


@cache
def _library() -> Any:
    # By soname: the loader then hands out the copy `ssl` is linked to, wherever it lies.
    assert ssl.OPENSSL_VERSION
    for name in _LIBRARIES:
        try:
            lib: Any = ctypes.CDLL(name)
            break
        except OSError:
            continue
    else:
        raise SignatureError("no shared libcrypto: tokens cannot be signed with a statically linked ssl module")
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "BIO_new_mem_buf": (c_void_p, [c_char_p, c_int]),
        "BIO_free": (c_int, [c_void_p]),
        "PEM_read_bio_PrivateKey": (c_void_p, [c_void_p, c_void_p, c_void_p, c_void_p]),
        "EVP_PKEY_free": (None, [c_void_p]),
        "EVP_MD_CTX_new": (c_void_p, []),
        "EVP_MD_CTX_free": (None, [c_void_p]),
        "EVP_sha256": (c_void_p, []),
        "EVP_DigestSignInit": (c_int, [c_void_p, c_void_p, c_void_p, c_void_p, c_void_p]),
        "EVP_DigestSign": (c_int, [c_void_p, c_char_p, POINTER(c_size_t), c_char_p, c_size_t]),
        "EVP_DigestVerifyInit": (c_int, [c_void_p, c_void_p, c_void_p, c_void_p, c_void_p]),
        "EVP_DigestVerify": (c_int, [c_void_p, c_char_p, c_size_t, c_char_p, c_size_t]),
        "i2d_PUBKEY": (c_int, [c_void_p, c_void_p]),
        "ERR_clear_error": (None, []),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(lib, name)
        function.restype = result
        function.argtypes = arguments
    return lib
