"""WWW-Authenticate as values (RFC 9110 section 11.6.1), and the answers registries accept.

Sans-IO. Bearer follows distribution's token specification.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from urllib.parse import urlencode

import msgspec

from edgekube.runtime.api import Credentials
from edgekube.types.unreadable import UNREADABLE

HEADER_CHARACTERS_MAX = 16_384
TOKEN_CHARACTERS_MAX = 65_536

_ITEM = re.compile(
    r"""\s*(?:,\s*)*(?:(?P<key>[!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s,"]+))"""
    r"""|(?P<scheme>[!#$%&'*+.^_`|~0-9A-Za-z-]+)(?=\s|,|$))"""
)


class Challenge(msgspec.Struct, frozen=True):
    """`scheme` and parameter names in lower case."""

    scheme: str
    parameters: Mapping[str, str]


class _Token(msgspec.Struct):
    token: str | None = None
    access_token: str | None = None


def parse_challenges(headers: Iterable[str]) -> tuple[Challenge, ...]:
    """All challenges of the given header values; a malformed rest is ignored."""
    found: list[tuple[str, dict[str, str]]] = []
    for header in headers:
        text = header[:HEADER_CHARACTERS_MAX]
        at = 0
        current: dict[str, str] | None = None
        while match := _ITEM.match(text, at):
            at = match.end()
            if match["scheme"]:
                current = {}
                found.append((match["scheme"].lower(), current))
            elif current is not None:
                quoted = match["quoted"]
                value = match["plain"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
                current.setdefault(match["key"].lower(), value)
    return tuple(Challenge(scheme, parameters) for scheme, parameters in found)


def basic(credentials: Credentials) -> str:
    """The Authorization value for a user name and password (RFC 7617)."""
    pair = f"{credentials.username}:{credentials.password}".encode()
    return "Basic " + b64encode(pair).decode("ascii")


class TokenRequest(msgspec.Struct, frozen=True):
    """The request that gets a bearer token. `form` is a POST body ("" means GET)."""

    url: str
    authorization: str = ""
    form: str = ""


def token_request(challenge: Challenge, path: str, credentials: Credentials | None) -> TokenRequest | None:
    """How to ask for a token to pull `path`; None when the challenge names no realm."""
    realm = challenge.parameters.get("realm", "")
    if not realm:
        return None
    fields = {"scope": challenge.parameters.get("scope") or f"repository:{path}:pull"}
    if challenge.parameters.get("service"):
        fields["service"] = challenge.parameters["service"]
    if credentials is not None and credentials.identity_token:
        fields |= {"grant_type": "refresh_token", "refresh_token": credentials.identity_token, "client_id": "edgekube"}
        return TokenRequest(realm, form=urlencode(fields))
    url = realm + ("&" if "?" in realm else "?") + urlencode(fields)
    return TokenRequest(url, authorization=basic(credentials) if credentials and credentials.username else "")


def parse_token(data: bytes) -> str | None:
    """The token of a token server's answer, None when it has none that could go into a header."""
    try:
        answer = msgspec.json.decode(data, type=_Token)
    except UNREADABLE:
        return None
    token = answer.token or answer.access_token or ""
    return token if 0 < len(token) <= TOKEN_CHARACTERS_MAX and token.isascii() and token.isprintable() else None
