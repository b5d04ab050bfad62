"""Which objects a verb is for: by TYPE NAME, TYPE/NAME, -f, -l, --field-selector or --all."""

import argparse
from typing import NamedTuple

from edgekube.cli import arguments, kinds
from edgekube.cli.api import Api, Json, path_of
from edgekube.cli.errors import CliError, UsageError
from edgekube.types.resources import Resource


class Chosen(NamedTuple):
    """One object, where it is, and what is known of it already (its manifest's or listed form)."""

    resource: Resource
    namespace: str
    name: str
    obj: Json | None = None

    @property
    def path(self) -> str:
        return path_of(self.resource, self.namespace, self.name)

    @property
    def shown(self) -> str:
        return kinds.printed_name(self.resource, self.name)


def chosen(api: Api, args: argparse.Namespace, *, fetch: bool = False) -> list[Chosen]:
    """The objects of `args` (what, filename, selector, field_selector, all). With `fetch` each is read.

    Raises CliError; UsageError when nothing was named.
    """
    found: list[Chosen] = []
    namespace = arguments.namespace_of(args)
    selector, fields = getattr(args, "selector", ""), getattr(args, "field_selector", "")
    every = getattr(args, "all", False)
    for manifest in _manifests(args):
        metadata = manifest["metadata"]
        resource = kinds.resource_of(api, manifest)
        where = (metadata.get("namespace") or namespace or arguments.DEFAULT_NAMESPACE) if resource.namespaced else ""
        found.append(Chosen(resource, where, str(metadata.get("name") or ""), manifest))
    if args.what:
        if args.filename:
            raise UsageError("name objects or give -f, not both")
        for target in kinds.targets(api, args.what):
            if target.names and (selector or fields or every):
                raise UsageError("names do not go together with selectors or --all")
            if not target.names and not (selector or fields or every):
                raise UsageError("resource(s) were provided, but no name was specified")
            for name in target.names:
                if target.resource.namespaced and not namespace:
                    raise UsageError("a resource cannot be named across all namespaces")
                found.append(Chosen(target.resource, namespace if target.resource.namespaced else "", name))
            if not target.names:
                found += _listed(api, target.resource, namespace, selector, fields)
    elif not args.filename:
        raise UsageError("name what is meant: TYPE NAME, TYPE/NAME or -f FILE")
    if fetch:
        return [each._replace(obj=api.get(each.path)) for each in found]
    return found


def _manifests(args: argparse.Namespace) -> list[Json]:
    if not getattr(args, "filename", None):
        return []
    from edgekube.cli.manifests import read

    out = []
    for manifest in read(args.filename, recursive=args.recursive):
        if not manifest.obj["metadata"].get("name"):
            raise CliError(f"{manifest.source}: an object without a name cannot be chosen")
        out.append(manifest.obj)
    return out


def _listed(api: Api, resource: Resource, namespace: str, selector: str, fields: str) -> list[Chosen]:
    query = {"labelSelector": selector, "fieldSelector": fields}
    answer = api.list(path_of(resource, namespace), query)
    version, kind = answer.get("apiVersion", ""), str(answer.get("kind", "")).removesuffix("List")
    out = []
    for item in answer.get("items") or ():
        metadata = item["metadata"]
        obj = {"apiVersion": version, "kind": kind, **item}
        out.append(Chosen(resource, metadata.get("namespace") or "", metadata["name"], obj))
    return out
