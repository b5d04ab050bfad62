"""Talking to a registry (OCI distribution-spec): manifests, blobs, tokens, redirects, mirrors, retries.

Errors are worded as containerd words them: these are the lines people search for.
"""

import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

import msgspec
import trio

from edgekube.runtime.api import Credentials, ImageFailure
from edgekube.runtime.images import challenge, manifest
from edgekube.runtime.images.hosts import Endpoint, RegistryConfig, credentials_for
from edgekube.runtime.images.reference import Reference
from edgekube.runtime.images.web import Response, Trust, WebClient, WebFailure
from edgekube.types.unreadable import UNREADABLE

REDIRECTS_MAX = 5
ATTEMPTS_MAX = 4
RESUMES_MAX = 16
BACK_OFF_SECONDS = 0.5
BACK_OFF_SECONDS_MAX = 8.0
ERROR_BYTES_MAX = 65_536
TOKEN_BYTES_MAX = 131_072
WRITE_BYTES = 262_144
_TRANSIENT = frozenset((408, 429, 500, 502, 503, 504))
_REDIRECT = frozenset((301, 302, 303, 307, 308))

T = TypeVar("T")


class _Error(msgspec.Struct):
    code: str = ""
    message: str = ""


class _Errors(msgspec.Struct):
    errors: tuple[_Error, ...] | None = None


class Refused(ImageFailure):
    """The registry answered, and the answer is no: 401, 403, 404. Another server or secret may do better."""


class Session:
    """One server with one secret, for one repository."""

    def __init__(
        self, client: WebClient, endpoint: Endpoint, registry: str, path: str, credentials: Credentials | None
    ) -> None:
        self.endpoint = endpoint
        self._client = client
        self._trust = Trust(skip_verify=endpoint.skip_verify, ca_file=endpoint.ca_file)
        self._plain_trust = Trust(ca_file=endpoint.ca_file)
        self._registry = registry
        self._path = path
        self._credentials = credentials
        self._authorization = ""

    def url(self, kind: str, name: str) -> str:
        query = "" if urlsplit(self.endpoint.url).netloc == self._registry else f"?ns={self._registry}"
        return f"{self.endpoint.url.rstrip('/')}/v2/{self._path}/{kind}/{name}{query}"

    @asynccontextmanager
    async def get(self, url: str, *, accept: str = "*/*", offset: int = 0) -> AsyncIterator[Response]:
        """GET with authorization and redirects; inside, the status is 200, 206 or 416.

        Raises WebFailure, ImageFailure.
        """
        asked = False
        hops = 0
        original = url
        while True:
            headers = {"accept": accept, "accept-encoding": "identity"}
            own = _origin(url) == _origin(original)
            if own and self._authorization:
                headers["authorization"] = self._authorization
            if offset:
                headers["range"] = f"bytes={offset}-"
            # skip_verify is said of the registry; where it sends us is checked as ever.
            trust = self._trust if own else self._plain_trust
            async with self._client.exchange("GET", url, trust, headers=headers) as r:
                if r.status in _REDIRECT and r.header("location"):
                    hops += 1
                    if hops > REDIRECTS_MAX:
                        raise ImageFailure("ErrImagePull", f'Get "{original}": stopped after {REDIRECTS_MAX} redirects')
                    await _drain(r)
                    url = self._redirected(url, r.header("location"))
                    continue
                if r.status == 401 and own and not asked:
                    asked = True
                    challenges = challenge.parse_challenges(r.header_values("www-authenticate"))
                    await _drain(r)
                    self._authorization = await self._authorize(challenges)
                    if self._authorization:
                        continue
                    raise _denied("", own=True)
                if r.status in (200, 206, 416):
                    yield r
                    return
                raise await _refusal(r)

    def _redirected(self, url: str, location: str) -> str:
        try:
            target = urljoin(url, location)
            parts = urlsplit(target)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ImageFailure(
                "ErrImagePull", f'Get "{url}": redirected to {location[:200]!r}, which is no web address'
            )
        if parts.scheme == "http" and self.endpoint.secure:
            raise ImageFailure("ErrImagePull", f'Get "{url}": redirected from https to http, refused')
        return target

    async def _authorize(self, challenges: Sequence[challenge.Challenge]) -> str:
        for each in challenges:
            if each.scheme == "bearer":
                return await self._token(each)
            if each.scheme == "basic" and self._credentials is not None and self._credentials.username:
                return challenge.basic(self._credentials)
        return ""

    async def _token(self, asked: challenge.Challenge) -> str:
        request = challenge.token_request(asked, self._path, self._credentials)
        if request is None:
            return ""
        if not request.url.startswith("https://") and self.endpoint.secure:
            raise ImageFailure("ErrImagePull", f"registry sends its clients for a token to {request.url!r}, not https")
        headers = {"accept": "application/json"}
        if request.authorization:
            headers["authorization"] = request.authorization
        if request.form:
            headers["content-type"] = "application/x-www-form-urlencoded"
        method = "POST" if request.form else "GET"
        own = _origin(request.url) == _origin(self.endpoint.url)
        trust = self._trust if own else self._plain_trust
        async with self._client.exchange(
            method, request.url, trust, headers=headers, body=request.form.encode()
        ) as response:
            data = await response.read(TOKEN_BYTES_MAX)
            if response.status in (400, 401, 403):
                words = f"failed to fetch {'oauth' if request.form else 'anonymous'} token: unexpected status"
                raise _denied(f"{words}: {_status(response.status)}", own=False)
            if response.status != 200:
                raise _unexpected(response, "")
            token = challenge.parse_token(data)
        if token is None:
            raise ImageFailure("ErrImagePull", f"{request.url}: the token server's answer holds no token")
        return f"Bearer {token}"


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _status(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


async def _drain(response: Response) -> None:
    await response.read(ERROR_BYTES_MAX)


def _denied(detail: str, *, own: bool) -> Refused:
    words = "pull access denied, repository does not exist or may require authorization"
    tail = detail or ("server message: insufficient_scope: authorization failed" if own else "authorization failed")
    return Refused("ErrImagePull", f"{words}: {tail}")


def _unexpected(response: Response, detail: str) -> Exception:
    words = f"unexpected status from GET request to {response.url}: {_status(response.status)}{detail}"
    if response.status in _TRANSIENT:
        return WebFailure(words, transient=True)
    return ImageFailure("ErrImagePull", words)


async def _refusal(response: Response) -> Exception:
    """What an error answer means."""
    data = await response.read(ERROR_BYTES_MAX)
    try:
        errors = msgspec.json.decode(data, type=_Errors).errors or ()
    except UNREADABLE:
        errors = ()
    # A server's words go into the pod's status: one line, and not too long.
    detail = "; ".join(f"{each.code}: {each.message}" for each in errors[:3] if each.code or each.message)[:500]
    detail = "".join(c if c.isprintable() else " " for c in detail)
    if response.status in (401, 403):
        return _denied(f"server message: {detail.lower()}" if detail else "", own=True)
    if response.status == 404:
        codes = {each.code for each in errors}
        if "NAME_UNKNOWN" in codes:
            return Refused("ErrImagePull", "name unknown: repository name not known to registry")
        return Refused("ErrImagePull", "blob unknown to registry" if "BLOB_UNKNOWN" in codes else "manifest unknown")
    return _unexpected(response, f" - {detail}" if detail else "")


async def retried(work: Callable[[], Awaitable[T]]) -> T:
    """Run `work` until it succeeds, again after transient failures only. Raises ImageFailure."""
    delay = BACK_OFF_SECONDS
    for attempt in range(ATTEMPTS_MAX):
        try:
            return await work()
        except WebFailure as failure:
            if not failure.transient or attempt == ATTEMPTS_MAX - 1:
                raise ImageFailure("ErrImagePull", f"failed to do request: {failure}") from None
        await trio.sleep(delay)
        delay = min(2 * delay, BACK_OFF_SECONDS_MAX)
    raise AssertionError("unreachable")


class Registry:
    """One repository, through every server that may have it. Made for one pull; `sessions` that work move ahead."""

    def __init__(
        self, client: WebClient, config: RegistryConfig, reference: Reference, credentials: Sequence[Credentials]
    ) -> None:
        self._reference = reference
        self._sessions = [
            Session(client, endpoint, reference.host, reference.path, secret)
            for endpoint in config.endpoints(reference.host)
            for secret in credentials_for(tuple(credentials), reference.host, endpoint)
        ]

    async def _any(self, work: Callable[[Session], Awaitable[T]]) -> T:
        """The first session that succeeds. Raises the last server's ImageFailure: the registry's own."""
        failure: ImageFailure | None = None
        dead: set[str] = set()
        for session in list(self._sessions):
            if session.endpoint.url in dead:
                continue
            try:
                done = await work(session)
            except Refused as refused:
                # A secret that is refused says more than being refused without one.
                if failure is None or session.endpoint != self._sessions[-1].endpoint or str(failure) == str(refused):
                    failure = refused
            except ImageFailure as error:
                failure = error
                dead.add(session.endpoint.url)
            else:
                if self._sessions[0] is not session:
                    self._sessions.remove(session)
                    self._sessions.insert(0, session)
                return done
        assert failure is not None
        raise failure

    async def resolve(self, name: str) -> tuple[str, str, bytes]:
        """A manifest by tag or digest: its digest, media type and verified bytes."""

        async def work(session: Session) -> tuple[str, str, bytes]:
            return await retried(lambda: self._manifest(session, name))

        return await self._any(work)

    async def _manifest(self, session: Session, name: str) -> tuple[str, str, bytes]:
        async with session.get(session.url("manifests", name), accept=manifest.ACCEPT) as response:
            data = await response.read(manifest.MANIFEST_BYTES_MAX)
            media = response.header("content-type")
        digest = manifest.digest_of(data)
        if ":" in name and digest != name:
            raise ImageFailure("ErrImagePull", f"manifest {name} arrived with the digest {digest}: refused")
        return digest, media, data

    async def small_blob(self, descriptor: manifest.Descriptor, size_max: int) -> bytes:
        """A config, verified."""

        async def work(session: Session) -> bytes:
            return await retried(lambda: self._small_blob(session, descriptor, size_max))

        return await self._any(work)

    async def _small_blob(self, session: Session, descriptor: manifest.Descriptor, size_max: int) -> bytes:
        async with session.get(session.url("blobs", descriptor.digest)) as response:
            data = await response.read(size_max)
        if manifest.digest_of(data) != descriptor.digest:
            raise ImageFailure("ErrImagePull", f"blob {descriptor.digest} arrived with other bytes: refused")
        return data

    async def download(self, descriptor: manifest.Descriptor, path: str, progress: Callable[[int], None]) -> None:
        """A layer into the file `path`, verified; what an earlier try left there is continued.

        `progress` gets the bytes the file holds so far. The file is not synced.
        """

        async def work(session: Session) -> None:
            await self._download(session, descriptor, path, progress)

        await self._any(work)

    async def _download(
        self, session: Session, descriptor: manifest.Descriptor, path: str, progress: Callable[[int], None]
    ) -> None:
        delay = BACK_OFF_SECONDS
        failures = 0
        for _ in range(RESUMES_MAX):
            part = await trio.to_thread.run_sync(_Part, path, descriptor.size)
            before = part.size
            progress(before)
            try:
                if part.size < descriptor.size or not descriptor.size:
                    await self._receive(session, descriptor, part, progress)
                if part.matches(descriptor):
                    return
                if not before:
                    raise ImageFailure("ErrImagePull", f"layer {descriptor.digest} arrived damaged: other digest")
                # What an earlier try left was damaged, by a power cut perhaps: once more from the start.
                continue
            except WebFailure as failure:
                # As long as each try brings bytes, going on makes sense.
                failures = failures + 1 if part.size <= before else 0
                if not failure.transient or failures >= ATTEMPTS_MAX:
                    raise ImageFailure("ErrImagePull", f"failed to do request: {failure}") from None
                delay = BACK_OFF_SECONDS if part.size > before else min(2 * delay, BACK_OFF_SECONDS_MAX)
            finally:
                part.close()
            await trio.sleep(delay)
        raise ImageFailure("ErrImagePull", f"{descriptor.digest} broke off {RESUMES_MAX} times")

    async def _receive(
        self, session: Session, descriptor: manifest.Descriptor, part: "_Part", progress: Callable[[int], None]
    ) -> None:
        url = session.url("blobs", descriptor.digest)
        async with session.get(url, offset=part.size) as response:
            if response.status == 416:
                part.restart()
                raise WebFailure(f'Get "{url}": cannot continue at this offset', transient=True)
            if response.status == 200 or not response.header("content-range").startswith(f"bytes {part.size}-"):
                if response.status != 200:
                    raise WebFailure(f'Get "{url}": answered with another range than asked for', transient=False)
                part.restart()
            pieces: list[bytes] = []
            size = 0
            try:
                while piece := await response.receive():
                    pieces.append(piece)
                    size += len(piece)
                    if part.size + size > descriptor.size:
                        part.restart()
                        raise ImageFailure("ErrImagePull", f"{descriptor.digest} is longer than its manifest says")
                    if size >= WRITE_BYTES:
                        await trio.to_thread.run_sync(part.append, b"".join(pieces))
                        pieces, size = [], 0
                        progress(part.size)
            finally:
                if pieces and part.size + size <= descriptor.size:
                    part.append(b"".join(pieces))
                    progress(part.size)
        if part.size < descriptor.size:
            raise WebFailure(f'Get "{url}": unexpected EOF', transient=True)


class _Part:
    """A file on its way in and the hash of what it holds. Making one reads the file: do it in a thread."""

    def __init__(self, path: str, size_max: int) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._hash = hashlib.sha256()
        self.size = 0
        if os.fstat(self._fd).st_size > size_max:
            os.ftruncate(self._fd, 0)
        while piece := os.read(self._fd, WRITE_BYTES):
            self._hash.update(piece)
            self.size += len(piece)

    def append(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
        self._hash.update(data)
        self.size += len(data)

    def restart(self) -> None:
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._hash = hashlib.sha256()
        self.size = 0

    def matches(self, descriptor: manifest.Descriptor) -> bool:
        """Whether the file is the blob; if not it is emptied."""
        if "sha256:" + self._hash.hexdigest() == descriptor.digest:
            return True
        self.restart()
        return False

    def close(self) -> None:
        os.close(self._fd)
