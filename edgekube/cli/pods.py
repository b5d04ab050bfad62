"""Which pod, and which of its containers, a person means: `web-0`, `pod/web-0`, `deploy/web`, `svc/web`."""

import sys
from collections.abc import Sequence

from edgekube.cli import kinds
from edgekube.cli.api import Api, Json, path_of
from edgekube.cli.errors import CliError, UsageError
from edgekube.types.resources import Resource, find

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
PODS: Resource = find("pods")[0]


def pods_of(api: Api, namespace: str, word: str, *, default: str = "pods") -> list[Json]:
    """The pods of `NAME` or `TYPE/NAME`; of a workload or Service all its pods, the readiest first. Raises CliError."""
    kind, slash, name = word.partition("/")
    resource = kinds.resolve_one(api, kind) if slash else kinds.resolve_one(api, default)
    name = name if slash else word
    if resource.plural == "pods":
        return [api.get(path_of(PODS, namespace, name))]
    return pods_behind(api, namespace, resource, api.get(path_of(resource, namespace, name)))


def pods_behind(api: Api, namespace: str, resource: Resource, obj: Json) -> list[Json]:
    """The pods a workload or Service selects, the readiest first. Raises CliError when there are none."""
    selector = selector_of(resource, obj)
    found = selected(api, namespace, selector)
    if not found:
        raise CliError(f"{kinds.printed_name(resource, obj['metadata']['name'])} has no pods")
    return sorted(found, key=rank)


def selected(api: Api, namespace: str, selector: str) -> list[Json]:
    items: list[Json] = api.list(path_of(PODS, namespace), {"labelSelector": selector}).get("items") or []
    return items


def selector_of(resource: Resource, obj: Json) -> str:
    """The label selector of a workload or Service, as text. Raises CliError."""
    selector = (obj.get("spec") or {}).get("selector") or {}
    if resource.plural in ("services", "replicationcontrollers"):
        selector = {"matchLabels": selector}
    parts = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for each in selector.get("matchExpressions") or ():
        values = ",".join(each.get("values") or ())
        operator = each["operator"]
        if operator in ("In", "NotIn"):
            parts.append(f"{each['key']} {operator.lower()} ({values})")
        else:
            parts.append(each["key"] if operator == "Exists" else f"!{each['key']}")
    if not parts:
        raise CliError(f"{kinds.printed_name(resource, obj['metadata']['name'])} selects no pods")
    return ",".join(parts)


def rank(pod: Json) -> tuple[bool, bool, bool, str]:
    """Running, ready and here to stay before the rest, then the oldest."""
    status, metadata = pod.get("status") or {}, pod["metadata"]
    ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in status.get("conditions") or ())
    leaving = "deletionTimestamp" in metadata
    return status.get("phase") != "Running", leaving, not ready, metadata.get("creationTimestamp") or ""


def containers_of(pod: Json, *, every: bool = True) -> list[str]:
    """Names in the order they start; without `every` the ordinary ones only."""
    spec = pod["spec"]
    fields = ("initContainers", "containers", "ephemeralContainers") if every else ("containers",)
    return [each["name"] for field in fields for each in spec.get(field) or ()]


def choose_container(pod: Json, wanted: str, *, quiet: bool = False) -> str:
    """The one named, the annotated default, or the first (said on stderr when there are more). Raises CliError."""
    names = containers_of(pod)
    name = pod["metadata"]["name"]
    if wanted:
        if wanted not in names:
            raise CliError(f"container {wanted} not found in pod {name}: it has {', '.join(names)}")
        return wanted
    annotated: str = (pod["metadata"].get("annotations") or {}).get(DEFAULT_CONTAINER, "")
    if annotated in names:
        return annotated
    ordinary = containers_of(pod, every=False)
    if len(names) > 1 and not quiet:
        others = ", ".join(names)
        print(f'Defaulted container "{ordinary[0]}" out of: {others}', file=sys.stderr)
    return ordinary[0]


def one_pod(api: Api, namespace: str, words: Sequence[str]) -> Json:
    """The pod of exactly one word. Raises CliError."""
    if len(words) != 1:
        raise UsageError("name one pod: NAME or TYPE/NAME")
    return pods_of(api, namespace, words[0])[0]
