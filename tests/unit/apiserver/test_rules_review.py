"""What `kubectl auth can-i --list` prints, and when it must warn that there may be more."""

import json
from typing import Any

import pytest

from edgekube.apiserver.request import User

from .conftest import ADMIN, Api

JANE = User("jane", ("system:authenticated",))
NODE = User("system:node:n1", ("system:nodes", "system:authenticated"))


@pytest.mark.parametrize(("user", "incomplete"), [(ADMIN, False), (JANE, False), (NODE, True)])
async def test_only_a_node_has_more_than_rules(api: Api, user: User, incomplete: bool) -> None:
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": "default"}}
    answer = await api(
        "create", "authorization.k8s.io/v1/selfsubjectrulesreviews", json.dumps(body).encode(), user=user
    )
    status: Any = json.loads(answer.body)["status"]
    assert status["incomplete"] is incomplete
    assert bool(status.get("evaluationError")) is incomplete
