"""Follow and steer the rollout of a Deployment, StatefulSet or DaemonSet."""

import argparse
import json
from datetime import UTC, datetime
from typing import Any

from edgekube.cli import arguments, kinds
from edgekube.cli.api import FIELD_MANAGER, STRATEGIC_PATCH, Api, Json, path_of
from edgekube.cli.errors import OK, CliError, UsageError
from edgekube.cli.rollout_state import REVISION, rollout_state
from edgekube.cli.waiting import deadline_in, follow
from edgekube.types.resources import Resource, by_plural

INTERMIXED = False
CHANGE_CAUSE = "kubernetes.io/change-cause"
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
TEMPLATE_HASH = "pod-template-hash"
WORKLOADS = ("deployments", "statefulsets", "daemonsets")


def configure(made: argparse.ArgumentParser) -> None:
    actions = made.add_subparsers(dest="action", required=True, metavar="ACTION", parser_class=_Action)
    status = actions.add_parser("status", help="wait until it is done (or failed) and say how it goes")
    status.add_argument("-w", "--watch", nargs="?", const="true", default="true", help="wait for it (default: true)")
    status.add_argument("--timeout", metavar="TIME", default="0s", help="give up after this long; 0s never")
    status.add_argument("--revision", metavar="N", type=int, default=0, help="only follow this revision")
    history = actions.add_parser("history", help="list revisions")
    history.add_argument("--revision", metavar="N", type=int, default=0, help="show this one in full")
    undo = actions.add_parser("undo", help="go back to an earlier revision")
    undo.add_argument("--to-revision", metavar="N", type=int, default=0, help="default: the one before")
    actions.add_parser("restart", help="replace every pod, a few at a time")
    actions.add_parser("pause", help="make no more changes to pods")
    actions.add_parser("resume", help="go on after pause")


class _Action(arguments.Parser):
    """The parser of one action, with what all of them take."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.add_argument("what", nargs="*", metavar="TYPE NAME | TYPE/NAME")
        arguments.add_files(self)
        arguments.add_selectors(self, fields=False)


def run(args: argparse.Namespace) -> int:
    api = arguments.api_of(args)
    action = {
        "status": _status,
        "history": _history,
        "undo": _undo,
        "restart": _restart,
        "pause": _pause,
        "resume": _resume,
    }[args.action]
    for resource, namespace, name in _chosen(api, args):
        if resource.plural not in WORKLOADS:
            raise CliError(f"{resource.plural} have no rollout: {', '.join(WORKLOADS)} have")
        action(api, args, resource, namespace, name)
    return OK


def _chosen(api: Api, args: argparse.Namespace) -> list[tuple[Resource, str, str]]:
    from edgekube.cli.selection import chosen

    return [(each.resource, each.namespace, each.name) for each in chosen(api, args)]


# -- status -----------------------------------------------------------------------------------------------------------


def _status(api: Api, args: argparse.Namespace, resource: Resource, namespace: str, name: str) -> None:
    watch = str(args.watch).lower() != "false"
    said = ""
    api.get(path_of(resource, namespace, name))  # says what is wrong when there is none
    for obj in follow(api, resource, namespace, name, deadline_in(arguments.seconds(args.timeout))):
        if obj is None:
            raise CliError(f"{kinds.printed_name(resource, name)} was deleted while its rollout was followed")
        state = rollout_state(resource.kind, obj, args.revision)
        if state.failed:
            raise CliError(state.message)
        if state.message != said:
            print(state.message, flush=True)
            said = state.message
        if state.done or not watch:
            return
    raise CliError("timed out waiting for the condition")


# -- history and undo -------------------------------------------------------------------------------------------------


def _history(api: Api, args: argparse.Namespace, resource: Resource, namespace: str, name: str) -> None:
    revisions = _revisions(api, resource, namespace, name)
    print(f"{kinds.printed_name(resource, name)} ")
    if args.revision:
        if args.revision not in revisions:
            raise CliError(f"unable to find the specified revision {args.revision}")
        from edgekube.cli.yamltext import dump

        template = _template(resource, revisions[args.revision])
        (template.get("metadata", {}).get("labels") or {}).pop(TEMPLATE_HASH, None)
        print(f"with revision #{args.revision}\nPod Template:")
        print("".join(f"  {line}\n" for line in dump(template).splitlines()), end="")
        return
    print("REVISION  CHANGE-CAUSE")
    for number, obj in sorted(revisions.items()):
        cause = (obj["metadata"].get("annotations") or {}).get(CHANGE_CAUSE) or "<none>"
        print(f"{number:<10}{cause}")
    print()


def _revisions(api: Api, resource: Resource, namespace: str, name: str) -> dict[int, Json]:
    """Revision number -> ReplicaSet (of a Deployment) or ControllerRevision."""
    obj = api.get(path_of(resource, namespace, name))
    plural = "replicasets" if resource.plural == "deployments" else "controllerrevisions"
    row = by_plural("apps", "v1", plural)
    assert row is not None
    found: dict[int, Json] = {}
    for each in api.list(path_of(row, namespace)).get("items") or ():
        owners = each["metadata"].get("ownerReferences") or ()
        if not any(owner.get("uid") == obj["metadata"]["uid"] for owner in owners):
            continue
        number = each.get("revision") or (each["metadata"].get("annotations") or {}).get(REVISION) or 0
        if int(number):
            found[int(number)] = each
    return found


def _template(resource: Resource, revision: Json) -> Json:
    if resource.plural == "deployments":
        template: Json = json.loads(json.dumps(revision["spec"]["template"]))
    else:
        template = json.loads(json.dumps(((revision.get("data") or {}).get("spec") or {}).get("template") or {}))
    template.pop("$patch", None)
    return template


def _undo(api: Api, args: argparse.Namespace, resource: Resource, namespace: str, name: str) -> None:
    revisions = _revisions(api, resource, namespace, name)
    path = path_of(resource, namespace, name)
    current = api.get(path)
    if (current.get("spec") or {}).get("paused"):
        raise CliError(
            f'you cannot rollback a paused deployment; resume it first with "edgekube rollout resume '
            f'{kinds.printed_name(resource, name)}" and try again'
        )
    numbers = sorted(revisions)
    wanted = args.to_revision
    if not wanted:
        if len(numbers) < 2:
            raise CliError(f"no rollout history found for {kinds.printed_name(resource, name)}")
        wanted = numbers[-2]
    if wanted not in revisions:
        raise CliError(f"unable to find the specified revision {wanted}")
    template = _template(resource, revisions[wanted])
    (template.get("metadata", {}).get("labels") or {}).pop(TEMPLATE_HASH, None)
    now = json.loads(json.dumps(current["spec"]["template"]))
    if template == now:
        shown = kinds.printed_name(resource, name)
        print(f"{shown} skipped rollback (current template already matches revision {wanted})")
        return
    patch = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": current["metadata"]["resourceVersion"]},
        {"op": "replace", "path": "/spec/template", "value": template},
    ]
    cause = (revisions[wanted]["metadata"].get("annotations") or {}).get(CHANGE_CAUSE)
    if cause:
        annotations = {**(current["metadata"].get("annotations") or {}), CHANGE_CAUSE: cause}
        patch.append({"op": "add", "path": "/metadata/annotations", "value": annotations})
    api.call("PATCH", path, _manager(), body=patch, content_type="application/json-patch+json")
    print(f"{kinds.printed_name(resource, name)} rolled back")


# -- restart, pause, resume -------------------------------------------------------------------------------------------


def _restart(api: Api, _: argparse.Namespace, resource: Resource, namespace: str, name: str) -> None:
    if (api.get(path_of(resource, namespace, name)).get("spec") or {}).get("paused"):
        raise CliError(f"can't restart paused deployment (run rollout resume first): {name}")
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    patch = {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: stamp}}}}}
    _patch(api, resource, namespace, name, patch)
    print(f"{kinds.printed_name(resource, name)} restarted")


def _pause(api: Api, _: argparse.Namespace, resource: Resource, namespace: str, name: str) -> None:
    _set_paused(api, resource, namespace, name, paused=True)


def _resume(api: Api, _: argparse.Namespace, resource: Resource, namespace: str, name: str) -> None:
    _set_paused(api, resource, namespace, name, paused=False)


def _set_paused(api: Api, resource: Resource, namespace: str, name: str, *, paused: bool) -> None:
    if resource.plural != "deployments":
        raise UsageError(f"{resource.plural} cannot be paused: only deployments can")
    shown = kinds.printed_name(resource, name)
    spec: Json = api.get(path_of(resource, namespace, name)).get("spec") or {}
    if bool(spec.get("paused")) == paused:
        raise CliError(f"{shown} is already paused" if paused else f"{shown} is not paused")
    _patch(api, resource, namespace, name, {"spec": {"paused": paused or None}})
    print(f"{shown} {'paused' if paused else 'resumed'}")


def _patch(api: Api, resource: Resource, namespace: str, name: str, patch: Json) -> None:
    path = path_of(resource, namespace, name)
    api.call("PATCH", path, _manager(), body=patch, content_type=STRATEGIC_PATCH)


def _manager() -> dict[str, str]:
    return {"fieldManager": f"{FIELD_MANAGER}-rollout"}
