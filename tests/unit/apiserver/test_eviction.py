"""Evictions that a disruption budget forbids."""

import json

import pytest

from edgekube.types.status import ApiError

from .conftest import Api


async def test_a_budget_refuses_without_telling_the_client_to_wait(api: Api) -> None:
    """client-go obeys a Retry-After by itself, past `kubectl drain --timeout`; kubectl retries by its own clock."""
    await api("create", "default:core/v1/serviceaccounts", b'{"metadata": {"name": "default"}}')
    pod = {
        "metadata": {"name": "a", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    await api("create", "default:core/v1/pods", json.dumps(pod).encode())
    running = b'{"status": {"phase": "Running"}}'
    merge = "application/merge-patch+json"
    await api("patch", "default:core/v1/pods/a/status", running, content_type=merge)
    budget = {"metadata": {"name": "b"}, "spec": {"selector": {"matchLabels": {"app": "web"}}, "minAvailable": 1}}
    await api("create", "default:policy/v1/poddisruptionbudgets", json.dumps(budget).encode())
    eviction = b'{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"}}'
    with pytest.raises(ApiError) as caught:
        await api("create", "default:core/v1/pods/a/eviction", eviction)
    assert (caught.value.code, caught.value.status.reason) == (429, "TooManyRequests")
    assert caught.value.status.details is not None
    assert caught.value.status.details.retryAfterSeconds == 0
    assert caught.value.status.details.causes[0].reason == "DisruptionBudget"
