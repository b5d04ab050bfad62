"""The HTTP look at a container (pkg/probe/http): a GET, redirects followed as long as they stay on its host."""

import ssl
from urllib.parse import quote, urljoin, urlsplit

import msgspec
import trio

from edgekube.http.client import Connection, connect, target_of
from edgekube.http.messages import ConnectionLost
from edgekube.kubelet.checks import OUTPUT_BYTES_MAX, USER_AGENT, Outcome, cause_of
from edgekube.types.core_v1 import HTTPGetAction

REDIRECTS_MAX = 10
PATH_SAFE = "/?#[]@!$&'()*+,;=:%~"  # what may stand in a target as it is: query and escapes too
REDIRECTS = frozenset((301, 302, 303, 307, 308))


class _Answer(msgspec.Struct, frozen=True):
    status: int
    location: str
    body: str


async def http_check(action: HTTPGetAction, host: str, port: int, timeout_seconds: float) -> Outcome:
    """Status 200 to 399 is success; one from 300 on, where redirects ended, is a success with a warning."""
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    path = quote(action.path.removeprefix("/"), safe=PATH_SAFE)
    url = f"{(action.scheme or 'HTTP').lower()}://{address}/{path}"
    headers = {"user-agent": USER_AGENT, "accept": "*/*", "connection": "close"}
    headers |= {extra.name.lower(): extra.value for extra in action.httpHeaders}
    try:
        with trio.fail_after(timeout_seconds):
            answer = await _follow(url, headers)
    except trio.TooSlowError:
        words = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        return Outcome(False, f'Get "{url}": {words}')
    except (ConnectionLost, ValueError) as error:
        return Outcome(False, f'Get "{url}": {error}')
    except OSError as error:
        return Outcome(False, f'Get "{url}": dial tcp {address}: connect: {cause_of(error)}')
    if not 200 <= answer.status < 400:
        return Outcome(False, f"HTTP probe failed with statuscode: {answer.status}")
    if answer.status >= 300:
        return Outcome(True, f"Probe terminated redirects, Response body: {answer.body}", warning=True)
    return Outcome(True, answer.body)


async def _follow(first: str, headers: dict[str, str]) -> _Answer:
    """Raises OSError, ConnectionLost, ValueError."""
    url, home = first, urlsplit(first).hostname
    for _ in range(REDIRECTS_MAX):
        answer = await _get(url, headers)
        if answer.status not in REDIRECTS or not answer.location:
            return answer
        target = urlsplit(urljoin(url, answer.location))
        if target.hostname != home:
            return answer
        if target.scheme not in ("http", "https"):
            raise ValueError(f'unsupported protocol scheme "{target.scheme}"')
        if urlsplit(answer.location).netloc:
            headers = {name: value for name, value in headers.items() if name != "host"}
        url = target._replace(fragment="").geturl()
    raise ValueError(f"stopped after {REDIRECTS_MAX} redirects")


async def _get(url: str, headers: dict[str, str]) -> _Answer:
    tls = None
    if url.startswith("https:"):
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE  # a probe asks for liveness, not identity (as the kubelet's does)
    stream = (await connect(url, tls=tls)).stream
    try:
        host = headers.get("host") or urlsplit(url).netloc
        others = [(name, value) for name, value in headers.items() if name != "host"]
        connection = Connection(stream, host)
        response = await connection.send("GET", target_of(url), headers=others)
        body = b""
        while len(body) < OUTPUT_BYTES_MAX and (data := await connection.next_data()) is not None:
            body += data
        text = body[:OUTPUT_BYTES_MAX].decode(errors="replace")
        return _Answer(response.status, response.header("location"), text)
    finally:
        await trio.aclose_forcefully(stream)
