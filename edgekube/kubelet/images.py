"""Gets a container's image by its pull policy, with back-off and the events a user expects."""

from collections.abc import Callable, Sequence

import msgspec
import trio

from edgekube.client.api import Informer
from edgekube.client.events import EventRecorder
from edgekube.kubelet.config import PULL_BACKOFF_BASE_SECONDS, PULL_BACKOFF_MAX_SECONDS
from edgekube.kubelet.failures import one_failure
from edgekube.kubelet.keyring import credentials_for, docker_credentials
from edgekube.kubelet.spec import AnyContainer
from edgekube.runtime.api import Credentials, Image, ImageFailure, ImageService
from edgekube.types.core_v1 import Pod, Secret, ServiceAccount

RECHECK_SECONDS = 10.0
Say = Callable[[str, str, str], None]  # type, reason and message of an event


class _Backoff(msgspec.Struct):
    failures: int
    until: float
    error: str
    reason: str


class ImageManager:
    """Pulls for all pods of the node; the same image asked for by many is pulled once (the service sees to it)."""

    def __init__(
        self,
        images: ImageService,
        secrets: Informer[Secret],
        accounts: Informer[ServiceAccount],
        events: EventRecorder,
    ) -> None:
        self._images = images
        self._secrets = secrets
        self._accounts = accounts
        self._events = events
        self._backoff: dict[str, _Backoff] = {}

    async def ensure(self, pod: Pod, container: AnyContainer, field_path: str) -> Image:
        """The image, pulled when policy asks for it.

        Raises ImageFailure with reason ErrImagePull, ImagePullBackOff, ErrImageNeverPull or InvalidImageName.
        """

        def say(type_: str, reason: str, message: str) -> None:
            self._events.event(pod, type_, reason, message, field_path=field_path)

        try:
            return await self._ensure(pod, container, say)
        except ImageFailure as error:
            say("Warning", "Failed", f"Error: {error.reason}")
            raise

    async def _ensure(self, pod: Pod, container: AnyContainer, say: Say) -> Image:
        reference = container.image
        policy = container.imagePullPolicy or "IfNotPresent"
        try:
            present = self._images.get(reference)
        except ImageFailure as error:
            say("Warning", "InspectFailed", f'Failed to apply default image tag "{reference}": {error}')
            raise ImageFailure(
                "InvalidImageName", f'Failed to apply default image tag "{reference}": {error}'
            ) from None
        if present is not None and policy in ("IfNotPresent", "Never"):
            say(
                "Normal",
                "Pulled",
                f'Container image "{reference}" already present on machine and can be accessed by the pod',
            )
            return present
        if policy == "Never":
            words = f'Container image "{reference}" is not present with pull policy of Never'
            say("Warning", "ErrImageNeverPull", words)
            raise ImageFailure("ErrImageNeverPull", words)
        held = self._backoff.get(reference)
        if held is not None and held.until > trio.current_time():
            say("Normal", "BackOff", f'Back-off pulling image "{reference}"')
            raise ImageFailure("ImagePullBackOff", f'Back-off pulling image "{reference}": {held.reason}: {held.error}')
        say("Normal", "Pulling", f'Pulling image "{reference}"')
        began = trio.current_time()
        try:
            with one_failure():
                image = await self._images.pull(reference, self._credentials(pod, reference))
        except ImageFailure as error:
            # An imported image has no registry to be fresh from: what is here is what there is.
            if present is not None and present.pinned:
                say("Normal", "Pulled", f'Container image "{reference}" is imported, registry not reached: {error}')
                return present
            failures = held.failures + 1 if held is not None else 1
            delay = min(PULL_BACKOFF_MAX_SECONDS, PULL_BACKOFF_BASE_SECONDS * 2.0 ** min(failures - 1, 16))
            words = f'Failed to pull image "{reference}": {error}'
            self._backoff[reference] = _Backoff(failures, trio.current_time() + delay, str(error), error.reason)
            say("Warning", "Failed", words)
            raise ImageFailure(error.reason, str(error)) from None
        self._backoff.pop(reference, None)
        took = trio.current_time() - began
        size = f"Image size: {image.size_bytes} bytes."
        say("Normal", "Pulled", f'Successfully pulled image "{reference}" in {took:.3f}s. {size}')
        return image

    def retry_at(self, reference: str) -> float:
        """When an image that was refused is worth another look (trio time): the end of the pull's back-off.

        What needs no pull (a bad name, policy Never) has none; somebody may import the image.
        """
        held = self._backoff.get(reference)
        return held.until if held is not None else trio.current_time() + RECHECK_SECONDS

    def _credentials(self, pod: Pod, reference: str) -> Sequence[Credentials]:
        """Those for this image, of the pod's imagePullSecrets, then of its service account's."""
        namespace = pod.metadata.namespace
        names = [ref.name for ref in pod.spec.imagePullSecrets]
        account = self._accounts.get(namespace, pod.spec.serviceAccountName or "default")
        if account is not None:
            names += [ref.name for ref in account.imagePullSecrets if ref.name not in names]
        found: list[Credentials] = []
        for name in names:
            secret = self._secrets.get(namespace, name)
            if secret is not None:
                found += docker_credentials(secret)
        return credentials_for(reference, found)
