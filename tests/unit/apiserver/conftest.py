"""A registry over stores in memory, already started and bootstrapped."""

from collections.abc import AsyncIterator

import pytest

from edgekube.apiserver.registry import Registry, RegistryConfig
from edgekube.apiserver.request import GROUP_MASTERS, ApiRequest, ApiResponse, User
from edgekube.testing.store import FakeStore

ADMIN = User("admin", (GROUP_MASTERS, "system:authenticated"))
NOW = 1_700_000_000.0


class Api:
    """Sends requests as HTTP would hand them over."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    async def __call__(
        self,
        verb: str,
        path: str,
        body: bytes = b"",
        *,
        user: User = ADMIN,
        content_type: str = "application/json",
        accept: str = "application/json",
        **query: str,
    ) -> ApiResponse:
        """`path` is `group/version/resource[/name[/subresource]]`, with `-n ns` written as `ns:` in front."""
        namespace, _, rest = path.rpartition(":")
        group, version, resource, name, sub = [*rest.split("/"), "", "", ""][:5]
        return await self.registry.handle(
            ApiRequest(
                user=user,
                verb=verb,
                group="" if group == "core" else group,
                version=version,
                resource=resource,
                namespace=namespace,
                name=name,
                subresource=sub,
                query=query,
                content_type=content_type,
                accept=accept,
                user_agent="kubectl/v1.37.1 (linux/amd64)",
                body=body,
            )
        )


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    registry = Registry(store=FakeStore(), events=FakeStore(), config=RegistryConfig(now=lambda: NOW))
    async with registry.run():
        await registry.bootstrap()
        yield registry


@pytest.fixture
async def api(registry: Registry) -> Api:
    return Api(registry)
