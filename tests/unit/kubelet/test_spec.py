"""What a container is made of."""

from pathlib import Path
from typing import Any

import pytest

from edgekube.kubelet.env import ConfigError
from edgekube.kubelet.spec import arguments, hostname, sandbox_spec, security, stop_signal
from edgekube.runtime.api import Image, ImageConfig, NamespaceMode, Security
from tests.unit.kubelet.conftest import pod_of
from tests.unit.kubelet.test_files import CONFIG


def image(**config: Any) -> Image:
    return Image("sha256:i", "sha256:i", (), (), 1, (), ImageConfig(**config))


def secured(user: str = "", shared: Any = None, **own: Any) -> Security:
    pod = pod_of(securityContext=shared or {}, containers=[{"name": "main", "securityContext": own}])
    return security(pod, pod.spec.containers[0], image(user=user), Path("/profiles"))


@pytest.mark.parametrize(
    ("command", "args", "expected"),
    [
        ([], [], ("entry", "cmd")),
        ([], ["a"], ("entry", "a")),
        (["c"], [], ("c",)),
        (["c", "$(V)"], ["$(V)", "$$(V)"], ("c", "v", "v", "$(V)")),
    ],
)
def test_command_lines(command: list[str], args: list[str], expected: tuple[str, ...]) -> None:
    container = pod_of(containers=[{"name": "main", "command": command, "args": args}]).spec.containers[0]
    assert arguments(container, image(entrypoint=("entry",), cmd=("cmd",)), {"V": "v"}) == expected


def test_no_command_at_all_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no command specified"):
        arguments(pod_of().spec.containers[0], image(), {})


def test_the_containers_context_wins_over_the_pods_and_that_over_the_image() -> None:
    assert secured(user="5:6").uid == 5
    assert secured(user="5:6").gid == 6
    assert secured(user="web").username == "web"
    assert secured(user="5", shared={"runAsUser": 7}).uid == 7
    found = secured(shared={"runAsUser": 7, "fsGroup": 3, "supplementalGroups": [4]}, runAsUser=8, runAsGroup=9)
    assert (found.uid, found.gid, found.supplementary_gids) == (8, 9, (4, 3))
    assert not found.strict_groups
    assert secured(shared={"supplementalGroupsPolicy": "Strict"}).strict_groups


@pytest.mark.parametrize(("user", "words"), [("", "will run as root"), ("0", "as root"), ("web", "non-numeric user")])
def test_non_root_is_enforced(user: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        secured(user=user, runAsNonRoot=True)
    assert secured(user="5", runAsNonRoot=True).run_as_non_root


def test_profiles() -> None:
    assert secured().seccomp == "default"
    assert secured(seccompProfile={"type": "Unconfined"}).seccomp == "unconfined"
    localhost = {"type": "Localhost", "localhostProfile": "p.json"}
    assert secured(shared={"seccompProfile": localhost}).seccomp == "/profiles/p.json"
    assert secured(privileged=True).seccomp == "unconfined"
    assert secured(appArmorProfile={"type": "Localhost", "localhostProfile": "mine"}).apparmor == "mine"
    assert secured(allowPrivilegeEscalation=False).no_new_privileges


def test_sandboxes() -> None:
    plain = sandbox_spec(pod_of(), CONFIG)
    assert (plain.network, plain.pid, plain.ipc) == (NamespaceMode.POD, NamespaceMode.CONTAINER, NamespaceMode.POD)
    host = sandbox_spec(pod_of(hostNetwork=True, hostPID=True, hostIPC=True), CONFIG)
    assert {host.network, host.pid, host.ipc} == {NamespaceMode.NODE}
    assert sandbox_spec(pod_of(shareProcessNamespace=True), CONFIG).pid is NamespaceMode.POD
    assert plain.cgroup_parent.startswith("edgekube/besteffort/pod")
    assert hostname(pod_of("a" * 62 + ".b")) == "a" * 62
    assert hostname(pod_of(hostname="h")) == "h"


def test_stop_signals() -> None:
    container = pod_of(containers=[{"name": "main", "lifecycle": {"stopSignal": "SIGUSR1"}}]).spec.containers[0]
    assert stop_signal(container, image(stop_signal="SIGINT")) == "SIGUSR1"
    assert stop_signal(pod_of().spec.containers[0], image(stop_signal="SIGINT")) == "SIGINT"
    assert stop_signal(pod_of().spec.containers[0], image()) == "SIGTERM"
