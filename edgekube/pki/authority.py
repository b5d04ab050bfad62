"""The node's access to its certificate authority: files through the helper process, TLS contexts from them."""

import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import trio

from edgekube.native.program import self_argv
from edgekube.pki.model import ClientRequest, KeyPair, PkiPaths, Request, SignRequest
from edgekube.types.unreadable import UNREADABLE

HELPER: Final = (*self_argv(), "_pki")
HELPER_SECONDS_MAX: Final = 60.0
_OUTPUT_BYTES_MAX: Final = 64 * 1024
#: OpenSSL's X509_V_FLAG_NO_CHECK_TIME: chains are verified without the machine's clock, dates are checked by us.
NO_CHECK_TIME: Final = 0x200000

T = TypeVar("T")


class PkiFailure(Exception):
    """The helper could not do it; the message says why."""


async def ensure_pki(
    data_dir: Path, node_name: str, sans: Sequence[str], now: float, *, helper: Sequence[str] = HELPER
) -> PkiPaths:
    """Make or renew what is missing in `data_dir`/pki: CA, API server and admin certificates, token signing key.

    `sans` are added to the names every API server has (see `server_sans`). Idempotent; costs one process of 0.1 s of
    CPU. Raises PkiFailure.
    """
    folder = data_dir / "pki"
    names = tuple(dict.fromkeys([*server_sans(node_name), *sans]))
    await _run(helper, "ensure", Request(folder=str(folder), node_name=node_name, sans=names, now=now), list[str])
    return PkiPaths(folder)


def server_sans(node_name: str) -> tuple[str, ...]:
    """The names under which pods and local clients reach an API server."""
    return (
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        node_name,
        "localhost",
        "127.0.0.1",
        "::1",
    )


async def issue_client(request: ClientRequest, *, helper: Sequence[str] = HELPER) -> KeyPair:
    """A fresh client key and certificate. Raises PkiFailure."""
    return await _run(helper, "client", request, KeyPair)


async def sign_request(request: SignRequest, *, helper: Sequence[str] = HELPER) -> KeyPair:
    """A certificate for a signing request. Raises PkiFailure."""
    return await _run(helper, "sign", request, KeyPair)


def server_context(paths: PkiPaths) -> ssl.SSLContext:
    """TLS for the API: certificates of our CA are asked for, not demanded; their dates are the caller's to check."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(paths.server_certificate, paths.server_key)
    context.load_verify_locations(paths.ca_certificate)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= NO_CHECK_TIME
    context.set_alpn_protocols(["http/1.1"])
    # A resumed session would carry no certificate in TLS 1.2, and tickets cost memory a connection.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    return context


def client_context(ca_certificate: Path, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """TLS towards an API server of this cluster."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(ca_certificate)
    context.verify_flags |= NO_CHECK_TIME
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


async def _run(helper: Sequence[str], verb: str, request: msgspec.Struct, answer: type[T]) -> T:
    with trio.move_on_after(HELPER_SECONDS_MAX) as scope:
        done = await trio.run_process(
            [*helper, verb],
            stdin=msgspec.json.encode(request),
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    if scope.cancelled_caught:
        raise PkiFailure(f"the key helper took longer than {HELPER_SECONDS_MAX:.0f} s")
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip().removeprefix("pki: ")[-2000:]
        raise PkiFailure(reason or f"the key helper {helper[0]} ended with {done.returncode}")
    try:
        return msgspec.json.decode(done.stdout[:_OUTPUT_BYTES_MAX], type=answer)
    except UNREADABLE as error:
        raise PkiFailure(f"the key helper answered nonsense: {error}") from None


def reload_server(context: ssl.SSLContext, paths: PkiPaths) -> None:
    """Serve renewed certificates to new connections; those under way keep what they have."""
    context.load_cert_chain(paths.server_certificate, paths.server_key)
