"""Objects from options, for `create KIND`: each generator is its options and a pure function of them.

Files named by options are read here; nothing is sent.
"""

import argparse
import os
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from edgekube.cli.api import Json
from edgekube.cli.errors import CliError, UsageError

Option = tuple[tuple[str, ...], dict[str, Any]]
VALUE_BYTES_MAX = 1024 * 1024  # what a ConfigMap or Secret may hold


class Generator(NamedTuple):
    help: str
    options: Sequence[Option]
    make: Callable[[argparse.Namespace], Json]
    short: str = ""


NAME: Option = (("name",), {"metavar": "NAME"})


def _flag(name: str, help_: str, **more: Any) -> Option:
    return (name,), {"help": help_, "default": "", **more}


def _many(name: str, help_: str, **more: Any) -> Option:
    return (name,), {"help": help_, "default": [], "action": "append", **more}


LITERALS = _many("--from-literal", "KEY=VALUE; may be repeated", metavar="KEY=VALUE")
FILES = _many("--from-file", "a file or folder, or KEY=FILE; may be repeated", metavar="[KEY=]FILE")
ENV_FILES = _many("--from-env-file", "a file of KEY=VALUE lines", metavar="FILE")


def _object(version: str, kind: str, name: str, **more: Any) -> Json:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **more}


def _data(args: argparse.Namespace) -> dict[str, bytes]:
    """Keys and contents from --from-literal, --from-file and --from-env-file. Raises CliError."""
    found: list[tuple[str, bytes]] = [_pair(text) for text in args.from_literal]
    for text in args.from_file:
        key, equals, path = text.partition("=")
        path = path if equals else text
        if os.path.isdir(path):
            if equals:
                raise UsageError(f"{text!r}: a folder takes no key, its files are the keys")
            entries = sorted(entry.path for entry in os.scandir(path) if entry.is_file())
            found += [(os.path.basename(entry), _content(entry)) for entry in entries]
        else:
            found.append((key if equals else os.path.basename(path), _content(path)))
    for path in args.from_env_file:
        lines = _content(path).decode(errors="replace").splitlines()
        found += [_pair(line) for line in lines if line.strip() and not line.lstrip().startswith("#")]
    out: dict[str, bytes] = {}
    for key, value in found:
        if key in out:
            raise UsageError(f"cannot add key {key}: another key by that name already exists")
        out[key] = value
    return out


def _pair(text: str) -> tuple[str, bytes]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"{text!r} is not KEY=VALUE")
    return key.strip(), value.encode()


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(VALUE_BYTES_MAX + 1)
    except OSError as error:
        raise CliError(f"error reading {path}: {error.strerror}") from None
    if len(data) > VALUE_BYTES_MAX:
        raise CliError(f"{path} is larger than {VALUE_BYTES_MAX} bytes, more than an object may hold")
    return data


def _configmap(args: argparse.Namespace) -> Json:
    text: dict[str, str] = {}
    binary: dict[str, str] = {}
    for key, value in _data(args).items():
        try:
            text[key] = value.decode()
        except UnicodeDecodeError:
            binary[key] = b64encode(value).decode()
    made = _object("v1", "ConfigMap", args.name)
    if text:
        made["data"] = text
    if binary:
        made["binaryData"] = binary
    return made


def _secret(args: argparse.Namespace) -> Json:
    if args.kind == "generic":
        data = {key: b64encode(value).decode() for key, value in _data(args).items()}
        return _object("v1", "Secret", args.name, type=args.type or "Opaque", **({"data": data} if data else {}))
    if args.kind == "tls":
        if not args.cert or not args.key:
            raise UsageError("a tls secret needs --cert=FILE and --key=FILE")
        pair = {"tls.crt": _content(args.cert), "tls.key": _content(args.key)}
        data = {key: b64encode(value).decode() for key, value in pair.items()}
        return _object("v1", "Secret", args.name, type="kubernetes.io/tls", data=data)
    import json

    if not args.docker_username or not args.docker_password:
        raise UsageError("a docker-registry secret needs --docker-username and --docker-password")
    user, password = args.docker_username, args.docker_password
    entry = {"username": user, "password": password, "auth": b64encode(f"{user}:{password}".encode()).decode()}
    if args.docker_email:
        entry["email"] = args.docker_email
    server = args.docker_server or "https://index.docker.io/v1/"
    text = json.dumps({"auths": {server: entry}}, separators=(",", ":"))
    data = {".dockerconfigjson": b64encode(text.encode()).decode()}
    return _object("v1", "Secret", args.name, type="kubernetes.io/dockerconfigjson", data=data)


def _container(args: argparse.Namespace, image: str, name: str = "") -> Json:
    short = image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    made: Json = {"name": name or short.lower().replace("_", "-").replace(".", "-"), "image": image}
    if args.after_dashes:
        made["command"] = args.after_dashes
    return made


def _deployment(args: argparse.Namespace) -> Json:
    if not args.image:
        raise UsageError("a deployment needs --image=IMAGE")
    if len(args.image) > 1 and args.after_dashes:
        raise UsageError("cannot specify multiple --image options and a command")
    containers = [_container(args, image) for image in args.image]
    if args.port is not None:
        containers[0]["ports"] = [{"containerPort": args.port}]
    labels = {"app": args.name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
    spec = {"replicas": args.replicas, "selector": {"matchLabels": labels}, "template": template}
    made = _object("apps/v1", "Deployment", args.name, spec=spec)
    made["metadata"]["labels"] = labels
    return made


def _pod_template(args: argparse.Namespace, name: str) -> Json:
    if not args.image:
        raise UsageError(f"a {name} needs --image=IMAGE")
    return {"spec": {"containers": [_container(args, args.image, args.name)], "restartPolicy": "Never"}}


def _job(args: argparse.Namespace) -> Json:
    return _object("batch/v1", "Job", args.name, spec={"template": _pod_template(args, "job")})


def _cronjob(args: argparse.Namespace) -> Json:
    if not args.schedule:
        raise UsageError('a cronjob needs --schedule, such as "*/5 * * * *"')
    template = _pod_template(args, "cronjob")
    template["spec"]["restartPolicy"] = args.restart or "OnFailure"
    job = {"metadata": {"name": args.name}, "spec": {"template": template}}
    return _object("batch/v1", "CronJob", args.name, spec={"schedule": args.schedule, "jobTemplate": job})


def _service(args: argparse.Namespace) -> Json:
    types = {"clusterip": "ClusterIP", "nodeport": "NodePort", "loadbalancer": "LoadBalancer"}
    labels = {"app": args.name}
    if args.kind == "externalname":
        if not args.external_name:
            raise UsageError("an externalname service needs --external-name")
        spec: Json = {"type": "ExternalName", "externalName": args.external_name, "selector": labels}
    else:
        spec = {"type": types[args.kind], "selector": labels}
        if not args.tcp and args.clusterip != "None":
            raise UsageError("at least one --tcp=PORT:TARGET must be specified")
    ports = [_service_port(text) for each in args.tcp for text in each.split(",")]
    if args.node_port and ports:
        ports[0]["nodePort"] = args.node_port
    if ports:
        spec["ports"] = ports
    if args.clusterip:
        spec["clusterIP"] = args.clusterip
    made = _object("v1", "Service", args.name, spec=spec)
    made["metadata"]["labels"] = labels
    return made


def _service_port(text: str) -> Json:
    port, _, target = text.partition(":")
    if not port.isdecimal():
        raise UsageError(f"invalid port {text!r}: write PORT or PORT:TARGET")
    shown = text.replace(":", "-")
    to: int | str = int(target) if target.isdecimal() else target or int(port)
    return {"name": shown, "port": int(port), "protocol": "TCP", "targetPort": to}


def _quota(args: argparse.Namespace) -> Json:
    spec: Json = {"hard": dict(_words(args.hard))} if args.hard else {}
    if args.scopes:
        spec["scopes"] = args.scopes.split(",")
    return _object("v1", "ResourceQuota", args.name, spec=spec)


def _words(text: str) -> list[tuple[str, str]]:
    return [(key, value.decode()) for key, value in (_pair(part) for part in text.split(","))]


def _priority_class(args: argparse.Namespace) -> Json:
    made = _object("scheduling.k8s.io/v1", "PriorityClass", args.name, value=args.value)
    made.update(globalDefault=args.global_default, preemptionPolicy=args.preemption_policy)
    if args.description:
        made["description"] = args.description
    return made


def _ingress(args: argparse.Namespace) -> Json:
    """--rule host/path=service:port[,tls[=secret]]; a path that ends in * is a prefix."""
    hosts: dict[str, list[Json]] = {}
    tls: list[Json] = []
    for rule in args.rule:
        match, equals, rest = rule.partition("=")
        service, _, extra = rest.partition(",")
        name, colon, port = service.partition(":")
        host, slash, path = match.partition("/")
        if not (equals and name and colon and port and slash):
            raise UsageError(f"{rule!r} is not HOST/PATH=SERVICE:PORT")
        backend = {"name": name, "port": {"number": int(port)} if port.isdecimal() else {"name": port}}
        kind = "Prefix" if path.endswith("*") else "Exact"
        entry = {"path": "/" + path.rstrip("*"), "pathType": kind, "backend": {"service": backend}}
        hosts.setdefault(host, []).append(entry)
        if extra.startswith("tls"):
            secret = extra.partition("=")[2]
            tls.append({**({"hosts": [host]} if host else {}), **({"secretName": secret} if secret else {})})
    rules = [{**({"host": host} if host else {}), "http": {"paths": paths}} for host, paths in hosts.items()]
    spec: Json = {"rules": rules}
    if args.ingress_class:
        spec["ingressClassName"] = args.ingress_class
    if tls:
        spec["tls"] = tls
    return _object("networking.k8s.io/v1", "Ingress", args.name, spec=spec)


IMAGE = _flag("--image", "container image", metavar="IMAGE")

GENERATORS: dict[str, Generator] = {
    "namespace": Generator("a namespace", [NAME], lambda args: _object("v1", "Namespace", args.name), "ns"),
    "configmap": Generator("from files and literals", [NAME, LITERALS, FILES, ENV_FILES], _configmap, "cm"),
    "secret": Generator(
        "generic, tls or docker-registry",
        [
            (("kind",), {"choices": ["generic", "tls", "docker-registry"]}),
            NAME,
            LITERALS,
            FILES,
            ENV_FILES,
            _flag("--type", "type of a generic one"),
            _flag("--cert", "certificate, PEM", metavar="FILE"),
            _flag("--key", "private key, PEM", metavar="FILE"),
            *(
                _flag(f"--docker-{part}", f"{part} of the registry")
                for part in ("server", "username", "password", "email")
            ),
        ],
        _secret,
    ),
    "deployment": Generator(
        "of one image or more",
        [
            NAME,
            _many("--image", "container image; may be repeated", metavar="IMAGE"),
            (("-r", "--replicas"), {"type": int, "default": 1, "help": "how many pods"}),
            (("--port",), {"type": int, "default": None, "help": "port the container listens on"}),
        ],
        _deployment,
        "deploy",
    ),
    "job": Generator("one that runs once; -- COMMAND", [NAME, IMAGE], _job),
    "cronjob": Generator(
        "one that runs by the clock; -- COMMAND",
        [NAME, IMAGE, _flag("--schedule", "cron line"), _flag("--restart", "restart policy: OnFailure or Never")],
        _cronjob,
        "cj",
    ),
    "service": Generator(
        "for the pods with the label app=NAME",
        [
            (("kind",), {"choices": ["clusterip", "nodeport", "loadbalancer", "externalname"]}),
            NAME,
            _many("--tcp", "PORT or PORT:TARGET; may be repeated", metavar="PORT"),
            (("--node-port",), {"type": int, "default": 0, "help": "port on every node"}),
            _flag("--clusterip", "address, or None"),
            _flag("--external-name", "DNS name of an externalname one"),
        ],
        _service,
        "svc",
    ),
    "serviceaccount": Generator(
        "an identity for pods", [NAME], lambda args: _object("v1", "ServiceAccount", args.name), "sa"
    ),
    "ingress": Generator(
        "rules HOST/PATH=SERVICE:PORT",
        [
            NAME,
            _many("--rule", "HOST/PATH=SERVICE:PORT[,tls=SECRET]"),
            _flag("--class", "its class", dest="ingress_class"),
        ],
        _ingress,
        "ing",
    ),
    "quota": Generator(
        "a ResourceQuota", [NAME, _flag("--hard", "pods=10,cpu=4"), _flag("--scopes", "scopes")], _quota
    ),
    "priorityclass": Generator(
        "a PriorityClass",
        [
            NAME,
            (("--value",), {"type": int, "default": 0, "help": "the higher the sooner"}),
            (("--global-default",), {"action": "store_true", "help": "for pods that name none"}),
            _flag("--preemption-policy", "Never or PreemptLowerPriority", default="PreemptLowerPriority"),
            _flag("--description", "what it is for"),
        ],
        _priority_class,
        "pc",
    ),
}
