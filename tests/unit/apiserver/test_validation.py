"""What is refused, with Kubernetes' field paths and wording. Each case is one change to a valid object."""

# ruff: noqa: E501  (one case, one line; the texts are long)

import base64
import copy
import json
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest

from edgekube.apiserver.resources import RESOURCES
from edgekube.types import codec, defaults

Obj = dict[str, Any]
Edit = Callable[[Obj], Any]


def problems(obj: Obj, old: Obj | None = None, subresource: str = "") -> list[str]:
    group, _, version = obj["apiVersion"].rpartition("/")
    res = next(r for r in RESOURCES if (r.group, r.version, r.kind) == (group, version, obj["kind"]))
    module = import_module(f"edgekube.apiserver.validation.{res.validation or 'any'}")

    def struct(value: Obj | None) -> Any:
        return None if value is None else defaults.apply(codec.decode(res.cls, json.dumps(value).encode()))

    return [str(p) for p in module.validate(struct(obj), struct(old), subresource)]


def made(base: Obj, edit: Edit) -> Obj:
    obj = copy.deepcopy(base)
    edit(obj)
    return obj


META = {"name": "web", "namespace": "default"}
POD_SPEC = {
    "containers": [{"name": "c", "image": "nginx:1", "ports": [{"containerPort": 80, "name": "http"}]}],
    "volumes": [{"name": "v", "emptyDir": {}}],
}
POD: Obj = {"apiVersion": "v1", "kind": "Pod", "metadata": META, "spec": POD_SPEC}
TEMPLATE = {"metadata": {"labels": {"app": "web"}}, "spec": POD_SPEC}
DEPLOYMENT: Obj = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": META,
                   "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": TEMPLATE}}  # fmt: skip
SERVICE: Obj = {"apiVersion": "v1", "kind": "Service", "metadata": META,
                "spec": {"ports": [{"port": 80}], "selector": {"app": "web"}}}  # fmt: skip
JOB: Obj = {"apiVersion": "batch/v1", "kind": "Job", "metadata": META, "spec": {
    "selector": {"matchLabels": {"app": "web"}},
    "template": {"metadata": {"labels": {"app": "web"}}, "spec": {**POD_SPEC, "restartPolicy": "Never"}}}}  # fmt: skip
CRON: Obj = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": META,
             "spec": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": JOB["spec"]["template"]}}}}  # fmt: skip
SECRET: Obj = {"apiVersion": "v1", "kind": "Secret", "metadata": META, "data": {"a": "YQ=="}}
CONFIG: Obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": META, "data": {"a": "b"}}
SET: Obj = {**DEPLOYMENT, "kind": "StatefulSet", "spec": {**DEPLOYMENT["spec"], "serviceName": "web"}}
DAEMON: Obj = {**DEPLOYMENT, "kind": "DaemonSet"}
REPLICAS: Obj = {**DEPLOYMENT, "kind": "ReplicaSet"}
SLICE: Obj = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": META, "addressType": "IPv4",
              "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"name": "", "port": 80}]}  # fmt: skip
POLICY: Obj = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": META, "spec": {
    "podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress", "Egress"],
    "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}, {"podSelector": {}}],
                 "ports": [{"port": 80, "endPort": 90}, {"port": "http", "protocol": "UDP"}, {}]}],
    "egress": [{"to": [{"namespaceSelector": {}, "podSelector": {}}]}, {}]}}  # fmt: skip
BUDGET: Obj = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": META,
               "spec": {"minAvailable": "50%", "selector": {"matchLabels": {"app": "web"}}}}  # fmt: skip
INGRESS: Obj = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": META, "spec": {
    "tls": [{"hosts": ["*.a.test"], "secretName": "s"}],
    "rules": [{"host": "*.a.test", "http": {"paths": [
        {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}},
        {"pathType": "ImplementationSpecific", "backend": {"resource": {"kind": "X", "name": "x"}}}]}}]}}  # fmt: skip
PODS: Obj = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": META, "template": TEMPLATE}
REVISION: Obj = {
    "apiVersion": "apps/v1",
    "kind": "ControllerRevision",
    "metadata": META,
    "revision": 1,
    "data": {"a": 1},
}
PEM = b"-----BEGIN CERTIFICATE REQUEST-----\neA==\n-----END CERTIFICATE REQUEST-----\n"
CSR: Obj = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": "a:b"}, "spec": {
    "request": base64.b64encode(PEM).decode(), "signerName": "example.com/a.b", "usages": ["client auth"],
    "expirationSeconds": 600}}  # fmt: skip
VALID = [
    CSR,
    PODS,
    REVISION,
    POD,
    DEPLOYMENT,
    SERVICE,
    JOB,
    CRON,
    SECRET,
    CONFIG,
    SET,
    DAEMON,
    REPLICAS,
    SLICE,
    POLICY,
    BUDGET,
    INGRESS,
]


@pytest.mark.parametrize("obj", VALID, ids=lambda o: o["kind"])
def test_valid_objects_pass(obj: Obj) -> None:
    assert problems(obj) == []
    assert problems(obj, obj) == []


def container(obj: Obj) -> Any:
    return obj["spec"]["containers"][0]


def put(path: str, value: Any) -> Edit:
    """Set a dotted path; numbers index lists."""

    def edit(obj: Obj) -> None:
        at: Any = obj
        *parents, last = path.split(".")
        for part in parents:
            at = at[int(part)] if part.isdigit() else at.setdefault(part, {})
        at[int(last) if last.isdigit() else last] = value

    return edit


C = "spec.containers.0."
MUST_LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an "
    "alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
LABEL = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
FROM, PORT, PATH = "spec.ingress.0.from.0.", "spec.ingress.0.ports.0.", "spec.rules.0.http.paths.0."
REFUSED: list[tuple[Obj, Edit, str]] = [
    (POD, put("spec.containers", []), "spec.containers: Required value"),
    (POD, put(C + "name", ""), "spec.containers[0].name: Required value"),
    (POD, put(C + "name", "Bad_Name"), f'spec.containers[0].name: Invalid value: "Bad_Name": {MUST_LABEL}'),
    (POD, put(C + "image", ""), "spec.containers[0].image: Required value"),
    (POD, put(C + "image", " x"), 'spec.containers[0].image: Invalid value: " x": must not have leading or trailing whitespace'),
    (POD, lambda o: o["spec"]["containers"].append(dict(container(o), ports=[])),
     'spec.containers[1].name: Duplicate value: "c"'),
    (POD, put(C + "ports", [{"containerPort": 70000}]),
     "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"),
    (POD, put(C + "ports", [{"containerPort": 80, "protocol": "ICMP"}]),
     'spec.containers[0].ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"'),
    (POD, put(C + "volumeMounts", [{"name": "x", "mountPath": "/x"}]),
     'spec.containers[0].volumeMounts[0].name: Not found: "x"'),
    (POD, put(C + "volumeMounts", [{"name": "v", "mountPath": "/x"}, {"name": "v", "mountPath": "/x"}]),
     'spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/x": must be unique'),
    (POD, put(C + "volumeMounts", [{"name": "v", "mountPath": "/x", "subPath": "../y"}]),
     "spec.containers[0].volumeMounts[0].subPath: Invalid value: \"../y\": must not contain '..'"),
    (POD, put("spec.securityContext.seccompProfile", {"type": "Localhost", "localhostProfile": "../../pki/ca.key"}),
     "spec.securityContext.seccompProfile.localhostProfile: Invalid value: \"../../pki/ca.key\": must not contain '..'"),
    (POD, put(C + "securityContext.seccompProfile", {"type": "Localhost", "localhostProfile": "/etc/shadow"}),
     'spec.containers[0].securityContext.seccompProfile.localhostProfile: Invalid value: "/etc/shadow": must be a relative path'),
    (POD, put(C + "securityContext.seccompProfile", {"type": "Unconfined", "localhostProfile": "p.json"}),
     'spec.containers[0].securityContext.seccompProfile.localhostProfile: Invalid value: "p.json": can only be set when seccomp type is Localhost'),
    (POD, put(C + "securityContext.appArmorProfile", {"type": "Localhost"}),
     "spec.containers[0].securityContext.appArmorProfile.localhostProfile: Required value: must be set when AppArmor type is Localhost"),
    (POD, put(C + "resources", {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}),
     'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1'),
    (POD, put(C + "resources", {"limits": {"cpus": "1"}}),
     'spec.containers[0].resources.limits[cpus]: Invalid value: "cpus": must be a standard resource for containers'),
    (POD, put(C + "env", [{"name": ""}]), "spec.containers[0].env[0].name: Required value"),
    (POD, put(C + "env", [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]),
     'spec.containers[0].env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty'),
    (POD, put(C + "livenessProbe", {}), "spec.containers[0].livenessProbe: Required value: must specify a handler type"),
    (POD, put(C + "livenessProbe", {"tcpSocket": {"port": 80}, "successThreshold": 2}),
     "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"),
    (POD, put(C + "imagePullPolicy", "Sometimes"),
     'spec.containers[0].imagePullPolicy: Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", '
     '"Never"'),
    (POD, put("spec.initContainers", [{"name": "i", "image": "x", "readinessProbe": {"tcpSocket": {"port": 1}}}]),
     "spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without restartPolicy=Always"),
    (POD, put("spec.restartPolicy", "Maybe"),
     'spec.restartPolicy: Unsupported value: "Maybe": supported values: "Always", "Never", "OnFailure"'),
    (POD, put("spec.volumes", [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/x"}}]),
     "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"),
    (POD, put("spec.volumes", [{"name": "v", "hostPath": {"path": "/a/../b"}}]),
     "spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"),
    (POD, put("spec.volumes", [{"name": "v", "secret": {}}]), "spec.volumes[0].secret.secretName: Required value"),
    (POD, put("spec.tolerations", [{"operator": "Equal", "value": "x"}]),
     'spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which means '
     '"match all values and all keys"'),
    (POD, put("spec.terminationGracePeriodSeconds", -3),
     "spec.terminationGracePeriodSeconds: Invalid value: -3: must be greater than or equal to 0"),
    (POD, put("spec.dnsPolicy", "None"), "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"),
    (POD, put("spec.nodeSelector", {"a/b/c": "x"}), "spec.nodeSelector: Invalid value: \"a/b/c\": a qualified name must "
     "consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. "
     "'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with "
     "an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"),
    (POD, put(C + "securityContext", {"allowPrivilegeEscalation": False, "privileged": True}),
     'spec.containers[0].securityContext: Invalid value: {"allowPrivilegeEscalation":false,"privileged":true}: cannot set '
     "`allowPrivilegeEscalation` to false and `privileged` to true"),
    (POD, put("metadata.labels", {"a": "b c"}),
     "metadata.labels: Invalid value: \"b c\": a valid label must be an empty string or consist of alphanumeric "
     "characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  "
     "or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"),
    (POD, put("metadata.finalizers", ["x"]),
     'metadata.finalizers: Invalid value: "x": name is neither a standard finalizer name nor is it fully qualified'),
    (DEPLOYMENT, put("spec.template.metadata.labels", {"app": "other"}),
     'spec.template.metadata.labels: Invalid value: {"app":"other"}: `selector` does not match template `labels`'),
    (DEPLOYMENT, put("spec.selector", {}),
     "spec.selector: Invalid value: {}: empty selector is invalid for deployment"),
    (SET, put("spec.selector", {}), "spec.selector: Invalid value: {}: empty selector is invalid for statefulset"),
    (DAEMON, put("spec.selector", {}), "spec.selector: Invalid value: {}: empty selector is invalid for daemonset"),
    (SET, put("spec.template.spec.containers.0.volumeMounts", [{"name": "data", "mountPath": "/data"}]),
     'spec.template.spec.containers[0].volumeMounts[0].name: Not found: "data"'),
    (PODS, put("template.spec.containers", []), "template.spec.containers: Required value"),
    (REVISION, lambda o: o.pop("data"), "data: Required value: data is mandatory"),
    (REVISION, put("revision", -1), "revision: Invalid value: -1: must be greater than or equal to 0"),
    (CSR, put("spec.request", "eA=="), 'spec.request: Invalid value: "eA==": PEM block type must be CERTIFICATE REQUEST'),
    (CSR, put("spec.usages", []), "spec.usages: Required value: usages must be provided"),
    (CSR, put("spec.usages", ["any", "any"]), 'spec.usages[1]: Duplicate value: "any"'),
    (CSR, put("spec.signerName", ""), "spec.signerName: Required value: signerName must be provided"),
    (CSR, put("spec.signerName", "x"),
     "spec.signerName: Invalid value: \"x\": must be a fully qualified domain and path of the form 'example.com/signer-name'"),
    (CSR, put("spec.signerName", "com/x"),
     'spec.signerName: Invalid value: "com": should be a domain with at least two segments separated by dots'),
    (CSR, put("spec.expirationSeconds", 599),
     "spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 600 seconds (10 minutes)"),
    (CSR, put("status", {"conditions": [{"type": "Approved", "status": "True"}, {"type": "Denied", "status": "True"}]}),
     'status.conditions[1].type: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive'),
    (CSR, put("status", {"conditions": [{"type": "Approved", "status": "False"}]}),
     'status.conditions[0].status: Unsupported value: "False": supported values: "True"'),
    (DEPLOYMENT, put("spec.replicas", -1), "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
    (DEPLOYMENT, put("spec.template.spec.restartPolicy", "Never"),
     'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'),
    (DEPLOYMENT, put("spec.strategy", {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}),
     "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"),
    (DEPLOYMENT, put("spec.strategy", {"type": "Recreate", "rollingUpdate": {}}),
     "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"),
    (SERVICE, put("spec.ports", []), "spec.ports: Required value"),
    (SERVICE, put("spec.ports", [{"port": 1}, {"port": 2}]), "spec.ports[0].name: Required value"),
    (SERVICE, put("spec.ports", [{"port": 0}]),
     "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"),
    (SERVICE, put("metadata.name", "1web"),
     "metadata.name: Invalid value: \"1web\": a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
     "start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used "
     "for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"),
    (SERVICE, put("spec.type", "Magic"),
     'spec.type: Unsupported value: "Magic": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"'),
    (SERVICE, put("spec.type", "ExternalName"), "spec.externalName: Required value"),
    (JOB, put("spec.template.spec.restartPolicy", "Always"),
     'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'),
    (JOB, put("spec.backoffLimit", -1), "spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0"),
    (CRON, put("spec.schedule", ""), "spec.schedule: Required value"),
    (CRON, put("spec.timeZone", "Moon/Base"), 'spec.timeZone: Invalid value: "Moon/Base": unknown time zone Moon/Base'),
    (CRON, put("spec.concurrencyPolicy", "x"),
     'spec.concurrencyPolicy: Unsupported value: "x": supported values: "Allow", "Forbid", "Replace"'),
    (CONFIG, put("data", {"a/b": "x"}),
     "data[a/b]: Invalid value: \"a/b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. "
     "'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"),
    (SECRET, put("type", "kubernetes.io/tls"), "data[tls.crt]: Required value"),
    (SET, put("spec.podManagementPolicy", "x"),
     'spec.podManagementPolicy: Unsupported value: "x": supported values: "OrderedReady", "Parallel"'),
    (DAEMON, put("spec.updateStrategy", {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}),
     "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero"),
    (SLICE, put("endpoints", [{"addresses": ["127.0.0.1"]}]),
     'endpoints[0].addresses[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)'),
    (JOB, put("spec.selector", {"matchLabels": {"app": "w b"}}), f'spec.selector.matchLabels: Invalid value: "w b": {LABEL}'),
    (DEPLOYMENT, put("spec.selector", {"matchLabels": {"app": "w b"}}),
     f'spec.selector.matchLabels: Invalid value: "w b": {LABEL}'),
    (POLICY, put("spec.podSelector", {"matchLabels": {"app": "w b"}}),
     f'spec.podSelector.matchLabels: Invalid value: "w b": {LABEL}'),
    (POLICY, put(FROM + "ipBlock.cidr", "x"),
     'spec.ingress[0].from[0].ipBlock.cidr: Invalid value: "x": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)'),
    (POLICY, put(FROM + "ipBlock.cidr", ""), "spec.ingress[0].from[0].ipBlock.cidr: Required value"),
    (POLICY, put(FROM + "ipBlock.except", ["11.0.0.0/9"]),
     'spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "11.0.0.0/9": must be a strict subset of `cidr`'),
    (POLICY, put(FROM + "podSelector", {}), "spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer"),
    (POLICY, put("spec.egress.0.to", [{}]), "spec.egress[0].to[0]: Required value: must specify a peer"),
    (POLICY, put(PORT + "port", 99999),
     "spec.ingress[0].ports[0].port: Invalid value: 99999: must be between 1 and 65535, inclusive"),
    (POLICY, put(PORT + "endPort", 79),
     "spec.ingress[0].ports[0].endPort: Invalid value: 79: must be greater than or equal to `port`"),
    (POLICY, put(PORT + "port", "http"),
     "spec.ingress[0].ports[0].endPort: Invalid value: 90: may not be specified when `port` is non-numeric"),
    (POLICY, put(PORT + "protocol", "ICMP"),
     'spec.ingress[0].ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"'),
    (POLICY, put("spec.policyTypes", ["Both"]),
     'spec.policyTypes[0]: Unsupported value: "Both": supported values: "Egress", "Ingress"'),
    (BUDGET, put("spec.minAvailable", -5), "spec.minAvailable: Invalid value: -5: must be greater than or equal to 0"),
    (BUDGET, put("spec.minAvailable", "101%"), 'spec.minAvailable: Invalid value: "101%": must not be greater than 100%'),
    (BUDGET, put("spec.selector", {"matchLabels": {"app": "w b"}}),
     f'spec.selector.matchLabels: Invalid value: "w b": {LABEL}'),
    (BUDGET, put("spec.unhealthyPodEvictionPolicy", "x"),
     'spec.unhealthyPodEvictionPolicy: Unsupported value: "x": supported values: "AlwaysAllow", "IfHealthyBudget"'),
    (INGRESS, put("spec.rules", []), "spec: Invalid value: []: either `defaultBackend` or `rules` must be specified"),
    (INGRESS, put("spec.rules.0.host", "10.0.0.1"),
     'spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address'),
    (INGRESS, put(PATH + "pathType", ""), "spec.rules[0].http.paths[0].pathType: Required value"),
    (INGRESS, put(PATH + "path", "x"), 'spec.rules[0].http.paths[0].path: Invalid value: "x": must be an absolute path'),
    (INGRESS, put(PATH + "path", "/a/../b"),
     "spec.rules[0].http.paths[0].path: Invalid value: \"/a/../b\": must not contain '/../'"),
    (INGRESS, put(PATH + "backend", {}), "spec.rules[0].http.paths[0].backend: Required value: resource or service backend is required"),
    (INGRESS, put(PATH + "backend.service.port", {}),
     "spec.rules[0].http.paths[0].backend: Required value: port name or number is required"),
]  # fmt: skip


@pytest.mark.parametrize(("base", "edit", "text"), REFUSED, ids=[text[:60] for _, _, text in REFUSED])
def test_refused_on_create(base: Obj, edit: Edit, text: str) -> None:
    assert text in problems(made(base, edit))


UPDATES: list[tuple[Obj, Edit, str]] = [
    (POD, put(C + "command", ["x"]), "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`"),
    (POD, lambda o: o["spec"]["containers"].append({"name": "d", "image": "x"}),
     "spec.containers: Forbidden: pod updates may not add or remove containers"),
    (DEPLOYMENT, lambda o: (put("spec.selector.matchLabels", {"app": "x"})(o),
                            put("spec.template.metadata.labels", {"app": "x"})(o)),
     'spec.selector: Invalid value: {"matchLabels":{"app":"x"}}: field is immutable'),
    (SET, put("spec.serviceName", "x"), "spec: Forbidden: updates to statefulset spec for fields other than 'replicas'"),
    (JOB, put("spec.template.spec.containers.0.image", "x"), "spec.template: Invalid value: "),
    (REVISION, put("data", {"a": 2}), 'data: Invalid value: {"a":2}: field is immutable'),
    (SECRET, put("type", "x"), 'type: Invalid value: "x": field is immutable'),
    (SLICE, lambda o: (put("addressType", "FQDN")(o), put("endpoints", [])(o)),
     'addressType: Invalid value: "FQDN": field is immutable'),
]  # fmt: skip


@pytest.mark.parametrize(("base", "edit", "text"), UPDATES, ids=[text[:60] for _, _, text in UPDATES])
def test_refused_on_update(base: Obj, edit: Edit, text: str) -> None:
    assert any(found.startswith(text) for found in problems(made(base, edit), base))


def test_a_schedule_may_name_a_day_that_never_comes() -> None:
    assert problems(made(CRON, put("spec.schedule", "59 23 31 2 *"))) == []
    assert problems(made(CRON, put("spec.schedule", "59 23 32 2 *"))) != []
    assert problems(made(CRON, put("spec.schedule", "59 23 31 13 *"))) != []


def test_a_workload_without_a_selector_selects_nothing() -> None:
    unmatched = (
        'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`'
    )
    for base in (DEPLOYMENT, SET, REPLICAS):
        assert problems(made(base, lambda o: o["spec"].pop("selector"))) == ["spec.selector: Required value", unmatched]
    assert problems(made(DAEMON, lambda o: o["spec"].pop("selector"))) == [unmatched]


def test_a_container_may_mount_the_claims_of_its_stateful_set() -> None:
    with_claim = made(SET, put("spec.volumeClaimTemplates", [{"metadata": {"name": "data"}, "spec": {}}]))
    put("spec.template.spec.containers.0.volumeMounts", [{"name": "data", "mountPath": "/data"}])(with_claim)
    assert problems(with_claim) == []


def test_allowed_pod_updates() -> None:
    for edit in (
        put(C + "image", "nginx:2"),
        put("spec.activeDeadlineSeconds", 10),
        put("spec.tolerations", [{"key": "a", "operator": "Exists"}]),
        put("metadata.labels", {"a": "b"}),
    ):
        assert problems(made(POD, edit), POD) == []


def test_immutable_config_maps() -> None:
    frozen = made(CONFIG, put("immutable", True))
    assert problems(made(frozen, put("data", {"a": "c"})), frozen) == [
        "data: Forbidden: field is immutable when `immutable` is set"
    ]
    assert problems(CONFIG, frozen) == ["immutable: Forbidden: field is immutable when `immutable` is set"]


def test_service_address_is_immutable() -> None:
    old = made(SERVICE, lambda o: o["spec"].update(clusterIP="10.43.0.1", clusterIPs=["10.43.0.1"]))
    new = made(SERVICE, lambda o: o["spec"].update(clusterIP="10.43.0.2", clusterIPs=["10.43.0.2"]))
    assert problems(new, old) == ['spec.clusterIPs[0]: Invalid value: ["10.43.0.2"]: may not change once set']
