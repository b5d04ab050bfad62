"""Pods for real: what a container finds around it, and what becomes of it."""

import shutil
from pathlib import Path

import trio

from edgekube.client.api import PatchType
from edgekube.types.core_v1 import ConfigMap, Pod, Secret
from edgekube.types.meta_v1 import ObjectMeta
from tests.node.kubelet.conftest import IMAGE, RealNode, status_of


async def test_a_pod_finds_its_surroundings(node: RealNode) -> None:
    await node.client.create(ConfigMap(metadata=ObjectMeta(name="cm", namespace="default"), data={"k": "v"}))
    await node.client.create(Secret(metadata=ObjectMeta(name="s", namespace="default"), data={"pw": b"geheim"}))
    script = """
        hostname; cat /etc/hosts | head -1; cat /etc/resolv.conf
        echo $K $NAME $(cat /cm/k) $(cat /s/pw) $(cat /down/labels) $(cat /sub)
        stat -L -c %a /s/pw /work; id -u; id -G; touch /root-file 2>&1; mount | head -0; cat /proc/self/status | head -0
    """
    text = await node.output(
        "web",
        script,
        hostAliases=[{"ip": "1.2.3.4", "hostnames": ["alias"]}],
        dnsPolicy="None",
        dnsConfig={"nameservers": ["9.9.9.9"]},
        securityContext={"fsGroup": 3000, "runAsUser": 1000, "runAsGroup": 2000},
        volumes=[
            {"name": "cm", "configMap": {"name": "cm"}},
            {"name": "s", "secret": {"secretName": "s", "defaultMode": 0o400}},
            {
                "name": "down",
                "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]},
            },
            {"name": "work", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        ],
        main={
            "env": [
                {"name": "K", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k"}}},
                {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            ],
            "volumeMounts": [
                {"name": "cm", "mountPath": "/cm"},
                {"name": "s", "mountPath": "/s"},
                {"name": "down", "mountPath": "/down"},
                {"name": "work", "mountPath": "/work"},
                {"name": "cm", "mountPath": "/sub", "subPath": "k"},
            ],
            "securityContext": {"readOnlyRootFilesystem": True},
        },
    )
    lines = text.splitlines()
    assert lines[0] == "web"
    assert lines[1] == "# Kubernetes-managed hosts file."
    assert lines[2] == "nameserver 9.9.9.9"
    assert lines[3] == 'v web v geheim app="web" v'
    assert lines[4:8] == ["440", "2777", "1000", "2000 3000"]
    assert "Read-only file system" in lines[8]


async def test_updates_reach_running_pods(node: RealNode) -> None:
    await node.client.create(ConfigMap(metadata=ObjectMeta(name="cm", namespace="default"), data={"k": "old"}))
    await node.run(
        "web",
        volumes=[{"name": "cm", "configMap": {"name": "cm"}}],
        main={"volumeMounts": [{"name": "cm", "mountPath": "/cm"}]},
    )
    assert await node.exec("web", "cat", "/cm/k") == "old"
    await node.client.patch(ConfigMap, "cm", "default", patch={"data": {"k": "new", "more": "x"}})
    with trio.fail_after(5):
        while await node.exec("web", "cat", "/cm/k", "/cm/more") != "newx":  # noqa: ASYNC110
            await trio.sleep(0.05)
    # The node writes there while the container runs: the container must not prepare the ground for it.
    refused = await node.exec("web", "sh", "-c", "touch /cm/x 2>&1; rm /cm/..data 2>&1; true")
    assert refused.count("Read-only file system") == 2, refused


async def test_what_a_container_fills_is_not_the_nodes_memory(node: RealNode) -> None:
    """/etc/hosts, /etc/resolv.conf and the termination message are files the container may write without end."""
    files = "/etc/hosts /etc/resolv.conf /etc/hostname /dev/termination-log"
    fill = f"for f in {files}; do dd if=/dev/zero bs=1M count=3 2>/dev/null >> $f; done"
    await node.run("web", f"{fill}; touch /filled; sleep 1000")
    with trio.fail_after(10):
        while "filled" not in await node.exec("web", "ls", "/"):  # noqa: ASYNC110
            await trio.sleep(0.05)
    held = [path.stat().st_size for path in (node.folder / "run" / "kubelet").rglob("*") if path.is_file()]
    assert max(held, default=0) < 1_000_000
    # What is as it should be is told without reading all of it, and what is not is set right.
    await node.client.patch(Pod, "web", "default", patch={"metadata": {"labels": {"a": "b"}}})
    with trio.fail_after(10):
        while await node.exec("web", "head", "-c", "10", "/etc/hosts") != "# Kubernet":  # noqa: ASYNC110
            await trio.sleep(0.05)
    with trio.fail_after(10):
        while len(await node.exec("web", "cat", "/etc/hosts")) > 1000:  # noqa: ASYNC110
            await trio.sleep(0.05)


async def test_a_sub_path_cannot_lead_out(node: RealNode, tmp_path: Path) -> None:
    mounts = [{"name": "v", "mountPath": "/v"}]
    shared = {"volumes": [{"name": "v", "emptyDir": {}}]}
    script = f"ln -s {tmp_path} /v/link; ln -s ../../../../.. /v/up"
    inits = [{"name": "evil", "command": ["sh", "-c", script], "volumeMounts": mounts}]
    sub = [{"name": "v", "mountPath": "/a", "subPath": "link"}]
    await node.create(
        "web",
        "ls /a",
        **shared,
        inits=inits,
        restartPolicy="Never",
        main={"volumeMounts": sub},
    )

    def refused(pod: Pod) -> bool:
        waiting = status_of(pod).state.waiting
        return waiting is not None and "subPath" in waiting.message

    await node.until("web", refused)
    inside = [{"name": "v", "mountPath": "/b", "subPath": "up"}]
    await node.create("up", "ls /b", **shared, inits=inits, restartPolicy="Never", main={"volumeMounts": inside})
    await node.until("up", lambda p: p.status.phase == "Succeeded")
    assert sorted((await node.log("up")).split()) == ["link", "up"]  # the volume itself, not what is above it


async def test_restarts_previous_logs_and_messages(node: RealNode) -> None:
    await node.create("web", "echo run; echo why > /dev/termination-log; exit 3")
    pod = await node.until("web", lambda p: status_of(p).restartCount == 1 and status_of(p).state.waiting)
    last = status_of(pod).lastState.terminated
    assert last is not None
    assert (last.exitCode, last.reason, last.message) == (3, "Error", "why\n")
    assert await node.log("web", previous=True) == "run\n"
    hungry = {"resources": {"limits": {"memory": "16Mi"}}}
    await node.create("oom", "dd if=/dev/zero of=/dev/null bs=64M count=1", main=hungry, restartPolicy="Never")
    pod = await node.until("oom", lambda p: status_of(p).state.terminated)
    ended = status_of(pod).state.terminated
    assert ended is not None
    assert ended.reason == "OOMKilled"


async def test_what_cannot_be_executed_is_a_start_error(node: RealNode) -> None:
    await node.create("web", main={"command": ["/no/such"]}, restartPolicy="Never")
    pod = await node.until("web", lambda p: p.status.phase == "Failed")
    ended = status_of(pod).state.terminated
    assert ended is not None
    assert (ended.exitCode, ended.reason) == (128, "StartError")
    assert "no such file or directory" in ended.message


async def test_probes_gate_and_restart(node: RealNode) -> None:
    probe = {"exec": {"command": ["test", "-e", "/tmp/ok"]}, "periodSeconds": 1}
    http = {"httpGet": {"path": "/", "port": "web"}, "periodSeconds": 1, "failureThreshold": 1}
    listens = {"tcpSocket": {"port": "web"}, "periodSeconds": 1, "failureThreshold": 60}
    await node.create(
        "web",
        "mkdir /www; echo hi > /www/index.html; httpd -f -p 80 -h /www",
        main={
            "startupProbe": listens,
            "readinessProbe": probe,
            "livenessProbe": http,
            "ports": [{"name": "web", "containerPort": 80}],
        },
    )
    pod = await node.until("web", lambda p: p.status.phase == "Running")
    assert not status_of(pod).ready
    await node.exec("web", "touch", "/tmp/ok")
    await node.until("web", lambda p: status_of(p).ready)
    await node.exec("web", "rm", "/www/index.html")
    pod = await node.until("web", lambda p: status_of(p).restartCount == 1)
    assert any(reason == "Unhealthy" and "Liveness probe failed: HTTP" in text for reason, text in await node.events())


async def test_hooks_and_grace(node: RealNode) -> None:
    shared = {"volumes": [{"name": "v", "hostPath": {"path": str(node.folder / "shared")}}]}
    mounts = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    hooks = {
        "postStart": {"exec": {"command": ["sh", "-c", "echo started >> /v/log"]}},
        "preStop": {"exec": {"command": ["sh", "-c", "echo stopping >> /v/log"]}},
    }
    script = "trap 'echo term >> /v/log; exit 0' TERM; while true; do sleep 0.1; done"
    await node.run("web", script, main=mounts | {"lifecycle": hooks}, **shared)
    await node.delete("web")
    assert (node.folder / "shared" / "log").read_text() == "started\nstopping\nterm\n"


async def test_pods_are_adopted_and_a_debugger_sees_its_target(node: RealNode, nursery: trio.Nursery) -> None:
    before = await node.run("web", "sleep 4321")
    await node.kill()
    await node.start(nursery)
    after = await node.pod("web")
    assert status_of(after).containerID == status_of(before).containerID
    assert status_of(after).restartCount == 0
    debugger = {"name": "debug", "image": IMAGE, "targetContainerName": "main", "command": ["ps"]}
    await node.client.patch(
        Pod,
        "web",
        "default",
        patch={"spec": {"ephemeralContainers": [debugger]}},
        type=PatchType.STRATEGIC,
        subresource="ephemeralcontainers",
    )
    await node.until("web", lambda p: status_of(p, "debug").state.terminated)
    assert "sleep 4321" in await node.log("web", container="debug")
    await node.kill()


async def test_a_resize_reaches_the_kernel(node: RealNode) -> None:
    small = {"limits": {"memory": "32Mi", "cpu": "200m"}, "requests": {"memory": "32Mi", "cpu": "200m"}}
    await node.run("web", main={"resources": small})
    large = {"limits": {"memory": "64Mi", "cpu": "400m"}, "requests": {"memory": "64Mi", "cpu": "400m"}}
    patch = {"spec": {"containers": [{"name": "main", "resources": large}]}}
    await node.client.patch(Pod, "web", "default", patch=patch, type=PatchType.STRATEGIC, subresource="resize")
    pod = await node.until(
        "web", lambda p: status_of(p).resources and status_of(p).resources.limits.get("memory") == "64Mi"
    )
    assert status_of(pod).restartCount == 0
    name = "memory.max" if node.engine.cgroups.v2 else "memory.limit_in_bytes"
    folder = node.engine.cgroups.folder("memory", node.cgroup_root)
    assert folder is not None
    limits = {path.read_text().strip() for path in Path(folder).rglob(name)}
    assert str(64 * 1024 * 1024) in limits
    assert str(32 * 1024 * 1024) not in limits


async def test_a_shared_process_namespace(node: RealNode) -> None:
    others = [{"name": "other", "command": ["sleep", "987"]}]
    await node.run("web", others=others, shareProcessNamespace=True)
    assert "sleep 987" in await node.exec("web", "ps")


async def test_logs_are_followed_to_the_end(node: RealNode) -> None:
    await node.create("web", "for i in 1 2 3; do echo $i; sleep 0.2; done", restartPolicy="Never")
    await node.until("web", lambda p: status_of(p).state.running)
    with trio.fail_after(20):
        assert await node.log("web", follow=True) == "1\n2\n3\n"
    await node.until("web", lambda p: p.status.phase == "Succeeded")
    assert await node.log("web", tail_lines=1) == "3\n"


async def test_a_reboot_begins_again_what_is_to_run(node: RealNode, nursery: trio.Nursery) -> None:
    keeps = {"volumes": [{"name": "v", "emptyDir": {}}]}
    mounts = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    await node.run("web", "echo boot >> /v/boots; sleep 1000", main=mounts, **keeps)
    await node.run("once", restartPolicy="Never")
    await node.kill()
    engine = node.make_engine()
    await nursery.start(engine.run)
    await engine.purge()  # processes, namespaces, cgroups, run folder: nothing of them outlives a reboot
    for name in ("kubelet", "network"):
        await trio.to_thread.run_sync(shutil.rmtree, str(node.folder / "run" / name), True)
    await node.start(nursery)
    pod = await node.until("web", lambda p: status_of(p).restartCount == 1 and status_of(p).state.running)
    last = status_of(pod).lastState.terminated
    assert last is not None
    assert last.reason == "ContainerStatusUnknown"
    assert await node.exec("web", "cat", "/v/boots") == "boot\nboot\n"
    pod = await node.until("once", lambda p: p.status.phase == "Failed")
    assert status_of(pod).restartCount == 0
    await node.delete("web")
    await node.kill()
