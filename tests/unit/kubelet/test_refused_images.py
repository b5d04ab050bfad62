"""An image that is refused without a pull is looked at again in a while, not at once."""

from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from edgekube.kubelet.images import RECHECK_SECONDS, ImageManager
from edgekube.runtime.api import ImageFailure
from edgekube.types.codec import convert
from edgekube.types.core_v1 import Pod


class Images:
    def get(self, reference: str) -> None:
        if reference == "Bad//":
            raise ImageFailure("InvalidImageName", "invalid reference format")


class Events:
    def event(self, *words: Any, **more: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("image", "policy", "reason"),
    [("x:1", "Never", "ErrImageNeverPull"), ("Bad//", "IfNotPresent", "InvalidImageName")],
)
async def test_no_hurry(image: str, policy: str, reason: str, autojump_clock: MockClock) -> None:
    manager = ImageManager(cast(Any, Images()), cast(Any, None), cast(Any, None), cast(Any, Events()))
    container = {"name": "c", "image": image, "imagePullPolicy": policy}
    pod = convert(Pod, {"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": [container]}})
    with pytest.raises(ImageFailure) as caught:
        await manager.ensure(pod, pod.spec.containers[0], "spec.containers{c}")
    assert caught.value.reason == reason
    assert manager.retry_at(image) == trio.current_time() + RECHECK_SECONDS
