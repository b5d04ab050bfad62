"""A container's environment as values."""

from fractions import Fraction
from typing import Any

import msgspec
import pytest

from edgekube.kubelet.env import ConfigError, Sources, environment, expand, format_map, service_links
from edgekube.types.core_v1 import ConfigMap, Secret, Service
from edgekube.types.meta_v1 import ObjectMeta
from tests.unit.kubelet.conftest import pod_of

CONFIG = ConfigMap(metadata=ObjectMeta(name="cm", namespace="default"), data={"A": "1", "b.c": "2"})
SECRET = Secret(metadata=ObjectMeta(name="s", namespace="default"), data={"pw": b"geheim"})


def service(name: str, namespace: str = "default", ip: str = "10.43.0.1") -> Service:
    ports = [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]
    body = {"metadata": {"name": name, "namespace": namespace}, "spec": {"clusterIP": ip, "ports": ports}}
    return msgspec.convert(body, Service)


def sources(*services: Service) -> Sources:
    return Sources(
        config_map=lambda name: CONFIG if name == "cm" else None,
        secret=lambda name: SECRET if name == "s" else None,
        services=lambda: services,
        node_allocatable={"cpu": Fraction(4), "memory": Fraction(2**30)},
        pod_ips=("10.42.0.9",),
        host_ips=("192.0.2.1",),
    )


def env_of(env: Any = (), env_from: Any = (), *services: Service, **spec: Any) -> dict[str, str]:
    resources = {"requests": {"cpu": "250m"}, "limits": {"memory": "64Mi"}}
    container = {"name": "main", "env": list(env), "envFrom": list(env_from), "resources": resources}
    pod = pod_of(containers=[container], **spec)
    meta = msgspec.structs.replace(pod.metadata, labels={"app": "x"}, annotations={"note": 'a"b'}, uid="u1")
    pod = msgspec.structs.replace(pod, metadata=meta)
    return environment(pod, pod.spec.containers[0], sources(*services))


def ref(**source: Any) -> dict[str, Any]:
    return {"name": "X", "valueFrom": source}


def test_references_are_expanded_in_order() -> None:
    values = {"A": "1", "B": "$(A)"}
    assert expand("$(A) $$(A) $(NOPE) $A $", values) == "1 $(A) $(NOPE) $A $"
    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)2"}, {"name": "C", "value": "$(D)"}]
    assert env_of(env) == {"A": "1", "B": "12", "C": "$(D)"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"configMapKeyRef": {"name": "cm", "key": "A"}}, "1"),
        ({"secretKeyRef": {"name": "s", "key": "pw"}}, "geheim"),
        ({"fieldRef": {"fieldPath": "metadata.name"}}, "web"),
        ({"fieldRef": {"fieldPath": "metadata.uid"}}, "u1"),
        ({"fieldRef": {"fieldPath": "metadata.labels['app']"}}, "x"),
        ({"fieldRef": {"fieldPath": "metadata.annotations['nope']"}}, ""),
        ({"fieldRef": {"fieldPath": "spec.nodeName"}}, "n1"),
        ({"fieldRef": {"fieldPath": "status.podIP"}}, "10.42.0.9"),
        ({"fieldRef": {"fieldPath": "status.podIPs"}}, "10.42.0.9"),
        ({"fieldRef": {"fieldPath": "status.hostIP"}}, "192.0.2.1"),
        ({"resourceFieldRef": {"resource": "requests.cpu"}}, "1"),
        ({"resourceFieldRef": {"resource": "requests.cpu", "divisor": "1m"}}, "250"),
        ({"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}, "64"),
        ({"resourceFieldRef": {"resource": "limits.cpu"}}, "4"),
    ],
)
def test_sources(source: dict[str, Any], expected: str) -> None:
    assert env_of([ref(**source)]) == {"X": expected}


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"configMapKeyRef": {"name": "no", "key": "A"}}, 'configmap "no" not found'),
        ({"configMapKeyRef": {"name": "cm", "key": "Z"}}, "couldn't find key Z in ConfigMap default/cm"),
        ({"secretKeyRef": {"name": "no", "key": "A"}}, 'secret "no" not found'),
        ({"secretKeyRef": {"name": "s", "key": "Z"}}, "couldn't find key Z in Secret default/s"),
    ],
)
def test_what_is_missing_is_named_unless_optional(source: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        env_of([ref(**source)])
    (kind,) = source
    assert env_of([ref(**{kind: source[kind] | {"optional": True}})]) == {}


def test_env_from_takes_all_keys_and_env_wins() -> None:
    env_from = [{"prefix": "P_", "configMapRef": {"name": "cm"}}, {"secretRef": {"name": "s"}}]
    assert env_of([{"name": "P_A", "value": "mine"}], env_from) == {"P_A": "mine", "P_b.c": "2", "pw": "geheim"}
    assert env_of([], [{"configMapRef": {"name": "no", "optional": True}}]) == {}
    with pytest.raises(ConfigError, match='secret "no" not found'):
        env_of([], [{"secretRef": {"name": "no"}}])


def test_services_of_the_namespace_are_linked() -> None:
    links = service_links("default", [service("my-db"), service("headless", ip="None"), service("other", "elsewhere")])
    assert links == {
        "MY_DB_SERVICE_HOST": "10.43.0.1",
        "MY_DB_SERVICE_PORT": "80",
        "MY_DB_SERVICE_PORT_HTTP": "80",
        "MY_DB_SERVICE_PORT_DNS": "53",
        "MY_DB_PORT": "tcp://10.43.0.1:80",
        "MY_DB_PORT_80_TCP": "tcp://10.43.0.1:80",
        "MY_DB_PORT_80_TCP_PROTO": "tcp",
        "MY_DB_PORT_80_TCP_PORT": "80",
        "MY_DB_PORT_80_TCP_ADDR": "10.43.0.1",
        "MY_DB_PORT_53_UDP": "udp://10.43.0.1:53",
        "MY_DB_PORT_53_UDP_PROTO": "udp",
        "MY_DB_PORT_53_UDP_PORT": "53",
        "MY_DB_PORT_53_UDP_ADDR": "10.43.0.1",
    }


def test_without_service_links_only_the_api_server_is_there() -> None:
    services = (service("db"), service("kubernetes", ip="10.43.0.9"))
    assert "DB_SERVICE_HOST" in env_of([], [], *services)
    bare = env_of([], [], *services, enableServiceLinks=False)
    assert "DB_SERVICE_HOST" not in bare
    assert bare["KUBERNETES_SERVICE_HOST"] == "10.43.0.9"


def test_maps_are_written_as_go_quotes_them() -> None:
    assert format_map({"b": 'x"y\n', "a": "1"}) == 'a="1"\nb="x\\"y\\n"'
