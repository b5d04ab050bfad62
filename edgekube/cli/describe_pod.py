"""`describe pod`, and the pod template of a workload."""

from collections.abc import Mapping, Sequence
from typing import Any

from edgekube.cli.ages import human, local
from edgekube.cli.api import Json
from edgekube.cli.describe import Writer, conditions, controlled_by, head, shown

Values = Mapping[str, Any]


def pod(writer: Writer, obj: Json) -> None:
    spec, status = obj["spec"], obj.get("status") or {}
    writer.field("Priority", spec.get("priority", 0))
    if spec.get("priorityClassName"):
        writer.field("Priority Class Name", spec["priorityClassName"])
    writer.field("Service Account", spec.get("serviceAccountName"))
    node = spec.get("nodeName")
    writer.field("Node", f"{node}/{status.get('hostIP') or ''}" if node else None)
    if status.get("startTime"):
        writer.field("Start Time", local(status["startTime"]))
    head(writer, obj)
    deleted = obj["metadata"].get("deletionTimestamp")
    if deleted:
        writer.field("Status", f"Terminating (by {local(deleted)})")
        writer.field("Termination Grace Period", f"{obj['metadata'].get('deletionGracePeriodSeconds')}s")
    else:
        writer.field("Status", status.get("phase"))
    for name in ("reason", "message"):
        if status.get(name):
            writer.field(name.title(), status[name])
    writer.field("IP", status.get("podIP"))
    if status.get("podIPs"):
        writer.title("IPs")
        with writer.inside():
            for each in status["podIPs"]:
                writer.field("IP", each["ip"])
    controlled_by(writer, obj)
    for title, field in (("Init Containers", "initContainers"), ("Containers", "containers")):
        states = {each["name"]: each for each in status.get(f"{field[:-1]}Statuses") or ()}
        containers(writer, title, spec.get(field) or (), states)
    conditions(writer, obj, reasons=False)
    volumes(writer, spec.get("volumes") or ())
    writer.field("QoS Class", status.get("qosClass"))
    writer.mapping("Node-Selectors", spec.get("nodeSelector"))
    writer.many("Tolerations", [_toleration(each) for each in spec.get("tolerations") or ()])


def template(writer: Writer, spec: Json) -> None:
    """The pod template of a workload."""
    made = spec.get("template") or {}
    writer.title("Pod Template")
    with writer.inside():
        writer.mapping("Labels", (made.get("metadata") or {}).get("labels"))
        annotations = (made.get("metadata") or {}).get("annotations")
        if annotations:
            writer.mapping("Annotations", annotations)
        inner = made.get("spec") or {}
        if inner.get("serviceAccountName"):
            writer.field("Service Account", inner["serviceAccountName"])
        for title, field in (("Init Containers", "initContainers"), ("Containers", "containers")):
            containers(writer, title, inner.get(field) or (), {})
        volumes(writer, inner.get("volumes") or ())
        writer.mapping("Node-Selectors", inner.get("nodeSelector"))
        writer.many("Tolerations", [_toleration(each) for each in inner.get("tolerations") or ()])


def containers(writer: Writer, title: str, found: Sequence[Json], states: Mapping[str, Json]) -> None:
    if not found:
        return
    writer.title(title)
    with writer.inside():
        for each in found:
            writer.title(each["name"])
            with writer.inside():
                _container(writer, each, states.get(each["name"]))


def _container(writer: Writer, spec: Json, status: Json | None) -> None:
    if status is not None:
        writer.field("Container ID", status.get("containerID"))
    writer.field("Image", spec.get("image"))
    if status is not None:
        writer.field("Image ID", status.get("imageID"))
    ports = spec.get("ports") or ()
    if ports:
        writer.field("Ports", ", ".join(f"{p['containerPort']}/{p.get('protocol', 'TCP')}" for p in ports))
        hosts = [f"{p['hostPort']}/{p.get('protocol', 'TCP')}" for p in ports if p.get("hostPort")]
        if hosts:
            writer.field("Host Ports", ", ".join(hosts))
    for title, field in (("Command", "command"), ("Args", "args")):
        if spec.get(field):
            writer.title(title)
            writer.lines += [f"{'  ' * (writer._indent + 1)}{word}" for word in spec[field]]
    if status is not None:
        _state(writer, "State", status.get("state") or {})
        if status.get("lastState"):
            _state(writer, "Last State", status["lastState"])
        writer.field("Ready", bool(status.get("ready")))
        writer.field("Restart Count", status.get("restartCount", 0))
    for title, field in (("Limits", "limits"), ("Requests", "requests")):
        values = (spec.get("resources") or {}).get(field)
        if values:
            writer.title(title)
            with writer.inside():
                for name, value in sorted(values.items()):
                    writer.field(name, value)
    for title, field in (("Liveness", "livenessProbe"), ("Readiness", "readinessProbe"), ("Startup", "startupProbe")):
        if spec.get(field):
            writer.field(title, probe(spec[field]))
    for each in spec.get("envFrom") or ():
        kind, source = next(((k, v) for k, v in each.items() if isinstance(v, dict)), ("", {}))
        writer.field("Environment from", f"{source.get('name')} ({kind.removesuffix('Ref')})")
    variables = spec.get("env") or ()
    if variables:
        writer.title("Environment")
        with writer.inside():
            for each in variables:
                writer.field(each["name"], _variable(each))
    else:
        writer.field("Environment", None)
    mounts = spec.get("volumeMounts") or ()
    if not mounts:
        writer.field("Mounts", None)
        return
    writer.title("Mounts")
    for each in sorted(mounts, key=lambda mount: mount["mountPath"]):
        flags = ["ro" if each.get("readOnly") else "rw"]
        if each.get("subPath"):
            flags.append(f'path="{each["subPath"]}"')
        text = f"{each['mountPath']} from {each['name']} ({','.join(flags)})"
        writer.lines.append(f"{'  ' * (writer._indent + 1)}{text}")


def _state(writer: Writer, title: str, state: Values) -> None:
    name = next(iter(state), "waiting")
    detail: Values = state.get(name) or {}
    writer.field(title, name.title())
    with writer.inside():
        for key in ("reason", "message", "exitCode", "signal"):
            if detail.get(key) not in (None, "") and not (key == "signal" and not detail[key]):
                writer.field("Exit Code" if key == "exitCode" else key.title(), detail[key])
        for key, shown_as in (("startedAt", "Started"), ("finishedAt", "Finished")):
            if detail.get(key):
                writer.field(shown_as, local(detail[key]))


def probe(spec: Values) -> str:
    """`http-get http://:8080/ delay=0s timeout=1s period=10s #success=1 #failure=3`."""
    figures = (
        f"delay={spec.get('initialDelaySeconds', 0)}s timeout={spec.get('timeoutSeconds', 1)}s "
        f"period={spec.get('periodSeconds', 10)}s #success={spec.get('successThreshold', 1)} "
        f"#failure={spec.get('failureThreshold', 3)}"
    )
    if "exec" in spec:
        return f"exec [{' '.join(spec['exec'].get('command') or ())}] {figures}"
    if "httpGet" in spec:
        get = spec["httpGet"]
        scheme = str(get.get("scheme", "HTTP")).lower()
        return f"http-get {scheme}://{get.get('host', '')}:{get['port']}{get.get('path', '/')} {figures}"
    if "tcpSocket" in spec:
        return f"tcp-socket {spec['tcpSocket'].get('host', '')}:{spec['tcpSocket']['port']} {figures}"
    grpc = spec.get("grpc") or {}
    return f"grpc <pod>:{grpc.get('port')} {grpc.get('service') or ''} {figures}"


def _variable(each: Values) -> str:
    source = each.get("valueFrom") or {}
    if "fieldRef" in source:
        ref = source["fieldRef"]
        return f"({ref.get('apiVersion', 'v1')}:{ref['fieldPath']})"
    if "resourceFieldRef" in source:
        return f"({source['resourceFieldRef']['resource']})"
    for kind, words in (("secretKeyRef", "secret"), ("configMapKeyRef", "config map")):
        if kind in source:
            ref = source[kind]
            return f"<set to the key '{ref['key']}' of {words} '{ref.get('name')}'>"
    return str(each.get("value", ""))


def volumes(writer: Writer, found: Sequence[Json]) -> None:
    if not found:
        writer.field("Volumes", None)
        return
    writer.title("Volumes")
    with writer.inside():
        for each in found:
            writer.title(each["name"])
            kind, source = next(((k, v) for k, v in each.items() if k != "name"), ("emptyDir", {}))
            with writer.inside():
                writer.field("Type", kind[:1].upper() + kind[1:])
                for key, value in (source or {}).items():
                    if key == "defaultMode":
                        continue
                    if key == "sources":
                        writer.many("Sources", [_projected(part) for part in value])
                    elif not isinstance(value, dict | list):
                        writer.field(key[:1].upper() + key[1:], value)


def _projected(part: Values) -> str:
    kind, source = next(iter(part.items()))
    if kind == "serviceAccountToken":
        return f"{kind} (expires after {human(source.get('expirationSeconds', 3600))})"
    return f"{kind} {source.get('name', '')}".rstrip()


def _toleration(each: Values) -> str:
    text = shown(each.get("key")) if each.get("key") else ""
    if each.get("operator") == "Exists":
        text += " op=Exists" if not each.get("effect") else ""
    elif each.get("value"):
        text += f"={each['value']}"
    if each.get("effect"):
        text += f":{each['effect']}"
    if each.get("operator") == "Exists" and each.get("effect"):
        text += " op=Exists"
    if each.get("tolerationSeconds") is not None:
        text += f" for {each['tolerationSeconds']}s"
    return text.strip()
