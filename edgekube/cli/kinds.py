"""What a person means by `po`, `deploy/web` or `crontabs.stable.example.com`: the built-in table, then discovery."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from edgekube.cli.api import Api
from edgekube.cli.errors import CliError, UsageError
from edgekube.types.resources import RESOURCES, Resource, by_kind, find

DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class Target(NamedTuple):
    """A resource and the objects of it that were named; no names stand for all of them."""

    resource: Resource
    names: tuple[str, ...] = ()


def resolve(api: Api, word: str) -> list[Resource]:
    """The resources `word` names: one, or several for a category such as `all`. Raises CliError."""
    found = _preferred(find(word))
    if not found:
        found = _preferred(_among(discover(api), word))
    if not found:
        raise CliError(f'the server doesn\'t have a resource type "{word}"; `edgekube api-resources` lists them')
    return found


def resolve_one(api: Api, word: str) -> Resource:
    """Raises CliError, also for a category."""
    found = resolve(api, word)
    if len(found) > 1:
        raise UsageError(f"{word} stands for several resource types: name one")
    return found[0]


def resource_of(api: Api, obj: Mapping[str, Any]) -> Resource:
    """The resource an object of a manifest belongs to. Raises CliError."""
    version, kind = str(obj.get("apiVersion") or ""), str(obj.get("kind") or "")
    if not version or not kind:
        raise CliError("every object of a manifest needs apiVersion and kind")
    group, _, number = version.rpartition("/")
    row = by_kind(group, number, kind)
    if row is None:
        rows = discover(api)
        row = next((r for r in rows if (r.group, r.version, r.kind) == (group, number, kind)), None)
    if row is None:
        raise CliError(
            f'no matches for kind "{kind}" in version "{version}": is its CustomResourceDefinition installed?'
        )
    return row


def targets(api: Api, words: Sequence[str]) -> list[Target]:
    """`TYPE[,TYPE...] [NAME...]` or `TYPE/NAME...`. Raises CliError."""
    if not words:
        raise UsageError("name a resource type, such as `pods`; `edgekube api-resources` lists them")
    if any("/" in word for word in words):
        out = []
        for word in words:
            kind, slash, name = word.partition("/")
            if not slash or not kind or not name or "/" in name:
                raise UsageError(
                    "there is no need to name a resource type as a separate argument when passing arguments in "
                    f"TYPE/NAME form: {word!r} is not TYPE/NAME"
                )
            out.append(Target(resolve_one(api, kind), (name,)))
        return out
    names = tuple(words[1:])
    return [Target(row, names) for kind in words[0].split(",") if kind for row in resolve(api, kind)]


def discover(api: Api) -> list[Resource]:
    """Every resource the server serves, in the server's order."""
    rows: list[Resource] = []
    for root in ("/api", "/apis"):
        for item in api.get(root, accept=f"{DISCOVERY}, application/json").get("items") or ():
            group = (item.get("metadata") or {}).get("name", "")
            for version in item.get("versions") or ():
                for entry in version.get("resources") or ():
                    kind = (entry.get("responseKind") or {}).get("kind", "")
                    rows.append(
                        Resource(
                            group,
                            version.get("version", ""),
                            entry.get("resource", ""),
                            entry.get("singularResource") or kind.lower(),
                            kind,
                            entry.get("scope") == "Namespaced",
                            tuple(entry.get("shortNames") or ()),
                            tuple(entry.get("categories") or ()),
                        )
                    )
    return rows


def _among(rows: Sequence[Resource], word: str) -> list[Resource]:
    name, _, rest = word.lower().partition(".")
    version, _, group = rest.partition(".")
    out = []
    for row in rows:
        named = name in (row.plural, row.singular, row.kind.lower(), *row.short_names)
        placed = not rest or rest == row.group or (version, group) == (row.version, row.group)
        if (named and placed) or (not rest and name in row.categories):
            out.append(row)
    return out


def _preferred(rows: Sequence[Resource]) -> list[Resource]:
    """One version of each resource, the first; of groups that share a name (events) the first as well."""
    out: dict[str, Resource] = {}
    for row in rows:
        out.setdefault(row.plural, row)
    return list(out.values())


def printed_name(resource: Resource, name: str) -> str:
    """`deployment.apps/web`, as kubectl reports what it did."""
    return f"{resource.singular}.{resource.group}/{name}" if resource.group else f"{resource.singular}/{name}"


def built_in(resource: Resource) -> bool:
    """Has a schema of its own: strategic merge patches fit."""
    return resource in RESOURCES
