"""The few fields of a few objects that the front itself needs, read from the registry as the API server's own user."""

from typing import Final, TypeVar

import msgspec

from edgekube.apiserver.request import GROUP_MASTERS, ApiRequest, Registry, User
from edgekube.types.status import ApiError, internal

APISERVER_USER: Final = User("system:apiserver", (GROUP_MASTERS,))


class Meta(msgspec.Struct, frozen=True, gc=False):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    deletionTimestamp: str = ""


class NamedObject(msgspec.Struct, frozen=True, gc=False):
    metadata: Meta = Meta()


class ContainerName(msgspec.Struct, frozen=True, gc=False):
    name: str
    tty: bool = False
    stdin: bool = False


class PodSpecFields(msgspec.Struct, frozen=True, gc=False):
    nodeName: str = ""
    serviceAccountName: str = ""
    containers: tuple[ContainerName, ...] = ()
    initContainers: tuple[ContainerName, ...] = ()
    ephemeralContainers: tuple[ContainerName, ...] = ()


class PodFields(msgspec.Struct, frozen=True, gc=False):
    metadata: Meta = Meta()
    spec: PodSpecFields = PodSpecFields()


T = TypeVar("T")


async def get_object(
    registry: Registry, cls: type[T], resource: str, name: str, namespace: str = "", *, user: User = APISERVER_USER
) -> T:
    """The object of the core group decoded as `cls`. Raises ApiError, 404 above all."""
    answer = await registry.handle(
        ApiRequest(user=user, verb="get", group="", version="v1", resource=resource, namespace=namespace, name=name)
    )
    if not isinstance(answer.body, bytes):
        raise internal(f"the registry answered a get of {resource}/{name} with a stream")
    return msgspec.json.decode(answer.body, type=cls)


async def find_object(registry: Registry, cls: type[T], resource: str, name: str, namespace: str = "") -> T | None:
    """As `get_object`, None when there is none."""
    try:
        return await get_object(registry, cls, resource, name, namespace)
    except ApiError as error:
        if error.code == 404:
            return None
        raise
