"""The real kubectl against the front with the real registry on a store in memory: what people do all day."""

import functools
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from edgekube.apiserver.bound import BoundObjects
from edgekube.apiserver.catalog import served_versions
from edgekube.apiserver.openapi import OpenApi
from edgekube.apiserver.registry import Registry, RegistryConfig
from edgekube.apiserver.resources import RESOURCES
from edgekube.apiserver.tokens import ServiceAccountTokens
from edgekube.http.client import request
from edgekube.pki.authority import client_context, ensure_pki
from edgekube.pki.sign import Signer
from edgekube.testing.store import FakeStore
from tests.clients.support import KUBECTL, Front, running_front

CONFIGMAP = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: colours
  labels: {app: paint}
data:
  wall: white
"""
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: main, image: busybox}]
"""


@functools.cache
def artefact(folder: Path) -> Path:
    out = folder / "openapi.zst"
    command = [sys.executable, "-m", "edgekube.types._generate", "--schema", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    return out


@pytest.fixture(scope="session")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return artefact(tmp_path_factory.mktemp("schema"))


@asynccontextmanager
async def cluster(folder: Path, schema: Path | None = None) -> AsyncIterator[Front]:
    pki = await ensure_pki(folder, "node-1", ["10.43.0.1"], time.time())
    tokens = ServiceAccountTokens(
        Signer(pki.service_account_key.read_bytes()),
        now=time.time,
        check_bound=lambda bound: objects.check(bound),
    )
    registry = Registry(store=FakeStore(), events=FakeStore(), config=RegistryConfig(sign_token=tokens.sign))
    objects = BoundObjects(registry, now=time.time, monotonic=trio.current_time)

    def catalog() -> object:
        return served_versions(RESOURCES)

    schemas = None if schema is None else OpenApi(schema, catalog=catalog, version="v1.36.0")
    async with registry.run():
        await registry.bootstrap()
        async with running_front(
            folder, registry=registry, catalog=catalog, tokens=[tokens], identity=tokens, schemas=schemas
        ) as front:
            yield front


async def test_discovery_and_explain(tmp_path: Path, schema: Path) -> None:
    async with cluster(tmp_path, schema) as front:
        text = (await front.kubectl("api-resources")).stdout.decode()
        assert "deployments" in text
        assert "deploy " in text
        assert "apps/v1" in (await front.kubectl("api-versions")).stdout.decode()
        assert "v1.36.0+edgekube" in (await front.kubectl("version")).stdout.decode()
        explained = (await front.kubectl("explain", "deployment.spec.replicas")).stdout.decode()
        assert "Number of desired pods" in explained
        explained = (await front.kubectl("explain", "pod.spec.containers", "--recursive")).stdout.decode()
        assert "livenessProbe" in explained
        v2 = json.loads((await front.kubectl("get", "--raw", "/openapi/v2")).stdout)
        assert "io.k8s.api.core.v1.Pod" in v2["definitions"]


async def test_apply_get_edit_delete(tmp_path: Path, schema: Path) -> None:
    async with cluster(tmp_path, schema) as front:
        done = await front.kubectl("apply", "-f", "-", stdin=CONFIGMAP.encode())
        assert done.stdout == b"configmap/colours created\n"
        done = await front.kubectl("apply", "-f", "-", stdin=CONFIGMAP.replace("white", "red").encode())
        assert done.stdout == b"configmap/colours configured\n"
        done = await front.kubectl("apply", "-f", "-", stdin=CONFIGMAP.replace("white", "red").encode())
        assert done.stdout == b"configmap/colours unchanged\n"
        table = (await front.kubectl("get", "cm", "-l", "app=paint")).stdout.decode()
        assert table.splitlines()[0].split() == ["NAME", "DATA", "AGE"]
        assert table.splitlines()[1].split()[:2] == ["colours", "1"]
        wall = await front.kubectl("get", "cm", "colours", "-o", "jsonpath={.data.wall}")
        assert wall.stdout == b"red"
        await front.kubectl("label", "cm", "colours", "x=y")
        await front.kubectl("delete", "cm", "colours")
        gone = await front.kubectl("get", "cm", "colours", check=False)
        assert b'(NotFound): configmaps "colours" not found' in gone.stderr


async def test_server_side_apply_and_strict_fields(tmp_path: Path, schema: Path) -> None:
    async with cluster(tmp_path, schema) as front:
        done = await front.kubectl("apply", "--server-side", "-f", "-", stdin=DEPLOYMENT.encode())
        assert done.stdout == b"deployment.apps/web serverside-applied\n"
        clash = await front.kubectl(
            "apply", "--server-side", "--field-manager=other", "-f", "-",
            stdin=DEPLOYMENT.replace("busybox", "nginx").encode(), check=False,
        )  # fmt: skip
        assert b"conflict" in clash.stderr.lower()
        typo = await front.kubectl(
            "apply", "-f", "-", stdin=DEPLOYMENT.replace("image:", "imgae:").encode(), check=False
        )
        assert b"imgae" in typo.stderr
        await front.kubectl("scale", "deployment/web", "--replicas=3")
        replicas = await front.kubectl("get", "deployment/web", "-o", "jsonpath={.spec.replicas}")
        assert replicas.stdout == b"3"


async def test_watch_sees_changes_in_order(tmp_path: Path) -> None:
    async with cluster(tmp_path) as front:
        watcher = await trio.lowlevel.open_process(
            [str(KUBECTL), "get", "cm", "-w", "-o", "jsonpath={.metadata.name}={.data.wall}{'\\n'}", "-l", "app=paint"],
            stdout=subprocess.PIPE,
            env=front.environment,
        )
        for colour in ("white", "red", "blue"):
            await front.kubectl(
                "apply", "--validate=false", "-f", "-", stdin=CONFIGMAP.replace("white", colour).encode()
            )
        assert watcher.stdout is not None
        text = b""
        with trio.fail_after(30):
            while b"blue" not in text:
                text += await watcher.stdout.receive_some()
        watcher.terminate()
        await watcher.wait()
        await watcher.stdout.aclose()
        assert text.split()[-1] == b"colours=blue"
        order = [text.find(colour) for colour in (b"white", b"red", b"blue") if colour in text]
        assert order == sorted(order)


async def test_identity(tmp_path: Path) -> None:
    async with cluster(tmp_path) as front:
        me = (await front.kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")).stdout
        assert me == b"kubernetes-admin"
        assert (await front.kubectl("auth", "can-i", "delete", "nodes")).stdout.startswith(b"yes")
        denied = await front.kubectl("auth", "can-i", "delete", "nodes", "--as=jane", check=False)
        assert denied.stdout.startswith(b"no")
        denied = await front.kubectl("get", "pods", "--as=jane", check=False)
        assert b'User "jane" cannot list resource "pods"' in denied.stderr


async def test_what_kubectl_sends_as_protobuf(tmp_path: Path) -> None:
    """Its typed `create` commands; each answer is compared with what the object's JSON must be."""
    async with cluster(tmp_path) as front:
        await front.kubectl("create", "namespace", "shop")
        await front.kubectl("create", "configmap", "c", "--from-literal=a=b", "--from-literal=x=y")
        await front.kubectl("create", "secret", "generic", "s", "--from-literal=password=é")
        await front.kubectl(
            "create", "deployment", "d", "--image=busybox", "--replicas=2", "--port=80", "--", "sleep", "1"
        )
        await front.kubectl("create", "service", "clusterip", "svc", "--tcp=80:http")
        await front.kubectl("create", "cronjob", "cj", "--image=i", "--schedule=* * * * *")
        await front.kubectl("create", "quota", "q", "--hard=cpu=1,memory=1Gi")
        await front.kubectl("create", "role", "r", "--verb=get,list", "--resource=pods")
        await front.kubectl("create", "ingress", "i", "--rule=host/path*=svc:80")
        await front.kubectl("create", "poddisruptionbudget", "p", "--selector=app=d", "--min-available=50%")
        await front.kubectl("create", "priorityclass", "high", "--value=1000")

        async def field(what: str, path: str) -> str:
            return (await front.kubectl("get", what, "-o", f"jsonpath={{{path}}}")).stdout.decode()

        assert json.loads(await field("cm/c", ".data")) == {"a": "b", "x": "y"}
        assert await field("secret/s", ".data.password") == "w6k="
        assert await field("deploy/d", ".spec.replicas") == "2"
        assert json.loads(await field("deploy/d", ".spec.template.spec.containers[0].command")) == ["sleep", "1"]
        assert await field("deploy/d", ".spec.template.spec.containers[0].ports[0].containerPort") == "80"
        assert await field("svc/svc", ".spec.ports[0].targetPort") == "http"
        assert await field("cj/cj", ".spec.jobTemplate.spec.template.spec.containers[0].image") == "i"
        assert json.loads(await field("quota/q", ".spec.hard")) == {"cpu": "1", "memory": "1Gi"}
        assert json.loads(await field("role/r", ".rules[0].verbs")) == ["get", "list"]
        assert await field("ing/i", ".spec.rules[0].http.paths[0].backend.service.port.number") == "80"
        assert await field("pdb/p", ".spec.minAvailable") == "50%"
        assert await field("priorityclass/high", ".value") == "1000"


async def test_a_service_account_token_is_a_login(tmp_path: Path) -> None:
    async with cluster(tmp_path) as front:
        await front.kubectl("create", "serviceaccount", "robot")
        token = (await front.kubectl("create", "token", "robot", "--duration=20m")).stdout.decode().strip()
        context = client_context(front.pki / "ca.crt")
        bearer = [("Authorization", f"Bearer {token}")]
        answer = await request("GET", f"{front.url}/api", headers=bearer, tls=context)
        assert answer.status == 200
        answer = await request("GET", f"{front.url}/api/v1/secrets", headers=bearer, tls=context)
        assert answer.status == 403
        assert b"system:serviceaccount:default:robot" in answer.body
        keys = json.loads((await request("GET", f"{front.url}/openid/v1/jwks", headers=bearer, tls=context)).body)
        assert keys["keys"][0]["alg"] == "ES256"
        answer = await request("GET", f"{front.url}/api", headers=[("Authorization", "Bearer x")], tls=context)
        assert answer.status == 401


async def test_strangers_see_version_and_health_only(tmp_path: Path) -> None:
    async with cluster(tmp_path) as front:
        context = client_context(front.pki / "ca.crt")
        for path, want in (("/version", 200), ("/readyz?verbose", 200), ("/api", 403), ("/api/v1/pods", 403)):
            assert (await request("GET", front.url + path, tls=context)).status == want, path
